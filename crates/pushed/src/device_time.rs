//! Times that devices write, and which of them are believed.

use std::time::Duration;

use model::Timestamp;
use serde::Deserialize;

/// The time that a message names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum DeviceTime {
    /// It names none.
    #[default]
    None,
    /// A time that can be right.
    Told(Timestamp),
    /// A time that is not believed. The text is the device's.
    Doubted {
        /// The device's text.
        text: String,
        /// Why it is not believed.
        why: Doubt,
    },
}

/// Why a time is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// It is before 2020. A clock that was never set begins in 1970, 2000 or 2016.
    TooEarly,
    /// It is more than a day after the message came.
    InTheFuture,
    /// It names no offset from UTC.
    NoZone,
    /// It is not a time of the form that the rule names.
    NotATime,
}

impl Doubt {
    /// The word for this doubt, in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooEarly => "too_early",
            Self::InTheFuture => "in_the_future",
            Self::NoZone => "no_zone",
            Self::NotATime => "not_a_time",
        }
    }
}

/// How a device writes times.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeFormat {
    /// RFC 3339, such as `2026-11-23T19:01:23Z`.
    #[default]
    Rfc3339,
    /// The same without an offset, such as `2026-11-23T19:01:23`.
    Local,
    /// Seconds since 1970, possibly with a fraction.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
}

/// How a rule reads times.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Clock {
    pub(crate) format: TimeFormat,
    /// The device's offset from UTC in minutes, for times that do not name it.
    pub(crate) offset_minutes: Option<i32>,
}

/// 2020-01-01 in microseconds since 1970. No device that reports today was set before.
const EARLIEST_MICROS: i64 = 1_577_836_800_000_000;
/// How far a device's clock may be ahead: the day by which a wrong time zone can shift it.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest text of a doubted time that is kept, in characters.
const TEXT_CHARS_MAX: usize = 64;

impl Clock {
    /// Reads a time out of a message that came `at`.
    pub(crate) fn read(self, text: &str, at: Timestamp) -> DeviceTime {
        let doubted =
            |why| DeviceTime::Doubted { text: text.chars().take(TEXT_CHARS_MAX).collect(), why };
        let time = match self.format {
            TimeFormat::Rfc3339 => text.parse().ok(),
            TimeFormat::Local => match (self.offset_minutes, text.parse::<jiff::civil::DateTime>())
            {
                (None, Ok(_)) => return doubted(Doubt::NoZone),
                (Some(minutes), Ok(civil)) => in_utc(civil, minutes),
                (_, Err(_)) => None,
            },
            TimeFormat::UnixS => micros(text, 6),
            TimeFormat::UnixMs => micros(text, 3),
        };
        match time {
            None => doubted(Doubt::NotATime),
            Some(time) => judged(time, at).map_or(DeviceTime::Told(time), doubted),
        }
    }
}

/// A time in milliseconds since 1970, as Sparkplug has it.
pub(crate) fn of_millis(millis: u64, at: Timestamp) -> DeviceTime {
    let clock = Clock { format: TimeFormat::UnixMs, offset_minutes: None };
    clock.read(&millis.to_string(), at)
}

fn judged(time: Timestamp, at: Timestamp) -> Option<Doubt> {
    if time.unix_micros() < EARLIEST_MICROS {
        Some(Doubt::TooEarly)
    } else if time.since(at) > AHEAD_MAX {
        Some(Doubt::InTheFuture)
    } else {
        None
    }
}

fn in_utc(civil: jiff::civil::DateTime, offset_minutes: i32) -> Option<Timestamp> {
    let offset = jiff::tz::Offset::from_seconds(offset_minutes.checked_mul(60)?).ok()?;
    let micros = offset.to_timestamp(civil).ok()?.as_microsecond();
    Some(Timestamp::from_unix_micros(micros))
}

/// Microseconds of a decimal number whose point stands `places` digits before a microsecond.
/// Further digits are cut off.
fn micros(text: &str, places: usize) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let fraction = fraction.chars().chain(std::iter::repeat('0')).take(places);
    let digits: String = whole.chars().chain(fraction).collect();
    digits.parse().ok().map(Timestamp::from_unix_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_right_is_kept_as_text() {
        use TimeFormat::{Local, Rfc3339, UnixMs, UnixS};
        let at: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        for (format, offset_minutes, text, read) in [
            (Rfc3339, None, "2026-11-29T11:59:59Z", "2026-11-29T11:59:59.000000Z"),
            (Rfc3339, None, "2026-11-29T12:59:59+01:00", "2026-11-29T11:59:59.000000Z"),
            (Rfc3339, None, "1970-01-01T00:00:12Z", "too_early"),
            (Rfc3339, None, "2038-01-19T03:14:07Z", "in_the_future"),
            (Rfc3339, None, "2026-11-29T11:59:59", "not_a_time"),
            (Local, None, "2026-11-29T11:59:59", "no_zone"),
            (Local, Some(60), "2026-11-29T12:59:59", "2026-11-29T11:59:59.000000Z"),
            (Local, Some(60), "1970-01-01T00:00:12", "too_early"),
            (Local, Some(60), "noon", "not_a_time"),
            (UnixS, None, "1795953599.62", "2026-11-29T11:59:59.620000Z"),
            (UnixS, None, "1795953599", "2026-11-29T11:59:59.000000Z"),
            (UnixS, None, "12", "too_early"),
            (UnixS, None, "1.5e9", "not_a_time"),
            (UnixS, None, "-1", "not_a_time"),
            (UnixS, None, "99999999999999999999", "not_a_time"),
            (UnixS, None, "1795953599999", "in_the_future"), // milliseconds taken for seconds
            (UnixMs, None, "1795953599620", "2026-11-29T11:59:59.620000Z"),
            (UnixMs, None, "1795953599", "too_early"), // seconds taken for milliseconds
        ] {
            let shown = match (Clock { format, offset_minutes }).read(text, at) {
                DeviceTime::None => String::new(),
                DeviceTime::Told(time) => time.to_string(),
                DeviceTime::Doubted { text: kept, why } => {
                    assert_eq!(kept, text);
                    String::from(why.as_str())
                }
            };
            assert_eq!(shown, read, "{text}");
        }
    }
}
