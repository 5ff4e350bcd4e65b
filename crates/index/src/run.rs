//! Runs: the postings of some leaves of one chunk, sorted by term, in rows of about a page.
//!
//! A row begins at a term and holds the postings up to the next row: for each term the leaves that
//! have it. So a search reads one row for each term and run, and a run is written with few
//! statements. Each leaf is in one run. A run is read if the table `run` names its chunk. Until it
//! is complete, and after others have replaced it, it is set aside: then it has no chunk there.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    chunk::PLACES,
    codec::{self, Bytes},
    dictionary::TermKey,
    error::damaged,
    set::Set,
};

/// Most bytes of a row, if it has more than one posting: with its header it fits into a page.
const ROW_BYTES_MAX: usize = 4_000;
/// Stands in the table `run` for the chunk of a run that is set aside.
const ASIDE: i64 = -1;
/// Bytes of a posting with one bit for each place. Shorter ones list intervals of places.
const BITS_BYTES: usize = PLACES / 8;

/// Number of a run, which is less than 2^31. A later run has a higher one.
pub(crate) type Number = u32;

/// A run that can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) number: Number,
    /// Number of its rows when it was written.
    pub(crate) rows: u64,
}

/// Key of the row that begins at this term.
fn key(run: Number, term: TermKey) -> i64 {
    i64::from(run) << 32 | i64::from(term)
}

/// The term at which the row with this key begins.
#[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are the term")]
const fn first_term(key: i64) -> TermKey {
    key.cast_unsigned() as TermKey
}

/// The runs of a chunk, oldest first.
pub(crate) fn of_chunk(connection: &Connection, chunk: u64) -> rusqlite::Result<Vec<Run>> {
    let mut select = connection
        .prepare_cached("SELECT number, row_count FROM run WHERE chunk = ?1 ORDER BY number")?;
    select.query_map([chunk.cast_signed()], of_row)?.collect()
}

/// The runs of all chunks, oldest first.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Run>> {
    let mut select = connection
        .prepare_cached("SELECT number, row_count FROM run WHERE chunk >= 0 ORDER BY number")?;
    select.query_map([], of_row)?.collect()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run { number: row.get(0)?, rows: row.get(1).map(i64::cast_unsigned)? })
}

/// Number of runs of each chunk that has any, in the order of the chunks.
pub(crate) fn counts(connection: &Connection) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut select = connection.prepare(
        "SELECT chunk, count(*) FROM run WHERE chunk >= 0 GROUP BY chunk ORDER BY chunk",
    )?;
    let counts = select.query_map([], |row| {
        Ok((row.get(0).map(i64::cast_unsigned)?, row.get(1).map(i64::cast_unsigned)?))
    })?;
    counts.collect()
}

/// The number for a new run.
pub(crate) fn next_number(connection: &Connection) -> rusqlite::Result<Number> {
    let last: Option<Number> =
        connection.query_row("SELECT max(number) FROM run", [], |row| row.get(0))?;
    match last.map_or(0, |last| last.saturating_add(1)) {
        next if i32::try_from(next).is_ok() => Ok(next),
        // The index is rebuilt with numbers from 0.
        _ => Err(damaged("the numbering of runs")),
    }
}

/// The runs that are set aside.
pub(crate) fn aside(connection: &Connection) -> rusqlite::Result<Vec<Number>> {
    let mut select = connection.prepare_cached("SELECT number FROM run WHERE chunk = ?1")?;
    select.query_map([ASIDE], |row| row.get(0))?.collect()
}

/// Sets runs of a chunk aside, up to the one with this number.
pub(crate) fn set_aside(connection: &Connection, chunk: u64, last: Number) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE run SET chunk = ?1 WHERE chunk = ?2 AND number <= ?3")?
        .execute((ASIDE, chunk.cast_signed(), last))?;
    Ok(())
}

/// Deletes a run that is set aside.
pub(crate) fn delete(connection: &Connection, number: Number) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM posting WHERE key BETWEEN ?1 AND ?2")?
        .execute((key(number, 0), key(number, TermKey::MAX)))?;
    connection
        .prepare_cached("DELETE FROM run WHERE chunk = ?1 AND number = ?2")?
        .execute((ASIDE, number))?;
    Ok(())
}

/// Writes a run, posting by posting. The run is set aside until it is finished.
#[derive(Debug)]
pub(crate) struct Writer {
    number: Number,
    rows: u64,
    /// First and last term of the row that is not written yet.
    terms: (TermKey, TermKey),
    row: Vec<u8>,
    posting: Vec<u8>,
}

