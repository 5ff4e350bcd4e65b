//! Which batches were sealed under which caller's key, so that a retry gets the first receipt
//! instead of second leaves.
//!
//! The window is bounded: the newest [`KEYS_MAX`] keys, of those that the newest segment and the
//! one before it hold. That is at least what the last 64 MiB of the log have seen, and what a start
//! can read back. A batch of which something was erased is not in it any more.

use std::collections::{HashMap, VecDeque};

use tlog::Hash;

use crate::{ranges::LeafRanges, segment::KeyUsed};

/// Keys that are remembered: 8 MB of memory at most.
pub(crate) const KEYS_MAX: usize = 65_536;

/// A caller's name for one batch. A retry under it is answered with the first receipt for as long
/// as the key is among the newest 65,536, and its batch in the newest segment or the one before it.
/// Once something of the batch was erased, the key means nothing any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendKey(String);

impl AppendKey {
    /// Longest key in bytes.
    pub const LEN_MAX: usize = 128;

    /// Takes a key: 1 to 128 bytes of any text.
    ///
    /// # Errors
    /// It is empty or too long.
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

/// A key that is empty or too long.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key of an append has {bytes} bytes: use 1 to {}", AppendKey::LEN_MAX)]
pub struct InvalidAppendKey {
    bytes: usize,
}

/// The window.
#[derive(Debug, Default)]
pub(crate) struct AppendKeys {
    by_key: HashMap<Hash, KeyUsed>,
    /// From the oldest to the newest.
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

    /// Forgets batches before a leaf.
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

    /// Forgets batches of which something was erased.
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
