//! The postings: which leaves have a term.
//!
//! The log is divided into chunks of 65,536 leaves. The postings of a chunk are in a run, sorted by
//! term. So a term of every event costs a few bytes for each chunk, not a row for each event, and a
//! search reads only the terms that it asks for. While a chunk grows, it has a run for every few
//! thousand leaves; once it is complete, these are merged into one. The newest leaves are in no run
//! yet, but in the tail: for each leaf its terms, in the log's order.

use rusqlite::Connection;

use crate::{
    chunk::PLACES,
    dictionary::{self, EVERY, TermKey},
    effort::Effort,
    run::{self, Run},
    set::Set,
    tail::{self, Tail},
};

/// Number of comparisons with pairs of the tail that take as long as reading a row.
const ROW_COMPARISONS: usize = 128;
/// Bytes of a run that are read in the time of one row.
const ROW_BYTES: usize = 256;

/// One chunk, for a reader.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    connection: &'a Connection,
    runs: Vec<Run>,
    /// Terms of the leaves that are in no run, each with the leaf's place.
    tail: Vec<(TermKey, u16)>,
    effort: &'a Effort,
}

impl<'a> Chunk<'a> {
    pub(crate) fn open(
        connection: &'a Connection,
        chunk: u64,
        effort: &'a Effort,
    ) -> rusqlite::Result<Self> {
        effort.seek();
        let runs = run::of_chunk(connection, chunk)?;
        let mut tail = Vec::new();
        tail::each(connection, chunk, |place, term| tail.push((term, place)))?;
        Ok(Self { connection, runs, tail, effort })
    }

    /// The effort from which reading this chunk is paid.
    pub(crate) const fn effort(&self) -> &Effort {
        self.effort
    }

    /// The leaves that have at least one of these terms. The terms must be sorted.
    pub(crate) fn union(&self, terms: &[TermKey]) -> rusqlite::Result<Set> {
        let mut leaves = Set::empty(PLACES);
        let read = |bytes: usize| {
            self.effort.seek();
            self.effort.rows(bytes / ROW_BYTES);
        };
        for run in &self.runs {
            run::look_up(self.connection, *run, terms, read, |packed| {
                run::unite(&mut leaves, packed)
            })?;
        }
        let comparisons = terms.len().checked_ilog2().map_or(0, |halvings| halvings as usize + 1);
        self.effort.rows(self.tail.len() * comparisons / ROW_COMPARISONS);
        for (term, place) in &self.tail {
            if terms.binary_search(term).is_ok() {
                leaves.insert(*place);
            }
        }
        Ok(leaves)
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
    tail.stop_merging(connection)?;
    let mut gone = tail.remove(connection, chunk, &erased)?;
    for run in &there.runs {
        run::erase(connection, run.number, &erased, &mut gone)?;
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
    tail.each_term(|term| {
        if let Ok(used) = terms.binary_search(&term) {
            terms.remove(used);
        }
    });
    // Begin with the newest run, because most terms still in use occur there.
    let runs = run::all(connection)?;
    for term in terms {
        let mut is_used = false;
        for run in runs.iter().rev() {
            run::look_up(
                connection,
                *run,
                &[term],
                |_| {},
                |_| {
                    is_used = true;
                    Ok(())
                },
            )?;
            if is_used {
                break;
            }
        }
        if !is_used {
            dictionary::remove(connection, term)?;
        }
    }
    Ok(())
}
