//! What waits to be judged, and what was judged and waits to be sealed.
//!
//! The docket decides which question is asked next and what is sealed with which cursor. It does no
//! IO and knows no clock; the pipeline drives it.
//!
//! Sensors are divided into lanes. A question is about whole lanes, and no lane is in two questions
//! at once. So several questions are under way over disjoint sensors, and each sensor is judged in
//! the log's order.
//!
//! A question on which the component fails, although it answers others, is divided: by lanes, and
//! then into halves, until one sighting is left. If the component fails on that one alone again and
//! again, an error is sealed in place of a verdict, and what comes after it is asked about.
//!
//! Invariants:
//! - sealed <= judged <= read, as leaves: every leaf before `judged` has its verdict or its
//!   error, and a cursor never passes a leaf without one;
//! - a question holds the standings that follow from everything that was judged of its sensors
//!   before;
//! - the derived events before a cursor are sealed with it or before it.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    mem,
    sync::Arc,
};

use ledger::Batch;
use model::{
    SensorId,
    derive::{Derived, Sighting, Standing},
    processing::Seen,
};
use serde::Serialize;

/// Number of lanes, and so of questions under way. A host works on eight messages at once; half of
/// them keep it busy while the site makes the next questions.
const LANES: usize = 4;
/// Sightings in one question. At this number an instance costs a small part of the question.
pub(super) const QUESTION_MAX: usize = 1_000;
/// Failures on one sighting alone after which an error is sealed. A host that takes questions and
/// never answers causes failures, too. Therefore a failure counts only if [`KNOWN_QUESTIONS`] other
/// questions were answered right after it. Whatever share of the questions such a host takes,
/// chance does that less than once in 20 times, and five times in a row less than once in three
/// million.
const STRIKES_MAX: u8 = 5;
/// Questions that must be answered for a failure to count.
pub(super) const KNOWN_QUESTIONS: usize = 8;
/// Sightings that wait or are asked about. When there are as many, no further leaves are read.
const SIGHTINGS_MAX: usize = 2 * LANES * QUESTION_MAX;
/// Leaves that are read beyond the first one without a verdict. While a component fails on one
/// lane's leaf, the other lanes go on until then: for most of a minute at 5,000 readings a second.
const AHEAD_MAX: u64 = 262_144;
/// Derived events that wait to be sealed, because a leaf before them has no verdict, until no
/// further leaves are read.
const FINDINGS_MAX: usize = 16_384;

/// One leaf, as it is asked about.
pub(super) trait Item {
    fn leaf(&self) -> u64;
    fn sensor(&self) -> SensorId;
    fn source(&self) -> &str;
}

impl Item for Sighting {
    fn leaf(&self) -> u64 {
        self.leaf
    }
    fn sensor(&self) -> SensorId {
        self.sensor
    }
    fn source(&self) -> &str {
        &self.source
    }
}

impl Item for Seen {
    fn leaf(&self) -> u64 {
        self.leaf
    }
    fn sensor(&self) -> SensorId {
        self.sensor
    }
    fn source(&self) -> &str {
        &self.source
    }
}

/// What a component is asked: as JSON, a [`Question`](model::derive::Question) of `sensor-reader`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Question<T> {
    /// Standings of the sensors that differ from the default, before the first sighting.
    pub(super) standings: BTreeMap<SensorId, Standing>,
    pub(super) sightings: Vec<T>,
}

/// What waits to be judged and sealed.
#[derive(Debug)]
pub(super) struct Docket<T> {
    /// Standings after everything that was judged, where they differ from the default.
    standings: BTreeMap<SensorId, Standing>,
    lanes: [Lane<T>; LANES],
    /// Sightings in all lanes, those that are asked about included.
    sightings: usize,
    /// The first leaf that was not read.
    read: u64,
    /// What waits to be sealed, by the leaf from which it was derived.
    findings: BTreeMap<u64, Vec<Finding>>,
    /// Number of all of them.
    findings_count: usize,
    /// First leaf of what is being sealed.
    sealing: Option<u64>,
    /// The last cursor that was given away to be sealed.
    cursor: u64,
}

