//! What a processor has derived at a site, as its log has it.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use anyhow::Result;
use ledger::LogReader;
use model::{Envelope, action, processing::ProcessorName};

use super::compare::Derived;

/// Leaves that are read at once.
const READ_MAX: usize = 1_000;
/// Bytes of envelopes that are read at once.
const READ_BYTES_MAX: usize = 1 << 20;

/// The values that a processor derived, in the order of the leaves from which they follow: that is
/// how a site seals them.
pub(super) struct History<'a> {
    log: &'a LogReader,
    actor: String,
    /// Values from other leaves are passed over.
    leaves: Range<u64>,
    /// First leaf that was not read.
    next: u64,
    waiting: VecDeque<Derived>,
    /// Digests of the components that derived them, as far as they were read.
    pub(super) components: BTreeSet<String>,
}

impl<'a> History<'a> {
    pub(super) fn new(log: &'a LogReader, name: &ProcessorName, leaves: Range<u64>) -> Self {
        let (actor, next) = (name.actor(), leaves.start);
        let (waiting, components) = (VecDeque::new(), BTreeSet::new());
        Self { log, actor, leaves, next, waiting, components }
    }

    /// The leaf from which the next value follows.
    pub(super) fn next_leaf(&mut self) -> Result<Option<u64>> {
        while self.waiting.is_empty() && self.next < self.log.size() {
            self.read()?;
        }
        Ok(self.waiting.front().map(|derived| derived.leaf))
    }

    /// The values from the next leaf, if that is before `end`.
    pub(super) fn take_leaf(&mut self, end: u64) -> Result<Option<Vec<Derived>>> {
        let Some(leaf) = self.next_leaf()?.filter(|leaf| *leaf < end) else { return Ok(None) };
        let mut values = Vec::new();
        while self.next_leaf()? == Some(leaf) {
            values.extend(self.waiting.pop_front());
        }
        Ok(Some(values))
    }

    fn read(&mut self) -> Result<()> {
        for stored in self.log.envelopes(self.next, READ_MAX, READ_BYTES_MAX)? {
            self.next = stored.leaf + 1;
            // An erased value is known to nobody.
            let Some(bytes) = stored.bytes else { continue };
            if !Envelope::has_action(&bytes, action::DERIVED) {
                continue;
            }
            let event = Envelope::parse(&bytes)?.event;
            if event.actor.as_ref() != Some(&self.actor) {
                continue;
            }
            let component = event.sealwire.as_ref().and_then(|detail| detail.component.clone());
            if let Some(derived) = Derived::of(event).filter(|it| self.leaves.contains(&it.leaf)) {
                self.components.extend(component);
                self.waiting.push_back(derived);
            }
        }
        Ok(())
    }
}
