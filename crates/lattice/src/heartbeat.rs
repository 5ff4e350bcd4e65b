//! What hosts say about themselves.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// Longest id of a host in bytes. It is a part of subjects.
const ID_BYTES_MAX: usize = 64;
/// Longest name and group of a host in characters.
const NAME_CHARS_MAX: usize = 64;
/// The group of a host that names none.
const DEFAULT_GROUP: &str = "default";

/// The id of a host, which is new at each start of it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostId(String);

impl HostId {
    /// The id, unless it could be more than one level of a subject.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_id = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain);
        is_id.then(|| Self(id.to_owned()))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a host says about itself every 15 s.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heartbeat {
    /// Its id.
    pub id: HostId,
    /// Its name, which it keeps over restarts.
    pub name: String,
    /// The group of hosts to which it belongs.
    pub group: String,
}

#[derive(Deserialize)]
struct HeartbeatJson {
    id: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Heartbeat {
    /// Reads a heartbeat of a stock host. `None` if it is none.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        let HeartbeatJson { id, hostname, labels } = serde_json::from_slice(json).ok()?;
        let id = HostId::parse(&id)?;
        let short = |text: &str| -> String {
            text.chars().filter(|char| !char.is_control()).take(NAME_CHARS_MAX).collect()
        };
        let name = if hostname.is_empty() { id.to_string() } else { short(&hostname) };
        let group = labels.get("hostgroup").map_or(DEFAULT_GROUP, String::as_str);
        Some(Self { id, name, group: short(group) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_names_one_level_of_a_subject_or_is_none() {
        let parse = |json: &str| Heartbeat::parse(json.as_bytes());
        let heartbeat = parse(
            r#"{"id":"0c4e-1","hostname":"plant\n2","friendlyName":"odd-bird-1",
                "labels":{"hostgroup":"guests"},"workloadCount":"3","version":"2.10.3"}"#,
        );
        let heartbeat = heartbeat.unwrap();
        assert_eq!(heartbeat.id.to_string(), "0c4e-1");
        assert_eq!((heartbeat.name.as_str(), heartbeat.group.as_str()), ("plant2", "guests"));
        let plain = parse(r#"{"id":"a"}"#).unwrap();
        assert_eq!((plain.name.as_str(), plain.group.as_str()), ("a", "default"));
        let long = "x".repeat(65);
        for id in ["", "a.b", "a b", ">", "*", "\u{e9}", long.as_str()] {
            assert_eq!(parse(&format!(r#"{{"id":"{id}"}}"#)), None, "{id}");
        }
        assert_eq!(parse("{"), None);
    }
}
