//! Verifies a bundle: everything in it against its checkpoint, and the checkpoint against a key.
//!
//! A bundle that cannot be checked at all is an error. Any other fault is a [`BundleFault`], and
//! the check continues: a reader of a bundle wants to know which rows are still proved.

use std::{
    io::{self, BufRead, Read as _},
    ops::Range,
};

use key_history::{InvalidKeyEvents, InvalidKeys, KeyEvent, KeyHistory};
use model::{Envelope, SensorId, Timestamp, completeness::Completeness};
use tlog::{
    Checkpoint, Hash, InvalidHash, InvalidLeaves, LeafIndex, LeavesInTree, MultiproofError,
    OpenCheckpointError, TreeSize, VerifierKey, leaf_hash, verify_multiproof,
};

use super::{
    format::{End, GROUP_ROWS_MAX, Group, Header, LINE_BYTES_MAX, Line, Row, VERSION},
    selection::{order, shows_edge},
};
use crate::ranges::{InvalidRanges, LeafRanges};

/// The result of a check: what the bundle was checked against, and how much of it is proved.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    /// The checkpoint that proves the rows.
    pub checkpoint: Checkpoint,
    /// The signed note of the checkpoint, with all its signatures.
    pub note: String,
    /// The keys that have signed the log.
    pub keys: KeyHistory,
    /// The leaves of the span.
    pub span: Range<u64>,
    /// Rows received at this moment or later, if the selection has such a limit.
    pub from: Option<Timestamp>,
    /// Rows received before this moment, if the selection has such a limit.
    pub to: Option<Timestamp>,
    /// Rows of this sensor, if the selection has one.
    pub sensor: Option<SensorId>,
    /// Time of the export, as the bundle claims it. Nothing proves it.
    pub exported_at: Timestamp,
    /// Program that exported the bundle, as the bundle claims it. Nothing proves it.
    pub exported_by: String,
    /// Number of rows whose envelope is the one that was sealed at its leaf.
    pub proved: u64,
    /// Number of rows whose envelope was erased and whose leaf is proved.
    pub erased: u64,
    /// Number of leaves of the span without a row.
    pub not_shown: u64,
    /// Whether the polls of the sensors are complete, as far as the rows show.
    pub completeness: Completeness,
    /// Number of faults that were found.
    pub findings: u64,
}

/// A fault of a bundle.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BundleFault {
    /// An envelope is not the one that was sealed.
    #[error(
        "leaf {leaf} is changed: its envelope hashes to {commitment}, but the log's entry is {entry}"
    )]
    Changed {
        /// Leaf of the row.
        leaf: u64,
        /// The commitment of the row's envelope.
        commitment: Hash,
        /// The log's entry of the leaf.
        entry: Hash,
    },
    /// A row has the envelope of another leaf.
    #[error("leaf {leaf} is changed: its envelope belongs to leaf {of}")]
    Swapped {
        /// Leaf of the row.
        leaf: u64,
        /// Leaf that the envelope belongs to.
        of: u64,
    },
    /// Rows of these leaves are missing.
    #[error("{} missing", name(.0))]
    Missing(Range<u64>),
    /// A row is not of a leaf that its group names.
    #[error("leaf {leaf} is foreign: its group has no such leaf")]
    Foreign {
        /// Leaf of the row.
        leaf: u64,
    },
    /// A row is of another sensor than the selected one.
    #[error("leaf {leaf} is foreign: it is not about the sensor of this bundle")]
    OtherSensor {
        /// Leaf of the row.
        leaf: u64,
    },
    /// A leaf has two rows.
    #[error("leaf {leaf} is doubled")]
    Doubled {
        /// Leaf of the row.
        leaf: u64,
    },
    /// A row comes after a row of a later leaf.
    #[error("leaf {leaf} is out of order: it comes after a later leaf")]
    OutOfOrder {
        /// Leaf of the row.
        leaf: u64,
    },
    /// The proof of a group fails: the group is of another log, or was changed.
    #[error("{} not proved: {reason}", name(leaves))]
    NotProved {
        /// Range from the group's first leaf to its last.
        leaves: Range<u64>,
        /// Why the proof fails.
        reason: GroupFault,
    },
    /// Envelopes are said to be erased, and no event in the bundle orders that.
    #[error("{} marked as erased, but no event in the bundle orders it", name(.0))]
    ErasedInSilence(Range<u64>),
    /// The span does not show that it begins early enough.
    #[error("the span may begin too late: its first row was not received before {from}")]
    Begin {
        /// The moment at which the selection begins.
        from: Timestamp,
    },
    /// The span does not show that it ends late enough.
    #[error("the span may end too early: its last row was received before {to}")]
    End {
        /// The moment at which the selection ends.
        to: Timestamp,
    },
    /// A line is not a valid line of a bundle.
    #[error("line {line} is malformed: {reason}")]
    Line {
        /// Number of the line, counted from 1.
        line: u64,
        /// Why the line is not valid.
        reason: String,
    },
    /// The last line is missing.
    #[error("the bundle is cut off: its last line is missing")]
    CutOff,
    /// The last line states another count than the bundle has.
    #[error("the bundle claims {said} {what}, but has {counted}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The count that the last line states.
        said: u64,
        /// The actual count.
        counted: u64,
    },
}

