//! Watches how far those who follow the log are behind it, and seals an event when one is late.
//!
//! Sealing never waits for its followers. So when more comes than can be indexed or judged, only
//! this says so. [`Lateness`] decides, without a clock; [`Watching`] reads the log and seals.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::Ledger;
use model::{Envelope, Event, Timestamp, action, error_chain};
use tokio::{
    sync::{mpsc, watch},
    task::JoinError,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use work::Service;

use crate::{
    cosigning::{WatchWitnessed, witnessed_leaves},
    progress::Progress,
    sealing::ToSeal,
};

/// Time between two looks at the followers.
const PERIOD: Duration = Duration::from_secs(1);
/// Leaves of which the oldest that is not erased tells how long a follower lets leaves wait.
const LOOK_AT_LEAVES: usize = 256;
/// Bytes of envelopes of one such look.
const LOOK_AT_BYTES: usize = 64 << 10;

/// Who follows the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Follower {
    /// The index, from which searches and the page are answered.
    Index,
    /// The pipeline, which has readings judged.
    Pipeline,
    /// A user's processor, by the name of its cursor.
    Processor(Arc<str>),
    /// The newest checkpoint.
    Checkpoint,
    /// The newest checkpoint that satisfies the policy for witnesses.
    Witnesses,
}

impl Follower {
    /// Name of the follower in metrics and answers.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Index => "index",
            Self::Pipeline => "pipeline",
            Self::Processor(cursor) => cursor,
            Self::Checkpoint => "checkpoint",
            Self::Witnesses => "witnesses",
        }
    }
}

/// How far a follower is behind the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lag {
    /// Who follows.
    pub follower: Follower,
    /// The first leaf that the follower has not handled.
    pub next_leaf: u64,
    /// Number of sealed leaves from there on.
    pub leaves: u64,
    /// How long the first of them has been waiting.
    pub waited: Duration,
    /// Whether the site has sealed that the follower is late, and not yet that it has caught up.
    pub is_late: bool,
}

/// Decides when a follower is late, and when it has caught up.
///
/// There are at most two events in [`Lateness::AFTER`] and [`Lateness::CALM`] together, however a
/// lag swings.
#[derive(Debug)]
pub struct Lateness {
    started_at: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    InTime,
    Late {
        since: Instant,
        /// Since when the follower has been in time, without an interruption.
        calm_since: Option<Instant>,
    },
}

/// A change that the site seals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The follower is late.
    Late,
    /// The follower was late for this long, and is not any more.
    CaughtUp {
        /// Time between the two events.
        after: Duration,
    },
}

impl Lateness {
    /// How long a leaf may wait before its follower is late. An operator who hears of a value out
    /// of range ten seconds later would have wanted to know why.
    pub const AFTER: Duration = Duration::from_secs(10);
    /// How long a leaf may wait if its follower has caught up.
    pub const IN_TIME: Duration = Duration::from_secs(2);
    /// How long a follower must be in time before it has caught up.
    pub const CALM: Duration = Duration::from_secs(10);
    /// Time after the start in which no waiting counts: the host compiles its components, and the
    /// log holds leaves that have waited as long as the site was down.
    pub const SETTLING: Duration = Duration::from_secs(60);

    /// A follower in time.
    #[must_use]
    pub const fn new(started_at: Instant) -> Self {
        Self { started_at, state: State::InTime }
    }

    /// Whether the last change was that the follower is late.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        matches!(self.state, State::Late { .. })
    }

    /// Takes how long the first leaf that is not handled has waited.
    pub fn handle_lag(&mut self, waited: Duration, now: Instant) -> Option<Change> {
        let settled = now.duration_since(self.started_at).saturating_sub(Self::SETTLING);
        match &mut self.state {
            State::InTime if waited.min(settled) < Self::AFTER => None,
            State::InTime => {
                self.state = State::Late { since: now, calm_since: None };
                Some(Change::Late)
            }
            State::Late { calm_since, .. } if waited > Self::IN_TIME => {
                *calm_since = None;
                None
            }
            State::Late { since, calm_since } => {
                let calm = now.duration_since(*calm_since.get_or_insert(now));
                let after = now.duration_since(*since);
                if calm < Self::CALM {
                    return None;
                }
                self.state = State::InTime;
                Some(Change::CaughtUp { after })
            }
        }
    }
}

