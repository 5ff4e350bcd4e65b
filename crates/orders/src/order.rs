//! The orders that a person gives to a log, and their results. A running site receives and answers
//! them as JSON.

use std::{collections::BTreeSet, fmt};

use access::{
    Host, Scope, TokenDescription, TokenName, Words,
    sensors::{Alias, CredentialDescription, CredentialName, Key, NewCredential, Sensor, Told},
};
use lattice::{desired::Changes, rollout::Stage};
use ledger::{Erased, Hold, LeafRanges};
use model::{Event, InForce, SensorId, SensorOrder, Timestamp, polling::OrderedReading};
use serde::{Deserialize, Serialize};

use crate::{importing::History, log_name::LogName};

/// Longest actor in characters, from Pangea's contract.
const ACTOR_CHARS_MAX: usize = 128;

/// An event about something of the site that was done on somebody's word. `part` names the part of
/// the site. The contract limits the actor; the name in an order may be longer.
pub(crate) fn event_by(
    actor: &str,
    action: &str,
    part: &str,
    words: String,
    at: Timestamp,
) -> Event {
    let mut event = Event::site(action, part, words, at);
    event.actor = Some(actor.chars().take(ACTOR_CHARS_MAX).collect());
    event
}

/// An order of an operator.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Publish a checkpoint that covers every durable leaf.
    Checkpoint,
    /// Erase the envelopes of these leaves.
    Erase {
        /// Leaf numbers and ranges, for example `12-40,57`.
        leaves: LeafRanges,
        /// Also erase the events that were derived from these leaves, because they repeat their
        /// content.
        #[serde(default)]
        with_derived: bool,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the erasure, as text for the log.
        reason: Words,
    },
    /// Protect envelopes that were received in a time window, of one sensor or of all, from
    /// erasure.
    Hold {
        /// The sensor whose events are held; every event if `None`.
        sensor: Option<SensorId>,
        /// Start of the window, inclusive.
        from: Option<Timestamp>,
        /// End of the window, exclusive.
        to: Option<Timestamp>,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the hold, as text for the log.
        reason: Words,
    },
    /// End a hold.
    Release {
        /// The leaf that placed the hold.
        hold: u64,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the release, as text for the log.
        reason: Words,
    },
    /// List the holds in force.
    Holds,
    /// Erase the envelopes that the file `retention` no longer keeps, now instead of at the next
    /// hourly run.
    Retain {
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Seal the fact that readings of a sensor are exported. The caller writes the file afterwards.
    ExportReadings {
        /// The sensor whose readings are exported.
        sensor: SensorId,
        /// Start of the window, inclusive.
        from: Option<Timestamp>,
        /// End of the window, exclusive.
        to: Option<Timestamp>,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the export, as text for the log.
        reason: Words,
    },
    /// Seal a part of another log's history, or nothing of it.
    Import {
        /// The part.
        history: History,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the import, as text for the log.
        reason: Words,
    },
    /// Forget a sensor until its next heartbeat. Only a running site can do this.
    Forget {
        /// The sensor to forget.
        sensor: SensorId,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for forgetting it, as text for the log.
        reason: Words,
    },
    /// Change what the site expects of a sensor, or how its values are read. Only a running site
    /// can do this.
    Sensor {
        /// The sensor that the order is about.
        sensor: SensorId,
        /// What is ordered.
        what: SensorOrder,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the order, as text for the log.
        reason: Words,
    },
    /// Poll a sensor at once. Only a running site can do this.
    Poll {
        /// The sensor to poll.
        sensor: SensorId,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the order, as text for the log.
        #[serde(default)]
        reason: Option<Words>,
    },
    /// List the orders about sensors that are in force. Only a running site can do this.
    SensorOrders,
    /// Trust the machine's clock again after it was far ahead of the site's own time.
    ConfirmClock {
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for trusting it, as text for the log.
        reason: Words,
    },
    /// Create a new key and rotate the log to it.
    RotateKey {
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Create a token for a program that logs or searches through the log port.
    CreateToken {
        /// Name of the new token.
        name: TokenName,
        /// What the token allows.
        scope: Vec<Scope>,
        /// Whether its application may also hand in events on the message bus.
        #[serde(default)]
        nats: bool,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Revoke a token.
    RevokeToken {
        /// Name of the token.
        name: TokenName,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// List the valid tokens.
    Tokens,
    /// Add credentials of devices: all of them, or none. The caller makes the secrets and keeps
    /// them; the order has public keys and hashes only.
    AddCredentials {
        /// The credentials.
        credentials: Vec<NewCredential>,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Revoke a credential, and close its connections.
    RevokeCredential {
        /// Name of the credential.
        name: CredentialName,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Give a credential another key.
    RotateCredential {
        /// Name of the credential.
        name: CredentialName,
        /// The new key.
        key: Key,
        /// Seconds for which the key before it stays valid; until the new one is used if `None`.
        #[serde(default)]
        overlap_seconds: Option<u64>,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Name the id and the topics of the sensors with these aliases, of which the site has heard a
    /// heartbeat since it was first asked for them.
    Learn {
        /// The aliases.
        aliases: BTreeSet<Alias>,
    },
    /// List the credentials.
    Credentials,
    /// Add a host on another machine, which may then run the site's workloads. The site makes its
    /// certificates and its token.
    AddHost {
        /// Name of the new host.
        name: CredentialName,
        /// Whether it runs users' processors, and nothing else.
        #[serde(default)]
        guests: bool,
        /// Whether its components may hand in events.
        #[serde(default)]
        writes: bool,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// Remove a host on another machine, and close its connections.
    RemoveHost {
        /// Name of the host.
        name: CredentialName,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
    },
    /// List the hosts on other machines.
    Hosts,
    /// List what devices and hosts were refused since the site started.
    Refusals,
    /// Run the components that a file says. Only a running site can do this, and what follows.
    Deploy {
        /// The file (TOML).
        state: String,
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for the deployment, as text for the log.
        reason: Words,
    },
    /// Tell what would change if a file were deployed.
    DiffApps {
        /// The file (TOML).
        state: String,
    },
    /// Tell which hosts there are, and what runs on them.
    Apps,
    /// Tell where a deployment stands.
    Deployment {
        /// The first leaf that records it.
        leaf: u64,
    },
    /// Tell what was deployed, as the log records it.
    AppHistory,
    /// Run again what was deployed before the newest deployment.
    RollBack {
        /// Actor that the caller names, in addition to the account. The log records both.
        #[serde(default)]
        actor: Option<Words>,
        /// Reason for it, as text for the log.
        reason: Words,
    },
}

/// An order with the log that it is for. A running site receives it as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddressedOrder {
    /// The log that the caller means; `None` is the site's own, whichever it is.
    pub log: Option<LogName>,
    /// The order.
    pub order: Order,
}

impl From<Order> for AddressedOrder {
    fn from(order: Order) -> Self {
        Self { log: None, order }
    }
}

/// Result of an order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "done", rename_all = "kebab-case")]
pub enum Done {
    /// A checkpoint covers every durable leaf.
    Checkpoint {
        /// The checkpoint as a signed note.
        checkpoint: String,
    },
    /// Envelopes were erased.
    Erase(ErasedEnvelopes),
    /// A hold is in force.
    Hold {
        /// The leaf that places the hold. A release names it.
        leaf: u64,
    },
    /// A hold has ended.
    Release {
        /// The leaf of the event that records the release.
        leaf: u64,
    },
    /// The holds in force.
    Holds {
        /// In the order in which they were placed.
        holds: Vec<StandingHold>,
    },
    /// Envelopes whose retention period was over were erased.
    Retain {
        /// The classes in which envelopes were erased.
        classes: Vec<RetainedClass>,
    },
    /// The log records that readings are exported.
    ExportReadings {
        /// The leaf of the event that records the export.
        leaf: u64,
    },
    /// A part of another log's history is sealed.
    Import {
        /// The first leaf of the events that were sealed for it.
        leaf: u64,
        /// How many events were sealed for it.
        events: u64,
    },
    /// The site has forgotten the sensor.
    Forget {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// The order about a sensor is in force.
    Sensor {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// The ordered poll has ended, and that is sealed.
    Poll(OrderedReading),
    /// The orders about sensors that are in force.
    SensorOrders {
        /// The sensors about which any is, in the order of their ids.
        sensors: Vec<(SensorId, InForce)>,
    },
    /// The site trusts the machine's clock again.
    ConfirmClock {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// The log has a new key.
    RotateKey {
        /// The leaf of the event that records the rotation.
        leaf: u64,
        /// The new verifier key.
        vkey: String,
    },
    /// The site has a new token.
    CreateToken {
        /// The leaf of the event that records it.
        leaf: u64,
        /// The secret. The site shows it only this once.
        token: String,
        /// The log's id, for clients that must name a log.
        config_id: String,
        /// Seed of the nkey with which its application connects to the message bus. The site shows
        /// it only this once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nkey_seed: Option<String>,
    },
    /// The token is revoked.
    RevokeToken {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// The valid tokens.
    Tokens {
        /// In the order in which they were created.
        tokens: Vec<TokenDescription>,
        /// The log's id, for clients that must name a log.
        config_id: String,
    },
    /// Devices have new credentials.
    AddCredentials {
        /// The leaf of the last event that records them.
        leaf: u64,
        /// How many credentials were added.
        count: usize,
    },
    /// A credential is revoked.
    RevokeCredential {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// A credential has a new key.
    RotateCredential {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// What the site has heard of.
    Learned {
        /// The sensors.
        sensors: Vec<Sensor>,
    },
    /// The credentials.
    Credentials {
        /// In order of name.
        credentials: Vec<CredentialDescription>,
    },
    /// The site lets in a new host.
    AddHost {
        /// The leaf of the event that records it.
        leaf: u64,
        /// What the host needs. The site shows it only this once.
        secrets: HostSecrets,
    },
    /// A host is removed.
    RemoveHost {
        /// The leaf of the event that records it.
        leaf: u64,
    },
    /// The hosts on other machines.
    Hosts {
        /// In the order in which they were added.
        hosts: Vec<Host>,
    },
    /// What devices and hosts were refused.
    Refusals {
        /// The newest first.
        refusals: Vec<Told>,
    },
    /// Components are deployed.
    Deploy {
        /// The first leaf of the events that record it.
        leaf: u64,
        /// What changes.
        changes: Changes,
        /// Whether it is on trial first.
        is_on_trial: bool,
    },
    /// Where a deployment stands.
    Deployment {
        /// Where it stands, if it is still known.
        now: Option<DeploymentNow>,
    },
    /// What would change.
    AppDiff {
        /// What would change.
        changes: Changes,
    },
    /// What runs where.
    Apps {
        /// The hosts.
        hosts: Vec<SiteHost>,
        /// The workloads that are wanted.
        components: Vec<RunningComponent>,
        /// Where the newest deployment stands.
        newest: Option<DeploymentNow>,
    },
    /// What was deployed.
    AppHistory {
        /// The newest is last.
        deployed: Vec<DeployedComponent>,
    },
}

/// A host of components.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SiteHost {
    /// Its name.
    pub name: String,
    /// Its id, which is new at each start of it.
    pub id: String,
    /// The group of hosts to which it belongs.
    pub group: String,
    /// Whether it has answered the last question.
    pub answers: bool,
}

/// A workload that is wanted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RunningComponent {
    /// Its name.
    pub name: String,
    /// Names of the hosts that run it.
    pub hosts: Vec<String>,
    /// Why a host did not start it, in the host's words, or why it may not be started.
    pub trouble: Option<String>,
}

/// Where a deployment stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeploymentNow {
    /// The first leaf that records it.
    pub leaf: u64,
    /// Where it stands.
    pub stage: DeploymentStage,
    /// How it does, or why it went back.
    pub words: String,
}

/// A word for where a deployment stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentStage {
    /// The new components are asked test questions.
    Trial,
    /// The new components start beside the old ones.
    Move,
    /// The new components do the work, and are compared with the old ones.
    Probation,
    /// It stays.
    Stays,
    /// It was taken back.
    WentBack,
}

impl From<Stage> for DeploymentStage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Trial => Self::Trial,
            Stage::Move => Self::Move,
            Stage::Probation => Self::Probation,
        }
    }
}

/// An event that records what was deployed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DeployedComponent {
    /// The leaf of the event.
    pub leaf: u64,
    /// When it was deployed.
    pub at: String,
    /// Who ordered it.
    pub actor: String,
    /// What changed, and why.
    pub words: String,
}

/// What a host on another machine needs to be let in.
#[derive(Clone, Deserialize, Serialize)]
pub struct HostSecrets {
    /// Certificate in PEM of the authority that makes those of the hosts' server.
    pub server_ca: String,
    /// What it shows for control.
    pub control: HostIdentity,
    /// What it shows for data.
    pub data: HostIdentity,
    /// The API token with which it pulls images.
    pub registry_token: String,
}

impl fmt::Debug for HostSecrets {
    /// Omits everything.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostSecrets").finish_non_exhaustive()
    }
}

/// A certificate and its secret key, both in PEM.
#[derive(Clone, Deserialize, Serialize)]
pub struct HostIdentity {
    /// The certificate.
    pub certificate: String,
    /// The secret key.
    pub key: String,
}

impl fmt::Debug for HostIdentity {
    /// Omits the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostIdentity").finish_non_exhaustive()
    }
}

/// How much was erased.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct ErasedEnvelopes {
    /// The first leaf of the events that record the erasure.
    pub leaf: u64,
    /// Number of erased envelopes.
    pub envelopes: u64,
    /// Bytes by which the log's files shrank.
    pub freed_bytes: u64,
}

/// A hold in force, with the leaf that placed it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StandingHold {
    /// The leaf that placed the hold.
    pub leaf: u64,
    /// The events that the hold covers.
    #[serde(flatten)]
    pub hold: Hold,
}

/// What was erased in one class of events.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RetainedClass {
    /// The class, which is an action.
    pub class: String,
    /// Number and size of the erased envelopes.
    #[serde(flatten)]
    pub erased: ErasedEnvelopes,
}

impl From<Erased> for ErasedEnvelopes {
    fn from(erased: Erased) -> Self {
        let Erased { receipt, envelopes, freed_bytes } = erased;
        Self { leaf: receipt.first_leaf, envelopes, freed_bytes }
    }
}
