//! The command line. The doc comments of its types are the program's help.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use access::{Scope, TokenName, Words};
use clap::{Args, Parser, Subcommand};
use ledger::{LeafRanges, evidence::Bound};
use model::{Pattern, SensorId, Timestamp};
use page_http::PageHost;
use readings::Format;
use tlog::Hash;

/// Collects readings of industrial sensors and seals every one of them in a log that anyone can
/// verify.
#[derive(Debug, Parser)]
#[command(name = "sealwire", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole site on this machine: message bus, sensors' poller, log, components, page.
    Up(UpArguments),
    /// Check that a log is what it says: recompute it from its entries and compare everything.
    ///
    /// Exit code 0 says that it holds, 1 that it does not, 3 that nothing is wrong but nothing is
    /// shown either: an empty bundle, a log without an entry, a policy that asks for no witness.
    Verify(VerifyArguments),
    /// Give an order to a site's log: erase, hold, rotate its key; whether the site runs or not.
    Log(LogArguments),
    /// Make, list and revoke the tokens of programs that log and search with Pangea's SDKs.
    Token(TokenArguments),
    /// Write rows of a log to an evidence bundle, one file that anyone can verify offline.
    Export(ExportArguments),
    /// Write a sensor's readings to a CSV or Parquet file for other programs; the log says who did.
    Readings(ReadingsArguments),
    /// Write the proof of one leaf to a file (C2SP tlog-proof).
    Prove(ProveArguments),
    /// Copy a site's data directory, while the site runs or not, and verify the copy.
    ///
    /// A backup holds the log. Index, engines' files and caches are left out: a start makes them
    /// again. Secret keys are left out unless --with-keys asks for them: keep them elsewhere,
    /// because nobody can go on with a log without its key, and whoever has it can sign another
    /// history.
    Backup(BackupArguments),
    /// Make a data directory of a backup: whole, verified, or not at all.
    ///
    /// A backup may be behind what the site has published since. Going on with such a log forks it:
    /// other events stand at leaves that others hold proofs of. So look for the newest checkpoint
    /// that anyone has kept, and pass it with --known-checkpoint.
    Restore(RestoreArguments),
    /// Examine a data directory: what is wrong, and what can be done. Changes nothing, and a site
    /// may run in it.
    ///
    /// Exit code 0 says that nothing FAILED.
    Doctor(DoctorArguments),
    /// Be a witness for others' logs: cosign their checkpoints as long as they only grow.
    Witness(WitnessArguments),
    /// Simulate sensors on a message bus that runs already.
    Simulate(SimulateArguments),
    /// Measure what this machine does, and print it beside what we aim for.
    Bench(BenchArguments),
    /// Become an engine that ends with the site.
    #[command(hide = true)]
    RunEngine(RunEngineArguments),
}

// Of two equal options the last one counts, so that the 4 of `cargo xtask up --simulate 4`
// overrides the number that xtask passes.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub(crate) struct UpArguments {
    /// Folder for everything the site keeps; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Name of a new site, which its log carries for ever [default: site].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Simulate so many sensors: the reference fleet of 40, and beyond it more of the same kinds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) simulate: u32,
    /// Port of the page and its API; 0 picks a free one, here and below.
    #[arg(long, value_name = "P", default_value_t = 8080)]
    pub(crate) http_port: u16,
    /// Name under which people reach the page beside `localhost`: a reverse proxy's, for example.
    /// May be given several times.
    #[arg(long = "page-host", value_name = "NAME")]
    pub(crate) page_hosts: Vec<PageHost>,
    /// Port of the log.
    #[arg(long, value_name = "P", default_value_t = 8081)]
    pub(crate) log_port: u16,
    /// Port for NATS clients.
    #[arg(long, value_name = "P", default_value_t = 4222)]
    pub(crate) nats_port: u16,
    /// Port for MQTT devices.
    #[arg(long, value_name = "P", default_value_t = 1883)]
    pub(crate) mqtt_port: u16,
    /// Write the addresses as JSON to this file once everything answers.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Subjects or topics on which sensors say that they live, with commas between them; wildcards
    /// are allowed.
    #[arg(long, value_name = "SUBJECTS", default_value = "*.heartbeat", value_delimiter = ',')]
    pub(crate) heartbeats: Vec<Pattern>,
    /// Milliseconds that a sensor has to answer a poll.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(crate) answer_timeout: u64,
    /// Seconds without a heartbeat after which a sensor is lost.
    #[arg(long, value_name = "S", default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) lost_after: u64,
    /// Most polls a second; where sensors ask for more, the fastest are polled less often.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) polls_per_second: u32,
    /// Most sensors a minute that the log does not know by a reading; simulated ones always have
    /// room.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) new_sensors_per_minute: u32,
    /// Milliseconds between two checkpoints while the log grows.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub(crate) checkpoint_interval: u64,
    /// File with the log's signing key; made if there is neither key nor log [default: site.key in
    /// the data directory].
    #[arg(long, value_name = "FILE", env = "SEALWIRE_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct LogArguments {
    #[command(flatten)]
    pub(crate) site: OrderArguments,
    #[command(subcommand)]
    pub(crate) order: LogOrder,
}

