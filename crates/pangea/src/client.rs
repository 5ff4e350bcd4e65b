//! The other side of `/v2/log`: makes requests to a server of Pangea's API, and judges answers.
//!
//! A server is believed in nothing that can be computed. [`Outcome::of`] recomputes the hash of
//! each envelope that comes back, and leads each membership proof to its root. What a server does
//! not show is not an error: a log without tamper-proofing shows no hashes. What it shows wrongly
//! is no answer.

use std::{
    borrow::Borrow,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use model::Envelope;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tlog::Hash;

use crate::{
    id::{Chance, RequestId},
    recompute::{fold, is_hash_of, parse_hash},
    request::EVENTS_MAX,
};

/// Longest reason of a server in characters, as it is kept and shown.
pub const REASON_CHARS_MAX: usize = 500;

/// Address of a server of Pangea's API: `http` or `https`, a host, and perhaps a port and a path,
/// without a slash at the end. The host is not this machine: a component cannot reach it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    text: String,
    /// Length of the part without the path.
    origin_len: usize,
}

impl Endpoint {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.text.get(..self.origin_len).unwrap_or(&self.text)
    }

    /// Whether everybody on the way can read the token.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        self.text.starts_with("http://")
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or(InvalidEndpoint::Form)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let of_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((ip, port)) => {
                let _valid: Ipv6Addr = ip.parse().map_err(|_| InvalidEndpoint::Form)?;
                (ip, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let of_host =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
        let is_port =
            |port: &str| port.strip_prefix(':').is_some_and(|it| it.parse::<u16>().is_ok());
        if host.is_empty()
            || !host.bytes().all(of_host)
            || !(port.is_empty() || is_port(port))
            || !path.bytes().all(of_path)
        {
            return Err(InvalidEndpoint::Form);
        }
        let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if is_loopback || host.eq_ignore_ascii_case("localhost") {
            return Err(InvalidEndpoint::ThisMachine);
        }
        Ok(Self { origin_len: text.len() - path.len(), text: text.to_owned() })
    }
}

/// A text that is no address of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It is no such address at all.
    #[error(
        "use the address of a server of Pangea's API, such as https://audit.aws.us.pangea.cloud: \
         `http` or `https`, a host, and perhaps a port and a path"
    )]
    Form,
    /// It is an address of this machine.
    #[error("a component cannot reach this machine's loopback: use an address of its network")]
    ThisMachine,
}

/// Id of one of a server's logs, its `config_id`: what a token is not bound to, a request must say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogAtServer(String);

impl LogAtServer {
    /// Longest id in bytes. Those of Pangea's cloud have 36.
    const BYTES_MAX: usize = 128;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogAtServer {
    type Err = InvalidLogAtServer;

    fn from_str(text: &str) -> Result<Self, InvalidLogAtServer> {
        let is_of_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_id = (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_id);
        if is_id { Ok(Self(text.to_owned())) } else { Err(InvalidLogAtServer) }
    }
}

/// A text that is no id of a server's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("use the config_id that the server shows, such as `pci_` and 32 letters and digits")]
pub struct InvalidLogAtServer;

/// An event as it goes to a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outgoing {
    /// JSON of the event.
    event: String,
    /// JSON of an item of the request.
    item: String,
}

impl Outgoing {
    /// The event of a sealed envelope, with the signature of whoever signed it. An event without a
    /// time of its own, which nobody signed, gets the time at which the site received it: the
    /// server receives it later.
    ///
    /// # Panics
    /// Never: an event has only text keys and no floating point.
    #[must_use]
    pub fn of(mut envelope: Envelope) -> Self {
        let event = &mut envelope.event;
        if event.timestamp.is_none() && event.signature.is_none() {
            event.timestamp = Some(envelope.received_at.to_string());
        }
        let json = serde_json::to_string(event).expect("an event has only text keys");
        let mut item = format!("{{\"event\":{json}");
        for (name, text) in [("public_key", &event.public_key), ("signature", &event.signature)] {
            if let Some(text) = text {
                item.push_str(&format!(",\"{name}\":{}", Value::from(text.as_str())));
            }
        }
        item.push('}');
        Self { event: json, item }
    }

