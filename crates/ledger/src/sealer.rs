//! The work of the one thread that writes: commit groups, then the tree, then checkpoints.
//!
//! The order is that of `docs/formats/ledger.md`: write envelopes, fsync, acknowledge; write tree
//! files, fsync, publish a checkpoint. Each step decides what its failure means.

mod open_group;
mod retry;

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use durable::disk;
use key_history::rotation;
use model::{Event, Timestamp};
use tlog::{Checkpoint, Signer};
use tracing::warn;

use crate::{
    append_keys::AppendKeys,
    batch::{AppendError, Batch, PreparedBatch, Receipt},
    command::{Command, Reply},
    envelopes::{Segment, write_index},
    erase,
    failure::{CommitError, WriteError, refusal_of, refused_if_full, step},
    layout::{CHECKPOINT, STATE},
    published::Published,
    recover::{OpenError, Recovered, create_segment},
    salts::Salts,
    seal::Sealing,
    segment::{Cursor, FORMAT, Place, SEGMENT_HEADER_LEN, Version},
    shared::Shared,
    tree::Tree,
};
use open_group::OpenGroup;
use retry::{First, Known, first_of};

/// Everything that the writer's thread writes to.
///
/// `Ledger::open_on` makes it and gives it to the thread. It has one owner at a time, so no field
/// has a lock. While it carries out a command, it waits for nothing but the disk. It takes the
/// locks that readers take ([`Shared`], [`Segment`]) to copy or to set a value, never while the
/// disk works. So a slow disk delays appends, but no reader of what is in memory.
pub(crate) struct Sealer {
    /// Signs checkpoints in `publish`. `rotate` replaces it after its event is durable.
    signer: Signer,
    shared: Arc<Shared>,
    /// `write` appends to it, `take_back` undoes an append, and `publish` fsyncs it. Its size is
    /// that of the log: its leaves are durable in segments.
    tree: Tree,
    /// The segment that grows. `write` appends to it, and `begin_segment` replaces it.
    newest: Arc<Segment>,
    /// Bytes of `newest` up to the end of its last group. `write` advances it once a group is in
    /// the tree, and `begin_segment` resets it. Bytes beyond it were never acknowledged, and the
    /// next group overwrites them.
    newest_len: u64,
    segment_bytes_max: u64,
    /// Whether the writer must begin a segment before it writes anything else. `write` sets it when
    /// the segment is full. `begin_segment` sets it first and clears it last, so it stays set after
    /// a failure.
    segment_is_due: bool,
    /// Time of the newest group. `OpenGroup::begin` advances it and never sets it back.
    last_received_at: Timestamp,
    /// `show` adds keys to it, and `begin_segment` and `erased` remove some. It has keys of durable
    /// batches only; those of the open group are in `group`.
    append_keys: AppendKeys,
    /// `gather` and `seal_log_events` fill it, `write` makes it durable, and `commit` answers the
    /// callers that wait for it. `OpenGroup::begin` empties it first, so what a command leaves in
    /// it means nothing.
    group: OpenGroup,
    /// Makes the MACs of what no checkpoint covers yet. `rotate` replaces it before it seals its
    /// event, which is the first event under the new key, and restores the old one if the event is
    /// refused.
    sealing: Sealing,
    /// Whether `publish` must write the file `state` even without a new checkpoint. `begin`,
    /// `begin_segment`, `erased` and `end` set it, and `publish` clears it.
    state_is_due: bool,
    /// Whether a cursor has moved since the file `state` was written. `show` sets it, `publish`
    /// clears it, and `end` reads it.
    cursor_moved: bool,
    /// Whether more appends may join `group`. `step` sets it with the first append of a group, and
    /// `commit` clears it.
    is_gathering: bool,
}

/// What the writer takes in one step.
pub(crate) enum Input {
    Command(Command),
    /// No command waits.
    Nothing,
    /// No command can come any more.
    End,
}

/// What the writer needs for its next step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Needs {
    /// A command, however long it takes to come.
    Command,
    /// The command that waits now, or [`Input::Nothing`]. A group is open.
    WhatWaits,
    /// The next of the commands that were sent until now, and at last [`Input::End`]. No further
    /// one may be sent.
    TheRest,
    /// Nothing: the log is closed.
    Nothing,
}

