//! The postings: which leaves have a term.
//!
//! The log is divided into chunks of 65,536 leaves. For each chunk and each term in it there is a
//! row with the set of its leaves. The writer writes these rows when the chunk is complete. So a
//! term of every event costs a few rows and bits, not a row for each event. The rows of a chunk lie
//! together, because the writer appends them at the end of the table. The newest leaves, whose
//! chunk is not complete, are in the tail: for each leaf its terms, in the log's order.

use rusqlite::Connection;

use crate::{
    codec::{self, Bytes},
    dictionary::{self, EVERY, TermKey},
    effort::Effort,
    error::damaged,
    set::Set,
};

/// Leaves in a chunk: as many as 16 bits can number.
pub(crate) const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 16;
/// Bytes at which a part of the tail is full and the next one begins. The last part is rewritten
/// with every batch, so it mostly fits into one page of the file.
const PART_BYTES_FULL: usize = 3 << 10;
/// Pairs of a term and a leaf at which the tail is written to its chunk early: 32 MB in memory.
const TAIL_MAX: usize = 4 << 20;
/// Most terms that are each looked up in a chunk. For more terms, the reader reads all the chunk's
/// rows between the first term and the last. A lookup takes about six times as long as reading the
/// next row, and a chunk of a large fleet has some 25,000 rows.
const SEEKS_MAX: usize = 4_096;
/// Number of comparisons with pairs of the tail that take as long as reading a row.
const ROW_COMPARISONS: usize = 128;

/// The chunk in which a leaf lies.
pub(crate) const fn chunk_of(leaf: u64) -> u64 {
    leaf >> CHUNK_BITS
}

/// The first leaf of a chunk.
pub(crate) const fn first_leaf(chunk: u64) -> u64 {
    chunk << CHUNK_BITS
}

/// The place of a leaf within its chunk.
#[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits are meant")]
pub(crate) const fn place_of(leaf: u64) -> u16 {
    leaf as u16
}

/// A term and the place of a leaf with that term, packed into one number that sorts by term.
type Pair = u64;

fn pair(term: TermKey, place: u16) -> Pair {
    u64::from(term) << 16 | u64::from(place)
}

#[expect(clippy::cast_possible_truncation, reason = "a pair has its parts in 32 and in 16 bits")]
const fn parts(pair: Pair) -> (TermKey, u16) {
    ((pair >> 16) as TermKey, pair as u16)
}

/// What the writer holds in memory of the tail.
#[derive(Debug)]
pub(crate) struct Tail {
    chunk: u64,
    /// Number of pairs in the tail of the file.
    written: usize,
    /// Pairs that are not written yet, in the order of the leaves.
    new: Vec<Pair>,
    /// Number and bytes of the last part in the file, while it is not full.
    part: (u64, Vec<u8>),
}

impl Tail {
    /// Loads the tail of an index whose next leaf is `next_leaf`.
    pub(crate) fn load(connection: &Connection, next_leaf: u64) -> rusqlite::Result<Self> {
        let chunk = chunk_of(next_leaf);
        let (mut part, mut written) = ((0, Vec::new()), 0);
        read_tail(connection, chunk, |number, bytes| {
            decode(bytes, |_, _| written += 1)?;
            part = (number, bytes.to_owned());
            Some(())
        })?;
        Ok(Self { chunk, written, new: Vec::new(), part })
    }

    /// Takes all pairs out of the tail, those in the file, too.
    fn take(&mut self, connection: &Connection) -> rusqlite::Result<Vec<Pair>> {
        let mut pairs = Vec::with_capacity(self.written + self.new.len());
        each_in_tail(connection, self.chunk, |place, term| pairs.push(pair(term, place)))?;
        pairs.append(&mut self.new);
        connection.execute("DELETE FROM tail", [])?;
        self.written = 0;
        self.part = (0, Vec::new());
        Ok(pairs)
    }

    /// Appends a leaf with its terms.
    pub(crate) fn push(&mut self, leaf: u64, terms: impl IntoIterator<Item = TermKey>) {
        let place = place_of(leaf);
        self.new.extend(terms.into_iter().chain([EVERY]).map(|term| pair(term, place)));
    }

