//! What a server writes into its own log about a device or a host: why it ended a connection, or
//! refused what a client wanted to do. Nobody else learns of it. No IO.
//!
//! A line names the connection:
//! `[7] 2026/11/29 16:39:33.785544 [ERR] 10.0.0.7:4711 - mid:6 - "pico" - unacceptable ...`.
//! The server quotes what clients sent, so no client can write a line of its own.

use engine::accounts::Speaks;

/// What is said of a client whose handshake failed.
const NO_TLS: &str = "it did not go over to TLS";

/// What a line of the log says about a device or a host.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Told {
    /// The server's number of the connection.
    pub(super) connection: u64,
    /// MQTT client id, or empty.
    pub(super) client_id: String,
    /// The account of a client that speaks NATS and was let in.
    account: Option<String>,
    host: String,
    speaks: Speaks,
    why: String,
    /// What an operator can do about it; empty if the site knows nothing.
    pub(super) advice: &'static str,
}

impl Told {
    /// Reads a line; `None` if it is not about something that a device was refused, or if the site
    /// refused it itself.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_time, told) = line.split_once(" [ERR] ")?;
        let (address, told) = told.split_once(" - ")?;
        let (host, _port) = address.rsplit_once(':')?;
        let (number, told) = told.split_once(" - ")?;
        let (kind, connection) = number.split_once(':')?;
        let speaks = match kind {
            "cid" => Speaks::Nats,
            "mid" => Speaks::Mqtt,
            "lid" => Speaks::Leaf,
            _ => return None,
        };
        let (names, words) = names_before(told);
        // A client can name itself as it likes, but the server names the account last.
        let user = names.last().filter(|_| speaks == Speaks::Nats);
        let account = user.and_then(|user| user.split_once("/user:"));
        let account = account.map(|(account, _user)| account.to_owned());
        let client_id = match (speaks, names.into_iter().next()) {
            (Speaks::Mqtt, Some(id)) => id,
            _ => String::new(),
        };
        let (why, advice) = in_our_words(words)?;
        Some(Self {
            connection: connection.parse().ok()?,
            client_id,
            account,
            host: host.trim_matches(['[', ']']).to_owned(),
            speaks,
            why,
            advice,
        })
    }

    /// What was refused, and from where the device came.
    pub(crate) fn why(&self) -> String {
        let Self { host, speaks, why, .. } = self;
        format!("{why} (from {host} by {speaks})")
    }

    /// The account of the client, if it was let in.
    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// From where the client came.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the client was not let in because it did not go over to TLS.
    pub(crate) fn is_without_tls(&self) -> bool {
        self.why.starts_with(NO_TLS)
    }

    /// What is known of a device that has no credential.
    pub(super) fn who(&self) -> String {
        if self.client_id.is_empty() {
            format!("a device at {}", self.host)
        } else {
            self.client_id.clone()
        }
    }
}

/// The quoted names at the beginning, each followed by a hyphen, and the rest.
fn names_before(mut told: &str) -> (Vec<String>, &str) {
    let mut names = Vec::new();
    while let Some(quoted) = told.strip_prefix('"') {
        let mut is_escaped = false;
        let end = quoted.find(|character| {
            let is_end = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            is_end
        });
        let split = end.and_then(|end| quoted.split_at_checked(end));
        let Some((name, rest)) =
            split.and_then(|(name, rest)| Some((name, rest.strip_prefix("\" - ")?)))
        else {
            break;
        };
        names.push(name.to_owned());
        told = rest;
    }
    (names, told)
}

