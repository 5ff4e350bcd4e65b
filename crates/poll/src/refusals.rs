//! Reports refused heartbeats once a minute for each reason and subject, with their count.
//!
//! Invariant: at most [`Refusals::KINDS_MAX`] kinds are counted apart at a time; all others count
//! as one kind. So a flood of refusals makes only a few events a minute.

use core::time::Duration;
use std::collections::BTreeMap;

use model::{Event, Timestamp};

use crate::{
    action::Outbox,
    clock::{Instant, Now},
};

/// Refusals that are counted and not reported yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kinds: BTreeMap<Kind, Counted>,
}

/// The subject and reason of a refusal. Refusals of one kind are reported together.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Kind {
    /// Subject on which the heartbeats arrived.
    pub(crate) subject: String,
    /// Constant name of the reason, without details of one sensor.
    pub(crate) reason: &'static str,
}

#[derive(Debug)]
struct Counted {
    /// Refusals since the last report.
    count: u64,
    /// Message of the newest refusal.
    newest: String,
    tell_at: Instant,
}

impl Refusals {
    /// Time between two reports of one kind.
    const PERIOD: Duration = Duration::from_secs(60);
    /// Most kinds counted apart: a plant receives heartbeats on a few subjects, and there are a
    /// dozen reasons.
    const KINDS_MAX: usize = 32;
    /// Longest subject that is kept, in characters. Longer ones are cut off.
    const SUBJECT_CHARS_MAX: usize = 80;
    /// Longest message that is kept, in characters. Our own are shorter, but may quote the payload.
    const WORDS_CHARS_MAX: usize = 400;

    /// Counts a refusal. Reports the first of its kind at once and the others a minute later.
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

    /// Reports each kind whose minute is over. Forgets a kind without a refusal in that minute.
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

    /// Reports everything that is left, before the site stops.
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
