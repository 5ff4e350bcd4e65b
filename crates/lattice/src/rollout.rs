//! Decides whether a deployment stays or goes back. It does no IO: what runs, what was answered and
//! the time go in; what is wanted, what is to be asked and the end come out.
//!
//! A deployment goes through three [stages](Stage). First the new components run aside, where only
//! the site's own questions reach them. Then they start beside the old ones. Last they do the work,
//! and the old ones run aside. In the first and the last stage old and new are asked the same
//! questions, one after the other, and a new one that is worse than the old one takes the whole
//! deployment back.
//!
//! The new one is worse if the site refuses its answer, but not the old one's; or if it falls
//! behind: it has failed to answer, or answered late, several times more often than the old one.
//! What it says is not compared, because an upgrade may say something else; how often it does is
//! counted for people.
//!
//! - **Invariant:** the old ones are given up only after the new ones have answered, on as many
//!   hosts as are wanted.
//! - **Invariant:** where nobody is there to answer, nothing is concluded.
//! - **Invariant:** each stage ends, after five minutes at the latest. A stage that could not
//!   conclude anything by then goes back.

use std::{
    num::NonZeroU16,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    standing::{Standing, WorkloadStanding},
    workload::{Deployment, Replicas},
};

/// Subjects of the workloads that run aside.
pub const SUBJECTS: &str = "sealwire.trial.*.*";
/// What the names of workloads that run aside begin with.
const ASIDE: &str = "aside-";

/// Questions that each new component has to answer in its trial. Half of them are about what was
/// sealed last.
const TRIAL_ANSWERS: u32 = 10;
/// Time between two questions of a trial, and while the new one starts beside the old one.
const TRIAL_PAUSE: Duration = Duration::from_millis(100);
/// How long the new components do the work while the old ones are still there to compare with.
/// Enough for each sensor of a usual site to be judged several times.
pub const PROBATION: Duration = Duration::from_secs(30);
/// Time between two questions of a probation.
const PROBATION_PAUSE: Duration = Duration::from_secs(1);
/// Questions that each new component has to answer in its probation. While hosts are away, it lasts
/// longer.
const PROBATION_ANSWERS: u32 = 25;
/// How many answers in a row end a stage: one that begins to fail does not get through.
const IN_A_ROW: u32 = 5;
/// How many answers more than the old one the new one owes when it goes back, in its trial. A
/// message can be lost, and a busy host can be slow once.
const TRIAL_MISSES: u32 = 2;
/// The same on probation, where the new one has more to do than the old one.
const PROBATION_MISSES: u32 = 3;
/// An answer that takes so many times as long as the old one's, and [`LATE_SLACK`], is late.
const LATE_TIMES: u32 = 4;
/// What an answer may take on a busy machine, whatever the old one took. The first call of a
/// component is slow.
const LATE_SLACK: Duration = Duration::from_millis(500);
/// How long a component that no host has started is tried. A host tries twice in this time.
const TROUBLE_MAX: Duration = Duration::from_secs(5);
/// Time that the old one has to start aside. Without it a probation has nothing to compare with.
const REFERENCE_MAX: Duration = Duration::from_secs(15);
/// Longest stage. A slow machine starts all components within a minute.
const STAGE_MAX: Duration = Duration::from_secs(300);

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The old components do the work. The new ones run aside, and are asked test questions.
    Trial,
    /// Old and new do the work, until the new ones have answered.
    Move,
    /// The new ones do the work. The old ones run aside, and are asked test questions.
    Probation,
}

/// How a rollout ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The new components stay.
    Stays,
    /// The old ones run again; the text says why.
    GoesBack(String),
}

/// What a side of a pair is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// What ran before.
    Old,
    /// What was deployed.
    New,
}

impl Side {
    /// The word for it in names and subjects.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// A workload that changes.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What ran before.
    pub old: Deployment,
    /// What is to replace it.
    pub new: Deployment,
}

