//! Checks that an index holds exactly the facts of its log.
//!
//! It reads log and index once each, from start to end, and sums both up. It hashes each fact of a
//! leaf with a key that is random each time, and adds the hashes for each chunk of 65,536 leaves.
//! If the sums are equal, the facts are equal, except with a probability of 2^-60. That holds for
//! any order of the facts, and against anyone who wrote them without the key. A fact is that a leaf
//! has a term, that the ledger received it at a certain time, that it is a reading, or that it
//! changed a sensor. Other rows of the index (summaries, rollups, grams, sensor states) follow from
//! these facts; they are computed again and compared.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    hash::{BuildHasher as _, Hash, RandomState},
    ops::Range,
    path::Path,
};

use model::{SensorId, completeness::LastNumbers};
use rusqlite::{Connection, OpenFlags};

use crate::{
    batch::{IndexBatch, SensorMove},
    block_reading::BlockReading,
    chunk, dictionary,
    error::{IndexError, Trouble, damaged},
    examine, leaves, newest, run,
    schema::{self, Entry},
    sensors,
    series::{self, ROLLUP},
    set::Set,
    summary::Summary,
    tail, term,
};

/// A difference between an index and its log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Difference {
    /// Facts of these leaves differ: the index lacks some, or has some that the log does not hold.
    Leaves {
        /// Kind of the facts.
        what: &'static str,
        /// Range of leaves that includes the ones that differ.
        leaves: Range<u64>,
    },
    /// The index holds wrong facts about a sensor.
    Sensor {
        /// Kind of the facts.
        what: &'static str,
        /// Id of the sensor.
        sensor: String,
    },
    /// The grams that lead from texts to terms differ from the terms.
    Grams,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaves { what, leaves } => {
                let last = leaves.end.saturating_sub(1);
                write!(formatter, "{what} of leaves from {} to {last}", leaves.start)
            }
            Self::Sensor { what, sensor } => write!(formatter, "{what} of the sensor {sensor}"),
            Self::Grams => formatter.write_str("search grams"),
        }
    }
}

/// A prime below 2^61. Sums of products are computed modulo this prime.
const PRIME: u64 = (1 << 61) - 1;

/// Sums of the hashed facts of one chunk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Sums {
    /// Sum over all pairs of a term and a leaf with that term, of the product of their hashes.
    terms: u64,
    times: u64,
    readings: u64,
    sightings: u64,
}

impl Sums {
    const NAMES: [&str; 4] = [
        "search terms",
        "times of receipt and of readings",
        "readings",
        "changes of sensors' states",
    ];

    const fn all(self) -> [u64; 4] {
        [self.terms, self.times, self.readings, self.sightings]
    }
}

/// A comparison of an index with its log, in progress.
#[derive(Debug)]
pub struct Comparison {
    connection: Connection,
    next_leaf: u64,
    last_entry: Entry,
    key: RandomState,
    /// Sums of the log's facts, by chunk.
    sums: Vec<Sums>,
    numbers: BTreeMap<SensorId, LastNumbers>,
    /// For each chunk with erased envelopes, the leaves whose envelopes the log lacks.
    absent: BTreeMap<u64, Set>,
    taken_in: u64,
    /// Leaves that the index has passed over and lists as such. It holds no facts of them.
    passed_over: HashSet<u64>,
}

/// Tuples that both sides hash for a reading, a receipt time and a sighting.
type ReadingFact<'a> = (SensorId, i64, u64, (&'a str, Option<&'a str>), Option<&'a str>, &'a str);
type TimeFact = (u64, i64, Option<(SensorId, i64)>);
type SightingFact<'a> = (SensorId, u64, &'a str, Option<&'a str>);

