//! How many subscriptions the devices have. `nats-server` limits them for a whole account or server
//! alone, where the site's own are, too; so the door looks for those that have too many. No IO.
//!
//! Looking at each connection takes the server 2 ms for a thousand of them. So the door asks for
//! the sum, which costs nothing, and looks only if that has grown by what one device may have, or
//! after a minute.

use std::time::Duration;

use engine::accounts::Speaks;
use serde::Deserialize;
use tokio::time::Instant;

/// Most subscriptions of one connection of a device with a credential: eight times as many as the
/// most sensors of a credential, because by MQTT each poll topic takes two.
pub(super) const SUBSCRIPTIONS_MAX: u64 = 4_096;
/// Longest time between two looks.
const PERIOD: Duration = Duration::from_secs(60);
/// Connections that one look sees: those with the most subscriptions, the site's among them.
const SEEN_MAX: usize = 64;

/// When to look.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// The least sum since the last look, and when that was.
    looked: Option<(u64, Instant)>,
}

impl Census {
    /// Whether to look, now that there are so many subscriptions.
    pub(super) fn is_due(&mut self, sum: u64, now: Instant) -> bool {
        let is_due = match &mut self.looked {
            None => true,
            Some((least, at)) => {
                *least = sum.min(*least);
                sum - *least > SUBSCRIPTIONS_MAX || now.duration_since(*at) >= PERIOD
            }
        };
        if is_due {
            self.looked = Some((sum, now));
        }
        is_due
    }

    /// Looks again at the next sum: the last look may not have seen everyone.
    pub(super) fn again(&mut self) {
        self.looked = None;
    }
}

/// The question for a look.
pub(super) fn question() -> String {
    serde_json::json!({ "sort": "subs", "limit": SEEN_MAX }).to_string()
}

/// The sum in the server's answer about an account.
pub(super) fn sum(answer: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        account_statz: Vec<Account>,
    }
    #[derive(Deserialize)]
    struct Account {
        num_subscriptions: u64,
    }
    let Answer { data } = serde_json::from_slice(answer).ok()?;
    data.account_statz.first().map(|account| account.num_subscriptions)
}

/// The connections with too many subscriptions in the server's answer to [`question`].
pub(super) fn too_many(answer: &[u8]) -> Vec<Seen> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        connections: Vec<Seen>,
        #[serde(default, rename = "leafs")]
        leaf_nodes: Vec<Seen>,
    }
    let Ok(Answer { data: Data { connections, leaf_nodes } }) = serde_json::from_slice(answer)
    else {
        return Vec::new();
    };
    let mut seen: Vec<_> =
        leaf_nodes.into_iter().map(|leaf| Seen { is_leaf: true, ..leaf }).collect();
    seen.extend(connections);
    seen.retain(|seen| seen.subscriptions > SUBSCRIPTIONS_MAX);
    seen
}

/// A connection that a look saw.
#[derive(Debug, Deserialize, Eq, PartialEq)]
pub(super) struct Seen {
    /// The server's number of the connection.
    #[serde(alias = "cid", alias = "id")]
    pub(super) connection: u64,
    #[serde(default)]
    ip: String,
    #[serde(default, rename = "type")]
    speaks: String,
    subscriptions: u64,
    #[serde(skip)]
    is_leaf: bool,
}

impl Seen {
    /// What was refused, and from where the device came.
    pub(super) fn why(&self) -> String {
        let Self { ip, speaks, is_leaf, .. } = self;
        let speaks = match speaks.as_str() {
            _ if *is_leaf => Speaks::Leaf,
            "mqtt" => Speaks::Mqtt,
            _ => Speaks::Nats,
        };
        format!("it has more than {SUBSCRIPTIONS_MAX} subscriptions (from {ip} by {speaks})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_due_when_one_device_may_have_too_many_and_each_minute() {
        let (mut census, begin) = (Census::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(census.is_due(200_000, at(0)), "at first nothing is known");
        assert!(!census.is_due(200_000 + SUBSCRIPTIONS_MAX, at(1)));
        assert!(census.is_due(200_001 + SUBSCRIPTIONS_MAX, at(2)));
        // Others that leave hide nobody who comes afterwards.
        assert!(!census.is_due(10, at(3)));
        assert!(census.is_due(11 + SUBSCRIPTIONS_MAX, at(4)));
        assert!(!census.is_due(11 + SUBSCRIPTIONS_MAX, at(63)));
        assert!(census.is_due(11 + SUBSCRIPTIONS_MAX, at(64)));
        census.again();
        assert!(census.is_due(0, at(65)));
    }

    /// Answers as nats-server 2.15.1 writes them.
    #[test]
    fn the_servers_answers_are_understood() {
        let accounts = br#"{"server":{"id":"N"},"data":{"server_id":"N","account_statz":[
            {"acc":"DEVICES","conns":8001,"num_subscriptions":1024005,"sent":{"msgs":0}}]}}"#;
        assert_eq!((sum(accounts), sum(b"{}")), (Some(1_024_005), None));
        let connections = br#"{"server":{"id":"N"},"data":{"num_connections":2,"total":8001,
            "connections":[
            {"cid":8007,"kind":"Client","type":"nats","ip":"10.0.0.7","port":1,"subscriptions":4097},
            {"cid":9,"kind":"Client","type":"mqtt","ip":"10.0.0.8","port":2,"subscriptions":4096}]}}"#;
        let found = too_many(connections);
        let [seen] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (seen.connection, seen.why().as_str()),
            (8_007, "it has more than 4096 subscriptions (from 10.0.0.7 by NATS)")
        );
        let leafs = br#"{"server":{"id":"N"},"data":{"server_id":"N","leafnodes":1,"leafs":[
            {"id":12,"name":"gateway","is_spoke":false,"account":"DEVICES","ip":"10.0.0.9",
            "port":3,"subscriptions":5000}]}}"#;
        let found = too_many(leafs);
        let [seen] = found.as_slice() else { panic!("{found:?}") };
        let why = "it has more than 4096 subscriptions (from 10.0.0.9 by NATS as a leaf node)";
        assert_eq!((seen.connection, seen.why().as_str()), (12, why));
        assert_eq!(too_many(b"{}"), []);
    }
}
