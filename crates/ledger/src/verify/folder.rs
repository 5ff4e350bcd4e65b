//! Verifies a ledger's folder: computes everything again from the segments and compares it with the
//! files beside them.
//!
//! One thread reads and hashes envelopes; another builds both trees over their commitments and
//! compares. Neither writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use durable::disk::{Disk, DiskFile, Mode, Sequential, read_small};
use key_history::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory};
use model::{Envelope, error_chain};
use tlog::{Checkpoint, Frontier, Hash, Pangea, Rfc6962, VerifierKey};

use super::error::VerifyError;
use crate::{
    block::{Leaf, Unpacker},
    envelopes::index_is_right,
    layout::{
        CHECKPOINT, ENTRIES, SEGMENTS, STATE, STATE_V1, TREE, index_path, nodes_file, segment_path,
    },
    ranges::LeafRanges,
    recover::list_segments,
    segment::{self, Group, Next, PlacedRecord, Record, SegmentReader, Version},
    state::State,
    tree::{Grown, TreeReader, kept_heights},
};

/// Number of leaves that one thread hands to the other at a time.
const CHUNK_LEAVES: usize = 4_096;
/// Number of chunks that wait between the threads.
const CHUNKS_MAX: usize = 4;

/// Observes a folder while it is verified: gets each leaf and its envelope, or `None` if that was
/// erased. It is called on another thread.
pub type Observer<'a> = dyn FnMut(u64, Option<&[u8]>) + Send + 'a;

/// The result of a successful verification of a folder.
#[derive(Clone, Debug)]
pub struct VerifiedFolder {
    /// The key that signed the checkpoint.
    pub vkey: VerifierKey,
    /// The keys that have signed the log up to the checkpoint.
    pub keys: KeyHistory,
    /// The checkpoint whose root the segments lead to.
    pub checkpoint: Checkpoint,
    /// Number of leaves in the segments, including those beyond the checkpoint.
    pub leaves: u64,
    /// Number of erased leaves below the checkpoint. An event below the checkpoint orders each
    /// erasure.
    pub erased: u64,
    /// The first fault of the leaves beyond the checkpoint, if there is one. Nothing vouches for
    /// these leaves, whatever the verification finds.
    pub fault_beyond: Option<String>,
    /// Number of segments when the verification began.
    pub segments: usize,
    /// Number of bytes at the end that a crash left or that a running site is just writing. The
    /// next start cuts them off.
    pub torn_bytes: u64,
}

impl VerifiedFolder {
    /// Number of leaves beyond the checkpoint. The site's key vouches for them only to the site
    /// itself; no signature vouches for them to anyone else.
    #[must_use]
    pub const fn beyond(&self) -> u64 {
        self.leaves.saturating_sub(self.checkpoint.size.get())
    }
}

