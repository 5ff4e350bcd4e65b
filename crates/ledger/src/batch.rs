//! What is appended as one, and what an append promises.

use std::sync::Arc;

use model::{Envelope, Event, EventJson, action};
use tlog::Hash;

use crate::{append_keys::AppendKey, segment::Cursor, state::InvalidLogEvent};

/// What is appended as one: all of it becomes durable, or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events to seal, at most [`Batch::EVENTS_MAX`].
    pub events: Vec<Event>,
    /// A cursor that moves with them.
    pub cursor: Option<Cursor>,
    /// The caller's name for this batch: the same batch under the same key is sealed once, and
    /// every further time its first receipt is the answer. How far back that reaches is said at
    /// [`AppendKey`].
    pub key: Option<AppendKey>,
    /// Further keys that the caller gave this batch before. Where it is known under one of them,
    /// that counts as if it were `key`.
    pub earlier_keys: Vec<AppendKey>,
}

impl Batch {
    /// Most events in one batch.
    pub const EVENTS_MAX: usize = 1_000;
    /// Most bytes of envelopes in one batch.
    pub const BYTES_MAX: usize = 16 << 20;

    /// A batch of events alone.
    #[must_use]
    pub const fn of(events: Vec<Event>) -> Self {
        Self { events, cursor: None, key: None, earlier_keys: Vec::new() }
    }
}

/// What an append promises: these leaves are durable, follow each other, and never hold anything
/// else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The leaf of the batch's first event.
    pub first_leaf: u64,
    /// Number of leaves.
    pub leaves: u64,
}

/// A batch whose events are JSON already, and not too many or too large. Whoever appends makes it,
/// so that the writer has less to do.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    events: Vec<EventJson>,
    /// Of their envelopes.
    bytes: usize,
    pub(crate) cursor: Option<Cursor>,
    /// SHA-256 of the key, and of the events. The latter is never written down: it would tell what
    /// the events were after they are erased.
    pub(crate) key: Option<(Hash, Hash)>,
    /// SHA-256 of the further ones.
    pub(crate) earlier_keys: Vec<Hash>,
}

impl PreparedBatch {
    /// Takes a batch from outside, which may not speak for the log itself.
    pub(crate) fn from_outside(batch: Batch) -> Result<Self, AppendError> {
        let reserved = batch.events.iter().find_map(|event| {
            let named = event.action.as_deref()?;
            action::OF_THE_LOG.into_iter().find(|action| *action == named)
        });
        match reserved {
            Some(action) => Err(AppendError::Reserved { action }),
            None => Self::new(batch),
        }
    }

    pub(crate) fn new(batch: Batch) -> Result<Self, AppendError> {
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
        let key = batch.key.map(|key| (key.hash(), hash_of(&events)));
        let earlier_keys = batch.earlier_keys.iter().map(AppendKey::hash).collect();
        Ok(Self { events, bytes, cursor: batch.cursor, key, earlier_keys })
    }

    /// Number of events.
    pub(crate) const fn len(&self) -> usize {
        self.events.len()
    }

    /// Bytes of the events' envelopes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The events in order.
    pub(crate) fn events(&self) -> &[EventJson] {
        &self.events
    }
}

/// Tells batches apart whatever their events say: a brace ends each piece, and nothing follows on
/// it but the next one's begin.
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
    /// More events than a batch holds.
    #[error("the batch has {events} events: at most {} are sealed at once", Batch::EVENTS_MAX)]
    TooMany {
        /// How many.
        events: usize,
    },
    /// One event too large.
    #[error(
        "an envelope of the batch has {bytes} bytes: at most {} are sealed",
        Envelope::BYTES_MAX
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// All together too large.
    #[error("the batch has {bytes} bytes: at most {} are sealed at once", Batch::BYTES_MAX)]
    BatchTooLarge {
        /// Their size.
        bytes: usize,
    },
    /// An action that only the log itself may use.
    #[error("the action {action} is the log's own: name the event's action otherwise")]
    Reserved {
        /// Which.
        action: &'static str,
    },
    /// The key was used for other events.
    #[error("the key was used for other events, sealed from leaf {first_leaf} on: use a new one")]
    KeyReused {
        /// Where they begin.
        first_leaf: u64,
    },
    /// An event of the log itself that cannot be.
    #[error("the log cannot say this of itself")]
    LogEvent(#[source] Arc<InvalidLogEvent>),
    /// Nothing of it was written.
    #[error("the batch could not be written: {0}")]
    Write(String),
    /// The writer has ended; whether the batch was sealed shows when the log is opened again.
    #[error("the ledger has stopped")]
    Stopped,
}
