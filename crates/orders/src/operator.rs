//! Carries out an operator's orders to a site's log. A running site receives them through its
//! socket; on a stopped site, the command opens the log itself.
//!
//! Every order except those that only look is sealed as an event, with the account that gave it and
//! the reason.
//!
//! An order runs as a task of the log. The caller only waits for it and may go away. The order
//! holds its locks until it ends, and the log closes only after that.

use std::{
    error::Error,
    fmt, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use access::{
    Account, ApiTokenError, ApiTokens, HostError, Hosts, Revocation, TokenDescription, Words,
    sensors::{Book, SensorCredentials},
};
use data_dir::retention::{Retention, RetentionError};
use engine::HostKind;
use futures::future::BoxFuture;
use ledger::{
    AppendError, Batch, EraseError, Erasure, Hold, KeyError, KeyFiles, LeafRanges, Ledger,
    ReadError,
};
use model::{
    Event, InForce, LogId, SensorId, SensorOrder, Timestamp, action, polling::OrderedReading,
};
use poll::RefusedOrder;
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};

use crate::{
    apps::{Apps, AppsError, Ordered},
    credentials::{CredentialOrderError, Credentials},
    hosts::{HostOrderError, HostOrders},
    importing::ImportError,
    log_name::{LogName, config_id},
    order::{AddressedOrder, Done, Order, RetainedClass, StandingHold, event_by},
    site_time::{OwnTime, SiteTime},
    tokens::{TokenOrderError, TokenOrders},
};

/// Orders that run or wait for each other at the same time, with or without a waiting caller.
const ORDERS_MAX: usize = 64;

/// How long an order waits for the end of an ordered poll: somewhat longer than a sensor may need
/// for its answer.
const POLL_PATIENCE: Duration = Duration::from_secs(90);

/// Makes the poller forget a sensor. The arguments are the sensor, the account that orders it and
/// the reason. The result is the leaf of the event that records it, or `None` if the site does not
/// know the sensor.
pub type ForgetSensor =
    Box<dyn Fn(SensorId, String, String) -> BoxFuture<'static, Forgotten> + Send + Sync>;

/// Outcome of [`ForgetSensor`]. After an error, the sensor may or may not be forgotten.
pub type Forgotten = Result<Option<u64>, Box<dyn Error + Send + Sync>>;

/// Gives the poller an order about a sensor. The arguments are the sensor, the order, the account
/// that gives it and the reason.
pub type OrderSensor = Box<
    dyn Fn(SensorId, SensorOrder, String, String) -> BoxFuture<'static, OrderedSensor>
        + Send
        + Sync,
>;

/// Outcome of [`OrderSensor`]: the leaf of the event that records the order, or why the poller
/// refuses it. After the outer error, the order may or may not be carried out.
pub type OrderedSensor = Result<Result<u64, RefusedOrder>, Box<dyn Error + Send + Sync>>;

/// Has the poller poll a sensor at once. The arguments are the sensor, the account that orders it
/// and the reason, which may be empty.
pub type PollSensor =
    Box<dyn Fn(SensorId, String, String) -> BoxFuture<'static, PolledSensor> + Send + Sync>;

/// Outcome of [`PollSensor`]: how the poll ended, or why the poller refuses it. After the outer
/// error, the sensor may or may not be polled.
pub type PolledSensor = Result<Result<OrderedReading, RefusedOrder>, Box<dyn Error + Send + Sync>>;

/// Asks the poller for the orders in force, in the order of the sensors' ids.
pub type OrdersInForce = Box<
    dyn Fn() -> BoxFuture<'static, Result<Vec<(SensorId, InForce)>, Box<dyn Error + Send + Sync>>>
        + Send
        + Sync,
>;

/// What the poller does on an operator's word.
pub struct Polls {
    /// Forgets a sensor.
    pub forget: ForgetSensor,
    /// Carries out another order about a sensor.
    pub order: OrderSensor,
    /// Polls a sensor at once.
    pub poll: PollSensor,
    /// Tells which orders are in force.
    pub in_force: OrdersInForce,
}

impl fmt::Debug for Polls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Polls").finish_non_exhaustive()
    }
}