impl Writer {
    pub(crate) fn begin(connection: &Connection) -> rusqlite::Result<Self> {
        let number = next_number(connection)?;
        connection
            .prepare_cached("INSERT INTO run VALUES (?1, ?2, 0)")?
            .execute((number, ASIDE))?;
        Ok(Self { number, rows: 0, terms: (0, 0), row: Vec::new(), posting: Vec::new() })
    }

    /// Appends the sorted places of a term. Terms come in order.
    pub(crate) fn push(
        &mut self,
        connection: &Connection,
        term: TermKey,
        places: &[u16],
    ) -> rusqlite::Result<()> {
        self.posting.clear();
        pack(places, &mut self.posting);
        /// Bytes before a posting: the distance from the term before, and the length.
        const HEAD_MAX: usize = 8;
        if self.row.len() + HEAD_MAX + self.posting.len() > ROW_BYTES_MAX {
            self.write_row(connection)?;
        }
        if self.row.is_empty() {
            self.terms = (term, term);
        }
        put_posting(&mut self.row, term - self.terms.1, &self.posting);
        self.terms.1 = term;
        Ok(())
    }

    fn write_row(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.row.is_empty() {
            connection
                .prepare_cached("INSERT INTO posting VALUES (?1, ?2)")?
                .execute((key(self.number, self.terms.0), &self.row))?;
            self.rows += 1;
            self.row.clear();
        }
        Ok(())
    }

    /// Writes what is left, and lets readers read the run.
    pub(crate) fn finish(mut self, connection: &Connection, chunk: u64) -> rusqlite::Result<()> {
        self.write_row(connection)?;
        connection
            .prepare_cached(
                "UPDATE run SET chunk = ?1, row_count = ?2 WHERE chunk = ?3 AND number = ?4",
            )?
            .execute((chunk.cast_signed(), self.rows.cast_signed(), ASIDE, self.number))?;
        Ok(())
    }
}

/// Appends a posting to a row: its term, as the distance from the one before, and its leaves.
fn put_posting(row: &mut Vec<u8>, distance: TermKey, packed: &[u8]) {
    codec::put(row, u64::from(distance));
    codec::put(row, packed.len() as u64);
    row.extend_from_slice(packed);
}

/// The postings of a row in the order of their terms, each with its packed places.
#[derive(Debug)]
struct Postings<'a> {
    term: TermKey,
    rest: Bytes<'a>,
}

impl<'a> Postings<'a> {
    const fn of(key: i64, row: &'a [u8]) -> Self {
        Self { term: first_term(key), rest: Bytes(row) }
    }

    fn try_next(&mut self) -> Option<(TermKey, &'a [u8])> {
        let distance = self.rest.number()?.try_into().ok()?;
        self.term = self.term.checked_add(distance)?;
        Some((self.term, self.rest.bytes()?))
    }
}

impl<'a> Iterator for Postings<'a> {
    type Item = rusqlite::Result<(TermKey, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.try_next().ok_or_else(is_damaged))
    }
}

fn is_damaged() -> rusqlite::Error {
    damaged("a run of postings")
}

/// Calls `visit` with the packed places of these sorted terms in a run, and `read` with the bytes
/// of each row that is read.
pub(crate) fn look_up(
    connection: &Connection,
    run: Run,
    terms: &[TermKey],
    mut read: impl FnMut(usize),
    mut visit: impl FnMut(&[u8]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut wanted = terms;
    let mut look = |wanted, row: &Row<'_>| {
        let (key, row) = (row.get(0)?, row.get_ref(1)?.as_blob()?);
        read(row.len());
        look_up_in_row(wanted, Postings::of(key, row), &mut visit)
    };
    let (start, key) = (key(run.number, 0), |term: &TermKey| key(run.number, *term));
    if let (Some(first), Some(last)) = (terms.first(), terms.last())
        && terms.len() as u64 >= run.rows
    {
        // Each row between the first term and the last may have one of them.
        let mut select = connection.prepare_cached(
            "SELECT key, leaves FROM posting WHERE key BETWEEN
             ifnull((SELECT max(key) FROM posting WHERE key BETWEEN ?1 AND ?2), ?2) AND ?3
             ORDER BY key",
        )?;
        let mut rows = select.query((start, key(first), key(last)))?;
        while let Some(row) = rows.next()? {
            wanted = look(wanted, row)?;
        }
        return Ok(());
    }
    let mut select = connection.prepare_cached(
        "SELECT key, leaves FROM posting WHERE key BETWEEN ?1 AND ?2 ORDER BY key DESC LIMIT 1",
    )?;
    while let Some((term, others)) = wanted.split_first() {
        let mut rows = select.query((start, key(term)))?;
        let left = rows.next()?.map_or(Ok(others), |row| look(wanted, row))?;
        wanted = if left.len() < wanted.len() { left } else { others };
    }
    Ok(())
}