    /// Bytes that the event adds to a request.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.item.len() + 1
    }

    /// Never: an event has at least its braces.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.item.is_empty()
    }
}

/// The body of a request that logs these events, at most [`EVENTS_MAX`] of them, in this log of the
/// server, or in that of the token.
#[must_use]
pub fn bulk_request(log: Option<&LogAtServer>, events: &[impl Borrow<Outgoing>]) -> Vec<u8> {
    debug_assert!(events.len() <= EVENTS_MAX, "a server refuses more");
    let items: Vec<&str> = events.iter().map(|outgoing| outgoing.borrow().item.as_str()).collect();
    let log = log.map(|LogAtServer(id)| format!("\"config_id\":\"{id}\",")).unwrap_or_default();
    format!("{{{log}\"events\":[{}],\"verbose\":true}}", items.join(",")).into_bytes()
}

/// The id under which a request is always sent, also after a restart. A server that knows it has
/// sealed the events already. `first` tells requests with the same body apart.
#[must_use]
pub fn request_id(unix_millis: u64, first: &[u8], body: &[u8]) -> RequestId {
    let digest = Hash::sha256(&[first, Hash::sha256(body).as_bytes()].concat());
    let chance: &Chance = digest.as_bytes().first_chunk().expect("a hash is longer");
    RequestId::new(unix_millis, *chance)
}

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The server has the events, and shows nothing wrong.
    Taken(Taken),
    /// The server will have an answer under this id.
    Promised(RequestId),
    /// The server does not take these events, whatever the caller does.
    Refused {
        /// Place in the request of the event that it names, if it names one.
        at: Option<usize>,
        /// The server's reason.
        reason: String,
    },
    /// The server refuses the caller, not the events: a wrong token, a wrong address.
    Denied(String),
    /// There is no answer that says what became of the request.
    Away {
        /// What is known.
        reason: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What a server answered about events that it took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// The server's id of the request.
    pub request_id: String,
    /// What it shows of each event, in the order of the request.
    pub events: Vec<Shown>,
}

/// What a server shows of an event that it took. Everything in it was checked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shown {
    /// SHA-256 of the envelope.
    pub hash: Option<Hash>,
    /// Membership proof from the hash to the root, in the server's words. A tree of one leaf has
    /// none.
    pub proof: Option<String>,
    /// Root of the server's tree.
    pub root: Option<Hash>,
    /// Whether the envelope holds something else than what was sent, such as a text that the server
    /// redacted.
    pub is_altered: bool,
}

impl Taken {
    /// The newest root.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        self.events.iter().rev().find_map(|shown| shown.root)
    }
}

/// What every answer is.
#[derive(Deserialize)]
pub(crate) struct Frame<'a> {
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) summary: String,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    results: Vec<Logged<'a>>,
}

#[derive(Deserialize)]
struct Logged<'a> {
    #[serde(borrow)]
    envelope: Option<&'a RawValue>,
    hash: Option<String>,
    membership_proof: Option<String>,
    unpublished_root: Option<String>,
}

#[derive(Default, Deserialize)]
struct Faults {
    #[serde(default)]
    errors: Vec<FaultOf>,
}

#[derive(Deserialize)]
struct FaultOf {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    source: String,
}

/// A server's status that says that a request succeeded.
pub(crate) const SUCCESS: &str = "Success";

impl Outcome {
    /// Judges a server's answer to a request with the events `sent`. `retry_after` is what the
    /// header says.
    #[must_use]
    pub fn of(
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
        sent: &[impl Borrow<Outgoing>],
    ) -> Self {
        let frame: Option<Frame<'_>> = serde_json::from_slice(body).ok();
        let away = |reason: String| Self::Away { reason: short(&reason), retry_after };
        let words = || match &frame {
            Some(frame) => format!("{status} {}: {}", frame.status, frame.summary),
            None => format!("{status}, and not in the words of Pangea's API"),
        };
        match status {
            200 => match frame {
                Some(frame) if frame.status == SUCCESS => match taken(&frame, sent) {
                    Ok(taken) => Self::Taken(taken),
                    Err(fault) => away(format!("the answer is wrong: {fault}")),
                },
                Some(_) => away(words()),
                None => away("the answer is no JSON, or only a part of it".to_owned()),
            },
            202 => match frame.and_then(|frame| frame.request_id.parse().ok()) {
                Some(id) => Self::Promised(id),
                None => away("202 without the id of a request".to_owned()),
            },
            400 | 413 | 422 => refused(frame.as_ref(), &words()),
            408 | 425 | 429 | 500.. => away(words()),
            _ => Self::Denied(short(&words())),
        }
    }
}