    /// Moves on to the next leaf, after the one before it was pushed or had no terms. If the chunk
    /// is complete, writes it.
    pub(crate) fn go_on(
        &mut self,
        connection: &Connection,
        next_leaf: u64,
    ) -> rusqlite::Result<()> {
        if chunk_of(next_leaf) == self.chunk && self.written + self.new.len() < TAIL_MAX {
            return Ok(());
        }
        let mut pairs = self.take(connection)?;
        pairs.sort_unstable();
        pairs.dedup();
        let mut places = Vec::new();
        for postings in pairs.chunk_by(|a, b| parts(*a).0 == parts(*b).0) {
            let Some((term, _)) = postings.first().map(|pair| parts(*pair)) else { continue };
            places.clear();
            places.extend(postings.iter().map(|pair| parts(*pair).1));
            add(connection, self.chunk, term, &places)?;
        }
        self.chunk = chunk_of(next_leaf);
        Ok(())
    }

    /// Writes the pushed leaves. Call it before the transaction ends.
    pub(crate) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let new = std::mem::take(&mut self.new);
        for of_leaf in new.chunk_by(|a, b| parts(*a).1 == parts(*b).1) {
            let (number, bytes) = &mut self.part;
            encode(of_leaf, bytes);
            if bytes.len() >= PART_BYTES_FULL {
                write_part(connection, *number, bytes)?;
                *number += 1;
                bytes.clear();
            }
        }
        self.written += new.len();
        write_part(connection, self.part.0, &self.part.1)
    }

    /// Removes leaves of this chunk. Returns the terms that they had.
    fn remove(&mut self, connection: &Connection, leaves: &Set) -> rusqlite::Result<Vec<TermKey>> {
        let is_removed = |pair: &Pair| leaves.contains(parts(*pair).1);
        let (removed, left) = self.take(connection)?.into_iter().partition(is_removed);
        self.new = left;
        self.write(connection)?;
        Ok(Vec::into_iter(removed).map(|pair| parts(pair).0).collect())
    }
}

