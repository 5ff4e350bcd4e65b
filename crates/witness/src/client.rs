//! How a log asks a witness: one request, one answer (C2SP tlog-witness, add-checkpoint).
//!
//! Blocking; connections to witnesses are kept open between requests.

use std::{io::Read as _, time::Duration};

use tlog::{AddCheckpoint, TreeSize, note::NOTE_BYTES_MAX};
use ureq::http::{StatusCode, header};

/// How long a witness may take for one answer, from the name's look-up on. A witness does little
/// more than an fsync.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of a refusal that are kept: a line.
const REFUSAL_CHARS_MAX: usize = 200;

/// Asks witnesses.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
}

/// What a witness says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It cosigned: signature lines, unchecked.
    Cosigned(String),
    /// It has cosigned a checkpoint of another size last.
    Conflict(TreeSize),
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client without connections yet.
    #[must_use]
    pub fn new() -> Self {
        // A redirected POST would become a GET; the policy names where the witness is.
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self { agent: config.into() }
    }

    /// Asks the witness with this submission prefix.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
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

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It does not answer.
    #[error("the witness does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refuses.
    #[error("the witness refuses with status {status}: {words}")]
    Refused {
        /// Why, as HTTP has it.
        status: u16,
        /// Why, in its words.
        words: String,
    },
    /// It wants to be asked less often.
    #[error("the witness wants to be left alone for {} s", retry_after.as_secs())]
    TooOften {
        /// How long; zero where it does not say.
        retry_after: Duration,
    },
    /// It says that it has another size, but not which.
    #[error("the witness has cosigned another size and does not say which")]
    ConflictWithoutSize,
    /// It answers without a cosignature of its key.
    #[error("the witness's answer holds no cosignature of its key for this checkpoint")]
    NoCosignature,
    /// It has cosigned more leaves than the log has.
    #[error(
        "the witness has cosigned {recorded} leaves, and this log has {size}: the log was set back, or its key signs another log, too"
    )]
    Ahead {
        /// Leaves that it has cosigned.
        recorded: TreeSize,
        /// Leaves that the log has.
        size: TreeSize,
    },
    /// The log could not be read to prove that it grew.
    #[error("the log cannot prove that it grew from {old_size} leaves")]
    Proof {
        /// The size that the witness knows.
        old_size: TreeSize,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
