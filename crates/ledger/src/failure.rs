//! What a failed step of the writer means: nothing has happened and it can be tried again, or the
//! writer stops.

use std::io;

use durable::disk;

use crate::batch::AppendError;

/// A step after which the writer does not go on. What was acknowledged is durable; opening the log
/// again recovers.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed")]
pub struct WriteError {
    step: &'static str,
    source: io::Error,
}

/// How a step fails.
pub(crate) enum CommitError {
    /// Nothing has happened, and it can be tried again.
    Refused(io::Error),
    Fatal(WriteError),
}

impl CommitError {
    /// Where nobody tries again.
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

/// The failure of this step, after which the writer stops.
pub(crate) fn step(step: &'static str) -> impl Fn(io::Error) -> WriteError {
    move |source| WriteError { step, source }
}

/// A failure before which nothing has happened if the disk was full.
pub(crate) fn refused_if_full(name: &'static str) -> impl Fn(io::Error) -> CommitError {
    move |source| {
        if disk::is_full(&source) {
            CommitError::Refused(source)
        } else {
            step(name)(source).into()
        }
    }
}

/// What whoever asked is told, if it is not the writer's end.
pub(crate) fn refusal_of(
    outcome: Result<(), CommitError>,
) -> Result<Option<AppendError>, WriteError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(CommitError::Refused(source)) => Ok(Some(AppendError::Write(source.to_string()))),
        Err(CommitError::Fatal(failure)) => Err(failure),
    }
}