/// Whether a refusal is about the events, and about which of them.
fn refused(frame: Option<&Frame<'_>>, words: &str) -> Outcome {
    let result = frame.and_then(|frame| frame.result);
    let faults: Faults =
        result.and_then(|result| serde_json::from_str(result.get()).ok()).unwrap_or_default();
    let of_events = |fault: &&FaultOf| fault.source.split('/').nth(1) == Some("events");
    let named = faults.errors.iter().find(of_events);
    if named.is_none() && !faults.errors.is_empty() {
        // Something else than the events is wrong, such as the log that the token names.
        return Outcome::Denied(short(words));
    }
    let at = named.and_then(|fault| fault.source.split('/').nth(2)?.parse().ok());
    let reason = named.map_or_else(
        || words.to_owned(),
        |fault| format!("{words} ({}: {})", fault.source, fault.detail),
    );
    Outcome::Refused { at, reason: short(&reason) }
}

fn taken(frame: &Frame<'_>, sent: &[impl Borrow<Outgoing>]) -> Result<Taken, String> {
    let result = frame.result.ok_or("there is no result")?;
    let Results { results } =
        serde_json::from_str(result.get()).map_err(|error| format!("no results: {error}"))?;
    if results.len() != sent.len() {
        return Err(format!("{} results for {} events", results.len(), sent.len()));
    }
    let checked = results.iter().zip(sent).enumerate().map(|(at, (logged, sent))| {
        check(logged, sent.borrow()).map_err(|fault| format!("event {at}: {fault}"))
    });
    Ok(Taken { request_id: frame.request_id.clone(), events: checked.collect::<Result<_, _>>()? })
}

/// Checks everything that a server shows of an event.
fn check(logged: &Logged<'_>, sent: &Outgoing) -> Result<Shown, String> {
    let hash = logged.hash.as_deref().map(parse_hash).transpose()?;
    let root = logged.unpublished_root.as_deref().map(parse_hash).transpose()?;
    let proof = logged.membership_proof.clone().filter(|proof| !proof.is_empty());
    if let (Some(envelope), Some(hash)) = (logged.envelope, hash)
        && !is_hash_of(&hash, envelope)
    {
        return Err("the hash is not that of the envelope".to_owned());
    }
    if let (Some(hash), Some(root)) = (hash, root) {
        let reached = fold(hash, proof.as_deref().unwrap_or_default())?;
        if reached != root {
            return Err("the membership proof does not lead to the root".to_owned());
        }
    }
    let is_altered = logged.envelope.is_some_and(|envelope| !holds(envelope, sent));
    Ok(Shown { hash, proof, root, is_altered })
}

/// Whether the envelope's event has every field that was sent. A server may add fields, and write
/// the time in another form.
fn holds(envelope: &RawValue, sent: &Outgoing) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        event: Map<String, Value>,
    }
    let (Ok(envelope), Ok(sent)) = (
        serde_json::from_str::<Envelope>(envelope.get()),
        serde_json::from_str::<Map<String, Value>>(&sent.event),
    ) else {
        return false;
    };
    sent.iter().all(|(name, value)| name == "timestamp" || envelope.event.get(name) == Some(value))
}

