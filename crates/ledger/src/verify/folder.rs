//! Verifies a ledger's folder: everything is computed again from the segments and compared with what lies beside them.
//!
//! One thread reads and hashes envelopes, another builds both trees over their commitments and compares. Nothing is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use model::Envelope;
use tlog::{Checkpoint, Frontier, Hash, Pangea, Rfc6962, VerifierKey};

use super::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory, VerifyError};
use crate::{
    LeafRanges,
    block::{Leaf, Unpacker},
    disk::{Disk, DiskFile, Mode, Sequential, read_small},
    envelopes::{index_is_right, index_path, path},
    recover::{CHECKPOINT, SEGMENTS, TREE, list_segments},
    segment::{self, Group, Next, PlacedRecord, Record, SegmentReader, Version},
    state::{self, State},
    tree::{ENTRIES, Grown, TreeReader, kept_heights, nodes_file},
};

/// Leaves that are handed from one thread to the other at once.
const CHUNK_LEAVES: usize = 4_096;
/// Chunks that wait.
const CHUNKS_MAX: usize = 4;

/// Who looks on while a folder is verified: is told a leaf, and its envelope unless that was erased. It is called on another thread.
pub type Observer<'a> = dyn FnMut(u64, Option<&[u8]>) + Send + 'a;

/// What was found right in a folder.
#[derive(Clone, Debug)]
pub struct VerifiedFolder {
    /// The key that signed the checkpoint.
    pub vkey: VerifierKey,
    /// The keys that have signed the log up to the checkpoint.
    pub keys: KeyHistory,
    /// The checkpoint that everything led to.
    pub checkpoint: Checkpoint,
    /// Leaves whose envelope was held against their entry, or that were erased; those beyond the checkpoint are among them.
    pub leaves: u64,
    /// Those of them that were erased.
    pub erased: u64,
    /// Segments that were read.
    pub segments: usize,
    /// Bytes at the end that a crash left or a running site is just writing; the next start cuts them off.
    pub torn_bytes: u64,
}

/// Verifies the ledger in `folder`: segments, both trees, state, checkpoint. Nothing is written. If `vkey` is given, it must have signed the log; otherwise
/// the key that the genesis entry names is believed. A log may grow meanwhile. `progress` is told how many leaves are done.
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

/// As [`verify_folder`]; `observer` is told every leaf and its envelope, or `None` where that was erased, in the log's order. What it was told holds only if
/// the result is `Ok`.
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
        let reading = scope.spawn(|| Reading::new(disk, folder, &promises, chunks, observer).run());
        // Whatever the comparison finds is found in an envelope too, and named better there.
        let compared = Comparison::new(folder, &promises).run(&received, progress);
        drop(received);
        let read = reading.join().expect("reading a log does not panic")?;
        conclude(folder, &promises, read, compared?, vkey)
    })
}

/// What lies beside the segments. It is read before them, so it speaks of nothing that they do not hold, though the log may be growing.
struct Promises {
    note: String,
    /// The checkpoint as it says, unverified, and 0 leaves where it cannot be read.
    size: u64,
    state: Option<State>,
    /// The tree's files; `None` where version 1 wrote them.
    tree: Option<TreeReader>,
    segments: Vec<u64>,
}

impl Promises {
    fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, VerifyError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| VerifyError::Io { path, source }
        };
        let checkpoint_path = folder.join(CHECKPOINT);
        let missing =
            || VerifyError::Unavailable(format!("{} is missing", checkpoint_path.display()));
        let note = read_small(disk, &checkpoint_path).map_err(failed(&checkpoint_path))?;
        let note = String::from_utf8(note.ok_or_else(missing)?)
            .map_err(|error| failed(&checkpoint_path)(io::Error::other(error)))?;
        let size = KeyHistory::claimed_size(&note);
        let state_path = folder.join(state::FILE);
        let state = State::load(disk, folder).map_err(failed(&state_path))?;
        let is_version_1 = state.is_none()
            && read_small(disk, &folder.join(state::FILE_V1)).is_ok_and(|found| found.is_some());
        let tree = if is_version_1 {
            None
        } else {
            let path = folder.join(TREE);
            Some(TreeReader::open(disk, &path, Mode::Read).map_err(failed(&path))?)
        };
        let segments = list_segments(disk, folder)?;
        Ok(Self { note, size, state, tree, segments })
    }

    /// Leaves that a crash cannot have torn.
    fn durable(&self) -> u64 {
        self.size.max(self.state.as_ref().map_or(0, |state| state.size))
    }

    /// How many of `count` subtrees of `height` from `first` on are compared with their file: those
    /// that the checkpoint's tree has in full, as far as the file goes. What lies beyond the
    /// checkpoint is written file by file, and means nothing until a checkpoint covers it.
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