impl Sealer {
    /// Creates a new log if there is none, and finishes what a crash interrupted.
    pub(crate) fn new(
        recovered: Recovered,
        shared: Arc<Shared>,
        segment_bytes_max: u64,
        (now, salts): (Timestamp, Salts),
    ) -> Result<Self, OpenError> {
        let mut sealer = Self {
            sealing: Sealing::of(&recovered.signer),
            state_is_due: recovered.state_is_due,
            cursor_moved: false,
            signer: recovered.signer,
            shared,
            tree: recovered.tree,
            newest: recovered.newest,
            newest_len: recovered.newest_len,
            segment_is_due: recovered.newest_len > segment_bytes_max,
            segment_bytes_max,
            last_received_at: recovered.last_received_at,
            append_keys: recovered.append_keys,
            group: OpenGroup::new(salts),
            is_gathering: false,
        };
        sealer.begin(recovered.newest_version, now).map_err(OpenError::Begin)?;
        // The log erases only under a checkpoint that covers the order.
        sealer.publish_if_room().map_err(OpenError::Begin)?;
        let covered = sealer.shared.published().checkpoint.size.get();
        let erasing = sealer.shared.state().ordered_before(covered);
        if !erasing.is_empty() {
            let closed = sealer.close_segment(erasing.end());
            closed.map_err(|failure| OpenError::Begin(failure.fatal("beginning a segment")))?;
            let Shared { disk, folder, stored, erasures, .. } = &*sealer.shared;
            erasures.begin();
            erase::erase(&**disk, folder, &stored.envelopes, &erasing, &|| false)
                .map_err(OpenError::Erase)?;
            sealer.erased(covered).map_err(OpenError::Begin)?;
        }
        Ok(sealer)
    }

