//! The arguments of `sealwire host`.

use std::path::PathBuf;

use access::sensors::CredentialName;
use clap::{Args, Subcommand};

use crate::cli::order_arguments::{Actor, OrderArguments};

#[derive(Args, Debug)]
pub(crate) struct HostArguments {
    #[command(subcommand)]
    pub(crate) command: HostCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Run a host on this machine for a site on another one, with the file that `sealwire host add`
    /// wrote there.
    ///
    /// It looks for the site until it finds it, and comes back by itself after every failure of the
    /// line or of the site.
    Run(RunArguments),
    /// At the site: let a host on another machine in, and write the file that it needs.
    Add(AddArguments),
    /// At the site: let a host in no more. Its connections are closed at once.
    Remove {
        /// Name of the host.
        name: CredentialName,
        #[command(flatten)]
        site: OrderArguments,
        #[command(flatten)]
        actor: Actor,
    },
    /// At the site: list the hosts on other machines.
    List {
        #[command(flatten)]
        site: OrderArguments,
    },
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// The file that `sealwire host add` wrote. Only its owner may be able to read it.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Folder for everything that the host stores. Created if missing.
    #[arg(long, value_name = "DIR", default_value = "sealwire-host", env = "SEALWIRE_HOST_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Group of the host: where workloads may run. A host for processors is in a group of its own.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) group: String,
    /// Name that the host gives itself [default: the one under which the site added it].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Port on loopback at which the host's components answer HTTP. 0 picks a free port.
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub(crate) http_port: u16,
}

#[derive(Args, Debug)]
pub(crate) struct AddArguments {
    /// Name of the host. The log records it too.
    pub(crate) name: CredentialName,
    /// Let its components hand in events, as an application with the name host.NAME.
    #[arg(long)]
    pub(crate) writes: bool,
    /// Have it run users' processors, and nothing else. Without this it runs none.
    #[arg(long, conflicts_with = "writes")]
    pub(crate) guests: bool,
    /// File for what the host needs, secrets included. No file is replaced [default: NAME.json].
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Name or address under which the host reaches the site, if it is not the one that the site
    /// prints. It must be among the names of the site's certificate.
    #[arg(long, value_name = "NAME")]
    pub(crate) reach: Option<tls::HostName>,
    /// File with the certificate of the authority that issued the site's own, in PEM [default: the
    /// authority of `sealwire ca`; if there is none, the public ones].
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) site: OrderArguments,
    #[command(flatten)]
    pub(crate) actor: Actor,
}