/// Remembers how large the log was when, so that a clock that is set does not make a follower late.
#[derive(Debug, Default)]
struct Sizes(VecDeque<(Instant, u64)>);

impl Sizes {
    /// Looks that are remembered: a quarter of an hour. Longer waiting is told by the envelopes'
    /// times alone.
    const LOOKS_MAX: usize = 900;

    fn take(&mut self, now: Instant, size: u64) {
        self.0.push_back((now, size));
        while self.0.len() > Self::LOOKS_MAX {
            self.0.pop_front();
        }
    }

    /// How long a sealed leaf has waited at most and at least, as far as that is known.
    fn waited(&self, leaf: u64, now: Instant) -> (Option<Duration>, Duration) {
        let not_yet = self.0.partition_point(|(_, size)| *size <= leaf);
        let since = |place: usize| self.0.get(place).map(|(at, _)| now.duration_since(*at));
        let most = not_yet.checked_sub(1).and_then(since);
        (most, since(not_yet).unwrap_or_default())
    }

    /// What the envelope's time says, as far as it can be.
    fn bound(&self, waited: Duration, leaf: u64, now: Instant) -> Duration {
        let (most, least) = self.waited(leaf, now);
        waited.min(most.unwrap_or(Duration::MAX)).max(least)
    }
}

/// Looks at the followers each second, seals when one is late, and tells the lags to others.
#[derive(Debug)]
pub struct Watching {
    /// The log that is followed.
    pub ledger: Ledger,
    /// Progress of the index.
    pub progress: Progress,
    /// Progress of the pipeline.
    pub judged: watch::Receiver<u64>,
    /// Progress of each user's processor.
    pub processed: Vec<(Follower, watch::Receiver<u64>)>,
    /// The newest checkpoint that satisfies the policy; `None` without a policy.
    pub witnessed: Option<WatchWitnessed>,
    /// Seals the events. It does not keep the queue open.
    pub events: mpsc::WeakSender<ToSeal>,
    /// Receives the lags.
    pub lags: watch::Sender<Vec<Lag>>,
}

impl Service for Watching {
    const NAME: &'static str = "the watch over lags";
    /// A bug in this program.
    type Error = JoinError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), JoinError> {
        let started_at = Instant::now();
        let mut index = Lateness::new(started_at);
        let mut pipeline = Lateness::new(started_at);
        let mut sizes = Sizes::default();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let mut lags = Vec::new();
            sizes.take(Instant::now(), self.ledger.size());
            for (follower, next_leaf) in self.followers() {
                let ledger = self.ledger.clone();
                let mut lag = work::blocking((), move || lag(&ledger, follower, next_leaf)).await?;
                if lag.leaves > 0 {
                    lag.waited = sizes.bound(lag.waited, next_leaf, Instant::now());
                }
                lags.push(lag);
            }
            for lag in &mut lags {
                let lateness = match &lag.follower {
                    Follower::Index => &mut index,
                    Follower::Pipeline => &mut pipeline,
                    // The site stops if it cannot publish, and the others are not its own.
                    Follower::Checkpoint | Follower::Witnesses | Follower::Processor(_) => {
                        continue;
                    }
                };
                self.alarm(lateness, lag, Instant::now());
                lag.is_late = lateness.is_late();
            }
            self.lags.send_replace(lags);
        }
        Ok(())
    }
}

impl Watching {
    fn followers(&self) -> impl Iterator<Item = (Follower, u64)> {
        let checkpoint = self.ledger.published().checkpoint.size.get();
        let own = [
            (Follower::Index, self.progress.now().next_leaf),
            (Follower::Pipeline, *self.judged.borrow()),
            (Follower::Checkpoint, checkpoint),
        ];
        let witnessed = witnessed_leaves(self.witnessed.as_ref());
        let processed =
            self.processed.iter().map(|(follower, next)| (follower.clone(), *next.borrow()));
        own.into_iter()
            .chain(processed)
            .chain(witnessed.map(|leaves| (Follower::Witnesses, leaves)))
    }

