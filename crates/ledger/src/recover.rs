//! Opening a log: from what is on disk to where the writer goes on. A clean start and the start
//! after a crash are the same code.
//!
//! What a crash can do is undone: the last group, if it is torn, is cut off, and the tree's files
//! are written on from the segments, or made again where they do not lead to the checkpoint's root.
//! Anything else is refused with its place, and nothing is changed.
//!
//! What a start goes on from, it signs. So it believes what the checkpoint's signature covers, what
//! follows from that, and what the site's key made a MAC of (`seal`); an envelope that is gone
//! needs an order that is covered. Anything else in the folder can have a start refuse the log, or
//! read more of it.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use durable::disk::{Disk, DiskFile, Mode, NEXT, Sequential, read_small};
use model::{Envelope, Timestamp};
use tlog::{Checkpoint, Hash, OpenCheckpointError, Origin, Signer, TreeSize, VerifierKey};
use tracing::{info, warn};

use crate::{
    append_keys::AppendKeys,
    block::{Leaf, Unpacker},
    damage::Damage,
    envelopes::Segment,
    failure::WriteError,
    layout::{CHECKPOINT, ENTRIES, SEGMENTS, STATE, STATE_V1, TREE, nodes_file, segment_path},
    published::Published,
    ranges::LeafRanges,
    seal::Sealing,
    segment::{self, Group, Next, PlacedRecord, Record, SegmentReader, Version},
    state::{InvalidLogEvent, State, StateFile},
    tree::{Extension, Tree, TreeReader, kept_heights},
};

/// The keys that may sign: the one that is in use, and the one that a rotation was about to go over
/// to.
#[derive(Debug)]
pub struct Signers {
    /// What signed last, as far as the key's file knows.
    pub current: Signer,
    /// What a rotation that was interrupted may have gone over to.
    pub next: Option<Signer>,
}

impl From<Signer> for Signers {
    fn from(current: Signer) -> Self {
        Self { current, next: None }
    }
}

/// Where the writer goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) signer: Signer,
    pub(crate) tree: Tree,
    /// First leaves of all segments, in order.
    pub(crate) segments: Vec<u64>,
    /// The last of them, open for writing.
    pub(crate) newest: Arc<Segment>,
    pub(crate) newest_len: u64,
    pub(crate) newest_version: Version,
    pub(crate) state: State,
    pub(crate) append_keys: AppendKeys,
    /// The newest checkpoint; its note is empty in a log that has none yet.
    pub(crate) published: Published,
    pub(crate) last_received_at: Timestamp,
    /// Whether the file `state` is not what was recovered.
    pub(crate) state_is_due: bool,
    /// Leaves that no MAC vouches for and that were taken over because that was asked for.
    pub(crate) adopted: u64,
}