/// Carries out orders. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    ledger: Ledger,
    keys: KeyFiles,
    retention: PathBuf,
    time: SiteTime,
    tokens: TokenOrders,
    credentials: Credentials,
    hosts: HostOrders,
    /// Allows one key rotation at a time, because there is one file for the next key.
    rotating: Arc<Mutex<()>>,
    /// Set once the site polls.
    polls: Arc<OnceLock<Polls>>,
    /// Set once the site runs components.
    apps: Arc<OnceLock<Apps>>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Operator").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Operator {
    /// Creates an operator for an open log. `retention` is the path of the retention file, and
    /// `hosts_key` that of the key of the authority that hosts on other machines know.
    pub fn new(
        ledger: Ledger,
        keys: KeyFiles,
        (retention, time): (PathBuf, SiteTime),
        (tokens, credentials): (ApiTokens, SensorCredentials),
        (hosts, hosts_key): (Hosts, PathBuf),
    ) -> Self {
        let credentials = Credentials::new(ledger.clone(), credentials);
        let tokens = TokenOrders::new(ledger.clone(), tokens);
        let hosts = HostOrders::new(tokens.clone(), hosts, hosts_key);
        let (rotating, polls, apps) = (Arc::default(), Arc::default(), Arc::default());
        let room = Arc::new(Semaphore::new(ORDERS_MAX));
        Self {
            ledger,
            keys,
            retention,
            time,
            tokens,
            credentials,
            hosts,
            rotating,
            polls,
            apps,
            room,
        }
    }

    /// Tells the operator that the site now polls, and how its poller takes orders. Call it once.
    pub fn polls(&self, polls: Polls) {
        let is_first = self.polls.set(polls).is_ok();
        debug_assert!(is_first, "a site starts polling once");
    }

    /// Tells the operator that the site now runs components. Call it once.
    pub fn runs(&self, apps: Apps) {
        let is_first = self.apps.set(apps).is_ok();
        debug_assert!(is_first, "a site starts to run components once");
    }

    /// The site's tokens.
    pub const fn tokens(&self) -> &ApiTokens {
        self.tokens.stored()
    }

    /// The hosts on other machines.
    pub const fn hosts(&self) -> &Hosts {
        self.hosts.stored()
    }

    /// The credentials of the site's devices.
    pub const fn credentials(&self) -> &SensorCredentials {
        self.credentials.stored()
    }

    /// Carries out an order. Dropping this future ends only the wait, not the order.
    ///
    /// # Errors
    /// The order was refused and nothing has happened, or something failed;
    /// [`OperatorError::is_refusal`] says which.
    pub async fn carry_out(
        &self,
        order: impl Into<AddressedOrder>,
        account: &Account,
    ) -> Result<Done, OperatorError> {
        let order = order.into();
        let own = self.ledger.log_id();
        if let Some(named) = order.log.as_ref().filter(|log| !log.is_of(own)) {
            return Err(OperatorError::OtherLog { named: named.clone(), own });
        }
        let place =
            Arc::clone(&self.room).try_acquire_owned().map_err(|_full| OperatorError::Busy)?;
        let (operator, account) = (self.clone(), account.clone());
        let orders = self.ledger.orders();
        let obeying = async move {
            let done = operator.obey(order, account).await;
            drop(place);
            done
        };
        orders.carry_out(obeying).await.map_err(OperatorError::Panicked)?
    }

    async fn obey(&self, order: AddressedOrder, account: Account) -> Result<Done, OperatorError> {
        let by = |claimed: Option<Words>| account.signing_as(claimed.as_ref());
        let now = clock::now();
        let AddressedOrder { log, order } = order;
        match order {
            Order::Checkpoint => {
                let published = self.ledger.publish_checkpoint().await?;
                Ok(Done::Checkpoint { checkpoint: published.note.clone() })
            }
            Order::Erase { leaves, with_derived, actor, reason } => {
                let leaves = if with_derived { self.with_derived(leaves).await? } else { leaves };
                let erasure = Erasure { leaves, actor: by(actor), reason: reason.into() };
                Ok(Done::Erase(self.ledger.erase(erasure, now).await?.into()))
            }
            Order::Hold { sensor, from, to, actor, reason } => {
                if from.zip(to).is_some_and(|(from, to)| from >= to) {
                    return Err(OperatorError::EmptyWindow);
                }
                let hold = Hold { sensor, from, to };
                let receipt =
                    self.ledger.place_hold(&hold, &by(actor), reason.as_str(), now).await?;
                Ok(Done::Hold { leaf: receipt.first_leaf })
            }
            Order::Release { hold, actor, reason } => {
                let receipt =
                    self.ledger.release_hold(hold, &by(actor), reason.as_str(), now).await?;
                Ok(Done::Release { leaf: receipt.first_leaf })
            }
            Order::Holds => {
                let holds = self.ledger.holds().into_iter();
                let holds = holds.map(|(leaf, hold)| StandingHold { leaf, hold }).collect();
                Ok(Done::Holds { holds })
            }
            Order::Retain { actor } => {
                Ok(Done::Retain { classes: self.retain_now(&by(actor), now).await? })
            }
            Order::ExportReadings { sensor, from, to, actor, reason } => {
                let vkey = self.ledger.vkey();
                let origin = vkey.name().as_str();
                let span = (from, to);
                let event = Event::readings_exported(
                    &by(actor),
                    origin,
                    sensor,
                    span,
                    reason.as_str(),
                    now,
                );
                let receipt = self.ledger.append(Batch::of(vec![event])).await?;
                Ok(Done::ExportReadings { leaf: receipt.first_leaf })
            }
            Order::Import { history, actor, reason } => {
                let batch = history.batch(&by(actor), reason.as_str())?;
                let events = batch.events.len() as u64;
                let receipt = self.ledger.append(batch).await?;
                Ok(Done::Import { leaf: receipt.first_leaf, events })
            }
            Order::Forget { sensor, actor, reason } => {
                self.forget(sensor, by(actor), reason.into()).await
            }
            Order::Sensor { sensor, what, actor, reason } => {
                let polls = self.polls.get().ok_or(OperatorError::NotPolling)?;
                let ordered = (polls.order)(sensor, what, by(actor), reason.into()).await;
                let leaf = ordered
                    .map_err(OperatorError::NotOrdered)?
                    .map_err(OperatorError::SensorOrder)?;
                Ok(Done::Sensor { leaf })
            }
            Order::Poll { sensor, actor, reason } => {
                let polls = self.polls.get().ok_or(OperatorError::NotPolling)?;
                let reason = reason.map(String::from).unwrap_or_default();
                let polled = (polls.poll)(sensor, by(actor), reason);
                let polled = timeout(POLL_PATIENCE, polled).await;
                let reading = polled
                    .map_err(|_elapsed| OperatorError::Slow)?
                    .map_err(OperatorError::NotOrdered)?
                    .map_err(OperatorError::SensorOrder)?;
                Ok(Done::Poll(reading))
            }
            Order::SensorOrders => {
                let polls = self.polls.get().ok_or(OperatorError::NotPolling)?;
                let sensors = (polls.in_force)().await.map_err(OperatorError::NotOrdered)?;
                Ok(Done::SensorOrders { sensors })
            }
            Order::ConfirmClock { actor, reason } => {
                let words = format!("the machine's clock is confirmed: {}", reason.as_str());
                let event = event_by(&by(actor), action::CLOCK_CONFIRMED, "site", words, now);
                let receipt = self.ledger.append(Batch::of(vec![event])).await?;
                self.with_time(SiteTime::confirm).await?;
                Ok(Done::ConfirmClock { leaf: receipt.first_leaf })
            }
            Order::RotateKey { actor } => self.rotate_key(&by(actor)).await,
            Order::CreateToken { name, scope, nats, actor } => {
                // A token for a named log lets its holder into that log alone.
                let log = log.map(|_own| config_id(self.ledger.log_id()));
                let (nkey_seed, nkey) = nats.then(ApiTokens::new_nkey).unzip();
                let description = TokenDescription { name, scope, log, nkey, created_at: now };
                let (leaf, token) = self.tokens.create(description, &by(actor)).await?;
                let config_id = config_id(self.ledger.log_id());
                Ok(Done::CreateToken { leaf, token, config_id, nkey_seed })
            }
            Order::RevokeToken { name, actor } => {
                let revocation = Revocation { actor: by(actor), at: now };
                Ok(Done::RevokeToken { leaf: self.tokens.revoke(name, revocation).await? })
            }
            Order::Tokens => Ok(Done::Tokens {
                tokens: self.tokens().all(),
                config_id: config_id(self.ledger.log_id()),
            }),
            Order::AddCredentials { credentials, actor } => {
                Ok(self.credentials.add(credentials, &by(actor), now).await?)
            }
            Order::RevokeCredential { name, actor } => {
                let revocation = Revocation { actor: by(actor), at: now };
                Ok(self.credentials.revoke(name, revocation).await?)
            }
            Order::RotateCredential { name, key, overlap_seconds, actor } => {
                let overlap = overlap_seconds.map(Duration::from_secs);
                Ok(self.credentials.rotate(name, key, overlap, (&by(actor), now)).await?)
            }
            Order::Learn { aliases } => {
                // Without a site nobody is heard.
                self.polls.get().ok_or(OperatorError::NotHearing)?;
                Ok(Done::Learned { sensors: self.credentials().learn(aliases, now) })
            }
            Order::Credentials => {
                Ok(Done::Credentials { credentials: self.credentials().look(Book::describe) })
            }
            Order::AddHost { name, guests, writes, actor } => {
                let kind = if guests { HostKind::Guests } else { HostKind::Site };
                // Processors hand in nothing.
                let host = (name, kind, writes && !guests);
                let (leaf, secrets) = self.hosts.add(host, &by(actor), now).await?;
                Ok(Done::AddHost { leaf, secrets })
            }
            Order::RemoveHost { name, actor } => {
                let removal = Revocation { actor: by(actor), at: now };
                Ok(Done::RemoveHost { leaf: self.hosts.remove(name, removal).await? })
            }
            Order::Hosts => Ok(Done::Hosts { hosts: self.hosts().all() }),
            Order::Refusals => Ok(Done::Refusals { refusals: self.credentials().all_refusals() }),
            Order::Deploy { state, actor, reason } => {
                let (by, why) = (by(actor), reason.as_str());
                Ok(deployed(self.apps()?.deploy(state, (&by, why), now).await?))
            }
            Order::RollBack { actor, reason } => {
                let (by, why) = (by(actor), reason.as_str());
                Ok(deployed(self.apps()?.roll_back((&by, why), now).await?))
            }
            Order::DiffApps { state } => {
                Ok(Done::AppDiff { changes: self.apps()?.diff(&state).await? })
            }
            Order::Apps => Ok(self.apps()?.tell().await),
            Order::Deployment { leaf } => {
                Ok(Done::Deployment { now: self.apps()?.now(Some(leaf)).await })
            }
            Order::AppHistory => Ok(Done::AppHistory { deployed: self.apps()?.history().await? }),
        }
    }

    fn apps(&self) -> Result<&Apps, OperatorError> {
        self.apps.get().ok_or(OperatorError::NotRunning)
    }

    /// The poller seals the event, so the event follows everything that the poller recorded about
    /// the sensor.
    async fn forget(
        &self,
        sensor: SensorId,
        by: String,
        reason: String,
    ) -> Result<Done, OperatorError> {
        let polls = self.polls.get().ok_or(OperatorError::NotPolling)?;
        let forgotten =
            (polls.forget)(sensor, by, reason).await.map_err(OperatorError::NotForgotten)?;
        let leaf = forgotten.ok_or(OperatorError::UnknownSensor { sensor })?;
        Ok(Done::Forget { leaf })
    }

    /// Erases the envelopes that the retention file no longer keeps, as an order of the site
    /// itself.
    pub async fn retain(&self, now: Timestamp) -> Result<Vec<RetainedClass>, OperatorError> {
        let operator = self.clone();
        let retaining = async move { operator.retain_now("site", now).await };
        self.ledger.orders().carry_out(retaining).await.map_err(OperatorError::Panicked)?
    }

    async fn retain_now(
        &self,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<RetainedClass>, OperatorError> {
        let retention = Retention::load(&self.retention)?;
        let own = self.with_time(SiteTime::look).await?;
        if own.in_doubt {
            if !own.is_told {
                let words = format!(
                    "the machine's clock says {now}, but the site's own time is {}: nothing is erased because of its age until `sealwire log confirm-clock`",
                    own.time
                );
                let event = Event::site(action::CLOCK_JUMPED, "site", words, now);
                self.ledger.append(Batch::of(vec![event])).await?;
                self.with_time(SiteTime::told).await?;
            }
            return Err(OperatorError::ClockInDoubt { clock: now, own: own.time });
        }
        let mut classes = Vec::new();
        for (class, before) in retention.expiring(own.time.min(now)) {
            if let Some(erased) = self.ledger.retain(class, before, actor, now).await? {
                classes.push(RetainedClass { class: class.to_owned(), erased: erased.into() });
            }
        }
        Ok(classes)
    }

    async fn with_time(
        &self,
        look: impl FnOnce(&SiteTime) -> io::Result<OwnTime> + Send + 'static,
    ) -> Result<OwnTime, OperatorError> {
        let time = self.time.clone();
        let looked = work::blocking((), move || look(&time)).await;
        looked.map_err(OperatorError::Panicked)?.map_err(OperatorError::Clock)
    }

    async fn with_derived(&self, leaves: LeafRanges) -> Result<LeafRanges, OperatorError> {
        let ledger = self.ledger.clone();
        let both = move || ledger.derived_from(&leaves).map(|derived| leaves.union(&derived));
        let both = work::blocking((), both).await.map_err(OperatorError::Panicked)?;
        both.map_err(OperatorError::Read)
    }

    /// Seals the revocations that an earlier process or order left unsealed.
    ///
    /// # Errors
    /// An event was not sealed. Tokens and credentials stay revoked, and hosts removed, in any
    /// case.
    pub async fn seal_revocations(&self) -> Result<(), OperatorError> {
        let operator = self.clone();
        let sealing = async move {
            operator.tokens.seal_revocations().await?;
            operator.credentials.seal_revocations().await?;
            Ok(operator.hosts.seal_removals().await?)
        };
        self.ledger.orders().carry_out(sealing).await.map_err(OperatorError::Panicked)?
    }

    async fn rotate_key(&self, actor: &str) -> Result<Done, OperatorError> {
        let one_at_a_time = Arc::new(Arc::clone(&self.rotating).lock_owned().await);
        // If the writer has ended, only the next start knows which key the log continues with. A
        // writer that publishes a checkpoint knows it.
        self.ledger.publish_checkpoint().await?;
        let (keys, vkey) = (self.keys.clone(), self.ledger.vkey());
        let next = work::blocking(Arc::clone(&one_at_a_time), move || {
            keys.settle(&vkey)?;
            keys.create_next(vkey.name().clone())
        });
        let next = next.await.map_err(OperatorError::Panicked)??;
        let rotated = self.ledger.rotate_key(next, actor).await;
        let (keys, vkey) = (self.keys.clone(), self.ledger.vkey());
        if !matches!(rotated, Err(AppendError::Stopped)) {
            let settled = vkey.clone();
            let settle = move || keys.settle(&settled);
            work::blocking(one_at_a_time, settle).await.map_err(OperatorError::Panicked)??;
        }
        Ok(Done::RotateKey { leaf: rotated?.first_leaf, vkey: vkey.to_string() })
    }
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Envelopes cannot be erased, or a hold cannot be released.
    #[error(transparent)]
    Erase(#[from] EraseError),
    /// The event that records the order cannot be sealed.
    #[error("cannot seal the event that records the order")]
    Append(#[from] AppendError),
    /// The order is for another log than the site's.
    #[error("the order is for the log {named}, and the log here is {own}: name another site")]
    OtherLog {
        /// The log that the order names.
        named: LogName,
        /// The log here.
        own: LogId,
    },
    /// The hold would cover nothing, because its window is empty.
    #[error("the hold covers no time: `from` must be before `to`")]
    EmptyWindow,
    /// A part of another log's history cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The key files cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The retention file cannot be used.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// The token cannot be created or revoked.
    #[error(transparent)]
    Token(#[from] TokenOrderError),
    /// The order about credentials cannot be carried out.
    #[error(transparent)]
    Credentials(#[from] CredentialOrderError),
    /// The host cannot be added or removed.
    #[error(transparent)]
    Host(#[from] HostOrderError),
    /// The events derived from the leaves cannot be looked up.
    #[error("cannot look up the events derived from these leaves")]
    Read(#[source] ReadError),
    /// The file with the site's own time cannot be written.
    #[error("cannot write the file `clock`")]
    Clock(#[source] io::Error),
    /// The clock is in doubt, so the age of envelopes is not known.
    #[error(
        "the machine's clock says {clock}, but the site's own time is {own}, so nothing is erased \
         because of its age: set the clock and run `sealwire log confirm-clock`"
    )]
    ClockInDoubt {
        /// The time of the machine's clock.
        clock: Timestamp,
        /// The site's own time.
        own: Timestamp,
    },
    /// The site does not poll, so it has no poller that could obey.
    #[error(
        "only a running site can carry out an order about a sensor: start the site, and give the order again"
    )]
    NotPolling,
    /// The site does not poll, so it hears no sensors.
    #[error("only a running site hears sensors: start the site, and give the order again")]
    NotHearing,
    /// The site does not run, so it runs no components.
    #[error("only a running site deploys components: start the site, and give the order again")]
    NotRunning,
    /// The order about components cannot be carried out.
    #[error(transparent)]
    Apps(#[from] AppsError),
    /// The poller refuses the order about a sensor.
    #[error(transparent)]
    SensorOrder(RefusedOrder),
    /// The ordered poll has not ended yet.
    #[error(
        "the poll has not ended within {} s: the log will have its reading",
        POLL_PATIENCE.as_secs()
    )]
    Slow,
    /// The order about a sensor may or may not be carried out.
    #[error("the site may have carried out the order: look in the log for the event")]
    NotOrdered(#[source] Box<dyn Error + Send + Sync>),
    /// The sensor may or may not be forgotten.
    #[error("the site may have forgotten the sensor: look in the log for the event")]
    NotForgotten(#[source] Box<dyn Error + Send + Sync>),
    /// Neither the poller nor the log knows the sensor.
    #[error("the site has no sensor {sensor}: `/api/sensors` lists all sensors")]
    UnknownSensor {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// Too many orders are being carried out.
    #[error(
        "the site is already carrying out {ORDERS_MAX} orders, which is the limit: try again when they are done"
    )]
    Busy,
    /// A bug in this program.
    #[error("carrying out the order panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

impl OperatorError {
    /// Whether the order itself cannot be carried out. If not, the site failed to carry it out.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::OtherLog { .. }
            | Self::EmptyWindow
            | Self::Import(_)
            | Self::Busy
            | Self::NotPolling
            | Self::NotHearing
            | Self::NotRunning
            | Self::SensorOrder(_)
            | Self::UnknownSensor { .. }
            | Self::ClockInDoubt { .. }
            | Self::Retention(_)
            | Self::Credentials(CredentialOrderError::Refused(_))
            | Self::Host(HostOrderError::Host(
                HostError::Taken { .. }
                | HostError::Name
                | HostError::Unknown { .. }
                | HostError::TooMany,
            ))
            | Self::Erase(
                EraseError::NoSuchLeaf { .. }
                | EraseError::OfTheLog { .. }
                | EraseError::Held { .. }
                | EraseError::Nothing
                | EraseError::NoSuchHold { .. },
            )
            | Self::Token(TokenOrderError::Token(
                ApiTokenError::Taken { .. }
                | ApiTokenError::Silent
                | ApiTokenError::Subject(_)
                | ApiTokenError::Unknown { .. }
                | ApiTokenError::TooMany,
            )) => true,
            Self::Apps(error) => error.is_refusal(),
            Self::Erase(_)
            | Self::Append(_)
            | Self::Clock(_)
            | Self::Key(_)
            | Self::Token(_)
            | Self::Credentials(_)
            | Self::Host(_)
            | Self::Read(_)
            | Self::NotForgotten(_)
            | Self::NotOrdered(_)
            | Self::Slow
            | Self::Panicked(_) => false,
        }
    }
}

fn deployed(Ordered { leaf, changes, is_on_trial }: Ordered) -> Done {
    Done::Deploy { leaf, changes, is_on_trial }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use access::TokenName;
    use data_dir::DataDir;
    use tokio::time::sleep;

    use super::*;
    use crate::site_log::SiteLog;

    /// With the clock paused, time advances only when every task is idle.
    #[tokio::test(start_paused = true)]
    async fn a_revocation_waits_for_what_is_being_done_in_the_tokens_name() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path(), None).unwrap();
        let SiteLog { ledger: _, writer, operator } = SiteLog::open(&data_dir, None).unwrap();
        let (account, name) = (Account::own(), "scada-1".parse::<TokenName>().unwrap());
        for name in [name.clone(), "scada-2".parse().unwrap()] {
            let create = Order::CreateToken {
                name,
                scope: vec![access::Scope::Write],
                nats: false,
                actor: None,
            };
            operator.carry_out(create, &account).await.unwrap();
        }
        let tokens = operator.tokens();
        let [token, other] = tokens.all().try_into().unwrap();
        let effect = tokens.effect(&token).await.unwrap();
        let revoke = Order::RevokeToken { name, actor: None };
        let mut revoking = pin!(operator.carry_out(revoke, &account));
        tokio::select! {
            biased;
            done = revoking.as_mut() => panic!("it does not wait: {done:?}"),
            () = sleep(Duration::from_secs(1)) => {}
        }
        assert!(tokens.stands(&token));
        // Who has another token does not wait.
        let other = timeout(Duration::from_secs(1), tokens.effect(&other)).await;
        assert!(other.is_ok_and(|effect| effect.is_some()));
        drop(effect);
        revoking.await.unwrap();
        assert!(!tokens.stands(&token) && tokens.effect(&token).await.is_none());
        writer.close().await.unwrap();
    }
}
