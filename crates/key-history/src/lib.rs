//! The keys that have signed a log, one after the other, for those who know one of them.
//!
//! Anyone can follow them: whoever verifies a log's files, whoever is handed a bundle, and the page
//! in a browser.
//!
//! Invariant: under a checkpoint ([`KeyHistory::under`]) only keys count that its leaves name. An
//! event beyond it may be genuine and still vouches for nothing: a key that was rotated away can
//! sign a checkpoint of fewer leaves than the log had when the rotation was sealed.

#![cfg_attr(not(test), no_std)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

pub mod rotation;

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use model::{Envelope, action};
use tlog::{Checkpoint, Hash, OpenCheckpointError, ParseKeyError, SignedNote, VerifierKey};

use crate::rotation::InvalidRotation;

/// An event that names a key: the genesis entry, or a rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyEvent {
    /// Its leaf.
    pub leaf: u64,
    /// Its envelope, canonical JSON.
    pub envelope: Vec<u8>,
}

impl KeyEvent {
    /// Whether it names this key, whatever else is wrong with it.
    fn names(&self, key: &VerifierKey) -> bool {
        Envelope::parse(&self.envelope)
            .ok()
            .and_then(|envelope| envelope.event.sealwire?.vkey)
            .is_some_and(|vkey| vkey == key.to_string())
    }
}

/// The keys that have signed a log, in order. Each but the first was brought in by a statement that
/// it and the one before it signed.
#[derive(Clone, Debug)]
pub struct KeyHistory {
    keys: Vec<(u64, VerifierKey)>,
    /// What the log's entries must be at these leaves, for the keys that were not just believed.
    commitments: Vec<(u64, Hash)>,
}

impl KeyHistory {
    /// Opens a checkpoint with the keys that are named below its size, the last of which must have
    /// signed it. If `known` is given it must be among them; otherwise the genesis entry is
    /// believed. Events at its size or beyond are not looked at.
    ///
    /// Whether the log has the events at their leaves is for the caller to show
    /// ([`KeyHistory::commitment`]).
    ///
    /// # Errors
    /// An event names no key or is not signed for by the one before, `known` is not among the keys,
    /// or the checkpoint is malformed or not signed by the last of them.
    pub fn under(
        note: &str,
        events: &[KeyEvent],
        known: Option<&VerifierKey>,
    ) -> Result<(Self, Checkpoint), InvalidKeys> {
        let size = Self::claimed_size(note);
        let is_below = |event: &&KeyEvent| event.leaf < size.max(1);
        let below: Vec<KeyEvent> = events.iter().filter(is_below).cloned().collect();
        let keys = Self::follow(&below, known).map_err(|error| match (error, known) {
            (InvalidKeyEvents::Unknown { vkey }, Some(known)) => {
                match events.iter().find(|event| event.leaf >= size && event.names(known)) {
                    Some(KeyEvent { leaf, .. }) => {
                        InvalidKeyEvents::NotYet { vkey, leaf: *leaf, size }
                    }
                    None => InvalidKeyEvents::Unknown { vkey },
                }
            }
            (error, _) => error,
        })?;
        let checkpoint = keys.open_checkpoint(note)?;
        Ok((keys, checkpoint))
    }

    /// The keys that these events name. If `known` is given it must be among them; otherwise the
    /// genesis entry is believed.
    ///
    /// # Errors
    /// An event names no key, or is not signed for by the one before, or `known` is not among them.
    pub fn follow(
        events: &[KeyEvent],
        known: Option<&VerifierKey>,
    ) -> Result<Self, InvalidKeyEvents> {
        let mut history = Self { keys: Vec::new(), commitments: Vec::new() };
        for KeyEvent { leaf, envelope } in events {
            let leaf = *leaf;
            let parsed = Envelope::parse(envelope)
                .map_err(|error| InvalidKeyEvents::Envelope { leaf, reason: error.to_string() })?;
            let detail = parsed.event.sealwire.unwrap_or_default();
            let vkey = detail.vkey.unwrap_or_default();
            let key = VerifierKey::parse(&vkey)
                .map_err(|source| InvalidKeyEvents::Key { leaf, source })?;
            let expected =
                if history.keys.is_empty() { action::LOG_CREATED } else { action::KEY_ROTATED };
            if parsed.event.action.as_deref() != Some(expected) {
                return Err(InvalidKeyEvents::Action { leaf, expected });
            }
            if history.keys.is_empty() && leaf > 0 {
                return Err(InvalidKeyEvents::Genesis { leaf });
            }
            if let Some((before, old)) = history.keys.last() {
                if *before >= leaf {
                    return Err(InvalidKeyEvents::Order { leaf });
                }
                let statement = detail.rotation.unwrap_or_default();
                rotation::verify(&statement, old.name().as_str(), leaf, old, &key)
                    .map_err(|source| InvalidKeyEvents::Rotation { leaf, source })?;
            }
            history.keys.push((leaf, key));
            history.commitments.push((leaf, Hash::sha256(envelope)));
        }
        match known {
            Some(known) if !history.keys.iter().any(|(_, key)| key == known) => {
                Err(InvalidKeyEvents::Unknown { vkey: known.to_string() })
            }
            _ if history.keys.is_empty() => Err(InvalidKeyEvents::None),
            _ => Ok(history),
        }
    }

