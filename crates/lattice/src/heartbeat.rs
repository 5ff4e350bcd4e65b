//! What hosts say about themselves.

use std::{collections::BTreeMap, fmt};

use engine::{
    HostAddress, HostKind,
    accounts::OWN_HOST,
    wash_host::{GROUP, GUESTS_GROUP},
};
use serde::Deserialize;

/// Longest id of a host in bytes. It is a part of subjects.
const ID_BYTES_MAX: usize = 64;
/// Longest name and group of a host in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest registry of a host in characters: a DNS name and a port.
const REGISTRY_CHARS_MAX: usize = 260;

/// Who a host is: kind and name, for which the bus vouches, and an id that is new at each start.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostId(HostAddress);

impl HostId {
    /// The host of this kind, name and id, unless the id could be more than one level of a subject.
    #[must_use]
    pub fn new(kind: HostKind, name: &str, id: &str) -> Option<Self> {
        Self::of(HostAddress { kind, name: name.to_owned(), id: id.to_owned() })
    }

    /// The host that sent the heartbeat on this subject.
    #[must_use]
    pub fn of_heartbeat(subject: &str) -> Option<Self> {
        Self::of(HostAddress::of_heartbeat(subject)?)
    }

    fn of(address: HostAddress) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let id = &address.id;
        let is_id = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain);
        is_id.then_some(Self(address))
    }

    /// The name for which the bus vouches.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// What it runs.
    #[must_use]
    pub const fn kind(&self) -> HostKind {
        self.0.kind
    }

    /// Whether it is one of the hosts that the site itself starts.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.name == OWN_HOST
    }

    /// Subject of an order to it.
    pub(crate) fn order(&self, command: &str) -> String {
        self.0.order(command)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a host says about itself every 15 s.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    /// Who it is.
    pub id: HostId,
    /// Its name for people, which it keeps over restarts.
    pub name: String,
    /// The group of hosts to which it belongs.
    pub group: String,
    /// Host and port of the registry from which it pulls.
    pub registry: String,
}

#[derive(Deserialize)]
struct HeartbeatJson {
    #[serde(default)]
    hostname: String,
    #[serde(rename = "environment")]
    registry: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Heartbeat {
    /// Reads a heartbeat of a stock host that was started to name its registry. `None` if it is
    /// none.
    #[must_use]
    pub fn parse(subject: &str, json: &[u8]) -> Option<Self> {
        let HeartbeatJson { hostname, registry, labels } = serde_json::from_slice(json).ok()?;
        let id = HostId::of_heartbeat(subject).filter(|_| is_registry(&registry))?;
        let short = |text: &str| -> String {
            text.chars().filter(|char| !char.is_control()).take(NAME_CHARS_MAX).collect()
        };
        // What another host calls itself is its own affair.
        let name = if id.is_own() { short(&hostname) } else { id.0.name.clone() };
        let group = labels.get("hostgroup").map_or(GROUP, String::as_str);
        // The bus knows who is for guests, and nobody else gets their work.
        let group = match id.kind() {
            HostKind::Guests => GUESTS_GROUP,
            HostKind::Site if group == GUESTS_GROUP => GROUP,
            HostKind::Site => group,
        };
        Some(Self { id, name, group: short(group), registry })
    }
}

/// Whether a text can stand before the name of an image.
fn is_registry(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (1..=REGISTRY_CHARS_MAX).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_of_the_host_on_whose_subject_it_comes_or_is_none() {
        let parse =
            |id: &str, json: &str| Heartbeat::parse(&format!("sealwire.{id}"), json.as_bytes());
        let json = r#"{"id":"another","hostname":"plant\n2","friendlyName":"odd-bird-1",
            "environment":"plant.example:5000","labels":{"hostgroup":"guests"},
            "workloadCount":"3","version":"2.10.3"}"#;
        let heartbeat = parse("guests.@site.heartbeat.0c4e-1", json).unwrap();
        let own = HostId::new(HostKind::Guests, OWN_HOST, "0c4e-1").unwrap();
        assert!(heartbeat.id == own && own.is_own());
        let Heartbeat { name, group, registry, .. } = heartbeat;
        let shown = [name.as_str(), group.as_str(), registry.as_str()];
        assert_eq!(shown, ["plant2", "guests", "plant.example:5000"]);
        // Only the bus can say that a host is for guests.
        assert_eq!(parse("host.hall-1.heartbeat.a", json).unwrap().group, "default");
        let other = parse("host.hall-1.heartbeat.a", r#"{"environment":"[fd00::1]:1"}"#).unwrap();
        assert_eq!((other.name.as_str(), other.group.as_str()), ("hall-1", "default"));
        assert!(!other.id.is_own());
        let long = "x".repeat(65);
        for id in ["", "a.b", "a b", ">", "*", "\u{e9}", long.as_str()] {
            assert_eq!(parse(&format!("host.hall-1.heartbeat.{id}"), json), None, "{id}");
        }
        for json in ["{", "{}", r#"{"environment":""}"#, r#"{"environment":"a/b"}"#] {
            assert_eq!(parse("host.hall-1.heartbeat.a", json), None, "{json}");
        }
    }
}
