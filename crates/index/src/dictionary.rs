//! The dictionary: each distinct term, a field and its text or a word of it, once, under a key; and which terms contain a text.
//!
//! That is found without a scan by the terms' grams: every three bytes that follow each other in a term, and the last two and the last one padded with
//! zeros, so that shorter texts are the beginning of some gram. The field is a gram too. What three bytes or fewer find is right; a longer text is
//! compared with the terms that have all its grams.

use indexmap::Equivalent;
use rusqlite::{
    Connection, OptionalExtension as _,
    types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use crate::{Field, set::Set};

/// A term, as postings name it.
pub(crate) type TermKey = u32;

/// The key of every event, which is no term.
pub(crate) const EVERY: TermKey = 0;

/// Terms under one row of a gram: small, for each row is written again whenever a term joins it.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 12;
/// Grams of a text that are looked up; the terms that have so many of them are few enough to be compared.
const GRAMS_MAX: usize = 16;
/// Terms that one lookup finds; for more, it is cheaper to read the events.
const FOUND_MAX: usize = 1 << 16;

/// Where a text is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Within {
    /// Anywhere in a term.
    Term,
    /// At the beginning of a word.
    WordStart,
    /// As a word.
    Word,
    /// At the end of a word.
    WordEnd,
}

impl Within {
    fn holds(self, term: &[u8], part: Part, text: &str) -> bool {
        let text = text.as_bytes();
        let is_word = part == Part::Word;
        match self {
            // All grams of the text are in the term, so most terms have it near their beginning.
            Self::Term => text.is_empty() || term.windows(text.len()).any(|part| part == text),
            Self::WordStart => is_word && term.starts_with(text),
            Self::Word => is_word && term == text,
            Self::WordEnd => is_word && term.ends_with(text),
        }
    }
}

/// Which part of a field's text a term is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// One of its words.
    Word,
}

/// What is indexed of an event.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct Term {
    field: Box<str>,
    part: Part,
    text: Box<str>,
}

impl Term {
    pub(crate) fn new(field: &str, part: Part, text: &str) -> Self {
        Self { field: field.into(), part, text: text.into() }
    }
}

/// So that a set of terms can be asked for one without making it. It has the hash of the term: both are hashed part by part.
impl Equivalent<Term> for (&str, Part, &str) {
    fn equivalent(&self, term: &Term) -> bool {
        *self == (&*term.field, term.part, &*term.text)
    }
}

/// As the column `is_word` has it.
impl ToSql for Part {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self == Self::Word).into())
    }
}

impl FromSql for Part {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        bool::column_result(value).map(|is_word| if is_word { Self::Word } else { Self::Whole })
    }
}

/// The keys of terms, which are new if need be.
pub(crate) fn keys<'a>(
    connection: &Connection,
    terms: impl IntoIterator<Item = &'a Term>,
) -> rusqlite::Result<Vec<TermKey>> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO term (field, text, is_word) VALUES (?1, ?2, ?3) RETURNING key",
    )?;
    let mut keys = Vec::new();
    let mut grams = NewGrams::default();
    for Term { field, part, text } in terms {
        let key = match key_of(connection, field, *part, text)? {
            Some(key) => key,
            None => {
                let key = insert.query_row((field, text, part), |row| row.get(0))?;
                grams.add(connection, key, field, text)?;
                key
            }
        };
        keys.push(key);
    }
    grams.write(connection)?;
    Ok(keys)
}

/// Grams of new terms that wait to be written.
#[derive(Debug, Default)]
struct NewGrams {
    /// Chunk, gram and place, the highest bits first.
    grams: Vec<u64>,
}

impl NewGrams {
    /// Beyond so many they are written early: 8 MB.
    const WAITING_MAX: usize = 1 << 20;

    fn add(
        &mut self,
        connection: &Connection,
        key: TermKey,
        field: &str,
        text: &str,
    ) -> rusqlite::Result<()> {
        let (chunk, place) = split(key);
        let gram = |gram: u32| chunk << 37 | u64::from(gram) << CHUNK_BITS | u64::from(place);
        self.grams.extend(grams_of_term(field, text).map(gram));
        if self.grams.len() >= Self::WAITING_MAX {
            self.write(connection)?;
        }
        Ok(())
    }

    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.grams.sort_unstable();
        for waiting in self.grams.chunk_by(|a, b| a >> CHUNK_BITS == b >> CHUNK_BITS) {
            let Some(first) = waiting.first() else { continue };
            let row =
                ((first >> 37).cast_signed(), (first >> CHUNK_BITS & 0x1ff_ffff).cast_signed());
            let mut terms = terms_with(connection, row)?;
            for gram in waiting {
                terms.insert(place_of(*gram));
            }
            connection
                .prepare_cached("INSERT OR REPLACE INTO gram VALUES (?1, ?2, ?3)")?
                .execute((row.0, row.1, terms.pack()))?;
        }
        self.grams.clear();
        Ok(())
    }
}

