//! Times that devices name, and why one cannot be right.
//!
//! Nothing here corrects a time. What a device wrote is sealed as it came, with the word for the
//! [`Doubt`], and what is plotted or searched by time goes by the site's own time instead.

use alloc::string::String;

use crate::timestamp::Timestamp;

/// The time that a device wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToldTime {
    /// A moment of the years 1970 to 9999. Whether it can be right, [`Doubt::of`] says.
    Moment(Timestamp),
    /// Text that names no such moment.
    Text {
        /// The device's text, up to [`ToldTime::TEXT_CHARS_MAX`] characters.
        text: String,
        /// Why it names no moment.
        doubt: Doubt,
    },
}

/// Why a time that a device named cannot be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// It is before 2020. A clock that was never set begins in 1970, 1980, 2000 or 2016.
    TooEarly,
    /// It is more than a day after the message came.
    InTheFuture,
    /// It is in the year that begins on 7 February 2036, where the 32-bit seconds of NTP start
    /// again from zero. A device that takes an empty NTP answer for a time is there.
    NtpEra,
    /// It is on the day on which 32-bit seconds since 1970 end, 19 January 2038.
    Unix32Bit,
    /// It would be right if its number were read in another unit: seconds, milliseconds,
    /// microseconds or nanoseconds were mistaken for each other.
    WrongUnit,
    /// Its year is before 1970 or after 9999.
    YearOutOfRange,
    /// It is in a leap second, which no count of seconds since 1970 can name.
    LeapSecond,
    /// It names no offset from UTC.
    NoZone,
    /// It is not a time of the form that is asked for.
    NotATime,
}

impl Doubt {
    /// How far a device's clock may be ahead: the day by which a wrong time zone can shift it.
    const AHEAD_MAX_MICROS: i128 = 86_400_000_000;
    /// 2020-01-01. No device that reports today was set before.
    const EARLIEST_MICROS: i128 = 1_577_836_800_000_000;
    /// 2036-02-07T06:28:16Z, and a year later.
    const NTP_ERA_MICROS: core::ops::Range<i128> = 2_085_978_496_000_000..2_117_514_496_000_000;
    /// 2038-01-19, from its first to its last moment.
    const UNIX_32_BIT_MICROS: core::ops::Range<i128> = 2_147_472_000_000_000..2_147_558_400_000_000;

    /// The word for this doubt, in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooEarly => "too_early",
            Self::InTheFuture => "in_the_future",
            Self::NtpEra => "ntp_era",
            Self::Unix32Bit => "unix_32_bit",
            Self::WrongUnit => "wrong_unit",
            Self::YearOutOfRange => "year_out_of_range",
            Self::LeapSecond => "leap_second",
            Self::NoZone => "no_zone",
            Self::NotATime => "not_a_time",
        }
    }

    /// Why a time cannot be right, of a message that came `at`.
    #[must_use]
    pub fn of(time: Timestamp, at: Timestamp) -> Option<Self> {
        Self::of_unix_micros(time.unix_micros().into(), at)
    }

    /// The same of a number of microseconds since 1970, which need not be a [`Timestamp`].
    #[must_use]
    pub fn of_unix_micros(micros: i128, at: Timestamp) -> Option<Self> {
        let at = i128::from(at.unix_micros());
        let is_ahead = micros.saturating_sub(at) > Self::AHEAD_MAX_MICROS;
        if !is_ahead && micros >= Self::EARLIEST_MICROS {
            return None;
        }
        Some(if is_in_another_unit(micros, at) {
            Self::WrongUnit
        } else if !Timestamp::UNIX_MICROS.contains(&micros) {
            Self::YearOutOfRange
        } else if !is_ahead {
            Self::TooEarly
        } else if Self::NTP_ERA_MICROS.contains(&micros) {
            Self::NtpEra
        } else if Self::UNIX_32_BIT_MICROS.contains(&micros) {
            Self::Unix32Bit
        } else {
            Self::InTheFuture
        })
    }
}

