//! Heartbeats that are refused, told once a minute for each reason and place, with how many there
//! were.
//!
//! Invariant: at most [`Refusals::KINDS_MAX`] kinds are told apart at a time; the others are told
//! of as one. So a flood of refusals is a few events a minute.

use core::time::Duration;
use std::collections::BTreeMap;

use model::{Event, Timestamp};

use crate::{
    action::Outbox,
    clock::{Instant, Now},
};

/// What was refused and not told of yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kinds: BTreeMap<Kind, Counted>,
}

/// What is one refusal for who reads of it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Kind {
    /// Where the heartbeats came.
    pub(crate) subject: String,
    /// Which reason, whatever it says of one sensor.
    pub(crate) reason: &'static str,
}

#[derive(Debug)]
struct Counted {
    /// Since it was last told.
    count: u64,
    /// The words of the newest.
    newest: String,
    tell_at: Instant,
}

impl Refusals {
    /// Time between two tellings of one kind.
    const PERIOD: Duration = Duration::from_secs(60);
    /// Kinds that are told apart: a plant hears heartbeats on a few subjects, and there are a dozen
    /// reasons.
    const KINDS_MAX: usize = 32;
    /// Longest subject that is kept, in characters.
    const SUBJECT_CHARS_MAX: usize = 80;
    /// Longest words that are kept, in characters: ours are shorter, but may quote what was sent.
    const WORDS_CHARS_MAX: usize = 400;

    /// Takes note of a refusal. The first of its kind is told at once, the others a minute after
    /// it.
    pub(crate) fn take(
        &mut self,
        subject: &str,
        reason: &'static str,
        words: &str,
        now: Now,
        outbox: &mut Outbox,
    ) {
        self.tell_due(now, outbox);
        let subject: String = subject.chars().take(Self::SUBJECT_CHARS_MAX).collect();
        let words: String = words.chars().take(Self::WORDS_CHARS_MAX).collect();
        let mut kind = Kind { subject, reason };
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= Self::KINDS_MAX {
            kind = Kind { subject: String::from("other subjects"), reason: "" };
        }
        if let Some(counted) = self.kinds.get_mut(&kind) {
            counted.count = counted.count.saturating_add(1);
            counted.newest = words;
            return;
        }
        outbox.seal(Event::heartbeats_refused(&kind.subject, 1, &words, now.wall));
        let tell_at = now.monotonic + Self::PERIOD;
        self.kinds.insert(kind, Counted { count: 0, newest: String::new(), tell_at });
    }

    /// When [`tell_due`](Self::tell_due) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.kinds.values().map(|counted| counted.tell_at).min()
    }

    /// Tells what was counted for a minute. A kind of which none came in it is forgotten.
    pub(crate) fn tell_due(&mut self, now: Now, outbox: &mut Outbox) {
        self.kinds.retain(|kind, counted| {
            if counted.tell_at > now.monotonic {
                return true;
            }
            if counted.count == 0 {
                return false;
            }
            tell(kind, counted, now.wall, outbox);
            *counted =
                Counted { count: 0, newest: String::new(), tell_at: now.monotonic + Self::PERIOD };
            true
        });
    }

    /// Tells the rest: nothing more comes.
    pub(crate) fn tell_all(&mut self, at: Timestamp, outbox: &mut Outbox) {
        for (kind, counted) in core::mem::take(&mut self.kinds) {
            if counted.count > 0 {
                tell(&kind, &counted, at, outbox);
            }
        }
    }
}

fn tell(kind: &Kind, counted: &Counted, at: Timestamp, outbox: &mut Outbox) {
    let Counted { count, newest, .. } = counted;
    outbox.seal(Event::heartbeats_refused(&kind.subject, *count, newest, at));
}