/// Opens the log in `folder`, or begins one.
pub(crate) fn open(
    disk: &dyn Disk,
    folder: &Path,
    signers: Signers,
    adopts_tail: bool,
) -> Result<Recovered, OpenError> {
    for part in [SEGMENTS, TREE] {
        disk.create_folder(&folder.join(part)).map_err(io_error(&folder.join(part)))?;
    }
    // Not even the log's folder may vanish with the power; and what a process before us renamed
    // without fsyncing it is seen, and must stay.
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    for folder in [above.unwrap_or_else(|| Path::new(".")), folder, &folder.join(SEGMENTS)] {
        disk.sync_folder(folder).map_err(io_error(folder))?;
    }
    let known = StateFile::load(disk, folder).map_err(io_error(&folder.join(STATE)))?;
    let claimed = known.as_ref().map(|known| &known.state);
    let (published, signed_by) = read_checkpoint(disk, folder, &signers, claimed)?;
    let checkpoint_size = published.checkpoint.size.get();
    let mut segments = list_segments(disk, folder)?;
    if segments.is_empty() {
        if checkpoint_size > 0 {
            return Err(OpenError::SegmentsMissing { leaves: 0, size: checkpoint_size });
        }
        create_segment(disk, folder, 0).map_err(io_error(&folder.join(SEGMENTS)))?;
        segments.push(0);
    }
    // Whoever wrote it: it can only have a start refuse more.
    let promised = checkpoint_size.max(claimed.map_or(0, |state| state.size));
    drop_unbegun_segment(disk, folder, &mut segments, promised)?;

    let tree_folder = folder.join(TREE);
    let tree = TreeReader::open(disk, &tree_folder, Mode::Write).map_err(io_error(&tree_folder))?;
    let sealings: Vec<Sealing> =
        std::iter::once(&signers.current).chain(&signers.next).map(Sealing::of).collect();
    let trust = Trust { sealings, checkpoint: &published.checkpoint, promised, adopts_tail };
    let sealed = known.as_ref().and_then(|known| known.sealed_by(&trust.sealings));
    if let Some(state) = sealed
        && state.size > checkpoint_size
    {
        // It is stored behind the checkpoint of its size.
        return Err(OpenError::SetBack { checkpoint: checkpoint_size, state: state.size });
    }
    let from_start = || Replay::begin(tree.clone(), 0, State::default());
    let covers = tree.covers(checkpoint_size).map_err(io_error(&tree_folder))?;
    let mut replay = match sealed {
        Some(state) if covers => Replay::begin(tree.clone(), state.size, state.clone())?,
        _ => {
            if known.is_some() {
                warn!(
                    "the tree's files fall short, or the site's key did not write the state; making both again"
                );
            }
            from_start()?
        }
    };
    let end = loop {
        match replay.run(disk, folder, &segments, &trust)? {
            Outcome::Done(end) => break end,
            Outcome::WrongRoot if replay.begun_at > 0 => {
                warn!("the tree's files do not lead to the checkpoint; making them again");
                replay = from_start()?;
            }
            Outcome::WrongRoot => return Err(OpenError::RootDiffers { checkpoint_size }),
        }
    };
    let leaves = replay.tree.size().get();
    if leaves < promised {
        return Err(OpenError::SegmentsMissing { leaves, size: promised });
    }
    check_signature(&replay.state, checkpoint_size, signed_by.as_ref())?;
    replay.check_erasures(checkpoint_size)?;
    let signer = choose(signers, &replay.state)?;
    end.settle(leaves)?;
    replay.tree.cut().map_err(OpenError::Tree)?;
    tidy_tree(disk, folder);
    let state_is_due = sealed.is_none_or(|state| state.size < checkpoint_size);
    Ok(Recovered {
        signer,
        segments,
        newest: end.segment,
        newest_len: end.position,
        newest_version: end.version,
        state: replay.state,
        append_keys: replay.append_keys,
        published,
        last_received_at: replay.last_received_at,
        state_is_due,
        adopted: replay.adopted,
        tree: replay.tree,
    })
}