impl Pair {
    /// Name of the workload.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.new.workload.name
    }

    /// Subject on which a side hears questions while it runs aside.
    #[must_use]
    pub fn subject(name: &str, side: Side) -> String {
        SUBJECTS.replacen('*', name, 1).replacen('*', side.word(), 1)
    }

    /// What is wanted of it in a stage.
    fn wanted(&self, stage: Stage) -> Vec<Deployment> {
        match stage {
            Stage::Trial => vec![self.old.clone(), self.aside(Side::New)],
            Stage::Move => vec![self.old.clone(), self.new.clone(), self.aside(Side::Old)],
            Stage::Probation => vec![self.new.clone(), self.aside(Side::Old)],
        }
    }

    /// A side as it runs aside, on one host.
    fn aside(&self, side: Side) -> Deployment {
        let true_one = match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        };
        let (name, word) = (&true_one.workload.name, side.word());
        let subject = Self::subject(name, side);
        let aside = true_one.workload.aside(format!("{ASIDE}{word}-{name}"), &subject, word);
        Deployment {
            workload: Arc::new(aside),
            replicas: Replicas::Number(NonZeroU16::MIN),
            group: true_one.group.clone(),
        }
    }
}

/// Whether a workload of this name runs aside.
#[must_use]
pub fn is_aside(workload: &str) -> bool {
    workload.starts_with(ASIDE)
}

/// What is wanted of these workloads in a stage.
pub fn wanted(pairs: &[Pair], stage: Stage) -> impl Iterator<Item = Deployment> {
    pairs.iter().flat_map(move |pair| pair.wanted(stage))
}

/// A workload to ask: both sides the same question, or in [`Stage::Move`] the true one alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// Name of the workload.
    pub workload: String,
    /// The stage in which it is asked.
    pub stage: Stage,
}

/// What came of a question to one side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// An answer that the site takes.
    Answered {
        /// How long it took.
        took: Duration,
        /// What the side said, as a hash.
        said: u64,
    },
    /// An answer that the site refuses; the text says why.
    Refused(String),
    /// No answer in time.
    Silence,
    /// Nobody hears the question.
    Nobody,
    /// It was not asked, or somebody else answered.
    Unknown,
}

/// What came of a question to both sides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Round {
    /// The old one.
    pub old: Heard,
    /// The new one.
    pub new: Heard,
    /// Whether any component answers the question that works at all.
    pub is_plain: bool,
}

/// How one workload does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Its name.
    pub workload: String,
    /// Questions that the new one answered in this stage.
    pub answers: u32,
    /// Those to which the old one gave another answer.
    pub different: u32,
}

/// A workload that changes, and how it does.
#[derive(Debug)]
struct Tried {
    pair: Pair,
    /// Whether what this stage is about runs.
    runs: bool,
    /// Since when the hosts did not start it, and their words.
    trouble: Option<(Instant, String)>,
    is_asked: bool,
    ask_at: Instant,
    answers: u32,
    /// Those since the last one that it owes.
    in_a_row: u32,
    different: u32,
    /// Answers that the new one owes more than the old one.
    behind: u32,
}

/// A deployment on its way.
#[derive(Debug)]
pub struct Rollout {
    stage: Stage,
    /// When the stage began.
    began: Instant,
    tried: Vec<Tried>,
    /// Whether any host answers.
    hosts_answer: bool,
    end: Option<End>,
}

