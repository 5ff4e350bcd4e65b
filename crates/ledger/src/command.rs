//! What the writer's thread is asked for.

use std::sync::Arc;

use model::Event;
use tlog::Signer;
use tokio::sync::oneshot;

use crate::{
    batch::{AppendError, PreparedBatch, Receipt},
    published::Published,
};

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Append {
        batch: PreparedBatch,
        reply: Reply,
    },
    /// Events of the log itself. The leaves before `closed_before` are then in segments that do not
    /// grow any further.
    LogEvents {
        events: Vec<Event>,
        closed_before: u64,
        reply: Reply,
    },
    /// Segments show the erasures that were ordered before this leaf.
    Erased {
        before: u64,
        reply: oneshot::Sender<()>,
    },
    /// Goes over to another key.
    Rotate {
        signer: Box<Signer>,
        actor: String,
        reply: Reply,
    },
    Publish {
        reply: oneshot::Sender<Arc<Published>>,
    },
    Close,
}

/// Where the answer to a batch goes.
pub(crate) type Reply = oneshot::Sender<Result<Receipt, AppendError>>;