/// Calls `visit` with the packed places of these sorted terms in a row. Returns the terms that
/// later rows may have.
fn look_up_in_row<'a>(
    mut wanted: &'a [TermKey],
    postings: Postings<'_>,
    visit: &mut impl FnMut(&[u8]) -> rusqlite::Result<()>,
) -> rusqlite::Result<&'a [TermKey]> {
    for posting in postings {
        let (term, packed) = posting?;
        wanted = wanted.get(wanted.partition_point(|wanted| *wanted < term)..).unwrap_or_default();
        match wanted.split_first() {
            None => break,
            Some((next, others)) if *next == term => {
                visit(packed)?;
                wanted = others;
            }
            Some(_) => {}
        }
    }
    Ok(wanted)
}

/// Calls `visit` with each term of a run and its packed places.
pub(crate) fn each(
    connection: &Connection,
    run: Number,
    mut visit: impl FnMut(TermKey, &[u8]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT key, leaves FROM posting WHERE key BETWEEN ?1 AND ?2 ORDER BY key",
    )?;
    let mut rows = select.query((key(run, 0), key(run, TermKey::MAX)))?;
    while let Some(row) = rows.next()? {
        for posting in Postings::of(row.get(0)?, row.get_ref(1)?.as_blob()?) {
            let (term, packed) = posting?;
            visit(term, packed)?;
        }
    }
    Ok(())
}

/// Removes leaves from a run. Adds the terms to `gone` that have none left in it.
pub(crate) fn erase(
    connection: &Connection,
    run: Number,
    leaves: &Set,
    gone: &mut Vec<TermKey>,
) -> rusqlite::Result<()> {
    let mut changed = Vec::new();
    let mut select =
        connection.prepare_cached("SELECT key, leaves FROM posting WHERE key BETWEEN ?1 AND ?2")?;
    let mut rows = select.query((key(run, 0), key(run, TermKey::MAX)))?;
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let (mut left, mut is_changed) = (Vec::new(), false);
        let mut before = first_term(key);
        for posting in Postings::of(key, row.get_ref(1)?.as_blob()?) {
            let (term, packed) = posting?;
            let mut places = places(packed)?;
            let len = places.len();
            places.retain(|place| !leaves.contains(*place));
            is_changed |= places.len() < len;
            if places.is_empty() {
                gone.push(term);
                continue;
            }
            let mut packed = Vec::new();
            pack(&places, &mut packed);
            put_posting(&mut left, term - before, &packed);
            before = term;
        }
        if is_changed {
            changed.push((key, left));
        }
    }
    for (key, left) in changed {
        if left.is_empty() {
            connection.prepare_cached("DELETE FROM posting WHERE key = ?1")?.execute([key])?;
        } else {
            connection
                .prepare_cached("UPDATE posting SET leaves = ?2 WHERE key = ?1")?
                .execute((key, left))?;
        }
    }
    Ok(())
}

/// Reads a run from term to term.
#[derive(Debug)]
pub(crate) struct Cursor {
    run: Number,
    key: i64,
    row: Vec<u8>,
    /// The next posting: its term, and where in the row its packed places are. `None` at the end.
    next: Option<(TermKey, Range<usize>)>,
}

impl Cursor {
    pub(crate) fn begin(connection: &Connection, run: Number) -> rusqlite::Result<Self> {
        let mut cursor = Self { run, key: key(run, 0) - 1, row: Vec::new(), next: None };
        cursor.next_row(connection)?;
        Ok(cursor)
    }

    /// The next term; `None` at the end.
    pub(crate) fn term(&self) -> Option<TermKey> {
        self.next.as_ref().map(|(term, _)| *term)
    }

