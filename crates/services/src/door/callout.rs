//! The questions of the devices' server about those who connect, and the answers: JSON web tokens
//! as NATS' auth callout wants them. No IO.
//!
//! The signature of a question is not checked: only the server itself can publish in the system
//! account, in which it asks.

use access::sensors::Offer;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use engine::accounts::{self, Speaks};
use model::Timestamp;
use nats::nkey::Seed;
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest question in bytes that is read. One about a device of ours has 2 KiB, and a client's
/// CONNECT by NATS at most 4 KiB. By MQTT anyone can show 64 KiB each of name, password and client
/// id, of which the server makes up to 2 MiB.
const QUESTION_BYTES_MAX: usize = 32 << 10;

/// The server asks whether to let a client in.
pub(super) struct Question {
    /// Id of the server.
    pub(super) server: String,
    /// The server's number of the connection.
    pub(super) connection: u64,
    /// How the client speaks.
    pub(super) speaks: Speaks,
    /// MQTT client id; empty for NATS, and if the client has none.
    pub(super) client_id: String,
    /// The server's name for the client, for this question only.
    user: String,
    host: String,
    shown: Shown,
    nonce: String,
}

/// Why a question is not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unread {
    /// The client shows more than any device has to show.
    TooLong,
    /// The server asks otherwise than we know it.
    NotUnderstood,
}

#[derive(Default, Deserialize)]
struct Shown {
    #[serde(default)]
    nkey: String,
    #[serde(default)]
    sig: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    pass: String,
    #[serde(default)]
    auth_token: String,
    #[serde(default)]
    jwt: String,
}

#[derive(Deserialize)]
struct Claims {
    nats: Asked,
}

#[derive(Deserialize)]
struct Asked {
    server_id: Server,
    user_nkey: String,
    client_info: Client,
    #[serde(default)]
    connect_opts: Shown,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Client {
    id: u64,
    #[serde(default)]
    host: String,
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "type")]
    speaks: String,
    #[serde(default)]
    mqtt_id: String,
    #[serde(default)]
    nonce: String,
}

impl Question {
    pub(super) fn parse(token: &[u8]) -> Result<Self, Unread> {
        if token.len() > QUESTION_BYTES_MAX {
            return Err(Unread::TooLong);
        }
        Self::read(token).ok_or(Unread::NotUnderstood)
    }

    fn read(token: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(token).ok()?.split('.');
        let claims = BASE64_URL_SAFE_NO_PAD.decode(parts.nth(1)?).ok()?;
        let Claims { nats: Asked { server_id, user_nkey, client_info, connect_opts } } =
            serde_json::from_slice(&claims).ok()?;
        let Client { id, host, kind, speaks, mqtt_id, nonce } = client_info;
        Some(Self {
            server: server_id.id,
            connection: id,
            speaks: match (kind.as_str(), speaks.as_str()) {
                ("Leafnode", _) => Speaks::Leaf,
                (_, "mqtt") => Speaks::Mqtt,
                _ => Speaks::Nats,
            },
            client_id: mqtt_id,
            user: user_nkey,
            host,
            shown: connect_opts,
            nonce,
        })
    }

    /// What the client shows. A token or a JWT is nothing that the site gives out, so it counts as
    /// a name that nobody has.
    pub(super) fn offer(&self) -> Offer<'_> {
        let Shown { nkey, sig, user, pass, auth_token, jwt } = &self.shown;
        if !nkey.is_empty() {
            Offer::Nkey { key: nkey, nonce: &self.nonce, signature: sig }
        } else if [user, pass, auth_token, jwt].into_iter().all(String::is_empty) {
            Offer::Nothing
        } else {
            Offer::Password { user, password: pass }
        }
    }

    /// What is known of a client that names no credential.
    pub(super) fn who(&self) -> String {
        let Shown { user, nkey, .. } = &self.shown;
        let named = [user, nkey, &self.client_id].into_iter().find(|name| !name.is_empty());
        named.map_or_else(|| format!("a device at {}", self.host), Clone::clone)
    }

    /// From where and how the client comes.
    pub(super) fn by(&self) -> String {
        format!("from {} by {}", self.host, self.speaks)
    }
}

