//! Counts of what devices were refused, so that an operator sees why one is not there. No IO.
//!
//! Invariant: at most [`Refusals::KINDS_MAX`] kinds are counted apart, and of one name at most
//! [`Refusals::KINDS_OF_ONE_MAX`]; all others count as one. So a flood of refusals makes only a few
//! events a minute, and whoever the site knows takes no room from others. A kind that has not come
//! for a while makes room, so after a flood a device that is refused is told of by its name again.

use std::{collections::BTreeMap, time::Duration};

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// What somebody was refused.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Refusal {
    /// The credential or the MQTT client id, or what else is known of the client.
    pub who: String,
    /// What was refused, and why.
    pub why: String,
    /// What an operator can do about it; empty if the site knows nothing.
    #[serde(default)]
    pub advice: String,
}

impl Refusal {
    /// Longest part in characters. What a client sends may be longer, and is cut off.
    const CHARS_MAX: usize = 160;

    /// Describes a refusal.
    #[must_use]
    pub fn new(who: &str, why: &str, advice: &str) -> Self {
        let short = |text: &str| text.chars().take(Self::CHARS_MAX).collect();
        Self { who: short(who), why: short(why), advice: short(advice) }
    }
}

/// What is said of kinds that are not counted apart.
const MORE_KINDS: &str = "more kinds of refusals than are counted apart";

/// How often something was refused.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    /// Who was refused what.
    #[serde(flatten)]
    pub refusal: Refusal,
    /// How often, since the site started.
    pub count: u64,
    /// The last time.
    pub last: Timestamp,
}

/// Refusals since the site started, except those that made room for others.
#[derive(Debug, Default)]
pub struct Refusals {
    kinds: BTreeMap<Refusal, Counted>,
    total: u64,
}

#[derive(Debug)]
struct Counted {
    count: u64,
    last: Timestamp,
    /// Refusals that no event tells of yet.
    untold: u64,
    /// When the last event told of them.
    told_at: Option<Timestamp>,
}

impl Refusals {
    /// Most kinds that are counted apart: each device of a plant with one fault.
    pub const KINDS_MAX: usize = 1_000;
    /// Most of them of one name: each subject that a device or a processor can have wrong.
    pub const KINDS_OF_ONE_MAX: usize = 50;
    /// Time after which a kind that has not come again makes room, if there is none. A device that
    /// is refused comes again within minutes.
    pub const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
    /// Time between two events about one kind.
    pub const PERIOD: Duration = Duration::from_secs(60);
    /// Most events at once. The others follow a second later.
    pub const EVENTS_MAX: usize = 4;

    /// Counts a refusal.
    pub fn take(&mut self, refusal: Refusal, now: Timestamp) {
        let refusal = if self.kinds.contains_key(&refusal) {
            refusal
        } else if self.of_one(&refusal.who) >= Self::KINDS_OF_ONE_MAX {
            Refusal::new(&refusal.who, MORE_KINDS, "do something about its other kinds first")
        } else if self.has_room(now) {
            refusal
        } else {
            Refusal::new(
                "others",
                MORE_KINDS,
                "do something about the others first: kinds that do not come again make room",
            )
        };
        let nothing = Counted { count: 0, last: now, untold: 0, told_at: None };
        let counted = self.kinds.entry(refusal).or_insert(nothing);
        counted.count = counted.count.saturating_add(1);
        counted.untold = counted.untold.saturating_add(1);
        counted.last = now;
        self.total = self.total.saturating_add(1);
    }

    /// How many kinds with this name are counted apart.
    fn of_one(&self, who: &str) -> usize {
        let own = self.kinds.range(Refusal::new(who, "", "")..);
        let own = own.take_while(|(refusal, _)| refusal.who == who);
        own.filter(|(refusal, _)| refusal.why != MORE_KINDS).count()
    }

