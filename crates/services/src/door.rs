//! Lets devices and applications in. The devices' server asks for each connection who it is (NATS'
//! auth callout), and this service answers from the site's credentials and tokens. Applications are
//! in an account of their own, in which no device is.
//!
//! It also closes the connections of a credential or token that was revoked, or of a key that has
//! ended. The server names each connection by a number, in its question and when the connection
//! ends. And it closes those that have too many subscriptions, which the server counts for it.
//!
//! Invariant: every connection that was let in and has not ended is in [`Guests`], so that it can
//! be closed. One that is to be closed is there until the server says that it has ended.

mod callout;
mod census;
mod guests;
pub(crate) mod told;

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use access::{
    ApiTokens, NkeyRefused,
    sensors::{
        Admission, Admits, Book, CredentialName, Offer, Permissions, Refusal, Refused,
        SensorCredentials,
    },
};
use async_nats::{Client, ConnectError, Message};
use engine::{
    Password,
    accounts::{self, Speaks},
};
use futures::StreamExt as _;
use model::{Event, Subject, action};
use nats::nkey::Seed;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use work::Service;

use crate::{bus::Server, sealing::ToSeal};
use callout::{Answer, Question, Unread};
use census::Census;
use guests::{Guest, Guests};
use told::Told;

/// Where the server asks.
const QUESTIONS: &str = "$SYS.REQ.USER.AUTH";
/// Where the server tells that a connection of an account has ended.
const ENDINGS: &str = "$SYS.ACCOUNT.*.DISCONNECT";
/// Where the server confirms that it closed a connection. Nobody listens there, but it carries out
/// no order without such a subject.
const CLOSED: &str = "door.closed";
/// Accounts whose subscriptions are counted.
const COUNTED: [&str; 2] = [accounts::DEVICES, accounts::APPLICATIONS];
/// Where the server answers how many subscriptions all clients of each of these accounts have
/// together.
const SUMS: [&str; 2] = ["door.sums.devices", "door.sums.applications"];
/// Where the server answers which connections have the most of them.
const LOOKS: &str = "door.looks";
/// Time between two looks at keys that end, at refusals to seal and at connections to close.
const TICK: Duration = Duration::from_secs(1);
/// Pause between attempts to reconnect. It is short: devices that come back before the door are
/// refused, and some of them give up after a few attempts.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Questions that wait. The server asks again when a device comes again.
const QUESTIONS_MAX: usize = 65_536;

/// Lets devices in. The fields are what the service needs at its start.
#[derive(Debug)]
pub struct Door {
    /// Connection to the system account of the devices' server.
    pub client: Client,
    /// The site's credentials.
    pub credentials: SensorCredentials,
    /// The tokens, with some of which applications connect.
    pub tokens: ApiTokens,
    /// Whom the site lets in without a credential.
    pub admits: Admits,
    /// Lines that the server writes into its log: the only place where it says why it ended a
    /// device's connection, or what it did not let a device do.
    pub server_log: mpsc::Receiver<String>,
    /// Signs the answers.
    pub issuer: Seed,
    /// Channel to the service that seals events.
    pub events: mpsc::WeakSender<ToSeal>,
}

/// Connects to the devices' server as the one that answers its questions.
///
/// # Errors
/// The server does not answer yet, or refuses the password.
pub async fn connect(server: &Server, password: &Password) -> Result<Client, ConnectError> {
    server
        .secured(password.of_door())
        .name("sealwire-door")
        .subscription_capacity(QUESTIONS_MAX)
        .reconnect_delay_callback(
            |attempts| if attempts <= 1 { Duration::ZERO } else { RECONNECT_PAUSE },
        )
        .connect(format!("nats://{}", server.address))
        .await
}