/// Verifies the ledger in `folder`: segments, both trees, state and checkpoint. Writes nothing. If
/// `vkey` is given, it must have signed the log; if not, the key that the genesis entry names is
/// trusted. The log may grow meanwhile. Calls `progress` with the number of verified leaves.
///
/// # Errors
/// The first file or leaf that is wrong.
pub fn verify_folder(
    disk: &dyn Disk,
    folder: &Path,
    vkey: Option<&VerifierKey>,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifiedFolder, VerifyError> {
    verify_folder_with(disk, folder, vkey, progress, &mut |_, _| {})
}

/// As [`verify_folder`]. Calls `observer` with every leaf that the checkpoint covers and its
/// envelope, or `None` if that was erased, in the order of the log. What the observer saw is
/// verified only if the result is `Ok`.
///
/// # Errors
/// The first file or leaf that is wrong.
pub fn verify_folder_with(
    disk: &dyn Disk,
    folder: &Path,
    vkey: Option<&VerifierKey>,
    progress: &mut dyn FnMut(u64),
    observer: &mut Observer<'_>,
) -> Result<VerifiedFolder, VerifyError> {
    let promises = Promises::read(disk, folder)?;
    let (chunks, received) = mpsc::sync_channel(CHUNKS_MAX);
    std::thread::scope(|scope| {
        let reading =
            scope.spawn(|| SegmentsReader::new(disk, folder, &promises, chunks, observer).run());
        // The reading thread finds every fault of an envelope that the comparison finds, and names
        // it better.
        let compared = Comparison::new(folder, &promises).run(&received, progress);
        drop(received);
        let read = reading.join().expect("reading a log does not panic")?;
        conclude(folder, &promises, read, compared?, vkey)
    })
}

/// The files beside the segments. They are read before the segments, so they refer only to what the
/// segments hold, even if the log is growing.
struct Promises {
    note: String,
    /// Number of leaves that the checkpoint claims, unverified; 0 if it cannot be parsed.
    size: u64,
    state: Option<State>,
    /// The tree's files; `None` if version 1 wrote the folder.
    tree: Option<TreeReader>,
    segments: Vec<u64>,
}

impl Promises {
    fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, VerifyError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| VerifyError::Io { path, source }
        };
        // Read the state first: the log stores it after the checkpoint, so the checkpoint read here
        // has at least its size.
        let state_path = folder.join(STATE);
        let state = State::load(disk, folder).map_err(failed(&state_path))?;
        let checkpoint_path = folder.join(CHECKPOINT);
        let missing =
            || VerifyError::Unavailable(format!("{} is missing", checkpoint_path.display()));
        let note = read_small(disk, &checkpoint_path).map_err(failed(&checkpoint_path))?;
        let note = String::from_utf8(note.ok_or_else(missing)?)
            .map_err(|error| failed(&checkpoint_path)(io::Error::other(error)))?;
        let size = KeyHistory::claimed_size(&note);
        let is_version_1 = state.is_none()
            && read_small(disk, &folder.join(STATE_V1)).is_ok_and(|found| found.is_some());
        let tree = if is_version_1 {
            None
        } else {
            let path = folder.join(TREE);
            Some(TreeReader::open(disk, &path, Mode::Read).map_err(failed(&path))?)
        };
        let segments = list_segments(disk, folder)?;
        Ok(Self { note, size, state, tree, segments })
    }

    /// Reads the size that the newest checkpoint claims, unverified, and its note.
    fn newest_size(disk: &dyn Disk, folder: &Path) -> Result<(u64, String), VerifyError> {
        let path = folder.join(CHECKPOINT);
        let failed = |source| VerifyError::Io { path: path.clone(), source };
        let note = read_small(disk, &path).map_err(failed)?.unwrap_or_default();
        let note = String::from_utf8(note).map_err(|error| failed(io::Error::other(error)))?;
        Ok((KeyHistory::claimed_size(&note), note))
    }

    /// Number of leaves that a crash cannot have torn.
    fn durable(&self) -> u64 {
        self.size.max(self.state.as_ref().map_or(0, |state| state.size))
    }

    /// How many of `count` subtrees of `height` from `first` on to compare with their file: those
    /// that are full in the checkpoint's tree, as far as the file goes. The log writes file by file
    /// beyond the checkpoint, so that part means nothing until a checkpoint covers it.
    fn compared(
        &self,
        tree: &TreeReader,
        height: u8,
        first: u64,
        count: usize,
    ) -> io::Result<usize> {
        let kept = (self.size >> height).min(tree.count(height)?);
        Ok(usize::try_from(kept.saturating_sub(first)).unwrap_or(count).min(count))
    }
}

/// Commitments of consecutive leaves.
struct Chunk {
    segment: PathBuf,
    first_leaf: u64,
    commitments: Vec<Hash>,
    /// Sizes of the log beyond the checkpoint, one after each commit group. A later checkpoint has
    /// one of these sizes.
    sizes: Vec<u64>,
}

/// Reads segments and hashes envelopes.
struct SegmentsReader<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    promises: &'a Promises,
    chunks: mpsc::SyncSender<Chunk>,
    unpacker: Unpacker,
    state: State,
    key_events: Vec<KeyEvent>,
    /// Whether the file `state` was compared with the fold.
    state_checked: bool,
    /// Every position that a commit group moved each cursor to.
    cursors: BTreeMap<String, BTreeSet<u64>>,
    /// Leaves whose envelopes were erased.
    erased: LeafRanges,
    /// Leaves that are ordered to be erased, by the leaf that orders it.
    ordered: BTreeMap<u64, LeafRanges>,
    received_at: String,
    chunk: Vec<Hash>,
    sizes: Vec<u64>,
    fault_beyond: Option<String>,
    /// Index of the next leaf to read.
    next_leaf: u64,
    /// The note of a later checkpoint, which covers the orders of erasures that happened meanwhile.
    later: Option<String>,
    observer: &'a mut Observer<'a>,
}