    /// Seals that a follower is late, or not any more. If the queue is full, the next look decides.
    fn alarm(&self, lateness: &mut Lateness, lag: &Lag, now: Instant) {
        let Some(events) = self.events.upgrade() else { return };
        let Ok(place) = events.try_reserve() else { return };
        if let Some(change) = lateness.handle_lag(lag.waited, now) {
            place.send(event(lag, change, clock::now()).into());
        }
    }
}

fn event(lag: &Lag, change: Change, now: Timestamp) -> Event {
    let is_index = lag.follower == Follower::Index;
    let (action, message) = match change {
        Change::Late => {
            let (action, who) = if is_index {
                (action::INDEX_LATE, "the index is late: searches and the page do not show")
            } else {
                (action::JUDGING_LATE, "judging is late: sensor-reader has not judged")
            };
            let (leaves, waited) = (lag.leaves, lag.waited.as_secs());
            (
                action,
                format!(
                    "{who} the newest {leaves} leaves, of which the first has waited {waited} s"
                ),
            )
        }
        Change::CaughtUp { after } => {
            let (action, who) = if is_index {
                (action::INDEX_CAUGHT_UP, "the index has caught up")
            } else {
                (action::JUDGING_CAUGHT_UP, "judging has caught up")
            };
            (action, format!("{who}, {} s after it became late", after.as_secs()))
        }
    };
    Event::site(action, "site", message, now)
}

/// How far a follower is behind. Blocks on the disk.
#[must_use]
pub fn lag(ledger: &Ledger, follower: Follower, next_leaf: u64) -> Lag {
    let leaves = ledger.size().saturating_sub(next_leaf);
    let waited = received_at(ledger, next_leaf).map_or(Duration::ZERO, |at| clock::now().since(at));
    Lag { follower, next_leaf, leaves, waited, is_late: false }
}