/// The checkpoint, and the key that signed it, where there is one.
fn read_checkpoint(
    disk: &dyn Disk,
    folder: &Path,
    signers: &Signers,
    state: Option<&State>,
) -> Result<(Published, Option<VerifierKey>), OpenError> {
    let path = folder.join(CHECKPOINT);
    let Some(bytes) = read_small(disk, &path).map_err(io_error(&path))? else {
        let name = signers.current.vkey().name().as_str();
        let origin = Origin::parse(name).expect("a key's name is a line");
        let checkpoint = Checkpoint::new(origin, TreeSize::EMPTY, tlog::empty_root());
        return Ok((Published { checkpoint, note: String::new() }, None));
    };
    let note =
        String::from_utf8(bytes).map_err(|error| io_error(&path)(io::Error::other(error)))?;
    // The key in use comes first: its word on what is wrong is the one that helps.
    let earlier = state.into_iter().flat_map(State::keys);
    let earlier = earlier.filter_map(|key| VerifierKey::parse(&key.vkey).ok());
    let next = signers.next.iter().map(|signer| signer.vkey().clone());
    let mut failure = None;
    for vkey in std::iter::once(signers.current.vkey().clone()).chain(next).chain(earlier) {
        match Checkpoint::open(&note, &vkey) {
            Ok(checkpoint) => return Ok((Published { checkpoint, note }, Some(vkey))),
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    let source = failure.expect("at least the key in use was tried");
    Err(OpenError::Checkpoint { path, source })
}

/// A checkpoint is signed by the key that was in use at its size.
fn check_signature(
    state: &State,
    size: u64,
    signed_by: Option<&VerifierKey>,
) -> Result<(), OpenError> {
    let Some(signed_by) = signed_by else { return Ok(()) };
    let in_use = state.keys().iter().rfind(|key| key.leaf < size.max(1));
    match in_use {
        Some(key) if key.vkey != signed_by.to_string() => {
            Err(OpenError::OtherKey { named: key.vkey.clone() })
        }
        _ => Ok(()),
    }
}

/// The signer whose key the log names, also where no checkpoint says so yet.
fn choose(signers: Signers, state: &State) -> Result<Signer, OpenError> {
    let Some(named) = state.key() else { return Ok(signers.current) };
    std::iter::once(signers.current)
        .chain(signers.next)
        .find(|signer| signer.vkey().to_string() == named)
        .ok_or_else(|| OpenError::OtherKey { named: named.to_owned() })
}

/// First leaves of the segments in `folder`, in order. What a rewriting that a crash interrupted
/// left is not among them.
pub(crate) fn list_segments(disk: &dyn Disk, folder: &Path) -> Result<Vec<u64>, OpenError> {
    let folder = folder.join(SEGMENTS);
    let mut segments = Vec::new();
    for name in disk.list(&folder).map_err(io_error(&folder))? {
        if name.strip_suffix(NEXT).is_some_and(|name| segment::first_leaf_of(name).is_some()) {
            continue;
        }
        let first_leaf = segment::first_leaf_of(&name);
        segments
            .push(first_leaf.ok_or_else(|| OpenError::ForeignFile { path: folder.join(name) })?);
    }
    segments.sort_unstable();
    Ok(segments)
}

/// A crash can leave the newest segment without its whole header: then it was never used.
fn drop_unbegun_segment(
    disk: &dyn Disk,
    folder: &Path,
    segments: &mut Vec<u64>,
    promised: u64,
) -> Result<(), OpenError> {
    let Some(&last) = segments.last() else { return Ok(()) };
    let path = segment_path(folder, last);
    let len = disk.open(&path, Mode::Read).and_then(|file| file.len()).map_err(io_error(&path))?;
    if len >= segment::SEGMENT_HEADER_LEN as u64 || last < promised {
        return Ok(());
    }
    info!(segment = %path.display(), "dropping a segment that a crash left without its header");
    disk.remove(&path).map_err(io_error(&path))?;
    segments.pop();
    if segments.is_empty() {
        create_segment(disk, folder, 0).map_err(io_error(&path))?;
        segments.push(0);
    }
    Ok(())
}

/// Makes an empty segment durable, with its name.
pub(crate) fn create_segment(
    disk: &dyn Disk,
    folder: &Path,
    first_leaf: u64,
) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(&segment_path(folder, first_leaf), Mode::Empty)?;
    file.write_all_at(&segment::encode_segment_header(first_leaf), 0)?;
    file.sync()?;
    disk.sync_folder(&folder.join(SEGMENTS))?;
    Ok(file)
}

/// Removes from the tree's folder what is not of this version, and what an interrupted replacement
/// left. Nobody reads it, so a failure is of no consequence.
fn tidy_tree(disk: &dyn Disk, folder: &Path) {
    let tree = folder.join(TREE);
    let ours = |name: &str| {
        name == ENTRIES
            || (name.starts_with("blocks-") && !name.ends_with(NEXT))
            || kept_heights().any(|height| name == nodes_file(height))
    };
    for name in disk.list(&tree).unwrap_or_default() {
        if !ours(&name) {
            let _left = disk.remove(&tree.join(name));
        }
    }
    let _left = disk.remove(&folder.join(STATE_V1));
}

/// Where the last segment ends.
struct SegmentEnd {
    path: PathBuf,
    segment: Arc<Segment>,
    version: Version,
    /// Where the last group begins, if nothing speaks of its leaves; where there is none, the
    /// segment itself. Otherwise the same as `position`.
    unsettled: u64,
    position: u64,
    torn_bytes: u64,
}

impl SegmentEnd {
    /// Cuts off what a crash interrupted, and makes durable what is left.
    fn settle(&self, leaves: u64) -> Result<(), OpenError> {
        let file = &self.segment.file;
        if self.torn_bytes > 0 {
            info!(bytes = self.torn_bytes, after_leaf = leaves, "cutting off an interrupted write");
            file.set_len(self.position).map_err(io_error(&self.path))?;
        }
        // The process before may have ended between writing the last group and its fsync, or
        // because that failed; then the kernel takes for written what never was. So the group is
        // written again, unless a checkpoint or the state shows that the fsync came.
        rewrite(&**file, self.unsettled..self.position).map_err(io_error(&self.path))
    }
}

fn rewrite(file: &dyn DiskFile, range: std::ops::Range<u64>) -> io::Result<()> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start)?;
    file.write_all_at(&bytes, range.start)?;
    file.sync()
}

