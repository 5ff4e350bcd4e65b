//! The arguments of `sealwire import`.

use std::path::PathBuf;

use access::Words;
use clap::{Args, Subcommand};

use super::order_arguments::{OrderArguments, Signature};

#[derive(Args, Debug)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    pub(crate) site: OrderArguments,
    #[command(subcommand)]
    pub(crate) command: ImportCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Import what Pangea exported: events, answers to searches, dumps of its SDK's tools.
    ///
    /// The file is verified first, as `sealwire verify pangea` does. If a part of it is not what it
    /// says, nothing is imported. Importing the same file again seals nothing twice.
    Pangea {
        /// The file, in JSON.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// File with the roots that Pangea published. Without it, only the file itself vouches for
        /// its roots, and the log says so.
        #[arg(long, value_name = "FILE")]
        roots: Option<PathBuf>,
        /// Where the history comes from, as text for the log, e.g. "Pangea, project plant-1".
        #[arg(long, value_name = "TEXT")]
        from: Words,
        #[command(flatten)]
        signature: Signature,
    },
}
