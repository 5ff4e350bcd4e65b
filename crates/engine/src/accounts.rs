//! Who may speak on a site's message bus, and about what. The table below is the only place for it.
//!
//! The bus consists of two servers that share nothing. The first is for devices. It asks the site
//! about each connection: whether to let it in, and what it may publish and hear (NATS' auth
//! callout). The second is for the hosts, whose control subjects give power over the machine. Every
//! client there has a certificate, which names it.
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
//! | hosts | control | site | orders to each host | heartbeats of each, its own replies |
//! | hosts | data | site | work for components, replies to hosts | components' questions and events, its own replies |
//! | hosts | guests | site | work for users' processors | its own replies |
//! | hosts | each host's own | host, control | its heartbeats, replies to the site | orders to it |
//! | hosts | each host's own | host, data | its components' questions or events, replies to the site and to itself | work for its components, its own replies |
//! | hosts | each guests' host's own | host, control | as that of any host | the same |
//! | hosts | each guests' host's own | host, data | replies to the site, a sign to itself | work for its processors, its own sign |
//! | hosts | operators | site | replies to operators | requests to its service |
//! | hosts | operators | operator | requests to the service | replies of the service |
//!
//! A host has an account of its own, so it neither hears nor says what is another's. What goes
//! between it and the site is exported and imported, message by message: its heartbeats and its
//! orders under its kind and name in the control account, work and questions in the data account.
//! Hosts that serve the same workload share its work, whichever account they are in. No other
//! account imports anything.
//!
//! A guests' host runs users' processors and nothing else. It exchanges nothing with the data
//! account: the site asks processors in an account and with reply subjects apart, so none of them
//! can answer what another component was asked.

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
/// Reply subjects of a host in its own account. A stock host uses this prefix and cannot be given
/// another.
const HOST_REPLIES: &str = "_INBOX.>";
/// Where a host sends itself a sign to learn that its subscriptions are active: one level. Replies
/// to questions of components come on two, and processors ask nobody.
const HOST_SIGN: &str = "_INBOX.*";
/// Reply subjects that the server makes for a request that goes from one account to another.
const SERVER_REPLIES: &str = "_R_.>";
/// Reply subjects of operators. Their tools use this prefix.
const OPERATOR_REPLIES: &str = "_INBOX.>";
/// Subjects on which NATS' services are found and asked about themselves.
const SERVICES: &str = "$SRV.>";
/// Subjects of a host's heartbeats in its own account.
const HEARTBEATS: &str = "runtime.operator.heartbeat.*";
/// Subjects on which a host receives orders in its own account.
const ORDERS: &str = "runtime.host.>";
/// Where the site hears the heartbeats of all hosts. [`HostAddress`] reads the subject of one.
pub const ALL_HEARTBEATS: &str = "sealwire.*.*.heartbeat.*";
/// Where the site gives orders to all hosts.
const ALL_ORDERS: &str = "sealwire.*.*.order.>";
/// Where components of a host on another machine hand in events; the last level is an idempotency
/// key.
const WRITTEN: &str = "sealwire.events.write.*";
/// Where the site hears the events of all these hosts. [`writer_of`] reads the subject of one.
pub const ALL_WRITTEN: &str = "sealwire.events.of.*.*";
/// Where the site answers them. [`answer_to`] makes the subject for one.
const ALL_TOLD: &str = "sealwire.events.told.>";
/// Where a host hears these answers: the reply subjects of its questions, in its own account.
const REPLIES_TO_QUESTIONS: &str = "_INBOX.*.*";
/// A subject of orders that nobody hears: there is no host of this name.
pub const NO_HOST: &str = "sealwire.host.@nobody.order.none";
/// Name of the hosts that the site itself starts, one of each kind. No credential can have it.
pub const OWN_HOST: &str = "@site";
/// Account in which the site asks components.
const DATA: &str = "DATA";
/// Account in which the site asks users' processors.
const GUESTS: &str = "GUESTS";
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
    SiteGuests,
    HostControl,
    HostData,
    GuestsControl,
    GuestsData,
    SiteService,
    Operator,
}

