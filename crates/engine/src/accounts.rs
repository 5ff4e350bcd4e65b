//! Who may speak on a site's message bus, and about what. The table below is the only place for it.
//!
//! The bus consists of two servers that share nothing. The first is for devices. It asks the site
//! about each connection: whether to let it in, and what it may publish and hear (NATS' auth
//! callout). The second is for the hosts, whose control subjects give power over the machine. Every
//! client there has a certificate of the site's own [`Authority`], which names it.
//!
//! One server could not do both in the open mode. A server that admits some clients without
//! credentials takes a client for one of those before it looks at a certificate, and `wash host`
//! can show only a certificate.
//!
//! | server | account | user | publishes to | subscribes to |
//! |---|---|---|---|---|
//! | devices | devices | device with a credential | heartbeats, readings and disconnects of its sensors | their polls, its receipts |
//! | devices | devices | leaf node with a credential | the same, except reserved subjects | the same |
//! | devices | devices | device of an open site | anything except reserved subjects | the same |
//! | devices | devices | site | anything except reserved subjects | the same |
//! | devices | applications | application | events under its own name | its own replies |
//! | devices | applications | site | replies to applications | events of each |
//! | devices | system | door | answers to the server; orders to close connections | the server's questions; ends of connections |
//! | hosts | control | site | orders to hosts | hosts' heartbeats, its own replies |
//! | hosts | control | host | its heartbeats, replies to the site | orders to hosts |
//! | hosts | data | site | work for components, replies to hosts | components' questions, its own replies |
//! | hosts | data | host | components' questions, replies to the site and to itself | work for components, its own replies |
//! | hosts | operators | site | replies to operators | requests to its service |
//! | hosts | operators | operator | requests to the service | replies of the service |
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
/// Reply subjects of operators. Their tools use this prefix.
const OPERATOR_REPLIES: &str = "_INBOX.>";
/// Subjects on which NATS' services are found and asked about themselves.
const SERVICES: &str = "$SRV.>";
/// Subjects of the hosts' heartbeats.
pub const HEARTBEATS: &str = "runtime.operator.heartbeat.*";
/// Subjects on which hosts receive orders.
const ORDERS: &str = "runtime.host.>";
/// Account of the devices on their server.
pub const DEVICES: &str = "DEVICES";
/// Account of the applications on the devices' server. No device is in it.
pub const APPLICATIONS: &str = "APPLICATIONS";
/// Account of the devices' server itself, and of the site's user that answers its questions.
const SYSTEM: &str = "SYSTEM";
/// Name of that user. No credential can have it, because it has a dot.
const DOOR: &str = "door.sealwire";
/// Name under which the devices' server knows each device that the site let in, and of a user in
/// its configuration whose password nobody has. When the server reads its configuration again, it
/// closes the connections of whoever has a name that is not there, and asks about the others anew.
/// No credential can have the name, because it has a dot.
pub const ADMITTED: &str = "device.sealwire";
/// The same for each application that the site let in.
pub const ADMITTED_APPLICATION: &str = "application.sealwire";
/// Name of the site's user among the applications.
const LISTENER: &str = "listener.sealwire";
/// First level of the subjects on which applications hand in events; the second is the
/// application's name.
pub const EVENTS: &str = "events";
/// Where the site hears the events of all applications.
pub const ALL_EVENTS: &str = "events.*.>";
/// Reply subjects of all applications.
const APPLICATION_REPLIES: &str = "_INBOX.>";
/// Where the server itself sends what an MQTT client hears with more than QoS 0. It lets no client
/// name such a subject.
const MQTT_DELIVERY: [&str; 2] = ["$MQTT.sub.>", "$MQTT.deliver.pubrel.>"];
/// Length of a password in random bytes.
const PASSWORD_BYTES: usize = 32;

/// A user of the hosts' server, identified by a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    SiteControl,
    SiteData,
    HostControl,
    HostData,
    SiteService,
    Operator,
}

impl Role {
    /// The user's name in its certificate.
    const fn name(self) -> &'static str {
        match self {
            Self::SiteControl => "site-control.sealwire",
            Self::SiteData => "site-data.sealwire",
            Self::HostControl => "host-control.sealwire",
            Self::HostData => "host-data.sealwire",
            Self::SiteService => "site-service.sealwire",
            Self::Operator => "operator.sealwire",
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
    /// Subjects that the site answers to operators.
    pub of_service: &'a [&'a str],
}

