//! The arguments of `sealwire app`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::order_arguments::{OrderArguments, Signature};

#[derive(Args, Debug)]
pub(crate) struct AppArguments {
    #[command(flatten)]
    pub(crate) site: OrderArguments,
    #[command(subcommand)]
    pub(crate) order: AppOrder,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppOrder {
    /// Run what a file says. The log records each component that changes.
    ///
    /// New components are on trial first: the site compares them with those that they replace, and
    /// goes back by itself if one of them is worse. This takes about a minute.
    Deploy {
        /// The file (TOML). It names components, and for each an image by digest, a number of
        /// replicas, or both. The site's own choice stands for what it does not name.
        file: PathBuf,
        /// Do not wait until the deployment stays or has gone back.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        signature: Signature,
    },
    /// Show what would change if a file were deployed.
    Diff {
        /// The file (TOML).
        file: PathBuf,
    },
    /// Show the hosts, what runs on them, and where the newest deployment stands.
    Status,
    /// Show what was deployed, as the log records it.
    History,
    /// Run again what was deployed before the newest deployment.
    ///
    /// Before the first deployment the site ran its own components. A second rollback takes the
    /// first one back. What is on trial is taken back at once.
    Rollback {
        #[command(flatten)]
        signature: Signature,
    },
}
