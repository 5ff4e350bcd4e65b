//! What the commands that give orders have in common.

use std::path::PathBuf;

use access::Words;
use clap::Args;
use orders::LogName;

#[derive(Args, Debug)]
pub(crate) struct OrderArguments {
    /// The site's data directory.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "sealwire-data",
        env = "SEALWIRE_DATA_DIR"
    )]
    pub(crate) data_dir: PathBuf,
    /// File with the log's signing key, if it is not in the data directory. A running site does not
    /// need this option.
    #[arg(long, global = true, value_name = "FILE", env = "SEALWIRE_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Id of the log that the order is for. The command refuses every other log.
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) log: Option<LogName>,
    /// Print the result as one JSON object.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The person who gives an order, as the log records it.
#[derive(Args, Debug)]
pub(crate) struct Actor {
    /// Name of the person who gives this order. The log records it and your account on this
    /// machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<Words>,
}

/// The person who gives an order and the reason, as the log records them.
#[derive(Args, Debug)]
pub(crate) struct Signature {
    #[command(flatten)]
    pub(crate) actor: Actor,
    /// Reason for this order. The log keeps it permanently.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Words,
}
