//! Gathers cosignatures under a virtual clock: witnesses answer, are slow, fail and come back.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tlog::{Checkpoint, Cosigner, KeyName, Policy, PosixTime, TreeSize};
use witness::{Action, Answer, AskError, Gathering};

use crate::house::Log;

fn cosigner(name: &str) -> Cosigner {
    Cosigner::from_seed(KeyName::parse(name).unwrap(), &[name.as_bytes()[0]; 32])
}

/// A policy of witnesses a, b and c.
fn policy(quorum: &str) -> Policy {
    let line = |name| format!("witness {name} {} http://{name}.test\n", cosigner(name).vkey());
    let lines: String = ["a", "b", "c"].map(line).concat();
    Policy::parse(format!("{lines}{quorum}\n").as_bytes()).unwrap()
}

/// How a simulated witness behaves.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// It answers after this many milliseconds.
    Answers(u64),
    /// It fails after this many milliseconds.
    Fails(u64),
    /// It answers at once, but only after this many seconds of silence.
    AnswersEvery(u64),
}

/// The whole simulation: a log that grows by ten leaves per second, and witnesses with their
/// behaviours.
struct World {
    log: Log,
    gathering: Gathering,
    begin: Instant,
    now: Instant,
    moods: BTreeMap<&'static str, Mood>,
    /// What each witness cosigned last.
    recorded: BTreeMap<String, u64>,
    /// When the site last asked each witness.
    asked: BTreeMap<String, Instant>,
    /// Answers in flight: when, from which witness, about which size.
    answers: Vec<(Instant, usize, String, TreeSize, TreeSize)>,
    told: Vec<String>,
    published: Vec<(u64, u64, usize)>,
}

impl World {
    fn new(quorum: &str) -> Self {
        let begin = Instant::now();
        Self {
            log: Log::new("log.test"),
            gathering: Gathering::new(policy(quorum)),
            begin,
            now: begin,
            moods: BTreeMap::new(),
            recorded: BTreeMap::new(),
            asked: BTreeMap::new(),
            answers: Vec::new(),
            told: Vec::new(),
            published: Vec::new(),
        }
    }

    fn mood(&mut self, witness: &'static str, mood: Mood) -> &mut Self {
        self.moods.insert(witness, mood);
        self
    }

    fn size(&self) -> u64 {
        1 + u64::try_from(self.now.duration_since(self.begin).as_millis() / 100).unwrap()
    }

    /// Lets this many seconds pass. The log has a new checkpoint every half second.
    fn run(&mut self, seconds: u64) -> &mut Self {
        let end = self.now + Duration::from_secs(seconds);
        let mut next_checkpoint = self.now;
        let mut steps = 0;
        while self.now < end {
            steps += 1;
            assert!(steps < 10_000, "it does not rest");
            if self.now >= next_checkpoint {
                next_checkpoint = self.now + Duration::from_millis(500);
                let size = self.size();
                let note = self.log.checkpoint(size);
                self.gathering.handle_checkpoint(TreeSize::new(size), note, self.now);
            }
            self.answer();
            self.gathering.handle_timeout(self.now);
            self.act();
            let times = self.answers.iter().map(|answer| answer.0);
            let next = times.chain(self.gathering.poll_timeout()).chain([next_checkpoint]).min();
            let next = next.unwrap();
            assert!(next > self.now || self.answers.iter().any(|answer| answer.0 <= self.now));
            self.now = next.max(self.now);
        }
        self
    }

    fn answer(&mut self) {
        let now = self.now;
        let due = self.answers.extract_if(.., |answer| answer.0 <= now).collect::<Vec<_>>();
        for (_, peer, name, old, size) in due {
            let recorded = self.recorded.get(&name).copied().unwrap_or_default();
            let asked_before = self.asked.get(&name).copied();
            let answer = match self.moods[&*name] {
                Mood::AnswersEvery(seconds)
                    if let Some(due) = asked_before.map(|at| at + Duration::from_secs(seconds))
                        && due > now =>
                {
                    Err(AskError::TooOften { retry_after: due - now })
                }
                Mood::Fails(_) => Err(AskError::Unreachable("connection refused".into())),
                Mood::Answers(_) | Mood::AnswersEvery(_) if old.get() != recorded => {
                    Ok(Answer::Conflict(TreeSize::new(recorded)))
                }
                Mood::Answers(_) | Mood::AnswersEvery(_) => {
                    self.asked.insert(name.clone(), now);
                    self.recorded.insert(name.clone(), size.get());
                    let note = self.log.checkpoint(size.get());
                    let checkpoint = Checkpoint::parse(note.unverified_text()).unwrap();
                    let at = PosixTime::new(1).unwrap();
                    Ok(Answer::Cosigned(format!("{}\n", cosigner(&name).cosign(&checkpoint, at))))
                }
            };
            self.gathering.handle_answer(peer, size, answer, now);
        }
    }