/// Commitments of leaves that follow each other.
struct Chunk {
    segment: PathBuf,
    first_leaf: u64,
    commitments: Vec<Hash>,
}

/// Reads segments and hashes envelopes.
struct Reading<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    promises: &'a Promises,
    chunks: mpsc::SyncSender<Chunk>,
    unpacker: Unpacker,
    state: State,
    key_events: Vec<KeyEvent>,
    /// Whether the state's file was held against the fold.
    state_checked: bool,
    /// Every place where each cursor has been.
    cursors: BTreeMap<String, BTreeSet<u64>>,
    erased: LeafRanges,
    ordered: LeafRanges,
    received_at: String,
    chunk: Vec<Hash>,
    observer: &'a mut Observer<'a>,
}

/// What the segments say.
struct Read {
    state: State,
    key_events: Vec<KeyEvent>,
    erased: LeafRanges,
    leaves: u64,
    torn_bytes: u64,
}

impl<'a> Reading<'a> {
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
            state_checked: promises.state.is_none(),
            cursors: BTreeMap::new(),
            erased: LeafRanges::new(),
            ordered: LeafRanges::new(),
            received_at: String::new(),
            chunk: Vec::new(),
            observer,
        }
    }

    fn run(mut self) -> Result<Read, VerifyError> {
        let mut next_leaf = 0;
        let mut torn_bytes = 0;
        for (position, first_leaf) in (1..).zip(&self.promises.segments) {
            let path = path(self.folder, *first_leaf);
            if *first_leaf != next_leaf {
                return Err(VerifyError::Gap { leaf: next_leaf, path });
            }
            let is_last = position == self.promises.segments.len();
            (next_leaf, torn_bytes) = self.segment(&path, *first_leaf, is_last)?;
        }
        self.check_state()?;
        self.check_erasures()?;
        let Self { state, key_events, erased, .. } = self;
        Ok(Read { state, key_events, erased, leaves: next_leaf, torn_bytes })
    }

    /// Reads one segment. Answers the leaf that follows and how many bytes at its end are torn.
    fn segment(
        &mut self,
        path: &Path,
        first_leaf: u64,
        is_last: bool,
    ) -> Result<(u64, u64), VerifyError> {
        let io_error = |source| VerifyError::Io { path: path.to_owned(), source };
        let damaged = |leaf, reason| VerifyError::Segment { path: path.to_owned(), leaf, reason };
        let file = self.disk.open(path, Mode::Read).map_err(io_error)?;
        let source = BufReader::with_capacity(1 << 20, Sequential::new(Arc::clone(&file)));
        let mut reader = match SegmentReader::open(source, first_leaf).map_err(io_error)? {
            Ok(reader) => reader,
            // It is being begun, or a crash came then; nothing is in it.
            Err(_) if is_last && first_leaf > 0 && first_leaf >= self.promises.durable() => {
                return Ok((first_leaf, file.len().map_err(io_error)?));
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
                    self.group(path, &group, position)?;
                }
                // What lies beyond everything that is promised was never told to anyone.
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
        self.send(path, reader.next_leaf());
        if !is_last {
            let path = index_path(self.folder, first_leaf);
            let is_right = index_is_right(self.disk, self.folder, first_leaf, &places)
                .map_err(|source| VerifyError::Io { path: path.clone(), source })?;
            if !is_right {
                return Err(VerifyError::Derived { path, leaf: first_leaf });
            }
        }
        Ok((reader.next_leaf(), torn_bytes))
    }

    fn group(&mut self, path: &Path, group: &Group, position: u64) -> Result<(), VerifyError> {
        let mut next_leaf = group.first_leaf;
        for PlacedRecord { record, .. } in group.records(position) {
            if let Record::Cursor { name, next_leaf } = record {
                self.cursors.entry(name.to_owned()).or_default().insert(next_leaf);
            }
            let damaged =
                |reason| VerifyError::Segment { path: path.to_owned(), leaf: next_leaf, reason };
            let Some(leaves) = record.unpack(&mut self.unpacker).map_err(damaged)? else {
                continue;
            };
            for content in leaves.iter() {
                self.leaf(next_leaf, content)?;
                next_leaf += 1;
            }
            if self.chunk.len() >= CHUNK_LEAVES {
                self.send(path, next_leaf);
            }
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: u64, content: Leaf<'_>) -> Result<(), VerifyError> {
        let envelope = match content {
            Leaf::Envelope(envelope) => Some(envelope),
            Leaf::Erased(commitment) => {
                self.erased.push(leaf);
                self.chunk.push(commitment);
                None
            }
        };
        self.state.apply(leaf, envelope)?;
        (self.observer)(leaf, envelope);
        if let Some(envelope) = envelope {
            self.chunk.push(Hash::sha256(envelope));
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
                self.ordered = self.ordered.union(&ordered);
            }
        }
        let told = self.promises.state.as_ref();
        if let Some(told) = told.filter(|told| told.size == leaf + 1) {
            if !told.says_the_same(&self.state) {
                return Err(self.wrong_state("it does not say what the log says of itself"));
            }
            self.state_checked = true;
        }
        Ok(())
    }

    /// Hands on what was hashed of the leaves before `next_leaf`.
    fn send(&mut self, segment: &Path, next_leaf: u64) {
        let commitments = std::mem::take(&mut self.chunk);
        let first_leaf = next_leaf - commitments.len() as u64;
        // Where nobody listens any more, something was wrong already.
        let _done =
            self.chunks.send(Chunk { segment: segment.to_owned(), first_leaf, commitments });
    }

    fn wrong_state(&self, reason: &'static str) -> VerifyError {
        VerifyError::State { path: self.folder.join(state::FILE), reason }
    }

    fn check_state(&self) -> Result<(), VerifyError> {
        if !self.state_checked {
            return Err(self.wrong_state("it speaks of more leaves than there are"));
        }
        let cursors = self.promises.state.iter().flat_map(State::cursors);
        for (name, next_leaf) in cursors {
            if !self.cursors.get(name).is_some_and(|moves| moves.contains(next_leaf)) {
                return Err(self.wrong_state("it holds a cursor that no commit group moved there"));
            }
        }
        Ok(())
    }

    /// What was erased was ordered, and what was ordered is erased unless it is being done.
    fn check_erasures(&self) -> Result<(), VerifyError> {
        if let Some(leaf) = self.erased.leaves().find(|leaf| !self.ordered.contains(*leaf)) {
            return Err(VerifyError::ErasedInSilence { leaf });
        }
        let Some(told) = &self.promises.state else { return Ok(()) };
        let under_way = told.erasing();
        let left = |leaf: &u64| !self.erased.contains(*leaf) && !under_way.contains(*leaf);
        // Orders that came after the state was written down may be under way too.
        let recent = self.state.ordered_from(told.size);
        match self.ordered.leaves().filter(|leaf| !recent.contains(*leaf)).find(left) {
            Some(leaf) => Err(VerifyError::NotErased { leaf }),
            None => Ok(()),
        }
    }

    /// The first leaf from `leaf` on that is not what its entry says, in a group that cannot be read as a whole.
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

/// Builds both trees over the commitments and compares.
struct Comparison<'a> {
    folder: &'a Path,
    promises: &'a Promises,
    rfc6962: Frontier<Rfc6962>,
    pangea: Frontier<Pangea>,
    /// Root at the checkpoint's size.
    root: Option<Hash>,
}

