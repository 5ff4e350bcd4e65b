//! Takes events that applications hand in: has `event-logger` check them, seals them, and answers
//! with receipts.
//!
//! Every way in ends at the [`Desk`]: [`hearing`] is the one over NATS, [`forwarded`] the one over
//! HTTP, through the gateway, and [`of_hosts`] that of components. A submission waits in a queue;
//! [`checking`] hands several of them to the component at once. What the component finds right is
//! sealed in one append, under the application's own key, and only then answered.
//!
//! Delivery is at most once everywhere on this way, and nothing but the log is durable. So whoever
//! gets no answer hands in the same again: the site to the component, the application to the site.
//! Under a key the log seals a submission once and answers each retry with the first receipt.
//!
//! Invariant: the events of a submission are consecutive leaves, or none of them is in the log.

mod answering;
pub mod checking;
pub mod forwarded;
pub mod hearing;
pub mod of_hosts;
mod refused;
mod room;
mod tickets;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use access::{ApiTokens, Scope, TokenDescription, TokenName};
use ledger::{AppendKey, Batch, Ledger, Receipt};
use model::{
    Event, Timestamp, action,
    submission::{BYTES_MAX, CheckedEvent, Fault},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tlog::Hash;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tracing::warn;

pub use refused::Refused;
use refused::{KEY_CHARS_MAX, PATIENCE};
use room::Room;
pub use tickets::Ticket;
use tickets::{Holder, Tickets};

/// Submissions that wait for the component. Their bytes are limited too, so this is never reached
/// before that limit.
const WAITING_MAX: usize = 8_192;
/// Submissions whose commitments are read from the disk at the same time.
const READS_MAX: usize = 16;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// Where applications hand in events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    ledger: Ledger,
    tokens: ApiTokens,
    /// Name of the log in tokens that are for it alone.
    log_name: String,
    waiting: mpsc::Sender<Waiting>,
    room: Room,
    tickets: Tickets,
    reading: work::Room,
    /// Days since 1970 on which the log first tells of the use of a token, the newest of each.
    told: Arc<Mutex<HashMap<(TokenName, Timestamp), i64>>>,
    counters: Arc<Counters>,
}

/// What has become of submissions since the site started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that were sealed, or had been sealed before under the same key.
    pub sealed: AtomicU64,
    /// Submissions that were refused.
    pub refused: AtomicU64,
}

/// A submission that waits for the component.
#[derive(Debug)]
pub struct Waiting {
    submission: Box<RawValue>,
    answer: oneshot::Sender<Result<Vec<CheckedEvent>, Fault>>,
}

/// The receipts of a submission: all its events are durable.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Sealed {
    /// Id of the log.
    pub log: String,
    /// Origin of the log's checkpoints.
    pub origin: String,
    /// The first checkpoint of at least this size covers all events, and so does each later one.
    pub size: u64,
    /// A receipt of each event, in the submission's order.
    pub receipts: Vec<EventReceipt>,
}

/// The receipt of one event.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct EventReceipt {
    /// Index of the event's leaf.
    pub leaf: u64,
    /// SHA-256 of the envelope in hex: the entry of the log.
    pub commitment: String,
}

