//! What a client is told when the log or this machine fails its request.

use std::error::Error;

use ledger::{AppendError, ReadError};
use pangea::{Code, Fault, Refusal, Status};
use tracing::error;

/// Something of ours failed. The client learns that much; the site's own log has the cause.
pub(crate) fn failed(failure: &dyn Error) -> Refusal {
    error!(%failure, source = failure.source(), "a request to Pangea's API failed");
    Refusal::plain(Status::InternalError, "the site could not do this; its program log says why")
}

/// The log could not be read.
pub(crate) fn unreadable(failure: ReadError) -> Refusal {
    failed(&failure)
}

/// Why a batch was not sealed.
pub(crate) fn not_sealed(error: AppendError) -> Refusal {
    match error {
        AppendError::TooLarge { .. } | AppendError::BatchTooLarge { .. } => {
            Refusal::plain(Status::PayloadTooLarge, error.to_string())
        }
        AppendError::KeyReused { .. } => {
            let words =
                "a request with this id sealed other events: a retry must send the same body";
            Fault::new(Code::InvalidConst, "", words).into()
        }
        // Nothing was sealed, or the same request will find out: its key is in the log.
        AppendError::Write(_) | AppendError::Stopped => {
            error!(%error, "cannot seal the events of a client");
            let words = "the log cannot seal anything at the moment: try again";
            Refusal::plain(Status::ServiceNotAvailable, words)
        }
        // Requests are checked when they are read.
        AppendError::TooMany { .. } | AppendError::Reserved { .. } | AppendError::LogEvent(_) => {
            failed(&error)
        }
    }
}