impl Comparison {
    /// Opens the index in its present state. Returns `None` if there is no index of this version,
    /// or if a crash left a write-ahead log that only the next start applies.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn begin(path: &Path, is_in_use: bool) -> Result<Option<Self>, IndexError> {
        if !path.exists() || !is_in_use && examine::has_write_ahead_log(path) {
            return Ok(None);
        }
        match Self::try_begin(path, is_in_use) {
            Err(error) if Trouble::of(&error) == Trouble::Damage => Ok(None),
            begun => begun.map_err(IndexError::while_("comparing")),
        }
    }

    fn try_begin(path: &Path, is_in_use: bool) -> rusqlite::Result<Option<Self>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(examine::uri(path, is_in_use), flags)?;
        schema::prepare(&connection, schema::CACHE_KIB)?;
        connection.execute_batch("BEGIN")?;
        let Some(schema::Cursor { next_leaf, last_entry, .. }) = schema::Cursor::read(&connection)?
        else {
            return Ok(None);
        };
        let passed_over = {
            let mut select = connection.prepare("SELECT leaf FROM passed_over")?;
            let leaves = select.query_map([], |row| row.get(0).map(i64::cast_unsigned))?;
            leaves.collect::<rusqlite::Result<_>>()?
        };
        Ok(Some(Self {
            connection,
            next_leaf,
            last_entry,
            key: RandomState::new(),
            sums: Vec::new(),
            numbers: BTreeMap::new(),
            absent: BTreeMap::new(),
            taken_in: 0,
            passed_over,
        }))
    }

    /// The first leaf that the index has not applied.
    #[must_use]
    pub const fn next_leaf(&self) -> u64 {
        self.next_leaf
    }

    /// The log's entry of the last applied leaf, as the index has it.
    #[must_use]
    pub const fn last_entry(&self) -> Entry {
        self.last_entry
    }

    /// Adds a batch of the log. The caller passes all batches from the first leaf on.
    pub fn take_in(&mut self, batch: &IndexBatch) {
        let terms: Vec<u64> = batch.terms.iter().map(|term| self.term(term.parts())).collect();
        let every = self.term(EVERY);
        let ids: Vec<SensorId> = batch.sensors.keys().copied().collect();
        let mut of_leaf = Vec::new();
        for (leaf, content) in (batch.first_leaf()..).zip(&batch.leaves) {
            let Some(received_at) = content.received_at else {
                self.absent
                    .entry(chunk::of(leaf))
                    .or_insert_with(|| Set::empty(chunk::PLACES))
                    .insert(chunk::place_of(leaf));
                continue;
            };
            if self.passed_over.contains(&leaf) {
                continue;
            }
            of_leaf.clear();
            of_leaf.extend_from_slice(batch.terms_of(content));
            of_leaf.sort_unstable();
            of_leaf.dedup();
            let all = of_leaf.iter().filter_map(|place| terms.get(*place as usize));
            let all = all.fold(every, |sum, term| add(sum, *term));
            let product = multiply(all, self.leaf(leaf));
            let reading = content.reading;
            let reading = reading.and_then(|(place, at)| Some((*ids.get(place as usize)?, at)));
            let time: TimeFact = (leaf, received_at.unix_micros(), reading);
            let time = self.key.hash_one(time);
            let sums = self.sums_of(leaf);
            sums.terms = add(sums.terms, product);
            sums.times = sums.times.wrapping_add(time);
        }
        for (place, (sensor, of_sensor)) in batch.sensors.iter().enumerate() {
            for BlockReading { at, leaf, status, flags, unit, value } in batch.readings(place) {
                if self.passed_over.contains(&leaf) {
                    continue;
                }
                let fact: ReadingFact<'_> = (*sensor, at, leaf, (status, flags), unit, value);
                let hash = self.key.hash_one(fact);
                let sums = self.sums_of(leaf);
                sums.readings = sums.readings.wrapping_add(hash);
            }
            let known = self.numbers.entry(*sensor).or_default();
            // `anew` concerns only the time before these numbers, and the index does not store it.
            *known = LastNumbers { anew: false, ..known.then(of_sensor.last_numbers) };
        }
        let is_there = |sighting: &&SensorMove| !self.passed_over.contains(&sighting.leaf);
        let sightings: Vec<&SensorMove> = batch.sightings.iter().filter(is_there).collect();
        for sighting in sightings {
            let Some(sensor) = ids.get(sighting.sensor as usize) else { continue };
            let (action, heartbeat) = (&*sighting.action, sighting.text.as_deref());
            let fact: SightingFact<'_> = (*sensor, sighting.leaf, action, heartbeat);
            let hash = self.key.hash_one(fact);
            let sums = self.sums_of(sighting.leaf);
            sums.sightings = sums.sightings.wrapping_add(hash);
        }
        self.taken_in = batch.next_leaf();
    }

    fn sums_of(&mut self, leaf: u64) -> &mut Sums {
        let chunk = usize::try_from(chunk::of(leaf)).unwrap_or(usize::MAX);
        if self.sums.len() <= chunk {
            self.sums.resize(chunk + 1, Sums::default());
        }
        self.sums.get_mut(chunk).expect("there are as many")
    }

    fn term(&self, term: term::Parts<'_>) -> u64 {
        self.key.hash_one(("term", term)) % PRIME
    }

    fn leaf(&self, leaf: u64) -> u64 {
        self.key.hash_one(("leaf", leaf)) % PRIME
    }

    fn is_absent(&self, leaf: u64) -> bool {
        let of_chunk = self.absent.get(&chunk::of(leaf));
        of_chunk.is_some_and(|leaves| leaves.contains(chunk::place_of(leaf)))
    }

    /// Reads the index and returns its differences from the log. `is_erased_since` tells of leaves
    /// whose erasure the index does not know yet.
    ///
    /// # Errors
    /// SQLite fails, or a row holds what no writer wrote.
    pub fn finish(
        self,
        is_erased_since: impl Fn(u64) -> bool,
    ) -> Result<Vec<Difference>, IndexError> {
        self.try_finish(&is_erased_since).map_err(IndexError::while_("comparing"))
    }

    fn try_finish(
        &self,
        is_erased_since: &dyn Fn(u64) -> bool,
    ) -> rusqlite::Result<Vec<Difference>> {
        // Leaves whose facts the log does not hold or the index cannot know yet.
        let is_open = |leaf: u64| {
            leaf >= self.taken_in
                || self.passed_over.contains(&leaf)
                || self.is_absent(leaf) && is_erased_since(leaf)
        };
        let mut walk = Walk {
            of: self,
            is_open: &is_open,
            sums: vec![Sums::default(); self.sums.len()],
            ids: self.ids()?,
            differences: Vec::new(),
        };
        walk.times()?;
        walk.terms()?;
        walk.grams()?;
        walk.series()?;
        walk.sensors()?;
        let Walk { sums, mut differences, .. } = walk;
        for (chunk, (log, index)) in (0..).zip(self.sums.iter().zip(sums)) {
            let first = chunk::first_leaf(chunk);
            let end = chunk::first_leaf(chunk + 1).min(self.taken_in);
            let of = Sums::NAMES.into_iter().zip(log.all().into_iter().zip(index.all()));
            differences.extend(
                of.filter(|(_, (log, index))| log != index)
                    .map(|(what, _)| Difference::Leaves { what, leaves: first..end }),
            );
        }
        Ok(differences)
    }

    fn ids(&self) -> rusqlite::Result<BTreeMap<i64, SensorId>> {
        let mut select = self.connection.prepare("SELECT key, id FROM sensor")?;
        let mut ids = BTreeMap::new();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let id = row.get_ref(1)?.as_str()?.parse();
            ids.insert(row.get(0)?, id.map_err(|_| damaged("a sensor's id"))?);
        }
        Ok(ids)
    }
}

