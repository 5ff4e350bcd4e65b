//! Times with a resolution of one microsecond.

use alloc::string::{String, ToString as _};
use core::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01 UTC. Written as RFC 3339 with exactly six fractional digits and
/// `Z`, so that text order is time order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// Length of a written timestamp in characters.
    pub const LEN: usize = 27;
    /// The last time that jiff can hold, two days before the year 10000.
    const MICROS_MAX: i64 = 253_402_207_200_000_000;
    /// The numbers of microseconds since 1970 that are a timestamp.
    pub(crate) const UNIX_MICROS: core::ops::RangeInclusive<i128> = 0..=253_402_207_200_000_000;

    /// The time `micros` microseconds after 1970 began, clamped to the years 1970 to 9999.
    #[must_use]
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros.clamp(0, Self::MICROS_MAX))
    }

    /// The time `since_1970` after 1970 began, rounded down to a microsecond. A system clock gives
    /// such a duration.
    #[must_use]
    pub fn after_1970(since_1970: Duration) -> Self {
        Self::from_unix_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
    }

    /// The time that lies `ago` before this one. Searches write it as `45s`, `30min` or `30m`,
    /// `12h`, `7d`, `2w`, `1mo`, `1y`, or with longer unit names. A month counts as 30 days and a
    /// year as 365. `None` if the text is not such a span.
    #[must_use]
    pub fn back(self, ago: &str) -> Option<Self> {
        let digits = ago.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = ago.split_at_checked(digits).filter(|_| digits > 0)?;
        let seconds = match unit {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "mi" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hour" | "hr" | "hrs" | "hours" => 3_600,
            "d" | "da" | "day" | "days" => 86_400,
            "w" | "week" | "weeks" => 7 * 86_400,
            "mo" | "mon" | "month" | "months" => 30 * 86_400,
            "y" | "year" | "years" => 365 * 86_400,
            _ => return None,
        };
        // Four billion of any unit reach beyond 1970.
        let count = count.parse::<u32>().unwrap_or(u32::MAX);
        let micros = i64::from(count).saturating_mul(seconds * 1_000_000);
        Some(Self::from_unix_micros(self.0.saturating_sub(micros)))
    }

    /// The time since an earlier moment; zero if that moment is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The time between two moments, whichever comes first. What must happen again after a time, by
    /// a clock that may be set back, goes by this.
    #[must_use]
    pub const fn apart(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_microsecond(self.0)
            .expect("the constructors keep the year between 1970 and 9999");
        write!(formatter, "{moment:.6}")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason: &str| InvalidTimestamp {
            text: text.chars().take(InvalidTimestamp::TEXT_CHARS_MAX).collect(),
            reason: reason.chars().take(InvalidTimestamp::REASON_CHARS_MAX).collect(),
        };
        let moment =
            text.parse::<jiff::Timestamp>().map_err(|error| refused(&error.to_string()))?;
        let micros = moment.as_microsecond();
        if (0..=Self::MICROS_MAX).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(refused("the year must be 1970 to 9999"))
        }
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

/// Reason why a text is not a timestamp.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a time: use RFC 3339 such as 2026-11-23T19:01:23Z ({reason})")]
pub struct InvalidTimestamp {
    text: String,
    reason: String,
}

impl InvalidTimestamp {
    /// Characters of the text that the error keeps.
    const TEXT_CHARS_MAX: usize = 64;
    /// Characters of the reason that the error keeps; jiff repeats the text in it.
    const REASON_CHARS_MAX: usize = 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_six_digits_and_z() {
        for (text, written) in [
            ("2026-11-23T19:01:23Z", "2026-11-23T19:01:23.000000Z"),
            ("2026-11-23T19:01:23.5+01:00", "2026-11-23T18:01:23.500000Z"), // an offset is resolved
            ("1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.000001Z"),
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00.000000Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), written);
        }
        assert_eq!(
            Timestamp::from_unix_micros(i64::MAX).to_string(),
            "9999-12-30T22:00:00.000000Z",
            "what jiff can hold is the end of time"
        );
    }

    #[test]
    fn a_refusal_is_short_whatever_was_written() {
        for begin in ["", "2026-11-23T19:01:23", "2026-11-23T19:01:23Z", "2026-11-23T19:01:23Z["] {
            for piece in ["x", "1", " ", "\u{1f321}", "\\", "\0"] {
                let text = alloc::format!("{begin}{}", piece.repeat(10_000));
                let refusal = text.parse::<Timestamp>().unwrap_err().to_string();
                assert!(refusal.len() < 1_000, "{} bytes: {:.200}", refusal.len(), refusal);
            }
        }
    }

    #[test]
    fn goes_back_as_searches_say_it() {
        let now = Timestamp::from_unix_micros(1_795_600_000_000_000);
        for (text, seconds) in [
            ("0d", 0),
            ("45s", 45),
            ("30m", 1_800),
            ("120min", 7_200),
            ("2h", 7_200),
            ("1day", 86_400),
            ("7d", 604_800),
            ("9w", 5_443_200),
            ("2months", 5_184_000),
            ("1y", 31_536_000),
        ] {
            let back = now.back(text).map(Timestamp::unix_micros);
            assert_eq!(back, Some(now.unix_micros() - seconds * 1_000_000), "{text}");
        }
        assert_eq!(now.back("99999999999y"), Some(Timestamp(0)), "before everything");
        for text in ["", "d", "7", "-7d", "7 d", "7D", "7fortnights", "7ö", "yesterday"] {
            assert_eq!(now.back(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_moment() {
        for text in ["", "yesterday", "2026-11-23", "1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z"]
        {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