    /// Opens a checkpoint, which the key that was in use at its size must have signed.
    ///
    /// # Errors
    /// It is not signed by that key, or malformed.
    pub fn open_checkpoint(&self, note: &str) -> Result<Checkpoint, OpenCheckpointError> {
        // Only which key to try depends on it.
        Checkpoint::open(note, self.at(Self::claimed_size(note)))
    }

    /// The size that a checkpoint claims, unverified; 0 where it cannot be read.
    #[must_use]
    pub fn claimed_size(note: &str) -> u64 {
        SignedNote::parse(note)
            .ok()
            .and_then(|note| Checkpoint::parse(note.unverified_text()).ok())
            .map_or(0, |checkpoint| checkpoint.size.get())
    }

    /// The key that signs trees of `size` leaves.
    #[must_use]
    pub fn at(&self, size: u64) -> &VerifierKey {
        let in_use = self.keys.iter().rfind(|(leaf, _)| *leaf < size).or_else(|| self.keys.first());
        &in_use.expect("a history has at least one key").1
    }

    /// The keys in order, each with the leaf that named it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &VerifierKey)> {
        self.keys.iter().map(|(leaf, key)| (*leaf, key))
    }

    /// What the log's entry must be at a leaf, if that names a key.
    #[must_use]
    pub fn commitment(&self, leaf: u64) -> Option<Hash> {
        self.commitments.iter().find(|(named, _)| *named == leaf).map(|(_, commitment)| *commitment)
    }
}

/// Why a checkpoint is not one of a log with these keys.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeys {
    /// The events do not name the log's keys.
    #[error("the log's keys do not hold")]
    Events(#[from] InvalidKeyEvents),
    /// The checkpoint is malformed, or not signed by the key that was in use at its size.
    #[error("the checkpoint does not hold")]
    Checkpoint(#[from] OpenCheckpointError),
}

/// Why events do not name a log's keys.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeyEvents {
    /// There are none.
    #[error("no event names a key")]
    None,
    /// Not an envelope.
    #[error("leaf {leaf}: {reason}")]
    Envelope {
        /// Which leaf.
        leaf: u64,
        /// Why not.
        reason: String,
    },
    /// Not the event that it should be.
    #[error("leaf {leaf} is not an event {expected}")]
    Action {
        /// Which leaf.
        leaf: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// A genesis entry elsewhere.
    #[error("leaf {leaf} is said to be the genesis entry, and that is leaf 0")]
    Genesis {
        /// Which leaf.
        leaf: u64,
    },
    /// Events that are not in order.
    #[error("leaf {leaf} does not come after the key before it")]
    Order {
        /// Which leaf.
        leaf: u64,
    },
    /// No key.
    #[error("leaf {leaf} names a key that is none")]
    Key {
        /// Which leaf.
        leaf: u64,
        /// Why not.
        source: ParseKeyError,
    },
    /// A rotation that does not hold.
    #[error("leaf {leaf} goes over to a key without right")]
    Rotation {
        /// Which leaf.
        leaf: u64,
        /// Why.
        source: InvalidRotation,
    },
    /// The key one knows comes later than the checkpoint.
    #[error(
        "the log goes over to the key {vkey} at leaf {leaf}, and the checkpoint covers only {size} \
         leaves: it is older than that key, which vouches for nothing in it; ask for a newer one"
    )]
    NotYet {
        /// Which key.
        vkey: String,
        /// The leaf that names it.
        leaf: u64,
        /// Leaves of the checkpoint.
        size: u64,
    },
    /// The key one knows is not among them.
    #[error("the key {vkey} never signed this log")]
    Unknown {
        /// Which key.
        vkey: String,
    },
}
