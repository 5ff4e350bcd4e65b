//! The Polling interface: orders about the polls of a sensor, as programs give them, over NATS and
//! over HTTP alike. `docs/formats/polling.md` defines it.

use access::{Account, Scope, TokenDescription, Words};
use model::refused_order::Refused;
use model::{
    SensorId, SensorOrder, error_chain,
    polling::{AddedSensor, OrderedInterval, OrderedTimeout},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    operator::{Operator, OperatorError},
    order::{Done, Order},
};

/// What a program can order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// Poll a sensor at once.
    Poll,
    /// Make a sensor known before its first heartbeat.
    Add,
    /// Set the interval of a sensor.
    Interval,
    /// Set the time that a sensor has for an answer.
    Timeout,
    /// Stop polling a sensor.
    Pause,
    /// Poll a paused sensor again.
    Resume,
}

/// Why a program's order was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// A status code of HTTP.
    pub code: u16,
    /// What is wrong, and what to do about it.
    pub words: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Poll {
    sensor: SensorId,
    reason: Option<Words>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    sensor: AddedSensor,
    reason: Words,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Interval {
    sensor: SensorId,
    poll_interval: Option<OrderedInterval>,
    reason: Words,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeout {
    sensor: SensorId,
    answer_timeout: Option<OrderedTimeout>,
    reason: Words,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    sensor: SensorId,
    reason: Words,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Poll, Self::Add, Self::Interval, Self::Timeout, Self::Pause, Self::Resume];
    /// Largest request in bytes.
    pub const REQUEST_BYTES_MAX: usize = 16 << 10;

    /// Its name in subjects and paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Add => "add",
            Self::Interval => "interval",
            Self::Timeout => "timeout",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// The endpoint with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// It is not one to this endpoint.
    fn order(self, body: &[u8]) -> Result<Order, Refusal> {
        if body.len() > Self::REQUEST_BYTES_MAX {
            let words = format!(
                "the request is too large: at most {} bytes are read",
                Self::REQUEST_BYTES_MAX
            );
            return Err(Refusal { code: 413, words });
        }
        let of = |sensor, what, reason| Order::Sensor { sensor, what, actor: None, reason };
        Ok(match self {
            Self::Poll => {
                let Poll { sensor, reason } = parse(body)?;
                Order::Poll { sensor, actor: None, reason }
            }
            Self::Add => {
                let Add { sensor, reason } = parse(body)?;
                of(sensor.id, SensorOrder::Add(sensor), reason)
            }
            Self::Interval => {
                let Interval { sensor, poll_interval, reason } = parse(body)?;
                of(sensor, SensorOrder::Interval { poll_interval }, reason)
            }
            Self::Timeout => {
                let Timeout { sensor, answer_timeout, reason } = parse(body)?;
                of(sensor, SensorOrder::AnswerTimeout { answer_timeout }, reason)
            }
            Self::Pause => {
                let About { sensor, reason } = parse(body)?;
                of(sensor, SensorOrder::Pause, reason)
            }
            Self::Resume => {
                let About { sensor, reason } = parse(body)?;
                of(sensor, SensorOrder::Resume, reason)
            }
        })
    }
}

impl Operator {
    /// Carries out a request of a program. `offered` is the API token that it sends. Returns the
    /// answer as JSON.
    ///
    /// # Errors
    /// The token does not allow it, the request is wrong, or it cannot be carried out.
    pub async fn request(
        &self,
        endpoint: Endpoint,
        offered: Option<&str>,
        body: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let token = self.may_operate(offered)?;
        self.request_of(endpoint, &token, body).await
    }

    /// Carries out a request under a token that was admitted.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_of(
        &self,
        endpoint: Endpoint,
        token: &TokenDescription,
        body: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        if !token.scope.contains(&Scope::Operate) {
            return Err(no_scope());
        }
        let order = endpoint.order(body)?;
        // What is sealed under a token precedes the event of its revocation.
        let Some(effect) = self.tokens().effect(token).await else { return Err(no_token()) };
        let account = Account::named(&format!("token {}", token.name.as_str()));
        let done = self.carry_out(order, &account).await;
        drop(effect);
        match done {
            Ok(Done::Poll(reading)) => Ok(json(&reading)),
            Ok(done) => Ok(json(&done)),
            Err(error) => Err(Refusal { code: code(&error), words: error_chain(&error) }),
        }
    }

    fn may_operate(&self, offered: Option<&str>) -> Result<TokenDescription, Refusal> {
        let offered = offered.ok_or_else(no_token)?;
        self.tokens().admit(offered).ok_or_else(no_token)
    }
}