impl Service for Door {
    const NAME: &'static str = "the door for devices";
    type Error = async_nats::SubscribeError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        let mut questions = self.client.subscribe(QUESTIONS).await?;
        let mut endings = self.client.subscribe(ENDINGS).await?;
        let [of_devices, of_applications] = SUMS;
        let mut sums_of_devices = self.client.subscribe(of_devices).await?;
        let mut sums_of_applications = self.client.subscribe(of_applications).await?;
        let mut looks = self.client.subscribe(LOOKS).await?;
        let mut changed = self.credentials.watch();
        let mut tokens_changed = self.tokens.watch();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keeper = Keeper {
            door: self,
            guests: Guests::default(),
            server: String::new(),
            used: HashSet::new(),
            replaced: BTreeSet::new(),
            censuses: <[Census; COUNTED.len()]>::default(),
        };
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                // Before the questions: who was revoked is not let in again.
                Ok(()) = changed.changed() => keeper.close_those_that_ended().await,
                Ok(()) = tokens_changed.changed() => keeper.close_those_that_ended().await,
                // Once a second, and needed most while there are always questions.
                _ = ticks.tick() => keeper.tick().await,
                Some(sum) = sums_of_devices.next() => keeper.look_if_due(0, &sum.payload).await,
                Some(sum) = sums_of_applications.next() => {
                    keeper.look_if_due(1, &sum.payload).await;
                }
                Some(look) = looks.next() => keeper.close_those_with_too_many(&look.payload).await,
                Some(ending) = endings.next() => keeper.forget(&ending.payload),
                Some(question) = questions.next() => keeper.answer(question).await,
                Some(line) = keeper.door.server_log.recv() => keeper.hear(&line),
            }
        }
    }
}

/// What a credential permits, as the server takes it.
fn own_permissions(permissions: &Permissions, speaks: Speaks) -> Value {
    fn subjects(of: &BTreeSet<Subject>) -> Vec<&str> {
        of.iter().map(Subject::as_str).collect()
    }
    let Permissions { publish, subscribe } = permissions;
    accounts::own_permissions(&subjects(publish), &subjects(subscribe), speaks)
}

struct Keeper {
    door: Door,
    guests: Guests,
    /// Id of the server. Each start has another.
    server: String,
    /// Credentials of which the log records that they were used, with how: once a start.
    used: HashSet<(String, Speaks)>,
    /// Credentials whose new key was used, so that the one before it ends.
    replaced: BTreeSet<CredentialName>,
    /// When to look who has too many subscriptions in each counted account.
    censuses: [Census; COUNTED.len()],
}

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
enum TurnedAway {
    #[error(transparent)]
    Device(#[from] Refused),
    #[error(transparent)]
    Application(#[from] NkeyRefused),
}

impl TurnedAway {
    /// The credential or token that the client named, if there is one.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Device(refused) => refused.name().map(CredentialName::as_str),
            Self::Application(NkeyRefused::Unknown) => None,
            Self::Application(NkeyRefused::WrongSignature(name) | NkeyRefused::Revoked(name)) => {
                Some(name.as_str())
            }
        }
    }

    /// What an operator can do, so that the client is let in.
    const fn advice(&self) -> &'static str {
        match self {
            Self::Device(refused) => refused.advice(),
            Self::Application(NkeyRefused::Unknown | NkeyRefused::Revoked(_)) => {
                "nothing, if it was to go; otherwise make another token with `sealwire token create --nats`"
            }
            Self::Application(NkeyRefused::WrongSignature(_)) => {
                "give the application the nkey seed that was shown with its token"
            }
        }
    }
}

impl Keeper {
    async fn answer(&mut self, message: Message) {
        let Some(reply) = message.reply else { return };
        let question = match Question::parse(&message.payload) {
            Ok(question) => question,
            Err(Unread::TooLong) => {
                let why = "what it shows to be let in is too long";
                let advice =
                    "give the device the user name, password and client id of its credential";
                let refusal = Refusal::new("a device", why, advice);
                return self.door.credentials.refused(refusal, clock::now());
            }
            Err(Unread::NotUnderstood) => {
                return warn!("cannot understand the devices' server: its version may be too new");
            }
        };
        if self.server != question.server {
            // Connections to a server that is gone are gone too.
            self.guests = Guests::default();
            self.server.clone_from(&question.server);
        }
        let admitted = match self.guests.of(question.connection).cloned() {
            Some(guest) => self.admit_again(guest, question.speaks),
            None => self.admit(&question),
        };
        let answer = match admitted {
            Ok((guest, permissions)) => {
                let account = guest.account();
                // First, so that a revocation from here on finds the connection.
                if let Some(forgotten) = self.guests.enter(question.connection, guest) {
                    self.close(forgotten).await;
                }
                self.close_one_too_many(question.connection).await;
                Answer::LetIn { account, permissions }
            }
            Err(refused) => {
                let who = refused.name().map_or_else(|| question.who(), String::from);
                let by = question.by();
                let refusal = Refusal::new(&who, &format!("{refused} ({by})"), refused.advice());
                self.door.credentials.refused(refusal, clock::now());
                Answer::Refused(refused.to_string())
            }
        };
        let answer = callout::encode(&question, &answer, &self.door.issuer, clock::now());
        if let Err(error) = self.door.client.publish(reply, answer.into()).await {
            warn!(%error, "cannot answer the devices' server");
        }
    }