/// Whether a time would be within a day of `at` if its number were larger or smaller by a factor of
/// a thousand, a million or a thousand million.
fn is_in_another_unit(micros: i128, at: i128) -> bool {
    let is_near =
        |micros: i128| micros.saturating_sub(at).saturating_abs() <= Doubt::AHEAD_MAX_MICROS;
    [1_000, 1_000_000, 1_000_000_000]
        .into_iter()
        .any(|factor| is_near(micros.saturating_mul(factor)) || is_near(micros / factor))
}

/// A time, as it is sealed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JudgedTime {
    /// The moment that it names.
    pub moment: Option<Timestamp>,
    /// Its text, if it names no moment.
    pub text: Option<String>,
    /// Why it cannot be right.
    pub doubt: Option<Doubt>,
}

impl ToldTime {
    /// Longest text that is kept, in characters: twice as many as a time needs.
    pub const TEXT_CHARS_MAX: usize = 64;

    /// Reads a time in RFC 3339.
    #[must_use]
    pub fn of_rfc3339(text: &str) -> Self {
        match text.parse::<jiff::Timestamp>() {
            Ok(_) if is_leap_second(text) => Self::unread(text, Doubt::LeapSecond),
            Ok(_) => text
                .parse()
                .map_or_else(|_| Self::unread(text, Doubt::YearOutOfRange), Self::Moment),
            Err(_) if has_distant_year(text) => Self::unread(text, Doubt::YearOutOfRange),
            Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() => {
                Self::unread(text, Doubt::NoZone)
            }
            Err(_) => Self::unread(text, Doubt::NotATime),
        }
    }

    /// Judges the time of a message that came `at`.
    #[must_use]
    pub fn judged(self, at: Timestamp) -> JudgedTime {
        match self {
            Self::Moment(time) => {
                JudgedTime { moment: Some(time), text: None, doubt: Doubt::of(time, at) }
            }
            Self::Text { text, doubt } => {
                JudgedTime { moment: None, text: Some(text), doubt: Some(doubt) }
            }
        }
    }

    /// What is not a moment, with the beginning of its text.
    #[must_use]
    pub fn unread(text: &str, doubt: Doubt) -> Self {
        Self::Text { text: text.chars().take(Self::TEXT_CHARS_MAX).collect(), doubt }
    }
}

/// Whether the time is in a second 60, as in `2016-12-31T23:59:60Z`.
fn is_leap_second(text: &str) -> bool {
    text.get(16..19) == Some(":60")
}

