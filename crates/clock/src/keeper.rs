//! Finds steps of the machine's clock, and times at which it cannot be right.
//!
//! The monotonic clock shows by how much the other one should have moved. A step is sealed, and
//! after it the machine's clock is used as before: what is sealed carries the time that it shows.
//! Only if the step is so large that a plot over it would be useless, the [`Keeper`] goes on by the
//! monotonic clock, and its own time stands beside the machine's.

use std::time::Duration;

use model::Timestamp;

/// A change of the machine's clock that the passing of time does not explain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// The time that it would have shown.
    pub from: Timestamp,
    /// The time that it showed.
    pub to: Timestamp,
    /// Whether the new time is believed.
    pub is_believed: bool,
}

/// What the machine's clock shows, and whether that can be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Looked {
    /// The time: the machine's if it is believed, else that of the monotonic clock since it was.
    pub own: Timestamp,
    /// Whether the machine's clock is believed.
    pub is_believed: bool,
    /// The clock was set since the last look.
    pub step: Option<Step>,
}

/// Compares the machine's clock with the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Keeper {
    /// What the machine's clock showed at the last look.
    wall: Timestamp,
    own: Timestamp,
    /// The monotonic clock at the last look.
    at: Duration,
    margin: Margin,
    is_believed: bool,
    has_doubted: bool,
}

/// How far a time may be from the keeper's own to be believed.
#[derive(Clone, Copy, Debug)]
struct Margin {
    back: Duration,
    ahead: Duration,
}

impl Margin {
    const DAY: Self = Self { back: Keeper::FAR_MAX, ahead: Keeper::FAR_MAX };

    fn has(self, time: Timestamp, own: Timestamp) -> bool {
        let far = apart(time, own);
        far <= if time < own { self.back } else { self.ahead }
    }
}

impl Keeper {
    /// Smallest change that is a step. A daemon that slews a clock moves it by 500 ppm, and a look
    /// may be interrupted between its two clocks.
    pub const STEP_MIN: Duration = Duration::from_secs(1);
    /// How far a time may be from the keeper's own to be believed: the day by which a wrong time
    /// zone can shift it.
    pub const FAR_MAX: Duration = Duration::from_secs(86_400);

    /// Begins at a start. `newest` is the time of the newest envelope of the log, and `built` a day
    /// on which this program existed. A clock that shows an earlier one was never set.
    ///
    /// A clock that was never set is expected to be set to any later time. One that is far ahead
    /// of the log is believed, because the site may have been stopped for long, but so it is if it
    /// is set back to where the log ends.
    #[must_use]
    pub fn start(
        wall: Timestamp,
        at: Duration,
        newest: Option<Timestamp>,
        built: Timestamp,
    ) -> Self {
        let is_set = wall >= built;
        let own = if is_set { wall } else { newest.unwrap_or(built).max(built) };
        let since_newest = newest.map_or(Duration::ZERO, |newest| wall.since(newest));
        let margin = if is_set {
            Margin { back: since_newest.saturating_add(Self::FAR_MAX), ..Margin::DAY }
        } else {
            Margin { ahead: Duration::MAX, ..Margin::DAY }
        };
        Self { wall, own, at, margin, is_believed: is_set, has_doubted: !is_set }
    }

    /// Looks at both clocks. `is_synchronised` says whether a time server is known to set the
    /// machine's, and that is believed, unless the clock was set since it was said.
    pub fn look(&mut self, wall: Timestamp, at: Duration, is_synchronised: bool) -> Looked {
        let passed = at.saturating_sub(self.at);
        let expected = later(self.wall, passed);
        let own = later(self.own, passed);
        let is_step = apart(wall, expected) > Self::STEP_MIN;
        let is_synchronised = is_synchronised && !is_step;
        let is_believed = is_synchronised || self.margin.has(wall, own);
        let is_settled = is_synchronised || is_believed && !Margin::DAY.has(wall, own);
        *self = Self {
            wall,
            own: if is_believed { wall } else { own },
            at,
            margin: if is_settled { Margin::DAY } else { self.margin },
            is_believed,
            has_doubted: self.has_doubted || !is_believed,
        };
        let step = is_step.then_some(Step { from: expected, to: wall, is_believed });
        Looked { own: self.own, is_believed, step }
    }

    /// The keeper's own time at the last look.
    #[must_use]
    pub const fn own(&self) -> Timestamp {
        self.own
    }

    /// Whether the machine's clock is believed.
    #[must_use]
    pub const fn is_believed(&self) -> bool {
        self.is_believed
    }

    /// The keeper's own time for an event that carries `time`, if that is too far from it.
    #[must_use]
    pub fn instead_of(&self, time: Timestamp) -> Option<Timestamp> {
        (self.has_doubted && !Margin::DAY.has(time, self.own)).then_some(self.own)
    }