/// The result of reading the segments.
struct Read {
    state: State,
    key_events: Vec<KeyEvent>,
    /// Number of erased leaves below the checkpoint.
    erased: u64,
    leaves: u64,
    torn_bytes: u64,
    fault_beyond: Option<String>,
    later: Option<String>,
}

impl<'a> SegmentsReader<'a> {
    fn new(
        disk: &'a dyn Disk,
        folder: &'a Path,
        promises: &'a Promises,
        chunks: mpsc::SyncSender<Chunk>,
        observer: &'a mut Observer<'a>,
    ) -> Self {
        Self {
            disk,
            folder,
            promises,
            chunks,
            unpacker: Unpacker::new(),
            state: State::default(),
            key_events: Vec::new(),
            // A state that covers more than the checkpoint comes from a version before 4 and cannot
            // be checked.
            state_checked: promises.state.as_ref().is_none_or(|told| told.size > promises.size),
            cursors: BTreeMap::new(),
            erased: LeafRanges::new(),
            ordered: BTreeMap::new(),
            received_at: String::new(),
            chunk: Vec::new(),
            sizes: Vec::new(),
            fault_beyond: None,
            next_leaf: 0,
            later: None,
            observer,
        }
    }

    fn run(mut self) -> Result<Read, VerifyError> {
        let mut torn_bytes = self.segments(&self.promises.segments)?;
        self.check_state()?;
        let mut covered = self.promises.size;
        // The log may have erased something meanwhile, under a later checkpoint.
        while let Some(leaf) = self.erased_without_order(covered) {
            let (size, note) = Promises::newest_size(self.disk, self.folder)?;
            if size > covered {
                torn_bytes = self.segments(&list_segments(self.disk, self.folder)?)?;
                (covered, self.later) = (size, Some(note));
            } else if leaf < self.promises.size {
                // An invalid checkpoint would explain the fault, so report that first.
                KeyHistory::under(&self.promises.note, &self.key_events, None)?;
                return Err(VerifyError::ErasedInSilence { leaf });
            } else {
                let fault = VerifyError::ErasedInSilence { leaf };
                self.fault_beyond.get_or_insert_with(|| fault.to_string());
                break;
            }
        }
        self.check_orders()?;
        let covered = self.promises.size;
        let Self { state, key_events, erased, fault_beyond, next_leaf, later, .. } = self;
        let erased = erased.leaves().take_while(|leaf| *leaf < covered).count() as u64;
        Ok(Read { state, key_events, erased, leaves: next_leaf, torn_bytes, fault_beyond, later })
    }

    /// Reads segments from the next unread leaf on. Returns the number of torn bytes at the end.
    fn segments(&mut self, segments: &[u64]) -> Result<u64, VerifyError> {
        let begin = segment::position_of(segments, self.next_leaf).unwrap_or_default();
        let mut torn_bytes = 0;
        let mut follows = segments.get(begin).copied().filter(|_| begin > 0).unwrap_or_default();
        for (position, first_leaf) in (1..).zip(segments).skip(begin) {
            let path = segment_path(self.folder, *first_leaf);
            if *first_leaf != follows {
                return Err(VerifyError::Gap { leaf: follows, path });
            }
            let is_last = position == segments.len();
            torn_bytes = self.segment(&path, *first_leaf, is_last)?;
            follows = self.next_leaf;
        }
        Ok(torn_bytes)
    }

