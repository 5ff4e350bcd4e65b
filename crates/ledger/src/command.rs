//! The commands that a handle sends to the writer's thread.

use std::sync::Arc;

use model::Event;
use tlog::Signer;
use tokio::sync::oneshot;

use crate::{
    batch::{AppendError, PreparedBatch, Receipt},
    published::Published,
};

/// A command to the writer's thread.
#[derive(Debug)]
pub(crate) enum Command {
    Append {
        batch: PreparedBatch,
        reply: Reply,
    },
    /// Seals events of the log itself. Afterwards the leaves before `closed_before` are in segments
    /// that grow no further.
    LogEvents {
        events: Vec<Event>,
        closed_before: u64,
        reply: Reply,
    },
    /// Says that the segments show the erasures that were ordered before this leaf.
    Erased {
        before: u64,
        reply: oneshot::Sender<()>,
    },
    /// Changes the signing key to that of `signer`.
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

/// Where the writer sends the answer to a batch.
pub(crate) type Reply = oneshot::Sender<Result<Receipt, AppendError>>;
