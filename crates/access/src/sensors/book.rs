//! The credentials of a site, without IO: what is added, revoked and rotated, and who is let in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use model::{Heartbeat, SensorId, Subject, Timestamp};
use nats::nkey::UserKey;
use serde::{Deserialize, Serialize};
use tlog::Hash;

use crate::{
    api_tokens::Revocation,
    sensors::{
        name::CredentialName,
        sensor::{Permissions, Reporting, Sensor, receipts},
    },
    signed_nonce::is_signed,
};

/// What a device shows to be let in, as the site keeps it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Public key of a device that speaks NATS.
    pub nkey: String,
    /// SHA-256 of the password of a device that speaks MQTT, in hex.
    pub password_sha256: String,
    /// When it was made.
    pub since: Timestamp,
    /// When it ends.
    #[serde(default)]
    pub ends: Ends,
}

impl Key {
    /// A key whose secrets the caller keeps.
    #[must_use]
    pub fn new(nkey: String, password: &str, since: Timestamp) -> Self {
        Self { nkey, password_sha256: digest(password), since, ends: Ends::Never }
    }
}

/// When a key ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// When an operator rotates or revokes it.
    #[default]
    Never,
    /// When the key that follows it is used.
    WhenReplaced,
    /// At this time.
    At(Timestamp),
}

/// A credential to be added.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// Its name.
    pub name: CredentialName,
    /// The sensors that it covers.
    pub sensors: Vec<Sensor>,
    /// What its device uses that reports by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,
    /// What its device shows.
    pub key: Key,
}

/// A credential.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credential {
    /// Its name.
    pub name: CredentialName,
    /// The sensors that it covers.
    pub sensors: Vec<Sensor>,
    /// What its device uses that reports by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,
    /// What its device may show, the newest last. There are several while rotations are under way,
    /// and none after a revocation.
    pub keys: Vec<Key>,
    /// The last keys of a revoked credential. They let nobody in, but tell who tries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_keys: Vec<Key>,
    /// Who revoked it, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// Whether the log still has to record the revocation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unsealed: bool,
}

/// A credential as an operator sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CredentialDescription {
    /// Its name.
    pub name: CredentialName,
    /// The sensors that it covers.
    pub sensors: Vec<Sensor>,
    /// What its device uses that reports by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,
    /// Public keys that let its device in, the newest last.
    pub nkeys: Vec<String>,
    /// When the newest key was made.
    pub since: Option<Timestamp>,
    /// Who revoked it, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

/// What a client shows when it connects.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Offer<'a> {
    /// Neither a key nor a name.
    Nothing,
    /// A public key, and a signature over the server's nonce.
    Nkey {
        /// The key, as text.
        key: &'a str,
        /// What the server asked to sign.
        nonce: &'a str,
        /// The signature, in base64.
        signature: &'a str,
    },
    /// A user name and a password.
    Password {
        /// The user name.
        user: &'a str,
        /// The password.
        password: &'a str,
    },
}

impl fmt::Debug for Offer<'_> {
    /// Omits the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => formatter.write_str("Nothing"),
            Self::Nkey { key, .. } => formatter.debug_tuple("Nkey").field(key).finish(),
            Self::Password { user, .. } => formatter.debug_tuple("Password").field(user).finish(),
        }
    }
}

/// A client that is let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admission {
    /// The credential that it has.
    pub name: CredentialName,
    /// The public part of the key that it showed, or that belongs to its password.
    pub nkey: String,
    /// What it may publish and hear.
    pub permissions: Permissions,
    /// Whether a key before this one ends now that this one was used.
    pub is_first_after_rotation: bool,
}

/// Why a client is not let in.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum Refused {
    /// It shows nothing.
    #[error("it has no credentials")]
    NoCredentials,
    /// Nobody has this name.
    #[error("there is no credential with its user name")]
    UnknownName,
    /// Nobody has this key.
    #[error("there is no credential with its key")]
    UnknownKey,
    /// The password is another.
    #[error("its password is wrong")]
    WrongPassword(CredentialName),
    /// The signature is not that of the key.
    #[error("it does not have the seed of the key that it names")]
    WrongSignature(CredentialName),
    /// The credential was revoked.
    #[error("its credential was revoked")]
    Revoked(CredentialName),
    /// The key was replaced by another.
    #[error("its key has ended: another replaced it")]
    Ended(CredentialName),
    /// Another device uses the MQTT client id, or has it as its name.
    #[error("its MQTT client id is another credential's")]
    ClientId(CredentialName),
}

