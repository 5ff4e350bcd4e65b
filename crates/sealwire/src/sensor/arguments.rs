//! The command line of `sealwire sensor`.

use std::path::PathBuf;

use access::sensors::{Alias, CredentialName};
use clap::{Args, Subcommand};
use model::{SensorId, Timestamp};

use crate::{
    cli::order_arguments::{Actor, OrderArguments},
    sensor::{fleet::FleetOrder, polls::PollsOrder},
};

#[derive(Args, Debug)]
pub(crate) struct SensorArguments {
    #[command(flatten)]
    pub(crate) site: OrderArguments,
    #[command(subcommand)]
    pub(crate) order: SensorOrder,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SensorOrder {
    /// Make credentials for devices, and write them to files of their own.
    ///
    /// From the first credential on, the site lets no device in without one, unless it runs with
    /// --open. A new device gets its id and topics from its file. The site learns those of an
    /// existing device with --learn, or is told with --id and --topics, or in a CSV file.
    Add(Box<AddArguments>),
    /// Revoke a credential. Its connections are closed at once.
    Revoke {
        /// Name of the credential.
        name: CredentialName,
        #[command(flatten)]
        actor: Actor,
    },
    /// Give a credential another key, and write it to files. The old key ends when the new one is
    /// used.
    Rotate {
        /// Name of the credential.
        name: CredentialName,
        /// Keep the old key for this time instead, such as 12h or 7d.
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        overlap: Option<u64>,
        #[command(flatten)]
        files: FileArguments,
        #[command(flatten)]
        actor: Actor,
    },
    /// List the credentials, with the sensors that they cover.
    List,
    /// List what devices were refused since the site started, and why.
    Refused,
    #[command(flatten)]
    Fleet(FleetOrder),
    /// List the sensors that the site polls: how often, and which are paused.
    Polls {
        /// Sensors on a page.
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
        /// Begin after this sensor, as the page before ends with it.
        #[arg(long, value_name = "ID")]
        after: Option<SensorId>,
    },
    #[command(flatten)]
    Poll(PollsOrder),
}

#[derive(Args, Debug)]
pub(crate) struct AddArguments {
    /// Aliases of the sensors. Without --set, each gets a credential of that name.
    #[arg(value_name = "ALIAS", required_unless_present = "from")]
    pub(super) aliases: Vec<Alias>,
    /// CSV file with a sensor in each row. Its first line names the columns: `alias`, and any of
    /// `id`, `set`, `heartbeat`, `poll`, `read`, `disconnect`, `reports` and `hears`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["aliases", "set", "id", "topics"])]
    pub(super) from: Option<PathBuf>,
    /// Make one credential of this name for all sensors: for a gateway, a bridge, or a chip with
    /// several sensors.
    #[arg(long, value_name = "NAME")]
    pub(super) set: Option<CredentialName>,
    /// Id of an existing sensor, as its heartbeats carry it.
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<SensorId>,
    /// Topics of an existing sensor, separated by commas: heartbeat, poll, read and, if it has one,
    /// disconnect. A topic with a `/` is one of MQTT.
    #[arg(long, value_name = "TOPICS", value_delimiter = ',', requires = "id", num_args = 1)]
    pub(super) topics: Vec<String>,
    /// Take id and topics from the sensors' next heartbeats. The site must run and let the devices
    /// in as they are now. This waits for up to two minutes.
    #[arg(long, conflicts_with_all = ["from", "id", "topics"])]
    pub(super) learn: bool,
    /// Topics on which the device reports by itself, separated by commas and without wildcards, as
    /// rules of `sealwire up --map` map them. It sends no heartbeats then.
    #[arg(long, value_name = "TOPICS", value_delimiter = ',', num_args = 1, conflicts_with_all = ["from", "id", "topics", "learn"])]
    pub(super) reports: Vec<String>,
    /// Topics that such a device hears, separated by commas, such as a Sparkplug node's commands.
    #[arg(long, value_name = "TOPICS", value_delimiter = ',', num_args = 1, requires = "reports")]
    pub(super) hears: Vec<String>,
    /// File of rules, as of `sealwire up`: refuse topics that none of them maps.
    #[arg(long, value_name = "FILE")]
    pub(super) map: Option<PathBuf>,
    #[command(flatten)]
    pub(super) files: FileArguments,
    #[command(flatten)]
    pub(super) actor: Actor,
}

#[derive(Args, Debug)]
pub(crate) struct FileArguments {
    /// Folder for the files with the secrets. Created if missing. Nothing in it is replaced.
    #[arg(long, value_name = "DIR", default_value = "credentials")]
    pub(super) output: PathBuf,
    /// Also show each credential as a QR code, and write it as SVG.
    #[arg(long)]
    pub(super) qr: bool,
}

/// A time in seconds, such as `12h`.
fn span(text: &str) -> Result<u64, &'static str> {
    let late = Timestamp::from_unix_micros(i64::MAX);
    let before = late.back(text).ok_or("use a time such as 30min, 12h or 7d")?;
    Ok(late.since(before).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_in_a_search() {
        assert_eq!((span("30min"), span("7d")), (Ok(1_800), Ok(7 * 86_400)));
        assert!(span("soon").is_err());
    }
}
