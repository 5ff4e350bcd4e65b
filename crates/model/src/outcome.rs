//! How a poll ended, before it is sealed.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use crate::answer::Answer;

/// How a poll ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A valid answer.
    Success(Answer),
    /// No answer in time.
    CommError,
    /// An invalid answer.
    ValueError {
        /// The parser's message.
        error: String,
        /// The answer's bytes, at most the first [`Outcome::RAW_BYTES_MAX`].
        raw: Vec<u8>,
    },
}

impl Outcome {
    /// Most bytes kept of an invalid answer. In hex they still fit into a field of 32,766
    /// characters.
    pub const RAW_BYTES_MAX: usize = 16_000;

    /// The outcome of a poll that got this answer.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        match Answer::parse(payload) {
            Ok(answer) => Self::Success(answer),
            Err(error) => Self::ValueError {
                error: error.to_string(),
                raw: payload.iter().copied().take(Self::RAW_BYTES_MAX).collect(),
            },
        }
    }
}
