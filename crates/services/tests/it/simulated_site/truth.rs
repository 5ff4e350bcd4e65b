//! What is known for certain of the site's log, and what must therefore be so at every moment.
//!
//! - A leaf that was once visible stays, and its entry never changes. Its envelope goes only if an
//!   event in the log orders it, and that event respects the holds before it.
//! - The derived events in the log are those that follow from the leaves before the cursor, each
//!   once: what `judge` makes of them, and an error for each on which the component fails.
//! - Each number of a poll is in the log once, without a hole before it.
//! - What was acknowledged is where the receipt says.
//! - On the disk: state <= checkpoint <= tree files <= durable leaves, also if the power fails now.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use durable::simulated_disk::{Loss, SimulatedDisk};
use ledger::{
    Hold, LeafRanges, Ledger, Receipt,
    examine::{claimed_checkpoint, claimed_state, examine_segments, tree_covers},
};
use model::{
    Envelope, SensorId, action,
    completeness::Completeness,
    derive::{Derived, Question, Sighting, Standing},
};
use tlog::{Checkpoint, Hash, verify_consistency};

use super::{
    sensors::is_poison,
    world::{World, folder},
};

/// Name of the pipeline's cursor in the log.
const CURSOR: &str = "sensor-reader";
/// After one operation of the disk in so many, the power fails in a copy of it.
const LOOKS_PER_LOSS: u64 = 3;
/// One such look in so many reads all segments.
const LOOKS_PER_READING: u64 = 14;

pub(super) struct Truth {
    ledger: Option<Ledger>,
    leaves: Vec<KnownLeaf>,
    completeness: Completeness,
    /// Sightings that the cursor has not passed.
    sightings: VecDeque<Sighting>,
    standings: BTreeMap<SensorId, Standing>,
    cursor: u64,
    /// What follows from the leaves before the cursor and is not in the log, or the reverse.
    expected: VecDeque<Derived>,
    derived: VecDeque<(u64, SensorId, String)>,
    /// The leaves of each message of a program.
    messages: BTreeMap<String, Vec<u64>>,
    holds: BTreeMap<u64, Hold>,
    /// What events order to be erased, by their leaves.
    orders: BTreeMap<u64, LeafRanges>,
    ordered: LeafRanges,
    /// What was erased, as somebody was told.
    erased: LeafRanges,
    published: Option<Checkpoint>,
    looked_after: usize,
}

struct KnownLeaf {
    entry: Hash,
    envelope: Envelope,
}

impl Default for Truth {
    fn default() -> Self {
        Self {
            ledger: None,
            leaves: Vec::new(),
            completeness: Completeness::of_log(),
            sightings: VecDeque::new(),
            standings: BTreeMap::new(),
            cursor: 0,
            expected: VecDeque::new(),
            derived: VecDeque::new(),
            messages: BTreeMap::new(),
            holds: BTreeMap::new(),
            orders: BTreeMap::new(),
            ordered: LeafRanges::new(),
            erased: LeafRanges::new(),
            published: None,
            looked_after: 0,
        }
    }
}

impl Truth {
    /// A process has opened the log: everything that was ever known must be in it.
    pub(super) fn opened(&mut self, ledger: &Ledger) {
        self.ledger = Some(ledger.clone());
        self.looked_after = 0;
        self.take_new_leaves(ledger);
        self.hold_to_all(ledger);
        let new = ledger.published().checkpoint.clone();
        if let Some(old) = &self.published {
            let growth = new.size.extends(old.size).expect("a checkpoint never goes back");
            let proof = ledger.prove_growth(growth).unwrap();
            verify_consistency(growth, &old.root, &new.root, &proof).unwrap();
        }
        for (leaf, order) in self.orders.range(..new.size.get()) {
            let is_gone = |leaf| self.envelope(ledger, leaf).is_none();
            assert!(
                order.leaves().all(is_gone),
                "a start does not finish the order of leaf {leaf}"
            );
        }
    }

    /// The process has ended.
    pub(super) fn closed(&mut self) {
        self.ledger = None;
    }

    /// Everything known is in the log, and what was erased is not.
    pub(super) fn hold_to_all(&self, ledger: &Ledger) {
        let count = self.leaves.len();
        assert!(ledger.size() >= count as u64, "{count} leaves were visible");
        let entries = ledger.entries(0, count).unwrap();
        let stored = ledger.envelopes(0, count, usize::MAX).unwrap();
        assert_eq!(stored.len(), count);
        for ((known, entry), stored) in self.leaves.iter().zip(entries).zip(stored) {
            let leaf = stored.leaf;
            assert_eq!(entry, known.entry, "the entry of leaf {leaf}");
            match stored.bytes {
                Some(bytes) => {
                    assert_eq!(Hash::sha256(&bytes), known.entry, "the envelope of leaf {leaf}");
                    assert!(!self.erased.contains(leaf), "leaf {leaf} was erased");
                }
                None => assert!(self.ordered.contains(leaf), "nobody ordered to erase {leaf}"),
            }
        }
        let holds: Vec<u64> = ledger.holds().into_keys().collect();
        assert!(self.holds.keys().copied().eq(holds), "the holds in force");
    }