/// When the site received the first leaf from `from` on that is not erased. `None` also if it
/// cannot be read: whoever follows the log says so.
fn received_at(ledger: &Ledger, from: u64) -> Option<Timestamp> {
    let stored = ledger.envelopes(from, LOOK_AT_LEAVES, LOOK_AT_BYTES);
    let stored = stored
        .inspect_err(|failure| debug!(from, failure = error_chain(failure), "no lag is known"))
        .ok()?;
    let first = stored.iter().find_map(|stored| stored.bytes.as_deref())?;
    Envelope::received_at_of(first)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use ledger::Batch;
    use tlog::{KeyName, Signer};

    use super::*;
    use crate::progress::progress;

    const SECOND: Duration = Duration::from_secs(1);

    /// The sealed changes for the given lag of each second, as pairs of second and change.
    fn run(lags: impl IntoIterator<Item = u64>) -> Vec<(u32, Change)> {
        let start = Instant::now();
        let mut lateness = Lateness::new(start);
        let seconds = (0..).zip(lags);
        let changes = seconds.filter_map(|(second, lag)| {
            let change =
                lateness.handle_lag(SECOND * u32::try_from(lag).unwrap(), start + SECOND * second);
            change.map(|change| (second, change))
        });
        changes.collect()
    }

    #[test]
    fn a_follower_is_late_once_and_caught_up_once() {
        let lags = [0; 100].into_iter().chain(1..=40).chain([0; 20]);
        let caught_up = Change::CaughtUp { after: SECOND * 41 };
        assert_eq!(run(lags), [(109, Change::Late), (150, caught_up)]);
    }

    #[test]
    fn no_waiting_counts_while_a_site_starts() {
        let down_for_a_day = [86_400; 70].into_iter().chain([0; 100]);
        assert_eq!(run(down_for_a_day), []);
        let nobody_judges = run([86_400; 200]);
        assert_eq!(nobody_judges, [(70, Change::Late)]);
    }

    #[test]
    fn a_lag_that_swings_is_no_flood() {
        for period in [2, 5, 9, 11, 30] {
            let lags = (0..3_600).map(|second| if second / period % 2 == 0 { 15 } else { 0 });
            let sealed = run(lags).len();
            assert!(sealed <= 2 * 3_600 / 20, "{sealed} events of swings of {period} s");
            assert!(period >= 11 || sealed == 1, "{sealed} events of swings of {period} s");
        }
    }

    #[test]
    fn a_clock_that_is_set_makes_nobody_late() {
        let start = Instant::now();
        let mut sizes = Sizes::default();
        // Ten leaves a second.
        for second in 0..=20 {
            sizes.take(start + SECOND * second, u64::from(second) * 10);
        }
        let now = start + SECOND * 20 + SECOND / 2;
        let year = SECOND * 31_536_000;
        for (leaf, waited, bound) in [
            (195, SECOND / 4, SECOND / 2),         // sealed before the last look
            (200, SECOND / 4, SECOND / 4),         // after it
            (200, year, SECOND / 2),               // the clock went ahead
            (100, SECOND * 10, SECOND * 10),       // sealed in second 10
            (100, year, SECOND * 10 + SECOND / 2), // and not earlier
            (100, Duration::ZERO, SECOND * 9 + SECOND / 2), // the clock went back
        ] {
            assert_eq!(sizes.bound(waited, leaf, now), bound, "leaf {leaf}, {waited:?}");
        }
        assert_eq!(Sizes::default().bound(year, 3, now), year, "before the first look");
    }

    #[tokio::test]
    async fn who_is_late_is_sealed_once_the_queue_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        let (events, mut queue) = mpsc::channel(1);
        let (_running, processed) = watch::channel(0);
        let watching = Watching {
            ledger,
            progress: progress().1,
            judged: watch::channel(0).1,
            processed: vec![(Follower::Processor(Arc::from("processor/mean")), processed)],
            witnessed: None,
            events: events.downgrade(),
            lags: watch::channel(Vec::new()).0,
        };
        let followers: Vec<_> = watching.followers().map(|(follower, _)| follower).collect();
        let names: Vec<_> = followers.iter().map(Follower::name).collect();
        assert_eq!(names, ["index", "pipeline", "checkpoint", "processor/mean"]);
        let start = Instant::now();
        let mut lateness = Lateness::new(start);
        let waited = Duration::from_secs(17);
        let (follower, next_leaf, leaves) = (Follower::Pipeline, 9, 34_000);
        let lag = Lag { follower, next_leaf, leaves, waited, is_late: false };
        let later = start + Duration::from_secs(100);
        events.try_send(Event::default().into()).unwrap();
        watching.alarm(&mut lateness, &lag, later);
        assert!(!lateness.is_late(), "what is not sealed is not said elsewhere");
        drop(queue.recv().await);
        for _look in 0..3 {
            watching.alarm(&mut lateness, &lag, later);
        }
        let sealed = queue.try_recv().unwrap().into_event();
        assert_eq!(sealed.action.as_deref(), Some(action::JUDGING_LATE));
        assert!(sealed.message.contains("34000 leaves") && sealed.message.contains("17 s"));
        assert!(lateness.is_late() && queue.try_recv().is_err());
        writer.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_lag_is_that_of_the_first_leaf_that_waits() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        let event = || Event::site("TEST", "test", String::new(), clock::now());
        ledger.append(Batch::of(vec![event(), event()])).await.unwrap();
        let first = lag(&ledger, Follower::Index, 1);
        assert_eq!((first.leaves, first.next_leaf), (2, 1));
        let sealed_at = received_at(&ledger, 1).unwrap();
        assert!(first.waited <= clock::now().since(sealed_at) && sealed_at <= clock::now());
        let caught_up = lag(&ledger, Follower::Index, 3);
        assert_eq!((caught_up.leaves, caught_up.waited), (0, Duration::ZERO));
        writer.close().await.unwrap();
    }
}
