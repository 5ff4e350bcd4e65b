//! Sends a log's requests to a witness: one request, one answer (C2SP tlog-witness,
//! add-checkpoint).
//!
//! Calls block. The client keeps connections to witnesses open between requests.

use std::{io::Read as _, time::Duration};

use tlog::{AddCheckpoint, TreeSize, note::NOTE_BYTES_MAX};
use ureq::http::{StatusCode, header};

/// Time limit for one answer, including the name lookup and the connection. A witness does little
/// more than one fsync.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of characters of a refusal that are kept: about one line.
const REFUSAL_CHARS_MAX: usize = 200;

/// An HTTP client for witnesses.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
}

/// The answer of a witness.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The witness cosigned. The value holds its signature lines, unchecked.
    Cosigned(String),
    /// The size of the last checkpoint that the witness cosigned, which is not the one that the
    /// request named.
    Conflict(TreeSize),
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client without open connections.
    #[must_use]
    pub fn new() -> Self {
        // The client does not follow redirects: a redirected POST would become a GET, and the
        // policy names the witness's address.
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self { agent: config.into() }
    }

    /// Asks the witness with this submission prefix (its URL) to cosign.
    ///
    /// # Errors
    /// The witness cannot be reached, or refuses.
    pub fn ask(&self, url: &str, request: &AddCheckpoint) -> Result<Answer, AskError> {
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let body = request.to_string();
        let mut response = http_client::post(&self.agent, &url)
            .send(body)
            .map_err(|source| AskError::Unreachable(source.into()))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok().map(Duration::from_secs));
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader().take(NOTE_BYTES_MAX as u64);
        { reader }
            .read_to_end(&mut bytes)
            .map_err(|source| AskError::Unreachable(source.into()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match status {
            StatusCode::OK => Ok(Answer::Cosigned(text)),
            StatusCode::CONFLICT => {
                let size = text.strip_suffix('\n').and_then(|size| size.parse().ok());
                let size = size.ok_or(AskError::ConflictWithoutSize)?;
                Ok(Answer::Conflict(TreeSize::new(size)))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Err(AskError::TooOften { retry_after: retry_after.unwrap_or_default() })
            }
            _ => Err(AskError::Refused {
                status: status.as_u16(),
                words: text.trim().chars().take(REFUSAL_CHARS_MAX).collect(),
            }),
        }
    }
}

/// Why a log did not get a cosignature from a witness.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The witness cannot be reached or does not answer in time.
    #[error("the witness does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The witness refuses the request.
    #[error("the witness refused with status {status}: {words}")]
    Refused {
        /// HTTP status of the refusal.
        status: u16,
        /// The witness's message, cut to one line's length.
        words: String,
    },
    /// The witness refuses because the log asks too often.
    #[error("the witness asks the site to wait for {} s", retry_after.as_secs())]
    TooOften {
        /// How long to wait; zero if the witness does not say.
        retry_after: Duration,
    },
    /// The witness reports a conflict of sizes but not its own size.
    #[error("the witness has cosigned another size, but does not say which")]
    ConflictWithoutSize,
    /// The answer contains no valid cosignature of the witness's key.
    #[error("the witness's answer has no cosignature by its key for this checkpoint")]
    NoCosignature,
    /// The witness has cosigned a larger tree than the log has.
    #[error(
        "the witness has cosigned {recorded} leaves, but this log has only {size}: the log was restored from an older copy, or its key also signs another log"
    )]
    Ahead {
        /// Size of the tree that the witness has cosigned, in leaves.
        recorded: TreeSize,
        /// Size of the log's newest checkpoint, in leaves.
        size: TreeSize,
    },
    /// The log could not be read to prove its growth.
    #[error("the log cannot prove that it grew from {old_size} leaves")]
    Proof {
        /// Size of the tree that the witness knows, in leaves.
        old_size: TreeSize,
        /// The error of the read.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
