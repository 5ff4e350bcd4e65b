//! What a failed step means for the writer: either nothing has happened and the step can be tried
//! again, or the writer stops.

use std::io;

use durable::disk;

use crate::batch::AppendError;

/// A failed step after which the writer stops. Everything that it acknowledged is durable; opening
/// the log again recovers.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed")]
pub struct WriteError {
    step: &'static str,
    source: io::Error,
}

/// How a step fails.
pub(crate) enum CommitError {
    /// Nothing has happened, and the step can be tried again.
    Refused(io::Error),
    Fatal(WriteError),
}

impl CommitError {
    /// The failure as a fatal one, where nobody tries the step again.
    pub(crate) fn fatal(self, name: &'static str) -> WriteError {
        match self {
            Self::Refused(source) => step(name)(source),
            Self::Fatal(failure) => failure,
        }
    }
}

impl From<WriteError> for CommitError {
    fn from(failure: WriteError) -> Self {
        Self::Fatal(failure)
    }
}

/// Names the failed step, after which the writer stops.
pub(crate) fn step(step: &'static str) -> impl Fn(io::Error) -> WriteError {
    move |source| WriteError { step, source }
}

/// Maps the error of a step that changes nothing if the disk is full: a full disk is a refusal, and
/// any other error is fatal.
pub(crate) fn refused_if_full(name: &'static str) -> impl Fn(io::Error) -> CommitError {
    move |source| {
        if disk::is_full(&source) {
            CommitError::Refused(source)
        } else {
            step(name)(source).into()
        }
    }
}

/// The refusal to send to the caller, unless the failure is fatal.
pub(crate) fn refusal_of(
    outcome: Result<(), CommitError>,
) -> Result<Option<AppendError>, WriteError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(CommitError::Refused(source)) => Ok(Some(AppendError::Write(source.to_string()))),
        Err(CommitError::Fatal(failure)) => Err(failure),
    }
}
