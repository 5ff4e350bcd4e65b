//! Who may speak on a site's bus, and about what: the one table.
//!
//! The bus is two servers that share nothing. One is for devices, which need no credentials yet: a
//! client that can open a socket is a device. The other is for the hosts, whose control subjects
//! are the keys to the machine; everyone there has a certificate of the site's own [`Authority`],
//! which names them. They are two because a server that lets some clients in without credentials
//! takes a client for one of those before it looks at the certificate, and `wash host` can show
//! nothing but a certificate.
//!
//! | server | account | user | publishes | hears |
//! |---|---|---|---|---|
//! | devices | | device, by NATS or MQTT | anything but what is reserved | the same |
//! | devices | | site | the same | the same |
//! | hosts | control | site | orders to hosts | hosts' signs of life, its own replies |
//! | hosts | control | host | its signs of life, replies to the site | orders to hosts |
//! | hosts | data | site | work for components, replies to hosts | components' questions, its own replies |
//! | hosts | data | host | components' questions, replies to the site and to itself | work for components, its own replies |
//!
//! Nothing is imported from one account into another.

use std::fmt;

use async_nats::ConnectOptions;
use serde_json::{Value, json};

use crate::ca::{Authority, CredentialError, Identity};

/// What devices may neither publish nor hear: what belongs to the server itself, other clients'
/// replies, and the names of the site and of the hosts.
const RESERVED: [&str; 8] =
    ["$JS.>", "$KV.>", "$O.>", "$SRV.>", "$SYS.>", "_INBOX.>", "runtime.>", "sealwire.>"];
/// Reserved too, but for MQTT clients to hear: the server itself subscribes there on behalf of one
/// that asks for more than QoS 0. It lets none of them name such a subject.
const MQTT_OWN: &str = "$MQTT.>";
/// Where hosts get replies: stock hosts cannot be told another prefix.
const HOST_REPLIES: &str = "_INBOX.>";
/// Where hosts say that they live.
pub const HEARTBEATS: &str = "runtime.operator.heartbeat.*";
/// Where hosts take orders.
const ORDERS: &str = "runtime.host.>";
/// Whom the devices' server takes a client without credentials for, by NATS and by MQTT.
pub(crate) const DEVICE: &str = "device";
pub(crate) const MQTT_DEVICE: &str = "mqtt-device";
/// The site among devices.
const SITE: &str = "site";
/// Random bytes of a password.
const PASSWORD_BYTES: usize = 32;

/// A user of the hosts' server, known by a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    SiteControl,
    SiteData,
    HostControl,
    HostData,
}

impl Role {
    /// As the certificate says it.
    const fn name(self) -> &'static str {
        match self {
            Self::SiteControl => "site-control.sealwire",
            Self::SiteData => "site-data.sealwire",
            Self::HostControl => "host-control.sealwire",
            Self::HostData => "host-data.sealwire",
        }
    }

    pub(crate) fn identity(self, authority: &Authority) -> Result<Identity, CredentialError> {
        authority.client(self.name())
    }
}

/// What components and the site ask each other.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// Subjects that components answer.
    pub of_components: &'a [&'a str],
    /// Subjects that the site answers.
    pub of_site: &'a [&'a str],
}

/// The secret that tells the site from a device. It is new at each start.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// A new one.
    ///
    /// # Errors
    /// The machine yields no random bytes.
    pub fn random() -> Result<Self, CredentialError> {
        let mut bytes = [0; PASSWORD_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }
}

impl fmt::Debug for Password {
    /// Without the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Password").finish_non_exhaustive()
    }
}

/// What lets the site itself in.
#[derive(Clone)]
pub struct Credentials {
    user: &'static str,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    Password(Password),
    Certificate(Box<async_nats::rustls::ClientConfig>),
}

impl Credentials {
    /// The site among devices.
    #[must_use]
    pub const fn among_devices(password: Password) -> Self {
        Self { user: SITE, proof: Proof::Password(password) }
    }

    /// The site where hosts take orders.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_control(authority: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, Role::SiteControl)
    }

    /// The site where components work.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_data(authority: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, Role::SiteData)
    }

    fn certified(authority: &Authority, role: Role) -> Result<Self, CredentialError> {
        let tls = authority.tls(&role.identity(authority)?)?;
        Ok(Self { user: role.name(), proof: Proof::Certificate(Box::new(tls)) })
    }

    /// How to connect with them. Replies come to subjects that no other user may hear.
    #[must_use]
    pub fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new().custom_inbox_prefix(replies(self.user));
        match &self.proof {
            Proof::Password(Password(password)) => {
                options.user_and_password(self.user.to_owned(), password.clone())
            }
            Proof::Certificate(tls) => {
                options.require_tls(true).tls_client_config(tls.as_ref().clone())
            }
        }
    }
}

impl fmt::Debug for Credentials {
    /// Without what is secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Prefix of a user's replies. It is below a name that devices may not use.
fn replies(user: &str) -> String {
    format!("sealwire.reply.{}", user.trim_end_matches(".sealwire"))
}

/// The users of the devices' server.
pub(crate) fn devices(Password(password): &Password) -> Result<Value, CredentialError> {
    let all_but = |subjects: &[&str]| json!({ "deny": subjects });
    let reserved: Vec<&str> = RESERVED.into_iter().chain([MQTT_OWN]).collect();
    let user = |name: &str, password: &str, connection: &str, unheard: &[&str]| {
        json!({
            "user": name,
            "password": password,
            "allowed_connection_types": [connection],
            "permissions": { "publish": all_but(&reserved), "subscribe": all_but(unheard) },
        })
    };
    // Nobody has the devices' passwords: the server fills them in for clients that name no user.
    let Password(device) = Password::random()?;
    Ok(json!([
        user(DEVICE, &device, "STANDARD", &reserved),
        user(MQTT_DEVICE, &device, "MQTT", &RESERVED),
        user(SITE, password, "STANDARD", &reserved),
    ]))
}

/// The accounts of the hosts' server.
pub(crate) fn hosts(traffic: Traffic<'_>) -> Value {
    let user = |role: Role, publishes: &[&[&str]], hears: &[&[&str]]| {
        json!({
            "user": role.name(),
            "allowed_connection_types": ["STANDARD"],
            "permissions": {
                "publish": { "allow": publishes.concat() },
                "subscribe": { "allow": hears.concat() },
            },
        })
    };
    let [control, data] =
        [Role::SiteControl, Role::SiteData].map(|role| format!("{}.>", replies(role.name())));
    let (control_replies, data_replies): (&[&str], &[&str]) = (&[&control], &[&data]);
    let Traffic { of_components, of_site } = traffic;
    json!({
        "CONTROL": { "users": [
            user(Role::SiteControl, &[&[ORDERS]], &[&[HEARTBEATS], control_replies]),
            user(Role::HostControl, &[&[HEARTBEATS], control_replies], &[&[ORDERS]]),
        ] },
        "DATA": { "users": [
            user(
                Role::SiteData,
                &[of_components, &[HOST_REPLIES]],
                &[of_site, data_replies],
            ),
            user(
                Role::HostData,
                // By a message to its own inbox a host learns that its subscriptions stand.
                &[of_site, data_replies, &[HOST_REPLIES]],
                &[of_components, &[HOST_REPLIES]],
            ),
        ] },
    })
}
