//! Limits how many polls a second the site makes, whatever its sensors ask for.
//!
//! If sensors ask for more than the limit, the site polls the fastest ones less often. It sets a
//! shortest interval, as short as the limit allows, and polls no sensor more often than that.
//! Sensors that ask for longer intervals keep them, however many others ask for short ones.
//!
//! The limit is what the operator allows, or less while the site cannot seal or index as much as
//! comes: it falls while the site falls behind, stays while it catches up, and then rises again.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::clock::Instant;

/// The intervals that all polled sensors ask for, and the shortest one that the site grants.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The most that the operator allows.
    allowed: u32,
    /// Polls a second that the site can take now, at most `allowed`.
    polls_per_second: f64,
    /// Number of sensors that ask for each interval.
    wishes: BTreeMap<Duration, u32>,
    shortest: Option<Duration>,
    /// When to check next whether the wishes fit the budget; `None` while no wish has changed.
    look_at: Option<Instant>,
    /// The shortest interval that was reported last.
    told: Option<Duration>,
    tell_from: Instant,
}

/// Whether the site can seal and index as much as comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Load {
    /// It can.
    Fine,
    /// It is behind, and is catching up.
    CatchingUp,
    /// It falls further behind.
    FallingBehind,
}

/// Reports that stretching began, changed or ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretched {
    /// The shortest interval granted; `None` if every wish is granted.
    pub(crate) shortest: Option<Duration>,
    /// Polls a second that sensors ask for, and the most that the site makes.
    pub(crate) wished: f64,
    pub(crate) polls_per_second: u32,
}

impl Budget {
    /// Time between two checks of the wishes: a fleet that starts changes thousands of them at
    /// once.
    const PERIOD: Duration = Duration::from_secs(1);
    /// The shortest interval is a multiple of this step, so that it does not change with every
    /// sensor that comes or goes.
    const STEP: Duration = Duration::from_millis(50);
    /// Part of the limit that is left after a look at a site that falls behind, and its growth
    /// after a look at one that does not: it gives way in seconds, and comes back in a minute.
    const LESS: f64 = 0.85;
    const MORE: f64 = 1.02;
    /// Least part of the wishes that is granted: what stops the index may be a fault, which fewer
    /// polls do not mend, and readings are sealed all the same.
    const LEAST: f64 = 1.0 / 16.0;
    /// Part of what the operator allows by which the limit grows, too, however low it is.
    const MORE_OF_ALLOWED: f64 = 0.001;
    /// Least time between two reports.
    const TOLD_PERIOD: Duration = Duration::from_secs(60);

    pub(crate) fn new(allowed: u32) -> Self {
        Self {
            allowed,
            polls_per_second: f64::from(allowed),
            wishes: BTreeMap::new(),
            shortest: None,
            look_at: None,
            told: None,
            tell_from: Instant::default(),
        }
    }

    /// Shortest interval at which any sensor is polled; `None` if every wish is granted.
    pub(crate) const fn shortest(&self) -> Option<Duration> {
        self.shortest
    }

