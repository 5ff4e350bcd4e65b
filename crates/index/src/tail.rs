//! The writer's part of the postings: it gathers the newest leaves, makes runs of them, and merges
//! the runs of complete chunks.
//!
//! The terms of a batch are written leaf by leaf, because sorting them in with others would rewrite
//! much of the file. A batch that makes them enough makes a run of them. Merging a chunk goes in
//! steps, one with each batch and in its transaction, so that no batch waits for all of it. Readers
//! read the former runs until the last step. If the program ends in between, what the steps have
//! written is deleted, and the merging begins anew.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::{
    chunk,
    codec::{self, Bytes},
    dictionary::{EVERY, TermKey},
    error::damaged,
    run::{self, Cursor, Number},
    set::Set,
};

/// Leaves with which a batch ends a run. A search reads a row of each run for each of its terms,
/// and all of the leaves that are in none: half as many, on average.
const RUN_LEAVES: usize = 2_048;
/// Pairs of a term and a leaf with which a batch ends a run that has fewer leaves: 2 MB in memory.
const RUN_PAIRS: usize = 256 << 10;
/// Runs of an incomplete chunk with which it is merged early, twice as many as chunks of readings
/// have. The merging holds a row of each in memory.
const RUNS_MAX: u64 = 64;
/// Pairs that each batch merges at least, and for each pair of its own. A chunk is merged before
/// the next one is complete.
const MERGED_MIN: usize = 2_048;
const MERGED_OF_EACH: usize = 2;
/// Number of pairs that are merged in the time in which a run is deleted.
const DELETED: usize = 2_048;
/// Bytes at which a part of the tail is full and the next one begins. The last part is rewritten
/// with every batch, so it mostly fits into one page of the file.
const PART_BYTES_FULL: usize = 3 << 10;

/// A term and the place of a leaf with that term, packed into one number that sorts by term.
type Pair = u64;

fn pair(term: TermKey, place: u16) -> Pair {
    u64::from(term) << 16 | u64::from(place)
}

#[expect(clippy::cast_possible_truncation, reason = "a pair has its parts in 32 and in 16 bits")]
const fn parts(pair: Pair) -> (TermKey, u16) {
    ((pair >> 16) as TermKey, pair as u16)
}

/// What the writer holds in memory of the postings.
#[derive(Debug)]
pub(crate) struct Tail {
    chunk: u64,
    /// The terms of the leaves that are in no run yet, in the order of the leaves.
    pairs: Vec<Pair>,
    /// Number of these leaves.
    leaves: usize,
    /// Number of the pairs that are in the file.
    written: usize,
    /// Number and bytes of the last part in the file, while it is not full.
    part: (u64, Vec<u8>),
    merger: Merger,
}

impl Tail {
    /// Loads the tail of an index whose next leaf is `next_leaf`.
    pub(crate) fn load(connection: &Connection, next_leaf: u64) -> rusqlite::Result<Self> {
        let chunk = chunk::of(next_leaf);
        let (mut part, mut pairs) = ((0, Vec::new()), Vec::new());
        read(connection, chunk, |number, bytes| {
            decode(bytes, |place, term| pairs.push(pair(term, place)))?;
            part = (number, bytes.to_owned());
            Some(())
        })?;
        let leaves = pairs.iter().filter(|pair| parts(**pair).0 == EVERY).count();
        let written = pairs.len();
        Ok(Self { chunk, pairs, leaves, written, part, merger: Merger::load(connection)? })
    }

    /// Appends a leaf with its terms.
    pub(crate) fn push(&mut self, leaf: u64, terms: impl IntoIterator<Item = TermKey>) {
        let place = chunk::place_of(leaf);
        self.pairs.extend(terms.into_iter().chain([EVERY]).map(|term| pair(term, place)));
        self.leaves += 1;
    }

    /// Moves on to the next leaf, after the one before it was pushed or had no terms. If the chunk
    /// is complete, its last run ends.
    pub(crate) fn go_on(
        &mut self,
        connection: &Connection,
        next_leaf: u64,
    ) -> rusqlite::Result<()> {
        let chunk = chunk::of(next_leaf);
        if chunk != self.chunk {
            self.end_run(connection)?;
            self.chunk = chunk;
        }
        Ok(())
    }

