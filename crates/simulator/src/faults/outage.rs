//! Times of a run: a span, and those at which a sensor or a connection is off, once or repeatedly.

use core::time::Duration;

use rand::RngExt as _;

use crate::draw::{Purpose, draw};

/// A time of the run, from its begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    /// `None` lasts until the end of the run.
    pub(crate) lasts: Option<Duration>,
}

/// Being off, for the same time each time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outage {
    /// How long it lasts.
    off: Duration,
    /// Each begins up to so much later, by chance.
    spread: Duration,
    /// Time between two begins; `None` happens once.
    every: Option<Duration>,
}

/// Each outage must have ended when the next one begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`every_s` must be longer than `off_ms` and `spread_ms` together")]
pub(crate) struct Overlapping;

impl Span {
    pub(crate) fn contains(self, elapsed: Duration) -> bool {
        elapsed >= self.from && self.end().is_none_or(|end| elapsed < end)
    }

    pub(crate) fn end(self) -> Option<Duration> {
        self.lasts.map(|lasts| self.from.saturating_add(lasts))
    }
}

impl Outage {
    /// An outage of this length that begins up to `spread` late, and again after each `every`.
    ///
    /// # Errors
    /// One would last into the next.
    pub(crate) fn new(
        off: Duration,
        spread: Duration,
        every: Option<Duration>,
    ) -> Result<Self, Overlapping> {
        match every {
            Some(every) if every <= off.saturating_add(spread) => Err(Overlapping),
            _ => Ok(Self { off, spread, every }),
        }
    }

    /// Its times for one sensor or connection, which follow from the seed.
    pub(super) const fn of(&self, when: Span, seed: u64, of: [u64; 2]) -> Outages<'_> {
        Outages { outage: self, when, seed, of }
    }
}

/// The times at which one sensor or connection is off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outages<'a> {
    outage: &'a Outage,
    when: Span,
    seed: u64,
    /// Number of the fault, and of the sensor or connection.
    of: [u64; 2],
}

impl Outages<'_> {
    /// Until when it is off at this time of the run, if it is.
    pub(super) fn off_until(&self, elapsed: Duration) -> Option<Duration> {
        let begin = self.begin(self.turn(elapsed)?)?;
        let end = begin.saturating_add(self.outage.off);
        (begin <= elapsed && elapsed < end).then_some(end)
    }

    /// How many have ended.
    pub(super) fn ended(&self, elapsed: Duration) -> u64 {
        // Those of earlier turns have all ended, because none lasts into the next.
        let newest = self.turn(elapsed).and_then(|turn| Some((turn, self.begin(turn)?)));
        newest.map_or(0, |(turn, begin)| {
            turn + u64::from(begin.saturating_add(self.outage.off) <= elapsed)
        })
    }

    /// When one next ends, after this time of the run.
    pub(super) fn next_end(&self, elapsed: Duration) -> Option<Duration> {
        self.off_until(elapsed)
            .or_else(|| Some(self.next_begin(elapsed)?.saturating_add(self.outage.off)))
    }

    /// When one next begins, after this time of the run.
    pub(super) fn next_begin(&self, elapsed: Duration) -> Option<Duration> {
        let turn = self.turn(elapsed).unwrap_or(0);
        let begins = [turn, turn + 1].map(|turn| self.begin(turn));
        begins.into_iter().flatten().find(|begin| *begin > elapsed)
    }

    /// The number of the newest turn that may have begun, from 0; `None` before the first.
    fn turn(&self, elapsed: Duration) -> Option<u64> {
        let since = elapsed.checked_sub(self.when.from)?;
        let every = self.outage.every.map_or(u128::MAX, |every| every.as_nanos());
        let turn = u64::try_from(since.as_nanos() / every).unwrap_or(u64::MAX - 1);
        let last = self.when.lasts.map(|lasts| lasts.as_nanos().saturating_sub(1) / every);
        Some(last.and_then(|last| u64::try_from(last).ok()).map_or(turn, |last| turn.min(last)))
    }

    /// When a turn begins; `None` if the span has ended by then.
    fn begin(&self, turn: u64) -> Option<Duration> {
        let Self { outage, when, seed, of: [fault, whose] } = *self;
        let since = match (outage.every, turn) {
            (_, 0) => Duration::ZERO,
            (Some(every), _) => every.saturating_mul(u32::try_from(turn).ok()?),
            (None, _) => return None,
        };
        if when.lasts.is_some_and(|lasts| since >= lasts) {
            return None;
        }
        let late = draw(seed, Purpose::Outage, [fault, whose, turn])
            .random_range(Duration::ZERO..=outage.spread);
        Some(when.from.saturating_add(since).saturating_add(late))
    }
}