    /// Decides whether a client stays that was let in: the server asks about all of them when it
    /// has read its configuration again. It shows no secret of them then, and the number of the
    /// connection is enough, because the server gave it.
    fn admit_again(&self, guest: Guest, speaks: Speaks) -> Result<(Guest, Value), TurnedAway> {
        self.door.credentials.look(|book| match &guest {
            Guest::Anyone if self.door.admits.anyone(book) => {
                Ok((guest, accounts::open_permissions(speaks)))
            }
            Guest::Anyone => Err(Refused::NoCredentials.into()),
            Guest::With { name, nkey, .. } => match book.permissions(name, nkey) {
                Some(permissions) => Ok((guest, own_permissions(&permissions, speaks))),
                None => Err(Refused::Ended(name.clone()).into()),
            },
            Guest::Application(token) if self.door.tokens.stands(token) => {
                let permissions = accounts::application_permissions(token.name.as_str());
                Ok((guest, permissions))
            }
            Guest::Application(token) => Err(NkeyRefused::Revoked(token.name.clone()).into()),
        })
    }

    /// Decides whether a client is let in, and with which permissions.
    fn admit(&mut self, question: &Question) -> Result<(Guest, Value), TurnedAway> {
        let now = clock::now();
        let offer = question.offer();
        // An application is a client: a leaf node would bring in others.
        if let Offer::Nkey { key, nonce, signature } = offer
            && question.speaks == Speaks::Nats
        {
            match self.door.tokens.admit_nkey(key, (nonce, signature)) {
                Ok(token) => {
                    let permissions = accounts::application_permissions(token.name.as_str());
                    return Ok((Guest::Application(token), permissions));
                }
                // It may be a device's.
                Err(NkeyRefused::Unknown) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        let credentials = &self.door.credentials;
        if offer == Offer::Nothing && credentials.look(|book| self.door.admits.anyone(book)) {
            return Ok((Guest::Anyone, accounts::open_permissions(question.speaks)));
        }
        let admission = credentials.look(|book| {
            let admission = book.admit(offer, now)?;
            // A second client with the same id would end the session of the first.
            let id = &question.client_id;
            let is_of_another = id != admission.name.as_str() && book.has(id);
            if is_of_another || self.guests.is_used_by_another(id, &admission.name) {
                return Err(Refused::ClientId(admission.name));
            }
            Ok(admission)
        })?;
        let Admission { name, nkey, permissions, is_first_after_rotation } = admission;
        if is_first_after_rotation {
            self.replaced.insert(name.clone());
        }
        self.tell_use(&name, question);
        let client_id = question.client_id.clone();
        let permissions = own_permissions(&permissions, question.speaks);
        Ok((Guest::With { name, nkey, client_id }, permissions))
    }

    /// Seals that a credential was used, once for each protocol since the site started.
    fn tell_use(&mut self, name: &CredentialName, question: &Question) {
        if !self.used.insert((name.to_string(), question.speaks)) {
            return;
        }
        let message = format!("credential {name}: a device connected {}", question.by());
        let mut event = Event::site(action::CREDENTIAL_USED, "credentials", message, clock::now());
        event.target = Some(name.to_string());
        self.seal(event);
    }

    /// Closes the connections of credentials and keys that let nobody in any more, and those
    /// without credentials once there are some.
    async fn close_those_that_ended(&mut self) {
        let ended = self.door.credentials.look(|book| {
            let is_open = self.door.admits.anyone(book);
            let tokens = &self.door.tokens;
            self.guests.take_those(|guest| match guest {
                Guest::Anyone => !is_open,
                Guest::With { name, nkey, .. } => !book.stands(name, nkey),
                Guest::Application(token) => !tokens.stands(token),
            })
        });
        for connection in ended {
            self.close(connection).await;
        }
    }

    /// Closes the oldest connection of a new one's credential or token, if that has too many.
    async fn close_one_too_many(&mut self, new: u64) {
        let Some(holder) = self.guests.holder_of(new).cloned() else { return };
        let Some(oldest) = self.guests.one_too_many(&holder) else { return };
        let why = format!("it has more than {} connections", Guests::OF_HOLDER_MAX);
        let advice = "give each device its own credential, and connect each device once";
        self.door.credentials.refused(Refusal::new(holder.name(), &why, advice), clock::now());
        self.guests.leave(oldest);
        self.close(oldest).await;
    }

    /// Has the server count the subscriptions in each account.
    async fn count_subscriptions(&self) {
        for (account, sums) in COUNTED.into_iter().zip(SUMS) {
            let subject = format!("$SYS.REQ.ACCOUNT.{account}.STATZ");
            self.ask(subject, sums, String::from("{}")).await;
        }
    }

    /// Looks who has how many subscriptions in the account with this place in [`COUNTED`].
    async fn look_if_due(&mut self, place: usize, sum: &[u8]) {
        let (Some(census), Some(account)) = (self.censuses.get_mut(place), COUNTED.get(place))
        else {
            return;
        };
        if census::sum(sum).is_some_and(|sum| census.is_due(sum, Instant::now())) {
            // The server tells of clients and of leaf nodes apart.
            for kind in ["CONNZ", "LEAFZ"] {
                let subject = format!("$SYS.REQ.ACCOUNT.{account}.{kind}");
                self.ask(subject, LOOKS, census::question()).await;
            }
        }
    }

    /// Closes the connections of devices with too many subscriptions. The site has many of its own,
    /// and a device without a credential, which is on this machine, may have as many as it likes.
    async fn close_those_with_too_many(&mut self, look: &[u8]) {
        for seen in census::too_many(look) {
            let Some(holder) = self.guests.holder_of(seen.connection) else { continue };
            let advice = "correct its program: a device needs a few subscriptions";
            let refusal = Refusal::new(holder.name(), &seen.why(), advice);
            self.door.credentials.refused(refusal, clock::now());
            self.close(seen.connection).await;
            self.censuses.iter_mut().for_each(Census::again);
        }
    }

    async fn close(&self, connection: u64) {
        let subject = format!("$SYS.REQ.SERVER.{}.KICK", self.server);
        info!(connection, "closing the connection of a device that is not let in any more");
        self.ask(subject, CLOSED, format!(r#"{{"cid":{connection}}}"#)).await;
    }

    /// Asks the server for something; it answers at this subject.
    async fn ask(&self, subject: String, answer_at: &'static str, request: String) {
        let asked = self.door.client.publish_with_reply(subject, answer_at, request.into());
        if let Err(error) = asked.await {
            warn!(%error, answer_at, "cannot ask the devices' server");
        }
    }

    fn forget(&mut self, ending: &[u8]) {
        if let Some(connection) = callout::ended(ending) {
            self.guests.leave(connection);
        }
    }

    /// Counts what the server says of a refusal of its own.
    fn hear(&self, line: &str) {
        let Some(told) = Told::parse(line) else { return };
        let holder = self.guests.holder_of(told.connection);
        let who = holder.map_or_else(|| told.who(), |holder| holder.name().to_owned());
        let refusal = Refusal::new(&who, &told.why(), told.advice);
        self.door.credentials.refused(refusal, clock::now());
    }

    async fn tick(&mut self) {
        // The order may have been lost with the connection to the server.
        for connection in self.guests.not_closed_yet() {
            self.close(connection).await;
        }
        self.count_subscriptions().await;
        let now = clock::now();
        let is_over = |book: &Book| book.next_end().is_some_and(|end| end <= now);
        if !self.replaced.is_empty() || self.door.credentials.look(is_over) {
            let (credentials, replaced) = (self.door.credentials.clone(), self.replaced.clone());
            // The change closes the connections of these keys.
            let end_keys = move || {
                credentials.change(|book| {
                    replaced.iter().for_each(|name| book.replaced(name));
                    book.end_old_keys(now);
                    Ok(())
                })
            };
            match work::blocking((), end_keys).await {
                Ok(Ok(())) => self.replaced.clear(),
                Ok(Err(error)) => warn!(%error, "cannot end a replaced key; trying again"),
                Err(panic) => warn!(%panic, "cannot end a replaced key; trying again"),
            }
        }
        for (Refusal { who, why, .. }, count) in self.door.credentials.refusals_due(now) {
            let message = match count {
                1 => format!("{who} was refused: {why}"),
                _ => format!("{who} was refused {count} times: {why}"),
            };
            let mut event = Event::site(action::DEVICES_REFUSED, "nats-server", message, now);
            event.target = Some(who);
            self.seal(event);
        }
    }

    /// Hands an event over to be sealed. While there is no room it is lost, and the log of the
    /// process says so: letting devices in must not wait for a full disk.
    fn seal(&self, event: Event) {
        let Some(events) = self.door.events.upgrade() else { return };
        if let Err(error) = events.try_send(event.into()) {
            warn!(%error, "cannot seal an event about a device's connection");
        }
    }
}