fn no_token() -> Refusal {
    let words = "send an API token that may operate (`Authorization: Bearer ...`): `sealwire token create --scope operate` makes one";
    Refusal { code: 401, words: words.to_owned() }
}

fn no_scope() -> Refusal {
    let words = "this API token may not operate: `sealwire token create --scope operate` makes one that may";
    Refusal { code: 403, words: words.to_owned() }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal {
        code: 400,
        words: format!("the request is not understood: {error}"),
    })
}

fn json(answer: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("an answer has only text keys")
}

fn code(error: &OperatorError) -> u16 {
    match error {
        OperatorError::SensorOrder(refused) => match refused.kind() {
            Refused::Unknown => 404,
            Refused::Invalid => 400,
            Refused::Conflict => 409,
            Refused::ForNow => 503,
        },
        OperatorError::Busy | OperatorError::NotPolling => 503,
        OperatorError::Slow => 504,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: &str = "a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3";

    #[test]
    fn a_request_is_an_order_or_says_what_is_wrong() {
        let of =
            |endpoint: Endpoint, body: &str| endpoint.order(body.replace("ID", SENSOR).as_bytes());
        for (endpoint, body) in [
            (Endpoint::Poll, r#"{"sensor":"ID"}"#),
            (Endpoint::Interval, r#"{"sensor":"ID","poll_interval":5000,"reason":"a test"}"#),
            (Endpoint::Interval, r#"{"sensor":"ID","poll_interval":null,"reason":"a test"}"#),
            (Endpoint::Timeout, r#"{"sensor":"ID","answer_timeout":5000,"reason":"a test"}"#),
            (Endpoint::Timeout, r#"{"sensor":"ID","answer_timeout":null,"reason":"a test"}"#),
            (Endpoint::Pause, r#"{"sensor":"ID","reason":"a test"}"#),
            (
                Endpoint::Add,
                r#"{"sensor":{"alias":"P","id":"ID","poll_interval":1000,"poll_topic":"p.poll","read_topic":"p.read"},"reason":"a test"}"#,
            ),
        ] {
            assert!(of(endpoint, body).is_ok(), "{body}");
        }
        let long = format!(r#"{{"sensor":"{}"}}"#, "x".repeat(Endpoint::REQUEST_BYTES_MAX));
        for (endpoint, body, code, words) in [
            (Endpoint::Poll, "", 400, "EOF"),
            (Endpoint::Poll, "[]", 400, "the request is not understood"),
            (Endpoint::Poll, r#"{"sensor":"7"}"#, 400, "UUID"),
            (Endpoint::Pause, r#"{"sensor":"ID"}"#, 400, "missing field `reason`"),
            (Endpoint::Pause, r#"{"sensor":"ID","reason":" "}"#, 400, "not blank"),
            (Endpoint::Pause, r#"{"sensor":"ID","reason":"a","for":1}"#, 400, "unknown field"),
            (
                Endpoint::Interval,
                r#"{"sensor":"ID","poll_interval":99,"reason":"a"}"#,
                400,
                "99 ms is not allowed: use 100 to",
            ),
            (
                Endpoint::Timeout,
                r#"{"sensor":"ID","answer_timeout":60001,"reason":"a"}"#,
                400,
                "60001 ms for an answer is not allowed: use 10 to 60000 ms",
            ),
            (Endpoint::Poll, &long, 413, "at most 16384 bytes"),
        ] {
            let refusal = of(endpoint, body).unwrap_err();
            assert!(refusal.code == code && refusal.words.contains(words), "{body}: {refusal:?}");
        }
        assert!(Endpoint::ALL.iter().all(|it| Endpoint::of_name(it.name()) == Some(*it)));
        assert_eq!(Endpoint::of_name("list"), None);
    }
}