/// A secret that distinguishes a user of the site's from a device or an application. Each start
/// generates new ones.
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
    /// Options to connect to the devices' server as the user that answers its questions.
    #[must_use]
    pub fn of_door(&self) -> ConnectOptions {
        ConnectOptions::with_user_and_password(DOOR.to_owned(), self.0.clone())
    }

    /// Options to connect to the devices' server as the user that hears applications.
    #[must_use]
    pub fn of_listener(&self) -> ConnectOptions {
        ConnectOptions::with_user_and_password(LISTENER.to_owned(), self.0.clone())
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

    /// Credentials for the operators' account of the hosts' server.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_service(authority: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, Role::SiteService)
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

/// The identity of an operator on the hosts' server. Who has it may use the site's service.
///
/// # Errors
/// No certificate can be made.
pub fn operator(authority: &Authority) -> Result<Identity, CredentialError> {
    Role::Operator.identity(authority)
}

/// Prefix of a user's reply subjects. Devices may not use subjects below it.
fn replies(user: &str) -> String {
    format!("sealwire.reply.{}", user.trim_end_matches(".sealwire"))
}

/// Who the site is on the devices' server.
#[derive(Clone, Copy, Debug)]
pub struct OnDevices<'a> {
    /// Public nkey of the site's user among the devices.
    pub site: &'a str,
    /// Password of the user that answers the server's questions.
    pub door: &'a Password,
    /// Password of the user that hears applications.
    pub listener: &'a Password,
    /// Password of the users [`ADMITTED`] and [`ADMITTED_APPLICATION`], as whom nobody connects.
    pub nobody: &'a Password,
    /// Public nkey of the account key with which those answers are signed.
    pub issuer: &'a str,
}

impl OnDevices<'_> {
    /// The accounts of the devices' server, for its configuration, and whom it asks about others.
    pub(crate) fn accounts(&self) -> (Value, Value) {
        let Self {
            site,
            door: Password(door),
            listener: Password(listener),
            nobody: Password(nobody),
            issuer,
        } = self;
        let admitted = |user: &str| {
            json!({ "user": user, "password": nobody, "permissions": {
                "publish": { "deny": ">" }, "subscribe": { "deny": ">" },
            } })
        };
        let hears_applications = json!({
            "user": LISTENER,
            "password": listener,
            "permissions": {
                "publish": { "allow": APPLICATION_REPLIES }, "subscribe": { "allow": ALL_EVENTS },
            },
        });
        let accounts = json!({
            DEVICES: { "jetstream": "enabled", "users": [
                { "nkey": site, "permissions": open_permissions(Speaks::Nats) },
                admitted(ADMITTED),
            ] },
            APPLICATIONS: { "users": [hears_applications, admitted(ADMITTED_APPLICATION)] },
            SYSTEM: { "users": [{ "user": DOOR, "password": door }] },
        });
        let auth_users = [site, DOOR, LISTENER];
        let callout = json!({ "issuer": issuer, "account": SYSTEM, "auth_users": auth_users });
        (accounts, callout)
    }
}

/// The system account, for the configuration of the devices' server.
pub(crate) const SYSTEM_ACCOUNT: &str = SYSTEM;

/// How a device speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Speaks {
    /// By NATS.
    Nats,
    /// By MQTT.
    Mqtt,
    /// By NATS, as a server that others connect to.
    Leaf,
}

impl fmt::Display for Speaks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nats => "NATS",
            Self::Mqtt => "MQTT",
            Self::Leaf => "NATS as a leaf node",
        })
    }
}

/// What a device of an open site may do: everything except what is reserved.
#[must_use]
pub fn open_permissions(speaks: Speaks) -> Value {
    let reserved: Vec<&str> = RESERVED.into_iter().chain([MQTT_OWN]).collect();
    let unheard = match speaks {
        Speaks::Nats | Speaks::Leaf => reserved.as_slice(),
        Speaks::Mqtt => &RESERVED,
    };
    json!({ "publish": { "deny": reserved }, "subscribe": { "deny": unheard } })
}

/// What a device may do that may publish and hear these subjects and no other.
#[must_use]
pub fn own_permissions(publish: &[&str], subscribe: &[&str], speaks: Speaks) -> Value {
    match speaks {
        Speaks::Nats => {
            json!({ "publish": { "allow": publish }, "subscribe": { "allow": subscribe } })
        }
        Speaks::Mqtt => {
            let hears = [subscribe, &MQTT_DELIVERY].concat();
            json!({ "publish": { "allow": publish }, "subscribe": { "allow": hears } })
        }
        // The server lets a leaf node use its own subjects whatever is allowed, unless they are
        // denied.
        Speaks::Leaf => json!({
            "publish": { "allow": publish, "deny": [MQTT_OWN] },
            "subscribe": { "allow": subscribe, "deny": [MQTT_OWN] },
        }),
    }
}

/// What the application of this name may do: hand in events under its name, and hear the replies to
/// its own requests. The name is one level of a subject and has no wildcard, so no application
/// reaches another's subjects, also if one name begins with another.
#[must_use]
pub fn application_permissions(name: &str) -> Value {
    let (publish, subscribe) = (format!("{EVENTS}.{name}.>"), format!("{}>", replies_to(name)));
    json!({ "publish": { "allow": [publish] }, "subscribe": { "allow": [subscribe] } })
}

/// What each reply subject of the application of this name begins with. The server does not check
/// where an application wants its replies, so the site does.
#[must_use]
pub fn replies_to(name: &str) -> String {
    format!("_INBOX.{name}.")
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
    let Traffic { of_components, of_site, of_service } = traffic;
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
        "OPERATORS": { "users": [
            user(Role::SiteService, &[&[OPERATOR_REPLIES]], &[of_service, &[SERVICES]]),
            user(Role::Operator, &[of_service, &[SERVICES]], &[&[OPERATOR_REPLIES]]),
        ] },
    })
}