    /// Makes a run of the leaves that are in none.
    fn end_run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.sort_unstable();
        pairs.dedup();
        let mut writer = run::Writer::begin(connection)?;
        let mut places = Vec::new();
        for posting in pairs.chunk_by(|a, b| parts(*a).0 == parts(*b).0) {
            let Some((term, _)) = posting.first().map(|pair| parts(*pair)) else { continue };
            places.clear();
            places.extend(posting.iter().map(|pair| parts(*pair).1));
            writer.push(connection, term, &places)?;
        }
        writer.finish(connection, self.chunk)?;
        *self.merger.runs.entry(self.chunk).or_default() += 1;
        self.clear(connection)
    }

    fn clear(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.written > 0 {
            connection.execute("DELETE FROM tail", [])?;
        }
        self.pairs = Vec::new();
        (self.leaves, self.written, self.part) = (0, 0, (0, Vec::new()));
        Ok(())
    }

    /// Writes the pushed leaves, which are those of a batch with so many pairs, and merges older
    /// ones. Call it before the transaction ends.
    pub(crate) fn write(&mut self, connection: &Connection, pairs: usize) -> rusqlite::Result<()> {
        if self.leaves >= RUN_LEAVES || self.pairs.len() >= RUN_PAIRS {
            self.end_run(connection)?;
        } else {
            self.write_parts(connection)?;
        }
        self.merger.go_on(connection, self.chunk, MERGED_MIN.max(pairs * MERGED_OF_EACH))
    }

    fn write_parts(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let new = self.pairs.get(self.written..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        let (number, bytes) = &mut self.part;
        for of_leaf in new.chunk_by(|a, b| parts(*a).1 == parts(*b).1) {
            encode(of_leaf, bytes);
            if bytes.len() >= PART_BYTES_FULL {
                write_part(connection, *number, bytes)?;
                *number += 1;
                bytes.clear();
            }
        }
        self.written = self.pairs.len();
        write_part(connection, *number, bytes)
    }

    /// Removes leaves of a chunk that are in no run. Returns the terms that they had.
    pub(crate) fn remove(
        &mut self,
        connection: &Connection,
        chunk: u64,
        leaves: &Set,
    ) -> rusqlite::Result<Vec<TermKey>> {
        let is_removed = |pair: &Pair| leaves.contains(parts(*pair).1);
        if chunk != self.chunk || !self.pairs.iter().any(is_removed) {
            return Ok(Vec::new());
        }
        let (removed, left): (Vec<Pair>, Vec<Pair>) =
            std::mem::take(&mut self.pairs).into_iter().partition(is_removed);
        self.clear(connection)?;
        self.leaves = left.iter().filter(|pair| parts(**pair).0 == EVERY).count();
        self.pairs = left;
        self.write_parts(connection)?;
        Ok(removed.into_iter().map(|pair| parts(pair).0).collect())
    }

    /// Deletes what merging has written, and what it has replaced. It begins anew with the next
    /// batch.
    pub(crate) fn stop_merging(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.merger.merge = None;
        self.merger.aside.clear();
        for number in run::aside(connection)? {
            run::delete(connection, number)?;
        }
        Ok(())
    }

    /// Calls `visit` with each term of the leaves that are in no run.
    pub(crate) fn each_term(&self, visit: impl FnMut(TermKey)) {
        self.pairs.iter().map(|pair| parts(*pair).0).for_each(visit);
    }
}

/// Merges the runs of each complete chunk.
#[derive(Debug)]
struct Merger {
    /// Number of runs of each chunk that may have to be merged.
    runs: BTreeMap<u64, u64>,
    merge: Option<Merge>,
    /// Runs that are set aside and are to be deleted.
    aside: Vec<Number>,
}

/// The merging of a chunk's runs into one, in progress.
#[derive(Debug)]
struct Merge {
    chunk: u64,
    /// The last of the runs.
    last: Number,
    from: Vec<Cursor>,
    into: run::Writer,
    places: Vec<u16>,
}

impl Merger {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut runs = run::counts(connection)?;
        // The last chunk may get more.
        let last = runs.pop();
        runs.retain(|(_, count)| *count > 1);
        let runs = runs.into_iter().chain(last).collect();
        Ok(Self { runs, merge: None, aside: run::aside(connection)? })
    }

    /// Merges about so many pairs, if there is something to merge. `newest` is the chunk that is
    /// not complete.
    fn go_on(
        &mut self,
        connection: &Connection,
        newest: u64,
        mut pairs: usize,
    ) -> rusqlite::Result<()> {
        while pairs > 0 {
            if let Some(number) = self.aside.pop() {
                run::delete(connection, number)?;
                pairs = pairs.saturating_sub(DELETED);
                continue;
            }
            let mut merge = match self.merge.take() {
                Some(merge) => merge,
                None => match self.due(newest) {
                    Some(chunk) => Merge::begin(connection, chunk)?,
                    None => return Ok(()),
                },
            };
            if !merge.step(connection, &mut pairs)? {
                self.merge = Some(merge);
                continue;
            }
            // The one into which they were merged takes the place of one of them.
            let merged = merge.from.len().saturating_sub(1) as u64;
            if let Some(runs) = self.runs.get_mut(&merge.chunk) {
                *runs = runs.saturating_sub(merged);
            }
            merge.finish(connection)?;
            self.aside = run::aside(connection)?;
        }
        Ok(())
    }

    /// The oldest chunk whose runs are to be merged.
    fn due(&mut self, newest: u64) -> Option<u64> {
        self.runs.retain(|chunk, runs| *chunk >= newest || *runs > 1);
        let is_due = |(chunk, runs): &(&u64, &u64)| **chunk < newest || **runs >= RUNS_MAX;
        self.runs.iter().find(is_due).map(|(chunk, _)| *chunk)
    }
}