    /// Reads the unread part of one segment. Returns the number of torn bytes at its end.
    fn segment(&mut self, path: &Path, first_leaf: u64, is_last: bool) -> Result<u64, VerifyError> {
        let io_error = |source| VerifyError::Io { path: path.to_owned(), source };
        let damaged = |leaf, reason| VerifyError::Segment { path: path.to_owned(), leaf, reason };
        let file = self.disk.open(path, Mode::Read).map_err(io_error)?;
        let source = BufReader::with_capacity(1 << 20, Sequential::new(Arc::clone(&file)));
        let mut reader = match SegmentReader::open(source, first_leaf).map_err(io_error)? {
            Ok(reader) => reader,
            // The site is just beginning this segment, or a crash stopped it there. The segment
            // holds no leaf.
            Err(_) if is_last && first_leaf > 0 && first_leaf >= self.promises.durable() => {
                return file.len().map_err(io_error);
            }
            Err(reason) => return Err(damaged(first_leaf, reason)),
        };
        let mut places = Vec::new();
        let torn_bytes = loop {
            let leaf = reader.next_leaf();
            match reader.read_next().map_err(io_error)? {
                Next::End => break 0,
                Next::Group(position, group) => {
                    places.extend(group.places(position, first_leaf));
                    if group.first_leaf >= self.next_leaf {
                        self.group(path, &group, position)?;
                    }
                }
                // Nobody was told of anything beyond the promised leaves.
                Next::Damaged(_) if is_last && leaf >= self.promises.durable() => {
                    break file.len().map_err(io_error)?.saturating_sub(reader.position());
                }
                Next::Damaged(reason) => {
                    let (version, position) = (reader.version(), reader.position());
                    let leaf = self.first_changed(&file, version, position, leaf);
                    return Err(damaged(leaf, reason));
                }
            }
        };
        self.send(path);
        if !is_last {
            let path = index_path(self.folder, first_leaf);
            let is_right = index_is_right(self.disk, self.folder, first_leaf, &places)
                .map_err(|source| VerifyError::Io { path: path.clone(), source })?;
            if !is_right {
                return Err(VerifyError::Derived { path, leaf: first_leaf });
            }
        }
        Ok(torn_bytes)
    }