    /// Whether [`instead_of`](Self::instead_of) can give a time at all.
    #[must_use]
    pub const fn has_doubted(&self) -> bool {
        self.has_doubted
    }
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_micros(one.unix_micros().abs_diff(other.unix_micros()))
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(time.unix_micros().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    const YEAR: i64 = 365 * DAY;

    /// So many microseconds after the day on which this program was built.
    fn time(micros: i64) -> Timestamp {
        Timestamp::from_unix_micros(crate::built().unix_micros() + micros)
    }

    fn micros(time: Timestamp) -> i64 {
        time.unix_micros() - crate::built().unix_micros()
    }

    /// Starts with what the clock shows, and then, once a second, what each look finds.
    fn run(start: i64, newest: Option<i64>, walls: &[i64]) -> Vec<(i64, bool, bool)> {
        let mut keeper =
            Keeper::start(time(start), Duration::ZERO, newest.map(time), crate::built());
        let looks = (1..).zip(walls).map(|(second, wall)| {
            let looked = keeper.look(time(*wall), Duration::from_secs(second), false);
            (micros(looked.own), looked.is_believed, looked.step.is_some())
        });
        looks.collect()
    }

    #[test]
    fn small_steps_are_told_and_believed() {
        let walls = [SECOND, 2 * SECOND + 900_000, 3_600 * SECOND, 3 * SECOND];
        let believed = [false, false, true, true].map(|is_step| (true, is_step));
        let expected: Vec<_> =
            walls.into_iter().zip(believed).map(|(wall, (yes, step))| (wall, yes, step)).collect();
        assert_eq!(run(0, Some(-SECOND), &walls), expected);
    }

    #[test]
    fn a_clock_that_jumps_far_is_not_believed_until_it_is_back() {
        for far in [10 * YEAR, 2 * DAY] {
            let walls = [SECOND, far, far + SECOND, 4 * SECOND];
            let expected = [
                (SECOND, true, false),
                (2 * SECOND, false, true),
                (3 * SECOND, false, false),
                (4 * SECOND, true, true),
            ];
            assert_eq!(run(0, Some(0), &walls), expected, "{far}");
        }
        let (start, back) = (2 * YEAR, [2 * YEAR + SECOND, -YEAR, 2 * YEAR + 3 * SECOND]);
        let expected = [
            (2 * YEAR + SECOND, true, false),
            (2 * YEAR + 2 * SECOND, false, true),
            (2 * YEAR + 3 * SECOND, true, true),
        ];
        assert_eq!(run(start, Some(start), &back), expected);
    }

    #[test]
    fn a_clock_that_was_never_set_may_be_set_to_any_later_time() {
        let in_1970 = -crate::built().unix_micros();
        let looked = run(in_1970, Some(YEAR), &[in_1970 + SECOND, 3 * YEAR, 20 * YEAR]);
        let expected = [
            (YEAR + SECOND, false, false),
            (3 * YEAR, true, true),
            (3 * YEAR + SECOND, false, true), // once it was set, it may not jump
        ];
        assert_eq!(looked, expected);
        assert_eq!(run(in_1970, None, &[in_1970 + SECOND]), [(SECOND, false, false)]);
    }

    #[test]
    fn a_clock_that_started_far_ahead_may_be_set_back_to_the_end_of_the_log() {
        let looked = run(10 * YEAR, Some(0), &[10 * YEAR + SECOND, DAY, 10 * YEAR]);
        let expected =
            [(10 * YEAR + SECOND, true, false), (DAY, true, true), (DAY + SECOND, false, true)];
        assert_eq!(looked, expected);
    }

    #[test]
    fn a_time_server_is_believed() {
        let mut keeper = Keeper::start(time(0), Duration::ZERO, Some(time(0)), crate::built());
        let looked = keeper.look(time(5 * YEAR), Duration::from_secs(1), true);
        assert!(!looked.is_believed && looked.step.is_some(), "it was set before the jump");
        let looked = keeper.look(time(5 * YEAR + SECOND), Duration::from_secs(2), true);
        assert_eq!((looked.own, looked.is_believed), (time(5 * YEAR + SECOND), true));
        let looked = keeper.look(time(5 * YEAR + 2 * SECOND), Duration::from_secs(3), false);
        assert!(looked.is_believed);
    }

    #[test]
    fn what_carries_a_time_that_is_not_believed_gets_another() {
        let mut keeper = Keeper::start(time(0), Duration::ZERO, Some(time(0)), crate::built());
        keeper.look(time(10 * YEAR), Duration::from_secs(1), false);
        assert_eq!(keeper.instead_of(time(10 * YEAR)), Some(time(SECOND)));
        assert_eq!(keeper.instead_of(time(SECOND / 2)), None, "it was taken before the jump");
        keeper.look(time(2 * SECOND), Duration::from_secs(2), false);
        assert_eq!(keeper.instead_of(time(10 * YEAR)), Some(time(2 * SECOND)), "a late event");
    }

    proptest! {
        /// Whatever a clock does after a sound start, no own time is further from the truth than
        /// the small steps that were believed add up to.
        #[test]
        fn the_own_time_is_never_far_from_the_truth_on_the_word_of_one_step(
            jumps in prop::collection::vec((1_u64..100_000, -40 * YEAR..40 * YEAR), 1..40),
        ) {
            let mut keeper =
                Keeper::start(time(YEAR), Duration::ZERO, Some(time(YEAR)), crate::built());
            let mut passed = 0;
            let mut before = 0;
            for (seconds, off) in jumps {
                passed += seconds;
                let truth = YEAR + i64::try_from(passed).unwrap() * SECOND;
                let looked =
                    keeper.look(time(truth + off), Duration::from_secs(passed), false);
                let own = micros(looked.own) - truth;
                prop_assert!((own - before).abs() <= DAY, "{own} after {before}");
                prop_assert_eq!(looked.is_believed, own == off && (off - before).abs() <= DAY);
                let for_event = time(truth + off);
                let for_event = keeper.instead_of(for_event).unwrap_or(for_event);
                prop_assert!((micros(for_event) - truth - own).abs() <= DAY);
                before = own;
            }
        }
    }
}