    /// Looks at the open log and at its files.
    pub(super) fn look(&mut self, world: &World, disk: &SimulatedDisk) {
        let Some(ledger) = self.ledger.clone() else { return };
        self.take_new_leaves(&ledger);
        let published = ledger.published();
        let is_signed = !published.note.is_empty();
        if is_signed && self.published.as_ref().is_none_or(|old| *old != published.checkpoint) {
            let before = self.published.as_ref().map_or(0, |old| old.size.get());
            assert!(published.checkpoint.size.get() >= before, "a checkpoint went back");
            self.published = Some(published.checkpoint.clone());
        }
        let operations = disk.operation_count();
        let are_new = mem::replace(&mut self.looked_after, operations) != operations;
        if are_new && world.dice.once_in(LOOKS_PER_LOSS) {
            self.look_at_files(world, disk);
        }
    }

    fn take_new_leaves(&mut self, ledger: &Ledger) {
        let size = ledger.size();
        assert!(size >= self.leaves.len() as u64, "visible leaves are gone");
        while (self.leaves.len() as u64) < size {
            let from = self.leaves.len() as u64;
            let stored = ledger.envelopes(from, usize::MAX, usize::MAX).unwrap();
            let entries = ledger.entries(from, stored.len()).unwrap();
            for (stored, entry) in stored.into_iter().zip(entries) {
                let bytes = stored.bytes.expect("nobody erases what nobody has seen");
                assert_eq!(Hash::sha256(&bytes), entry);
                self.take(stored.leaf, entry, Envelope::parse(&bytes).unwrap());
            }
        }
        let cursor = ledger.cursor(CURSOR);
        assert!(cursor >= self.cursor && cursor <= size, "the cursor is at {cursor} of {size}");
        if cursor > self.cursor {
            self.cursor = cursor;
            let judged = self.sightings.partition_point(|sighting| sighting.leaf < cursor);
            for sighting in self.sightings.drain(..judged) {
                if is_poison(&sighting) {
                    let Sighting { leaf, sensor, source, .. } = sighting;
                    self.expected.push_back(Derived::not_judged(leaf, sensor, source, ""));
                    continue;
                }
                let standing = self.standings.entry(sighting.sensor).or_default();
                let standings = BTreeMap::from([(sighting.sensor, standing.clone())]);
                let question = Question { standings, sightings: vec![sighting] };
                for derived in sensor_reader::judge(question) {
                    let (action, channel) = (&derived.action, derived.channel.as_deref());
                    *standing = mem::take(standing).after(action, channel, derived.since);
                    self.expected.push_back(derived);
                }
            }
        }
        while let (Some(expected), Some(derived)) = (self.expected.front(), self.derived.front()) {
            let Derived { from_leaf, sensor, action, .. } = expected;
            assert_eq!((*from_leaf, *sensor, action.clone()), *derived, "what was derived");
            self.expected.pop_front();
            self.derived.pop_front();
        }
        assert!(self.derived.is_empty(), "derived before the cursor moved: {:?}", self.derived);
        assert!(self.expected.is_empty(), "the cursor moved without: {:?}", self.expected);
    }

    fn take(&mut self, leaf: u64, entry: Hash, envelope: Envelope) {
        let event = &envelope.event;
        self.completeness.take(leaf, event);
        assert!(
            self.completeness.is_complete(),
            "leaf {leaf} has a poll out of its turn: {event:?}"
        );
        self.sightings.extend(Sighting::of(leaf, &envelope));
        let own = event.sealwire.clone().unwrap_or_default();
        let action = event.action.clone().unwrap_or_default();
        if let (Some(from), Some(sensor)) = (own.from_leaf, own.sensor) {
            self.derived.push_back((from, sensor, action.clone()));
        }
        match action.as_str() {
            action::HOLD_PLACED => {
                let (sensor, from, to) = (own.sensor, own.hold_from, own.hold_to);
                self.holds.insert(leaf, Hold { sensor, from, to });
            }
            action::HOLD_RELEASED => {
                assert!(self.holds.remove(&own.hold.unwrap()).is_some());
            }
            action::ENVELOPES_ERASED => {
                let order: LeafRanges = own.erased.unwrap().parse().unwrap();
                for leaf in order.leaves() {
                    let KnownLeaf { envelope, .. } = &self.leaves[leaf as usize];
                    let held = self.holds.iter().find(|(_, hold)| hold.covers(envelope));
                    assert!(held.is_none(), "leaf {leaf} is on hold: {held:?}");
                }
                self.ordered = self.ordered.union(&order);
                self.orders.insert(leaf, order);
                self.count_again();
            }
            _ => {}
        }
        if event.actor.as_deref() == Some("a program") {
            self.take_message(leaf, event.message.clone());
        }
        self.leaves.push(KnownLeaf { entry, envelope });
    }