impl Role {
    /// The user's name in its certificate.
    const fn name(self) -> &'static str {
        match self {
            Self::SiteControl => "site-control.sealwire",
            Self::SiteData => "site-data.sealwire",
            Self::SiteGuests => "site-guests.sealwire",
            Self::HostControl => "host-control.sealwire",
            Self::HostData => "host-data.sealwire",
            Self::GuestsControl => "guests-control.sealwire",
            Self::GuestsData => "guests-data.sealwire",
            Self::SiteService => "site-service.sealwire",
            Self::Operator => "operator.sealwire",
        }
    }

    pub(crate) fn identity(self, authority: &Authority) -> Result<Identity, CredentialError> {
        authority.client(self.name())
    }

    /// The users of the host of this kind that the site itself starts: for control, and for data.
    pub(crate) const fn of_own_host(kind: HostKind) -> [Self; 2] {
        match kind {
            HostKind::Site => [Self::HostControl, Self::HostData],
            HostKind::Guests => [Self::GuestsControl, Self::GuestsData],
        }
    }
}

/// What a host runs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum HostKind {
    /// Components of the site.
    Site,
    /// Users' processors, and nothing else.
    Guests,
}

impl HostKind {
    const ALL: [Self; 2] = [Self::Site, Self::Guests];

    /// The kind's word in names of accounts and users, and in subjects.
    const fn word(self) -> &'static str {
        match self {
            Self::Site => "host",
            Self::Guests => "guests",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A host as the site reaches it: the server vouches for kind and name, and the host for the id.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostAddress {
    /// What it runs.
    pub kind: HostKind,
    /// Name of the host, which only its own certificates have.
    pub name: String,
    /// The id that it took at its start.
    pub id: String,
}

impl HostAddress {
    /// Who sent the heartbeat that came on this subject.
    #[must_use]
    pub fn of_heartbeat(subject: &str) -> Option<Self> {
        let words: Vec<&str> = subject.split('.').collect();
        match words.as_slice() {
            ["sealwire", kind, name, "heartbeat", id] => Some(Self {
                kind: HostKind::of_word(kind)?,
                name: String::from(*name),
                id: String::from(*id),
            }),
            _ => None,
        }
    }

    /// Subject of an order to this host, such as `workload.start`.
    #[must_use]
    pub fn order(&self, command: &str) -> String {
        let Self { kind, name, id } = self;
        format!("sealwire.{}.{name}.order.{id}.{command}", kind.word())
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, id } = self;
        match kind {
            HostKind::Site => write!(formatter, "{name} ({id})"),
            HostKind::Guests => write!(formatter, "{name}, for processors ({id})"),
        }
    }
}

/// A host on another machine, as the server knows it.
#[derive(Clone, Debug)]
pub struct OtherHost {
    /// What it runs.
    pub kind: HostKind,
    /// Its name: a level of subjects.
    pub name: String,
    /// Tells it from an earlier host of that name.
    pub id: String,
    /// Its certificates in PEM, one for control and one for data.
    pub certificates_pem: String,
}

impl OtherHost {
    /// Users of the certificates of the host with this id: for control, and for data.
    #[must_use]
    pub fn users(kind: HostKind, id: &str) -> [String; 2] {
        ["control", "data"].map(|plane| format!("{plane}.{id}.{}.sealwire", kind.word()))
    }
}

/// Who handed in the events that came on this subject: the host, for which the server vouches, and
/// the idempotency key.
#[must_use]
pub fn writer_of(subject: &str) -> Option<(&str, &str)> {
    subject.strip_prefix("sealwire.events.of.")?.split_once('.')
}

/// The subject on which the site answers this host, which wants its answer at `reply`; `None` if no
/// stock host asks for one there.
#[must_use]
pub fn answer_to(host: &str, reply: &str) -> Option<String> {
    let own = reply.strip_prefix("_INBOX.")?;
    let is_level =
        |level: &str| !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (connection, question) = own.split_once('.')?;
    (is_level(connection) && is_level(question))
        .then(|| format!("sealwire.events.told.{host}.{connection}.{question}"))
}

/// Kind and name of the host whose account this is, if it is one's.
#[must_use]
pub fn host_of_account(account: &str) -> Option<(HostKind, &str)> {
    let (word, name) = account.split_once('.')?;
    Some((HostKind::of_word(word)?, name))
}

/// Questions between the components and the site.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// Subjects that components on every host of the site answer.
    pub of_components: &'a [&'a str],
    /// Subjects that users' processors answer, on guests' hosts alone.
    pub of_guests: &'a [&'a str],
    /// Subjects that only components on the site's own host answer.
    pub of_own_components: &'a [&'a str],
    /// Subjects that the site answers to components on its own host.
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
    /// Credentials for the control account of the hosts' server. `authority` made the server's
    /// certificate, and `own` makes the site's.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_control(authority: &Authority, own: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, own, Role::SiteControl)
    }

    /// The same for the data account.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_data(authority: &Authority, own: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, own, Role::SiteData)
    }

    /// The same for the guests' account.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_guests(authority: &Authority, own: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, own, Role::SiteGuests)
    }

    /// The same for the operators' account.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn for_service(authority: &Authority, own: &Authority) -> Result<Self, CredentialError> {
        Self::certified(authority, own, Role::SiteService)
    }

    fn certified(
        authority: &Authority,
        own: &Authority,
        role: Role,
    ) -> Result<Self, CredentialError> {
        let tls = Box::new(authority.tls(&role.identity(own)?)?);
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

/// The accounts of the hosts' server, for its configuration: those of the site, of its own hosts,
/// and of these others.
pub(crate) fn hosts(traffic: Traffic<'_>, others: &[OtherHost]) -> Value {
    let Traffic { of_components, of_guests, of_own_components, of_site, of_service } = traffic;
    let [control, data, guests] = [Role::SiteControl, Role::SiteData, Role::SiteGuests]
        .map(|role| format!("{}.>", replies(role.name())));
    let of_kind = |kind, name, users| match kind {
        HostKind::Site => HostAccount {
            name,
            kind,
            users,
            answers: of_components.to_vec(),
            asks: Vec::new(),
            hands_in: true,
            replies: &data,
            own_replies: HOST_REPLIES,
        },
        HostKind::Guests => HostAccount {
            name,
            kind,
            users,
            answers: of_guests.to_vec(),
            asks: Vec::new(),
            hands_in: false,
            replies: &guests,
            own_replies: HOST_SIGN,
        },
    };
    let own = |kind| {
        let users = Role::of_own_host(kind).map(|role| role.name().to_owned());
        of_kind(kind, OWN_HOST, users)
    };
    let mut own_host = own(HostKind::Site);
    own_host.answers.extend(of_own_components);
    own_host.asks.extend(of_site);
    own_host.hands_in = false;
    let others = others
        .iter()
        .map(|OtherHost { kind, name, id, .. }| of_kind(*kind, name, OtherHost::users(*kind, id)));
    let hosts: Vec<HostAccount<'_>> =
        [own_host, own(HostKind::Guests)].into_iter().chain(others).collect();
    let answered = [of_components, of_own_components].concat();
    let of_site = [
        (
            "CONTROL",
            json!({
                "users": [
                    user(Role::SiteControl.name(), &[ALL_ORDERS], &[ALL_HEARTBEATS, &control]),
                ],
                "imports": hosts.iter().flat_map(HostAccount::controlled).collect::<Vec<Value>>(),
            }),
        ),
        (
            DATA,
            asking(
                user(
                    Role::SiteData.name(),
                    &[&answered[..], &[SERVER_REPLIES, ALL_TOLD]].concat(),
                    &[of_site, &[ALL_WRITTEN, &data]].concat(),
                ),
                (HostKind::Site, &answered, of_site),
                &hosts,
            ),
        ),
        (
            GUESTS,
            asking(
                user(Role::SiteGuests.name(), of_guests, &[&guests]),
                (HostKind::Guests, of_guests, &[]),
                &hosts,
            ),
        ),
        (
            "OPERATORS",
            json!({ "users": [
                user(
                    Role::SiteService.name(),
                    &[OPERATOR_REPLIES],
                    &[of_service, &[SERVICES]].concat(),
                ),
                user(
                    Role::Operator.name(),
                    &[of_service, &[SERVICES]].concat(),
                    &[OPERATOR_REPLIES],
                ),
            ] }),
        ),
    ];
    let of_site = of_site.map(|(name, account)| (name.to_owned(), account));
    let of_hosts = hosts.iter().map(|host| (host.account(), host.configuration()));
    Value::Object(of_site.into_iter().chain(of_hosts).collect())
}

/// The account in which the site, as this user, asks the hosts of a kind, and is asked by them.
fn asking(
    site: Value,
    (kind, answered, asked): (HostKind, &[&str], &[&str]),
    hosts: &[HostAccount<'_>],
) -> Value {
    let hosts = || hosts.iter().filter(|host| host.kind == kind);
    let offered = |what: &str, subject: &str, is_for: &dyn Fn(&HostAccount<'_>) -> bool| {
        let accounts: Vec<String> =
            hosts().filter(|host| is_for(host)).map(HostAccount::account).collect();
        json!({ what: subject, "accounts": accounts })
    };
    let work = answered
        .iter()
        .map(|subject| offered("stream", subject, &|host| host.answers.contains(subject)));
    let questions = asked
        .iter()
        .map(|subject| offered("service", subject, &|host| host.asks.contains(subject)));
    let told = hosts().filter(|host| host.hands_in);
    let told = told.map(|host| json!({ "stream": host.told(), "accounts": [host.account()] }));
    let replies = hosts().map(HostAccount::replying);
    json!({
        "users": [site],
        "exports": work.chain(questions).chain(told).collect::<Vec<Value>>(),
        "imports": replies.chain(hosts().filter_map(HostAccount::writing)).collect::<Vec<Value>>(),
    })
}

/// The account of a host.
struct HostAccount<'a> {
    name: &'a str,
    kind: HostKind,
    /// Its users for control and for data.
    users: [String; 2],
    /// Subjects on which the site gives its components work.
    answers: Vec<&'a str>,
    /// Subjects on which they ask the site.
    asks: Vec<&'a str>,
    /// Whether they may hand in events. Whether these are taken is for the site to say.
    hands_in: bool,
    /// Subjects on which they reply to it.
    replies: &'a str,
    /// Subjects of what the host sends to itself.
    own_replies: &'static str,
}

impl HostAccount<'_> {
    fn account(&self) -> String {
        format!("{}.{}", self.kind.word(), self.name)
    }

    /// The site's account with which it exchanges work.
    const fn exchange(&self) -> &'static str {
        match self.kind {
            HostKind::Site => DATA,
            HostKind::Guests => GUESTS,
        }
    }

    /// What the control account takes over from it, under its kind and name.
    fn controlled(&self) -> [Value; 2] {
        let account = self.account();
        [
            json!({
                "stream": { "account": account, "subject": HEARTBEATS },
                "to": format!("sealwire.{account}.heartbeat.*"),
            }),
            json!({
                "service": { "account": account, "subject": ORDERS },
                "to": format!("sealwire.{account}.order.>"),
            }),
        ]
    }

    /// What the site takes over from it: as a stream, because nats-server 2.15.1 does not let an
    /// account use a service that it gets to know when it reads its files again.
    fn replying(&self) -> Value {
        json!({ "stream": { "account": self.account(), "subject": self.replies } })
    }

    /// The events that the site takes over from it, under its name; as a stream, too.
    fn writing(&self) -> Option<Value> {
        self.hands_in.then(|| {
            json!({
                "stream": { "account": self.account(), "subject": WRITTEN },
                "to": format!("sealwire.events.of.{}.*", self.name),
            })
        })
    }

    /// Where the site answers these.
    fn told(&self) -> String {
        format!("sealwire.events.told.{}.*.*", self.name)
    }

    fn configuration(&self) -> Value {
        let Self { users: [control, data], answers, asks, hands_in, replies, own_replies, .. } =
            self;
        let exchange = self.exchange();
        let of_site = |kind: &str, subject: &str| json!({ kind: { "account": exchange, "subject": subject } });
        let work = answers.iter().map(|subject| of_site("stream", subject));
        let questions = asks.iter().map(|subject| of_site("service", subject));
        let told = hands_in.then(|| {
            json!({
                "stream": { "account": exchange, "subject": self.told() },
                "to": REPLIES_TO_QUESTIONS,
            })
        });
        let writes: &[&str] = if *hands_in { &[WRITTEN] } else { &[] };
        let exports = [
            json!({ "stream": HEARTBEATS, "accounts": ["CONTROL"] }),
            json!({ "service": ORDERS, "accounts": ["CONTROL"] }),
            json!({ "stream": replies, "accounts": [exchange] }),
        ];
        let exports = exports.into_iter();
        let written = writes.iter().map(|it| json!({ "stream": it, "accounts": [exchange] }));
        json!({
            "users": [
                user(control, &[HEARTBEATS, SERVER_REPLIES], &[ORDERS]),
                user(
                    data,
                    &[asks.as_slice(), writes, &[replies, own_replies]].concat(),
                    &[answers.as_slice(), &[own_replies]].concat(),
                ),
            ],
            "exports": exports.chain(written).collect::<Vec<Value>>(),
            "imports": work.chain(questions).chain(told).collect::<Vec<Value>>(),
        })
    }
}

fn user(name: &str, publishes: &[&str], hears: &[&str]) -> Value {
    json!({
        "user": name,
        "allowed_connection_types": ["STANDARD"],
        "permissions": { "publish": { "allow": publishes }, "subscribe": { "allow": hears } },
    })
}

#[cfg(test)]
mod tests;