/// Whether the text begins with a year of five or more digits, or of a negative number.
fn has_distant_year(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let year = digits.bytes().take_while(u8::is_ascii_digit).count();
    let is_date = digits.as_bytes().get(year) == Some(&b'-');
    is_date && (year > 4 || (year > 0 && text.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use proptest::prelude::*;

    use super::*;

    const NOON: &str = "2026-11-29T12:00:00Z";

    fn word(text: &str, at: &str) -> String {
        match ToldTime::of_rfc3339(text) {
            ToldTime::Moment(time) => {
                let doubt = Doubt::of(time, at.parse().unwrap());
                String::from(doubt.map_or("sound", Doubt::as_str))
            }
            ToldTime::Text { text: kept, doubt } => {
                assert!(text.starts_with(&kept));
                String::from(doubt.as_str())
            }
        }
    }

    #[test]
    fn each_way_to_be_wrong_has_a_word() {
        for (text, at, expected) in [
            ("2026-11-29T11:59:59Z", NOON, "sound"),
            ("2026-11-30T02:00:00+14:00", NOON, "sound"),
            ("2026-11-30T11:59:59Z", NOON, "sound"), // a wrong zone at most
            ("2020-01-01T00:00:00Z", NOON, "sound"), // long ago, and possible
            ("1970-01-01T00:00:00Z", NOON, "too_early"), // never set
            ("1980-01-06T00:00:12Z", NOON, "too_early"), // GPS without a fix
            ("2000-01-01T00:00:00Z", NOON, "too_early"),
            ("2036-02-07T06:28:16Z", NOON, "ntp_era"), // an NTP time of zero
            ("2036-02-07T06:28:16Z", "2036-02-07T06:28:17Z", "sound"), // and when it is so
            ("2036-02-07T06:28:15Z", NOON, "in_the_future"),
            ("2038-01-19T03:14:07Z", NOON, "unix_32_bit"), // 2^31 - 1 seconds
            ("2038-01-19T03:14:08Z", "2038-01-19T03:14:08Z", "sound"),
            ("2106-02-07T06:28:15Z", NOON, "in_the_future"),
            ("9999-12-30T00:00:00Z", NOON, "in_the_future"),
            ("1970-01-21T18:52:33.6Z", NOON, "wrong_unit"), // seconds taken for milliseconds
            ("1970-01-01T00:29:55.953600Z", NOON, "wrong_unit"), // seconds for microseconds
            ("0000-01-01T00:00:00Z", NOON, "year_out_of_range"),
            ("-000001-12-31T00:00:00Z", NOON, "year_out_of_range"),
            ("1901-12-13T20:45:52Z", NOON, "year_out_of_range"), // -2^31 seconds
            ("1900-01-01T00:00:00Z", NOON, "year_out_of_range"),
            ("58883-05-13T08:00:00Z", NOON, "year_out_of_range"), // milliseconds for seconds
            ("+56910000432-01-01T00:00:00Z", NOON, "year_out_of_range"), // nanoseconds
            ("2016-12-31T23:59:60Z", NOON, "leap_second"),
            ("2026-11-29T11:59:60.5Z", NOON, "leap_second"),
            ("2026-11-29T11:59:59", NOON, "no_zone"),
            ("2026-11-29", NOON, "no_zone"),
            ("noon", NOON, "not_a_time"),
            ("", NOON, "not_a_time"),
            ("1795953600", NOON, "not_a_time"),
            ("-", NOON, "not_a_time"),
            ("2026-02-30T00:00:00Z", NOON, "not_a_time"),
        ] {
            assert_eq!(word(text, at), expected, "{text} at {at}");
        }
        let (long, kept) = ("x".repeat(100), "x".repeat(ToldTime::TEXT_CHARS_MAX));
        assert_eq!(ToldTime::of_rfc3339(&long), ToldTime::unread(&kept, Doubt::NotATime));
    }

    proptest! {
        #[test]
        fn a_time_without_a_doubt_is_at_most_a_day_ahead_and_not_before_2020(
            time in 0..253_402_207_200_000_000_i64,
            at in 1_577_836_800_000_000..4_000_000_000_000_000_i64,
        ) {
            let [moment, at_moment] = [time, at].map(Timestamp::from_unix_micros);
            let is_plausible = time >= 1_577_836_800_000_000 && time - at <= 86_400_000_000;
            prop_assert_eq!(Doubt::of(moment, at_moment).is_none(), is_plausible);
            // A text is read as it is written, or kept as it is.
            prop_assert_eq!(ToldTime::of_rfc3339(&moment.to_string()), ToldTime::Moment(moment));
        }

        #[test]
        fn any_text_is_a_moment_or_is_kept(text in ".{0,80}") {
            if let ToldTime::Text { text: kept, .. } = ToldTime::of_rfc3339(&text) {
                prop_assert!(text.starts_with(&kept) && kept.chars().count() <= 64);
            }
        }

        #[test]
        fn a_number_in_another_unit_is_found(at in 1_600_000_000_000_000..2_500_000_000_000_000_i64) {
            // Microseconds that were seconds or milliseconds.
            for factor in [1_000, 1_000_000] {
                let time = Timestamp::from_unix_micros(at / factor);
                let doubt = Doubt::of(time, Timestamp::from_unix_micros(at));
                prop_assert_eq!(doubt, Some(Doubt::WrongUnit), "{}", format!("{time}"));
            }
        }
    }
}