/// What the server says, for people who do not know it, and what to do about it. What the site
/// itself refused is told already.
fn in_our_words(words: &str) -> Option<(String, &'static str)> {
    let quoted = |from: &str| -> Option<String> {
        let (subject, _rest) = from.strip_prefix('"')?.split_once('"')?;
        Some(format!("`{subject}`"))
    };
    let is_told = ["authentication error", "unable to connect: authentication", "Authorization"];
    if is_told.into_iter().any(|beginning| words.starts_with(beginning)) {
        return None;
    }
    let own_topics = "give the device the topics of its credential, or make one that covers these";
    Some(if words.starts_with("unacceptable protocol version of 5") {
        (
            String::from("it speaks MQTT 5, and the site MQTT 3.1.1"),
            "set the device or its library to MQTT 3.1.1",
        )
    } else if words.starts_with("unacceptable protocol version")
        || words.starts_with("older protocol")
    {
        (
            String::from("it speaks an old MQTT, and the site MQTT 3.1.1"),
            "set the device or its library to MQTT 3.1.1",
        )
    } else if words.starts_with("character not supported for MQTT topics") {
        (
            String::from("a topic of it has a space or another character that no topic may have"),
            "name the device's topics without spaces",
        )
    } else if words.starts_with("invalid character in client ID") {
        (
            String::from("its MQTT client id has a space, a dot, `*` or `>`"),
            "give the device its credential's name as client id",
        )
    } else if let Some(subject) =
        words.strip_prefix("Publish Violation - Subject ").and_then(quoted)
    {
        (format!("it may not publish to {subject}"), own_topics)
    } else if let Some(subject) = words.strip_prefix("Publish Violation on ").and_then(quoted) {
        (format!("it may not publish to {subject}"), own_topics)
    } else if let Some(subject) = words.strip_prefix("Subscription Violation on ").and_then(quoted)
    {
        (format!("it may not hear {subject}"), own_topics)
    } else if let Some(reply) = words.strip_prefix("Publish Violation - Reply ").and_then(quoted) {
        (
            format!("it may not ask for an answer at {reply}"),
            "have the device publish without a reply subject",
        )
    } else if let Some(subject) =
        words.strip_prefix("Subscription Violation - Subject ").and_then(quoted)
    {
        (format!("it may not hear {subject}"), own_topics)
    } else if words.starts_with("maximum payload exceeded") {
        (String::from("a message of it is too long"), "have the device send shorter messages")
    } else if let Some(failure) = words.strip_prefix("TLS handshake error: ") {
        (
            format!("{NO_TLS}: {failure}"),
            "have the device speak TLS and believe the site's authority: `sealwire ca show`",
        )
    } else {
        (format!("nats-server says: {words}"), "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn told(line: &str) -> (u64, String, String) {
        let told = Told::parse(&format!("[7] 2026/11/29 16:39:33.785544 [ERR] {line}")).unwrap();
        (told.connection, told.who(), told.why())
    }

    /// Lines as nats-server 2.15.1 wrote them.
    #[test]
    fn what_the_server_writes_becomes_a_reason() {
        for (line, connection, who, why) in [
            (
                r#"10.0.0.7:44275 - mid:6 - "" - unacceptable protocol version of 5"#,
                6,
                "a device at 10.0.0.7",
                "it speaks MQTT 5, and the site MQTT 3.1.1 (from 10.0.0.7 by MQTT)",
            ),
            (
                r#"10.0.0.7:48159 - mid:7 - "" - older protocol "MQIsdp" not supported"#,
                7,
                "a device at 10.0.0.7",
                "it speaks an old MQTT, and the site MQTT 3.1.1 (from 10.0.0.7 by MQTT)",
            ),
            (
                r#"[fd00::1]:3 - mid:8 - "pico" - character not supported for MQTT topics"#,
                8,
                "pico",
                "a topic of it has a space or another character that no topic may have (from fd00::1 by MQTT)",
            ),
            (
                r#"10.0.0.7:5 - mid:30 - "bad id.x" - invalid character in client ID "bad id.x""#,
                30,
                "bad id.x",
                "its MQTT client id has a space, a dot, `*` or `>` (from 10.0.0.7 by MQTT)",
            ),
            (
                r#"10.0.0.7:5 - cid:7 - "v1:py:pu\"mp - x" - "DEVICES/user:a" - Publish Violation - Subject "b.x""#,
                7,
                "a device at 10.0.0.7",
                "it may not publish to `b.x` (from 10.0.0.7 by NATS)",
            ),
            (
                r#"10.0.0.7:5 - cid:7 - "DEVICES/user:a" - Subscription Violation - Subject "b.x", SID 1"#,
                7,
                "a device at 10.0.0.7",
                "it may not hear `b.x` (from 10.0.0.7 by NATS)",
            ),
            (
                r#"10.0.0.7:5 - cid:8 - "DEVICES/user:a" - maximum payload exceeded: 9000000 vs 1048576"#,
                8,
                "a device at 10.0.0.7",
                "a message of it is too long (from 10.0.0.7 by NATS)",
            ),
            (
                r#"10.0.0.7:5 - cid:9 - "DEVICES/user:a" - Client parser ERROR, state=0"#,
                9,
                "a device at 10.0.0.7",
                "nats-server says: Client parser ERROR, state=0 (from 10.0.0.7 by NATS)",
            ),
        ] {
            assert_eq!(told(line), (connection, who.to_owned(), why.to_owned()), "{line}");
        }
    }

    #[test]
    fn what_is_no_refusal_is_left_out() {
        for line in [
            "[7] 2026/11/29 16:39:32.695413 [INF] Server is ready",
            "[7] 2026/11/29 16:39:32 [ERR] JetStream has no space left",
            r#"[7] 2026/11/29 16:39:39 [ERR] 10.0.0.7:3 - mid:29 - "w" - authentication error - User "zz""#,
            r#"[7] 2026/11/29 16:39:39 [ERR] 10.0.0.7:3 - mid:29 - "w" - unable to connect: authentication error"#,
            "[7] 2026/11/29 16:39:39 [ERR] 10.0.0.7:3 - rid:29 - a route",
            r#"[7] 2026/11/29 16:39:39 [ERR] 10.0.0.7:3 - cid:x - "w" - words"#,
            r#"[7] 2026/11/29 16:39:39 [ERR] 10.0.0.7:3 - cid:1 - "without an end"#,
            "",
        ] {
            let told = Told::parse(line);
            assert!(
                told.as_ref().is_none_or(|told| told.why.starts_with("nats-server says")),
                "{line}"
            );
        }
    }
}
