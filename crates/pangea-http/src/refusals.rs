//! Answers for requests that fail because of the log or the machine.

use std::error::Error;

use ledger::{AppendError, ReadError};
use pangea::{Code, Fault, Refusal, Status};
use tracing::error;

/// The refusal for a failure of the site. The site's program log has the cause.
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
        // Nothing was sealed, or a retry of the request will find its key in the log.
        AppendError::Write(_) | AppendError::Stopped => {
            error!(%error, "cannot seal the events of a client");
            let words = "the log cannot seal anything at the moment: try again";
            Refusal::plain(Status::ServiceNotAvailable, words)
        }
        // These cases are refused when a request is parsed.
        AppendError::TooMany { .. } | AppendError::Reserved { .. } | AppendError::LogEvent(_) => {
            failed(&error)
        }
    }
}
