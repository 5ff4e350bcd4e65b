//! Times that devices write, and which of them are believed.

use model::{Doubt, Timestamp, ToldTime};
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

impl Clock {
    /// Reads a time out of a message that came `at`.
    pub(crate) fn read(self, text: &str, at: Timestamp) -> DeviceTime {
        let doubted = |why| DeviceTime::Doubted {
            text: text.chars().take(ToldTime::TEXT_CHARS_MAX).collect(),
            why,
        };
        let since_1970 = |places| {
            let Some(micros) = micros(text, places) else { return Err(Doubt::NotATime) };
            Doubt::of_unix_micros(micros, at)
                .map_or_else(|| i64::try_from(micros).map_err(|_| Doubt::YearOutOfRange), Err)
        };
        let time = match self.format {
            TimeFormat::Rfc3339 => match ToldTime::of_rfc3339(text) {
                ToldTime::Moment(time) => Ok(time),
                ToldTime::Text { doubt, .. } => Err(doubt),
            },
            TimeFormat::Local => match (self.offset_minutes, text.parse::<jiff::civil::DateTime>())
            {
                (None, Ok(_)) => Err(Doubt::NoZone),
                (Some(minutes), Ok(civil)) => in_utc(civil, minutes).ok_or(Doubt::NotATime),
                (_, Err(_)) => Err(Doubt::NotATime),
            },
            TimeFormat::UnixS => since_1970(6).map(Timestamp::from_unix_micros),
            TimeFormat::UnixMs => since_1970(3).map(Timestamp::from_unix_micros),
        };
        let sound = time.and_then(|time| Doubt::of(time, at).map_or(Ok(time), Err));
        sound.map_or_else(doubted, DeviceTime::Told)
    }
}

/// A time in milliseconds since 1970, as Sparkplug has it.
pub(crate) fn of_millis(millis: u64, at: Timestamp) -> DeviceTime {
    let clock = Clock { format: TimeFormat::UnixMs, offset_minutes: None };
    clock.read(&millis.to_string(), at)
}

fn in_utc(civil: jiff::civil::DateTime, offset_minutes: i32) -> Option<Timestamp> {
    let offset = jiff::tz::Offset::from_seconds(offset_minutes.checked_mul(60)?).ok()?;
    let micros = offset.to_timestamp(civil).ok()?.as_microsecond();
    Some(Timestamp::from_unix_micros(micros))
}

/// Microseconds of a decimal number whose point stands `places` digits before a microsecond.
/// Further digits are cut off.
fn micros(text: &str, places: usize) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let fraction = fraction.chars().chain(std::iter::repeat('0')).take(places);
    let digits: String = whole.chars().chain(fraction).collect();
    digits.parse().ok()
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
            (Rfc3339, None, "2038-01-19T03:14:07Z", "unix_32_bit"),
            (Rfc3339, None, "2026-11-29T11:59:59", "no_zone"),
            (Rfc3339, None, "2016-12-31T23:59:60Z", "leap_second"),
            (Local, None, "2026-11-29T11:59:59", "no_zone"),
            (Local, Some(60), "2026-11-29T12:59:59", "2026-11-29T11:59:59.000000Z"),
            (Local, Some(60), "1970-01-01T00:00:12", "too_early"),
            (Local, Some(60), "noon", "not_a_time"),
            (UnixS, None, "1795953599.62", "2026-11-29T11:59:59.620000Z"),
            (UnixS, None, "1795953599", "2026-11-29T11:59:59.000000Z"),
            (UnixS, None, "12", "too_early"),
            (UnixS, None, "1.5e9", "not_a_time"),
            (UnixS, None, "-1", "not_a_time"),
            (UnixS, None, "99999999999999999999", "year_out_of_range"),
            (UnixS, None, "99999999999999999999999999999999999999999", "not_a_time"),
            (UnixS, None, "1795953599999", "wrong_unit"), // milliseconds taken for seconds
            (UnixS, None, "1795953599999999999", "wrong_unit"), // nanoseconds
            (UnixS, None, "2085978496", "ntp_era"),
            (UnixMs, None, "1795953599620", "2026-11-29T11:59:59.620000Z"),
            (UnixMs, None, "1795953599", "wrong_unit"), // seconds taken for milliseconds
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