impl Refused {
    /// The credential that the client named, if there is one.
    #[must_use]
    pub const fn name(&self) -> Option<&CredentialName> {
        match self {
            Self::NoCredentials | Self::UnknownName | Self::UnknownKey => None,
            Self::WrongPassword(name)
            | Self::WrongSignature(name)
            | Self::Revoked(name)
            | Self::Ended(name)
            | Self::ClientId(name) => Some(name),
        }
    }

    /// What an operator can do, so that the device is let in.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "make a credential with `sealwire sensor add`, and give it to the device"
            }
            Self::UnknownName => {
                "give the device the user name of its credential, or make one with `sealwire sensor add`"
            }
            Self::UnknownKey => {
                "give the device the seed of its credential, or make one with `sealwire sensor add`"
            }
            Self::WrongPassword(_) => {
                "give the device the password of its credential; `sealwire sensor rotate` makes another"
            }
            Self::WrongSignature(_) => {
                "give the device the seed of its credential; `sealwire sensor rotate` makes another"
            }
            Self::Revoked(_) => {
                "nothing, if it was to go; otherwise make another credential with `sealwire sensor add`"
            }
            Self::Ended(_) => "give the device the newest key of its credential",
            Self::ClientId(_) => "give the device its credential's name as client id",
        }
    }
}

/// Why credentials cannot be added, revoked or rotated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BookError {
    /// A credential has this name.
    #[error("there already is a credential {0}: revoke or rotate it, or choose another name")]
    Taken(CredentialName),
    /// No credential has this name.
    #[error("there is no credential {0}: `sealwire sensor list` shows all of them")]
    Unknown(CredentialName),
    /// The credential covers nothing.
    #[error("credential {0} covers no sensor, and nothing is reported with it")]
    Empty(CredentialName),
    /// The credential covers too many sensors.
    #[error(
        "credential {0} covers more than {max} sensors, which is the limit: divide them",
        max = Book::SENSORS_OF_CREDENTIAL_MAX
    )]
    TooManySensors(CredentialName),
    /// The credential has too many topics of its own.
    #[error(
        "credential {0} has more than {max} topics to report on and to hear, which is the limit: divide them",
        max = Book::TOPICS_OF_CREDENTIAL_MAX
    )]
    TooManyTopics(CredentialName),
    /// Two credentials would use a subject.
    #[error("credential {name} cannot have the topic `{topic}`: {owner} already has it")]
    TopicTaken {
        /// The credential that would be added.
        name: CredentialName,
        /// The subject that both would use.
        topic: Subject,
        /// The credential that has it.
        owner: CredentialName,
    },
    /// Two credentials would speak as a sensor.
    #[error("credential {name} cannot cover the sensor {sensor}: {owner} already covers it")]
    SensorTaken {
        /// The credential that would be added.
        name: CredentialName,
        /// The sensor that both would cover.
        sensor: SensorId,
        /// The credential that covers it.
        owner: CredentialName,
    },
    /// The key is not one, or another credential has it.
    #[error("credential {0} names a key that is not one, or that is another's")]
    Key(CredentialName),
    /// The credential has as many keys as it may.
    #[error(
        "credential {0} has {max} keys that let its device in, which is the limit: use the newest, \
         wait until the others end, or revoke it",
        max = Book::KEYS_OF_CREDENTIAL_MAX
    )]
    TooManyKeys(CredentialName),
    /// The site has as many credentials as it may.
    #[error("a site has at most {max} credentials", max = Book::CREDENTIALS_MAX)]
    TooMany,
}

/// Who uses a subject.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Owner {
    /// One credential alone.
    One(CredentialName),
    /// These send heartbeats there.
    Heartbeats(BTreeSet<CredentialName>),
}