enum Outcome {
    Done(SegmentEnd),
    WrongRoot,
}

/// What the segments are held against.
struct Trust<'a> {
    /// Those of the site's keys.
    sealings: Vec<Sealing>,
    checkpoint: &'a Checkpoint,
    /// Leaves that the segments must have.
    promised: u64,
    adopts_tail: bool,
}

/// Brings the tree and the state up to what the segments hold.
struct Replay {
    tree: Tree,
    state: State,
    append_keys: AppendKeys,
    /// The leaf it began with.
    begun_at: u64,
    /// Leaves from there on whose envelope is gone.
    erased: LeafRanges,
    /// What leaves from there on order to be erased.
    ordered: BTreeMap<u64, LeafRanges>,
    /// Leaves that no MAC vouches for.
    adopted: u64,
    last_received_at: Timestamp,
    unpacker: Unpacker,
}

impl Replay {
    fn begin(tree: TreeReader, begun_at: u64, state: State) -> Result<Self, OpenError> {
        Ok(Self {
            tree: Tree::at(tree, begun_at).map_err(OpenError::Tree)?,
            state,
            append_keys: AppendKeys::default(),
            begun_at,
            erased: LeafRanges::new(),
            ordered: BTreeMap::new(),
            adopted: 0,
            last_received_at: Timestamp::from_unix_micros(0),
            unpacker: Unpacker::new(),
        })
    }