#[derive(Args, Debug)]
pub(crate) struct TokenArguments {
    #[command(flatten)]
    pub(crate) site: OrderArguments,
    #[command(subcommand)]
    pub(crate) order: TokenOrder,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenOrder {
    /// Make a token and print it, this once: the site keeps its hash only.
    Create {
        /// What it is called, in the log too.
        #[arg(long, value_name = "NAME")]
        name: TokenName,
        /// What it allows: write for logging, read for searching, roots and exports.
        #[arg(long, value_name = "SCOPES", default_value = "write,read", value_delimiter = ',')]
        scope: Vec<Scope>,
        /// The log that it is for, by its id; a site has one.
        #[arg(long, value_name = "ID")]
        log: Option<String>,
        #[command(flatten)]
        actor: Actor,
    },
    /// List the tokens, and the id of the log.
    List,
    /// Have a token let nobody in any more.
    Revoke {
        /// Which.
        name: TokenName,
        #[command(flatten)]
        actor: Actor,
    },
}

#[derive(Args, Debug)]
pub(crate) struct OrderArguments {
    /// The site's folder.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "sealwire-data",
        env = "SEALWIRE_DATA_DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// File with the log's signing key, where it is not in the folder; a running site knows it.
    #[arg(long, global = true, value_name = "FILE", env = "SEALWIRE_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Print what was done as one JSON object.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogOrder {
    /// Publish a checkpoint over everything that is durable, and print it.
    Checkpoint,
    /// Erase envelopes for good; entries, proofs and an event that says so stay.
    Erase {
        /// Whose: leaves and ranges with commas between them, such as 12-40,57.
        leaves: LeafRanges,
        /// Erase also what was derived from them: it says what they say.
        #[arg(long)]
        with_derived: bool,
        #[command(flatten)]
        signature: Signature,
    },
    /// Keep from being erased what was received in a window, of one sensor or of all.
    Hold {
        /// Only this sensor's events.
        #[arg(long, value_name = "ID")]
        sensor: Option<SensorId>,
        /// Received from this moment on, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Received before this moment.
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
        #[command(flatten)]
        signature: Signature,
    },
    /// End a hold.
    Release {
        /// The leaf that placed it; `sealwire log holds` tells.
        hold: u64,
        #[command(flatten)]
        signature: Signature,
    },
    /// List the holds that stand.
    Holds,
    /// Take over the newest leaves of a stopped site although its key does not vouch for them.
    ///
    /// That is so where a sealwire was killed that wrote format 3 or an earlier one. The next
    /// checkpoint signs the leaves, so look at them before: anybody who can write the folder may
    /// have put them there.
    AdoptTail {
        #[command(flatten)]
        signature: Signature,
    },
    /// Erase now what the file `retention` in the data directory no longer keeps.
    Retain {
        #[command(flatten)]
        actor: Actor,
    },
    /// Have a running site know a sensor no more, until it beats again: what is sealed of it stays.
    Forget {
        /// The sensor's id.
        #[arg(value_name = "ID")]
        sensor: SensorId,
        #[command(flatten)]
        signature: Signature,
    },
    /// Go by the machine's clock again, which was far ahead: until then nothing is erased for its
    /// age.
    ConfirmClock {
        #[command(flatten)]
        signature: Signature,
    },
    /// Make a new key and have the log go over to it; both keys sign that it does.
    RotateKey {
        #[command(flatten)]
        actor: Actor,
    },
}

/// Who gives an order, as the log will say.
#[derive(Args, Debug)]
pub(crate) struct Actor {
    /// Who gives this order, beside the account that it comes from: the log has both.
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<Words>,
}

/// Who gives an order, and why, as the log will say.
#[derive(Args, Debug)]
pub(crate) struct Signature {
    #[command(flatten)]
    pub(crate) actor: Actor,
    /// Why, as the log will say for ever.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Words,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct VerifyArguments {
    #[command(subcommand)]
    pub(crate) file: Option<VerifyFile>,
    /// A site's data directory, or the address of a log, e.g. http://localhost:8081.
    #[arg(value_name = "DIR | URL", required = true)]
    pub(crate) log: Option<OsString>,
    /// The log's verifier key, as its operator gave it to you; without it, the key that the log
    /// itself names is believed.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Option<String>,
    /// Also check that every poll of every sensor is accounted for: sealed with its reading, or
    /// declared missing. Needs the envelopes, and so a data directory.
    #[arg(long)]
    pub(crate) completeness: bool,
    /// An older checkpoint of the log: show only that the log was added to since, and nothing else
    /// was done to it.
    #[arg(long, value_name = "FILE", conflicts_with = "completeness")]
    pub(crate) since: Option<PathBuf>,
    /// A file that says which witnesses must have cosigned the log's checkpoint (C2SP tlog-policy).
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyFile {
    /// Check an evidence bundle, row by row, and name each that is changed, missing or foreign.
    Bundle(VerifyBundleArguments),
    /// Check the proof of one leaf.
    Proof(VerifyProofArguments),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyBundleArguments {
    /// What `sealwire export` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) bundle: PathBuf,
    /// The log's verifier key, as its operator gave it to you; without it, the key that the bundle
    /// itself names is believed.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Option<String>,
    /// A file that says which witnesses must have cosigned the bundle's checkpoint (C2SP
    /// tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyProofArguments {
    /// What `sealwire prove` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) proof: PathBuf,
    /// The envelope that is proved [default: the one that the proof file carries].
    #[arg(long, value_name = "FILE")]
    pub(crate) envelope: Option<PathBuf>,
    /// The verifier key that signed the proof's checkpoint, as the log's operator gave it to you.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: String,
    /// A file that says which witnesses must have cosigned the proof's checkpoint (C2SP
    /// tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The site's data directory; the site may be running.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// What was received from this time on (2026-11-01T00:00:00Z), or from this leaf on (leaf:123)
    /// [default: the log's begin].
    #[arg(long, value_name = "TIME | leaf:N")]
    pub(crate) from: Option<Bound>,
    /// What was received before this time, or stands before this leaf [default: the newest
    /// checkpoint].
    #[arg(long, value_name = "TIME | leaf:N")]
    pub(crate) to: Option<Bound>,
    /// Events of this sensor only.
    #[arg(long, value_name = "ID")]
    pub(crate) sensor: Option<SensorId>,
    /// Under the newest checkpoint that satisfied the site's policy for witnesses, with their
    /// cosignatures, instead of the log's newest.
    #[arg(long)]
    pub(crate) witnessed: bool,
    /// The bundle; replaced if it is there. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ReadingsArguments {
    #[command(flatten)]
    pub(crate) site: SiteFolder,
    /// Whose readings.
    #[arg(long, value_name = "ID")]
    pub(crate) sensor: SensorId,
    /// Taken from this time on, e.g. 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Taken before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    /// csv or parquet.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Write CSV cells that a spreadsheet takes for a formula as they are, without an apostrophe in
    /// front.
    #[arg(long)]
    pub(crate) csv_formulas: bool,
    /// The file; replaced if it is there. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) signature: Signature,
}

#[derive(Args, Debug)]
pub(crate) struct ProveArguments {
    /// Number of the leaf, counted from 0.
    #[arg(value_name = "LEAF")]
    pub(crate) leaf: u64,
    /// The site's data directory; the site may be running.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Under the newest checkpoint that satisfied the site's policy for witnesses, with their
    /// cosignatures, instead of the log's newest.
    #[arg(long)]
    pub(crate) witnessed: bool,
    /// The proof; replaced if it is there. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Write the envelope to a file of its own, and not into the proof.
    #[arg(long, value_name = "FILE")]
    pub(crate) envelope: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct BackupArguments {
    /// Folder for the backup: a new one, or a backup of the same log, which is brought up to date.
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) site: SiteFolder,
    /// Back up the secret keys, too: guard the backup as you guard them. A backup that has them
    /// keeps having them.
    #[arg(long)]
    pub(crate) with_keys: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreArguments {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// Folder to make; nothing may be in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// File with the log's secret key, where the backup has none.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The log's verifier key, to be sure whose log it is.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Option<String>,
    /// File with a checkpoint that the log has published: a backup that is behind it, or differs
    /// from it, is refused.
    #[arg(long, value_name = "FILE")]
    pub(crate) known_checkpoint: Option<PathBuf>,
    /// Restore also the file of the backup that has this SHA-256, though the log's key did not sign
    /// it: look at it first. May be given more than once.
    #[arg(long, value_name = "SHA-256", value_parser = parse_sha256)]
    pub(crate) take: Vec<Hash>,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) site: SiteFolder,
    /// A backup of the same log: says which of its segments can take the place of damaged ones.
    #[arg(long, value_name = "BACKUP")]
    pub(crate) against: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SiteFolder {
    /// The site's data directory.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// File with the log's secret key, where it is not in the folder.
    #[arg(long, value_name = "FILE", env = "SEALWIRE_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct WitnessArguments {
    /// Folder for the witness's key and what it has cosigned; made if it is not there.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "sealwire-witness",
        env = "SEALWIRE_WITNESS_DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// Name of a new witness, which its key carries for ever: by custom its URL without a scheme.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The logs that it knows, in the witness network's format `logs/v0` [default: the file `logs`
    /// in DIR].
    #[arg(long, value_name = "FILE")]
    pub(crate) logs: Option<PathBuf>,
    /// Where it listens; HTTP without TLS, port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub(crate) listen: SocketAddr,
    /// Write address and key as JSON to this file once it listens.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SimulateArguments {
    /// How many sensors.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) count: u32,
    /// The message bus.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    pub(crate) nats: String,
    /// Where the values begin, to have the same ones again [default: random].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// The log: appends, proofs, opening after a crash, verification.
    Ledger(MeasureArguments),
    /// Pangea's API over a log of a year's readings: logging, searches, plots, the index made
    /// again.
    Api(MeasureArguments),
    /// Serve Pangea's API of a log until the process is killed.
    #[command(hide = true)]
    ApiServe(ApiServeArguments),
    /// Fill a log until the process is killed.
    #[command(hide = true)]
    LedgerLoad(LedgerLoadArguments),
}

#[derive(Args, Debug)]
pub(crate) struct MeasureArguments {
    /// Print one JSON object and no table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Use a log of a tenth of the size: one million entries and not ten.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where the log is made, and removed afterwards: the disk that is measured. A log of ten
    /// million entries takes 2 GB, with its index 4 GB.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ApiServeArguments {
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct LedgerLoadArguments {
    pub(crate) folder: PathBuf,
    pub(crate) entries: u64,
}

#[derive(Args, Debug)]
pub(crate) struct RunEngineArguments {
    pub(crate) parent: i32,
    pub(crate) folder: PathBuf,
    pub(crate) program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

fn parse_sha256(text: &str) -> Result<Hash, &'static str> {
    let digits = |part: &[u8]| u8::from_str_radix(str::from_utf8(part).ok()?, 16).ok();
    let is_hex = text.len() == 2 * Hash::LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
    let bytes = bytes.filter(|_| is_hex).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Hash::from_bytes).ok_or("use the 64 hex digits that `sealwire restore` shows")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn help_reads_well() {
        Cli::command().debug_assert();
        let mut command = Cli::command();
        insta::assert_snapshot!(command.render_long_help());
        for name in [
            "up", "verify", "log", "token", "export", "prove", "backup", "restore", "doctor",
            "witness",
        ] {
            let subcommand = command.find_subcommand_mut(name).expect("it is a command");
            insta::assert_snapshot!(name, subcommand.render_help());
        }
    }
}