/// The credentials of a site.
#[derive(Clone, Debug, Default)]
pub struct Book {
    credentials: BTreeMap<CredentialName, Credential>,
    /// Public keys that let somebody in, or once did.
    nkeys: BTreeMap<String, CredentialName>,
    subjects: BTreeMap<Subject, Owner>,
    sensors: BTreeMap<SensorId, CredentialName>,
}

impl Book {
    /// Most credentials of a site, revoked ones included: a fleet of 100,000 sensors.
    pub const CREDENTIALS_MAX: usize = 100_000;
    /// Most sensors of a credential. The server keeps the permissions of each connection, and looks
    /// at them for each message.
    pub const SENSORS_OF_CREDENTIAL_MAX: usize = 500;

    /// Most keys of a credential: the one that its device has, and those of rotations whose files
    /// did not reach it.
    pub const KEYS_OF_CREDENTIAL_MAX: usize = 4;
    /// Most topics of a credential whose device reports by itself: a bridge of some hundred
    /// devices.
    pub const TOPICS_OF_CREDENTIAL_MAX: usize = 1_000;

    /// Reads what [`Book::all`] returned.
    pub(super) fn restore(credentials: Vec<Credential>) -> Result<Self, BookError> {
        let mut book = Self::default();
        for credential in credentials {
            book.insert(credential)?;
        }
        Ok(book)
    }

    /// Every credential, in order of name.
    pub(super) fn all(&self) -> impl Iterator<Item = &Credential> {
        self.credentials.values()
    }

    /// Every credential, as an operator sees it.
    pub fn describe(&self) -> Vec<CredentialDescription> {
        let describe = |credential: &Credential| CredentialDescription {
            name: credential.name.clone(),
            sensors: credential.sensors.clone(),
            reporting: credential.reporting.clone(),
            nkeys: credential.keys.iter().map(|key| key.nkey.clone()).collect(),
            since: credential.keys.last().map(|key| key.since),
            revoked: credential.revoked.clone(),
        };
        self.all().map(describe).collect()
    }

