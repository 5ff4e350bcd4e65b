//! The quality of the machine's clock: its steps, whether it is believed, and whether a time server
//! sets it.
//!
//! Nothing here sets a clock, and no time is corrected. What carries a time that is not believed
//! gets the site's own time beside it ([`SiteClock::mark`]).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clock::{Keeper, Source, Step, Synchronised};
use ledger::Ledger;
use model::{Envelope, Event, Timestamp, event::SITE_CLOCK};
use serde::Serialize;
use tokio::time::Instant;

/// Newest leaves in which the end of the log looks for an event of the site itself. Programs log
/// between them.
const NEWEST_LEAVES: usize = 1_000;

/// The site's own time at the end of a log. The time of receipt alone does not say it: it never
/// goes back, so after a jump ahead it stays there until the clock has caught up. Blocks on the
/// disk.
#[must_use]
pub fn own_time_at_end(ledger: &Ledger) -> Option<Timestamp> {
    let from = ledger.size().saturating_sub(NEWEST_LEAVES as u64);
    // What cannot be read says nothing of the time; others tell of it.
    let newest = ledger.envelopes(from, NEWEST_LEAVES, usize::MAX).unwrap_or_default();
    let own_time = |bytes: &[u8]| {
        let Event { sealwire, timestamp, .. } = Envelope::parse(bytes).ok()?.event;
        sealwire?.site_time.or_else(|| timestamp?.parse().ok())
    };
    let own_time = newest.iter().rev().find_map(|stored| own_time(stored.bytes.as_deref()?));
    own_time.or_else(|| ledger.found_received_at())
}

/// The machine's clock, as the site sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SiteClock {
    began: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    keeper: Keeper,
    synchronised: Synchronised,
    /// Since when the answer is the same.
    since: Timestamp,
    steps: u64,
    /// A step that is not sealed yet.
    unsealed: Option<Step>,
}

/// What is known of the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Whether a time server sets the clock; `None` if no program could say.
    pub synchronised: Option<bool>,
    /// By how many milliseconds the clock is ahead of the time server.
    pub offset_ms: Option<f64>,
    /// The program that said it.
    pub source: Option<&'static str>,
    /// Since when it says so, by the site's own time.
    pub since: Timestamp,
    /// Whether the time that the clock shows is believed.
    pub believed: bool,
    /// How often the clock was set since the site started.
    pub steps: u64,
}

impl SiteClock {
    /// Begins to watch the clock. `newest` is the [time at the end](own_time_at_end) of the log.
    #[must_use]
    pub fn start(newest: Option<Timestamp>) -> Self {
        let keeper = Keeper::start(clock::now(), Duration::ZERO, newest, clock::built());
        let state = State {
            since: keeper.own(),
            keeper,
            synchronised: Synchronised::default(),
            steps: 0,
            unsealed: None,
        };
        Self { began: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// What is known of the clock.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let State { keeper, synchronised, since, steps, .. } = &*self.look();
        Quality {
            synchronised: synchronised.is_synchronised,
            offset_ms: synchronised.offset_s.map(|offset| offset * 1_000.0),
            source: synchronised.source.map(Source::program),
            since: *since,
            believed: keeper.is_believed(),
            steps: *steps,
        }
    }

    /// Gives events that carry a time that is not believed the site's own time beside it.
    pub(crate) fn mark<'a>(&self, events: impl Iterator<Item = &'a mut Event>) {
        let keeper = self.look().keeper;
        if !keeper.has_doubted() {
            return;
        }
        for event in events {
            let time = event.timestamp.as_deref().and_then(|text| text.parse().ok());
            if let Some(own) = time.and_then(|time| keeper.instead_of(time)) {
                event.sealwire.get_or_insert_default().site_time = Some(own);
                event.flag(SITE_CLOCK);
            }
        }
    }

    /// A step that is not sealed yet; several that came since the last one are one.
    pub(crate) fn unsealed(&self) -> Option<Step> {
        self.look().unsealed
    }