    /// Replaces a sensor's wish. `None` means that the sensor is not polled.
    pub(crate) fn wish(&mut self, before: Option<Duration>, after: Option<Duration>, now: Instant) {
        if before == after {
            return;
        }
        if let Some(wish) = before
            && let Some(count) = self.wishes.get_mut(&wish)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.wishes.remove(&wish);
            }
        }
        if let Some(wish) = after {
            *self.wishes.entry(wish).or_default() += 1;
        }
        self.look_at.get_or_insert(now + Self::PERIOD);
    }

    /// Takes how the site bears what comes. Call it about once a second.
    pub(crate) fn bear(&mut self, load: Load, now: Instant) {
        let polls_per_second = match load {
            Load::Fine => {
                let allowed = f64::from(self.allowed);
                (self.polls_per_second * Self::MORE + allowed * Self::MORE_OF_ALLOWED).min(allowed)
            }
            Load::CatchingUp => self.polls_per_second,
            Load::FallingBehind => {
                // What is wished for may be less than the limit, and too much all the same.
                let wished = self.wished();
                let least = (wished * Self::LEAST).max(1.0).min(self.polls_per_second);
                (self.polls_per_second.min(wished) * Self::LESS).max(least)
            }
        };
        if polls_per_second != self.polls_per_second {
            self.polls_per_second = polls_per_second;
            self.look_at = Some(now);
        }
    }

    /// When [`look`](Self::look) or [`tell`](Self::tell) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let tell_at = (self.told != self.shortest).then_some(self.tell_from);
        self.look_at.into_iter().chain(tell_at).min()
    }

    /// Checks whether the wishes fit, if a check is due.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.shortest = self.fitting();
        }
    }

    /// Takes the report that is due, if any.
    pub(crate) fn tell(&mut self, now: Instant) -> Option<Stretched> {
        if self.told == self.shortest || self.tell_from > now {
            return None;
        }
        self.told = self.shortest;
        self.tell_from = now + Self::TOLD_PERIOD;
        let shortest = self.shortest;
        // The number is at most `allowed`, so it is a whole number of that type.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let polls_per_second = self.polls_per_second.round() as u32;
        Some(Stretched { shortest, wished: self.wished(), polls_per_second })
    }

    fn wished(&self) -> f64 {
        self.wishes.iter().map(|(wish, count)| f64::from(*count) / wish.as_secs_f64()).sum()
    }

    /// The shortest interval at which all wishes fit the budget; `None` if they fit already.
    fn fitting(&self) -> Option<Duration> {
        let budget = self.polls_per_second;
        let mut slower = self.wished();
        if slower <= budget {
            return None;
        }
        let mut stretched = 0.0;
        let mut wishes = self.wishes.iter().peekable();
        while let Some((wish, count)) = wishes.next() {
            stretched += f64::from(*count);
            slower -= f64::from(*count) / wish.as_secs_f64();
            if slower >= budget {
                continue;
            }
            let shortest = stretched / (budget - slower);
            // The stretched interval may exceed the next wish; then that one is stretched too.
            if wishes.peek().is_none_or(|(next, _)| shortest <= next.as_secs_f64()) {
                let steps = (shortest / Self::STEP.as_secs_f64()).ceil();
                return Some(Self::STEP.mul_f64(steps));
            }
        }
        // Unreachable: the last wish alone always stretches until it fits.
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    fn shortest(polls_per_second: u32, wishes: &[(u32, u64)]) -> Option<Duration> {
        let mut budget = Budget::new(polls_per_second);
        for (sensors, millis) in wishes {
            for _ in 0..*sensors {
                budget.wish(None, Some(Duration::from_millis(*millis)), at(0));
            }
        }
        budget.look(at(1));
        budget.shortest()
    }

    #[test]
    fn only_the_fastest_are_stretched_and_no_more_than_it_takes() {
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(shortest(1_000, &[(100, 100)]), None, "they fit");
        assert_eq!(shortest(1_000, &[(200, 100)]), millis(200));
        // Forty sensors that ask every 10 s make 4 polls a second; their interval stays as it is.
        assert_eq!(shortest(2_000, &[(2_000, 100), (40, 10_000)]), millis(1_050));
        assert_eq!(shortest(2_000, &[(20_000, 100)]), millis(10_000));
        assert_eq!(shortest(1, &[(3, 100), (1, 1_000)]), millis(4_000), "all of them");
    }

    #[test]
    fn a_flood_that_goes_is_forgotten() {
        let mut budget = Budget::new(10);
        let fast = Some(Duration::from_millis(100));
        for _ in 0..2 {
            budget.wish(None, fast, at(0));
        }
        budget.look(at(1));
        let begins = budget.tell(at(1)).unwrap();
        assert_eq!(begins.shortest, Some(Duration::from_millis(200)));
        budget.look(at(2));
        assert!(budget.tell(at(2)).is_none(), "it is said once");
        budget.wish(fast, None, at(3));
        budget.look(at(4));
        assert_eq!(budget.shortest(), None);
        assert!(budget.tell(at(4)).is_none(), "nor more often than once a minute");
        assert_eq!(budget.deadline(), Some(at(61)));
        assert_eq!(budget.tell(at(61)).unwrap().shortest, None);
        assert_eq!(budget.deadline(), None);
    }

    #[test]
    fn a_site_that_falls_behind_gives_way_until_it_does_not_and_comes_back() {
        let mut budget = Budget::new(100_000);
        for _ in 0..1_000 {
            budget.wish(None, Some(Duration::from_millis(100)), at(0));
        }
        budget.look(at(1));
        assert_eq!(budget.shortest(), None, "10,000 a second are granted");
        let mut looks = (2..).map(at);
        let mut bear = |budget: &mut Budget, load| {
            let now = looks.next().unwrap();
            budget.bear(load, now);
            budget.look(now);
            budget.shortest()
        };
        let millis = |millis| Some(Duration::from_millis(millis));
        // From what is wished for, which is far below the limit.
        assert_eq!(bear(&mut budget, Load::FallingBehind), millis(150));
        assert_eq!(bear(&mut budget, Load::FallingBehind), millis(150));
        assert_eq!(bear(&mut budget, Load::FallingBehind), millis(200));
        assert_eq!(bear(&mut budget, Load::CatchingUp), millis(200));
        let told = budget.tell(at(5)).unwrap();
        assert_eq!((told.shortest, told.polls_per_second), (millis(200), 6_141));
        let seconds = (0..100).take_while(|_| bear(&mut budget, Load::Fine).is_some()).count();
        assert!((10..20).contains(&seconds), "after {seconds} s");
        for _ in 0..1_000 {
            assert_eq!(bear(&mut budget, Load::Fine), None);
        }
        assert_eq!(budget.polls_per_second, 100_000.0);
        for _ in 0..1_000 {
            bear(&mut budget, Load::FallingBehind);
        }
        assert_eq!(budget.polls_per_second, 10_000.0 / 16.0, "and no further");
    }

    proptest! {
        #[test]
        fn what_is_granted_fits_and_leaves_no_more_than_a_step_unused(
            polls_per_second in 1_u32..10_000,
            wishes in prop::collection::vec((1_u32..200, 100_u64..20_000), 1..20),
        ) {
            let shortest = shortest(polls_per_second, &wishes);
            let made = |shortest: Duration| -> f64 {
                let of = |(sensors, millis): &(u32, u64)| {
                    f64::from(*sensors) / Duration::from_millis(*millis).max(shortest).as_secs_f64()
                };
                wishes.iter().map(of).sum()
            };
            let budget = f64::from(polls_per_second) * (1.0 + 1e-9);
            prop_assert!(made(shortest.unwrap_or_default()) <= budget);
            if let Some(shortest) = shortest {
                prop_assert!(made(Duration::ZERO) > budget * (1.0 - 1e-6));
                prop_assert!(made(shortest.saturating_sub(Budget::STEP)) >= budget * (1.0 - 1e-6));
            }
        }
    }
}