    fn act(&mut self) {
        let at = u64::try_from(self.now.duration_since(self.begin).as_millis()).unwrap();
        while let Some(action) = self.gathering.poll_action() {
            match action {
                Action::Ask(ask) => {
                    assert!(
                        !self.answers.iter().any(|answer| answer.1 == ask.peer),
                        "one at a time"
                    );
                    assert!(ask.old_size <= ask.size);
                    let name = ask.url.trim_start_matches("http://").replace(".test", "");
                    let after = match self.moods[&*name] {
                        Mood::Answers(after) | Mood::Fails(after) => after,
                        Mood::AnswersEvery(_) => 1,
                    };
                    let due = self.now + Duration::from_millis(after);
                    self.answers.push((due, ask.peer, name, ask.old_size, ask.size));
                }
                Action::Publish(witnessed) => {
                    let signatures = witnessed.note.signatures().len();
                    self.published.push((at, witnessed.size.get(), signatures - 1));
                }
                Action::Away { witness, .. } => self.told.push(format!("{witness} away")),
                Action::Back { witness } => self.told.push(format!("{witness} back")),
            }
        }
    }

    /// Number of leaves by which the newest published checkpoint is behind the log.
    fn lag(&self) -> u64 {
        self.size() - self.published.last().map_or(0, |published| published.1)
    }
}

#[test]
fn all_that_answer_sign_the_same_checkpoint_in_every_round() {
    let mut world = World::new("group g all a b c\nquorum g");
    world.mood("a", Mood::Answers(10)).mood("b", Mood::Answers(300)).mood("c", Mood::Answers(900));
    world.run(20);
    assert!(world.published.iter().all(|(_, _, witnesses)| *witnesses == 3));
    assert!(world.published.windows(2).all(|pair| pair[0].1 < pair[1].1), "{:?}", world.published);
    assert!(world.published.len() >= 9, "a round every two seconds: {:?}", world.published);
    assert!(world.lag() <= 40, "{:?}", world.published);
    assert!(world.told.is_empty());
}

#[test]
fn cosignatures_that_come_late_are_added() {
    let mut world = World::new("group g 1 a b c\nquorum g");
    world.mood("a", Mood::Answers(10)).mood("b", Mood::Answers(500)).mood("c", Mood::Answers(500));
    world.run(2);
    let witnesses: Vec<_> = world.published.iter().map(|published| published.2).collect();
    assert_eq!(witnesses, [1, 2, 3]);
    assert!(world.published.iter().all(|published| published.1 == 1), "one checkpoint");
}

#[test]
fn a_witness_that_is_away_keeps_nobody_waiting_and_is_told_of_once() {
    let mut world = World::new("group g 2 a b c\nquorum g");
    world.mood("a", Mood::Answers(10)).mood("b", Mood::Answers(10)).mood("c", Mood::Fails(10_000));
    world.run(120);
    assert_eq!(world.told, ["c away"]);
    assert!(world.lag() <= 30, "{}", world.lag());
    world.mood("c", Mood::Answers(10)).run(61);
    assert_eq!(world.told, ["c away", "c back"]);
    assert_eq!(world.published.last().unwrap().2, 3);
}

#[test]
fn without_a_quorum_nothing_is_published_and_then_it_catches_up() {
    let mut world = World::new("group g all a b\nquorum g");
    world.mood("a", Mood::Answers(10)).mood("b", Mood::Answers(10)).mood("c", Mood::Fails(1));
    world.run(10);
    let before = world.published.len();
    world.mood("b", Mood::Fails(1)).run(100);
    assert!(world.published.len() <= before + 1, "{:?}", world.published);
    assert!(world.lag() > 900);
    world.mood("b", Mood::Answers(10)).run(61);
    assert!(world.lag() <= 30, "{}", world.lag());
    assert_eq!(world.told, ["c away", "b away", "b back"]);
}

#[test]
fn a_witness_that_knows_more_than_is_thought_says_so_and_is_asked_again() {
    let mut world = World::new("quorum a");
    for name in ["a", "b", "c"] {
        world.mood(name, Mood::Answers(10));
    }
    world.run(10);
    // The site restarts, and does not know what its witnesses have recorded.
    world.gathering = Gathering::new(policy("quorum a"));
    world.published.clear();
    world.answers.clear();
    world.run(5);
    assert!(world.told.is_empty(), "{:?}", world.told);
    assert!(world.lag() <= 30);
}

#[test]
fn a_witness_is_asked_as_often_as_it_likes_without_counting_as_away() {
    let mut world = World::new("group g all a b\nquorum g");
    world
        .mood("a", Mood::Answers(10))
        .mood("b", Mood::AnswersEvery(20))
        .mood("c", Mood::Answers(1));
    world.run(200);
    assert!(world.told.is_empty(), "{:?}", world.told);
    assert!(
        (9..=11).contains(&world.published.windows(2).filter(|pair| pair[0].1 < pair[1].1).count()),
        "{:?}",
        world.published
    );
    assert!(world.lag() <= 220, "{}", world.lag());
}

#[test]
fn a_witness_that_has_seen_another_log_of_this_key_is_left_alone() {
    let mut world = World::new("quorum b");
    for name in ["a", "b", "c"] {
        world.mood(name, Mood::Answers(10));
    }
    world.recorded.insert("a".to_owned(), 1_000_000);
    world.run(30);
    assert_eq!(world.told, ["a away"]);
    assert!(world.lag() <= 30);
}

#[test]
fn a_policy_that_wants_none_publishes_every_round() {
    let mut world = World::new("quorum none");
    for name in ["a", "b", "c"] {
        world.mood(name, Mood::Fails(1));
    }
    world.run(20);
    assert!(world.published.len() >= 9, "{:?}", world.published);
    assert!(world.published.iter().all(|published| published.2 == 0));
}
