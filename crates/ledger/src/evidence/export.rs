//! Writes a bundle.

use std::io::{self, Write};

use model::{Envelope, Timestamp, action};
use serde_json::value::RawValue;
use tlog::{Hash, InvalidLeaves, LeafIndex, LeavesInTree, TreeSize};

use super::{
    format::{
        End, GROUP_BYTES_FULL, GROUP_ROWS_MAX, Group, Header, LINE_BYTES_MAX, Line, Row, VERSION,
    },
    selection::{Bound, Selection, last_before, next_from, order, shows_edge},
};
use crate::{ranges::LeafRanges, reader::LogReader, stored::ReadError};

/// Most envelopes in one read, so that memory stays bounded.
const READ_LEAVES: usize = 4_096;
/// Most bytes of envelopes in one read.
const READ_BYTES: usize = 4 << 20;

/// The result of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exported {
    /// First leaf of the span.
    pub first: u64,
    /// The leaf after the span's last leaf.
    pub end: u64,
    /// Number of rows with an envelope.
    pub rows: u64,
    /// Number of rows whose envelope was erased.
    pub erased: u64,
}

/// Writes the selected rows as a bundle. `by` names the program that exports. Calls `progress` with
/// the number of leaves read.
///
/// # Errors
/// The log has no such span, a file cannot be read, or `out` cannot be written.
pub fn export(
    log: &LogReader,
    selection: &Selection,
    at: Timestamp,
    by: &str,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, ExportError> {
    let (first, end) = span(log, selection)?;
    let mut export = Export {
        log,
        selection,
        out,
        group: Vec::new(),
        group_bytes: 0,
        erased: LeafRanges::new(),
        ordered: LeafRanges::new(),
        written: End { groups: 0, rows: 0, erased: 0 },
    };
    export.header(first, end, at, by)?;
    export.each(first, end, progress, |export, row| {
        if export.is_asked_for(row.envelope.as_deref()) { export.push(row) } else { Ok(()) }
    })?;
    export.orders(end, progress)?;
    export.flush()?;
    let Export { out, written: End { groups, rows, erased }, .. } = export;
    write_line(out, &Line::End(End { groups, rows, erased }))?;
    Ok(Exported { first, end, rows, erased })
}

/// The leaves of the span. If the selection cuts the span at a moment, the span extends to the
/// nearest envelope on the other side that shows that nothing is missing up to it, or, if there is
/// none, to the beginning or the end of the log.
fn span(log: &LogReader, selection: &Selection) -> Result<(u64, u64), ExportError> {
    let size = log.size();
    let covered = |bound: Option<Bound>, last: u64| match bound {
        Some(Bound::Leaf(leaf)) if leaf > last => Err(ExportError::NotCovered { leaf, size }),
        _ => Ok(()),
    };
    covered(selection.from, size.saturating_sub(1))?;
    covered(selection.to, size)?;
    let [from, to] = [selection.from, selection.to].map(|bound| bound.and_then(Bound::moment));
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(ExportError::BackInTime { from, to });
    }
    let mut first = selection.from.map_or(Ok(0), |from| from.leaf(log))?;
    let mut end = selection.to.map_or(Ok(size), |to| to.leaf(log))?;
    if first > end {
        return Err(ExportError::Backwards { first, end });
    }
    let shows_edge = |envelope: &[u8]| shows_edge(envelope, selection.sensor);
    if from.is_some() {
        first = last_before(log, first, shows_edge)?.unwrap_or(0);
    }
    if to.is_some() {
        end = next_from(log, end, size, shows_edge)?.map_or(size, |leaf| leaf + 1);
    }
    Ok((first, end))
}

/// A row that goes into a bundle.
struct Taken {
    leaf: u64,
    entry: Hash,
    envelope: Option<Vec<u8>>,
}

struct Export<'a, W> {
    log: &'a LogReader,
    selection: &'a Selection,
    out: &'a mut W,
    group: Vec<Taken>,
    group_bytes: usize,
    /// Leaves of the rows without an envelope.
    erased: LeafRanges,
    /// Leaves that the written rows order to be erased, from orders that concern `erased`.
    ordered: LeafRanges,
    written: End,
}

