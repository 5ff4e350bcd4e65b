//! Reasons why polls end without a reading, and faults of a sensor's own count.

use crate::number_range::NumberRange;

/// Why due polls ended without a reading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MissingReason {
    /// The message bus was down, so polls or answers could not get through.
    BusAway,
    /// The polls could not be sent in time: the site was busy, or an earlier poll was still in
    /// flight.
    Overrun,
    /// An answer to an earlier poll was still awaited, and could have been taken for theirs.
    Unanswered,
    /// The site stopped or crashed before they ended, or was down.
    Stopped,
    /// The site forgot the sensor before they ended.
    Forgotten,
    /// Several devices have the sensor's id, and no order has decided which is the sensor.
    SeveralDevices,
    /// The device, which reports by itself, did not report.
    NotReported,
}

/// Why a sensor's own count did not increase by one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SequenceBreak {
    /// The sensor counted readings that were never sealed.
    NotSealed(NumberRange),
    /// The sensor sent the same number again.
    Repeated,
    /// The count went backwards.
    Restarted,
}

/// `reason` of a gap without numbers: the number of due polls is unknown.
pub const UNCOUNTED: &str = "uncounted";

impl MissingReason {
    /// The word for this reason in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BusAway => "bus_away",
            Self::Overrun => "overrun",
            Self::Unanswered => "unanswered",
            Self::Stopped => "stopped",
            Self::Forgotten => "forgotten",
            Self::SeveralDevices => "several_devices",
            Self::NotReported => "not_reported",
        }
    }

    /// A phrase for messages.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::BusAway => "the message bus was unavailable",
            Self::Overrun => "the next poll was due before they could be sent",
            Self::Unanswered => "the site was still waiting for an earlier answer",
            Self::Stopped => "the site was stopping or not running",
            Self::Forgotten => "the site forgot the sensor before they ended",
            Self::SeveralDevices => "several devices have the sensor's id",
            Self::NotReported => "the device did not report",
        }
    }
}

impl SequenceBreak {
    /// The fault if `seq` follows `last`; `None` if the count is unbroken.
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

    /// Highest number at which a count may restart. A sensor that was away gives few answers before
    /// the first one that is sealed again.
    pub const ANEW_MAX: u64 = 100;

    /// Whether the count restarts with `seq` after `last`, given that the sensor or the site was
    /// away in between. A sensor without stable storage restarts its count when it restarts; that
    /// is not a fault.
    #[must_use]
    pub const fn begins_anew(last: u64, seq: u64) -> bool {
        seq < last && seq <= Self::ANEW_MAX
    }

    /// The word for this fault in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSealed(_) => "not_sealed",
            Self::Repeated => "repeated",
            Self::Restarted => "restarted",
        }
    }
}