impl Rollout {
    /// Begins with the trial.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = Pair>, now: Instant) -> Self {
        let tried = pairs.into_iter().map(|pair| Tried {
            pair,
            runs: false,
            trouble: None,
            is_asked: false,
            ask_at: now,
            answers: 0,
            in_a_row: 0,
            different: 0,
            behind: 0,
        });
        let tried = tried.collect();
        Self { stage: Stage::Trial, began: now, tried, hosts_answer: false, end: None }
    }

    /// Where it stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// How it ended, if it has.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// How each workload does.
    pub fn progress(&self) -> impl Iterator<Item = Progress> {
        self.tried.iter().map(|tried| Progress {
            workload: tried.pair.name().to_owned(),
            answers: tried.answers,
            different: tried.different,
        })
    }

    /// Takes what runs where, and goes on to the next stage, or ends, if it is time. Call it when
    /// that changes, and at [`next_timeout`](Self::next_timeout).
    pub fn handle_standing(&mut self, standing: &Standing, now: Instant) {
        self.hosts_answer = standing.hosts.iter().any(|host| host.answers);
        let without_reference = now >= self.began + REFERENCE_MAX;
        for tried in &mut self.tried {
            tried.handle_standing(self.stage, standing, now, without_reference);
        }
        self.conclude(now);
    }

    /// Takes what came of a question.
    pub fn handle_round(&mut self, asked: &Asked, round: Round, now: Instant) {
        if asked.stage != self.stage {
            return;
        }
        let tried = self.tried.iter_mut().find(|it| it.pair.name() == asked.workload);
        let Some(tried) = tried else { return };
        tried.is_asked = false;
        tried.ask_at = now + self.stage.pause();
        if let Err(why) = tried.handle_round(round, self.stage, self.hosts_answer) {
            self.go_back(&asked.workload, &why);
        }
        self.conclude(now);
    }

    fn conclude(&mut self, now: Instant) {
        if self.end.is_some() {
            return;
        }
        let lasted = now - self.began;
        if self.tried.iter().all(|tried| tried.is_done(self.stage, lasted)) {
            return self.go_on(now);
        }
        let is_over = |(since, words): &(Instant, String)| {
            (now >= *since + TROUBLE_MAX).then(|| format!("no host starts it: {words}"))
        };
        let troubled = self.tried.iter().find_map(|tried| {
            Some((tried.pair.name().to_owned(), is_over(tried.trouble.as_ref()?)?))
        });
        if let Some((workload, why)) = troubled {
            self.go_back(&workload, &why);
        } else if lasted >= STAGE_MAX {
            let unfinished = self.tried.iter().find(|it| !it.is_done(self.stage, lasted));
            let workload = unfinished.map_or_else(String::new, |it| it.pair.name().to_owned());
            let seconds = STAGE_MAX.as_secs();
            self.go_back(&workload, &format!("it has not shown within {seconds} s that it works"));
        }
    }

    fn go_on(&mut self, now: Instant) {
        self.stage = match self.stage {
            Stage::Trial => Stage::Move,
            Stage::Move => Stage::Probation,
            Stage::Probation => {
                self.end = Some(End::Stays);
                return;
            }
        };
        self.began = now;
        for tried in &mut self.tried {
            (tried.runs, tried.trouble) = (false, None);
            (tried.is_asked, tried.ask_at) = (false, now);
            (tried.answers, tried.in_a_row) = (0, 0);
            (tried.different, tried.behind) = (0, 0);
        }
    }

    fn go_back(&mut self, workload: &str, why: &str) {
        let stage = match self.stage {
            Stage::Trial => "in its trial",
            Stage::Move => "beside the old one",
            Stage::Probation => "on probation",
        };
        self.end = Some(End::GoesBack(format!("{workload} {stage}: {why}")));
    }

    /// The workloads to ask now. Call it after every input.
    pub fn questions(&mut self, now: Instant) -> Vec<Asked> {
        if self.end.is_some() {
            return Vec::new();
        }
        let stage = self.stage;
        let due = self.tried.iter_mut().filter(|it| it.runs && !it.is_asked && now >= it.ask_at);
        let asked = due.map(|tried| {
            tried.is_asked = true;
            Asked { workload: tried.pair.name().to_owned(), stage }
        });
        asked.collect()
    }

    /// When to look again, if nothing is heard before.
    #[must_use]
    pub fn next_timeout(&self, now: Instant) -> Instant {
        let questions = self.tried.iter().filter(|it| it.runs && !it.is_asked);
        let troubles = self.tried.iter().filter_map(|it| Some(it.trouble.as_ref()?.0));
        let ends = [REFERENCE_MAX, PROBATION, STAGE_MAX].map(|it| self.began + it);
        let all = questions.map(|it| it.ask_at).chain(troubles.map(|since| since + TROUBLE_MAX));
        all.chain(ends).filter(|at| *at > now).min().unwrap_or(now + STAGE_MAX)
    }
}