/// Why the leaves of a group are not proved to be in the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GroupFault {
    /// The leaves are malformed.
    #[error(transparent)]
    Ranges(#[from] InvalidRanges),
    /// The group has more leaves than the format allows.
    #[error("{leaves} leaves are too many for a group: at most {GROUP_ROWS_MAX} are allowed")]
    TooMany {
        /// Number of leaves that the group names.
        leaves: u64,
    },
    /// The group's first leaf does not come after all leaves of the earlier groups.
    #[error("it does not come after the previous group")]
    Order,
    /// The leaves are not a valid set in the checkpoint's tree.
    #[error(transparent)]
    Leaves(#[from] InvalidLeaves),
    /// A hash is malformed.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
    /// The multiproof does not lead to the checkpoint's root.
    #[error(transparent)]
    Proof(#[from] MultiproofError),
}

fn name(leaves: &Range<u64>) -> String {
    match leaves.end.saturating_sub(leaves.start) {
        0 | 1 => format!("leaf {} is", leaves.start),
        count => format!("leaves {}-{} ({count}) are", leaves.start, leaves.end - 1),
    }
}

/// Verifies a bundle. If `vkey` is given, it must have signed the log; if not, the key that the
/// bundle's genesis entry names is trusted. Calls `report` with each fault.
///
/// # Errors
/// The file cannot be read or is not a bundle, or its checkpoint or keys are invalid. Then nothing
/// in it is proved.
pub fn verify_bundle(
    mut source: impl BufRead,
    vkey: Option<&VerifierKey>,
    report: &mut dyn FnMut(BundleFault),
) -> Result<VerifiedBundle, BundleError> {
    let mut bytes = Vec::new();
    let Read::Line = read_line(&mut source, &mut bytes)? else {
        return Err(BundleError::NotABundle { reason: String::from("it has no first line") });
    };
    let mut check = Check::open(&bytes, vkey, report)?;
    for line in 2.. {
        match read_line(&mut source, &mut bytes)? {
            Read::Line => check.line(line, &bytes),
            Read::TooLong => {
                check.not_a_line(line, format!("at most {LINE_BYTES_MAX} bytes are read"));
            }
            Read::End => break,
        }
    }
    Ok(check.finish())
}

enum Read {
    Line,
    TooLong,
    End,
}

/// Reads a line without its newline. Discards the rest of a line that is too long.
fn read_line(source: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<Read> {
    let limit = LINE_BYTES_MAX as u64 + 1;
    bytes.clear();
    if source.by_ref().take(limit).read_until(b'\n', bytes)? == 0 {
        return Ok(Read::End);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        return Ok(Read::Line);
    }
    if bytes.len() <= LINE_BYTES_MAX {
        return Ok(Read::Line);
    }
    while bytes.last() != Some(&b'\n') {
        bytes.clear();
        if source.by_ref().take(limit).read_until(b'\n', bytes)? == 0 {
            break;
        }
    }
    Ok(Read::TooLong)
}

/// The state of a check.
struct Check<'a> {
    bundle: VerifiedBundle,
    report: &'a mut dyn FnMut(BundleFault),
    group: Option<OpenGroup>,
    /// The leaf after the last leaf of all groups so far.
    after_groups: u64,
    /// The leaf of the span up to which the groups account for every leaf.
    covered: u64,
    counted: End,
    said: Option<End>,
    erased: LeafRanges,
    ordered: LeafRanges,
    /// Times at which the site received the span's first and last leaf.
    edges: [Option<Timestamp>; 2],
}

/// A group whose rows are being read.
struct OpenGroup {
    leaves: Vec<u64>,
    entries: Vec<Hash>,
    is_proved: bool,
    seen: Vec<bool>,
    last_seen: Option<usize>,
}

impl<'a> Check<'a> {
    fn open(
        line: &[u8],
        vkey: Option<&VerifierKey>,
        report: &'a mut dyn FnMut(BundleFault),
    ) -> Result<Self, BundleError> {
        let not_a_bundle = |reason: &str| BundleError::NotABundle { reason: reason.to_owned() };
        let header = match serde_json::from_slice(line) {
            Ok(Line::Header(header)) => header,
            Ok(_) => return Err(not_a_bundle("it does not begin with a header")),
            Err(error) => return Err(not_a_bundle(&error.to_string())),
        };
        if header.version != VERSION {
            return Err(BundleError::Version { version: header.version });
        }
        let (keys, checkpoint) = open_checkpoint(&header, vkey)?;
        let Header {
            checkpoint: note, first, end, from, to, sensor, exported_at, exported_by, ..
        } = header;
        if first > end || end > checkpoint.size.get() {
            return Err(BundleError::Span { first, end, size: checkpoint.size });
        }
        let bundle = VerifiedBundle {
            checkpoint,
            note,
            keys,
            span: first..end,
            from,
            to,
            sensor,
            exported_at,
            exported_by,
            proved: 0,
            erased: 0,
            not_shown: end - first,
            // A span from the beginning of the log must have a sensor's first poll, too.
            completeness: if first == 0 { Completeness::of_log() } else { Completeness::of_part() },
            findings: 0,
        };
        Ok(Self {
            bundle,
            report,
            group: None,
            after_groups: 0,
            covered: first,
            counted: End { groups: 0, rows: 0, erased: 0 },
            said: None,
            erased: LeafRanges::new(),
            ordered: LeafRanges::new(),
            edges: [None; 2],
        })
    }

    fn found(&mut self, finding: BundleFault) {
        self.bundle.findings += 1;
        (self.report)(finding);
    }

    fn not_a_line(&mut self, line: u64, reason: impl Into<String>) {
        self.found(BundleFault::Line { line, reason: reason.into() });
    }

    fn line(&mut self, number: u64, bytes: &[u8]) {
        let line = match serde_json::from_slice(bytes) {
            Ok(line) => line,
            Err(error) => return self.not_a_line(number, error.to_string()),
        };
        if self.said.is_some() {
            return self.not_a_line(number, "it comes after the end");
        }
        match line {
            Line::Header(_) => self.not_a_line(number, "it is a second header"),
            Line::Group(group) => self.group(&group),
            Line::Row(Row { leaf, envelope }) => self.row(leaf, Some(envelope.get().as_bytes())),
            Line::Erased(leaf) => self.row(leaf, None),
            Line::End(end) => self.said = Some(end),
        }
    }

    fn group(&mut self, group: &Group) {
        self.close_group();
        self.counted.groups += 1;
        let (leaves, entries) = match self.leaves_of(group) {
            Ok(group) => group,
            // The group's leaves are unknown, so each of its rows will be foreign.
            Err((leaves, reason)) => return self.found(BundleFault::NotProved { leaves, reason }),
        };
        let proved = prove(&self.bundle.checkpoint, leaves.leaves(), &entries, &group.proof);
        self.cover(&leaves);
        self.after_groups = leaves.end();
        let leaves: Vec<u64> = leaves.leaves().collect();
        let is_proved = proved.is_ok();
        if let Err(reason) = proved {
            let (first, last) = (leaves.first(), leaves.last());
            let leaves = first.copied().unwrap_or_default()..last.map_or(0, |last| last + 1);
            self.found(BundleFault::NotProved { leaves, reason });
        }
        let seen = vec![false; leaves.len()];
        self.group = Some(OpenGroup { leaves, entries, is_proved, seen, last_seen: None });
    }

    /// The leaves and entries of a group, if it is valid and comes after the group before it. If
    /// not, the error has the range of its leaves as far as it is known.
    fn leaves_of(
        &self,
        group: &Group,
    ) -> Result<(LeafRanges, Vec<Hash>), (Range<u64>, GroupFault)> {
        let leaves: LeafRanges =
            group.leaves.parse().map_err(|error| (0..0, GroupFault::from(error)))?;
        let first = leaves.iter().next().map_or(0, |range| range.start);
        let refused = |fault| (first..leaves.end(), fault);
        if leaves.count() > GROUP_ROWS_MAX as u64 {
            return Err(refused(GroupFault::TooMany { leaves: leaves.count() }));
        }
        if first < self.after_groups {
            return Err(refused(GroupFault::Order));
        }
        let entries: Result<Vec<Hash>, _> =
            group.entries.iter().map(|entry| Hash::from_base64(entry)).collect();
        match entries {
            Ok(entries) if entries.len() as u64 == leaves.count() => Ok((leaves, entries)),
            Ok(entries) => {
                let expected_len = usize::try_from(leaves.count()).unwrap_or(usize::MAX);
                let len = entries.len();
                Err(refused(MultiproofError::Leaves { expected_len, len }.into()))
            }
            Err(error) => Err(refused(error.into())),
        }
    }

    /// Notes how far the groups account for the span, and reports skipped leaves in a bundle of all
    /// events.
    fn cover(&mut self, leaves: &LeafRanges) {
        let span = self.bundle.span.clone();
        for range in leaves.iter() {
            let (begin, end) = (range.start.min(span.end), range.end.min(span.end));
            if self.bundle.sensor.is_none() && begin > self.covered {
                self.found(BundleFault::Missing(self.covered..begin));
            }
            self.covered = self.covered.max(end);
        }
    }

    fn row(&mut self, leaf: u64, envelope: Option<&[u8]>) {
        match envelope {
            Some(_) => self.counted.rows += 1,
            None => self.counted.erased += 1,
        }
        let group = self.group.as_mut();
        let Some((group, position)) = group.and_then(|group| {
            let position = group.leaves.binary_search(&leaf).ok()?;
            Some((group, position))
        }) else {
            return self.found(BundleFault::Foreign { leaf });
        };
        let entry = group.entries.get(position).copied();
        let was_seen =
            group.seen.get_mut(position).is_some_and(|seen| std::mem::replace(seen, true));
        let is_late = group.last_seen.is_some_and(|last| position < last);
        group.last_seen = group.last_seen.max(Some(position));
        if was_seen {
            return self.found(BundleFault::Doubled { leaf });
        }
        let is_proved = group.is_proved;
        let change =
            envelope.zip(entry).and_then(|(envelope, entry)| group.change(leaf, envelope, entry));
        if self.bundle.span.contains(&leaf) {
            self.bundle.not_shown -= 1;
        }
        if is_late {
            self.found(BundleFault::OutOfOrder { leaf });
        }
        match (change, envelope) {
            (Some(change), _) => self.found(change),
            (None, None) => {
                if is_proved {
                    self.bundle.erased += 1;
                    self.bundle.completeness.take_erased();
                }
                // A row that is out of order was reported already.
                self.erased.push(leaf);
            }
            (None, Some(envelope)) if is_proved => self.proved(leaf, envelope),
            // The row matches its group, and the fault of the group was reported already.
            (None, Some(_)) => {}
        }
    }

    /// Takes a proved row into the result.
    fn proved(&mut self, leaf: u64, envelope: &[u8]) {
        let bundle = &mut self.bundle;
        bundle.proved += 1;
        let edges = [bundle.span.start, bundle.span.end.saturating_sub(1)];
        for (edge, at) in edges.into_iter().zip(&mut self.edges) {
            if edge == leaf && shows_edge(envelope, bundle.sensor) {
                *at = Envelope::received_at_of(envelope).and_then(|at| at.parse().ok());
            }
        }
        let event = Envelope::parse(envelope).ok().map(|envelope| envelope.event);
        if let Some(event) = &event {
            bundle.completeness.take(leaf, event);
        }
        if let Some(order) = order(envelope) {
            // The leaves that an order erases come before the order, and so do the rows that are
            // said to be erased.
            if order.iter().any(|range| self.erased.overlap(range)) {
                self.ordered = self.ordered.union(&order);
            }
        } else if bundle.sensor.is_some() && event.and_then(|event| event.sensor()) != bundle.sensor
        {
            self.found(BundleFault::OtherSensor { leaf });
        }
    }

    fn close_group(&mut self) {
        let Some(OpenGroup { leaves, seen, .. }) = self.group.take() else { return };
        let missing = leaves.into_iter().zip(seen).filter(|(_, seen)| !seen).map(|(leaf, _)| leaf);
        for range in LeafRanges::from_leaves(missing.collect()).iter() {
            self.found(BundleFault::Missing(range.clone()));
        }
    }

    fn finish(mut self) -> VerifiedBundle {
        self.close_group();
        let span = self.bundle.span.clone();
        if self.bundle.sensor.is_none() && self.covered < span.end {
            self.found(BundleFault::Missing(self.covered..span.end));
        }
        self.check_edges(&span);
        let silent = self.erased.leaves().filter(|leaf| !self.ordered.contains(*leaf)).collect();
        for range in LeafRanges::from_leaves(silent).iter() {
            self.found(BundleFault::ErasedInSilence(range.clone()));
        }
        self.check_counts();
        self.bundle
    }

    /// If the span was cut at a moment, checks that a row on the other side of the moment shows
    /// that nothing is left out.
    fn check_edges(&mut self, span: &Range<u64>) {
        let [first, last] = self.edges;
        if let Some(from) = self.bundle.from
            && span.start > 0
            && first.is_none_or(|first| first >= from)
        {
            self.found(BundleFault::Begin { from });
        }
        if let Some(to) = self.bundle.to
            && span.end < self.bundle.checkpoint.size.get()
            && last.is_none_or(|last| last < to)
        {
            self.found(BundleFault::End { to });
        }
    }

    fn check_counts(&mut self) {
        let Some(said) = self.said.take() else { return self.found(BundleFault::CutOff) };
        let End { groups, rows, erased } = self.counted;
        for (what, said, counted) in [
            ("groups", said.groups, groups),
            ("rows", said.rows, rows),
            ("rows that were erased", said.erased, erased),
        ] {
            if said != counted {
                self.found(BundleFault::Count { what, said, counted });
            }
        }
    }
}

impl OpenGroup {
    /// How an envelope differs from the sealed one; `None` if it does not.
    fn change(&self, leaf: u64, envelope: &[u8], entry: Hash) -> Option<BundleFault> {
        let commitment = Hash::sha256(envelope);
        if commitment == entry {
            return None;
        }
        let whose = self.entries.iter().position(|other| *other == commitment);
        let whose = whose.and_then(|at| self.leaves.get(at));
        Some(match whose {
            Some(of) => BundleFault::Swapped { leaf, of: *of },
            None => BundleFault::Changed { leaf, commitment, entry },
        })
    }
}

/// Opens the bundle's checkpoint with the keys that its key events name, and proves the key events.
fn open_checkpoint(
    header: &Header<'_>,
    vkey: Option<&VerifierKey>,
) -> Result<(KeyHistory, Checkpoint), BundleError> {
    let events = header
        .keys
        .iter()
        .map(|row| KeyEvent { leaf: row.leaf, envelope: row.envelope.get().as_bytes().to_vec() });
    let events: Vec<KeyEvent> = events.collect();
    let (keys, checkpoint) = KeyHistory::under(&header.checkpoint, &events, vkey)?;
    let leaves = events.iter().map(|event| event.leaf);
    let entries: Vec<Hash> = events.iter().map(|event| Hash::sha256(&event.envelope)).collect();
    prove(&checkpoint, leaves, &entries, &header.keys_proof).map_err(BundleError::KeysProof)?;
    Ok((keys, checkpoint))
}

/// Proves that the log has these entries at these leaves.
fn prove(
    checkpoint: &Checkpoint,
    leaves: impl Iterator<Item = u64>,
    entries: &[Hash],
    proof: &[String],
) -> Result<(), GroupFault> {
    let leaves = LeavesInTree::new(checkpoint.size, leaves.map(LeafIndex::new))?;
    let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
    let proof: Vec<Hash> =
        proof.iter().map(|hash| Hash::from_base64(hash)).collect::<Result<_, _>>()?;
    Ok(verify_multiproof(&leaves, &hashes, &proof, &checkpoint.root)?)
}

impl From<InvalidKeys> for BundleError {
    fn from(error: InvalidKeys) -> Self {
        match error {
            InvalidKeys::Events(error) => Self::Keys(error),
            InvalidKeys::Checkpoint(error) => Self::Checkpoint(error),
        }
    }
}

/// Why nothing in a bundle is proved.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read.
    #[error("cannot read the bundle")]
    Io(#[from] io::Error),
    /// The file is not an evidence bundle.
    #[error("this is not an evidence bundle: {reason}")]
    NotABundle {
        /// Why it is not one.
        reason: String,
    },
    /// The bundle has another format version.
    #[error("the bundle has version {version}, but this sealwire reads version {VERSION}")]
    Version {
        /// The bundle's version.
        version: u32,
    },
    /// The span is not within the checkpoint.
    #[error(
        "the bundle covers the leaves from {first} up to {end}, but its checkpoint covers only {size}"
    )]
    Span {
        /// First leaf of the span.
        first: u64,
        /// The leaf after the span's last leaf.
        end: u64,
        /// Number of leaves that the checkpoint covers.
        size: TreeSize,
    },
    /// The events that name the log's keys are not a valid sequence.
    #[error("the bundle's keys do not verify")]
    Keys(#[from] InvalidKeyEvents),
    /// The key of the log did not sign the checkpoint.
    #[error("the bundle's checkpoint does not verify")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The proof of the key events fails.
    #[error("the events that name the keys are not in the log")]
    KeysProof(#[source] GroupFault),
}