    fn run(
        &mut self,
        disk: &dyn Disk,
        folder: &Path,
        segments: &[u64],
        trust: &Trust<'_>,
    ) -> Result<Outcome, OpenError> {
        let (checkpoint, promised) = (trust.checkpoint, trust.promised);
        let mut right_root = self.reaches(checkpoint) || checkpoint.size.get() == 0;
        if self.tree.size() == checkpoint.size && !right_root {
            return Ok(Outcome::WrongRoot);
        }
        // The two newest segments are read whole: for the keys of appends, and for where blocks
        // lie.
        let begin = segment::position_of(segments, self.begun_at).unwrap_or_default();
        let begin = begin.min(segments.len().saturating_sub(2));
        let mut follows: Option<u64> = None;
        let mut end = None;
        for &first_leaf in segments.iter().skip(begin) {
            if let Some(leaf) = follows.filter(|next_leaf| *next_leaf != first_leaf) {
                return Err(OpenError::Gap { leaf, found: first_leaf });
            }
            let path = segment_path(folder, first_leaf);
            let damaged = |leaf, reason| OpenError::Damaged { path: path.clone(), leaf, reason };
            let is_last = segments.last() == Some(&first_leaf);
            let mode = if is_last { Mode::Write } else { Mode::Read };
            let file = disk.open(&path, mode).map_err(io_error(&path))?;
            let len = file.len().map_err(io_error(&path))?;
            let source = BufReader::new(Sequential::new(Arc::clone(&file)));
            let mut reader = SegmentReader::open(source, first_leaf)
                .map_err(io_error(&path))?
                .map_err(|reason| damaged(first_leaf, reason))?;
            let mut places = Vec::new();
            let header_len = segment::SEGMENT_HEADER_LEN as u64;
            let mut unsettled = if first_leaf >= promised { 0 } else { header_len };
            let torn_bytes = loop {
                match reader.read_next().map_err(io_error(&path))? {
                    Next::Group(position, group) => {
                        unsettled =
                            if group.first_leaf >= promised { position } else { reader.position() };
                        self.take(&group, trust).map_err(|failure| match failure {
                            TakeError::Damage(leaf, reason) => damaged(leaf, reason),
                            TakeError::Event(event) => OpenError::LogEvent(event),
                            TakeError::Tree(error) => OpenError::Tree(error),
                            TakeError::OtherKey(named) => OpenError::OtherKey { named },
                            TakeError::Unsealed(leaf) => {
                                OpenError::Unsealed { path: path.clone(), leaf }
                            }
                        })?;
                        if is_last {
                            places.extend(group.places(position, first_leaf));
                        }
                        if self.tree.size() >= checkpoint.size && !right_root {
                            // A checkpoint is published between two groups, so the log it signs
                            // ends where a group ends.
                            right_root = self.reaches(checkpoint);
                            if !right_root {
                                return Ok(Outcome::WrongRoot);
                            }
                        }
                    }
                    Next::End => break 0,
                    Next::Damaged(reason) => {
                        let rest = read_rest(&file, reader.position()).map_err(io_error(&path))?;
                        let after = rest.get(1..).unwrap_or_default();
                        // A crash tears only what was written last, and what a checkpoint covers
                        // was fsynced before.
                        if !is_last
                            || reader.next_leaf() < promised
                            || segment::holds_a_group(after)
                        {
                            return Err(damaged(reader.next_leaf(), reason));
                        }
                        break len - reader.position();
                    }
                }
            };
            follows = Some(reader.next_leaf());
            let segment = Arc::new(Segment { first_leaf, file, places: RwLock::new(places) });
            let (version, position) = (reader.version(), reader.position());
            end = Some(SegmentEnd { path, segment, version, unsettled, position, torn_bytes });
        }
        Ok(Outcome::Done(end.expect("a log has at least one segment")))
    }

    fn reaches(&self, checkpoint: &Checkpoint) -> bool {
        self.tree.size() == checkpoint.size && self.tree.root() == checkpoint.root
    }

