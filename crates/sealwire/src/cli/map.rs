//! The arguments of `sealwire map`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(crate) struct MapArguments {
    #[command(subcommand)]
    pub(crate) command: MapCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MapCommand {
    /// Print what recorded messages become, or why they become nothing. Nothing is sealed.
    ///
    /// Exit codes: 0, done; 1, the rules or the file cannot be read, or with --strict a message was
    /// not understood.
    Test(MapTestArguments),
    /// Print the rules of a preset, to copy them into a file.
    Preset {
        /// tasmota, zigbee2mqtt, shelly-gen1, shelly-gen2, esphome, homeassistant or sparkplug.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct MapTestArguments {
    /// Recorded messages: a JSON object a line, with `topic`, `payload` or `payload_base64`, and
    /// optionally `at` (when it came) and `source`.
    #[arg(value_name = "FILE")]
    pub(crate) messages: PathBuf,
    /// File of rules (TOML) [default: the rules of every preset].
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Fail if a message is not understood.
    #[arg(long)]
    pub(crate) strict: bool,
}