/// The entry in the postings that every event has, as a term without a field.
const EVERY: term::Parts<'static> = ("\0every", term::Part::Whole, "");

/// One pass through the index, which sums its facts up.
struct Walk<'a> {
    of: &'a Comparison,
    is_open: &'a dyn Fn(u64) -> bool,
    sums: Vec<Sums>,
    ids: BTreeMap<i64, SensorId>,
    differences: Vec<Difference>,
}

impl Walk<'_> {
    /// The sums of the leaf's chunk. If the log has no such chunk, records a difference and returns
    /// `None`.
    fn sums_of(&mut self, leaf: u64, what: &'static str) -> Option<&mut Sums> {
        let chunk = usize::try_from(chunk::of(leaf)).ok();
        if chunk.is_none_or(|chunk| chunk >= self.sums.len()) {
            self.differences
                .push(Difference::Leaves { what, leaves: leaf..leaf.saturating_add(1) });
            return None;
        }
        chunk.and_then(|chunk| self.sums.get_mut(chunk))
    }

    fn hash(&self, fact: impl Hash) -> u64 {
        self.of.key.hash_one(fact)
    }

    fn id(&self, sensor: i64) -> rusqlite::Result<SensorId> {
        self.ids.get(&sensor).copied().ok_or_else(|| damaged("a row of no sensor"))
    }

    fn times(&mut self) -> rusqlite::Result<()> {
        let [_, what, ..] = Sums::NAMES;
        let mut rows = self
            .of
            .connection
            .prepare("SELECT first, first_at, leaves FROM leaves ORDER BY first")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (first, content) = leaves::row(row)?;
            for (leaf, leaves::Leaf { received_at, reading }) in (first..).zip(content) {
                if (self.is_open)(leaf) || reading.is_none() && self.of.is_absent(leaf) {
                    continue;
                }
                let reading = match reading {
                    Some(reading) => Some((self.id(reading.sensor)?, reading.at)),
                    None => None,
                };
                let fact: TimeFact = (leaf, received_at, reading);
                let hash = self.hash(fact);
                let Some(sums) = self.sums_of(leaf, what) else { continue };
                sums.times = sums.times.wrapping_add(hash);
            }
        }
        Ok(())
    }

    fn terms(&mut self) -> rusqlite::Result<()> {
        let [what, ..] = Sums::NAMES;
        let connection = &self.of.connection;
        for (chunk, _) in run::counts(connection)? {
            let first = chunk::first_leaf(chunk);
            let mut total = 0;
            for run in run::of_chunk(connection, chunk)? {
                run::each(connection, run.number, |term, packed| {
                    let mut sum = 0;
                    for place in run::places(packed)? {
                        let leaf = first | u64::from(place);
                        if !(self.is_open)(leaf) {
                            sum = add(sum, self.of.leaf(leaf));
                        }
                    }
                    if sum != 0 {
                        total = add(total, multiply(self.term(term)?, sum));
                    }
                    Ok(())
                })?;
            }
            if total != 0
                && let Some(sums) = self.sums_of(first, what)
            {
                sums.terms = add(sums.terms, total);
            }
        }
        let chunk = chunk::of(self.of.next_leaf);
        let mut pairs = Vec::new();
        tail::each(connection, chunk, |place, term| pairs.push((place, term)))?;
        // A term that a leaf has twice appears twice until the leaf is in a run.
        pairs.sort_unstable();
        pairs.dedup();
        for (place, term) in pairs {
            let leaf = chunk::first_leaf(chunk) | u64::from(place);
            if (self.is_open)(leaf) {
                continue;
            }
            let product = multiply(self.term(term)?, self.of.leaf(leaf));
            if let Some(sums) = self.sums_of(leaf, what) {
                sums.terms = add(sums.terms, product);
            }
        }
        Ok(())
    }

    /// Hash of the term with this key.
    fn term(&self, key: dictionary::TermKey) -> rusqlite::Result<u64> {
        if key == dictionary::EVERY {
            return Ok(self.of.term(EVERY));
        }
        self.of
            .connection
            .prepare_cached("SELECT field, is_word, text FROM term WHERE key = ?1")?
            .query_row([key], |row| {
                Ok(self.of.term((
                    row.get_ref(0)?.as_str()?,
                    row.get(1)?,
                    row.get_ref(2)?.as_str()?,
                )))
            })
    }

    /// Compares the grams with the terms, from which they follow. Those of the newest terms are not
    /// written yet.
    fn grams(&mut self) -> rusqlite::Result<()> {
        let connection = &self.of.connection;
        let (mut of_terms, mut there) = (0_u64, 0_u64);
        let open = dictionary::first_key(dictionary::open_chunk(connection)?);
        let mut terms = connection.prepare("SELECT key, field, text FROM term WHERE key < ?1")?;
        let mut rows = terms.query([open])?;
        while let Some(row) = rows.next()? {
            let key: dictionary::TermKey = row.get(0)?;
            for gram in dictionary::grams(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?) {
                of_terms = of_terms.wrapping_add(self.hash((gram, key)));
            }
        }
        dictionary::each_gram(connection, |gram, key| {
            there = there.wrapping_add(self.hash((gram, key)));
        })?;
        if of_terms != there {
            self.differences.push(Difference::Grams);
        }
        Ok(())
    }

    /// Checks blocks and their summaries, and the rollups computed from them.
    fn series(&mut self) -> rusqlite::Result<()> {
        let [.., what, _] = Sums::NAMES;
        for (sensor, id) in self.ids.clone() {
            let mut rollups: BTreeMap<i64, Summary> = BTreeMap::new();
            let mut is_right = true;
            let mut before = None;
            series::each_block(&self.of.connection, sensor, |in_rollups, block, readings| {
                is_right &=
                    before < Some(block.first) && readings.is_sorted_by_key(BlockReading::key);
                is_right &= block == series::Columns::of(readings);
                before = readings.last().map(BlockReading::key);
                for reading in readings {
                    if in_rollups {
                        let rollup = reading.at.div_euclid(ROLLUP);
                        rollups.entry(rollup).or_insert(Summary::NOTHING).add(reading);
                    }
                    let BlockReading { at, leaf, status, flags, unit, value } = *reading;
                    if (self.is_open)(leaf) {
                        continue;
                    }
                    let fact: ReadingFact<'_> = (id, at, leaf, (status, flags), unit, value);
                    let hash = self.hash(fact);
                    if let Some(sums) = self.sums_of(leaf, what) {
                        sums.readings = sums.readings.wrapping_add(hash);
                    }
                }
                Ok(())
            })?;
            let mut there = 0;
            series::each_rollup(&self.of.connection, sensor, |number, summary| {
                there += 1;
                is_right &= rollups.get(&number).is_some_and(|right| right.is_about(summary));
            })?;
            if !is_right || there != rollups.len() {
                let sensor = id.to_string();
                self.differences.push(Difference::Sensor { what: "sums of readings", sensor });
            }
        }
        Ok(())
    }

    fn sensors(&mut self) -> rusqlite::Result<()> {
        let [.., what] = Sums::NAMES;
        sensors::each_sighting(&self.of.connection, |sensor, leaf, action, heartbeat| {
            let sensor = self.id(sensor)?;
            if !(self.is_open)(leaf) {
                let fact: SightingFact<'_> = (sensor, leaf, action, heartbeat);
                let hash = self.hash(fact);
                if let Some(sums) = self.sums_of(leaf, what) {
                    sums.sightings = sums.sightings.wrapping_add(hash);
                }
            }
            Ok(())
        })?;
        let has_all = self.of.absent.is_empty()
            && self.of.passed_over.is_empty()
            && self.of.taken_in == self.of.next_leaf;
        for (key, id) in &self.ids {
            let sensor = || id.to_string();
            if !sensors::stands_as_sighted(&self.of.connection, *key)? {
                let what = "existence or state";
                self.differences.push(Difference::Sensor { what, sensor: sensor() });
            }
            let there = newest::last_numbers(&self.of.connection, *key)?;
            let said = self.of.numbers.get(id).copied().unwrap_or_default();
            // The index keeps numbers whose events were erased.
            if there.poll < said.poll && self.of.passed_over.is_empty() || has_all && there != said
            {
                self.differences
                    .push(Difference::Sensor { what: "newest numbers", sensor: sensor() });
            }
        }
        let known: BTreeSet<&SensorId> = self.ids.values().collect();
        for id in self.of.numbers.keys() {
            if !known.contains(id) {
                let (what, sensor) = ("everything", id.to_string());
                self.differences.push(Difference::Sensor { what, sensor });
            }
        }
        Ok(())
    }
}

const fn add(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

#[expect(clippy::cast_possible_truncation, reason = "what is left is below the prime")]
const fn multiply(a: u64, b: u64) -> u64 {
    (a as u128 * b as u128 % PRIME as u128) as u64
}
