//! Opens a log: finds on disk the point where the writer continues. A start after a clean stop and
//! a start after a crash run the same code.
//!
//! Recovery undoes what a crash can cause. It cuts off the last group if that is torn. It extends
//! the tree's files from the segments, or rebuilds them if they do not lead to the checkpoint's
//! root. It refuses everything else, names the place and changes nothing.
//!
//! A start signs what it continues from. So it believes only what the checkpoint's signature
//! covers, what follows from that, and what carries a MAC of the site's key (`seal`). A missing
//! envelope needs an order that a checkpoint covers. Anything else in the folder can only make a
//! start refuse the log or read more of it.

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

/// The keys that may sign: the current one, and the new one of a rotation that may have been
/// interrupted.
#[derive(Debug)]
pub struct Signers {
    /// The key in the current key file.
    pub current: Signer,
    /// The new key of an interrupted rotation, to which the log may have changed already.
    pub next: Option<Signer>,
}

impl From<Signer> for Signers {
    fn from(current: Signer) -> Self {
        Self { current, next: None }
    }
}

/// The point from which the writer continues.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) signer: Signer,
    pub(crate) tree: Tree,
    /// First leaves of all segments, in order.
    pub(crate) segments: Vec<u64>,
    /// The last segment, open for writing.
    pub(crate) newest: Arc<Segment>,
    pub(crate) newest_len: u64,
    pub(crate) newest_version: Version,
    pub(crate) state: State,
    pub(crate) append_keys: AppendKeys,
    /// The newest checkpoint. Its note is empty if the log has none yet.
    pub(crate) published: Published,
    pub(crate) last_received_at: Timestamp,
    /// Whether the file `state` differs from the recovered state.
    pub(crate) state_is_due: bool,
    /// Number of leaves without a valid MAC that were accepted because the caller asked for it.
    pub(crate) adopted: u64,
}

