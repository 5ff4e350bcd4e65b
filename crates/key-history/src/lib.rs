//! The keys that have signed a log, in order, for a verifier that knows one of them.
//!
//! Anyone can follow them: a verifier of a log's files, a recipient of a bundle, or the page in a
//! browser.
//!
//! Invariant: under a checkpoint ([`KeyHistory::under`]) only the keys count that its leaves name.
//! An event beyond the checkpoint may be genuine and still proves nothing: a key that was rotated
//! away can sign a checkpoint of fewer leaves than the log had when the rotation was sealed.

#![cfg_attr(not(test), no_std)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

pub mod rotation;

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use model::{Envelope, LogId, action};
use tlog::{Checkpoint, Hash, OpenCheckpointError, ParseKeyError, SignedNote, VerifierKey};

use crate::rotation::InvalidRotation;

/// An event that names a key: the genesis entry or a rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyEvent {
    /// Index of the event's leaf in the log.
    pub leaf: u64,
    /// The event's envelope, canonical JSON.
    pub envelope: Vec<u8>,
}

impl KeyEvent {
    /// Whether the event names this key, even if the event is invalid otherwise.
    fn names(&self, key: &VerifierKey) -> bool {
        Envelope::parse(&self.envelope)
            .ok()
            .and_then(|envelope| envelope.event.sealwire?.vkey)
            .is_some_and(|vkey| vkey == key.to_string())
    }
}

/// The keys that have signed a log, in order. A statement signed by a key and its predecessor
/// introduces each key but the first.
#[derive(Clone, Debug)]
pub struct KeyHistory {
    keys: Vec<(u64, VerifierKey)>,
    /// The commitment that the log's entry must have at each leaf that names a key.
    commitments: Vec<(u64, Hash)>,
}

impl KeyHistory {
    /// Opens a checkpoint with the keys that are named by leaves below its size. The last of them
    /// must have signed it. If `known` is given, it must be among the keys; if not, the genesis
    /// entry is trusted. Events at or beyond the size are ignored.
    ///
    /// The caller must show that the log has the events at their leaves
    /// ([`KeyHistory::commitment`]).
    ///
    /// # Errors
    /// An event names no key or its predecessor's key did not sign it, `known` is not among the
    /// keys, or the checkpoint is malformed or the last key did not sign it.
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

    /// The keys that these events name. If `known` is given, it must be among them; if not, the
    /// genesis entry is trusted.
    ///
    /// # Errors
    /// An event names no key, or its predecessor's key did not sign it, or `known` is not among the
    /// keys.
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

    /// Opens a checkpoint. The key in use at its size must have signed it.
    ///
    /// # Errors
    /// That key did not sign it, or the checkpoint is malformed.
    pub fn open_checkpoint(&self, note: &str) -> Result<Checkpoint, OpenCheckpointError> {
        // The unverified size only selects the key to try.
        Checkpoint::open(note, self.at(Self::claimed_size(note)))
    }

    /// The size that a checkpoint claims, without verification; 0 if it cannot be parsed.
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

    /// The id of the log with these keys.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        let (_, first) = self.keys.first().expect("a history has at least one key");
        log_id(&first.to_string())
    }

    /// The keys in order, each with the leaf that named it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &VerifierKey)> {
        self.keys.iter().map(|(leaf, key)| (*leaf, key))
    }

    /// The commitment that the log's entry must have at a leaf, if the leaf names a key.
    #[must_use]
    pub fn commitment(&self, leaf: u64) -> Option<Hash> {
        self.commitments.iter().find(|(named, _)| *named == leaf).map(|(_, commitment)| *commitment)
    }
}

/// The id of the log whose first verifier key is `vkey`, written as the log's genesis entry names
/// it.
#[must_use]
pub fn log_id(vkey: &str) -> LogId {
    LogId::from_sha256(*Hash::sha256(vkey.as_bytes()).as_bytes())
}

/// Why a checkpoint does not belong to a log with these keys.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeys {
    /// The events do not name the log's keys.
    #[error("the log's keys do not verify")]
    Events(#[from] InvalidKeyEvents),
    /// The checkpoint is malformed, or the key in use at its size did not sign it.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] OpenCheckpointError),
}

/// Why a sequence of events does not name a log's keys.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeyEvents {
    /// There is no event.
    #[error("no event names a key")]
    None,
    /// The bytes at a leaf are not an envelope.
    #[error("leaf {leaf}: {reason}")]
    Envelope {
        /// Leaf of the event.
        leaf: u64,
        /// The parse error as text.
        reason: String,
    },
    /// The event at a leaf has another action than the expected one.
    #[error("leaf {leaf} is not an event {expected}")]
    Action {
        /// Leaf of the event.
        leaf: u64,
        /// The expected action.
        expected: &'static str,
    },
    /// The first event is not at leaf 0.
    #[error("leaf {leaf} cannot be the genesis entry, which is leaf 0")]
    Genesis {
        /// Leaf of the event.
        leaf: u64,
    },
    /// The events are not in the order of their leaves.
    #[error("leaf {leaf} does not come after the leaf of the previous key")]
    Order {
        /// Leaf of the event.
        leaf: u64,
    },
    /// An event does not name a valid key.
    #[error("leaf {leaf} names an invalid key")]
    Key {
        /// Leaf of the event.
        leaf: u64,
        /// The parse error.
        source: ParseKeyError,
    },
    /// The statement of a rotation is invalid.
    #[error("leaf {leaf} changes to a key without authority")]
    Rotation {
        /// Leaf of the event.
        leaf: u64,
        /// What is wrong with the statement.
        source: InvalidRotation,
    },
    /// The known key comes later than the checkpoint.
    #[error(
        "the log changes its key to {vkey} at leaf {leaf}, but the checkpoint covers only {size} \
         leaves: it is older than that key, so the key proves nothing about it; ask for a newer \
         checkpoint"
    )]
    NotYet {
        /// The known verifier key.
        vkey: String,
        /// The leaf that names the key.
        leaf: u64,
        /// Number of leaves that the checkpoint covers.
        size: u64,
    },
    /// The known key is not among the log's keys.
    #[error("the key {vkey} never signed this log")]
    Unknown {
        /// The known verifier key.
        vkey: String,
    },
}