impl<'a> Comparison<'a> {
    fn new(folder: &'a Path, promises: &'a Promises) -> Self {
        let root = (promises.size == 0).then(tlog::empty_root);
        Self { folder, promises, rfc6962: Frontier::empty(), pangea: Frontier::empty(), root }
    }

    /// Answers the root at the checkpoint's size, if the leaves reach it.
    fn run(
        mut self,
        chunks: &mpsc::Receiver<Chunk>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Hash>, VerifyError> {
        for chunk in chunks {
            self.chunk(&chunk)?;
            progress(self.rfc6962.size().get());
        }
        Ok(self.root)
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), VerifyError> {
        self.compare_entries(chunk)?;
        let before = self.rfc6962.size().get();
        let mut grown = Grown::default();
        for commitment in &chunk.commitments {
            grown.append(&mut self.rfc6962, &mut self.pangea, *commitment);
            if self.rfc6962.size().get() == self.promises.size {
                self.root = Some(self.rfc6962.root());
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
    root: Option<Hash>,
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
    let computed = root.unwrap_or_else(tlog::empty_root);
    if computed != checkpoint.root {
        let (size, signed) = (checkpoint.size, checkpoint.root);
        return Err(VerifyError::Root { size, signed, computed });
    }
    Ok(VerifiedFolder {
        vkey: keys.at(checkpoint.size.get()).clone(),
        keys,
        checkpoint,
        leaves: read.leaves,
        erased: read.erased.count(),
        segments: promises.segments.len(),
        torn_bytes: read.torn_bytes,
    })
}