/// Opens the log in `folder`, or creates one.
pub(crate) fn open(
    disk: &dyn Disk,
    folder: &Path,
    signers: Signers,
    adopts_tail: bool,
) -> Result<Recovered, OpenError> {
    for part in [SEGMENTS, TREE] {
        disk.create_folder(&folder.join(part)).map_err(io_error(&folder.join(part)))?;
    }
    // A power loss must not remove the log's folder. It must also not undo a renaming that an
    // earlier process did not fsync and that this process has seen.
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
    // Anyone may have written the state, but it can only make a start refuse more.
    let promised = checkpoint_size.max(claimed.map_or(0, |state| state.size));
    drop_unbegun_segment(disk, folder, &mut segments, promised)?;

    let tree_folder = folder.join(TREE);
    let tree = TreeReader::open(disk, &tree_folder, Mode::Write).map_err(io_error(&tree_folder))?;
    // A checkpoint covers only what survives a power loss, and that needs the files' names too.
    disk.sync_folder(&tree_folder).map_err(io_error(&tree_folder))?;
    let sealings: Vec<Sealing> =
        std::iter::once(&signers.current).chain(&signers.next).map(Sealing::of).collect();
    let trust = Trust { sealings, checkpoint: &published.checkpoint, promised, adopts_tail };
    let sealed = known.as_ref().and_then(|known| known.sealed_by(&trust.sealings));
    if let Some(state) = sealed
        && state.size > checkpoint_size
    {
        // The log stores the state after the checkpoint of its size.
        return Err(OpenError::SetBack { checkpoint: checkpoint_size, state: state.size });
    }
    let from_start = || Replay::begin(tree.clone(), 0, State::default());
    let covers = tree.covers(checkpoint_size).map_err(io_error(&tree_folder))?;
    let mut replay = match sealed {
        Some(state) if covers => Replay::begin(tree.clone(), state.size, state.clone())?,
        _ => {
            if known.is_some() {
                warn!(
                    "the tree files are too short, or the state has no MAC under the site's key; rebuilding both"
                );
            }
            from_start()?
        }
    };
    let end = loop {
        match replay.run(disk, folder, &segments, &trust)? {
            Outcome::Done(end) => break end,
            Outcome::WrongRoot if replay.begun_at > 0 => {
                warn!("the tree files do not have the checkpoint's root; rebuilding them");
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

/// Reads the checkpoint and finds the key that signed it. There is no key if there is no
/// checkpoint.
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
    // Try the current key first: its error is the most useful one.
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

/// Checks that the key in use at the checkpoint's size signed it.
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

/// The signer of the key that the log names last, even if no checkpoint covers the event yet.
fn choose(signers: Signers, state: &State) -> Result<Signer, OpenError> {
    let Some(named) = state.key() else { return Ok(signers.current) };
    std::iter::once(signers.current)
        .chain(signers.next)
        .find(|signer| signer.vkey().to_string() == named)
        .ok_or_else(|| OpenError::OtherKey { named: named.to_owned() })
}

/// First leaves of the segments in `folder`, in order. Leaves out the files that an interrupted
/// rewrite left.
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

/// Removes a newest segment whose header a crash left incomplete: it was never used.
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
    info!(segment = %path.display(), "removing a segment that a crash left without a header");
    disk.remove(&path).map_err(io_error(&path))?;
    segments.pop();
    if segments.is_empty() {
        create_segment(disk, folder, 0).map_err(io_error(&path))?;
        segments.push(0);
    }
    Ok(())
}

/// Creates an empty segment, and makes it and its name durable.
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

/// Removes files of other versions and of interrupted replacements from the tree's folder. Nobody
/// reads them, so a failure has no effect.
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

/// The end of the last segment.
struct SegmentEnd {
    path: PathBuf,
    segment: Arc<Segment>,
    version: Version,
    /// Position of the last group, if neither checkpoint nor state covers its leaves. If that
    /// segment has no group, 0. In every other case the same as `position`.
    unsettled: u64,
    position: u64,
    torn_bytes: u64,
}

impl SegmentEnd {
    /// Cuts off an interrupted write, and makes the rest durable.
    fn settle(&self, leaves: u64) -> Result<(), OpenError> {
        let file = &self.segment.file;
        if self.torn_bytes > 0 {
            info!(bytes = self.torn_bytes, after_leaf = leaves, "cutting off an interrupted write");
            file.set_len(self.position).map_err(io_error(&self.path))?;
        }
        // The previous process may have ended before the fsync of the last group, or because it
        // failed. The kernel may then consider data written that never reached the disk. So write
        // the group again, unless a checkpoint or the state shows that the fsync succeeded.
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

/// What the segments are checked against.
struct Trust<'a> {
    /// MAC keys that are derived from the site's keys.
    sealings: Vec<Sealing>,
    checkpoint: &'a Checkpoint,
    /// Number of leaves that the segments must have.
    promised: u64,
    adopts_tail: bool,
}

/// Advances the tree and the state to the end of the segments.
struct Replay {
    tree: Tree,
    state: State,
    append_keys: AppendKeys,
    /// The leaf at which the replay began.
    begun_at: u64,
    /// Leaves from `begun_at` on whose envelope was erased.
    erased: LeafRanges,
    /// Leaves that are ordered to be erased, by the leaf from `begun_at` on that orders it.
    ordered: BTreeMap<u64, LeafRanges>,
    /// Number of accepted leaves without a valid MAC.
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
        // Read the two newest segments whole: they hold the keys of appends, and the places of
        // blocks.
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
                            // The writer publishes a checkpoint between two groups, so the log that
                            // it signs ends after a group.
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
                        // A crash tears only the last write, and the writer fsynced what a
                        // checkpoint covers before that.
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

    /// Takes from a group what the tree, the state and the window of keys do not have yet.
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
                    // Always read the last envelope: it has the time of the group.
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
            // The next checkpoint will sign the group, so the site's key must vouch for it.
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
        // The state has the cursors that the checkpoint covers. If the state is computed again, the
        // groups give the cursors.
        if is_sealed || (is_covered && self.begun_at == 0) {
            cursors.into_iter().for_each(|(name, next)| self.state.advance(name, next));
        }
        // The writer compares a retry with the sealed envelopes, so a forged key can only have one
        // refused.
        if is_sealed || is_covered {
            keys.into_iter().for_each(|used| self.append_keys.insert(used));
        }
        self.tree.append(extension).map_err(TakeError::Tree)
    }

    /// Takes a leaf of a group that ends before the leaf `end`. Returns the leaf's commitment.
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

    /// Whether the key that the log names as of this group vouches for the group.
    fn vouched(&self, group: &Group, extension: &Extension, trust: &Trust<'_>) -> Vouched {
        let (Some(mac), Some(named)) = (group.mac(), self.state.key()) else { return Vouched::No };
        // The root after a group that is already in the tree is not known, so its MAC cannot be
        // checked.
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

    /// Checks that every missing envelope was ordered to be erased, under the checkpoint. If
    /// someone removes an event of the log itself, no order covers that.
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

/// Whether the site's key made the MAC of a group.
enum Vouched {
    Yes,
    No,
    /// The log names this key, which is none of the site's, as of the group.
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

/// Why a log was not opened. Opening has changed nothing in it except derived files and a segment
/// without its header, which held nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// A file of the tree cannot be read or written.
    #[error("cannot use the tree files")]
    Tree(#[source] io::Error),
    /// The checkpoint is malformed, or none of the log's keys signed it.
    #[error("the checkpoint {} is not signed by this log's key", path.display())]
    Checkpoint {
        /// Path of the checkpoint.
        path: PathBuf,
        /// The error of opening it.
        source: OpenCheckpointError,
    },
    /// The log belongs to another key than the site's.
    #[error(
        "the log belongs to the key {named}: put back the file of that key, or name another directory"
    )]
    OtherKey {
        /// The verifier key that the log names.
        named: String,
    },
    /// Leaf 0 does not name the log's first key.
    #[error("the log's first leaf does not name its key: restore the log from a copy")]
    NoGenesis,
    /// An event of the log itself has invalid content.
    #[error("an event of the log contradicts the log: restore the log from a copy")]
    LogEvent(#[source] InvalidLogEvent),
    /// The folder of the segments contains another file.
    #[error("{} is not a segment: remove it from the folder", path.display())]
    ForeignFile {
        /// Path of the file.
        path: PathBuf,
    },
    /// A segment cannot be read where a crash cannot have torn it.
    #[error("{} is damaged at leaf {leaf}: {reason}; restore it from a copy", path.display())]
    Damaged {
        /// Path of the segment.
        path: PathBuf,
        /// First leaf that cannot be read.
        leaf: u64,
        /// What is wrong with the segment.
        reason: Damage,
    },
    /// A segment between two others is missing.
    #[error(
        "the segment that begins with leaf {leaf} is missing; the next segment begins with {found}: restore the missing one from a copy"
    )]
    Gap {
        /// First leaf of the missing segment.
        leaf: u64,
        /// First leaf of the segment after the gap.
        found: u64,
    },
    /// The segments end before the size that the checkpoint or the state states.
    #[error(
        "the checkpoint or the state has {size} leaves, but the segments hold only {leaves}: restore the segments from a copy"
    )]
    SegmentsMissing {
        /// Number of leaves in the segments.
        leaves: u64,
        /// Number of leaves that the segments must have.
        size: u64,
    },
    /// The envelopes do not lead to the root that the checkpoint signs.
    #[error(
        "the envelopes do not hash to the root that the checkpoint of {checkpoint_size} leaves signs: `sealwire verify` names the leaf"
    )]
    RootDiffers {
        /// Number of leaves that the checkpoint covers.
        checkpoint_size: u64,
    },
    /// An erasure that a crash interrupted cannot be finished.
    #[error("cannot finish an interrupted erasure")]
    Erase(#[source] crate::erase::EraseError),
    /// Leaves lie beyond the checkpoint without a valid MAC of the site's key. Only the site can
    /// have written such leaves, but it did not, or a version before 4 did.
    #[error(
        "leaf {leaf} and what follows it in {} lie beyond the checkpoint and have no MAC under \
         the site's key, so nothing shows that this site wrote them; if an older version of \
         sealwire was killed before an upgrade, start and stop that version once, or adopt the \
         leaves with `sealwire log adopt-tail`; if not, someone changed the file: restore it from \
         a copy", path.display()
    )]
    Unsealed {
        /// Path of the segment.
        path: PathBuf,
        /// First leaf without a valid MAC.
        leaf: u64,
    },
    /// The checkpoint is older than the one under which the state was stored.
    #[error(
        "the checkpoint covers {checkpoint} leaves, but the state was stored under a checkpoint \
         of {state}: someone replaced the checkpoint with an older one; put back the newest"
    )]
    SetBack {
        /// Number of leaves that the checkpoint covers.
        checkpoint: u64,
        /// Number of leaves that the newest checkpoint must cover.
        state: u64,
    },
    /// An envelope was erased, and no event below the checkpoint orders the erasure.
    #[error(
        "the envelope of leaf {leaf} was erased, but no event under the checkpoint orders it: restore its segment from a copy"
    )]
    ErasedInSilence {
        /// Leaf of the envelope.
        leaf: u64,
    },
    /// The first writes to the log failed.
    #[error("cannot create the log")]
    Begin(#[source] WriteError),
}