    /// Appends the places of the next term, and moves on.
    pub(crate) fn take(
        &mut self,
        connection: &Connection,
        into: &mut Vec<u16>,
    ) -> rusqlite::Result<()> {
        let Some((term, at)) = self.next.take() else { return Ok(()) };
        let end = at.end;
        into.append(&mut places(self.row.get(at).unwrap_or_default())?);
        self.look(term, end)?;
        if self.next.is_none() {
            self.next_row(connection)?;
        }
        Ok(())
    }

    /// Finds the posting that begins at this place of the row, behind one of the term `before`.
    fn look(&mut self, before: TermKey, from: usize) -> rusqlite::Result<()> {
        let rest = Bytes(self.row.get(from..).unwrap_or_default());
        let mut postings = Postings { term: before, rest };
        if let Some((term, packed)) = postings.next().transpose()? {
            let end = self.row.len() - postings.rest.0.len();
            self.next = Some((term, end - packed.len()..end));
        }
        Ok(())
    }

    fn next_row(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let row = connection
            .prepare_cached(
                "SELECT key, leaves FROM posting WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT 1",
            )?
            .query_row((self.key, key(self.run, TermKey::MAX)), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some(row) = row {
            (self.key, self.row) = row;
            self.look(first_term(self.key), 0)?;
        }
        Ok(())
    }
}

/// Packs sorted places: as the distances between intervals and the lengths of intervals, or as one
/// bit for each place, whichever is smaller.
fn pack(places: &[u16], bytes: &mut Vec<u8>) {
    let mut end = 0;
    for interval in places.chunk_by(|a, b| u32::from(*a) + 1 == u32::from(*b)) {
        let first = interval.first().map_or(0, |first| u64::from(*first));
        let len = interval.len() as u64;
        codec::put(bytes, (first - end) << 1 | u64::from(len > 1));
        if len > 1 {
            codec::put(bytes, len);
        }
        end = first + len;
    }
    if bytes.len() >= BITS_BYTES {
        let mut set = Set::empty(PLACES);
        places.iter().for_each(|place| set.insert(*place));
        *bytes = set.bits();
    }
}

/// Calls `visit` with each interval of packed places.
fn each_interval(packed: &[u8], mut visit: impl FnMut(Range<u64>)) -> Option<()> {
    let mut bytes = Bytes(packed);
    let mut end = 0_u64;
    while !bytes.is_empty() {
        let head = bytes.number()?;
        let len = if head & 1 == 1 { bytes.number()? } else { 1 };
        let first = end + (head >> 1);
        end = first.checked_add(len).filter(|end| *end <= PLACES as u64)?;
        visit(first..end);
    }
    Some(())
}

/// Adds packed places to a set.
pub(crate) fn unite(leaves: &mut Set, packed: &[u8]) -> rusqlite::Result<()> {
    if packed.len() == BITS_BYTES {
        leaves.unite_packed(packed);
        return Ok(());
    }
    each_interval(packed, |interval| leaves.fill(interval)).ok_or_else(is_damaged)
}

/// The packed places, sorted.
pub(crate) fn places(packed: &[u8]) -> rusqlite::Result<Vec<u16>> {
    if packed.len() == BITS_BYTES {
        let mut set = Set::empty(PLACES);
        set.unite_packed(packed);
        return Ok(set.places().collect());
    }
    let mut places = Vec::new();
    let push = |interval: Range<u64>| {
        places.extend(interval.filter_map(|place| u16::try_from(place).ok()));
    };
    each_interval(packed, push).ok_or_else(is_damaged)?;
    Ok(places)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::{
        collection::{btree_map, btree_set},
        prelude::*,
    };

    use super::*;
    use crate::schema;

    fn some_places() -> impl Strategy<Value = BTreeSet<u16>> {
        let intervals = (any::<u16>(), 1..2_000_u16)
            .prop_map(|(first, len)| (first..first.saturating_add(len)).collect());
        let half = any::<u16>().prop_map(|start| (start % 9..u16::MAX).step_by(2).collect());
        prop_oneof![
            4 => btree_set(any::<u16>(), 1..40),
            2 => btree_set(65_000..=u16::MAX, 1..40),
            1 => intervals,
            1 => half,
            1 => Just((0..=u16::MAX).collect()),
        ]
    }

    fn index() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let log = model::LogId::from_sha256([1; 32]);
        let file = folder.path().join("index.sqlite");
        let connection = schema::open(&file, log, |_| Ok(None)).unwrap();
        (folder, connection)
    }