    /// Whether there is or was a credential. From the first one on, the site asks for them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.credentials.is_empty()
    }

    /// Adds credentials: all of them, or none. A name that was revoked may be used again.
    ///
    /// # Errors
    /// A name, a sensor, a topic or a key is taken, or a limit is reached.
    pub fn add(&mut self, new: Vec<NewCredential>) -> Result<(), BookError> {
        let mut changed = self.clone();
        for NewCredential { name, sensors, reporting, key } in new {
            if let Some(before) = changed.credentials.get(&name) {
                if before.revoked.is_none() || before.is_unsealed {
                    return Err(BookError::Taken(name));
                }
                changed.remove(&name);
            }
            let credential = Credential {
                name,
                sensors,
                reporting,
                keys: vec![key],
                revoked_keys: Vec::new(),
                revoked: None,
                is_unsealed: false,
            };
            changed.insert(credential)?;
        }
        *self = changed;
        Ok(())
    }

    fn insert(&mut self, credential: Credential) -> Result<(), BookError> {
        let name = &credential.name;
        let topics = credential.reporting.as_ref().map(Reporting::own).unwrap_or_default();
        if credential.sensors.is_empty() && topics.is_empty() {
            return Err(BookError::Empty(name.clone()));
        }
        if topics.len() > Self::TOPICS_OF_CREDENTIAL_MAX {
            return Err(BookError::TooManyTopics(name.clone()));
        }
        if credential.sensors.len() > Self::SENSORS_OF_CREDENTIAL_MAX {
            return Err(BookError::TooManySensors(name.clone()));
        }
        if self.credentials.len() >= Self::CREDENTIALS_MAX {
            return Err(BookError::TooMany);
        }
        for key in credential.keys.iter().chain(&credential.revoked_keys) {
            if key.nkey.parse::<UserKey>().is_err() || self.nkeys.contains_key(&key.nkey) {
                return Err(BookError::Key(name.clone()));
            }
            self.nkeys.insert(key.nkey.clone(), name.clone());
        }
        // What was revoked covers nothing any more.
        if credential.revoked.is_none() {
            self.claim(name, &receipts(name))?;
            for topic in topics {
                self.claim(name, topic)?;
            }
            for sensor in &credential.sensors {
                if let Some(owner) = self.sensors.insert(sensor.id, name.clone()) {
                    let (name, sensor) = (name.clone(), sensor.id);
                    return Err(BookError::SensorTaken { name, sensor, owner });
                }
                for topic in sensor.topics.own() {
                    self.claim(name, topic)?;
                }
                self.claim_heartbeats(name, &sensor.topics.heartbeat)?;
            }
        }
        self.credentials.insert(name.clone(), credential);
        Ok(())
    }

    /// Takes a subject for one credential alone.
    fn claim(&mut self, name: &CredentialName, topic: &Subject) -> Result<(), BookError> {
        match self.subjects.insert(topic.clone(), Owner::One(name.clone())) {
            None => Ok(()),
            Some(owner) => Err(taken(name, topic, &owner)),
        }
    }

    fn claim_heartbeats(
        &mut self,
        name: &CredentialName,
        topic: &Subject,
    ) -> Result<(), BookError> {
        let nobody = || Owner::Heartbeats(BTreeSet::new());
        match self.subjects.entry(topic.clone()).or_insert_with(nobody) {
            Owner::Heartbeats(names) => {
                names.insert(name.clone());
                Ok(())
            }
            Owner::One(owner) => Err(BookError::TopicTaken {
                name: name.clone(),
                topic: topic.clone(),
                owner: owner.clone(),
            }),
        }
    }

    /// Takes out a credential and everything that it claims.
    fn remove(&mut self, name: &CredentialName) -> Option<Credential> {
        let credential = self.credentials.remove(name)?;
        for key in credential.keys.iter().chain(&credential.revoked_keys) {
            self.nkeys.remove(&key.nkey);
        }
        self.release(&credential);
        Some(credential)
    }

    /// Gives back the sensors and topics of a credential.
    fn release(&mut self, credential: &Credential) {
        let name = &credential.name;
        if credential.revoked.is_some() {
            return;
        }
        self.subjects.remove(&receipts(name));
        for topic in credential.reporting.iter().flat_map(Reporting::own) {
            self.subjects.remove(topic);
        }
        for Sensor { id, topics, .. } in &credential.sensors {
            self.sensors.remove(id);
            for topic in topics.own() {
                self.subjects.remove(topic);
            }
            if let Some(Owner::Heartbeats(names)) = self.subjects.get_mut(&topics.heartbeat) {
                names.remove(name);
                if names.is_empty() {
                    self.subjects.remove(&topics.heartbeat);
                }
            }
        }
    }

    /// Revokes a credential. From here on it lets nobody in. [`Book::unsealed`] lists it until
    /// [`Book::sealed`].
    ///
    /// # Errors
    /// There is no such credential.
    pub fn revoke(
        &mut self,
        name: &CredentialName,
        revocation: Revocation,
    ) -> Result<(), BookError> {
        let unknown = || BookError::Unknown(name.clone());
        let stands = self.credentials.get(name).filter(|found| found.revoked.is_none());
        let before = stands.ok_or_else(unknown)?.clone();
        self.release(&before);
        let credential = self.credentials.get_mut(name).ok_or_else(unknown)?;
        credential.revoked_keys = std::mem::take(&mut credential.keys);
        credential.revoked = Some(revocation);
        credential.is_unsealed = true;
        Ok(())
    }

    /// The revoked credentials that the log does not record as such yet.
    #[must_use]
    pub fn unsealed(&self) -> Vec<(CredentialName, Revocation)> {
        let unsealed = self.all().filter(|credential| credential.is_unsealed);
        unsealed
            .filter_map(|credential| Some((credential.name.clone(), credential.revoked.clone()?)))
            .collect()
    }

    /// Notes that the log records the revocation of this credential.
    pub fn sealed(&mut self, name: &CredentialName) {
        if let Some(credential) = self.credentials.get_mut(name) {
            credential.is_unsealed = false;
        }
    }

    /// Gives a credential another key. The one before ends when the newest one is used or, with
    /// `overlap`, after that time. A key that an earlier rotation left in force stays as long as
    /// that one promised: its device may not have got a newer one.
    ///
    /// # Errors
    /// There is no such credential, it has too many keys, or the key is another's.
    pub fn rotate(
        &mut self,
        name: &CredentialName,
        key: Key,
        overlap: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), BookError> {
        if key.nkey.parse::<UserKey>().is_err() || self.nkeys.contains_key(&key.nkey) {
            return Err(BookError::Key(name.clone()));
        }
        let credential = self.credentials.get_mut(name).filter(|found| found.revoked.is_none());
        let credential = credential.ok_or_else(|| BookError::Unknown(name.clone()))?;
        if credential.keys.len() >= Self::KEYS_OF_CREDENTIAL_MAX {
            return Err(BookError::TooManyKeys(name.clone()));
        }
        if let Some(before) = credential.keys.last_mut() {
            before.ends =
                overlap.map_or(Ends::WhenReplaced, |overlap| Ends::At(after(now, overlap)));
        }
        self.nkeys.insert(key.nkey.clone(), name.clone());
        credential.keys.push(key);
        Ok(())
    }

    /// Ends the keys whose time is over. Returns whether there were any.
    pub fn end_old_keys(&mut self, now: Timestamp) -> bool {
        self.end_keys(None, |key| matches!(key.ends, Ends::At(end) if end <= now))
    }

    /// Ends the keys that the newest one of a credential replaces.
    pub fn replaced(&mut self, name: &CredentialName) {
        self.end_keys(Some(name), |key| key.ends == Ends::WhenReplaced);
    }

    fn end_keys(&mut self, of: Option<&CredentialName>, has_ended: impl Fn(&Key) -> bool) -> bool {
        let mut ended = false;
        for credential in self.credentials.values_mut() {
            if of.is_some_and(|name| *name != credential.name) {
                continue;
            }
            for key in credential.keys.extract_if(.., |key| has_ended(key)) {
                self.nkeys.remove(&key.nkey);
                ended = true;
            }
        }
        ended
    }

    /// When [`Book::end_old_keys`] next has something to do.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        let ends = self.all().flat_map(|credential| &credential.keys);
        ends.filter_map(|key| if let Ends::At(end) = key.ends { Some(end) } else { None }).min()
    }

    /// Whether the key of an admitted client still lets it in.
    #[must_use]
    pub fn stands(&self, name: &CredentialName, nkey: &str) -> bool {
        let credential = self.credentials.get(name);
        credential.is_some_and(|found| found.keys.iter().any(|key| key.nkey == nkey))
    }

    /// The sensors that the credential of this name covers, or covered until it was revoked; none
    /// without such a credential.
    #[must_use]
    pub fn sensors_of(&self, name: &str) -> &[Sensor] {
        let credential = name.parse::<CredentialName>().ok();
        let credential = credential.and_then(|name| self.credentials.get(&name));
        credential.map_or(&[], |credential| &credential.sensors)
    }

    /// What an admitted client may publish and hear now; `None` if its key lets it in no more.
    #[must_use]
    pub fn permissions(&self, name: &CredentialName, nkey: &str) -> Option<Permissions> {
        let credential = self.credentials.get(name).filter(|_| self.stands(name, nkey))?;
        Some(Permissions::of(name, &credential.sensors, credential.reporting.as_ref()))
    }

    /// Whether a credential has this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        name.parse::<CredentialName>().is_ok_and(|name| self.credentials.contains_key(&name))
    }

    /// Decides whether a client is let in.
    ///
    /// # Errors
    /// It is not, for this reason.
    pub fn admit(&self, offer: Offer<'_>, now: Timestamp) -> Result<Admission, Refused> {
        let (credential, key) = match offer {
            Offer::Nothing => return Err(Refused::NoCredentials),
            Offer::Nkey { key: nkey, nonce, signature } => {
                let name = self.nkeys.get(nkey).ok_or(Refused::UnknownKey)?;
                let credential = self.credentials.get(name).ok_or(Refused::UnknownKey)?;
                if !is_signed(nkey, nonce, signature) {
                    return Err(Refused::WrongSignature(name.clone()));
                }
                (credential, credential.keys.iter().find(|key| key.nkey == nkey))
            }
            Offer::Password { user, password } => {
                let name: CredentialName =
                    user.parse().map_err(|_not_a_name| Refused::UnknownName)?;
                let credential = self.credentials.get(&name).ok_or(Refused::UnknownName)?;
                let digest = digest(password);
                let is_it = |key: &&Key| key.password_sha256 == digest;
                let key = credential.keys.iter().find(is_it);
                if key.is_none() && !credential.revoked_keys.iter().any(|key| is_it(&key)) {
                    return Err(Refused::WrongPassword(name));
                }
                (credential, key)
            }
        };
        let name = &credential.name;
        if credential.revoked.is_some() {
            return Err(Refused::Revoked(name.clone()));
        }
        let has_ended = |key: &Key| matches!(key.ends, Ends::At(end) if end <= now);
        let key = key.filter(|key| !has_ended(key)).ok_or_else(|| Refused::Ended(name.clone()))?;
        let is_newest = credential.keys.last() == Some(key);
        let waits = |key: &Key| key.ends == Ends::WhenReplaced;
        Ok(Admission {
            name: name.clone(),
            nkey: key.nkey.clone(),
            permissions: Permissions::of(name, &credential.sensors, credential.reporting.as_ref()),
            is_first_after_rotation: is_newest && credential.keys.iter().any(waits),
        })
    }

    /// Whether the device of a credential that covers this sensor sends its heartbeats there.
    #[must_use]
    pub fn expects(&self, subject: &str, sensor: SensorId) -> bool {
        self.covered(sensor).is_some_and(|sensor| sensor.topics.heartbeat.as_str() == subject)
    }

    /// Whether a credential covers a sensor that is described so: the device whose heartbeats carry
    /// this id, on these topics.
    #[must_use]
    pub fn still_covers(&self, device: SensorId, described: &Heartbeat) -> bool {
        self.covered(device).is_some_and(|Sensor { topics, .. }| {
            topics.poll == described.poll_topic && topics.read == described.read_topic
        })
    }

    fn covered(&self, id: SensorId) -> Option<&Sensor> {
        let sensors = &self.credentials.get(self.sensors.get(&id)?)?.sensors;
        sensors.iter().find(|sensor| sensor.id == id)
    }

    /// Decides whether a heartbeat that came on `subject` is that of a sensor whose device may
    /// speak there.
    ///
    /// # Errors
    /// It is not, for this reason.
    pub fn covers(&self, subject: &str, heartbeat: &Heartbeat) -> Result<(), &'static str> {
        let Some(Sensor { alias, topics, .. }) = self.covered(heartbeat.id) else {
            return Err("no credential covers this id");
        };
        if topics.heartbeat.as_str() != subject {
            return Err("its credential sends heartbeats on another topic");
        }
        if alias.as_str() != heartbeat.alias {
            return Err("its credential is for another alias");
        }
        if topics.poll != heartbeat.poll_topic || topics.read != heartbeat.read_topic {
            return Err("its credential is for other topics");
        }
        match &heartbeat.disconnect_topic {
            Some(topic) if topics.disconnect.as_ref() != Some(topic) => {
                Err("its credential is for another disconnect topic")
            }
            _ => Ok(()),
        }
    }
}

fn taken(name: &CredentialName, topic: &Subject, owner: &Owner) -> BookError {
    let owner = match owner {
        Owner::One(owner) => Some(owner),
        Owner::Heartbeats(names) => names.first(),
    };
    let owner = owner.unwrap_or(name).clone();
    BookError::TopicTaken { name: name.clone(), topic: topic.clone(), owner }
}

/// The time that lies `later` after `now`.
fn after(now: Timestamp, later: Duration) -> Timestamp {
    Timestamp::after_1970(now.since(Timestamp::from_unix_micros(0)).saturating_add(later))
}

fn digest(password: &str) -> String {
    hex::encode(Hash::sha256(password.as_bytes()).as_bytes())
}

#[cfg(test)]
pub(super) mod tests;
