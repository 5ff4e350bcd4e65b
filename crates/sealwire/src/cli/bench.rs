//! The arguments of `sealwire bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure the log: appends, proofs, opening after a crash, verification.
    Ledger(MeasureArguments),
    /// Measure Pangea's API over a log with a year of readings: logging, searches, plots,
    /// rebuilding the index.
    Api(MeasureArguments),
    /// Measure components: readings through the ledger, a component on a host, and back; hosts that
    /// die; the mirror.
    Pipeline(PipelineArguments),
    /// Measure polling beside bare requests of the same client library: polls per second, how late
    /// they are, memory and start with 100,000 sensors.
    Polling(PollingArguments),
    /// A whole site under the load of simulated sensors: the cost of a reading, the time until it
    /// can be found, and memory.
    Site(SiteArguments),
    /// Serve Pangea's API for a log until the process is killed.
    #[command(hide = true)]
    ApiServe(ApiServeArguments),
    /// Fill a log until the process is killed.
    #[command(hide = true)]
    LedgerLoad(LedgerLoadArguments),
    /// Serve the public files of a log until the process is killed.
    #[command(hide = true)]
    LedgerServe(LedgerServeArguments),
}

#[derive(Args, Debug)]
pub(crate) struct MeasureArguments {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Use a log of a tenth of the size: one million entries instead of ten million.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Folder on the disk to measure. The log is created there and removed afterwards. A log of ten
    /// million entries takes 2 GB, and 4 GB with its index.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct SiteArguments {
    #[command(flatten)]
    pub(crate) measure: MeasureArguments,
    /// Parts to measure, separated by commas [default: all].
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub(crate) parts: Vec<SitePart>,
    /// Measure this build of `sealwire`, to compare it with another [default: this program].
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct PollingArguments {
    #[command(flatten)]
    pub(crate) measure: MeasureArguments,
    /// Parts to measure, separated by commas [default: all].
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub(crate) parts: Vec<PollingPart>,
}

#[derive(Args, Debug)]
pub(crate) struct PipelineArguments {
    #[command(flatten)]
    pub(crate) measure: MeasureArguments,
    /// Parts to measure, separated by commas [default: all].
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    pub(crate) parts: Vec<PipelinePart>,
}

/// A part of `sealwire bench pipeline`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum PipelinePart {
    /// How many readings a second are judged and events checked, and how soon.
    Judging,
    /// How long nothing is judged when a host dies.
    Hosts,
    /// How long a start takes without a network.
    AirGap,
    /// How many events a second are mirrored to another site.
    Mirror,
    /// What an upgrade costs under load, and how soon one that fails goes back.
    Upgrade,
}

/// A part of `sealwire bench polling`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum PollingPart {
    /// As many polls per second over NATS as are answered and sealed.
    Nats,
    /// The same over MQTT.
    Mqtt,
    /// The same for sensors with credentials, without TLS and with it.
    Tls,
    /// How long 10,000 new credentials take.
    Credentials,
    /// How late polls are, at 10,000 per second.
    Lateness,
    /// Memory and start with 100,000 sensors.
    Fleet,
    /// 10,000 sensors once a second for five minutes and 100,000 every 30 s for ten: whether each
    /// answer is sealed once, and each miss is the sensor's.
    Exact,
}

/// A part of `sealwire bench site`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum SitePart {
    /// 1,000 readings per second.
    Slow,
    /// 20,000 readings per second.
    Fast,
    /// As many readings per second as can be found within a second.
    Most,
    /// Memory with 40 and with 20,000 sensors.
    Memory,
    /// 5,000 readings per second for five minutes: how far behind each follower of the log is.
    Long,
    /// 40,000 readings per second: what a site does that cannot take as many.
    Overload,
    /// 20,000 readings per second, while the site is killed ten times.
    Kills,
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
pub(crate) struct LedgerServeArguments {
    pub(crate) folder: PathBuf,
}