    /// Whether one more kind can be counted apart, after those that are over have made room.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.kinds.len() >= Self::KINDS_MAX {
            self.kinds.retain(|_refusal, counted| {
                counted.untold > 0 || now.apart(counted.last) < Self::KEPT_FOR
            });
        }
        self.kinds.len() < Self::KINDS_MAX
    }

    /// What to seal now: the refusals of each kind since its last event. The first of a kind is due
    /// at once, the others a minute after the event before. Those that have waited longest come
    /// first, so that a flood of other kinds does not keep one from being told.
    pub fn due(&mut self, now: Timestamp) -> Vec<(Refusal, u64)> {
        let is_due = |counted: &Counted| {
            let is_its_turn = counted.told_at.is_none_or(|told| now.apart(told) >= Self::PERIOD);
            counted.untold > 0 && is_its_turn
        };
        let mut due: Vec<_> =
            self.kinds.iter_mut().filter(|(_, counted)| is_due(counted)).collect();
        due.sort_by_key(|(_refusal, counted)| counted.told_at);
        let told = due.into_iter().take(Self::EVENTS_MAX).map(|(refusal, counted)| {
            counted.told_at = Some(now);
            (refusal.clone(), std::mem::take(&mut counted.untold))
        });
        told.collect()
    }

    /// All refusals, also of kinds that made room for others.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Every kind, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Told> {
        let told = |(refusal, counted): (&Refusal, &Counted)| Told {
            refusal: refusal.clone(),
            count: counted.count,
            last: counted.last,
        };
        let mut all: Vec<Told> = self.kinds.iter().map(told).collect();
        all.sort_by_key(|told| std::cmp::Reverse(told.last));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    #[test]
    fn the_first_of_a_kind_is_told_at_once_and_the_others_a_minute_later() {
        let mut refusals = Refusals::default();
        let refusal = Refusal::new("a", "its password is wrong", "rotate it");
        refusals.take(refusal.clone(), at(0));
        assert_eq!(refusals.due(at(0)), [(refusal.clone(), 1)]);
        (1..=5).for_each(|second| refusals.take(refusal.clone(), at(second)));
        assert_eq!(refusals.due(at(59)), []);
        assert_eq!(refusals.due(at(60)), [(refusal.clone(), 5)]);
        assert_eq!(refusals.due(at(200)), []);
        assert_eq!(refusals.all(), [Told { refusal, count: 6, last: at(5) }]);
    }

    #[test]
    fn a_flood_that_is_over_hides_no_device() {
        let mut refusals = Refusals::default();
        for number in 0..2 * Refusals::KINDS_MAX {
            refusals.take(Refusal::new(&number.to_string(), "", ""), at(0));
        }
        let device = Refusal::new("pump", "its password is wrong", "");
        let is_named = |refusals: &Refusals| refusals.all().iter().any(|it| it.refusal == device);
        refusals.take(device.clone(), at(60));
        assert!(!is_named(&refusals), "it is one of the others");
        (0..600).for_each(|second| drop(refusals.due(at(second))));
        refusals.take(device.clone(), at(3_700));
        assert!(is_named(&refusals));
        assert_eq!(refusals.due(at(3_700)), [(device.clone(), 1)]);
        // A clock that is set back by an hour holds nothing up.
        refusals.take(device.clone(), at(100));
        assert_eq!(refusals.due(at(100)), [(device, 1)]);
    }

    #[test]
    fn a_flood_of_one_takes_no_room_from_others() {
        let mut refusals = Refusals::default();
        for number in 0..2 * Refusals::KINDS_MAX {
            refusals.take(Refusal::new("a processor", &format!("{number}"), ""), at(0));
        }
        let device = Refusal::new("pump", "its password is wrong", "");
        refusals.take(device.clone(), at(0));
        let all = refusals.all();
        assert_eq!(all.len(), Refusals::KINDS_OF_ONE_MAX + 2);
        assert!(all.iter().any(|told| told.refusal == device));
        let more = all.iter().find(|told| told.refusal.why == MORE_KINDS).unwrap();
        assert_eq!(more.refusal.who, "a processor");
        assert_eq!(more.count, (2 * Refusals::KINDS_MAX - Refusals::KINDS_OF_ONE_MAX) as u64);
    }

    #[test]
    fn no_kind_waits_for_ever_behind_others() {
        let mut refusals = Refusals::default();
        let quiet = Refusal::new("z", "its password is wrong", "");
        refusals.take(quiet.clone(), at(0));
        let told = (0..600).any(|second| {
            (0..900).for_each(|number| {
                refusals.take(Refusal::new(&format!("{number}"), "", ""), at(0));
            });
            refusals.due(at(second)).iter().any(|(refusal, _)| *refusal == quiet)
        });
        assert!(told);
    }

    #[test]
    fn a_flood_makes_few_events_and_no_more_kinds_than_the_limit() {
        let mut refusals = Refusals::default();
        for number in 0..10_000 {
            refusals.take(Refusal::new(&format!("{number}"), &"x".repeat(10_000), ""), at(0));
        }
        assert_eq!(refusals.due(at(0)).len(), Refusals::EVENTS_MAX);
        let all = refusals.all();
        assert_eq!(all.len(), Refusals::KINDS_MAX + 1);
        assert_eq!(all.iter().map(|told| told.count).sum::<u64>(), 10_000);
        assert_eq!(refusals.total(), 10_000);
        assert!(all.iter().all(|told| told.refusal.why.len() <= 160));
    }
}