/// A derived event, and which component derived it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) derived: Derived,
    /// Unit of its value, if a processor says so.
    pub(super) unit: Option<String>,
    /// Digest of the component that answered.
    pub(super) by: Arc<str>,
}

/// The sensors with the same hash.
#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    asked: Option<Asked>,
    /// Parts of questions on which the component failed: how many sightings each of the next
    /// questions is about, the next one last. There is at most one for each halving.
    parts: Vec<usize>,
    strikes: Strikes,
}

/// How often a component failed on the first sighting alone.
#[derive(Debug, Default)]
struct Strikes {
    /// Digest of the component.
    by: Arc<str>,
    count: u8,
}

/// What a question has of one lane.
#[derive(Debug)]
struct Asked {
    first_leaf: u64,
    sightings: usize,
}

/// The lanes of a question. It is given back with the verdict, or with the failure.
#[derive(Debug)]
pub(super) struct Lanes {
    asked: [bool; LANES],
    /// Whether the question is a part of one on which the component failed.
    pub(super) is_part: bool,
}

/// A component failed on a question, although it answers others.
#[derive(Debug)]
pub(super) struct Failure {
    /// Digest of the component.
    pub(super) by: Arc<str>,
    /// What is known of the reason.
    pub(super) why: String,
}

impl<T: Item> Docket<T> {
    /// A docket that begins at the cursor, with the standings there.
    pub(super) fn new(cursor: u64, standings: BTreeMap<SensorId, Standing>) -> Self {
        Self {
            standings,
            lanes: [(); LANES].map(|()| Lane::new()),
            sightings: 0,
            read: cursor,
            findings: BTreeMap::new(),
            findings_count: 0,
            sealing: None,
            cursor,
        }
    }

    /// The first leaf that was not read; `None` while there is no room for more.
    pub(super) fn reads_from(&self) -> Option<u64> {
        let has_room = self.sightings < SIGHTINGS_MAX
            && self.findings_count < FINDINGS_MAX
            && self.read - self.judged() < AHEAD_MAX;
        has_room.then_some(self.read)
    }

    /// Sightings without a verdict.
    pub(super) const fn waiting(&self) -> usize {
        self.sightings
    }

    /// Takes what was read: sightings in the log's order, and the leaf after them.
    pub(super) fn handle_read(&mut self, sightings: Vec<T>, next_leaf: u64) {
        self.read = next_leaf;
        self.sightings += sightings.len();
        for sighting in sightings {
            let lane = lane_of(sighting.sensor());
            self.lanes.get_mut(lane).expect("a hash below the number").waiting.push_back(sighting);
        }
    }

    /// The next question, if one can be asked now. What waits goes into one question if it fits,
    /// because each question costs an instance of the component. Otherwise the question is about
    /// the lane in which most wait. Each part of a question on which the component failed is a
    /// question of its own.
    pub(super) fn poll_question(&mut self) -> Option<(Lanes, Question<T>)> {
        let is_part = |lane: &Lane<T>| lane.asked.is_none() && !lane.parts.is_empty();
        let mut lanes = [false; LANES];
        let part = self.lanes.iter_mut().zip(&mut lanes).find(|(lane, _)| is_part(lane));
        if let Some((lane, is_asked)) = part {
            *is_asked = true;
            let count = lane.parts.last().copied().unwrap_or_default();
            let sightings = lane.ask(count);
            return Some((Lanes { asked: lanes, is_part: true }, self.question(sightings)));
        }
        let is_idle = |lane: &Lane<T>| lane.asked.is_none() && !lane.waiting.is_empty();
        let waiting = |lane: &Lane<T>| if is_idle(lane) { lane.waiting.len() } else { 0 };
        let all: usize = self.lanes.iter().map(waiting).sum();
        let most = self.lanes.iter().map(waiting).max().unwrap_or_default();
        let mut is_full = false;
        let mut sightings = Vec::new();
        for (lane, is_asked) in self.lanes.iter_mut().zip(&mut lanes) {
            if !is_idle(lane) || is_full || (all > QUESTION_MAX && lane.waiting.len() < most) {
                continue;
            }
            is_full = all > QUESTION_MAX;
            *is_asked = true;
            sightings.extend(lane.ask(QUESTION_MAX));
        }
        if sightings.is_empty() {
            return None;
        }
        sightings.sort_unstable_by_key(Item::leaf);
        Some((Lanes { asked: lanes, is_part: false }, self.question(sightings)))
    }

