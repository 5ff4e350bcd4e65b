//! Why a submission was refused, as its application learns it.

use std::time::Duration;

use ledger::AppendError;
use model::submission::{BYTES_MAX, Fault};
use serde::Serialize;
use tracing::error;

use super::room::{APPLICATION_BYTES_MAX, NoPlace};

/// How long a submission waits until the component has checked it. A host that was lost runs again
/// within this time, and few applications wait longer for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Longest idempotency key in characters.
pub(super) const KEY_CHARS_MAX: usize = 128;

/// Why a submission was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// The token does not allow it, or not any more.
    #[error(
        "the token was revoked, or may not write to this log: `sealwire token create --scope write` \
         makes one"
    )]
    Token,
    /// The key cannot be one.
    #[error("an idempotency key has 1 to {KEY_CHARS_MAX} printable characters of ASCII")]
    Key,
    /// The submission is too long.
    #[error(
        "the submission has {bytes} bytes, but at most {BYTES_MAX} are taken: hand in fewer events \
         at once"
    )]
    TooLong {
        /// Length of the submission in bytes.
        bytes: usize,
    },
    /// The submission is not JSON.
    #[error("a submission is an event or an array of events in JSON: {0}")]
    NotJson(String),
    /// The submission or one of its events is at fault.
    #[error("{}", .0.words)]
    Fault(Fault),
    /// The log refuses the events as they are.
    #[error("{0}")]
    NotSealable(AppendError),
    /// The key was used for other events.
    #[error(
        "other events were sealed under this idempotency key, from leaf {first_leaf} on: a retry \
         must hand in the same, and other events need another key"
    )]
    KeyReused {
        /// First leaf of those events.
        first_leaf: u64,
    },
    /// The application hands in more than is checked and sealed.
    #[error(
        "{APPLICATION_BYTES_MAX} bytes of this application wait already: hand this in again when \
         some have their answer"
    )]
    Ahead,
    /// All applications together hand in more than is checked and sealed.
    #[error("too many events wait already: hand this in again shortly")]
    Full,
    /// The component gave no answer.
    #[error(
        "the events were not checked within {} s, so nothing was sealed: hand them in again",
        PATIENCE.as_secs()
    )]
    Silent,
    /// The site stops.
    #[error("the site stops, and nothing was sealed: hand this in again when it runs again")]
    Stopping,
    /// The log cannot seal now, or it is not known whether it has.
    #[error("the log cannot seal or read anything at the moment: hand this in again, with its key")]
    NotSealed,
}

impl From<NoPlace> for Refused {
    fn from(none: NoPlace) -> Self {
        match none {
            NoPlace::OfApplication => Self::Ahead,
            NoPlace::OfAnyone => Self::Full,
        }
    }
}

impl Refused {
    pub(super) fn of_append(error: AppendError) -> Self {
        match error {
            AppendError::TooMany { .. }
            | AppendError::TooLarge { .. }
            | AppendError::BatchTooLarge { .. }
            | AppendError::Reserved { .. }
            | AppendError::LogEvent(_) => Self::NotSealable(error),
            AppendError::KeyReused { first_leaf } => Self::KeyReused { first_leaf },
            AppendError::Write(_) | AppendError::Stopped => {
                error!(%error, "cannot seal the events of an application");
                Self::NotSealed
            }
        }
    }

    /// The status that HTTP has for it. By NATS it is the same.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Token => 401,
            Self::Key | Self::NotJson(_) | Self::Fault(_) => 400,
            Self::KeyReused { .. } => 409,
            Self::TooLong { .. } | Self::NotSealable(_) => 413,
            Self::Ahead => 429,
            Self::Full | Self::Silent | Self::Stopping | Self::NotSealed => 503,
        }
    }

    /// The answer in JSON: a problem (RFC 9457), and where it is.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Problem<'a> {
            status: u16,
            detail: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            event: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            place: Option<&'a str>,
        }
        let fault = if let Self::Fault(fault) = self { Some(fault) } else { None };
        let problem = Problem {
            status: self.status(),
            detail: self.to_string(),
            event: fault.and_then(|fault| fault.event),
            place: fault.map(|fault| fault.place.as_str()),
        };
        serde_json::to_vec(&problem).expect("a problem has only text keys")
    }
}
