//! Why a site does not run.

use std::io;

use access::TokenError;
use data_dir::doctor::StartError;
use data_dir::{folder::DataDirError, retention::RetentionError};
use engine::FindError;
use index::IndexError;
use ledger::{AppendError, WriteError};
use orders::SiteLogError;
use pangea_http::{PangeaConfigError, SavedError};
use services::{cosigning::CosigningError, indexing, pipeline};
use tokio::task::JoinError;

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// Its folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// An engine is missing.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The binary was built without a component.
    #[error(
        "this sealwire was built without the component `{name}`: build it with `cargo xtask build`"
    )]
    ComponentMissing {
        /// Which.
        name: &'static str,
    },
    /// A port is taken.
    #[error(
        "port {port} for {what} is in use: stop what uses it, or name another with {flag} (0 picks a free one)"
    )]
    PortInUse {
        /// What it is for.
        what: &'static str,
        /// The flag that names another.
        flag: &'static str,
        /// The port.
        port: u16,
    },
    /// A listener fails.
    #[error("{what} cannot listen")]
    Listen {
        /// Whose.
        what: &'static str,
        /// What failed.
        source: io::Error,
    },
    /// The log or its key cannot be used.
    #[error(transparent)]
    Log(#[from] SiteLogError),
    /// The token that reads envelopes cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The file that says how Pangea's API shows the log cannot be used.
    #[error(transparent)]
    Pangea(#[from] PangeaConfigError),
    /// What clients of Pangea's API may come back for cannot be read or kept.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The retention file cannot be used.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// The index cannot be used.
    #[error(
        "the index cannot be used; it holds nothing that the log does not, so it may be deleted"
    )]
    Index(#[from] IndexError),
    /// A file that a start reads.
    #[error(transparent)]
    File(StartError),
    /// An engine cannot be started.
    #[error("{name} cannot be started")]
    Engine {
        /// Which.
        name: &'static str,
        /// What failed.
        source: io::Error,
    },
    /// An engine ended at once.
    #[error("{end}")]
    EngineEnded {
        /// How.
        end: String,
    },
    /// The message bus cannot be reached.
    #[error("nats-server does not let the site in; {ending}")]
    Bus {
        /// Its last words.
        ending: String,
        /// What failed.
        source: async_nats::ConnectError,
    },
    /// The site cannot be told from others on the bus.
    #[error("the site has no credentials for the message bus")]
    Credentials(#[from] engine::ca::CredentialError),
    /// A subscription is refused.
    #[error("the message bus refuses a subscription")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The page does not come.
    #[error("the page does not answer; of the host, {ending}")]
    PageSilent {
        /// The host's last words.
        ending: String,
    },
    /// Orders cannot come in.
    #[error("cannot listen for orders at orders.sock in the data directory")]
    OrderSocket(#[source] io::Error),
    /// The file that tells where the site is cannot be written.
    #[error("cannot write run.json into the data directory")]
    RunFile(#[source] io::Error),
    /// Whoever was to be told where the site is could not be.
    #[error("the site's addresses cannot be told")]
    Ready(#[source] io::Error),
    /// The ledger refuses an event.
    #[error("an event cannot be sealed")]
    Append(#[from] AppendError),
    /// The ledger cannot go on.
    #[error("the ledger has stopped")]
    Write(#[source] WriteError),
    /// Indexing fails.
    #[error(transparent)]
    Indexing(#[from] indexing::IndexingError),
    /// Witnesses cannot be asked.
    #[error("the site's witnesses cannot be asked")]
    Cosigning(#[from] CosigningError),
    /// Judging fails.
    #[error(transparent)]
    Pipeline(#[from] pipeline::PipelineError),
    /// The simulator fails.
    #[error("the simulated sensors stopped")]
    Simulator(#[from] simulator::SimulatorError),
    /// A service ended although nobody asked it to.
    #[error("a service of the site has ended by itself")]
    Ended,
    /// A bug.
    #[error("a service of the site panicked")]
    Panicked(#[source] JoinError),
}
