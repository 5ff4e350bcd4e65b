//! The dictionary: a key for each distinct term, and a lookup of the terms that contain a text. A
//! term is a field with its whole text or with one word of it.
//!
//! Grams make the lookup possible without a scan of all terms. The grams of a term are every three
//! consecutive bytes, and its last two bytes and its last one padded with zeros, so that a shorter
//! text is the beginning of a gram. The field is a gram too. A text of up to three bytes needs only
//! its gram; a longer text is compared with the terms that have all its grams. Whole words and
//! beginnings of words are found by the sort order of the terms.

use std::hash::{BuildHasher as _, RandomState};

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    effort::Effort,
    field::Field,
    recent::Recent,
    set::Set,
    term::{Part, Term},
};

/// Key of a term in postings.
pub(crate) type TermKey = u32;

/// Key that stands for every event. It belongs to no term.
pub(crate) const EVERY: TermKey = 0;

/// Number of term keys that share one row of a gram. The rows are written once, when a chunk has
/// all its keys. It is small, because until then each lookup compares all terms of the chunk.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 12;
/// Most grams of a text that are looked up. Few enough terms have that many of them in common to be
/// compared.
const GRAMS_MAX: usize = 16;
/// Most terms that one lookup finds or compares. Beyond that, reading the events is cheaper.
const TERMS_MAX: usize = 1 << 16;

/// Where in a term a text must be found.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Within {
    /// Anywhere in the term.
    Term,
    /// At the beginning of a word.
    WordStart,
    /// As a whole word.
    Word,
    /// At the end of a word.
    WordEnd,
}

/// The keys of the terms that the writer used last. It knows a term by two hashes under keys of its
/// own, which nobody can foresee: so a term of any length takes 40 bytes, and no two terms have the
/// same pair in the life of a site.
#[derive(Debug)]
pub(crate) struct RecentKeys {
    hashers: [RandomState; 2],
    keys: Recent<[u64; 2], TermKey>,
}

impl RecentKeys {
    /// Terms that are held: those of a large fleet, four for each sensor, and its values.
    pub(crate) const MAX: usize = 1 << 18;

    pub(crate) fn new(max: usize) -> Self {
        Self { hashers: [RandomState::new(), RandomState::new()], keys: Recent::new(max) }
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }
}

/// The keys of terms. Terms that are not in the dictionary get new keys.
pub(crate) fn keys<'a>(
    connection: &Connection,
    recent: &mut RecentKeys,
    terms: impl IntoIterator<Item = &'a Term>,
) -> rusqlite::Result<Vec<TermKey>> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO term (field, text, is_word) VALUES (?1, ?2, ?3) RETURNING key",
    )?;
    let mut keys = Vec::new();
    for term in terms {
        let hashes = recent.hashers.each_ref().map(|hasher| hasher.hash_one(term));
        if let Some(key) = recent.keys.get(&hashes) {
            keys.push(key);
            continue;
        }
        let Term { field, part, text } = term;
        let key = match key_of(connection, field, *part, text)? {
            Some(key) => key,
            None => {
                let key = insert.query_row((field, text, part), |row| row.get(0))?;
                let (chunk, place) = split(key);
                if place == 0 {
                    write_grams(connection, chunk - 1)?;
                }
                key
            }
        };
        recent.keys.insert(hashes, key);
        keys.push(key);
    }
    Ok(keys)
}

/// Writes the grams of a chunk that has all its keys. Terms may have been removed from it since,
/// and from the next one, so that this one is complete for the second time.
fn write_grams(connection: &Connection, chunk: u32) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM gram WHERE chunk = ?1")?.execute([chunk])?;
    let mut select = connection
        .prepare_cached("SELECT key, field, text FROM term WHERE key BETWEEN ?1 AND ?2")?;
    let mut rows = select.query((first_key(chunk), first_key(chunk + 1) - 1))?;
    let mut grams = Grams::default();
    while let Some(row) = rows.next()? {
        grams.add(connection, row.get(0)?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?)?;
    }
    grams.write(connection)
}

/// The chunk that does not have all its keys yet, and whose terms have no grams.
pub(crate) fn open_chunk(connection: &Connection) -> rusqlite::Result<u32> {
    let last: Option<TermKey> =
        connection.query_row("SELECT max(key) FROM term", [], |row| row.get(0))?;
    Ok(last.map_or(0, |last| split(last).0))
}