/// Takes a term out that no event has any more.
pub(crate) fn remove(connection: &Connection, key: TermKey) -> rusqlite::Result<()> {
    let removed = connection
        .prepare_cached("DELETE FROM term WHERE key = ?1 RETURNING field, text")?
        .query_row([key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((field, text)) = removed else { return Ok(()) };
    let (chunk, place) = split(key);
    for gram in grams_of_term(&field, &text) {
        let row = (chunk.cast_signed(), i64::from(gram));
        let mut terms = terms_with(connection, row)?;
        terms.remove(place);
        if terms.is_empty() {
            connection
                .prepare_cached("DELETE FROM gram WHERE chunk = ?1 AND gram = ?2")?
                .execute(row)?;
        } else {
            connection
                .prepare_cached("UPDATE gram SET terms = ?3 WHERE chunk = ?1 AND gram = ?2")?
                .execute((row.0, row.1, terms.pack()))?;
        }
    }
    Ok(())
}

/// The key of a term that is there.
pub(crate) fn key_of(
    connection: &Connection,
    field: &str,
    part: Part,
    text: &str,
) -> rusqlite::Result<Option<TermKey>> {
    connection
        .prepare_cached("SELECT key FROM term WHERE field = ?1 AND text = ?2 AND is_word = ?3")?
        .query_row((field, text, part), |row| row.get(0))
        .optional()
}

/// Whether there is a term of a field with this name.
pub(crate) fn has_field(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM term WHERE field = ?1)")?
        .query_row([name], |row| row.get(0))
}

/// The keys, in order, of the terms of a field, or of any, that hold a text. `None` if there are too many.
pub(crate) fn holding(
    connection: &Connection,
    field: Option<&Field>,
    text: &str,
    within: Within,
) -> rusqlite::Result<Option<Vec<TermKey>>> {
    let is_short = text.len() <= 3 && !text.contains('\0');
    // Custom fields can share a gram.
    let is_proof = is_short && within == Within::Term && !matches!(field, Some(Field::Custom(_)));
    let mut select =
        connection.prepare_cached("SELECT field, text, is_word FROM term WHERE key = ?1")?;
    let mut holds = |key: TermKey| {
        select.query_row([key], |row| {
            let is_of_field = match field {
                Some(field) => row.get_ref(0)?.as_str()? == field.name(),
                None => true,
            };
            Ok(is_of_field && within.holds(row.get_ref(1)?.as_bytes()?, row.get(2)?, text))
        })
    };
    let last: Option<TermKey> =
        connection.query_row("SELECT max(key) FROM term", [], |row| row.get(0))?;
    let mut found = Vec::new();
    for chunk in 0..=last.map_or(0, |last| last >> CHUNK_BITS) {
        for place in candidates(connection, chunk, field, text)?.places() {
            let key = chunk << CHUNK_BITS | u32::from(place);
            if !is_proof && !holds(key)? {
                continue;
            }
            if found.len() == FOUND_MAX {
                return Ok(None);
            }
            found.push(key);
        }
    }
    Ok(Some(found))
}

/// The terms of a chunk that have the field and all grams of a text.
fn candidates(
    connection: &Connection,
    chunk: u32,
    field: Option<&Field>,
    text: &str,
) -> rusqlite::Result<Set> {
    let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(GRAMS_MAX + 1);
    match *text.as_bytes() {
        [] => {}
        [a] => ranges.push((gram([a, 0, 0]), gram([a, 255, 255]))),
        [a, b] => ranges.push((gram([a, b, 0]), gram([a, b, 255]))),
        ref bytes => {
            let step = (bytes.len() - 2).div_ceil(GRAMS_MAX);
            let grams = bytes.array_windows().step_by(step).map(|window| gram(*window));
            ranges.extend(grams.map(|gram| (gram, gram)));
        }
    }
    let of_field = field.map(|field| gram_of_field(field.name()));
    ranges.extend(of_field.map(|gram| (gram, gram)));
    let mut select = connection
        .prepare_cached("SELECT terms FROM gram WHERE chunk = ?1 AND gram BETWEEN ?2 AND ?3")?;
    let mut candidates: Option<Set> = None;
    for (first, last) in ranges {
        let mut terms = Set::empty(CHUNK);
        let mut rows = select.query((chunk, first, last))?;
        while let Some(row) = rows.next()? {
            terms.unite_packed(row.get_ref(0)?.as_blob()?);
        }
        match &mut candidates {
            Some(candidates) => candidates.intersect(&terms),
            None => candidates = Some(terms),
        }
        if candidates.as_ref().is_some_and(Set::is_empty) {
            break;
        }
    }
    Ok(candidates.unwrap_or_else(|| Set::empty(CHUNK)))
}

fn terms_with(connection: &Connection, row: (i64, i64)) -> rusqlite::Result<Set> {
    let mut terms = Set::empty(CHUNK);
    let mut select =
        connection.prepare_cached("SELECT terms FROM gram WHERE chunk = ?1 AND gram = ?2")?;
    let mut rows = select.query(row)?;
    while let Some(row) = rows.next()? {
        terms.unite_packed(row.get_ref(0)?.as_blob()?);
    }
    Ok(terms)
}

fn grams_of_term(field: &str, text: &str) -> impl Iterator<Item = u32> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let grams = (0..bytes.len()).map(move |index| gram([at(index), at(index + 1), at(index + 2)]));
    grams.chain([gram_of_field(field)])
}

const fn gram([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

/// Beyond those of three bytes: a standard field's place in the list of them, or a hash (FNV-1a, folded to 24 bits) of a custom one's name.
fn gram_of_field(name: &str) -> u32 {
    let standard = Field::STANDARD.iter().zip(0..).find(|(field, _)| field.name() == name);
    let number = standard.map(|(_, number)| number).unwrap_or_else(|| {
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = name.bytes().fold(0x811c_9dc5, step);
        ((hash >> 24) ^ hash) & 0x00ff_ffff | 0x100
    });
    1 << 24 | number
}

/// Chunk of a term's key, and its place there.
const fn split(key: TermKey) -> (u64, u16) {
    ((key >> CHUNK_BITS) as u64, place_of(key as u64))
}

#[expect(clippy::cast_possible_truncation, reason = "fewer bits than 16 are left")]
const fn place_of(key: u64) -> u16 {
    (key & (CHUNK as u64 - 1)) as u16
}