impl<W: Write> Export<'_, W> {
    fn header(
        &mut self,
        first: u64,
        end: u64,
        exported_at: Timestamp,
        by: &str,
    ) -> Result<(), ExportError> {
        let events = self.log.key_events();
        let keys = events.iter().map(|event| row(event.leaf, &event.envelope));
        let moment = |bound: Option<Bound>| bound.and_then(Bound::moment);
        let header = Header {
            version: VERSION,
            checkpoint: self.log.published().note.clone(),
            keys: keys.collect::<Result<_, _>>()?,
            keys_proof: self.prove(events.iter().map(|event| event.leaf))?,
            first,
            end,
            from: moment(self.selection.from),
            to: moment(self.selection.to),
            sensor: self.selection.sensor,
            exported_at,
            exported_by: by.to_owned(),
        };
        write_line(self.out, &Line::Header(header))
    }

    fn prove(&self, leaves: impl Iterator<Item = u64>) -> Result<Vec<String>, ExportError> {
        let size = TreeSize::new(self.log.size());
        let leaves = LeavesInTree::new(size, leaves.map(LeafIndex::new))?;
        Ok(self.log.prove_all(&leaves)?.iter().map(Hash::to_base64).collect())
    }

    /// Calls `take` with the leaves from `from` up to `end`.
    fn each(
        &mut self,
        from: u64,
        end: u64,
        progress: &mut dyn FnMut(u64),
        mut take: impl FnMut(&mut Self, Taken) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let mut next_leaf = from;
        while next_leaf < end {
            let count = usize::try_from(end - next_leaf).unwrap_or(READ_LEAVES).min(READ_LEAVES);
            let envelopes = self.log.envelopes(next_leaf, count, READ_BYTES)?;
            let entries = self.log.entries(next_leaf, envelopes.len())?;
            for (stored, entry) in envelopes.into_iter().zip(entries) {
                take(self, Taken { leaf: stored.leaf, entry, envelope: stored.bytes })?;
                next_leaf = stored.leaf + 1;
            }
            progress(next_leaf - from);
        }
        Ok(())
    }

    /// Whether a row belongs to the bundle. Nobody knows any more which sensor an erased envelope
    /// was from, so it belongs to every selection, and so do the orders of erasures.
    fn is_asked_for(&self, envelope: Option<&[u8]>) -> bool {
        let (Some(sensor), Some(envelope)) = (self.selection.sensor, envelope) else { return true };
        let id = sensor.to_string();
        let is_there = || envelope.windows(id.len()).any(|window| window == id.as_bytes());
        let is_of_it =
            || Envelope::parse(envelope).is_ok_and(|it| it.event.sensor() == Some(sensor));
        Envelope::has_action(envelope, action::ENVELOPES_ERASED) || (is_there() && is_of_it())
    }

    fn push(&mut self, row: Taken) -> Result<(), ExportError> {
        match &row.envelope {
            Some(envelope) => {
                self.group_bytes += envelope.len();
                self.note_order(envelope);
            }
            None => self.erased.push(row.leaf),
        }
        self.group.push(row);
        if self.group.len() >= GROUP_ROWS_MAX || self.group_bytes >= GROUP_BYTES_FULL {
            self.flush()?;
        }
        Ok(())
    }

    fn note_order(&mut self, envelope: &[u8]) {
        if let Some(order) = order(envelope)
            && order.iter().any(|range| self.erased.overlap(range))
        {
            self.ordered = self.ordered.union(&order);
        }
    }

    /// Adds the events after the span that ordered the erasures in the span.
    fn orders(&mut self, end: u64, progress: &mut dyn FnMut(u64)) -> Result<(), ExportError> {
        if self.unordered().is_none() {
            return Ok(());
        }
        self.each(end, self.log.size(), progress, |export, row| {
            let order = row.envelope.as_deref().and_then(order);
            let is_of_ours =
                |order: LeafRanges| order.iter().any(|range| export.erased.overlap(range));
            if order.is_some_and(is_of_ours) { export.push(row) } else { Ok(()) }
        })?;
        self.unordered().map_or(Ok(()), |leaf| Err(ExportError::NotOrderedYet { leaf }))
    }

    /// The first erased leaf whose order no row has.
    fn unordered(&self) -> Option<u64> {
        self.erased.leaves().find(|leaf| !self.ordered.contains(*leaf))
    }

    /// Writes the rows gathered so far as a group.
    fn flush(&mut self) -> Result<(), ExportError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        let leaves = LeafRanges::from_leaves(group.iter().map(|row| row.leaf).collect());
        let entries = group.iter().map(|row| row.entry.to_base64()).collect();
        let proof = self.prove(group.iter().map(|row| row.leaf))?;
        let line = Line::Group(Group { leaves: leaves.to_string(), entries, proof });
        write_line(self.out, &line)?;
        self.written.groups += 1;
        for Taken { leaf, envelope, .. } in &group {
            match envelope {
                Some(envelope) => {
                    write_line(self.out, &Line::Row(row(*leaf, envelope)?))?;
                    self.written.rows += 1;
                }
                None => {
                    write_line(self.out, &Line::Erased(*leaf))?;
                    self.written.erased += 1;
                }
            }
        }
        Ok(())
    }
}