    /// Numbers of polls whose readings are erased may be given again: a rebuilt index does not know
    /// them, and nobody else does.
    fn count_again(&mut self) {
        let newest = self.leaves.len() as u64;
        self.completeness = Completeness::of_log();
        for (leaf, known) in (0..).zip(&self.leaves) {
            if self.ordered.contains(leaf) {
                self.completeness.take_erased();
            } else {
                self.completeness.take(leaf, &known.envelope.event);
            }
        }
        assert!(self.completeness.is_complete(), "the order of leaf {newest} hides a poll");
    }

    /// A program's message is in the log once, as long as the log remembers its key.
    fn take_message(&mut self, leaf: u64, message: String) {
        let leaves = self.messages.entry(message).or_default();
        let before = leaves.last().copied();
        leaves.push(leaf);
        let Some(before) = before else { return };
        let segments = self.segments();
        let of = |leaf| segments.partition_point(|first| *first <= leaf);
        // Once an envelope of its batch is erased, the log has forgotten the key. A batch has four
        // events at most.
        let forgotten = (before.saturating_sub(3)..before + 4).any(|it| self.ordered.contains(it));
        assert!(forgotten || of(before) + 1 < of(leaf), "leaf {leaf} says what {before} says");
    }

    fn segments(&self) -> Vec<u64> {
        let disk = super::world::world().disk();
        let names = disk.contents().names(&folder().join("segments"));
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok());
        numbers.collect()
    }

    /// Somebody was told that a batch is sealed.
    pub(super) fn sealed(&self, receipt: Receipt, messages: &[String]) {
        assert_eq!(receipt.leaves, messages.len() as u64);
        for (leaf, message) in (receipt.first_leaf..).zip(messages) {
            let known = self.leaves.get(leaf as usize).expect("an acknowledged leaf is visible");
            assert_eq!(known.envelope.event.message, *message, "leaf {leaf}");
        }
    }

    /// Somebody was told that these leaves are erased.
    pub(super) fn erased(&mut self, leaves: &LeafRanges) {
        self.erased = self.erased.union(leaves);
        let Some(ledger) = &self.ledger else { return };
        for leaf in leaves.leaves() {
            assert!(self.envelope(ledger, leaf).is_none(), "leaf {leaf} is said to be erased");
        }
    }

    fn envelope(&self, ledger: &Ledger, leaf: u64) -> Option<Vec<u8>> {
        let stored = ledger.envelopes(leaf, 1, usize::MAX).unwrap();
        stored.into_iter().next().and_then(|stored| stored.bytes)
    }

    /// What the disk holds if the power fails now.
    fn look_at_files(&self, world: &World, disk: &SimulatedDisk) {
        let loss = match world.dice.below(3) {
            0 => Loss::Everything,
            1 => Loss::Nothing,
            _ => Loss::Some(world.dice.draw()),
        };
        let disk = SimulatedDisk::with(disk.contents().after(loss));
        let Some((checkpoint, _note)) = claimed_checkpoint(&disk, folder()).unwrap() else {
            return assert!(self.published.is_none(), "the checkpoint is gone");
        };
        let size = checkpoint.size.get();
        let published = self.published.as_ref().map_or(0, |published| published.size.get());
        assert!(size >= published, "a checkpoint of {published} leaves was shown, {size} are left");
        let state = claimed_state(&disk, folder()).unwrap();
        assert!(state.is_none_or(|state| state.size <= size), "the state is ahead of {size}");
        assert!(tree_covers(&disk, folder(), checkpoint.size).unwrap(), "the tree is behind");
        if world.dice.once_in(LOOKS_PER_READING) {
            let examined = examine_segments(&disk, folder(), checkpoint.size).unwrap();
            assert_eq!(examined.root, Some(checkpoint.root), "the segments are behind");
        }
    }

    /// Number of leaves that are known.
    pub(super) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The leaves that are judged.
    pub(super) const fn judged(&self) -> u64 {
        self.cursor
    }

    /// Whether operators erase the leaf. They leave alone what was derived: what a pipeline knows
    /// of a sensor after an erasure of that depends on whether the index was rebuilt since.
    pub(super) fn may_be_erased(&self, leaf: u64) -> bool {
        let own = self.envelope_of(leaf).event.sealwire.as_ref();
        own.is_none_or(|own| own.from_leaf.is_none())
    }

    pub(super) fn entry(&self, leaf: u64) -> Hash {
        self.leaves[leaf as usize].entry
    }

    pub(super) fn envelope_of(&self, leaf: u64) -> &Envelope {
        &self.leaves[leaf as usize].envelope
    }

    /// What events from a leaf on order to be erased.
    pub(super) fn ordered_from(&self, leaf: u64) -> LeafRanges {
        let orders = self.orders.range(leaf..);
        orders.fold(LeafRanges::new(), |all, (_, order)| all.union(order))
    }

    /// Words that only erased envelopes had.
    pub(super) fn erased_words(&self) -> impl Iterator<Item = &str> {
        let messages = self.messages.iter();
        let is_gone = |leaves: &[u64]| leaves.iter().all(|leaf| self.ordered.contains(*leaf));
        messages.filter(move |(_, leaves)| is_gone(leaves)).map(|(word, _)| word.as_str())
    }

    pub(super) fn published_size(&self) -> u64 {
        self.published.as_ref().map_or(0, |published| published.size.get())
    }
}
