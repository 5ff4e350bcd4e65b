//! The range of normal values that a sensor declares.

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    decimal::Decimal,
    object::{kind, text},
};

/// A range from the lowest to the highest normal value, both included. Both are finite, and `low <
/// high`. Written as `0..50`, or with all that can be declared as `0..50 hysteresis 2 delay 5000`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    low: f64,
    high: f64,
    /// How far inside a value that was outside must be to count as inside again. The two bounds
    /// that follow do not cross.
    hysteresis: f64,
    delay_ms: u32,
}

/// A range as an object. Its text form has the same words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    low: f64,
    high: f64,
    #[serde(default)]
    hysteresis: f64,
    #[serde(default)]
    delay: u32,
}

impl Range {
    /// Longest time that values may be outside before it is reported: one day.
    pub const DELAY_MS_MAX: u32 = 24 * 60 * 60 * 1_000;
    /// Digits after the first one of a bound that follows from the hysteresis. Floating point keeps
    /// more, so the sum of two numbers as people write them is rounded to what people expect.
    const SUM_DIGITS: usize = 12;

    /// The range from `low` to `high`.
    ///
    /// # Errors
    /// A bound is not finite, or `low` is not below `high`.
    pub fn new(low: f64, high: f64) -> Result<Self, InvalidRange> {
        if low.is_finite() && high.is_finite() && low < high {
            Ok(Self { low, high, hysteresis: 0.0, delay_ms: 0 })
        } else {
            Err(InvalidRange::Bounds)
        }
    }

    /// The same range, with a hysteresis in the unit of its bounds and a delay in milliseconds.
    ///
    /// # Errors
    /// The hysteresis is negative or as large as half the range, or the delay is longer than a day.
    pub fn with(self, hysteresis: f64, delay_ms: u32) -> Result<Self, InvalidRange> {
        if !(hysteresis >= 0.0 && self.low + hysteresis < self.high - hysteresis) {
            return Err(InvalidRange::Hysteresis);
        }
        if delay_ms > Self::DELAY_MS_MAX {
            return Err(InvalidRange::Delay);
        }
        Ok(Self { hysteresis, delay_ms, ..self })
    }

    /// The lowest normal value.
    #[must_use]
    pub const fn low(self) -> f64 {
        self.low
    }

    /// The highest normal value.
    #[must_use]
    pub const fn high(self) -> f64 {
        self.high
    }

    /// Time for which values must be outside before it is reported; zero if the first one is.
    #[must_use]
    pub const fn delay(self) -> Duration {
        Duration::from_millis(self.delay_ms as u64)
    }

    /// The two bounds, for messages.
    #[must_use]
    pub fn bounds(self) -> String {
        format!("{}..{}", self.low, self.high)
    }

    /// Whether `value` lies within the range. The comparison uses the decimal digits as written, so
    /// that no rounding moves a value onto a bound.
    #[must_use]
    pub fn contains(self, value: &Decimal) -> bool {
        is_between(&format!("{:e}", self.low), value, &format!("{:e}", self.high))
    }

    /// Whether `value` is so far inside that a sensor that was outside is inside again.
    #[must_use]
    pub fn contains_again(self, value: &Decimal) -> bool {
        if self.hysteresis == 0.0 {
            return self.contains(value);
        }
        let [low, high] = [self.low + self.hysteresis, self.high - self.hysteresis]
            .map(|bound| format!("{bound:.digits$e}", digits = Self::SUM_DIGITS));
        is_between(&low, value, &high)
    }
}

fn is_between(low: &str, value: &Decimal, high: &str) -> bool {
    Decimal::parse(low).is_some_and(|low| low <= *value)
        && Decimal::parse(high).is_some_and(|high| *value <= high)
}

/// Two numbers, an object, or the text form of sealed heartbeats.
pub(crate) fn read(json: &RawValue) -> Result<Range, String> {
    let refused = |error: InvalidRange| error.to_string();
    match kind(json) {
        "text" => text(json)?.parse().map_err(refused),
        "an object" => {
            let declared = serde_json::from_str(json.get());
            let Declared { low, high, hysteresis, delay } =
                declared.map_err(|error| format!("{}: {error}", InvalidRange::Bounds))?;
            Range::new(low, high).and_then(|it| it.with(hysteresis, delay)).map_err(refused)
        }
        _ => {
            let [low, high]: [f64; 2] =
                serde_json::from_str(json.get()).map_err(|_| refused(InvalidRange::Bounds))?;
            Range::new(low, high).map_err(refused)
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, high, hysteresis, delay_ms } = self;
        write!(formatter, "{low}..{high}")?;
        if *hysteresis > 0.0 {
            write!(formatter, " hysteresis {hysteresis}")?;
        }
        if *delay_ms > 0 {
            write!(formatter, " delay {delay_ms}")?;
        }
        Ok(())
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split(' ');
        let bounds = words.next().and_then(|bounds| bounds.split_once(".."));
        let (low, high) = bounds.ok_or(InvalidRange::Bounds)?;
        let bound = |text: &str| text.parse::<f64>().map_err(|_| InvalidRange::Bounds);
        let range = Self::new(bound(low)?, bound(high)?)?;
        let (mut hysteresis, mut delay_ms) = (0.0, 0);
        while let Some(word) = words.next() {
            match (word, words.next()) {
                ("hysteresis", Some(number)) => {
                    hysteresis = number.parse().map_err(|_| InvalidRange::Hysteresis)?;
                }
                ("delay", Some(number)) => {
                    delay_ms = number.parse().map_err(|_| InvalidRange::Delay)?;
                }
                _ => return Err(InvalidRange::Bounds),
            }
        }
        range.with(hysteresis, delay_ms)
    }
}

