//! What a rollout promises, whatever happens to components, hosts and the bus.

use std::{
    num::NonZeroU16,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::HostKind;
use lattice::{
    Component, Deployment, HostId, HostStanding, InstanceId, Replicas, Standing, Workload,
    WorkloadStanding,
    rollout::{Asked, End, Heard, PROBATION, Pair, Rollout, Round, Stage, is_aside, wanted},
};
use proptest::prelude::*;

/// Step of the simulation.
const STEP: Duration = Duration::from_millis(50);
/// Time that a host needs to start a workload.
const START: Duration = Duration::from_millis(700);
/// Time that whoever asks waits for an answer.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Time in which the hosts' silence is noticed.
const NOTICE: Duration = Duration::from_secs(4);
/// Longest time that any rollout takes: three stages at their longest.
const LONGEST: Duration = Duration::from_secs(3 * 301);
const WORKLOADS: [&str; 2] = ["a", "b"];

/// How a component behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Does {
    Answer,
    AnswerDifferently,
    AnswerLate,
    TalkNonsense,
    Trap,
    NotHear,
    NotStart,
}

/// Hosts with one version of two workloads, and another that is deployed.
struct World {
    began: Instant,
    now: Instant,
    rollout: Rollout,
    pairs: Vec<Pair>,
    old: Does,
    /// How the new version of the second workload behaves, and from when on.
    new: (Does, Duration),
    /// When the hosts are away.
    away: Vec<(Duration, Duration)>,
    /// Since when each is wanted.
    wanted: Vec<(InstanceId, String, Instant)>,
    asked: Vec<(Asked, Instant, Round)>,
    /// Whether the true new ones have answered.
    has_answered: [bool; 2],
    stages: Vec<Stage>,
}

fn deployment(name: &str, version: u16) -> Deployment {
    let image = format!("sealwire/{name}@sha256:{version}");
    let config = [("subscriptions", "true.subject")];
    let workload = Workload::new(name, vec![Component::new(name, image, &config)], vec![]);
    Deployment {
        workload: Arc::new(workload),
        replicas: Replicas::Number(NonZeroU16::MIN),
        group: String::from("default"),
    }
}

impl World {
    fn new(old: Does, new: (Does, Duration), away: &[(Duration, Duration)]) -> Self {
        let now = Instant::now();
        let pair = |name| Pair { old: deployment(name, 1), new: deployment(name, 2) };
        let pairs = WORKLOADS.map(pair).to_vec();
        Self {
            began: now,
            now,
            rollout: Rollout::new(pairs.clone(), now),
            pairs,
            old,
            new,
            away: away.to_vec(),
            wanted: Vec::new(),
            asked: Vec::new(),
            has_answered: [false; 2],
            stages: Vec::new(),
        }
    }

    /// Whether the hosts are away, seen from so long after it began.
    fn is_away(&self, later: Duration) -> bool {
        let at = (self.now - self.began).saturating_sub(later);
        self.away.iter().any(|(from, to)| (*from..*to).contains(&at))
    }

    fn does(&self, workload: &str, is_new: bool) -> Does {
        let has_begun = self.now - self.began >= self.new.1;
        match is_new {
            false => self.old,
            true if workload == WORKLOADS[1] && has_begun => self.new.0,
            true => Does::Answer,
        }
    }

    fn want(&mut self) {
        let wanted: Vec<_> = wanted(&self.pairs, self.rollout.stage()).collect();
        let ids = |it: &Deployment| (it.workload.instance_id(), it.workload.name.clone());
        self.wanted.retain(|(id, ..)| wanted.iter().any(|it| ids(it).0 == *id));
        for (id, name) in wanted.iter().map(ids) {
            if !self.wanted.iter().any(|(it, ..)| *it == id) {
                self.wanted.push((id, name, self.now));
            }
        }
    }