    fn group(&mut self, path: &Path, group: &Group, position: u64) -> Result<(), VerifyError> {
        for PlacedRecord { record, .. } in group.records(position) {
            if let Record::Cursor { name, next_leaf } = record {
                self.cursors.entry(name.to_owned()).or_default().insert(next_leaf);
            }
            let leaf = self.next_leaf;
            let damaged = |reason| VerifyError::Segment { path: path.to_owned(), leaf, reason };
            let Some(leaves) = record.unpack(&mut self.unpacker).map_err(damaged)? else {
                continue;
            };
            for content in leaves.iter() {
                self.leaf(self.next_leaf, content)?;
                self.next_leaf += 1;
            }
            if self.chunk.len() >= CHUNK_LEAVES {
                self.send(path);
            }
        }
        if group.end() > self.promises.size {
            self.sizes.push(group.end());
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: u64, content: Leaf<'_>) -> Result<(), VerifyError> {
        let (envelope, commitment) = match content {
            Leaf::Envelope(envelope) => (Some(envelope), Hash::sha256(envelope)),
            Leaf::Erased(commitment) => (None, commitment),
        };
        self.chunk.push(commitment);
        if envelope.is_none() {
            self.erased.push(leaf);
        }
        if leaf < self.promises.size {
            (self.observer)(leaf, envelope);
            self.event(leaf, envelope)?;
        } else if self.fault_beyond.is_none() {
            // No checkpoint signs the leaf, so its content does not fail the verification. A start
            // refuses what the site did not write.
            let said = self.event(leaf, envelope);
            self.fault_beyond = said.err().map(|error| error_chain(&error));
        }
        let told = self.promises.state.as_ref().filter(|_| !self.state_checked);
        if let Some(told) = told.filter(|told| told.size == leaf + 1) {
            if !told.says_the_same(&self.state) {
                return Err(self.wrong_state("it does not match the log"));
            }
            self.state_checked = true;
        }
        Ok(())
    }

    /// Applies what an envelope says of the log, and checks the time of its receipt.
    fn event(&mut self, leaf: u64, envelope: Option<&[u8]>) -> Result<(), VerifyError> {
        self.state.apply(leaf, envelope)?;
        let Some(envelope) = envelope else { return Ok(()) };
        let received_at = Envelope::received_at_of(envelope).unwrap_or_default();
        if received_at < self.received_at.as_str() {
            return Err(VerifyError::ReceivedBefore { leaf });
        }
        if received_at != self.received_at {
            received_at.clone_into(&mut self.received_at);
        }
        if self.state.keys().last().is_some_and(|key| key.leaf == leaf) {
            self.key_events.push(KeyEvent { leaf, envelope: envelope.to_vec() });
        }
        if let Some(ordered) = self.state.ordered_at(leaf) {
            self.ordered.insert(leaf, ordered);
        }
        Ok(())
    }

    /// Hands the hashed leaves to the comparing thread.
    fn send(&mut self, segment: &Path) {
        let commitments = std::mem::take(&mut self.chunk);
        let first_leaf = self.next_leaf - commitments.len() as u64;
        let (segment, sizes) = (segment.to_owned(), std::mem::take(&mut self.sizes));
        // The comparing thread has gone only if it found a fault.
        let _done = self.chunks.send(Chunk { segment, first_leaf, commitments, sizes });
    }

    fn wrong_state(&self, reason: &'static str) -> VerifyError {
        VerifyError::State { path: self.folder.join(STATE), reason }
    }

    fn check_state(&self) -> Result<(), VerifyError> {
        if !self.state_checked {
            return Err(self.wrong_state("it names more leaves than there are"));
        }
        let cursors = self.promises.state.iter().flat_map(State::cursors);
        for (name, next_leaf) in cursors {
            if !self.cursors.get(name).is_some_and(|moves| moves.contains(next_leaf)) {
                return Err(self.wrong_state("it has a cursor position that no commit group wrote"));
            }
        }
        Ok(())
    }

    /// Leaves that events before a leaf order to be erased.
    fn ordered_before(&self, leaf: u64) -> LeafRanges {
        let orders = self.ordered.range(..leaf);
        orders.fold(LeafRanges::new(), |all, (_, ordered)| all.union(ordered))
    }

    /// The first erased leaf whose erasure no event before `covered` orders.
    fn erased_without_order(&self, covered: u64) -> Option<u64> {
        let ordered = self.ordered_before(covered);
        self.erased.leaves().find(|leaf| !ordered.contains(*leaf))
    }

    /// Checks that everything ordered is erased, except for erasures that are still running.
    fn check_orders(&self) -> Result<(), VerifyError> {
        let Some(told) = &self.promises.state else { return Ok(()) };
        let under_way = told.erasing();
        let left = |leaf: &u64| !self.erased.contains(*leaf) && !under_way.contains(*leaf);
        // Erasures that were ordered after the state was written may still be running too.
        let recent = self.state.ordered_from(told.size);
        let ordered = self.ordered_before(self.promises.size);
        match ordered.leaves().filter(|leaf| !recent.contains(*leaf)).find(left) {
            Some(leaf) => Err(VerifyError::NotErased { leaf }),
            None => Ok(()),
        }
    }

    /// The first leaf from `leaf` on that does not match its entry, in a group that cannot be read
    /// as a whole.
    fn first_changed(
        &mut self,
        file: &Arc<dyn DiskFile>,
        version: Version,
        position: u64,
        mut leaf: u64,
    ) -> u64 {
        let Some(tree) = &self.promises.tree else { return leaf };
        let mut payload = vec![0; segment::GROUP_BYTES_MAX];
        let begin = position + segment::GROUP_HEADER_LEN as u64;
        let read = file.read_at(&mut payload, begin).unwrap_or_default();
        payload.truncate(read);
        let mut rest = payload.as_slice();
        while let Ok((record, len)) = Record::decode(version, rest) {
            let Ok(leaves) = record.unpack(&mut self.unpacker) else { return leaf };
            for content in leaves.iter().flat_map(|all| all.iter()) {
                let commitment = match content {
                    Leaf::Envelope(envelope) => Hash::sha256(envelope),
                    Leaf::Erased(commitment) => commitment,
                };
                if tree.entries(leaf, 1).ok().as_deref() != Some(&[commitment]) {
                    return leaf;
                }
                leaf += 1;
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        leaf
    }
}

/// Builds both trees over the commitments and compares them with the files.
struct Comparison<'a> {
    folder: &'a Path,
    promises: &'a Promises,
    rfc6962: Frontier<Rfc6962>,
    pangea: Frontier<Pangea>,
    /// Roots at the checkpoint's size and at later sizes, by size.
    roots: BTreeMap<u64, Hash>,
}

impl<'a> Comparison<'a> {
    fn new(folder: &'a Path, promises: &'a Promises) -> Self {
        let roots = BTreeMap::from([(0, tlog::empty_root())]);
        Self { folder, promises, rfc6962: Frontier::empty(), pangea: Frontier::empty(), roots }
    }

    /// Returns the roots at the checkpoint's size and at later sizes, as far as the leaves go.
    fn run(
        mut self,
        chunks: &mpsc::Receiver<Chunk>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BTreeMap<u64, Hash>, VerifyError> {
        for chunk in chunks {
            self.chunk(&chunk)?;
            progress(self.rfc6962.size().get());
        }
        Ok(self.roots)
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), VerifyError> {
        self.compare_entries(chunk)?;
        let before = self.rfc6962.size().get();
        if chunk.sizes.first() == Some(&before) {
            self.roots.insert(before, self.rfc6962.root());
        }
        let mut grown = Grown::default();
        for commitment in &chunk.commitments {
            grown.append(&mut self.rfc6962, &mut self.pangea, *commitment);
            let size = self.rfc6962.size().get();
            if size == self.promises.size || chunk.sizes.binary_search(&size).is_ok() {
                self.roots.insert(size, self.rfc6962.root());
            }
        }
        let Some(tree) = &self.promises.tree else { return Ok(()) };
        for (height, computed) in kept_heights().zip(&grown.nodes) {
            let first = before >> height;
            let path = || self.folder.join(TREE).join(nodes_file(height));
            if computed.is_empty() {
                continue;
            }
            let stored = self
                .promises
                .compared(tree, height, first, computed.len() / 64)
                .and_then(|count| tree.pairs(height, first, count))
                .map_err(|source| VerifyError::Io { path: path(), source })?;
            let differs = stored.iter().zip(computed.as_chunks::<64>().0).position(|(a, b)| a != b);
            if let Some(at) = differs {
                let leaf = (first + at as u64) << height;
                return Err(VerifyError::Derived { path: path(), leaf });
            }
        }
        Ok(())
    }

    fn compare_entries(&self, chunk: &Chunk) -> Result<(), VerifyError> {
        let Some(tree) = &self.promises.tree else { return Ok(()) };
        let stored = self
            .promises
            .compared(tree, 0, chunk.first_leaf, chunk.commitments.len())
            .and_then(|count| tree.entries(chunk.first_leaf, count))
            .map_err(|source| VerifyError::Io {
                path: self.folder.join(TREE).join(ENTRIES),
                source,
            })?;
        for ((leaf, entry), commitment) in (chunk.first_leaf..).zip(stored).zip(&chunk.commitments)
        {
            if entry != *commitment {
                let (path, commitment) = (chunk.segment.clone(), *commitment);
                return Err(VerifyError::Envelope { path, leaf, commitment, entry });
            }
        }
        Ok(())
    }
}

fn conclude(
    folder: &Path,
    promises: &Promises,
    read: Read,
    roots: BTreeMap<u64, Hash>,
    vkey: Option<&VerifierKey>,
) -> Result<VerifiedFolder, VerifyError> {
    if read.state.keys().is_empty() {
        return Err(VerifyError::NoGenesis);
    }
    let (keys, checkpoint) =
        KeyHistory::under(&promises.note, &read.key_events, vkey).map_err(|error| match error {
            InvalidKeys::Events(InvalidKeyEvents::Unknown { .. }) => {
                let named = read.state.key().unwrap_or_default().to_owned();
                VerifyError::OtherKey { named }
            }
            error => error.into(),
        })?;
    if read.leaves < promises.durable() {
        let path = folder.join(SEGMENTS);
        return Err(VerifyError::EnvelopesMissing {
            path,
            envelopes: read.leaves,
            size: promises.durable(),
        });
    }
    let leads_to = |checkpoint: &Checkpoint| {
        let (size, signed) = (checkpoint.size, checkpoint.root);
        let computed = roots.get(&size.get()).copied().unwrap_or_else(tlog::empty_root);
        if computed == signed { Ok(()) } else { Err(VerifyError::Root { size, signed, computed }) }
    };
    leads_to(&checkpoint)?;
    if let Some(note) = &read.later {
        let (_, later) = KeyHistory::under(note, &read.key_events, None)?;
        leads_to(&later)?;
    }
    Ok(VerifiedFolder {
        vkey: keys.at(checkpoint.size.get()).clone(),
        keys,
        checkpoint,
        leaves: read.leaves,
        erased: read.erased,
        fault_beyond: read.fault_beyond,
        segments: promises.segments.len(),
        torn_bytes: read.torn_bytes,
    })
}