/// Adds places to the row of a term. Normally the row does not exist yet.
fn add(connection: &Connection, chunk: u64, term: TermKey, places: &[u16]) -> rusqlite::Result<()> {
    let packed = Set::pack_sorted(places, CHUNK);
    let inserted = connection
        .prepare_cached("INSERT OR IGNORE INTO posting VALUES (?1, ?2, ?3)")?
        .execute((chunk.cast_signed(), term, &packed))?;
    if inserted == 0 {
        let mut leaves = Set::empty(CHUNK);
        leaves.unite_packed(&packed);
        let effort = &Effort::unlimited();
        let chunk = Chunk { connection, chunk, tail: Vec::new(), effort };
        leaves.unite(&chunk.union(&[term])?);
        chunk.replace(term, &leaves.pack())?;
    }
    Ok(())
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
fn read_tail(
    connection: &Connection,
    chunk: u64,
    mut visit: impl FnMut(u64, &[u8]) -> Option<()>,
) -> rusqlite::Result<()> {
    let next_leaf: i64 =
        connection.prepare_cached("SELECT next_leaf FROM log")?.query_row([], |row| row.get(0))?;
    if chunk_of(next_leaf.cast_unsigned()) != chunk {
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
pub(crate) fn each_in_tail(
    connection: &Connection,
    chunk: u64,
    mut visit: impl FnMut(u16, TermKey),
) -> rusqlite::Result<()> {
    read_tail(connection, chunk, |_, bytes| decode(bytes, &mut visit))
}

/// One chunk, for a reader.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    connection: &'a Connection,
    chunk: u64,
    tail: Vec<Pair>,
    effort: &'a Effort,
}

impl<'a> Chunk<'a> {
    pub(crate) fn open(
        connection: &'a Connection,
        chunk: u64,
        effort: &'a Effort,
    ) -> rusqlite::Result<Self> {
        let mut tail = Vec::new();
        read_tail(connection, chunk, |_, bytes| {
            decode(bytes, |place, term| tail.push(pair(term, place)))
        })?;
        Ok(Self { connection, chunk, tail, effort })
    }

    /// The effort from which reading this chunk is paid.
    pub(crate) const fn effort(&self) -> &Effort {
        self.effort
    }

    /// The leaves that have at least one of these terms. The terms must be sorted.
    pub(crate) fn union(&self, terms: &[TermKey]) -> rusqlite::Result<Set> {
        let mut leaves = Set::empty(CHUNK);
        if terms.len() <= SEEKS_MAX {
            let mut select = self
                .connection
                .prepare_cached("SELECT leaves FROM posting WHERE chunk = ?1 AND term = ?2")?;
            for term in terms {
                self.effort.seek();
                let mut rows = select.query((self.chunk.cast_signed(), term))?;
                while let Some(row) = rows.next()? {
                    leaves.unite_packed(row.get_ref(0)?.as_blob()?);
                }
            }
        } else {
            let range = (terms.first().copied(), terms.last().copied());
            let mut wanted = terms.iter().copied().peekable();
            self.for_each_between(range, |term, packed| {
                self.effort.rows(1);
                while wanted.next_if(|wanted| *wanted < term).is_some() {}
                if wanted.peek() == Some(&term) {
                    leaves.unite_packed(packed);
                }
            })?;
        }
        let comparisons = terms.len().checked_ilog2().map_or(0, |halvings| halvings as usize + 1);
        self.effort.rows(self.tail.len() * comparisons / ROW_COMPARISONS);
        for (term, place) in self.tail.iter().map(|pair| parts(*pair)) {
            if terms.binary_search(&term).is_ok() {
                leaves.insert(place);
            }
        }
        Ok(leaves)
    }

    fn for_each_between(
        &self,
        (first, last): (Option<TermKey>, Option<TermKey>),
        mut visit: impl FnMut(TermKey, &[u8]),
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(
            "SELECT term, leaves FROM posting WHERE chunk = ?1 AND term BETWEEN ?2 AND ?3 ORDER BY term",
        )?;
        let mut rows = select.query((self.chunk.cast_signed(), first, last))?;
        while let Some(row) = rows.next()? {
            visit(row.get(0)?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn replace(&self, term: TermKey, packed: &[u8]) -> rusqlite::Result<()> {
        let row = (self.chunk.cast_signed(), term);
        if packed.is_empty() {
            self.connection
                .prepare_cached("DELETE FROM posting WHERE chunk = ?1 AND term = ?2")?
                .execute(row)?;
        } else {
            self.connection
                .prepare_cached("UPDATE posting SET leaves = ?3 WHERE chunk = ?1 AND term = ?2")?
                .execute((row.0, row.1, packed))?;
        }
        Ok(())
    }
}

/// Removes leaves of one chunk. Returns the terms that may have no other leaf, or `None` if the
/// chunk had none of the leaves.
pub(crate) fn erase(
    connection: &Connection,
    tail: &mut Tail,
    chunk: u64,
    leaves: &Set,
) -> rusqlite::Result<Option<Vec<TermKey>>> {
    let effort = Effort::unlimited();
    let there = Chunk::open(connection, chunk, &effort)?;
    let mut erased = there.union(&[EVERY])?;
    erased.intersect(leaves);
    if erased.is_empty() {
        // They were never indexed: they had been erased before the indexer read the log.
        return Ok(None);
    }
    let mut changed = Vec::new();
    there.for_each_between((Some(EVERY), Some(TermKey::MAX)), |term, packed| {
        let mut leaves = Set::empty(CHUNK);
        leaves.unite_packed(packed);
        let before = leaves.len();
        leaves.subtract(&erased);
        if leaves.len() < before {
            changed.push((term, leaves.pack()));
        }
    })?;
    let mut gone = Vec::new();
    for (term, packed) in changed {
        there.replace(term, &packed)?;
        gone.extend(packed.is_empty().then_some(term));
    }
    if tail.chunk == chunk {
        gone.extend(tail.remove(connection, &erased)?);
    }
    Ok(Some(gone))
}

/// Removes those of these terms from the dictionary that no event has any more.
pub(crate) fn forget_unused(
    connection: &Connection,
    tail: &Tail,
    mut terms: Vec<TermKey>,
) -> rusqlite::Result<()> {
    terms.sort_unstable();
    terms.dedup();
    terms.retain(|term| *term != EVERY);
    each_in_tail(connection, tail.chunk, |_, term| {
        if let Ok(used) = terms.binary_search(&term) {
            terms.remove(used);
        }
    })?;
    let mut is_used = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM posting WHERE chunk = ?1 AND term = ?2)")?;
    for term in terms {
        // Begin with the newest chunk, because most terms still in use occur there.
        let mut used = false;
        for chunk in (0..=tail.chunk).rev() {
            used = is_used.query_row((chunk.cast_signed(), term), |row| row.get(0))?;
            if used {
                break;
            }
        }
        if !used {
            dictionary::remove(connection, term)?;
        }
    }
    Ok(())
}
