//! What is said of polls that ended in no reading, and of a sensor's own count that does not go on
//! by one.

use crate::number_range::NumberRange;

/// Why polls that were due ended in no reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingReason {
    /// The message bus was away: they could not be sent, or their answers not come.
    BusAway,
    /// Their time was over before they could be sent: the site was busy, or the poll before them
    /// was still in flight.
    Overrun,
    /// An answer to the poll before them was still awaited, so that it would have been taken for
    /// theirs.
    Unanswered,
    /// The site stopped or was killed before they ended, or did not run.
    Stopped,
    /// The site forgot the sensor before they ended.
    Forgotten,
}

/// How a sensor's own count does not go on by one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SequenceBreak {
    /// It counted readings that were never sealed.
    NotSealed(NumberRange),
    /// The same number came again.
    Repeated,
    /// The count went back.
    Restarted,
}

/// `reason` of a gap that names no numbers, because nobody knows how many polls were due.
pub const UNCOUNTED: &str = "uncounted";

impl MissingReason {
    /// As events say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BusAway => "bus_away",
            Self::Overrun => "overrun",
            Self::Unanswered => "unanswered",
            Self::Stopped => "stopped",
            Self::Forgotten => "forgotten",
        }
    }

    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::BusAway => "the message bus was away",
            Self::Overrun => "their time was over before they could be sent",
            Self::Unanswered => "an answer to the poll before them was still awaited",
            Self::Stopped => "the site stopped or did not run",
            Self::Forgotten => "the site forgot the sensor before they ended",
        }
    }
}

impl SequenceBreak {
    /// What is wrong with `seq` after `last`, if anything.
    #[must_use]
    pub fn between(last: u64, seq: u64) -> Option<Self> {
        match seq.cmp(&last) {
            core::cmp::Ordering::Less => Some(Self::Restarted),
            core::cmp::Ordering::Equal => Some(Self::Repeated),
            core::cmp::Ordering::Greater => {
                NumberRange::new(last + 1, seq - 1).map(Self::NotSealed)
            }
        }
    }

    /// Highest number with which a count begins anew: a sensor that was away gave few answers
    /// before the first that is sealed again.
    pub const ANEW_MAX: u64 = 100;

    /// Whether the count of a sensor begins anew with `seq` after `last`, if it or the site was
    /// away between them: a sensor that keeps no count begins at its start, and that is no fault.
    #[must_use]
    pub const fn begins_anew(last: u64, seq: u64) -> bool {
        seq < last && seq <= Self::ANEW_MAX
    }

    /// As events say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSealed(_) => "not_sealed",
            Self::Repeated => "repeated",
            Self::Restarted => "restarted",
        }
    }
}