impl Desk {
    /// A desk for events to seal in this log, and what waits there for the component. `log_name` is
    /// the log's name in tokens that are for it alone.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        tokens: ApiTokens,
        log_name: String,
    ) -> (Self, mpsc::Receiver<Waiting>) {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        let desk = Self {
            ledger,
            tokens,
            log_name,
            waiting,
            room: Room::default(),
            tickets: Tickets::default(),
            reading: work::Room::of(READS_MAX),
            told: Arc::default(),
            counters: Arc::default(),
        };
        (desk, taken)
    }

    /// What has become of submissions.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A ticket for one submission in the name of a token, for whoever forwards it here.
    #[must_use]
    pub fn ticket(&self, token: TokenDescription, key: Option<String>) -> Ticket {
        self.tickets.give(Holder { token, key })
    }

    /// As [`submit`](Self::submit), in the name of the token to which the ticket was given.
    async fn submit_with(&self, ticket: &str, submission: &[u8]) -> Result<Sealed, Refused> {
        let Holder { token, key } = self.tickets.take(ticket).ok_or(Refused::Token)?;
        self.submit(&token, key.as_deref(), submission).await
    }

    /// Seals the events of a submission in the name of a token. With a key, a retry of the same
    /// submission seals nothing and gets the first receipts. If this future is dropped, the events
    /// may or may not be sealed.
    ///
    /// # Errors
    /// Nothing was sealed; after [`Refused::NotSealed`] it is not known.
    pub async fn submit(
        &self,
        token: &TokenDescription,
        key: Option<&str>,
        submission: &[u8],
    ) -> Result<Sealed, Refused> {
        let done = self.seal(token, key, submission).await;
        match &done {
            Ok(sealed) => {
                let events = sealed.receipts.len() as u64;
                self.counters.sealed.fetch_add(events, Ordering::Relaxed);
            }
            Err(_) => drop(self.counters.refused.fetch_add(1, Ordering::Relaxed)),
        }
        done
    }

    async fn seal(
        &self,
        token: &TokenDescription,
        key: Option<&str>,
        submission: &[u8],
    ) -> Result<Sealed, Refused> {
        let is_for_this_log = token.log.as_ref().is_none_or(|log| *log == self.log_name);
        let is_allowed = token.scope.contains(&Scope::Write) && is_for_this_log;
        if !is_allowed || !self.tokens.stands(token) {
            return Err(Refused::Token);
        }
        let key = key.map(|key| append_key(token, key)).transpose()?;
        if submission.len() > BYTES_MAX {
            return Err(Refused::TooLong { bytes: submission.len() });
        }
        let submission: Box<RawValue> = serde_json::from_slice(submission)
            .map_err(|error| Refused::NotJson(error.to_string()))?;
        let _place = self.room.place(&token.name, submission.get().len())?;
        let checked = self.check(submission).await?;
        let name = token.name.as_str();
        let events: Option<Vec<Event>> =
            checked.into_iter().map(|event| event.of_application(name)).collect();
        let events = events.expect("`checking` takes no other events");
        self.tell_use(token).await?;
        let receipt = {
            let _effect = self.tokens.effect(token).await.ok_or(Refused::Token)?;
            let batch = Batch { key, ..Batch::of(events) };
            self.ledger.append(batch).await.map_err(Refused::of_append)?
        };
        self.receipts(receipt).await
    }

    /// Waits until the component has checked a submission.
    async fn check(&self, submission: Box<RawValue>) -> Result<Vec<CheckedEvent>, Refused> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { submission, answer };
        self.waiting.try_send(waiting).map_err(|_full| Refused::Full)?;
        match timeout(PATIENCE, answered).await {
            Ok(Ok(Ok(events))) => Ok(events),
            Ok(Ok(Err(fault))) => Err(Refused::Fault(fault)),
            // The site stops.
            Ok(Err(_)) => Err(Refused::Stopping),
            Err(_elapsed) => Err(Refused::Silent),
        }
    }

    /// Seals that a token was used, once a day and after each start of the site.
    async fn tell_use(&self, token: &TokenDescription) -> Result<(), Refused> {
        let now = clock::now();
        let today = now.unix_micros().div_euclid(DAY_MICROS);
        let of = (token.name.clone(), token.created_at);
        // Held until it is sealed, so that submissions that come at once do not each tell of it.
        let mut told = self.told.lock().await;
        if told.get(&of) != Some(&today) {
            let name = token.name.as_str();
            let words = format!("token {name} was used");
            let mut event = Event::site(action::TOKEN_USED, "api-tokens", words, now);
            (event.actor, event.target) = (Some(name.to_owned()), Some(name.to_owned()));
            self.ledger.append(Batch::of(vec![event])).await.map_err(Refused::of_append)?;
            told.insert(of, today);
        }
        Ok(())
    }

    async fn receipts(&self, receipt: Receipt) -> Result<Sealed, Refused> {
        let Receipt { first_leaf, leaves } = receipt;
        let ledger = self.ledger.clone();
        let count = usize::try_from(leaves).unwrap_or(usize::MAX);
        let entries = self.reading.blocking((), move || ledger.entries(first_leaf, count)).await;
        let entries = match entries {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => return Err(unread(&error)),
            Err(panic) => return Err(unread(&panic)),
        };
        let receipt = |(leaf, entry): (u64, Hash)| EventReceipt {
            leaf,
            commitment: hex::encode(entry.as_bytes()),
        };
        Ok(Sealed {
            log: self.ledger.log_id().to_string(),
            origin: self.ledger.vkey().name().as_str().to_owned(),
            size: first_leaf + leaves,
            receipts: (first_leaf..).zip(entries).map(receipt).collect(),
        })
    }
}

/// The events are sealed, but their commitments cannot be read. A retry under the key tries again.
fn unread(error: &dyn std::error::Error) -> Refused {
    warn!(%error, "cannot read the commitments of an application's events");
    Refused::NotSealed
}

/// The log's key for an application's key: another application's, and another token's of the same
/// name, is another one.
fn append_key(token: &TokenDescription, key: &str) -> Result<AppendKey, Refused> {
    let is_printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !(1..=KEY_CHARS_MAX).contains(&key.len()) || !is_printable {
        return Err(Refused::Key);
    }
    let name = token.name.as_str();
    let of = Hash::sha256(format!("{name}\n{}\n{key}", token.created_at).as_bytes());
    let key = format!("submission {}", hex::encode(of.as_bytes()));
    Ok(AppendKey::parse(&key).expect("a hash and a word are shorter than a key may be"))
}