    /// Takes what the tree, the state and the window of keys do not have of a group.
    fn take(&mut self, group: &Group, trust: &Trust<'_>) -> Result<(), TakeError> {
        let mut next_leaf = group.first_leaf;
        let (mut entries, mut cursors, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let (tree_size, state_size) = (self.tree.size().get(), self.state.size);
        for PlacedRecord { record, .. } in group.records(0) {
            match record {
                Record::Cursor { name, next_leaf } => cursors.push((name, next_leaf)),
                Record::Key(used) => keys.push(used),
                Record::Mac(_) => {}
                Record::Envelope(_) | Record::Block(_) => {
                    let first = next_leaf;
                    next_leaf += u64::from(record.leaves());
                    // The last envelope is always looked at: it says when it was received.
                    if next_leaf <= tree_size && next_leaf <= state_size && next_leaf < tree_size {
                        continue;
                    }
                    let damage = |reason| TakeError::Damage(first, reason);
                    let leaves = record.unpack(&mut self.unpacker).map_err(damage)?;
                    for (leaf, content) in (first..).zip(leaves.iter().flat_map(|all| all.iter())) {
                        let commitment = self.leaf(leaf, content, group.end())?;
                        entries.extend((leaf >= tree_size).then_some(commitment));
                    }
                }
            }
        }
        let extension = self.tree.with(&entries);
        let vouched = self.vouched(group, &extension, trust);
        if group.end() > trust.checkpoint.size.get() {
            // The next checkpoint will sign it.
            let is_whole = self.erased.end() <= trust.checkpoint.size.get();
            match &vouched {
                Vouched::Yes if is_whole => {}
                Vouched::OtherKey(named) => return Err(TakeError::OtherKey(named.clone())),
                _ if trust.adopts_tail => self.adopted += u64::from(group.leaves),
                _ => return Err(TakeError::Unsealed(group.first_leaf)),
            }
        }
        let is_sealed = matches!(vouched, Vouched::Yes) || trust.adopts_tail;
        let is_covered = group.first_leaf < trust.checkpoint.size.get();
        // What the checkpoint covers of cursors is in the state. Where that is made again, they are
        // what the groups say.
        if is_sealed || (is_covered && self.begun_at == 0) {
            cursors.into_iter().for_each(|(name, next)| self.state.advance(name, next));
        }
        // A retry is compared with what was sealed, so a false key can have one refused at most.
        if is_sealed || is_covered {
            keys.into_iter().for_each(|used| self.append_keys.insert(used));
        }
        self.tree.append(extension).map_err(TakeError::Tree)
    }

    /// Takes a leaf of a group that ends before the leaf `end`. Answers its commitment.
    fn leaf(&mut self, leaf: u64, content: Leaf<'_>, end: u64) -> Result<Hash, TakeError> {
        match content {
            Leaf::Envelope(envelope) => {
                self.state.apply(leaf, Some(envelope)).map_err(TakeError::Event)?;
                if leaf >= self.begun_at
                    && let Some(ordered) = self.state.ordered_at(leaf)
                {
                    self.ordered.insert(leaf, ordered);
                }
                if leaf + 1 == end {
                    self.note_time(envelope);
                }
                Ok(Hash::sha256(envelope))
            }
            Leaf::Erased(commitment) => {
                self.state.apply(leaf, None).map_err(TakeError::Event)?;
                if leaf >= self.begun_at {
                    self.erased.push(leaf);
                }
                Ok(commitment)
            }
        }
    }

    /// Whether the key that the log names with this group vouches for it.
    fn vouched(&self, group: &Group, extension: &Extension, trust: &Trust<'_>) -> Vouched {
        let (Some(mac), Some(named)) = (group.mac(), self.state.key()) else { return Vouched::No };
        // Of a group that is in the tree already nobody looks at the root.
        if extension.size().get() != group.end() {
            return Vouched::No;
        }
        match trust.sealings.iter().find(|sealing| sealing.vkey().to_string() == named) {
            None => Vouched::OtherKey(named.to_owned()),
            Some(sealing) => {
                let (size, root) = (extension.size(), extension.root());
                let is_its = sealing.is_group(&mac, size, &root, &group.other_records());
                if is_its { Vouched::Yes } else { Vouched::No }
            }
        }
    }

    /// What is gone was ordered to be erased, under the checkpoint; nobody who removed an event of
    /// the log itself can hide that.
    fn check_erasures(&self, checkpoint_size: u64) -> Result<(), OpenError> {
        let end = if self.adopted > 0 { u64::MAX } else { checkpoint_size };
        let ordered = self.ordered.range(..end);
        let ordered = ordered.fold(LeafRanges::new(), |all, (_, order)| all.union(order));
        match self.erased.leaves().find(|leaf| !ordered.contains(*leaf)) {
            Some(leaf) => Err(OpenError::ErasedInSilence { leaf }),
            None => Ok(()),
        }
    }

    fn note_time(&mut self, envelope: &[u8]) {
        if let Ok(envelope) = Envelope::parse(envelope) {
            self.last_received_at = self.last_received_at.max(envelope.received_at);
        }
    }
}

/// Whether the site's key made a group's MAC.
enum Vouched {
    Yes,
    No,
    /// The log names another key with it.
    OtherKey(String),
}

enum TakeError {
    Damage(u64, Damage),
    Event(InvalidLogEvent),
    Tree(io::Error),
    OtherKey(String),
    Unsealed(u64),
}

fn read_rest(file: &Arc<dyn DiskFile>, position: u64) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    let mut source = Sequential::from(Arc::clone(file), position);
    source.read_to_end(&mut rest)?;
    Ok(rest)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path: path.clone(), source }
}