    fn begin(&mut self, newest_version: Version, now: Timestamp) -> Result<(), WriteError> {
        // New groups have the newest version, and all groups of a segment have one version.
        if newest_version != Version::NEWEST {
            if self.size() > self.newest.first_leaf {
                self.begin_segment().map_err(|failure| failure.fatal("beginning a segment"))?;
            } else {
                if self.size() > 0 {
                    // This segment is the only place of cursors that moved without leaves.
                    self.state_is_due = true;
                    self.publish().map_err(|failure| failure.fatal("publishing a checkpoint"))?;
                }
                let Shared { disk, folder, .. } = &*self.shared;
                create_segment(&**disk, folder, self.newest.first_leaf)
                    .map_err(step("beginning a segment"))?;
            }
        }
        if self.size() == 0 {
            let vkey = self.signer.vkey();
            let (origin, vkey) = (vkey.name().as_str(), vkey.to_string());
            let genesis = Event::log_created(origin, &vkey, FORMAT, now);
            let sealed = self.seal_log_events(now, vec![genesis], Vec::new())?;
            sealed.map_err(|error| step("writing the genesis entry")(io::Error::other(error)))?;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.tree.size().get()
    }

    /// Takes one input at the time `now`, and returns which one it needs next. It waits for nothing
    /// but the disk, so a thread or a simulation can drive it.
    ///
    /// Appends join the open group for as long as more of them wait, and share its fsync. Any other
    /// input commits the group first.
    ///
    /// # Errors
    /// What the disk holds is unknown, so the writer must take no other input.
    pub(crate) fn step(&mut self, now: Timestamp, input: Input) -> Result<Needs, WriteError> {
        if self.is_gathering && !matches!(input, Input::Command(Command::Append { .. })) {
            self.commit()?;
        }
        match input {
            Input::Command(Command::Append { batch, reply }) => {
                if !std::mem::replace(&mut self.is_gathering, true) {
                    self.group.begin(now, &mut self.last_received_at);
                }
                self.gather(batch, reply);
                if !self.group.is_full() {
                    return Ok(Needs::WhatWaits);
                }
                self.commit()?;
            }
            Input::Command(Command::LogEvents { events, closed_before, reply }) => {
                let outcome = self.log_events(now, events, closed_before)?;
                let _unheard = reply.send(outcome);
            }
            Input::Command(Command::Erased { before, reply }) => {
                self.erased(before)?;
                let _unheard = reply.send(());
            }
            Input::Command(Command::Rotate { signer, actor, reply }) => {
                let outcome = self.rotate(now, *signer, &actor)?;
                let _unheard = reply.send(outcome);
            }
            Input::Command(Command::Publish { reply }) => {
                self.publish_if_room()?;
                // The caller may have given up.
                let _unheard = reply.send(self.shared.published());
            }
            Input::Command(Command::Close) => return Ok(Needs::TheRest),
            Input::Nothing => {}
            Input::End => {
                self.end()?;
                return Ok(Needs::Nothing);
            }
        }
        Ok(Needs::Command)
    }

    /// Publishes the last checkpoint and the last state.
    fn end(&mut self) -> Result<(), WriteError> {
        self.publish().map_err(|failure| failure.fatal("publishing the last checkpoint"))?;
        // Cursors may have moved since the last checkpoint.
        self.state_is_due |= self.cursor_moved;
        self.publish_if_room()
    }

    /// Adds a batch to the open group. A retry gets the first receipt.
    fn gather(&mut self, batch: PreparedBatch, reply: Reply) {
        let known = Known {
            in_group: &self.group.keys,
            append_keys: &self.append_keys,
            stored: &self.shared.stored,
            size: self.size(),
        };
        match first_of(&batch, &known) {
            First::ThisOne => {}
            // The first batch is not durable yet, so the retry waits for the same answer.
            First::InGroup(receipt) => return self.group.waiting.push((reply, receipt)),
            First::Sealed(answer) => {
                let _unheard = reply.send(answer);
                return;
            }
        }
        let first_leaf = self.size() + self.group.commitments.len() as u64;
        match self.group.push(batch, first_leaf, |_leaf, _envelope| {}) {
            Ok(receipt) => self.group.waiting.push((reply, receipt)),
            Err(source) => {
                let _unheard = reply.send(Err(AppendError::Write(source.to_string())));
            }
        }
    }

    /// Writes the open group, and answers the callers that wait for it.
    fn commit(&mut self) -> Result<(), WriteError> {
        self.is_gathering = false;
        let outcome = self.write();
        let waiting = std::mem::take(&mut self.group.waiting);
        match outcome {
            Ok(()) => {
                for (reply, receipt) in waiting {
                    let _unheard = reply.send(Ok(receipt));
                }
                Ok(())
            }
            Err(CommitError::Refused(source)) => {
                warn!(error = %source, "cannot write a commit group; its appends fail");
                for (reply, _) in waiting {
                    let _unheard = reply.send(Err(AppendError::Write(source.to_string())));
                }
                Ok(())
            }
            // Dropping the replies tells the callers that the ledger has stopped.
            Err(CommitError::Fatal(failure)) => Err(failure),
        }
    }

    /// Makes the open group durable, then a part of the tree, then visible.
    fn write(&mut self) -> Result<(), CommitError> {
        if self.group.is_empty() {
            return Ok(());
        }
        if self.segment_is_due {
            self.begin_segment()?;
        }
        let first_leaf = self.size();
        let extension = self.tree.with(&self.group.commitments);
        let encoded = self.group.encode(first_leaf, |records| {
            self.sealing.group(extension.size(), &extension.root(), records)
        });
        let (group_len, places) = (encoded.bytes.len() as u64, encoded.places.to_vec());
        let begin = Instant::now();
        if let Err(source) = self.newest.file.write_all_at(encoded.bytes, self.newest_len) {
            // The disk may be full. If the written part can be cut off, nothing has happened:
            // refuse this group and continue.
            self.newest
                .file
                .set_len(self.newest_len)
                .map_err(step("cutting off a group that was not written"))?;
            return Err(CommitError::Refused(source));
        }
        // After a failed fsync the content of the disk is unknown: stop, and let recovery find out.
        self.newest.file.sync().map_err(step("fsyncing a segment"))?;
        let leaves = self.group.commitments.len();
        self.shared.commits.observe(begin.elapsed(), leaves, group_len);

        // From here on the group is durable, and no reader has seen it yet.
        if let Err(source) = self.tree.append(extension) {
            return Err(self.take_back(source));
        }
        self.show(&places, first_leaf);
        self.newest_len += group_len;
        // Do not begin the next segment here: this group is sealed, whatever happens to the next
        // segment.
        self.segment_is_due = self.newest_len > self.segment_bytes_max;
        Ok(())
    }

    /// Undoes a group for which the tree's files have no room. If the files fail in another way,
    /// the writer stops, and recovery replays the group.
    fn take_back(&mut self, source: io::Error) -> CommitError {
        if !disk::is_full(&source) {
            return step("writing the tree's files")(source).into();
        }
        // In this order the tree's files never hold more leaves than the segments.
        let file = &self.newest.file;
        let taken_back = self
            .tree
            .take_back()
            .and_then(|()| file.set_len(self.newest_len))
            .and_then(|()| file.sync());
        match taken_back {
            Ok(()) => CommitError::Refused(source),
            Err(failure) => {
                step("taking back a commit group for which the tree files have no room")(failure)
                    .into()
            }
        }
    }

    /// Makes the written group visible to readers.
    fn show(&mut self, places: &[Place], first_leaf: u64) {
        let size = self.size();
        let leaves_before = first_leaf - self.newest.first_leaf;
        let placed = places.iter().map(|place| place.within(self.newest_len, leaves_before));
        self.newest.places.write().unwrap_or_else(PoisonError::into_inner).extend(placed);
        for (used, _events) in self.group.keys.drain(..) {
            self.append_keys.insert(used);
        }
        self.cursor_moved |= !self.group.cursors.is_empty();
        {
            let mut state = self.shared.state();
            if let Some(next) = self.group.state.take() {
                *state = next;
            }
            for cursor in &self.group.cursors {
                state.advance(&cursor.name, cursor.next_leaf);
            }
            state.size = size;
        }
        self.shared.size.send_if_modified(|known| std::mem::replace(known, size) != size);
    }

    /// Closes the segments that the events are about, then seals the events. In this order the log
    /// records nothing if there is no room for a new segment.
    fn log_events(
        &mut self,
        now: Timestamp,
        events: Vec<Event>,
        closed_before: u64,
    ) -> Result<Result<Receipt, AppendError>, WriteError> {
        if let Some(refusal) = refusal_of(self.close_segment(closed_before))? {
            return Ok(Err(refusal));
        }
        let outcome = self.seal_log_events(now, events, Vec::new())?;
        if outcome.is_ok() && closed_before > 0 {
            // The order is irreversible, so carry it out only under a checkpoint that covers it.
            if let Some(refusal) = refusal_of(self.publish())? {
                return Ok(Err(refusal));
            }
        }
        Ok(outcome)
    }

    /// Seals events of the log itself, if they are valid, and cursors with them.
    fn seal_log_events(
        &mut self,
        now: Timestamp,
        events: Vec<Event>,
        cursors: Vec<Cursor>,
    ) -> Result<Result<Receipt, AppendError>, WriteError> {
        let batch = match PreparedBatch::new(&Batch::of(events)) {
            Ok(batch) => batch,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.group.begin(now, &mut self.last_received_at);
        let first_leaf = self.size();
        let mut next = self.shared.state().clone();
        let mut refusal = None;
        let pushed = self.group.push(batch, first_leaf, |leaf, envelope| {
            if refusal.is_none() {
                refusal = next.apply(leaf, Some(envelope)).err();
            }
        });
        if let Some(error) = refusal {
            return Ok(Err(AppendError::LogEvent(Arc::new(error))));
        }
        let receipt = match pushed {
            Ok(receipt) => receipt,
            Err(source) => return Ok(Err(AppendError::Write(source.to_string()))),
        };
        self.group.state = Some(next);
        self.group.cursors = cursors;
        Ok(refusal_of(self.write())?.map_or(Ok(receipt), Err))
    }

    /// Changes the signing key. The old key signs everything before, both keys sign the event, and
    /// the new key signs everything after it.
    fn rotate(
        &mut self,
        now: Timestamp,
        signer: Signer,
        actor: &str,
    ) -> Result<Result<Receipt, AppendError>, WriteError> {
        // Cover everything so far with a checkpoint. The next group begins with the event, under
        // the MAC of the new key, so the next start does not need the old private key.
        if let Some(refusal) = refusal_of(self.publish())? {
            return Ok(Err(refusal));
        }
        if self.segment_is_due
            && let Some(refusal) = refusal_of(self.begin_segment())?
        {
            return Ok(Err(refusal));
        }
        let origin = self.signer.vkey().name().as_str().to_owned();
        let vkey = signer.vkey().to_string();
        let statement = rotation::state(&origin, self.size(), &self.signer, &signer)
            .map_err(|error| step("signing a key rotation")(io::Error::other(error)))?;
        let event = Event::key_rotated(actor, &origin, &vkey, statement, now);
        let old = std::mem::replace(&mut self.sealing, Sealing::of(&signer));
        // The MAC of the state and those of groups without leaves are under the old key. So the new
        // key's first group repeats every cursor.
        let cursors = self.shared.state().cursors().clone().into_iter();
        let cursors = cursors.map(|(name, next_leaf)| Cursor { name, next_leaf }).collect();
        let outcome = self.seal_log_events(now, vec![event], cursors)?;
        if outcome.is_err() {
            self.sealing = old;
        } else {
            *self.shared.vkey.write().unwrap_or_else(PoisonError::into_inner) =
                signer.vkey().clone();
            self.signer = signer;
            self.publish_if_room()?;
        }
        Ok(outcome)
    }

    /// Notes that segments show the erasures that were ordered before a leaf. If there is no room
    /// to store that, the next start repeats the erasures, which changes nothing.
    fn erased(&mut self, before: u64) -> Result<(), WriteError> {
        let erased = {
            let mut state = self.shared.state();
            let erased = state.ordered_before(before);
            state.erased(before);
            erased
        };
        self.append_keys.forget_erased(&erased);
        self.state_is_due = true;
        self.publish_if_room()
    }

    /// Makes the segments with the leaves before `leaf` grow no further.
    fn close_segment(&mut self, leaf: u64) -> Result<(), CommitError> {
        if leaf > self.newest.first_leaf { self.begin_segment() } else { Ok(()) }
    }

    /// Begins the next segment. If there is no room for it, the writer must try again before it
    /// writes anything else, because a part of the new segment may exist.
    fn begin_segment(&mut self) -> Result<(), CommitError> {
        self.segment_is_due = true;
        let first_leaf = self.size();
        // Recovery may begin with the new segment, so first write down the state that only the old
        // segments hold. A checkpoint must also cover a segment that grows no further: an erasure
        // may rewrite it without MACs.
        self.state_is_due = true;
        self.publish()?;
        let Shared { disk, folder, stored, .. } = &*self.shared;
        let file = create_segment(&**disk, folder, first_leaf)
            .map_err(refused_if_full("beginning a segment"))?;
        let places = self.newest.places.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = write_index(&**disk, folder, self.newest.first_leaf, &places) {
            warn!(%error, "cannot write the block index of a segment; readers will search the segment");
        }
        self.append_keys.forget_before(self.newest.first_leaf);
        self.newest = Arc::new(Segment { first_leaf, file, places: RwLock::default() });
        self.newest_len = SEGMENT_HEADER_LEN as u64;
        self.segment_is_due = false;
        stored.envelopes.begin_segment(Arc::clone(&self.newest));
        Ok(())
    }

    /// Publishes a checkpoint, or writes to the program's log that there is no room for one.
    fn publish_if_room(&mut self) -> Result<(), WriteError> {
        match self.publish() {
            Err(CommitError::Refused(error)) => {
                warn!(%error, "no room for a checkpoint; the previous one stays");
                Ok(())
            }
            Err(CommitError::Fatal(failure)) => Err(failure),
            Ok(()) => Ok(()),
        }
    }

    /// Publishes a checkpoint over everything durable, and stores the state as of that size. It is
    /// refused if the disk is full before any file was replaced; the previous checkpoint then
    /// stays. Any other failure is fatal: it leaves unknown which checkpoint is on disk, and a
    /// second one with another content must never follow the new one. The state is replaced last:
    /// it never covers more than a signature does, so a copy that ends with the checkpoint can
    /// continue from it.
    fn publish(&mut self) -> Result<(), CommitError> {
        let before = self.shared.published();
        let is_covered = before.checkpoint.size == self.tree.size() && !before.note.is_empty();
        if is_covered && !self.state_is_due {
            return Ok(());
        }
        let published = if is_covered {
            None
        } else {
            self.tree.sync().map_err(step("fsyncing the tree's files"))?;
            let origin = before.checkpoint.origin.clone();
            let checkpoint = Checkpoint::new(origin, self.tree.size(), self.tree.root());
            Some(Published { note: checkpoint.sign(&self.signer), checkpoint })
        };
        let Shared { disk, folder, .. } = &*self.shared;
        let state = self.shared.state().encode(&self.sealing);
        let note = published.as_ref().map(|new| (CHECKPOINT, new.note.as_bytes()));
        let replacements = || note.into_iter().chain([(STATE, state.as_slice())]);
        for (name, content) in replacements() {
            disk::write_next(&**disk, folder, name, content)
                .map_err(refused_if_full("writing the checkpoint"))?;
        }
        for (name, _) in replacements() {
            disk::take_next(&**disk, folder, name).map_err(step("replacing the checkpoint"))?;
        }
        (self.state_is_due, self.cursor_moved) = (false, false);
        if let Some(published) = published {
            self.shared.published.send_replace(Arc::new(published));
        }
        Ok(())
    }
}
