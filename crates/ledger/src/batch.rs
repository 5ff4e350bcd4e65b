//! A batch of events, and what appending one promises.

use std::sync::Arc;

use model::{Envelope, Event, EventJson, action};
use tlog::Hash;

use crate::{append_keys::AppendKey, segment::Cursor, state::InvalidLogEvent};

/// Events that are appended together: all of them become durable, or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events to seal, at most [`Batch::EVENTS_MAX`].
    pub events: Vec<Event>,
    /// A cursor that the log moves together with the events, in the same commit.
    pub cursor: Option<Cursor>,
    /// The caller's name for this batch. The log seals the same batch under the same key once and
    /// answers every retry with the first receipt. [`AppendKey`] says how long the log remembers a
    /// key.
    pub key: Option<AppendKey>,
    /// Keys that the caller gave this batch earlier. If the log knows the batch under one of them,
    /// it treats that key as `key`.
    pub earlier_keys: Vec<AppendKey>,
}

impl Batch {
    /// Largest number of events in one batch.
    pub const EVENTS_MAX: usize = 1_000;
    /// Largest total size of a batch's envelopes, in bytes.
    pub const BYTES_MAX: usize = 16 << 20;

    /// A batch of events without a cursor or a key.
    #[must_use]
    pub const fn of(events: Vec<Event>) -> Self {
        Self { events, cursor: None, key: None, earlier_keys: Vec::new() }
    }
}

/// What a successful append promises: these leaves are durable and consecutive, and they never hold
/// anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The leaf of the batch's first event.
    pub first_leaf: u64,
    /// Number of leaves, one for each event.
    pub leaves: u64,
}

/// A batch within the limits, whose events are JSON already. The caller's task prepares it, which
/// leaves the writer's thread less to do.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    events: Vec<EventJson>,
    /// Size of the events' envelopes in bytes.
    bytes: usize,
    pub(crate) cursor: Option<Cursor>,
    /// SHA-256 of the key, and of the events. The log never stores the latter: it would reveal the
    /// events after they are erased.
    pub(crate) key: Option<(Hash, Hash)>,
    /// SHA-256 of each of the batch's earlier keys.
    pub(crate) earlier_keys: Vec<Hash>,
}

impl PreparedBatch {
    /// Prepares a caller's batch. A caller may not use the actions of the log itself.
    pub(crate) fn from_outside(batch: &Batch) -> Result<Self, AppendError> {
        let reserved = batch.events.iter().find_map(|event| {
            let named = event.action.as_deref()?;
            action::OF_THE_LOG.into_iter().find(|action| *action == named)
        });
        match reserved {
            Some(action) => Err(AppendError::Reserved { action }),
            None => Self::new(batch),
        }
    }

    pub(crate) fn new(batch: &Batch) -> Result<Self, AppendError> {
        let count = batch.events.len();
        if count > Batch::EVENTS_MAX {
            return Err(AppendError::TooMany { events: count });
        }
        let mut bytes = 0;
        let mut events = Vec::with_capacity(count);
        for event in &batch.events {
            let json = EventJson::of(event);
            let envelope_bytes = json.envelope_len();
            if envelope_bytes > Envelope::BYTES_MAX {
                return Err(AppendError::TooLarge { bytes: envelope_bytes });
            }
            bytes += envelope_bytes;
            events.push(json);
        }
        if bytes > Batch::BYTES_MAX {
            return Err(AppendError::BatchTooLarge { bytes });
        }
        let key = batch.key.as_ref().map(|key| (key.hash(), hash_of(&events)));
        let earlier_keys = batch.earlier_keys.iter().map(AppendKey::hash).collect();
        Ok(Self { events, bytes, cursor: batch.cursor.clone(), key, earlier_keys })
    }

    /// Number of events.
    pub(crate) const fn len(&self) -> usize {
        self.events.len()
    }

    /// Total size of the events' envelopes in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The events in order.
    pub(crate) fn events(&self) -> &[EventJson] {
        &self.events
    }
}

/// A hash that differs between any two different batches. The concatenation is unambiguous: a brace
/// ends each piece, and only the beginning of the next piece can follow it.
fn hash_of(events: &[EventJson]) -> Hash {
    let mut all = Vec::new();
    for EventJson { head, tail } in events {
        all.extend_from_slice(head);
        all.extend_from_slice(tail);
    }
    Hash::sha256(&all)
}

/// Why a batch was not sealed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch has more than [`Batch::EVENTS_MAX`] events.
    #[error(
        "the batch has {events} events, but at most {} can be sealed at once",
        Batch::EVENTS_MAX
    )]
    TooMany {
        /// Number of events in the batch.
        events: usize,
    },
    /// An envelope is larger than [`Envelope::BYTES_MAX`].
    #[error(
        "an envelope of the batch has {bytes} bytes, but at most {} can be sealed",
        Envelope::BYTES_MAX
    )]
    TooLarge {
        /// Size of the envelope in bytes.
        bytes: usize,
    },
    /// The envelopes together are larger than [`Batch::BYTES_MAX`].
    #[error("the batch has {bytes} bytes, but at most {} can be sealed at once", Batch::BYTES_MAX)]
    BatchTooLarge {
        /// Size of all envelopes in bytes.
        bytes: usize,
    },
    /// An event has an action that only the log itself may use.
    #[error("the action {action} is reserved for the log itself: choose another action")]
    Reserved {
        /// The reserved action.
        action: &'static str,
    },
    /// The key was used for a batch of other events.
    #[error(
        "the key was already used for other events, sealed from leaf {first_leaf} on: use a new key"
    )]
    KeyReused {
        /// First leaf of that batch.
        first_leaf: u64,
    },
    /// The log cannot apply this event about itself to its state.
    #[error("the log does not allow this event about itself")]
    LogEvent(#[source] Arc<InvalidLogEvent>),
    /// The disk refused the batch. Nothing of it was written, so the caller can try again.
    #[error("cannot write the batch: {0}")]
    Write(String),
    /// The writer has ended. The next start of the log shows whether the batch was sealed.
    #[error("the ledger has stopped")]
    Stopped,
}