fn row(leaf: u64, envelope: &[u8]) -> Result<Row<'_>, ExportError> {
    let envelope: &RawValue =
        serde_json::from_slice(envelope).map_err(|source| ExportError::NotJson { leaf, source })?;
    Ok(Row { leaf, envelope })
}

fn write_line(out: &mut impl Write, line: &Line<'_>) -> Result<(), ExportError> {
    let mut bytes =
        serde_json::to_vec(line).map_err(io::Error::other).map_err(ExportError::Write)?;
    if bytes.len() > LINE_BYTES_MAX {
        return Err(ExportError::Line { bytes: bytes.len() });
    }
    bytes.push(b'\n');
    out.write_all(&bytes).map_err(ExportError::Write)
}

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The span ends before it begins.
    #[error(
        "the span begins at leaf {first} but ends before leaf {end}: choose a begin before the end"
    )]
    Backwards {
        /// First leaf of the span.
        first: u64,
        /// The leaf after the span's last leaf.
        end: u64,
    },
    /// The span ends before it begins, given as moments.
    #[error("the span begins at {from} but ends before {to}: choose a begin before the end")]
    BackInTime {
        /// Beginning of the span.
        from: Timestamp,
        /// End of the span.
        to: Timestamp,
    },
    /// The checkpoint does not cover a leaf of the selection.
    #[error(
        "no checkpoint covers leaf {leaf} yet: the newest covers {size} leaves, counting from 0"
    )]
    NotCovered {
        /// The leaf that was asked for.
        leaf: u64,
        /// Number of leaves that the checkpoint covers.
        size: u64,
    },
    /// The log cannot be read.
    #[error("cannot read the log")]
    Read(#[from] ReadError),
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Write(#[source] io::Error),
    /// An envelope was erased, and the checkpoint does not cover the order yet.
    #[error(
        "leaf {leaf} was erased, but the checkpoint does not cover the order yet: export again after the next checkpoint (`sealwire log checkpoint`)"
    )]
    NotOrderedYet {
        /// Leaf of the envelope.
        leaf: u64,
    },
    /// A line is longer than readers accept.
    #[error(
        "a line of the bundle would have {bytes} bytes, but at most {LINE_BYTES_MAX} are allowed"
    )]
    Line {
        /// Length of the line in bytes.
        bytes: usize,
    },
    /// An envelope is not JSON.
    #[error("the envelope of leaf {leaf} is not JSON")]
    NotJson {
        /// Leaf of the envelope.
        leaf: u64,
        /// The parse error.
        source: serde_json::Error,
    },
    /// The leaves are not a valid set for one proof.
    #[error("cannot prove the leaves")]
    Leaves(#[from] InvalidLeaves),
}