    /// The question about these sightings.
    fn question(&self, sightings: Vec<T>) -> Question<T> {
        let standing = |sighting: &T| {
            Some((sighting.sensor(), self.standings.get(&sighting.sensor())?.clone()))
        };
        let standings = sightings.iter().filter_map(standing).collect();
        Question { standings, sightings }
    }

    /// Takes the verdict of a question.
    pub(super) fn handle_verdict(&mut self, lanes: Lanes, findings: Vec<Finding>) {
        for (lane, is_asked) in self.lanes.iter_mut().zip(lanes.asked) {
            if let Some(asked) = lane.asked.take_if(|_| is_asked) {
                self.sightings -= asked.sightings;
                lane.parts.pop();
                lane.strikes = Strikes::default();
            }
        }
        for finding in findings {
            let Finding { derived, .. } = &finding;
            let sensor = derived.sensor;
            let before = self.standings.remove(&sensor).unwrap_or_default();
            let standing = before.after(&derived.action, derived.channel.as_deref(), derived.since);
            if standing != Standing::default() {
                self.standings.insert(sensor, standing);
            }
            self.add(derived.from_leaf, finding);
        }
    }

    /// Takes back the sightings of a question on which the component failed, and asks about them
    /// in parts. Returns the leaf for which an error is sealed instead, if that is due.
    pub(super) fn handle_failure(
        &mut self,
        lanes: Lanes,
        sightings: Vec<T>,
        failure: Failure,
    ) -> Option<u64> {
        for sighting in sightings.into_iter().rev() {
            let lane = self.lanes.get_mut(lane_of(sighting.sensor()));
            lane.expect("a hash below the number").waiting.push_front(sighting);
        }
        let is_of_many_lanes = lanes.asked.iter().filter(|is_asked| **is_asked).count() > 1;
        let mut poison = None;
        for (lane, is_asked) in self.lanes.iter_mut().zip(lanes.asked) {
            let Some(Asked { sightings, .. }) = lane.asked.take_if(|_| is_asked) else { continue };
            lane.parts.pop();
            if is_of_many_lanes {
                lane.parts.push(sightings);
            } else if sightings > 1 {
                lane.parts.extend([sightings - sightings / 2, sightings / 2]);
            } else if lane.strikes.add(&failure.by) < STRIKES_MAX {
                lane.parts.push(sightings);
            } else {
                lane.strikes = Strikes::default();
                poison = lane.waiting.pop_front();
            }
        }
        let poison = poison?;
        self.sightings -= 1;
        let Failure { by, why } = failure;
        let (leaf, source) = (poison.leaf(), poison.source().to_owned());
        let derived = Derived::not_judged(leaf, poison.sensor(), source, &why);
        self.add(leaf, Finding { derived, unit: None, by });
        Some(leaf)
    }

    fn add(&mut self, leaf: u64, finding: Finding) {
        self.findings.entry(leaf).or_default().push(finding);
        self.findings_count += 1;
    }

    /// The first leaf that has no verdict.
    fn judged(&self) -> u64 {
        let first = |lane: &Lane<T>| match (&lane.asked, lane.waiting.front()) {
            (Some(asked), _) => Some(asked.first_leaf),
            (None, front) => front.map(Item::leaf),
        };
        self.lanes.iter().filter_map(first).min().unwrap_or(self.read)
    }

