//! The range of normal values that a sensor declares.

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    decimal::Decimal,
    object::{kind, text},
};

/// A range from the lowest to the highest normal value, both included. Both are finite, and `low <
/// high`. Written as `0..50`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// The range from `low` to `high`.
    ///
    /// # Errors
    /// A bound is not finite, or `low` is not below `high`.
    pub fn new(low: f64, high: f64) -> Result<Self, InvalidRange> {
        if low.is_finite() && high.is_finite() && low < high {
            Ok(Self { low, high })
        } else {
            Err(InvalidRange)
        }
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

    /// Whether `value` lies within the range. The comparison uses the decimal digits as written, so
    /// that no rounding moves a value onto a bound.
    #[must_use]
    pub fn contains(self, value: &Decimal) -> bool {
        let bound = |bound: f64| Decimal::parse(&format!("{bound:e}"));
        let (low, high) = (bound(self.low), bound(self.high));
        low.is_some_and(|low| low <= *value) && high.is_some_and(|high| *value <= high)
    }
}

/// Two numbers, or the text form of sealed heartbeats.
pub(crate) fn read(json: &RawValue) -> Result<Range, String> {
    let refused = |error: InvalidRange| error.to_string();
    if kind(json) == "text" {
        return text(json)?.parse().map_err(refused);
    }
    let [low, high]: [f64; 2] =
        serde_json::from_str(json.get()).map_err(|_| refused(InvalidRange))?;
    Range::new(low, high).map_err(refused)
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}..{}", self.low, self.high)
    }
}

impl FromStr for Range {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (low, high) = text.split_once("..").ok_or(InvalidRange)?;
        let bound = |text: &str| text.parse::<f64>().map_err(|_| InvalidRange);
        Self::new(bound(low)?, bound(high)?)
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

/// The two bounds do not make a range.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a range is two finite numbers with the lower one first, such as [0, 50]")]
pub struct InvalidRange;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_written() {
        for (low, high) in [(0.0, 50.0), (-100.0, 100.0), (0.5, 1e21), (-1e-7, 0.0)] {
            let range = Range::new(low, high).unwrap();
            assert_eq!(range.to_string().parse(), Ok(range));
        }
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
            assert_eq!(Range::new(low, high), Err(InvalidRange));
        }
    }
}
