//! One fault: which sensors have it, when, and what it is.

use core::{ops::RangeInclusive, time::Duration};

use super::outage::{Outage, Span};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) which: Which,
    pub(crate) when: Span,
    pub(crate) what: What,
}

/// Sensors that have a fault: those that both fields let in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Which {
    /// Their aliases; any if `None`.
    pub(crate) named: Option<Glob>,
    /// Share of them, from 0 to 1.
    pub(crate) share: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// Polls are left unanswered.
    Silence { probability: f64 },
    /// Answers come later.
    Delay { by: RangeInclusive<Duration> },
    /// This is sent in place of an answer.
    Wrong { payload: String, probability: f64 },
    /// The value stays the same.
    Stuck,
    /// The value moves away by so much in an hour.
    Drift { per_hour: f64 },
    /// A second device has the sensor's id and topics, and answers each poll, too.
    DoubledId,
    /// The sensor's clock is off.
    ClockJump { by_micros: i64 },
    /// The sensor is off, and begins anew.
    Reboot(Outage),
    /// The sensor's MQTT connection breaks, so that the server sends its will.
    Will(Outage),
    /// Messages on the read topic that nobody asked for.
    Flood { per_second: u32 },
}

/// A text in which `*` stands for any characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Glob(pub(crate) String);

impl Glob {
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        let mut rest = rest;
        for part in parts {
            // The first place leaves the most for the parts that follow.
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}