impl Merge {
    fn begin(connection: &Connection, chunk: u64) -> rusqlite::Result<Self> {
        let runs = run::of_chunk(connection, chunk)?;
        let from = runs.iter().map(|run| Cursor::begin(connection, run.number));
        let from = from.collect::<rusqlite::Result<_>>()?;
        let last = runs.last().map_or(0, |run| run.number);
        let into = run::Writer::begin(connection)?;
        Ok(Self { chunk, last, from, into, places: Vec::new() })
    }

    /// Merges the next terms, with about so many pairs. Returns whether it has merged all.
    fn step(&mut self, connection: &Connection, pairs: &mut usize) -> rusqlite::Result<bool> {
        while *pairs > 0 {
            let Some(term) = self.from.iter().filter_map(Cursor::term).min() else {
                return Ok(true);
            };
            self.places.clear();
            for cursor in self.from.iter_mut().filter(|cursor| cursor.term() == Some(term)) {
                cursor.take(connection, &mut self.places)?;
            }
            // Their order is that of the runs, unless an incomplete chunk was merged early.
            self.places.sort_unstable();
            self.into.push(connection, term, &self.places)?;
            *pairs = pairs.saturating_sub(self.places.len());
        }
        Ok(false)
    }

    fn finish(self, connection: &Connection) -> rusqlite::Result<()> {
        run::set_aside(connection, self.chunk, self.last)?;
        self.into.finish(connection, self.chunk)
    }
}

fn write_part(connection: &Connection, number: u64, bytes: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO tail VALUES (?1, ?2)")?
        .execute((number.cast_signed(), bytes))?;
    Ok(())
}

/// Appends a leaf: its place, the number of its terms, and the terms.
fn encode(of_leaf: &[Pair], bytes: &mut Vec<u8>) {
    let place = of_leaf.first().map_or(0, |pair| parts(*pair).1);
    codec::put(bytes, u64::from(place));
    codec::put(bytes, of_leaf.len() as u64);
    for pair in of_leaf {
        codec::put(bytes, u64::from(parts(*pair).0));
    }
}

fn decode(bytes: &[u8], mut visit: impl FnMut(u16, TermKey)) -> Option<()> {
    let mut bytes = Bytes(bytes);
    while !bytes.is_empty() {
        let place = bytes.number()?.try_into().ok()?;
        for _ in 0..bytes.number()? {
            visit(place, bytes.number()?.try_into().ok()?);
        }
    }
    Some(())
}

/// Calls `visit` with each part of the tail, in order. Only the incomplete chunk has a tail.
fn read(
    connection: &Connection,
    chunk: u64,
    mut visit: impl FnMut(u64, &[u8]) -> Option<()>,
) -> rusqlite::Result<()> {
    let next_leaf: i64 =
        connection.prepare_cached("SELECT next_leaf FROM log")?.query_row([], |row| row.get(0))?;
    if chunk::of(next_leaf.cast_unsigned()) != chunk {
        return Ok(());
    }
    let mut select = connection.prepare_cached("SELECT part, leaves FROM tail ORDER BY part")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        visit(number.cast_unsigned(), row.get_ref(1)?.as_blob()?)
            .ok_or_else(|| damaged("the tail of the postings"))?;
    }
    Ok(())
}

