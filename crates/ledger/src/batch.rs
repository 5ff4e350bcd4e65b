//! What is appended as one, and what an append promises.

use model::{Envelope, Event, action};
use tlog::Hash;

use crate::{AppendError, AppendKey, Cursor};

/// What is appended as one: all of it becomes durable, or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events to seal, at most [`Batch::EVENTS_MAX`].
    pub events: Vec<Event>,
    /// A cursor that moves with them.
    pub cursor: Option<Cursor>,
    /// The caller's name for this batch: the same batch under the same key is sealed once, and every further time its first receipt is the answer. How
    /// far back that reaches is said at [`AppendKey`].
    pub key: Option<AppendKey>,
}

impl Batch {
    /// Most events in one batch.
    pub const EVENTS_MAX: usize = 1_000;
    /// Most bytes of envelopes in one batch.
    pub const BYTES_MAX: usize = 16 << 20;

    /// A batch of events alone.
    #[must_use]
    pub const fn of(events: Vec<Event>) -> Self {
        Self { events, cursor: None, key: None }
    }
}

/// What an append promises: these leaves are durable, follow each other, and never hold anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The leaf of the batch's first event.
    pub first_leaf: u64,
    /// Number of leaves.
    pub leaves: u64,
}

/// A batch whose events are JSON already, and not too many or too large. Whoever appends makes it, so that the writer has less to do.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    events: Vec<u8>,
    /// Where each event ends in `events`.
    ends: Vec<usize>,
    pub(crate) cursor: Option<Cursor>,
    /// SHA-256 of the key, and of the events.
    pub(crate) key: Option<(Hash, Hash)>,
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
        let mut events = Vec::with_capacity(count * 384);
        let mut ends = Vec::with_capacity(count);
        let mut begin = 0;
        for event in &batch.events {
            serde_json::to_writer(&mut events, event)
                .expect("an event has only text keys and no floating point");
            let bytes = events.len() - begin + Envelope::SEAL_LEN;
            if bytes > Envelope::BYTES_MAX {
                return Err(AppendError::TooLarge { bytes });
            }
            begin = events.len();
            ends.push(begin);
        }
        let bytes = events.len() + count * Envelope::SEAL_LEN;
        if bytes > Batch::BYTES_MAX {
            return Err(AppendError::BatchTooLarge { bytes });
        }
        let key = batch.key.map(|key| (key.hash(), Hash::sha256(&events)));
        Ok(Self { events, ends, cursor: batch.cursor, key })
    }

    /// Number of events.
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the events' envelopes.
    pub(crate) const fn bytes(&self) -> usize {
        self.events.len() + self.len() * Envelope::SEAL_LEN
    }

    /// Each event's JSON.
    pub(crate) fn events(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).filter_map(|(begin, end)| self.events.get(begin..*end))
    }
}