    /// The steps so far are on their way to be sealed.
    pub(crate) fn sealed(&self) {
        self.look().unsealed = None;
    }

    /// Looks at the clock.
    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_synchronised = state.synchronised.is_synchronised == Some(true);
        let looked = state.keeper.look(clock::now(), self.began.elapsed(), is_synchronised);
        if let Some(step) = looked.step {
            state.steps += 1;
            let from = state.unsealed.map_or(step.from, |before| before.from);
            state.unsealed = Some(Step { from, ..step });
            // What was said of the clock before says nothing of it now.
            state.synchronised = Synchronised::default();
            state.since = looked.own;
        }
        state
    }

    /// Takes what a program says, and returns whether that is news.
    pub(crate) fn learn(&self, synchronised: Synchronised) -> bool {
        let mut state = self.look();
        let is_news = state.synchronised.is_synchronised != synchronised.is_synchronised;
        state.synchronised = synchronised;
        if is_news {
            state.since = state.keeper.own();
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ledger::Batch;
    use tlog::{KeyName, Signer};
    use tokio::time::advance;

    use super::*;

    thread_local! {
        /// The machine's clock, in microseconds.
        static WALL: Cell<i64> = const { Cell::new(0) };
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_ends_at_the_time_that_the_site_believed() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("plant").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
        let at = |second: i64| Timestamp::from_unix_micros(second * 1_000_000);
        let own = |time: i64, site_time: Option<i64>| {
            let mut event = Event::site("TEST", "test", String::new(), at(time));
            event.sealwire.get_or_insert_default().site_time = site_time.map(at);
            event
        };
        // A program's event, whatever time it has, is not the site's.
        let programs = Event { sealwire: None, ..own(9, None) };
        for (events, end) in [
            (vec![own(1_000, None)], 1_000),
            (vec![own(2_000, Some(1_001)), programs], 1_001),
            (vec![own(1_002, None)], 1_002),
        ] {
            ledger.append(Batch::of(events)).await.unwrap();
            assert_eq!(own_time_at_end(&ledger), Some(at(end)));
        }
        writer.close().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_in_2036_gives_events_the_sites_own_time() {
        const SECOND: i64 = 1_000_000;
        /// 2027-01-15, and ten years later.
        const BEGIN: i64 = 1_800_000_000_000_000;
        const FAR: i64 = BEGIN + 3_652 * 86_400 * SECOND;
        clock::simulate(|| Timestamp::from_unix_micros(WALL.get()));
        WALL.set(BEGIN);
        let clock = SiteClock::start(None);
        let seal = |passed: i64, wall: i64| {
            WALL.set(wall);
            let mut event = Event::site("TEST", "test", String::new(), clock::now());
            clock.mark(std::iter::once(&mut event));
            assert_eq!(event.timestamp, Some(clock::now().to_string()), "it stays as it came");
            let own = event.sealwire.unwrap();
            let at = |seconds: i64| Timestamp::from_unix_micros(BEGIN + seconds * SECOND);
            assert_eq!(own.flags.is_some(), own.site_time.is_some());
            assert!(own.site_time.is_none_or(|time| time == at(passed)), "{own:?}");
            own.site_time.is_some()
        };
        advance(Duration::from_secs(1)).await;
        assert!(!seal(1, BEGIN + SECOND));
        advance(Duration::from_secs(1)).await;
        assert!(seal(2, FAR), "the jump");
        advance(Duration::from_secs(60)).await;
        assert!(seal(62, FAR + 60 * SECOND));
        assert!(!clock.quality().believed);
        advance(Duration::from_secs(1)).await;
        assert!(!seal(63, BEGIN + 63 * SECOND), "the clock is back");
        assert!(clock.quality().believed && clock.quality().steps == 2);
        let step = clock.unsealed().unwrap();
        let [from, to] = [step.from, step.to].map(Timestamp::unix_micros);
        assert_eq!((from, to), (BEGIN + 2 * SECOND, BEGIN + 63 * SECOND), "both steps together");
    }
}
