//! Which batch was sealed under which of the callers' keys. With it a retry gets the first receipt
//! and no second leaves.
//!
//! The window is bounded: it holds the newest [`KEYS_MAX`] of the keys that the newest segment and
//! the one before it contain. That covers at least the last 64 MiB of the log, and a start can read
//! it back. A batch leaves the window when one of its envelopes is erased.

use std::collections::{HashMap, VecDeque};

use tlog::Hash;

use crate::{ranges::LeafRanges, segment::KeyUsed};

/// Number of keys that the log remembers: 8 MB of memory at most.
pub(crate) const KEYS_MAX: usize = 65_536;

/// A caller's name for one batch. The log answers a retry under this key with the first receipt as
/// long as the key is among the newest 65,536 and its batch is in the newest segment or the one
/// before it. Once an envelope of the batch is erased, the log has forgotten the key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendKey(String);

impl AppendKey {
    /// Longest key in bytes.
    pub const LEN_MAX: usize = 128;

    /// Checks a key: any text of 1 to 128 bytes.
    ///
    /// # Errors
    /// The text is empty or too long.
    pub fn parse(text: &str) -> Result<Self, InvalidAppendKey> {
        if (1..=Self::LEN_MAX).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAppendKey { bytes: text.len() })
        }
    }

    pub(crate) fn hash(&self) -> Hash {
        Hash::sha256(self.0.as_bytes())
    }
}

/// The text is empty or too long for a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key of an append has {bytes} bytes: use 1 to {} bytes", AppendKey::LEN_MAX)]
pub struct InvalidAppendKey {
    bytes: usize,
}

/// The keys that the log remembers, each with its batch.
#[derive(Debug, Default)]
pub(crate) struct AppendKeys {
    by_key: HashMap<Hash, KeyUsed>,
    /// Hashes of the keys, from the oldest to the newest.
    order: VecDeque<Hash>,
}

impl AppendKeys {
    pub(crate) fn get(&self, key: &Hash) -> Option<&KeyUsed> {
        self.by_key.get(key)
    }

    pub(crate) fn insert(&mut self, used: KeyUsed) {
        if self.by_key.insert(used.key, used).is_none() {
            self.order.push_back(used.key);
        }
        if self.order.len() > KEYS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the batches that begin before a leaf.
    pub(crate) fn forget_before(&mut self, leaf: u64) {
        while self
            .order
            .front()
            .and_then(|key| self.by_key.get(key))
            .is_some_and(|used| used.first_leaf < leaf)
        {
            self.forget_oldest();
        }
    }

    /// Forgets the batches of which an envelope was erased.
    pub(crate) fn forget_erased(&mut self, erased: &LeafRanges) {
        self.by_key.retain(|_, used| !erased.overlap(&used.batch()));
        self.order.retain(|key| self.by_key.contains_key(key));
    }

    fn forget_oldest(&mut self) {
        if let Some(key) = self.order.pop_front() {
            self.by_key.remove(&key);
        }
    }
}
