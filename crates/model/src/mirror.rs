//! Messages between mirroring and `pangea-api`: a line of JSON, and the bytes of a body behind it.
//!
//! The component keeps no state between calls and decides nothing. A question is one call of
//! Pangea's API; the answer is what the server sent, untouched. Address and token are in the
//! component's configuration, not in the question: every component of a host hears what is said on
//! the bus.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Subject on which `pangea-api` receives questions.
pub const SUBJECT: &str = "sealwire.mirror.call";
/// Configuration key under which the component receives the server's address.
pub const ENDPOINT_KEY: &str = "endpoint";
/// Configuration key under which it receives the token for that server.
pub const TOKEN_KEY: &str = "token";
/// Largest answer of a server in bytes: that to the largest request, whose events come back with
/// their envelopes and proofs, several times over.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A call of the server's API.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `POST /v2/log`, with the body of the question.
    Log {
        /// Id under which the server may have sealed the events already.
        retried: String,
    },
    /// `POST /v1/search`, with the body of the question.
    Search,
    /// `GET /request/{id}`: the answer that the server promised.
    Result {
        /// Id of the request.
        id: String,
    },
}

/// A question to the component.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// What is called.
    pub call: Call,
    /// Body of the request.
    pub body: Vec<u8>,
}

/// What the component answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Digest of the component.
    pub component: String,
    /// How the call ended.
    pub end: End,
    /// Body of the server's answer.
    pub body: Vec<u8>,
}

/// How a call ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The server answered with a whole body.
    Answered {
        /// HTTP status.
        status: u16,
        /// Seconds for which the server wants to be left alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// It did not; the text says why.
    Failed(String),
}

#[derive(Deserialize, Serialize)]
struct AnswerHead {
    component: String,
    end: End,
}

impl Question {
    /// The question as a message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(&self.call, &self.body)
    }

    /// Parses a message.
    ///
    /// # Errors
    /// The message is no question.
    pub fn parse(message: &[u8]) -> Result<Self, InvalidMessage> {
        let (call, body) = parse(message)?;
        Ok(Self { call, body: body.to_vec() })
    }
}

impl Answer {
    /// The answer as a message.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let Self { component, end, body } = self;
        to_bytes(&AnswerHead { component, end }, &body)
    }

    /// Parses a message.
    ///
    /// # Errors
    /// The message is no answer.
    pub fn parse(message: &[u8]) -> Result<Self, InvalidMessage> {
        let (AnswerHead { component, end }, body) = parse(message)?;
        Ok(Self { component, end, body: body.to_vec() })
    }
}

/// A message is not a line of JSON with what belongs there.
#[derive(Debug, thiserror::Error)]
#[error("the message does not begin with a line of the expected JSON")]
pub struct InvalidMessage(#[source] Option<serde_json::Error>);

fn to_bytes(head: &impl Serialize, body: &[u8]) -> Vec<u8> {
    let mut message = serde_json::to_vec(head).expect("a head has only text keys");
    message.push(b'\n');
    message.extend_from_slice(body);
    message
}

fn parse<T: DeserializeOwned>(message: &[u8]) -> Result<(T, &[u8]), InvalidMessage> {
    let end = message.iter().position(|byte| *byte == b'\n').ok_or(InvalidMessage(None))?;
    let (head, body) = message.split_at(end);
    let head = serde_json::from_slice(head).map_err(|error| InvalidMessage(Some(error)))?;
    Ok((head, body.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;

    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        for body in [&b""[..], b"{}", b"two\nlines\n"] {
            for call in [
                Call::Log { retried: "prq_1".to_owned() },
                Call::Search,
                Call::Result { id: "a\nb".to_owned() },
            ] {
                let question = Question { call, body: body.to_vec() };
                assert_eq!(Question::parse(&question.to_bytes()).unwrap(), question);
            }
            for end in [
                End::Answered { status: 429, retry_after: Some(7) },
                End::Failed("cannot connect".to_owned()),
            ] {
                let answer = Answer { component: "sha256:0".to_owned(), end, body: body.to_vec() };
                assert_eq!(Answer::parse(&answer.clone().into_bytes()).unwrap(), answer);
            }
        }
        assert!(Question::parse(b"{}").is_err());
        assert!(Answer::parse(b"{}\n").is_err());
    }
}
