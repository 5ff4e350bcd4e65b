//! The command line. The doc comments of its types are the program's help.

mod bench;
mod ca;
mod component;
mod host;
mod import;
mod map;

pub(crate) use self::{
    bench::{
        ApiServeArguments, BenchArguments, BenchCommand, LedgerLoadArguments, LedgerServeArguments,
        MeasureArguments, PipelineArguments, PipelinePart, PollingArguments, PollingPart,
        SiteArguments, SitePart,
    },
    ca::{CaArguments, CaCommand},
    component::{
        ComponentArguments, ComponentCommand, Language, ManifestsArguments, NewArguments,
        PushArguments, RegistryArguments, TestArguments,
    },
    host::{AddArguments, HostArguments, HostCommand, RunArguments},
    import::{ImportArguments, ImportCommand},
    map::{MapArguments, MapCommand, MapTestArguments},
};

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use access::{Scope, TokenName};
use clap::{Args, Parser, Subcommand};
use ledger::{LeafRanges, evidence::Bound};
use model::{Heartbeat, Pattern, SensorId, Timestamp};
use orders::LogName;
use page_http::PageHost;
use pangea::client::{Endpoint, LogAtServer};
use readings::Format;
use tlog::Hash;

use crate::{app::arguments::AppArguments, sensor::arguments::SensorArguments};

pub(crate) mod order_arguments;

pub(crate) use order_arguments::{Actor, OrderArguments, Signature};

/// Collects readings from industrial sensors and seals each of them in a log that anyone can
/// verify.
#[derive(Debug, Parser)]
#[command(name = "sealwire", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole site on this machine: message bus, poller, log, components and page.
    Up(Box<UpArguments>),
    /// Verify a log: recompute its tree from the entries and compare the result with its
    /// checkpoint.
    ///
    /// Exit codes: 0, the log verifies; 1, it does not; 3, nothing is wrong, but nothing is proved
    /// either. Code 3 is for an empty bundle, a log without entries, or a policy that requires no
    /// witness.
    Verify(VerifyArguments),
    /// Give an order to a site's log: erase envelopes, place a hold, rotate the key, and more.
    ///
    /// A running site carries out the order itself. If the site is stopped, this command opens the
    /// log and carries it out.
    Log(LogArguments),
    /// Say which components a site runs, and how many hosts run them. The log records each change.
    App(AppArguments),
    /// Create, list and revoke API tokens for programs that use Pangea's SDKs.
    Token(TokenArguments),
    /// Give devices credentials, and orders about sensors. The log records each order.
    ///
    /// A running site carries out the order itself. If the site is stopped, this command opens the
    /// log and carries out orders about credentials; others need a running site.
    Sensor(SensorArguments),
    /// Run a host for a site on another machine, and let such hosts in at the site.
    Host(HostArguments),
    /// Export part of a log to an evidence bundle: one file that anyone can verify offline.
    Export(ExportArguments),
    /// Import the history of another log: seal it with where it came from.
    Import(ImportArguments),
    /// Export a sensor's readings to a CSV or Parquet file. The log records who exported them.
    Readings(ReadingsArguments),
    /// Write an inclusion proof of one leaf to a file (C2SP tlog-proof).
    Prove(ProveArguments),
    /// Back up a site's data directory and verify the copy. The site may be running.
    ///
    /// A backup contains the log. It leaves out the index, the engines' files and the caches,
    /// because the next start rebuilds them. It also leaves out secret keys, unless you pass
    /// --with-keys. Keep the keys in another safe place: without its key the log cannot be
    /// continued, and anyone who holds the key can sign a different history of this log.
    Backup(BackupArguments),
    /// Restore a data directory from a backup.
    ///
    /// The command verifies the backup first. If any step fails, it creates no data directory.
    ///
    /// The backup may be older than the newest checkpoint that the site published. If you continue
    /// such a log, you fork it: new events take leaves for which others already hold proofs of
    /// different events. To prevent this, find the newest checkpoint that anyone has kept, and pass
    /// it with --known-checkpoint.
    Restore(RestoreArguments),
    /// Make and renew the certificate for ports that other machines reach, with an authority of the
    /// site's own.
    Ca(CaArguments),
    /// Start, build, test and publish processors of your own. Take this version's WebAssembly
    /// components elsewhere, as OCI images or into a Kubernetes cluster, and sign images.
    Component(ComponentArguments),
    /// Check the configuration file, or show every setting and where its value comes from.
    Config(ConfigArguments),
    /// Examine a data directory and report problems and remedies. Changes nothing; the site may be
    /// running.
    ///
    /// Exit codes: 0, no check FAILED; 1, at least one did.
    Doctor(DoctorArguments),
    /// Run a witness: cosign the checkpoints of other sites' logs as long as the logs only grow.
    Witness(WitnessArguments),
    /// Try the rules for devices that report by themselves, and print those that are built in.
    Map(MapArguments),
    /// Simulate sensors on a message bus that is already running.
    Simulate(SimulateArguments),
    /// Measure this machine's performance and compare it with our targets.
    Bench(BenchArguments),
    /// Run an engine that ends with the site.
    #[command(hide = true)]
    RunEngine(RunEngineArguments),
}

