//! Who may speak on a site's message bus, and about what. The table below is the only place for it.
//!
//! The bus consists of two servers that share nothing. The first is for devices, which need no
//! credentials yet: every client that can open a socket counts as a device. The second is for the
//! hosts, whose control subjects give power over the machine. Every client there has a certificate
//! of the site's own [`Authority`], which names it.
//!
//! One server could not do both. A server that admits some clients without credentials takes a
//! client for one of those before it looks at a certificate, and `wash host` can show only a
//! certificate.
//!
//! | server | account | user | publishes to | subscribes to |
//! |---|---|---|---|---|
//! | devices | | device, by NATS or MQTT | anything except reserved subjects | the same |
//! | devices | | site | the same | the same |
//! | hosts | control | site | orders to hosts | hosts' heartbeats, its own replies |
//! | hosts | control | host | its heartbeats, replies to the site | orders to hosts |
//! | hosts | data | site | work for components, replies to hosts | components' questions, its own replies |
//! | hosts | data | host | components' questions, replies to the site and to itself | work for components, its own replies |
//!
//! No account imports anything from another.

use std::fmt;

use async_nats::ConnectOptions;
use serde_json::{Value, json};

use crate::ca::{Authority, CredentialError, Identity};

/// Subjects that devices may neither publish to nor subscribe to: those of the server itself, other
/// clients' replies, and the names of the site and of the hosts.
const RESERVED: [&str; 8] =
    ["$JS.>", "$KV.>", "$O.>", "$SRV.>", "$SYS.>", "_INBOX.>", "runtime.>", "sealwire.>"];
/// Also reserved, except for subscriptions of MQTT clients: the server itself subscribes there for
/// a client that asks for more than QoS 0. It does not let an MQTT client name such a subject.
const MQTT_OWN: &str = "$MQTT.>";
/// Reply subjects of the hosts. A stock host uses this prefix and cannot be given another.
const HOST_REPLIES: &str = "_INBOX.>";
/// Subjects of the hosts' heartbeats.
pub const HEARTBEATS: &str = "runtime.operator.heartbeat.*";
/// Subjects on which hosts receive orders.
const ORDERS: &str = "runtime.host.>";
/// Users to which the devices' server assigns clients without credentials, over NATS and over MQTT.
pub(crate) const DEVICE: &str = "device";
pub(crate) const MQTT_DEVICE: &str = "mqtt-device";
/// User of the site on the devices' server.
const SITE: &str = "site";
/// Length of a password in random bytes.
const PASSWORD_BYTES: usize = 32;

/// A user of the hosts' server, identified by a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    SiteControl,
    SiteData,
    HostControl,
    HostData,
}

impl Role {
    /// The user's name in its certificate.
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

/// Questions between the components and the site.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// Subjects that the components answer.
    pub of_components: &'a [&'a str],
    /// Subjects that the site answers.
    pub of_site: &'a [&'a str],
}

/// The secret that distinguishes the site from a device. Each start generates a new one.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Generates a password.
    ///
    /// # Errors
    /// The machine yields no random bytes.
    pub fn random() -> Result<Self, CredentialError> {
        let mut bytes = [0; PASSWORD_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }
}

impl Password {
    /// User name and password of the site on the devices' server.
    #[must_use]
    pub fn of_site(&self) -> (&str, &str) {
        (SITE, &self.0)
    }
}

impl fmt::Debug for Password {
    /// Omits the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Password").finish_non_exhaustive()
    }
}

/// Credentials of the site itself on the hosts' server.
#[derive(Clone)]
pub struct Credentials {
    user: &'static str,
    tls: Box<async_nats::rustls::ClientConfig>,
}

impl Credentials {
    /// Credentials for the control account of the hosts' server.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_control(authority: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, Role::SiteControl)
    }

    /// Credentials for the data account of the hosts' server.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_data(authority: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, Role::SiteData)
    }

    fn certified(authority: &Authority, role: Role) -> Result<Self, CredentialError> {
        let tls = Box::new(authority.tls(&role.identity(authority)?)?);
        Ok(Self { user: role.name(), tls })
    }

    /// Options to connect with these credentials. Replies come to subjects that no other user may
    /// subscribe to.
    #[must_use]
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::new()
            .custom_inbox_prefix(replies(self.user))
            .require_tls(true)
            .tls_client_config(self.tls.as_ref().clone())
    }
}

impl fmt::Debug for Credentials {
    /// Omits what is secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Prefix of a user's reply subjects. Devices may not use subjects below it.
fn replies(user: &str) -> String {
    format!("sealwire.reply.{}", user.trim_end_matches(".sealwire"))
}

/// The users of the devices' server, for its configuration.
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
    // No client has these passwords: the server fills them in for clients that name no user.
    let Password(device) = Password::random()?;
    Ok(json!([
        user(DEVICE, &device, "STANDARD", &reserved),
        user(MQTT_DEVICE, &device, "MQTT", &RESERVED),
        user(SITE, password, "STANDARD", &reserved),
    ]))
}

/// The accounts of the hosts' server, for its configuration.
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
                // A host sends a message to its own inbox to learn that its subscriptions are
                // active.
                &[of_site, data_replies, &[HOST_REPLIES]],
                &[of_components, &[HOST_REPLIES]],
            ),
        ] },
    })
}
