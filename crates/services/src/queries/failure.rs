//! Why a question has no answer.

use model::{
    LogId, error_chain,
    query::{QueryError, ReadingsQuery},
};
use tracing::error;

/// Why there is no answer: an error in the question, or a fault of the site. The caller sees the
/// first; only the site's log has the second.
pub(super) enum Failure {
    Query(QueryError),
    Internal(String),
}

impl Failure {
    /// What the caller sees.
    pub(super) fn for_the_caller(self) -> QueryError {
        match self {
            Self::Query(error) => error,
            Self::Internal(failure) => {
                error!(failure, "cannot answer a query");
                let words = "the site could not answer this query; its program log says why";
                QueryError::Unavailable(words.to_owned())
            }
        }
    }
}

pub(super) fn internal(error: impl std::error::Error) -> Failure {
    Failure::Internal(error_chain(&error))
}

pub(super) fn no_such_log(log: LogId) -> Failure {
    Failure::Query(QueryError::NotFound(format!(
        "there is no log {log} here: `/api/logs` lists all logs"
    )))
}

pub(super) fn not_mirrored() -> Failure {
    let words = "the log is not mirrored: start the site with --mirror-url to mirror it";
    Failure::Query(QueryError::NotFound(words.to_owned()))
}

pub(super) fn no_such_leaf(leaf: u64, size: u64) -> Failure {
    Failure::Query(QueryError::NotFound(format!(
        "there is no leaf {leaf}: the log has {size} leaves, counting from 0"
    )))
}

pub(super) fn was_erased(leaf: u64) -> Failure {
    Failure::Query(QueryError::NotFound(format!("the envelope of leaf {leaf} was erased")))
}

pub(super) fn no_such_sensor(query: &ReadingsQuery) -> Failure {
    let channel = query.channel.as_ref();
    let channel = channel.map(|name| format!(" with a reading of the channel `{name}`"));
    let channel = channel.unwrap_or_default();
    Failure::Query(QueryError::NotFound(format!("there is no sensor {}{channel}", query.sensor)))
}