    /// The first leaf whose verdict is not sealed. Where a verdict derives nothing, there is
    /// nothing to seal.
    pub(super) fn settled(&self) -> u64 {
        let unsealed = self.findings.first_key_value().map(|(leaf, _)| *leaf);
        [self.sealing, unsealed].into_iter().flatten().fold(self.judged(), u64::min)
    }

    /// What is sealed next, in one append: derived events, and the cursor up to which they are
    /// everything that follows. A cursor alone is sealed only if `alone` says so: a crash before it
    /// repeats questions from which nothing was derived. [`Docket::handle_sealed`] must come before
    /// the next call.
    pub(super) fn poll_append(&mut self, alone: bool) -> Option<(Vec<Finding>, u64)> {
        let mut cursor = self.judged();
        let later = self.findings.split_off(&cursor);
        let mut judged = mem::replace(&mut self.findings, later).into_iter();
        let mut batch = Vec::new();
        while let Some((leaf, findings)) = judged.next() {
            // A leaf has few derived events, so each leaf alone fits a batch.
            if batch.len() + findings.len() > Batch::EVENTS_MAX {
                cursor = leaf;
                self.findings.insert(leaf, findings);
                self.findings.extend(judged.by_ref());
                break;
            }
            batch.extend(findings);
        }
        if batch.is_empty() && !(alone && cursor > self.cursor) {
            return None;
        }
        self.findings_count -= batch.len();
        self.sealing = batch.first().map(|first: &Finding| first.derived.from_leaf);
        self.cursor = cursor;
        Some((batch, cursor))
    }

    /// Notes that what [`Docket::poll_append`] gave away is sealed.
    pub(super) const fn handle_sealed(&mut self) {
        self.sealing = None;
    }
}

impl<T: Item> Lane<T> {
    fn new() -> Self {
        let (waiting, strikes) = (VecDeque::new(), Strikes::default());
        Self { waiting, asked: None, parts: Vec::new(), strikes }
    }

    /// Takes so many of those that wait for a question, or all.
    fn ask(&mut self, count: usize) -> Vec<T> {
        let count = count.min(self.waiting.len());
        let first_leaf = self.waiting.front().map_or(0, Item::leaf);
        self.asked = Some(Asked { first_leaf, sightings: count });
        self.waiting.drain(..count).collect()
    }
}

impl Strikes {
    /// Counts a failure of this component. Those of another do not count with it.
    fn add(&mut self, by: &Arc<str>) -> u8 {
        if self.by != *by {
            *self = Self { by: Arc::clone(by), count: 0 };
        }
        self.count += 1;
        self.count
    }
}