/// Why a log was not opened. Nothing in it was changed, but for what is derived, and a segment
/// without its header, which held nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// A tree's file cannot be used.
    #[error("cannot use the tree's files")]
    Tree(#[source] io::Error),
    /// The checkpoint is not one, or not of this key.
    #[error("the checkpoint {} is not one that this log's key signed", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenCheckpointError,
    },
    /// The log is another key's.
    #[error("the log is of the key {named}: put that key's file back, or name another directory")]
    OtherKey {
        /// Whose it is.
        named: String,
    },
    /// An event of the log itself cannot be.
    #[error("the log says what it cannot be: restore it from a copy")]
    LogEvent(#[source] InvalidLogEvent),
    /// A file that does not belong there.
    #[error("{} is not a segment: take it out of the folder", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A segment cannot be read where it must be.
    #[error("{} is damaged at leaf {leaf}: {reason}; restore it from a copy", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The first leaf that cannot be read.
        leaf: u64,
        /// What is wrong.
        reason: Damage,
    },
    /// A segment is missing.
    #[error(
        "the segment that begins with leaf {leaf} is missing; the next one there begins with {found}: restore it from a copy"
    )]
    Gap {
        /// Where it begins.
        leaf: u64,
        /// What follows.
        found: u64,
    },
    /// Leaves are missing at the end.
    #[error(
        "checkpoint and state speak of {size} leaves, the segments hold {leaves}: restore the segments from a copy"
    )]
    SegmentsMissing {
        /// Leaves there are.
        leaves: u64,
        /// Leaves there must be.
        size: u64,
    },
    /// The envelopes are not those that were signed.
    #[error(
        "the envelopes do not lead to the root that the checkpoint of {checkpoint_size} leaves signs: `sealwire verify` names the leaf"
    )]
    RootDiffers {
        /// Leaves it covers.
        checkpoint_size: u64,
    },
    /// An erasure that a crash interrupted cannot be finished.
    #[error("an erasure that was interrupted cannot be finished")]
    Erase(#[source] crate::erase::EraseError),
    /// Leaves that only the site itself could have written, and that it did not, or a version
    /// before 4 did.
    #[error(
        "nothing shows that this site wrote leaf {leaf} and what follows it in {}: they lie beyond the checkpoint, and the site's key does not vouch for them; \
         where an older sealwire was killed before this one came, start and stop that one once, or take the leaves over with `sealwire log adopt-tail`; \
         otherwise someone changed the file: restore it from a copy", path.display()
    )]
    Unsealed {
        /// The segment.
        path: PathBuf,
        /// The first of them.
        leaf: u64,
    },
    /// The checkpoint is older than what was stored under it.
    #[error(
        "the checkpoint covers {checkpoint} leaves, and the state was stored under one of {state}: the checkpoint was set back; put the newest one back"
    )]
    SetBack {
        /// Leaves of the checkpoint.
        checkpoint: u64,
        /// Leaves of the one that there must be.
        state: u64,
    },
    /// An envelope is gone without a word.
    #[error(
        "the envelope of leaf {leaf} was erased, and no event below the checkpoint orders that: restore its segment from a copy"
    )]
    ErasedInSilence {
        /// Which leaf.
        leaf: u64,
    },
    /// The first writes fail.
    #[error("the log cannot be begun")]
    Begin(#[source] WriteError),
}