/// An account in which clients are that the site lets in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Account {
    Devices,
    Applications,
}

impl Account {
    /// The account's name, and the name of everyone in it that was let in.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Devices => (accounts::DEVICES, accounts::ADMITTED),
            Self::Applications => (accounts::APPLICATIONS, accounts::ADMITTED_APPLICATION),
        }
    }
}

/// The answer to a [`Question`].
pub(super) enum Answer {
    /// The client is let in.
    LetIn {
        /// The account in which it is.
        account: Account,
        /// What it may do, as the server's configuration says it.
        permissions: Value,
    },
    /// The client is not let in. The server writes the reason to its log and does not tell the
    /// client.
    Refused(String),
}

/// Writes the answer to a question.
pub(super) fn encode(
    question: &Question,
    answer: &Answer,
    issuer: &Seed,
    now: Timestamp,
) -> String {
    let seconds = now.since(Timestamp::from_unix_micros(0)).as_secs();
    let sign = |claims: Value| {
        let header = BASE64_URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
        let body = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(body.as_bytes()));
        format!("{body}.{signature}")
    };
    let user = &question.user;
    let (token, error) = match answer {
        Answer::LetIn { account, permissions } => {
            let (account, name) = account.names();
            let claims = json!({
                "jti": user, "iat": seconds, "iss": issuer.public(), "sub": user,
                "aud": account, "name": name,
                "nats": {
                    "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
                    "pub": permissions.get("publish"), "sub": permissions.get("subscribe"),
                },
            });
            (Some(sign(claims)), None)
        }
        Answer::Refused(reason) => (None, Some(reason)),
    };
    sign(json!({
        "jti": user, "iat": seconds, "iss": issuer.public(), "sub": user, "aud": question.server,
        "nats": {
            "type": "authorization_response", "version": 2, "jwt": token, "error": error,
        },
    }))
}

/// The connection whose end the server tells of.
pub(super) fn ended(told: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Ending {
        client: Client,
    }
    serde_json::from_slice::<Ending>(told).ok().map(|ending| ending.client.id)
}

#[cfg(test)]
mod tests {
    use nats::nkey::Kind;

    use super::*;