// Each option is a setting: a key of the configuration file and an environment variable too. See
// `settings`.
//
// Of two equal options the last one counts, so that the 4 of `cargo xtask up --simulate 4`
// overrides the number that xtask passes.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub(crate) struct UpArguments {
    /// Folder for everything that the site stores. Created if missing.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Name of a new site. It becomes part of the log's name and cannot be changed later [default:
    /// site].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Simulate N sensors. The first 40 are the reference fleet; more are of the same kinds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) simulate: u32,
    /// Let devices in without credentials, on this machine only, even if there are credentials.
    #[arg(long)]
    pub(crate) open: bool,
    /// Port of the page and its API. 0 picks a free port, here and for the other ports.
    #[arg(long, value_name = "P", default_value_t = 8080)]
    pub(crate) http_port: u16,
    /// Address on which the page listens. If other machines reach it, the page needs a certificate
    /// and asks for a token.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) http_listen: IpAddr,
    /// Another host name under which people reach the page, such as that of a reverse proxy. You
    /// can pass this option more than once.
    #[arg(long = "page-host", value_name = "NAME", value_delimiter = ',')]
    pub(crate) page_hosts: Vec<PageHost>,
    /// Port of the log: tiles, proofs, live feed, Pangea's API.
    #[arg(long, value_name = "P", default_value_t = 8081)]
    pub(crate) log_port: u16,
    /// Address on which the log listens. If other machines reach it, the log needs a certificate.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) log_listen: IpAddr,
    /// Port for NATS clients.
    #[arg(long, value_name = "P", default_value_t = 4222)]
    pub(crate) nats_port: u16,
    /// Address on which devices reach NATS. If other machines reach it, it needs a certificate, and
    /// each device a credential.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) nats_listen: IpAddr,
    /// Port for MQTT devices.
    #[arg(long, value_name = "P", default_value_t = 1883)]
    pub(crate) mqtt_port: u16,
    /// Address on which devices reach MQTT. If other machines reach it, it needs a certificate, and
    /// each device a credential.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) mqtt_listen: IpAddr,
    /// Port of the registry for other hosts and for tools, with an API token. The site's own host
    /// has a port of its own [default: none].
    #[arg(long, value_name = "P")]
    pub(crate) registry_port: Option<u16>,
    /// Address on which that port listens. If other machines reach it, it needs a certificate
    /// [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub(crate) registry_listen: Option<IpAddr>,
    /// Port for leaf nodes: NATS servers that speak for the devices of one credential, such as a
    /// gateway's [default: closed].
    #[arg(long, value_name = "P")]
    pub(crate) leaf_port: Option<u16>,
    /// Address on which leaf nodes reach that port. If other machines reach it, it needs a
    /// certificate, and each leaf node a credential [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub(crate) leaf_listen: Option<IpAddr>,
    /// Port for hosts on other machines, which run the site's components, too. Each needs what
    /// `sealwire host add` writes [default: closed].
    #[arg(long, value_name = "P")]
    pub(crate) hosts_port: Option<u16>,
    /// Address on which that port listens. If other machines reach it, it needs a certificate, and
    /// so does the registry, which they must reach, too [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub(crate) hosts_listen: Option<IpAddr>,
    /// File with the certificate chain for ports that other machines reach, in PEM. Needs
    /// --tls-key [default: the certificate that `sealwire ca issue` made].
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// File with the certificate's secret key, in PEM. Only its owner may be able to read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// When the site is ready, write its addresses as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Subjects or topics on which sensors send heartbeats, separated by commas. Wildcards are
    /// allowed.
    #[arg(long, value_name = "SUBJECTS", default_value = "*.heartbeat", value_delimiter = ',')]
    pub(crate) heartbeats: Vec<Pattern>,
    /// File of rules (TOML) for devices that report by themselves: what their topics and messages
    /// mean. `sealwire map test` tries it.
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// File (TOML) that lists users' processors: components of the registry that derive events from
    /// readings.
    #[arg(long, value_name = "FILE")]
    pub(crate) processors: Option<PathBuf>,
    /// Server of Pangea's API to which the log is mirrored, such as
    /// `https://audit.aws.us.pangea.cloud`. Needs --mirror-token-file.
    #[arg(long, value_name = "URL")]
    pub(crate) mirror_url: Option<Endpoint>,
    /// File with the token for that server. Only its owner may be able to read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) mirror_token_file: Option<PathBuf>,
    /// File with the certificate of the authority that issued that server's certificate, in PEM
    /// [default: the public authorities].
    #[arg(long, value_name = "FILE")]
    pub(crate) mirror_ca: Option<PathBuf>,
    /// Id of the log there (`config_id`), if the token is good for several [default: the token's].
    #[arg(long, value_name = "ID")]
    pub(crate) mirror_config_id: Option<LogAtServer>,
    /// Time that a sensor has to answer a poll, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(crate) answer_timeout: u64,
    /// Times that a poll without an answer is repeated, unless the sensor's heartbeat says how
    /// often. The last repetition ends before the next poll is due.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=i64::from(Heartbeat::RETRIES_MAX)))]
    pub(crate) retries: u8,
    /// Maximum number of polls in flight. Further ones wait for an answer or a timeout.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) polls_in_flight: u32,
    /// Time without a heartbeat after which a sensor counts as lost, in seconds.
    #[arg(long, value_name = "S", default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) lost_after: u64,
    /// Maximum number of polls per second. If sensors ask for more, the site polls the fastest ones
    /// less often.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) polls_per_second: u32,
    /// Maximum number of new sensors per minute: sensors of which the log has no reading yet.
    /// Simulated sensors are always admitted.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) new_sensors_per_minute: u32,
    /// Time between two checkpoints while the log grows, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub(crate) checkpoint_interval: u64,
    /// File with the log's signing key. A new site creates it [default: site.key in the data
    /// directory].
    #[arg(long, value_name = "FILE", env = "SEALWIRE_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration file, and name unknown keys and bad values.
    ///
    /// Exit codes: 0, a site can start with the file; 1, it cannot.
    Check,
    /// Show every setting with its value and where that comes from: a flag, the environment, a line
    /// of the file, or the default.
    Show(Box<ShowArguments>),
}