    fn standing(&self) -> Standing {
        // What the hosts run is known for a while after they are away.
        let answers = !(self.is_away(Duration::ZERO) && self.is_away(NOTICE));
        let host = HostId::new(HostKind::Site, "one", "1").unwrap();
        let workload = |(id, name, since): &(InstanceId, String, Instant)| {
            let is_new = self.pairs.iter().any(|it| it.new.workload.instance_id() == *id)
                || name.contains("-new-");
            let own = name.rsplit('-').next().unwrap();
            let fails = self.does(own, is_new) == Does::NotStart;
            let runs = answers && !fails && self.now >= *since + START;
            WorkloadStanding {
                id: id.clone(),
                name: name.clone(),
                runs_on: runs.then(|| host.clone()).into_iter().collect(),
                is_satisfied: runs,
                trouble: fails.then(|| String::from("no such image")),
                is_forbidden: false,
            }
        };
        let workloads = self.wanted.iter().map(workload).collect();
        let (name, group) = (String::from("one"), String::from("default"));
        Standing { hosts: vec![HostStanding { id: host, name, group, answers }], workloads }
    }

    /// What comes of a question, and after what time.
    fn hears(&self, workload: &str, is_new: bool) -> (Heard, Duration) {
        let took = Duration::from_millis(if is_new { 9 } else { 4 });
        let said = |said| (Heard::Answered { took, said }, took);
        if self.is_away(Duration::ZERO) {
            // The bus notices after a while that a host is gone.
            return if self.is_away(STEP) {
                (Heard::Nobody, PATIENCE)
            } else {
                (Heard::Silence, PATIENCE)
            };
        }
        match self.does(workload, is_new) {
            Does::Answer => said(1),
            Does::AnswerDifferently => said(2),
            Does::AnswerLate => {
                let took = Duration::from_millis(1_500);
                (Heard::Answered { took, said: 1 }, took)
            }
            Does::TalkNonsense => (Heard::Refused(String::from("of leaf 9")), took),
            Does::Trap | Does::NotStart => (Heard::Silence, PATIENCE),
            Does::NotHear => (Heard::Nobody, PATIENCE),
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        let (due, later) =
            std::mem::take(&mut self.asked).into_iter().partition(|(_, at, _)| *at <= now);
        self.asked = later;
        for (asked, _, round) in due {
            if let (Stage::Move, Heard::Answered { .. }) = (asked.stage, &round.new) {
                let place = WORKLOADS.iter().position(|it| *it == asked.workload).unwrap();
                self.has_answered[place] = true;
            }
            self.rollout.handle_round(&asked, round, now);
        }
        let standing = self.standing();
        self.rollout.handle_standing(&standing, now);
        let stage = self.rollout.stage();
        if self.stages.last() != Some(&stage) {
            self.stages.push(stage);
            self.want();
            let old_is_wanted =
                self.pairs.iter().all(|pair| self.runs(&pair.old.workload.instance_id()));
            assert!(old_is_wanted || self.has_answered == [true; 2], "{stage:?}");
        }
        for asked in self.rollout.questions(now) {
            let (new, took) = self.hears(&asked.workload, true);
            let (old, took_old) = match asked.stage {
                Stage::Move => (Heard::Unknown, Duration::ZERO),
                Stage::Trial | Stage::Probation => self.hears(&asked.workload, false),
            };
            let round = Round { old, new, is_plain: true };
            self.asked.push((asked, now + took.max(took_old), round));
        }
        assert!(self.rollout.end().is_some() || self.rollout.next_timeout(now) > now);
    }

    fn runs(&self, id: &InstanceId) -> bool {
        self.wanted.iter().any(|(it, ..)| it == id)
    }

    /// Runs to the end. Returns how it ended, and how long that took.
    fn end(&mut self) -> (End, Duration) {
        loop {
            self.step();
            let took = self.now - self.began;
            if let Some(end) = self.rollout.end() {
                return (end.clone(), took);
            }
            assert!(took < LONGEST, "it does not end: {:?}", self.rollout);
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_new_one_that_answers_like_the_old_one_stays_after_all_three_stages() {
    for new in [Does::Answer, Does::AnswerDifferently] {
        let mut world = World::new(Does::Answer, (new, Duration::ZERO), &[]);
        let (end, took) = world.end();
        assert_eq!(end, End::Stays);
        assert!((PROBATION..PROBATION + 5 * SECOND).contains(&took), "{took:?}");
        assert_eq!(world.stages, [Stage::Trial, Stage::Move, Stage::Probation]);
        let different: Vec<_> = world.rollout.progress().map(|it| it.different > 0).collect();
        assert_eq!(different, [false, new == Does::AnswerDifferently]);
    }
    // Better than one that answers nothing is good enough.
    assert_eq!(World::new(Does::Trap, (Does::Answer, Duration::ZERO), &[]).end().0, End::Stays);
}

#[test]
fn a_worse_one_goes_back_within_ten_seconds_whenever_it_fails() {
    for (does, words) in [
        (Does::AnswerLate, "it answers in 1500 ms what the old one answers in 4 ms"),
        (Does::TalkNonsense, "the site refuses its answer: of leaf 9"),
        (Does::Trap, "it does not answer what the old one answers"),
        (Does::NotHear, "it runs, and does not hear what it is asked"),
        (Does::NotStart, "no host starts it: no such image"),
    ] {
        for (from, stage) in [(0_u32, "in its trial"), (12, "on probation")] {
            let mut world = World::new(Does::Answer, (does, from * SECOND), &[]);
            let (end, took) = world.end();
            let End::GoesBack(why) = end else { panic!("{does:?}") };
            assert!(why.starts_with(&format!("b {stage}: {words}")), "{does:?}: {why}");
            assert!(took < (from + 12) * SECOND, "{does:?} from {from} s: {took:?}");
            // In its trial it did none of the work.
            assert_eq!(world.stages.contains(&Stage::Move), from > 0);
        }
    }
}

#[test]
fn without_hosts_nothing_is_concluded_until_a_stage_has_lasted_too_long() {
    let forever = [(Duration::ZERO, LONGEST)];
    let (end, took) = World::new(Does::Answer, (Does::Trap, Duration::ZERO), &forever).end();
    let End::GoesBack(why) = end else { panic!() };
    assert!(why.contains("it has not shown within 300 s that it works"), "{why}");
    assert!(took >= 300 * SECOND, "{took:?}");
}

#[test]
fn an_aside_one_is_another_workload_that_hears_another_subject() {
    let pairs = [Pair { old: deployment("a", 1), new: deployment("a", 2) }];
    let trial: Vec<_> = wanted(&pairs, Stage::Trial).collect();
    let [old, aside] = trial.as_slice() else { panic!("{trial:?}") };
    assert_eq!(old.workload.instance_id(), pairs[0].old.workload.instance_id());
    assert!(is_aside(&aside.workload.name) && !is_aside(&old.workload.name));
    let component = aside.workload.wit_world.components.first().unwrap();
    assert_eq!(component.image, "sealwire/a@sha256:2");
    assert_eq!(component.local_resources.config["subscriptions"], "sealwire.trial.a.new");
}

fn outages() -> impl Strategy<Value = Vec<(Duration, Duration)>> {
    let outage = (0_u64..60_000, 100_u64..20_000).prop_map(|(from, lasts)| {
        (Duration::from_millis(from), Duration::from_millis(from + lasts))
    });
    prop::collection::vec(outage, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn outages_of_hosts_are_not_the_new_ones_fault(away in outages()) {
        let mut world = World::new(Does::Answer, (Does::Answer, Duration::ZERO), &away);
        prop_assert_eq!(world.end().0, End::Stays);
    }

    #[test]
    fn one_that_fails_for_good_does_not_stay(
        away in outages(),
        does in prop_oneof![
            Just(Does::AnswerLate),
            Just(Does::TalkNonsense),
            Just(Does::Trap),
            Just(Does::NotHear),
            Just(Does::NotStart),
        ],
        from in 0_u64..25_000,
    ) {
        let mut world = World::new(Does::Answer, (does, Duration::from_millis(from)), &away);
        let (end, _) = world.end();
        prop_assert!(matches!(end, End::GoesBack(_)), "{end:?}");
    }
}