fn lane_of(sensor: SensorId) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(sensor);
    usize::try_from(hash % LANES as u64).expect("a number below that of the lanes")
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use model::{action, derive::Seen};
    use proptest::prelude::*;

    use super::*;

    fn sensor(number: u8) -> SensorId {
        SensorId::from_bytes([number; 16])
    }

    /// The log: of each leaf, the sensor and its value; `None` is a leaf that nobody judges.
    type Log = [Option<(u8, &'static str)>];

    const INSIDE: &str = "1";
    const OUTSIDE: &str = "99";
    /// The component fails on this value.
    const POISON: &str = "0x";

    fn value() -> impl Strategy<Value = &'static str> {
        prop_oneof![20 => Just(INSIDE), 20 => Just(OUTSIDE), 1 => Just(POISON)]
    }

    fn is_poison(sighting: &Sighting) -> bool {
        matches!(&sighting.seen, Seen::Value { value, .. } if value == POISON)
    }

    fn sightings(log: &Log, leaves: Range<u64>) -> Vec<Sighting> {
        let sighting = |(leaf, event): (u64, &Option<(u8, &str)>)| {
            let (number, value) = (*event)?;
            let seen = Seen::Value { value: String::from(value), range: None, units: None };
            let (sensor, source, received_at) = (sensor(number), String::new(), None);
            Some(Sighting { leaf, sensor, source, seen, received_at })
        };
        (0..).zip(log).filter(|(leaf, _)| leaves.contains(leaf)).filter_map(sighting).collect()
    }

    /// What a component derives: that a range is left or entered.
    fn judge(question: Question<Sighting>) -> Vec<Finding> {
        let Question { mut standings, sightings } = question;
        let derive = |sighting: Sighting| {
            let standing = standings.entry(sighting.sensor).or_default();
            let is_out = matches!(&sighting.seen, Seen::Value { value, .. } if value == OUTSIDE);
            let action = match (standing.value.out_of_range, is_out) {
                (false, true) => action::OUT_OF_RANGE,
                (true, false) => action::BACK_IN_RANGE,
                _ => return None,
            };
            *standing = mem::take(standing).after(action, None, None);
            let Sighting { leaf: from_leaf, sensor, source, .. } = sighting;
            let (value, message) = (None, String::new());
            let (action, channel, since) = (action.to_owned(), None, None);
            let derived =
                Derived { from_leaf, sensor, action, channel, since, source, value, message };
            Some(Finding { derived, unit: None, by: Arc::from("a") })
        };
        sightings.into_iter().filter_map(derive).collect()
    }

    /// What follows from the log: each leaf is judged, or its error is sealed.
    fn expected(log: &Log) -> Vec<Finding> {
        let mut expected = Vec::new();
        for sighting in sightings(log, 0..log.len() as u64) {
            if is_poison(&sighting) {
                let Sighting { leaf, sensor, source, .. } = sighting;
                let derived = Derived::not_judged(leaf, sensor, source, "it trapped");
                expected.push(Finding { derived, unit: None, by: Arc::from("a") });
            } else {
                let standings = after(&expected);
                expected.extend(judge(Question { standings, sightings: vec![sighting] }));
            }
        }
        expected
    }

    /// The component answers, or fails.
    fn answer(
        docket: &mut Docket<Sighting>,
        (lanes, question): (Lanes, Question<Sighting>),
        by: &str,
    ) {
        if question.sightings.iter().any(is_poison) || by != "a" {
            let failure = Failure { by: Arc::from(by), why: String::from("it trapped") };
            docket.handle_failure(lanes, question.sightings, failure);
        } else {
            docket.handle_verdict(lanes, judge(question));
        }
    }

    fn after(sealed: &[Finding]) -> BTreeMap<SensorId, Standing> {
        let mut standings = BTreeMap::<_, Standing>::new();
        for Finding { derived: Derived { sensor, action, .. }, .. } in sealed {
            let standing = standings.entry(*sensor).or_default();
            *standing = mem::take(standing).after(action, None, None);
        }
        standings
    }

    /// What a script of the pipeline's steps does to a log.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Read(u64),
        Ask,
        /// The component answers one of the questions, or fails on it.
        Answer(usize),
        /// Another one fails on it.
        Fail(usize),
        /// Takes what can be sealed, with the cursor alone or not.
        Append(bool),
        /// What was taken is durable.
        Sealed,
        /// The process dies. What was taken is durable, or it is not.
        Crash(bool),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            3 => (1..40_u64).prop_map(Act::Read),
            4 => Just(Act::Ask),
            4 => any::<usize>().prop_map(Act::Answer),
            1 => any::<usize>().prop_map(Act::Fail),
            3 => any::<bool>().prop_map(Act::Append),
            3 => Just(Act::Sealed),
            1 => any::<bool>().prop_map(Act::Crash),
        ];
        proptest::collection::vec(act, 0..200)
    }

    /// More than enough to halve each question down to each poison, and to fail on it.
    const LAST_ACTS: usize = 6_000;

    proptest! {
        #[test]
        fn nothing_is_judged_twice_or_never_whatever_dies_when(
            log in proptest::collection::vec(proptest::option::of((0..9_u8, value())), 0..300),
            acts in acts(),
        ) {
            let size = log.len() as u64;
            let expected = expected(&log);
            let (mut sealed, mut cursor) = (Vec::new(), 0);
            let mut docket = Docket::new(0, BTreeMap::new());
            let (mut asked, mut taken) = (Vec::<(Lanes, Question<Sighting>)>::new(), None);
            // At the end everything is read, answered and sealed.
            let last = [Act::Sealed, Act::Read(size), Act::Ask, Act::Answer(0), Act::Append(true), Act::Sealed];
            let script = acts.len();
            for (step, act) in acts.into_iter().chain(last.into_iter().cycle().take(LAST_ACTS)).enumerate() {
                if step >= script && cursor == size {
                    break;
                }
                match act {
                    Act::Read(count) => if let Some(from) = docket.reads_from() {
                        let end = size.min(from + count);
                        docket.handle_read(sightings(&log, from..end), end);
                    },
                    Act::Ask => asked.extend(docket.poll_question()),
                    Act::Answer(which) | Act::Fail(which) => if !asked.is_empty() {
                        let asked = asked.swap_remove(which % asked.len());
                        answer(&mut docket, asked, if matches!(act, Act::Fail(_)) { "b" } else { "a" });
                    },
                    Act::Append(alone) => if taken.is_none() {
                        taken = docket.poll_append(alone);
                    },
                    Act::Sealed => if let Some((findings, next_leaf)) = taken.take() {
                        sealed.extend(findings);
                        cursor = next_leaf;
                        docket.handle_sealed();
                    },
                    Act::Crash(is_sealed) => {
                        if let Some((findings, next_leaf)) = taken.take().filter(|_| is_sealed) {
                            sealed.extend(findings);
                            cursor = next_leaf;
                        }
                        asked.clear();
                        docket = Docket::new(cursor, after(&sealed));
                    }
                }
                let so_far = expected.iter().filter(|finding| finding.derived.from_leaf < cursor);
                prop_assert!(so_far.eq(&sealed), "what is sealed is what follows before {cursor}");
                prop_assert!(cursor <= docket.settled() && docket.settled() <= docket.read);
                let of = |lane: usize| asked.iter().filter(|(lanes, _)| lanes.asked[lane]).count();
                prop_assert!((0..LANES).all(|lane| of(lane) <= 1), "a lane is in one question");
            }
            prop_assert_eq!((sealed, cursor), (expected, size));
        }
    }

    #[test]
    fn a_backlog_is_asked_about_in_every_lane_and_a_handful_at_once() {
        let log: Vec<_> =
            (0..4_000_u32).map(|leaf| Some((u8::try_from(leaf % 97).unwrap(), INSIDE))).collect();
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(sightings(&log, 0..10), 10);
        let (lanes, question) = docket.poll_question().unwrap();
        assert_eq!(question.sightings.len(), 10);
        assert!(docket.poll_question().is_none() && docket.settled() == 0);
        docket.handle_verdict(lanes, Vec::new());
        assert_eq!(docket.settled(), 10);
        docket.handle_read(sightings(&log, 10..4_000), 4_000);
        let asked: Vec<_> = std::iter::from_fn(|| docket.poll_question()).collect();
        assert_eq!(asked.len(), LANES);
        assert!(asked.iter().all(|(_, question)| question.sightings.len() <= QUESTION_MAX));
        // The first lane to end waits for the leaves of the others.
        let (_, first) =
            asked.iter().find(|(_, question)| question.sightings[0].leaf == 10).unwrap();
        assert_eq!(docket.settled(), first.sightings[0].leaf);
    }

    #[test]
    fn there_is_room_for_a_bounded_number_of_sightings() {
        let log = vec![Some((1, INSIDE)); SIGHTINGS_MAX];
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(sightings(&log, 0..SIGHTINGS_MAX as u64), SIGHTINGS_MAX as u64);
        assert_eq!(docket.reads_from(), None);
        let (lanes, _) = docket.poll_question().unwrap();
        assert_eq!(docket.reads_from(), None, "what is asked about takes room too");
        docket.handle_verdict(lanes, Vec::new());
        assert_eq!(docket.reads_from(), Some(SIGHTINGS_MAX as u64));
    }

    #[test]
    fn a_leaf_without_a_verdict_keeps_the_others_waiting_in_the_end() {
        let poison = sightings(&[Some((1, POISON))], 0..1);
        let other = (2..).find(|it| lane_of(sensor(*it)) != lane_of(sensor(1))).unwrap();
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(poison.clone(), 1);
        let _asked = docket.poll_question().unwrap();
        // The other sensor leaves and enters its range with each pair of leaves.
        let pair = sightings(&[Some((other, OUTSIDE)), Some((other, INSIDE))], 0..2);
        let mut leaf = 1;
        while let Some(from) = docket.reads_from() {
            leaf = from + 2;
            let at =
                |sighting: &Sighting| Sighting { leaf: from + sighting.leaf, ..sighting.clone() };
            docket.handle_read(pair.iter().map(at).collect(), leaf);
            let (lanes, question) = docket.poll_question().unwrap();
            docket.handle_verdict(lanes, judge(question));
        }
        assert_eq!((docket.settled(), leaf), (0, 1 + FINDINGS_MAX as u64));
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(poison, AHEAD_MAX);
        assert_eq!(docket.reads_from(), None);
    }

    #[test]
    fn more_than_a_batch_is_sealed_in_parts_that_end_with_a_leaf() {
        let size = Batch::EVENTS_MAX as u64 * 5 / 2;
        let log: Vec<_> =
            (0..size).map(|leaf| Some((1, if leaf % 2 == 0 { OUTSIDE } else { INSIDE }))).collect();
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(sightings(&log, 0..size), size);
        while let Some((lanes, question)) = docket.poll_question() {
            docket.handle_verdict(lanes, judge(question));
        }
        let mut cursors = Vec::new();
        while let Some((findings, cursor)) = docket.poll_append(false) {
            assert_eq!(docket.settled(), findings[0].derived.from_leaf);
            cursors.push((findings.len(), cursor));
            docket.handle_sealed();
        }
        assert_eq!(cursors, [(1_000, 1_000), (1_000, 2_000), (500, 2_500)]);
        assert_eq!(docket.settled(), 2_500);
    }

    #[test]
    fn a_poison_is_halved_down_to_and_only_it_has_no_verdict() {
        let poison_at = 700;
        let value = |leaf| if leaf == poison_at { POISON } else { OUTSIDE };
        let log: Vec<_> = (0..1_000).map(|leaf| Some((1, value(leaf)))).collect();
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(sightings(&log, 0..1_000), 1_000);
        let (mut questions, mut failures) = (0, 0);
        while let Some((lanes, question)) = docket.poll_question() {
            questions += 1;
            failures += usize::from(question.sightings.iter().any(is_poison));
            answer(&mut docket, (lanes, question), "a");
        }
        // 1,000 are halved ten times; each other half is answered.
        assert_eq!((failures, questions), (10 + usize::from(STRIKES_MAX), 2 * 10 + 5));
        let (findings, cursor) = docket.poll_append(true).unwrap();
        let told: Vec<_> =
            findings.iter().map(|it| (it.derived.from_leaf, it.derived.action.as_str())).collect();
        assert_eq!(told, [(0, action::OUT_OF_RANGE), (poison_at, action::NOT_JUDGED)]);
        assert_eq!(cursor, 1_000);
    }

    #[test]
    fn failures_of_several_components_are_no_proof_against_a_reading() {
        let log = [Some((1, POISON))];
        let mut docket = Docket::new(0, BTreeMap::new());
        docket.handle_read(sightings(&log, 0..1), 1);
        for by in ["a", "b"].into_iter().cycle().take(4 * usize::from(STRIKES_MAX)) {
            let asked = docket.poll_question().unwrap();
            answer(&mut docket, asked, by);
            assert_eq!(docket.settled(), 0);
        }
    }
}