#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// The options of `sealwire up`.
    #[command(flatten)]
    pub(crate) up: UpArguments,
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
    /// Create a token and print it. It is shown only this once, because the site keeps only its
    /// hash.
    Create {
        /// Name of the token. The log records it too.
        #[arg(long, value_name = "NAME")]
        name: TokenName,
        /// What the token allows: `write` to log events; `read` to search, get roots and export;
        /// `operate` to order how sensors are polled; `pull` to pull images from the registry;
        /// `publish` to push and delete them too.
        #[arg(long, value_name = "SCOPES", default_value = "write,read", value_delimiter = ',')]
        scope: Vec<Scope>,
        /// Also let its application hand in events on the message bus, and print the seed of its
        /// nkey. It may publish to `events.NAME.>` alone.
        #[arg(long)]
        nats: bool,
        #[command(flatten)]
        actor: Actor,
    },
    /// List the tokens and the id of the log.
    List,
    /// Revoke a token.
    Revoke {
        /// Name of the token.
        name: TokenName,
        #[command(flatten)]
        actor: Actor,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogOrder {
    /// Publish a checkpoint over all durable leaves, and print it.
    Checkpoint,
    /// Erase envelopes permanently. Their entries and proofs stay, and the log records the erasure.
    Erase {
        /// Leaves to erase: numbers and ranges separated by commas, such as 12-40,57.
        leaves: LeafRanges,
        /// Also erase events that were derived from these leaves, because they repeat their
        /// content.
        #[arg(long)]
        with_derived: bool,
        #[command(flatten)]
        signature: Signature,
    },
    /// Place a hold: protect events of one sensor, or of all sensors, from erasure.
    Hold {
        /// Protect only events of this sensor.
        #[arg(long, value_name = "ID")]
        sensor: Option<SensorId>,
        /// Protect events received at this time or later, e.g. 2026-11-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Protect events received before this time.
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
        #[command(flatten)]
        signature: Signature,
    },
    /// Release a hold.
    Release {
        /// Leaf that placed the hold, as `sealwire log holds` shows it.
        hold: u64,
        #[command(flatten)]
        signature: Signature,
    },
    /// List the holds that are in force.
    Holds,
    /// Adopt the newest leaves of a stopped site although they carry no MAC under its key.
    ///
    /// A log has such leaves if a version of sealwire that wrote format 3 or earlier was killed.
    /// The next checkpoint signs them, so look at them first: anyone who can write to the data
    /// directory may have put them there.
    AdoptTail {
        #[command(flatten)]
        signature: Signature,
    },
    /// Erase now everything that is older than the file `retention` in the data directory allows.
    Retain {
        #[command(flatten)]
        actor: Actor,
    },
    /// Remove a sensor from a running site until it sends a heartbeat again. Its sealed readings
    /// stay.
    Forget {
        /// Id of the sensor.
        #[arg(value_name = "ID")]
        sensor: SensorId,
        #[command(flatten)]
        signature: Signature,
    },
    /// Confirm that the machine's clock is right after it was far ahead.
    ///
    /// While the clock is in doubt, nothing is erased because of its age.
    ConfirmClock {
        #[command(flatten)]
        signature: Signature,
    },
    /// Replace the log's signing key with a new one. Both keys sign the change.
    RotateKey {
        #[command(flatten)]
        actor: Actor,
    },
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct VerifyArguments {
    #[command(subcommand)]
    pub(crate) file: Option<VerifyFile>,
    /// A site's data directory, or the address of a log, e.g. http://localhost:8081; with --vkey
    /// also of a log that another program writes (C2SP tlog-tiles).
    #[arg(value_name = "DIR | URL", required = true)]
    pub(crate) log: Option<OsString>,
    /// The log's verifier key, as its operator gave it to you. Without it, the key that the log
    /// itself names is trusted.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Option<String>,
    /// File with the certificates of the authorities to believe about an https address, instead of
    /// the public ones (PEM). A site's own is in its `tls/ca.pem`.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// First line of the log's checkpoints, if it is not the name of the key.
    #[arg(long, value_name = "NAME", requires = "vkey")]
    pub(crate) origin: Option<String>,
    /// Also check that the log accounts for every poll of every sensor: with a sealed reading, or
    /// with a declared gap. This reads the envelopes, so it needs a data directory.
    #[arg(long)]
    pub(crate) completeness: bool,
    /// File with an older checkpoint of the log. Verify only that the log has grown from it and
    /// that nothing before it was changed.
    #[arg(long, value_name = "FILE", conflicts_with = "completeness")]
    pub(crate) since: Option<PathBuf>,
    /// File with the policy that says which witnesses must have cosigned the log's checkpoint (C2SP
    /// tlog-policy).
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyFile {
    /// Verify an evidence bundle row by row, and name each row that is changed, missing or foreign.
    Bundle(VerifyBundleArguments),
    /// Verify the proof of one leaf.
    Proof(VerifyProofArguments),
    /// Verify what Pangea itself exported: events, answers to searches, dumps of its SDK's tools.
    Pangea(VerifyPangeaArguments),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyBundleArguments {
    /// The bundle that `sealwire export` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) bundle: PathBuf,
    /// The log's verifier key, as its operator gave it to you. Without it, the key that the bundle
    /// itself names is trusted.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Option<String>,
    /// File with the policy that says which witnesses must have cosigned the bundle's checkpoint
    /// (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyProofArguments {
    /// The proof that `sealwire prove` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) proof: PathBuf,
    /// File with the envelope to verify [default: the envelope in the proof file].
    #[arg(long, value_name = "FILE")]
    pub(crate) envelope: Option<PathBuf>,
    /// The verifier key that signed the proof's checkpoint, as the log's operator gave it to you.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: String,
    /// File with the policy that says which witnesses must have cosigned the proof's checkpoint
    /// (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyPangeaArguments {
    /// The file, in JSON: an event, an answer to a search, or a line for each event.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// File with the roots that Pangea published, in JSON: as the addresses in the export's roots
    /// show them, or answers of /v1/root. Without it, only the file itself vouches for its roots.
    #[arg(long, value_name = "FILE")]
    pub(crate) roots: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The site's data directory. The site may be running.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Export events received at this time or later (2026-11-01T00:00:00Z), or leaves from this one
    /// on (leaf:123) [default: the start of the log].
    #[arg(long, value_name = "TIME | leaf:N")]
    pub(crate) from: Option<Bound>,
    /// Export events received before this time, or leaves before this one [default: the newest
    /// checkpoint].
    #[arg(long, value_name = "TIME | leaf:N")]
    pub(crate) to: Option<Bound>,
    /// Export only events of this sensor.
    #[arg(long, value_name = "ID")]
    pub(crate) sensor: Option<SensorId>,
    #[command(flatten)]
    pub(crate) log: WhichLog,
    /// Use the newest checkpoint that satisfied the site's witness policy, with its cosignatures,
    /// instead of the log's newest checkpoint.
    #[arg(long)]
    pub(crate) witnessed: bool,
    /// File for the bundle. An existing file is replaced. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ReadingsArguments {
    #[command(flatten)]
    pub(crate) site: SiteFolder,
    #[command(flatten)]
    pub(crate) log: WhichLog,
    /// Sensor whose readings are exported.
    #[arg(long, value_name = "ID")]
    pub(crate) sensor: SensorId,
    /// Channel whose values are exported, with their scale, if the sensor has several. Without this
    /// option, the file has all channels of an answer as one text.
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Export readings taken at this time or later, e.g. 2026-11-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Export readings taken before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    /// `csv` or `parquet`.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Keep CSV cells that a spreadsheet would run as a formula. Without this option, they get an
    /// apostrophe in front.
    #[arg(long)]
    pub(crate) csv_formulas: bool,
    /// File for the readings. An existing file is replaced. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) signature: Signature,
}

#[derive(Args, Debug)]
pub(crate) struct ProveArguments {
    /// Number of the leaf, counting from 0.
    #[arg(value_name = "LEAF")]
    pub(crate) leaf: u64,
    /// The site's data directory. The site may be running.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) log: WhichLog,
    /// Use the newest checkpoint that satisfied the site's witness policy, with its cosignatures,
    /// instead of the log's newest checkpoint.
    #[arg(long)]
    pub(crate) witnessed: bool,
    /// File for the proof. An existing file is replaced. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Write the envelope to this file instead of into the proof.
    #[arg(long, value_name = "FILE")]
    pub(crate) envelope: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct BackupArguments {
    /// Folder for the backup: a new folder, or an earlier backup of the same log, which is updated.
    #[arg(value_name = "DIR")]
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) site: SiteFolder,
    /// Include the secret keys. Protect such a backup as you protect the keys. Updating a backup
    /// that has keys keeps them in it.
    #[arg(long)]
    pub(crate) with_keys: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreArguments {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// Folder to create. It must be missing or empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// File with the log's signing key, if the backup has none.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The log's verifier key. A backup of any other log is refused.
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Option<String>,
    /// File with a checkpoint that the log published. A backup that is older than it, or differs
    /// from it, is refused.
    #[arg(long, value_name = "FILE")]
    pub(crate) known_checkpoint: Option<PathBuf>,
    /// Also restore the file that has this SHA-256 although the log's key did not sign it. Look at
    /// the file first. You can pass this option more than once.
    #[arg(long, value_name = "SHA-256", value_parser = parse_sha256)]
    pub(crate) take: Vec<Hash>,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) site: SiteFolder,
    /// Backup of the same log. The report then says which of its segments can replace damaged ones.
    #[arg(long, value_name = "BACKUP")]
    pub(crate) against: Option<PathBuf>,
}

/// Which log a command is for.
#[derive(Args, Debug)]
pub(crate) struct WhichLog {
    /// Id of the log that you mean. The command refuses every other log.
    #[arg(long, value_name = "ID")]
    pub(crate) log: Option<LogName>,
}

#[derive(Args, Debug)]
pub(crate) struct SiteFolder {
    /// The site's data directory.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// File with the log's signing key, if it is not in the data directory.
    #[arg(long, value_name = "FILE", env = "SEALWIRE_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct WitnessArguments {
    /// Folder for the witness's key and its records of what it cosigned. Created if missing.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "sealwire-witness",
        env = "SEALWIRE_WITNESS_DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// Name of a new witness. It becomes part of the key and cannot be changed later. By convention
    /// it is the witness's URL without the scheme.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// File that lists the logs to cosign, in the witness network's format `logs/v0` [default: the
    /// file `logs` in DIR].
    #[arg(long, value_name = "FILE")]
    pub(crate) logs: Option<PathBuf>,
    /// Address to listen on, with HTTP and without TLS. Port 0 picks a free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub(crate) listen: SocketAddr,
    /// When the witness listens, write its address and key as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SimulateArguments {
    /// Number of sensors: the reference fleet of 40, and beyond it more of the same kinds.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) count: u32,
    /// Largest number of connections that the sensors share.
    #[arg(long, value_name = "N", default_value_t = simulator::run::CONNECTIONS, value_parser = connections())]
    pub(crate) connections: u32,
    /// Poll interval of every sensor in milliseconds [default: 2 to 10 s, by its kind].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=86_400_000))]
    pub(crate) interval: Option<u64>,
    /// URL of the message bus.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    pub(crate) nats: String,
    /// Share of the sensors that speak MQTT, from 0 to 1; the others speak NATS.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub(crate) mqtt: f64,
    /// URL of the MQTT port of the message bus.
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    pub(crate) broker: String,
    /// Simulate the sensors of these credentials instead of --count of the fleet: a file that
    /// `sealwire sensor add` wrote, or a folder of them. Each has a connection of its own, and
    /// --mqtt is the share of the credentials.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["count", "connections"])]
    pub(crate) creds: Option<PathBuf>,
    /// Speak TLS, to servers with a certificate of an authority in this file (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File that says what sensors do wrong, in TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Time in milliseconds after which the site gives up a poll: a later answer counts as a miss.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(crate) answer_timeout: u64,
    /// Seed of the values. The same seed gives the same values again [default: random].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Write what each sensor did to this file at the end, as one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) tally: Option<PathBuf>,
    /// Print what was sent as one JSON object at the end, and no table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RunEngineArguments {
    #[arg(long)]
    pub(crate) gives_way: bool,
    pub(crate) parent: i32,
    pub(crate) folder: PathBuf,
    pub(crate) program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

fn connections() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(simulator::run::CONNECTIONS_MAX))
}

fn parse_share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("a number from 0 to 1 is expected")
}

fn parse_sha256(text: &str) -> Result<Hash, &'static str> {
    let digits = |part: &[u8]| u8::from_str_radix(str::from_utf8(part).ok()?, 16).ok();
    let is_hex = text.len() == 2 * Hash::LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
    let bytes = bytes.filter(|_| is_hex).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Hash::from_bytes).ok_or("use the 64 hex digits that `sealwire restore` prints")
}

#[cfg(test)]
mod tests {
    use crate::settings;

    #[test]
    fn help_reads_well() {
        let mut command = settings::command_line();
        command.clone().debug_assert();
        insta::assert_snapshot!(command.render_long_help());
        for name in [
            "up",
            "ca",
            "config",
            "verify",
            "log",
            "token",
            "sensor",
            "host",
            "export",
            "import",
            "prove",
            "backup",
            "restore",
            "doctor",
            "witness",
            "map",
            "component",
        ] {
            let subcommand = command.find_subcommand_mut(name).expect("it is a command");
            insta::assert_snapshot!(name, subcommand.render_help());
        }
    }
}
