//! The arguments of `sealwire ca`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tls::HostName;

#[derive(Args, Debug)]
pub(crate) struct CaArguments {
    /// The site's data directory. The site may be running.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "sealwire-data",
        env = "SEALWIRE_DATA_DIR"
    )]
    pub(crate) data_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: CaCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Create the site's own authority. Clients must trust its certificate.
    Init,
    /// Make the certificate that the site shows, with all names under which clients reach it.
    ///
    /// A running site serves the new certificate within seconds. If the page or the log is to
    /// answer under names that are new, restart the site.
    Issue {
        /// Name or IP address under which clients reach the site. You can pass this option more
        /// than once.
        #[arg(long = "host", value_name = "NAME", value_delimiter = ',', required = true)]
        hosts: Vec<HostName>,
    },
    /// Make a new certificate with the same names. A running site does this by itself, 30 days
    /// before the old one ends.
    Renew,
    /// Show the authority's certificate, and the names and the end of the site's.
    Show,
}