/// A reason of a server, no longer than it is kept and shown.
pub(crate) fn short(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use model::{Event, Salt, Timestamp};
    use serde_json::json;
    use tlog::NodeHash as _;

    use super::*;
    use crate::{Schema, request::LogRequest};

    fn outgoing(message: &str) -> Outgoing {
        let event = Event { message: message.to_owned(), ..Event::default() };
        let received_at = Timestamp::from_unix_micros(1_000_000);
        Outgoing::of(Envelope { event, received_at, salt: Salt::from_random([1; 16]) })
    }

    fn hex(hash: Hash) -> String {
        hex::encode(hash.as_bytes())
    }

    /// An honest server's answer about `a` and `b`, which it has behind another leaf.
    fn answer() -> Value {
        let envelope = |message: &str| {
            json!({"event": {"message": message, "timestamp": "1970-01-01T00:00:01.000000Z"},
                "received_at": "2026-01-01T00:00:00.000000Z", "salt": "00"})
        };
        let hash_of = |envelope: &Value| Hash::sha256(envelope.to_string().as_bytes());
        let other = Hash::sha256(b"before");
        let (a, b) = (envelope("a"), envelope("b"));
        let below = tlog::Pangea::node(&other, &hash_of(&a));
        let root = tlog::Pangea::node(&below, &hash_of(&b));
        let logged = |envelope: Value, proof: String| {
            json!({"hash": hex(hash_of(&envelope)), "envelope": envelope,
                "membership_proof": proof, "unpublished_root": hex(root)})
        };
        let proof_of_a = format!("l:{},r:{}", hex(other), hex(hash_of(&b)));
        let proof_of_b = format!("l:{}", hex(below));
        json!({"request_id": "prq_x", "status": "Success", "summary": "", "result":
            {"results": [logged(a, proof_of_a), logged(b, proof_of_b)]}})
    }

    fn outcome(status: u16, answer: &Value) -> Outcome {
        let sent = [outgoing("a"), outgoing("b")];
        Outcome::of(status, None, answer.to_string().as_bytes(), &[&sent[0], &sent[1]])
    }

    #[test]
    fn an_endpoint_is_a_server_elsewhere() {
        for (text, origin) in [
            ("https://audit.aws.us.pangea.cloud", "https://audit.aws.us.pangea.cloud"),
            ("http://10.0.0.7:8081/", "http://10.0.0.7:8081"),
            ("https://[fd00::1]:8081/log/", "https://[fd00::1]:8081"),
            ("https://proxy.example/pangea", "https://proxy.example"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(
                (endpoint.origin(), endpoint.as_str()),
                (origin, text.trim_end_matches('/'))
            );
            assert_eq!(endpoint.is_in_clear(), text.starts_with("http:"));
        }
        for text in [
            "",
            "audit.example",
            "ftp://audit.example",
            "https://",
            "https://ada@audit.example",
            "https://audit.example:port",
            "https://audit.example:70000",
            "https://audit.example/?a=b",
            "https://audit.example/a b",
            "https://[audit]",
            "https://*.example",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(InvalidEndpoint::Form), "{text}");
        }
        for text in ["http://127.0.0.1:8081", "http://LocalHost", "https://[::1]:1"] {
            assert_eq!(text.parse::<Endpoint>(), Err(InvalidEndpoint::ThisMachine), "{text}");
        }
    }

    #[test]
    fn an_id_of_a_log_is_a_word() {
        assert_eq!("pci_7uqpsx".parse::<LogAtServer>().unwrap().as_str(), "pci_7uqpsx");
        for text in ["", "pci 7", "\"", "pci_\u{e9}", &"a".repeat(129)] {
            assert_eq!(text.parse::<LogAtServer>(), Err(InvalidLogAtServer), "{text}");
        }
    }

    #[test]
    fn what_an_honest_server_shows_is_taken() {
        let Outcome::Taken(taken) = outcome(200, &answer()) else { panic!("it is honest") };
        assert!(taken.events.iter().all(|shown| shown.hash.is_some() && !shown.is_altered));
        assert_eq!(taken.root(), taken.events[0].root);
        let mut bare = answer();
        bare["result"]["results"] = json!([{}, {}]);
        let Outcome::Taken(taken) = outcome(200, &bare) else { panic!("it need not show") };
        assert_eq!(taken.events, [Shown::default(), Shown::default()]);
        let mut redacted = answer();
        let logged = &mut redacted["result"]["results"][1];
        *logged = json!({"envelope": {"event": {"message": "[redacted]"}}});
        let Outcome::Taken(taken) = outcome(200, &redacted) else { panic!("it has the event") };
        assert!(taken.events[1].is_altered && !taken.events[0].is_altered);
    }

    #[test]
    fn what_a_server_shows_wrongly_is_no_answer() {
        let zero = "0".repeat(64);
        for (place, value, words) in [
            ("/result/results/0/hash", json!(zero), "the hash is not that of the envelope"),
            ("/result/results/1/unpublished_root", json!(zero), "does not lead to the root"),
            ("/result/results/1/membership_proof", json!("up"), "neither `l:` nor `r:`"),
            ("/result/results/0/envelope/salt", json!("01"), "the hash is not that"),
            ("/result/results", json!([{}]), "1 results for 2 events"),
            ("/result", json!({}), "no results"),
            ("/status", json!("Failed"), "200 Failed"),
        ] {
            let mut answer = answer();
            *answer.pointer_mut(place).unwrap() = value;
            let Outcome::Away { reason, .. } = outcome(200, &answer) else {
                panic!("{place} was believed")
            };
            assert!(reason.contains(words), "{place}: {reason}");
        }
        let half = answer().to_string();
        let (sent, half) = (outgoing("a"), &half.as_bytes()[..half.len() / 2]);
        assert!(matches!(Outcome::of(200, None, half, &[&sent]), Outcome::Away { .. }));
    }

    #[test]
    fn a_refusal_of_events_is_told_from_one_of_the_caller() {
        let refusal = |source: &str| {
            json!({"status": "ValidationError", "summary": "no", "result":
                {"errors": [{"code": "X", "detail": "why", "source": source}]}})
        };
        for (status, answer, expected) in [
            (400, refusal("/events/1/event/message"), Some(Some(1))),
            (400, refusal("/events"), Some(None)),
            (400, refusal("/config_id"), None),
            (400, json!({"status": "ValidationError"}), Some(None)),
            (413, json!("too large"), Some(None)),
            (401, refusal("/events/1"), None),
            (403, json!({}), None),
            (404, json!({}), None),
            (301, json!({}), None),
        ] {
            match (outcome(status, &answer), expected) {
                (Outcome::Refused { at, reason }, Some(expected)) => {
                    assert_eq!(at, expected, "{answer}");
                    assert!(reason.starts_with(&status.to_string()), "{reason}");
                }
                (Outcome::Denied(_), None) => {}
                (other, _) => panic!("{status} {answer}: {other:?}"),
            }
        }
        for status in [408, 429, 500, 502, 503] {
            let wait = Some(Duration::from_secs(7));
            let outcome = Outcome::of(status, wait, b"", &[outgoing("a")]);
            assert!(
                matches!(outcome, Outcome::Away { retry_after, .. } if retry_after == wait),
                "{status}: {outcome:?}"
            );
        }
        let id = RequestId::new(1, [2; 14]);
        let promise = json!({"request_id": id.as_str(), "status": "Accepted", "result": {}});
        assert_eq!(outcome(202, &promise), Outcome::Promised(id));
    }

    #[test]
    fn a_request_is_one_that_a_server_of_this_api_takes() {
        let sent = [outgoing("a \"quoted\" \u{2028} text"), outgoing("b")];
        let sent: Vec<&Outgoing> = sent.iter().collect();
        let log = "pci_a".parse().unwrap();
        let body = bulk_request(Some(&log), &sent);
        let request = LogRequest::parse_bulk(&body, &Schema::standard()).unwrap();
        assert_eq!((request.verbose, request.config_id.as_deref()), (true, Some("pci_a")));
        let body = bulk_request(None, &sent);
        let request = LogRequest::parse_bulk(&body, &Schema::standard()).unwrap();
        assert_eq!(request.config_id, None);
        let messages: Vec<_> = request.items.iter().map(|item| &item.fields["message"]).collect();
        let text = |text: &str| model::FieldValue::Text(text.to_owned());
        assert_eq!(messages, [&text("a \"quoted\" \u{2028} text"), &text("b")]);
        let id = request_id(7, b"log 5", &body);
        assert_eq!(id, request_id(7, b"log 5", &body));
        assert_ne!(id, request_id(7, b"log 6", &body));
        assert_eq!(id.unix_millis(), Some(7));
    }
}