    /// A question as nats-server 2.15.1 writes it, without the signature.
    fn asked(client_info: Value, connect_opts: Value) -> Question {
        let claims = json!({ "nats": {
            "server_id": { "name": "t", "host": "127.0.0.1", "id": "NSERVER", "version": "2.15.1" },
            "user_nkey": "UASKED", "client_info": client_info, "connect_opts": connect_opts,
            "type": "authorization_request", "version": 2,
        } });
        let token = format!("h.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
        let Ok(question) = Question::parse(token.as_bytes()) else { panic!("{token}") };
        question
    }

    #[test]
    fn a_question_says_who_comes_and_what_they_show() {
        let by_nats = json!({ "host": "10.0.0.7", "id": 9, "user": "U1", "kind": "Client",
            "type": "nats", "nonce": "n" });
        let nkey =
            asked(by_nats, json!({ "nkey": "U1", "sig": "s", "lang": "python3", "protocol": 1 }));
        assert_eq!(nkey.offer(), Offer::Nkey { key: "U1", nonce: "n", signature: "s" });
        assert_eq!((nkey.connection, nkey.speaks), (9, Speaks::Nats));
        let by_mqtt = json!({ "host": "10.0.0.8", "id": 10, "type": "mqtt", "mqtt_id": "pico" });
        let named = asked(by_mqtt.clone(), json!({ "user": "a", "pass": "b" }));
        assert_eq!(named.offer(), Offer::Password { user: "a", password: "b" });
        assert_eq!(
            (named.client_id.as_str(), named.by()),
            ("pico", "from 10.0.0.8 by MQTT".into())
        );
        let by_leaf = json!({ "host": "10.0.0.9", "id": 11, "kind": "Leafnode" });
        let leaf = asked(by_leaf, json!({ "user": "a", "pass": "b" }));
        assert_eq!(
            (leaf.speaks, leaf.by()),
            (Speaks::Leaf, "from 10.0.0.9 by NATS as a leaf node".into())
        );
        let nothing = asked(by_mqtt.clone(), json!({ "protocol": 1 }));
        assert_eq!((nothing.offer(), nothing.who()), (Offer::Nothing, "pico".into()));
        for shown in [json!({ "pass": "b" }), json!({ "auth_token": "b" }), json!({ "jwt": "b" })] {
            let Offer::Password { user: "", .. } = asked(by_mqtt.clone(), shown).offer() else {
                panic!("it is somebody")
            };
        }
        assert_eq!(Question::parse(b"no question").err(), Some(Unread::NotUnderstood));
        let long = Question::parse(&vec![b'x'; QUESTION_BYTES_MAX + 1]);
        assert_eq!(long.err(), Some(Unread::TooLong));
    }

    #[test]
    fn an_answer_is_signed_and_for_this_question_alone() {
        let issuer = Seed::from_bytes(Kind::Account, &[7; 32]);
        let question = asked(json!({ "id": 1, "type": "nats" }), json!({}));
        let read = |token: &str| -> Value {
            let claims = token.split('.').nth(1).unwrap();
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
        };
        let permissions = accounts::own_permissions(&["a.read"], &["a.poll"], Speaks::Mqtt);
        let answer = Answer::LetIn { account: Account::Devices, permissions };
        let answer =
            read(&encode(&question, &answer, &issuer, Timestamp::from_unix_micros(1_000_000)));
        assert_eq!(answer["sub"], "UASKED");
        assert_eq!(answer["aud"], "NSERVER");
        let user = read(answer["nats"]["jwt"].as_str().unwrap());
        assert_eq!(
            (&user["sub"], &user["aud"], &user["iat"]),
            (&"UASKED".into(), &"DEVICES".into(), &1.into())
        );
        // The server finds this name in its configuration when it reads that again.
        assert_eq!(user["name"], accounts::ADMITTED);
        assert_eq!(user["nats"]["pub"], json!({ "allow": ["a.read"] }));
        let hears = json!({ "allow": ["a.poll", "$MQTT.sub.>", "$MQTT.deliver.pubrel.>"] });
        assert_eq!(user["nats"]["sub"], hears);
        let permissions = accounts::application_permissions("shop");
        let answer = Answer::LetIn { account: Account::Applications, permissions };
        let answer = read(&encode(&question, &answer, &issuer, Timestamp::from_unix_micros(0)));
        let user = read(answer["nats"]["jwt"].as_str().unwrap());
        let names = (&user["aud"], &user["name"]);
        assert_eq!(names, (&"APPLICATIONS".into(), &accounts::ADMITTED_APPLICATION.into()));
        assert_eq!(user["nats"]["pub"], json!({ "allow": ["events.shop.>"] }));
        assert_eq!(user["nats"]["sub"], json!({ "allow": ["_INBOX.shop.>"] }));
        let refused = Answer::Refused(String::from("no"));
        let refused = read(&encode(&question, &refused, &issuer, Timestamp::from_unix_micros(0)));
        assert_eq!(
            (&refused["nats"]["error"], &refused["nats"]["jwt"]),
            (&"no".into(), &Value::Null)
        );
    }

    #[test]
    fn the_end_of_a_connection_names_it() {
        let told = br#"{"type":"io.nats.server.advisory.v1.client_disconnect","id":"x",
            "client":{"start":"2026-11-29T13:00:00Z","host":"127.0.0.1","id":34,"acc":"DEVICES"},
            "sent":{"msgs":0},"reason":"Kicked"}"#;
        assert_eq!((ended(told), ended(b"{}")), (Some(34), None));
    }
}