/// Calls `visit` with each leaf of the tail and each of its terms. The leaf is given by its place
/// in the incomplete chunk.
pub(crate) fn each(
    connection: &Connection,
    chunk: u64,
    mut visit: impl FnMut(u16, TermKey),
) -> rusqlite::Result<()> {
    read(connection, chunk, |_, bytes| decode(bytes, &mut visit))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{postings, schema};

    type Postings = BTreeSet<(u64, TermKey)>;

    fn terms_of(leaf: u64) -> [TermKey; 4] {
        [1 + leaf % 7, 100 + leaf % 5_000, 10_000 + leaf / 3, 100 + leaf % 5_000]
            .map(|term| u32::try_from(term).unwrap())
    }

    /// The writer of an index, and what it should hold.
    struct Written {
        connection: Connection,
        tail: Tail,
        next_leaf: u64,
        expected: Postings,
    }

    impl Written {
        fn begin(file: &std::path::Path) -> Self {
            let log = model::LogId::from_sha256([1; 32]);
            let connection = schema::open(file, log, |_| Ok(None)).unwrap();
            let tail = Tail::load(&connection, 0).unwrap();
            Self { connection, tail, next_leaf: 0, expected: Postings::new() }
        }

        fn apply(&mut self, leaves: u64) {
            let begun = self.connection.unchecked_transaction().unwrap();
            let end = self.next_leaf + leaves;
            for leaf in self.next_leaf..end {
                let terms = terms_of(leaf);
                self.tail.push(leaf, terms);
                self.tail.go_on(&begun, leaf + 1).unwrap();
                self.expected.extend(terms.into_iter().chain([EVERY]).map(|term| (leaf, term)));
            }
            begun.execute("UPDATE log SET next_leaf = ?1", [end.cast_signed()]).unwrap();
            self.tail.write(&begun, usize::try_from(leaves).unwrap() * 4).unwrap();
            begun.commit().unwrap();
            self.next_leaf = end;
        }

        fn restart(&mut self) {
            self.tail = Tail::load(&self.connection, self.next_leaf).unwrap();
        }

        /// Erases every eleventh leaf of the first chunk.
        fn erase(&mut self) {
            let begun = self.connection.unchecked_transaction().unwrap();
            let mut leaves = Set::empty(chunk::PLACES);
            (0..=u16::MAX).step_by(11).for_each(|place| leaves.insert(place));
            postings::erase(&begun, &mut self.tail, 0, &leaves).unwrap();
            begun.commit().unwrap();
            let first = |leaf: &u64| chunk::of(*leaf) == 0 && leaf.is_multiple_of(11);
            self.expected.retain(|(leaf, _)| !first(leaf));
            assert!(run::aside(&self.connection).unwrap().is_empty());
        }

        fn check(&self) {
            let mut found = Postings::new();
            let runs = run::counts(&self.connection).unwrap();
            for (chunk, _) in runs {
                for run in run::of_chunk(&self.connection, chunk).unwrap() {
                    run::each(&self.connection, run.number, |term, packed| {
                        for place in run::places(packed)? {
                            let leaf = chunk::first_leaf(chunk) | u64::from(place);
                            assert!(found.insert((leaf, term)), "{leaf} is in two runs");
                        }
                        Ok(())
                    })
                    .unwrap();
                }
            }
            let chunk = chunk::of(self.next_leaf);
            let first = chunk::first_leaf(chunk);
            each(&self.connection, chunk, |place, term| {
                found.insert((first | u64::from(place), term));
            })
            .unwrap();
            assert!(found == self.expected, "up to the leaf {}", self.next_leaf);
        }
    }

    #[test]
    fn a_chunk_becomes_one_run_in_steps_and_has_all_its_postings_throughout() {
        let (never, often) = (usize::MAX, 3);
        for (restart_every, erase_after) in [(never, 35), (often, 36)] {
            let folder = tempfile::tempdir().unwrap();
            let mut written = Written::begin(&folder.path().join("index.sqlite"));
            let sizes = [10, 3_000, 700, 1_400, 5_000].into_iter().cycle();
            let mut has_merged_in_steps = false;
            for (number, leaves) in sizes.enumerate().take(60) {
                written.apply(leaves);
                let is_merging = !run::aside(&written.connection).unwrap().is_empty();
                has_merged_in_steps |= is_merging;
                if number % 9 == 0 || is_merging && number % 4 == 0 {
                    written.check();
                }
                if number % restart_every == 1 {
                    written.restart();
                }
                if number == erase_after {
                    assert!(is_merging, "{number}");
                    written.erase();
                    written.check();
                }
            }
            assert!(has_merged_in_steps);
            written.restart();
            (0..200).for_each(|_| written.apply(1));
            written.check();
            let runs = |chunk| run::of_chunk(&written.connection, chunk).unwrap().len();
            assert_eq!((runs(0), run::aside(&written.connection).unwrap().len()), (1, 0));
        }
    }

    #[test]
    fn a_chunk_of_very_many_terms_is_merged_before_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = Written::begin(&folder.path().join("index.sqlite"));
        for _ in 0..3 * RUNS_MAX {
            // As if these leaves had as many terms as are a run.
            written.tail.leaves = RUN_LEAVES;
            written.apply(20);
        }
        written.check();
        let runs = run::of_chunk(&written.connection, 0).unwrap().len() as u64;
        assert!(runs < 2 * RUNS_MAX, "{runs}");
    }
}