    fn write(connection: &Connection, postings: &BTreeMap<TermKey, BTreeSet<u16>>) -> Run {
        let mut writer = Writer::begin(connection).unwrap();
        for (term, places) in postings {
            let places: Vec<u16> = places.iter().copied().collect();
            writer.push(connection, *term, &places).unwrap();
        }
        writer.finish(connection, 7).unwrap();
        *of_chunk(connection, 7).unwrap().last().unwrap()
    }

    proptest! {
        #[test]
        fn places_are_packed_and_back(packed_ones in some_places(), others in some_places()) {
            let sorted: Vec<u16> = packed_ones.iter().copied().collect();
            let mut packed = Vec::new();
            pack(&sorted, &mut packed);
            prop_assert!(packed.len() <= BITS_BYTES);
            prop_assert_eq!(&places(&packed).unwrap(), &sorted);
            let mut set = Set::empty(PLACES);
            others.iter().for_each(|place| set.insert(*place));
            unite(&mut set, &packed).unwrap();
            prop_assert!(set.places().eq((&packed_ones | &others).into_iter()));
        }

        #[test]
        fn nothing_on_disk_makes_it_panic(bytes: Vec<u8>) {
            let _refused = unite(&mut Set::empty(PLACES), &bytes);
            let _refused = places(&bytes);
            let _last = Postings::of(7, &bytes).take_while(Result::is_ok).count();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
        #[test]
        fn a_run_has_what_was_written(
            first in btree_map(0..9_000_u32, some_places(), 1..150),
            second in btree_map(prop_oneof![0..9_000_u32, any::<u32>()], some_places(), 1..150),
            asked in btree_set(prop_oneof![0..9_000_u32, any::<u32>()], 0..40),
            erased in some_places(),
        ) {
            let (_folder, connection) = index();
            for postings in [&first, &second] {
                let run = write(&connection, postings);
                let asked: Vec<TermKey> = asked.iter().chain(postings.keys().take(3)).copied().collect();
                let mut sorted: Vec<TermKey> = asked.clone();
                sorted.sort_unstable();
                sorted.dedup();
                // It finds the same by looking each up and by reading all.
                for run in [run, Run { rows: u64::MAX, ..run }, Run { rows: 0, ..run }] {
                    let mut found = Set::empty(PLACES);
                    look_up(&connection, run, &sorted, |_| {}, |packed| unite(&mut found, packed)).unwrap();
                    let expected: BTreeSet<u16> =
                        sorted.iter().filter_map(|term| postings.get(term)).flatten().copied().collect();
                    prop_assert!(found.places().eq(expected));
                }
                let mut cursor = Cursor::begin(&connection, run.number).unwrap();
                let mut read = BTreeMap::new();
                while let Some(term) = cursor.term() {
                    let mut places = Vec::new();
                    cursor.take(&connection, &mut places).unwrap();
                    read.insert(term, places.into_iter().collect());
                }
                prop_assert_eq!(&read, postings);
            }
            let [before, run] = *of_chunk(&connection, 7).unwrap() else { panic!("there are two") };
            let mut leaves = Set::empty(PLACES);
            erased.iter().for_each(|place| leaves.insert(*place));
            let mut gone = Vec::new();
            erase(&connection, run.number, &leaves, &mut gone).unwrap();
            let left = |places: &BTreeSet<u16>| places - &erased;
            let is_gone = second.iter().filter(|(_, places)| left(places).is_empty());
            prop_assert_eq!(gone, is_gone.map(|(term, _)| *term).collect::<Vec<_>>());
            let mut read = BTreeMap::new();
            each(&connection, run.number, |term, packed| {
                read.insert(term, places(packed)?.into_iter().collect());
                Ok(())
            }).unwrap();
            let mut expected: BTreeMap<TermKey, BTreeSet<u16>> =
                second.iter().map(|(term, places)| (*term, left(places))).collect();
            expected.retain(|_, places| !places.is_empty());
            prop_assert_eq!(read, expected);
            set_aside(&connection, 7, before.number).unwrap();
            prop_assert_eq!(of_chunk(&connection, 7).unwrap(), [run]);
            prop_assert_eq!(aside(&connection).unwrap(), [before.number]);
            delete(&connection, before.number).unwrap();
            let rows: i64 = connection
                .query_row("SELECT count(*) FROM posting WHERE key < ?1", [key(run.number, 0)], |row| row.get(0))
                .unwrap();
            prop_assert_eq!((rows, aside(&connection).unwrap().len()), (0, 0));
        }
    }
}