impl Stage {
    const fn pause(self) -> Duration {
        match self {
            Self::Trial | Self::Move => TRIAL_PAUSE,
            Self::Probation => PROBATION_PAUSE,
        }
    }

    const fn misses(self) -> u32 {
        match self {
            Self::Trial | Self::Move => TRIAL_MISSES,
            Self::Probation => PROBATION_MISSES,
        }
    }
}

impl Tried {
    fn handle_standing(
        &mut self,
        stage: Stage,
        standing: &Standing,
        now: Instant,
        without_reference: bool,
    ) {
        let of = |deployment: &Deployment| {
            let id = deployment.workload.instance_id();
            standing.workloads.iter().find(|workload| workload.id == id)
        };
        let is_satisfied = |it: Option<&WorkloadStanding>| it.is_some_and(|it| it.is_satisfied);
        let new = match stage {
            Stage::Trial => of(&self.pair.aside(Side::New)),
            Stage::Move | Stage::Probation => of(&self.pair.new),
        };
        self.runs = match stage {
            Stage::Trial | Stage::Probation => is_satisfied(new),
            Stage::Move => {
                let old = of(&self.pair.aside(Side::Old));
                is_satisfied(new) && (without_reference || is_satisfied(old))
            }
        };
        let words = new.filter(|it| !it.is_satisfied).and_then(|it| it.trouble.clone());
        let since = self.trouble.take().map_or(now, |(since, _)| since);
        self.trouble = words.map(|words| (since, words));
    }

    /// Takes what came of a question. The error says why the new one is worse.
    fn handle_round(
        &mut self,
        Round { old, new, is_plain }: Round,
        stage: Stage,
        hosts_answer: bool,
    ) -> Result<(), String> {
        let miss = match (new, old) {
            (Heard::Refused(why), old) if !matches!(old, Heard::Refused(_)) => {
                return Err(format!("the site refuses its answer: {why}"));
            }
            (Heard::Answered { took, .. }, Heard::Answered { took: before, .. })
                if took > before * LATE_TIMES + LATE_SLACK =>
            {
                let (took, before) = (took.as_millis(), before.as_millis());
                format!("it answers in {took} ms what the old one answers in {before} ms")
            }
            (Heard::Answered { said, .. }, old) => {
                self.answers += 1;
                self.in_a_row += 1;
                match old {
                    Heard::Answered { said: other, .. } => {
                        self.different += u32::from(said != other);
                    }
                    Heard::Refused(_) | Heard::Silence => {
                        self.behind = self.behind.saturating_sub(1);
                    }
                    Heard::Nobody | Heard::Unknown => {}
                }
                return Ok(());
            }
            (Heard::Silence, Heard::Answered { .. }) => {
                String::from("it does not answer what the old one answers")
            }
            (Heard::Nobody, Heard::Answered { .. }) => {
                String::from("it runs, and does not hear what it is asked")
            }
            (Heard::Silence, Heard::Silence | Heard::Refused(_)) if hosts_answer && is_plain => {
                String::from("it does not answer, although hosts do")
            }
            (Heard::Silence | Heard::Refused(_) | Heard::Nobody | Heard::Unknown, _) => {
                return Ok(());
            }
        };
        self.behind += 1;
        self.in_a_row = 0;
        let max = stage.misses();
        if self.behind < max { Ok(()) } else { Err(format!("{miss}, {max} times")) }
    }

    fn is_done(&self, stage: Stage, lasted: Duration) -> bool {
        let answers = |count| self.answers >= count && self.in_a_row >= IN_A_ROW;
        match stage {
            Stage::Trial => answers(TRIAL_ANSWERS),
            Stage::Move => self.runs && self.answers > 0,
            Stage::Probation => lasted >= PROBATION && answers(PROBATION_ANSWERS),
        }
    }
}