/// The first key of a chunk.
pub(crate) const fn first_key(chunk: u32) -> TermKey {
    chunk << CHUNK_BITS
}

/// Grams of terms, not written yet.
#[derive(Debug, Default)]
struct Grams {
    /// Chunk, gram and place packed into one number, the highest bits first.
    grams: Vec<u64>,
}

impl Grams {
    /// Number of grams at which they are written early: 8 MB.
    const WAITING_MAX: usize = 1 << 20;

    fn add(
        &mut self,
        connection: &Connection,
        key: TermKey,
        field: &str,
        text: &str,
    ) -> rusqlite::Result<()> {
        let (chunk, place) = split(key);
        let gram =
            |gram: u32| u64::from(chunk) << 37 | u64::from(gram) << CHUNK_BITS | u64::from(place);
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

/// Removes a term that no event has any more.
pub(crate) fn remove(connection: &Connection, key: TermKey) -> rusqlite::Result<()> {
    let removed = connection
        .prepare_cached("DELETE FROM term WHERE key = ?1 RETURNING field, text")?
        .query_row([key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((field, text)) = removed else { return Ok(()) };
    let (chunk, place) = split(key);
    for gram in grams_of_term(&field, &text) {
        let row = (i64::from(chunk), i64::from(gram));
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

/// The key of a term, if the dictionary has it.
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

/// Whether the dictionary has a term of the field with this name.
pub(crate) fn has_field(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM term WHERE field = ?1)")?
        .query_row([name], |row| row.get(0))
}

/// The sorted keys of the terms that hold a text, in one field or in any. `None` if there are too
/// many, or if the effort is spent first.
pub(crate) fn holding(
    connection: &Connection,
    effort: &Effort,
    field: Option<&Field>,
    text: &str,
    within: Within,
) -> rusqlite::Result<Option<Vec<TermKey>>> {
    match within {
        Within::Term | Within::WordEnd => with_grams_of(connection, effort, field, text, within),
        Within::Word => words(connection, effort, field, text, |word| word == text),
        Within::WordStart => words(connection, effort, field, text, |word| word.starts_with(text)),
    }
}

/// Words in sort order from a text on, for as long as they match.
fn words(
    connection: &Connection,
    effort: &Effort,
    field: Option<&Field>,
    from: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> rusqlite::Result<Option<Vec<TermKey>>> {
    let mut select = connection.prepare_cached(
        "SELECT key, text, is_word FROM term WHERE field = ?1 AND text >= ?2 ORDER BY text",
    )?;
    let mut next_field =
        connection.prepare_cached("SELECT min(field) FROM term WHERE field > ?1")?;
    let mut found = Vec::new();
    let mut compared = 0;
    // Without a field, search all fields; the empty name sorts first.
    let mut of_field = Some(field.map_or("", Field::name).to_owned());
    while let Some(name) = of_field {
        if effort.is_spent() {
            return Ok(None);
        }
        effort.seek();
        let mut rows = select.query((&name, from))?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(1)?.as_str()?;
            effort.rows(1);
            effort.compare(text);
            if !is_wanted(text) {
                break;
            }
            if compared == TERMS_MAX || effort.is_spent() {
                return Ok(None);
            }
            compared += 1;
            if row.get::<_, Part>(2)? == Part::Word {
                found.push(row.get(0)?);
            }
        }
        of_field = None;
        if field.is_none() {
            effort.seek();
            of_field = next_field.query_row([&name], |row| row.get(0))?;
        }
    }
    found.sort_unstable();
    Ok(Some(found))
}

/// The terms or words that have all grams of a text and contain it, or end with it.
fn with_grams_of(
    connection: &Connection,
    effort: &Effort,
    field: Option<&Field>,
    text: &str,
    within: Within,
) -> rusqlite::Result<Option<Vec<TermKey>>> {
    let is_short = text.len() <= 3 && !text.contains('\0');
    // Names of custom fields can share a gram.
    let is_proof = is_short && within == Within::Term && !matches!(field, Some(Field::Custom(_)));
    let mut select =
        connection.prepare_cached("SELECT field, text, is_word FROM term WHERE key = ?1")?;
    let holds = |row: &Row<'_>| {
        let is_of_field = match field {
            Some(field) => row.get_ref(0)?.as_str()? == field.name(),
            None => true,
        };
        let term = row.get_ref(1)?.as_str()?;
        effort.compare(term);
        Ok(is_of_field
            && match within {
                Within::WordEnd => row.get::<_, Part>(2)? == Part::Word && term.ends_with(text),
                _ => term.contains(text),
            })
    };
    let open = open_chunk(connection)?;
    let grams = grams_to_look_up(field, text, within);
    let mut found = Vec::new();
    let mut compared = 0;
    for chunk in 0..open {
        for place in candidates(connection, effort, chunk, &grams)?.places() {
            if compared == TERMS_MAX || effort.is_spent() {
                return Ok(None);
            }
            compared += 1;
            let key = first_key(chunk) | u32::from(place);
            if !is_proof {
                effort.seek();
            }
            if is_proof || select.query_row([key], holds)? {
                found.push(key);
            }
        }
        if effort.is_spent() {
            return Ok(None);
        }
    }
    effort.seek();
    let mut select =
        connection.prepare_cached("SELECT field, text, is_word, key FROM term WHERE key >= ?1")?;
    let mut rows = select.query([first_key(open)])?;
    while let Some(row) = rows.next()? {
        effort.rows(1);
        if holds(row)? {
            found.push(row.get(3)?);
        }
        if found.len() > TERMS_MAX || effort.is_spent() {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The first and the last gram of each range to look up. A term that holds the text has a gram in
/// each range.
fn grams_to_look_up(field: Option<&Field>, text: &str, within: Within) -> Vec<(u32, u32)> {
    let one = |bytes| (gram(bytes), gram(bytes));
    // The field's gram comes first, because few chunks have it. Where it is missing, the others
    // need no lookup.
    let of_field = field.map(|field| gram_of_field(field.name()));
    let mut grams: Vec<_> = of_field.map(|gram| (gram, gram)).into_iter().collect();
    match (text.as_bytes(), within) {
        ([], _) => {}
        ([a], Within::WordEnd) => grams.push(one([*a, 0, 0])),
        ([a], _) => grams.push((gram([*a, 0, 0]), gram([*a, 255, 255]))),
        ([a, b], Within::WordEnd) => grams.push(one([*a, *b, 0])),
        ([a, b], _) => grams.push((gram([*a, *b, 0]), gram([*a, *b, 255]))),
        (bytes, _) => {
            if let (Within::WordEnd, [.., a, b]) = (within, bytes) {
                grams.push(one([*a, *b, 0]));
            }
            let step = (bytes.len() - 2).div_ceil(GRAMS_MAX);
            grams.extend(bytes.array_windows().step_by(step).map(|window| one(*window)));
        }
    }
    grams
}

/// The terms of a chunk that have these grams.
fn candidates(
    connection: &Connection,
    effort: &Effort,
    chunk: u32,
    grams: &[(u32, u32)],
) -> rusqlite::Result<Set> {
    let mut select = connection
        .prepare_cached("SELECT terms FROM gram WHERE chunk = ?1 AND gram BETWEEN ?2 AND ?3")?;
    let mut candidates: Option<Set> = None;
    for (first, last) in grams {
        let mut terms = Set::empty(CHUNK);
        effort.seek();
        let mut rows = select.query((chunk, first, last))?;
        while let Some(row) = rows.next()? {
            effort.rows(1);
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

/// The distinct grams of a term.
pub(crate) fn grams(field: &str, text: &str) -> Vec<u32> {
    let mut grams: Vec<u32> = grams_of_term(field, text).collect();
    grams.sort_unstable();
    grams.dedup();
    grams
}

/// Calls `visit` with each gram that lookups use and each term that has it.
pub(crate) fn each_gram(
    connection: &Connection,
    mut visit: impl FnMut(u32, TermKey),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT chunk, gram, terms FROM gram WHERE chunk < ?1")?;
    let mut rows = select.query([open_chunk(connection)?])?;
    while let Some(row) = rows.next()? {
        let (chunk, gram): (u32, u32) = (row.get(0)?, row.get(1)?);
        let mut terms = Set::empty(CHUNK);
        terms.unite_packed(row.get_ref(2)?.as_blob()?);
        for place in terms.places() {
            visit(gram, first_key(chunk) | u32::from(place));
        }
    }
    Ok(())
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

/// Gram of a field. It lies above the grams of three bytes: the index of a standard field, or a
/// hash (FNV-1a, folded to 24 bits) of a custom field's name.
fn gram_of_field(name: &str) -> u32 {
    let standard = Field::STANDARD.iter().zip(0..).find(|(field, _)| field.name() == name);
    let number = standard.map(|(_, number)| number).unwrap_or_else(|| {
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = name.bytes().fold(0x811c_9dc5, step);
        ((hash >> 24) ^ hash) & 0x00ff_ffff | 0x100
    });
    1 << 24 | number
}

/// Chunk of a term's key, and its place in that chunk.
const fn split(key: TermKey) -> (u32, u16) {
    (key >> CHUNK_BITS, place_of(key as u64))
}

#[expect(clippy::cast_possible_truncation, reason = "fewer bits than 16 are left")]
const fn place_of(key: u64) -> u16 {
    (key & (CHUNK as u64 - 1)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    fn index() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let log = model::LogId::from_sha256([1; 32]);
        let file = folder.path().join("index.sqlite");
        let connection = schema::open(&file, log, |_| Ok(None)).unwrap();
        (folder, connection)
    }

    fn add(connection: &Connection, words: &[String]) {
        let begun = connection.unchecked_transaction().unwrap();
        let terms: Vec<Term> =
            words.iter().map(|word| Term::new("message", Part::Word, word)).collect();
        keys(connection, &mut RecentKeys::new(2), &terms).unwrap();
        begun.commit().unwrap();
    }

    #[test]
    fn a_chunk_that_is_complete_again_has_the_grams_of_its_present_terms() {
        let (_folder, connection) = index();
        let words = |from: usize, until: usize| -> Vec<String> {
            (from..until).map(|number| format!("ab{number:05}cd")).collect()
        };
        let count = |text: &str| {
            let effort = Effort::unlimited();
            holding(&connection, &effort, None, text, Within::Term).unwrap().unwrap().len()
        };
        // The first key is 1.
        add(&connection, &words(1, CHUNK + 10));
        assert_eq!(count("ab0"), CHUNK + 9);
        for key in CHUNK - 5..CHUNK + 10 {
            remove(&connection, u32::try_from(key).unwrap()).unwrap();
        }
        assert_eq!((count("ab0"), open_chunk(&connection).unwrap()), (CHUNK - 6, 0));
        add(&connection, &words(90_000, 90_100));
        assert_eq!((count("ab0"), count("ab90")), (CHUNK - 6, 100));
        assert_eq!((count("0500cd"), count("4093cd")), (1, 0));
        assert_eq!(open_chunk(&connection).unwrap(), 1);
    }

    #[test]
    fn no_lookup_compares_more_terms_than_its_limit() {
        let (_folder, connection) = index();
        let words: Vec<String> =
            (0..TERMS_MAX + 2 * CHUNK).map(|number| format!("ab{number:05}cd")).collect();
        add(&connection, &words);
        for (text, within) in [
            ("ab0x", Within::Term),
            ("ab", Within::Term),
            ("b00", Within::Term),
            ("1234", Within::Term),
            ("ab12cd", Within::Term), // its grams are there, in no one term
            ("ab", Within::WordStart),
            ("ab1", Within::WordStart),
            ("b", Within::WordStart),
            ("cd", Within::WordEnd),
            ("d", Within::WordEnd),
            ("c", Within::WordEnd),
            ("77cd", Within::WordEnd),
            ("ab", Within::Word),
            ("ab00007cd", Within::Word),
        ] {
            let is_found = |word: &&String| match within {
                Within::Term => word.contains(text),
                Within::WordStart => word.starts_with(text),
                Within::Word => *word == text,
                Within::WordEnd => word.ends_with(text),
            };
            let found = Some(words.iter().filter(is_found).count()).filter(|len| *len <= TERMS_MAX);
            for (field, found) in
                [(None, found), (Some(&Field::Message), found), (Some(&Field::New), Some(0))]
            {
                let effort = Effort::of(u64::MAX);
                let keys = holding(&connection, &effort, field, text, within).unwrap();
                assert_eq!(keys.map(|keys| keys.len()), found, "{text} {within:?} {field:?}");
                // Each costs a seek, and the grams of some 20 chunks.
                let cost = u64::MAX - effort.left();
                assert!(
                    cost < 6 * TERMS_MAX as u64 + 10_000,
                    "{text} {within:?} {field:?}: {cost}"
                );
                let effort = Effort::of(0);
                let keys = holding(&connection, &effort, field, text, within).unwrap();
                assert_eq!(keys, None, "{text} {within:?} {field:?}");
            }
        }
    }
}