impl TryFrom<String> for Range {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

/// What was declared is not a range.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRange {
    /// The two bounds do not make one.
    #[error(
        "a range is two finite numbers with the lower one first, such as [0, 50], or an object with `low`, `high` and perhaps `hysteresis` and `delay`"
    )]
    Bounds,
    /// Nothing would be inside again.
    #[error("a hysteresis is a number from 0 to less than half of the range")]
    Hysteresis,
    /// The delay is not a time that a range can have.
    #[error("a delay is a whole number of milliseconds from 0 to {}", Range::DELAY_MS_MAX)]
    Delay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_written() {
        for (low, high) in [(0.0, 50.0), (-100.0, 100.0), (0.5, 1e21), (-1e-7, 0.0)] {
            let range = Range::new(low, high).unwrap();
            assert_eq!(range.to_string().parse(), Ok(range));
        }
        let range = Range::new(0.0, 50.0).unwrap().with(0.5, 5_000).unwrap();
        assert_eq!(range.to_string(), "0..50 hysteresis 0.5 delay 5000");
        assert_eq!(range.to_string().parse(), Ok(range));
        assert_eq!(range.bounds(), "0..50");
    }

    #[test]
    fn what_is_declared_is_read_or_refused_with_what_is_allowed() {
        let read = |json: &str| read(serde_json::from_str(json).unwrap());
        let text = |json: &str| read(json).unwrap().to_string();
        assert_eq!(text("[0,50]"), "0..50");
        assert_eq!(text(r#"{"low":0,"high":50}"#), "0..50");
        let both = r#"{"low":0,"high":50,"hysteresis":24.9,"delay":86400000}"#;
        assert_eq!(text(both), "0..50 hysteresis 24.9 delay 86400000");
        for (json, words) in [
            (r#"{"low":0,"high":50,"hysteresis":25}"#, "less than half of the range"),
            (r#"{"low":0,"high":50,"hysteresis":-1}"#, "less than half of the range"),
            (r#"{"low":0,"high":50,"delay":86400001}"#, "from 0 to 86400000"),
            (r#"{"low":0,"high":50,"delay":-1}"#, "`delay`: invalid value"),
            (r#"{"low":0,"high":50,"dealy":1}"#, "`dealy`"),
            (r#"{"low":0}"#, "`high`"),
            (r#""0..50 hysteresis""#, "two finite numbers"),
            (r#""0..50 delay x""#, "whole number of milliseconds"),
        ] {
            let refusal = read(json).expect_err(json);
            assert!(refusal.contains(words), "{json}: {refusal}");
        }
    }

    #[test]
    fn what_was_outside_must_come_further_in() {
        let range = Range::new(0.1, 0.5).unwrap().with(0.1, 0).unwrap();
        for (value, inside, again) in [
            ("0.5", true, false),
            ("0.400000000000001", true, false),
            ("0.4", true, true),
            ("0.2", true, true),
            ("0.19", true, false),
            ("0.6", false, false),
        ] {
            let value = Decimal::parse(value).unwrap();
            assert_eq!((range.contains(&value), range.contains_again(&value)), (inside, again));
        }
        let narrow = Range::new(0.2, 0.6).unwrap().with(0.1, 0).unwrap();
        let bound = Decimal::parse("0.3").unwrap(); // 0.2 + 0.1 is 0.30000000000000004
        assert!(narrow.contains_again(&bound));
    }

    #[test]
    fn holds_what_is_written_within_its_bounds() {
        let range = Range::new(-0.1, f64::MAX).unwrap();
        for (value, inside) in [
            ("-0.1", true),
            ("-0.10000000000000000001", false), // which floating point rounds to -0.1
            ("1e308", true),
            ("1e400", false),
            ("Infinity", false),
            ("-inf", false),
        ] {
            assert_eq!(range.contains(&Decimal::parse(value).unwrap()), inside, "{value}");
        }
    }

    #[test]
    fn refuses_bounds_that_hold_nothing() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert_eq!(Range::new(low, high), Err(InvalidRange::Bounds));
        }
    }
}
