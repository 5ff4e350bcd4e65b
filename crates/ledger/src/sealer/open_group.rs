//! The commit group that the writer is filling.

use std::io;

use model::{Envelope, EventJson, Salt, Timestamp};
use tlog::Hash;

use crate::{
    batch::{PreparedBatch, Receipt},
    block::Leaf,
    command::Reply,
    salts::Salts,
    seal::MacBytes,
    segment::{self, Cursor, GroupBuilder, KeyUsed},
    state::State,
};

/// Most batches in one commit group.
const GROUP_BATCHES_MAX: usize = 1_024;
/// Size of envelopes in bytes at which a commit group takes no further batch. One more batch of the
/// largest size still fits the format's limit.
const GROUP_BYTES_FULL: usize = 8 << 20;

/// The commit group that the writer is filling.
pub(super) struct OpenGroup {
    salts: Salts,
    builder: GroupBuilder,
    received_at: String,
    pub(super) commitments: Vec<Hash>,
    pub(super) cursors: Vec<Cursor>,
    /// The keys of the group's batches, each with a hash of the batch's events. The hash never
    /// leaves memory.
    pub(super) keys: Vec<(KeyUsed, Hash)>,
    pub(super) waiting: Vec<(Reply, Receipt)>,
    /// The log's own state once the group is durable, if the group changes it.
    pub(super) state: Option<State>,
    batches: usize,
    bytes: usize,
    /// A buffer for the envelope that goes into a block next.
    envelope: Vec<u8>,
}

impl OpenGroup {
    pub(super) fn new(salts: Salts) -> Self {
        Self {
            salts,
            builder: GroupBuilder::new(),
            received_at: String::new(),
            commitments: Vec::new(),
            cursors: Vec::new(),
            keys: Vec::new(),
            waiting: Vec::new(),
            state: None,
            batches: 0,
            bytes: 0,
            envelope: Vec::new(),
        }
    }

    /// Begins a new group. Its time is never earlier than that of the previous group, whatever the
    /// clock does, so a span of time is a span of leaves.
    pub(super) fn begin(&mut self, now: Timestamp, last_received_at: &mut Timestamp) {
        *last_received_at = now.max(*last_received_at);
        self.received_at = last_received_at.to_string();
        self.builder.clear();
        self.commitments.clear();
        self.cursors.clear();
        self.keys.clear();
        self.waiting.clear();
        self.state = None;
        (self.batches, self.bytes) = (0, 0);
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES_FULL || self.batches >= GROUP_BATCHES_MAX
    }

    /// Seals the events of a batch. Calls `sealed` with each leaf and its envelope.
    pub(super) fn push(
        &mut self,
        batch: PreparedBatch,
        first_leaf: u64,
        mut sealed: impl FnMut(u64, &[u8]),
    ) -> io::Result<Receipt> {
        let mut salts = vec![[0; 16]; batch.len()];
        self.salts.draw(&mut salts)?;
        for ((leaf, event), salt) in (first_leaf..).zip(batch.events()).zip(salts) {
            let (EventJson { head, tail }, salt) = (event, Salt::from_random(salt));
            self.envelope.clear();
            Envelope::seal(head, &self.received_at, salt, tail, &mut self.envelope);
            sealed(leaf, &self.envelope);
            self.commitments.push(Hash::sha256(&self.envelope));
            self.builder.push_leaf(Leaf::Envelope(&self.envelope));
        }
        self.batches += 1;
        self.bytes += batch.bytes();
        let receipt = Receipt { first_leaf, leaves: batch.len() as u64 };
        if let Some((key, events)) = batch.key {
            let leaves = u32::try_from(batch.len()).expect("a batch is bounded");
            self.keys.push((KeyUsed { key, first_leaf, leaves }, events));
        }
        self.cursors.extend(batch.cursor);
        Ok(receipt)
    }

    /// Whether there is nothing to write, because a batch was empty or sealed earlier.
    pub(super) const fn is_empty(&self) -> bool {
        self.commitments.is_empty() && self.cursors.is_empty() && self.keys.is_empty()
    }

    /// The bytes of the group. `mac` makes its MAC from its records without leaves.
    pub(super) fn encode(
        &mut self,
        first_leaf: u64,
        mac: impl FnOnce(&[u8]) -> MacBytes,
    ) -> segment::EncodedGroup<'_> {
        for cursor in &self.cursors {
            self.builder.push_cursor(&cursor.name, cursor.next_leaf);
        }
        for (used, _events) in &self.keys {
            self.builder.push_key(used);
        }
        let mac = mac(self.builder.other_records());
        self.builder.push_mac(&mac);
        self.builder.encode(first_leaf)
    }
}
