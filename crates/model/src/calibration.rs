//! The correction of what a sensor writes.

use alloc::{
    borrow::ToOwned as _,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{decimal::Decimal, reading::number_of, timestamp::Timestamp};

/// A straight line: the value that a sensor writes, times `gain`, plus `offset`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Calibration {
    /// Factor; not zero.
    pub gain: Gain,
    /// What is added, in the unit of the value.
    pub offset: Coefficient,
}

impl Calibration {
    /// The corrected value. `None` if the value is not a number, or too large for one.
    ///
    /// Every program that shows or judges corrected values must compute them so: with doubles (IEEE
    /// 754), first the product and then the sum, each rounded.
    #[must_use]
    pub fn apply(&self, value: &str) -> Option<f64> {
        value.parse().ok().filter(|number: &f64| number.is_finite()).map(|number| self.of(number))
    }

    /// The corrected number. It is finite if the number is: one that would be too large for a
    /// double becomes the largest.
    #[must_use]
    pub fn of(&self, number: f64) -> f64 {
        let product = self.gain.0.number() * number;
        (product + self.offset.number()).clamp(f64::MIN, f64::MAX)
    }

    /// The sum of corrected numbers: `sum` is that of the numbers, and `count` how many they are,
    /// both times the same factor.
    #[must_use]
    pub fn of_sum(&self, sum: f64, count: f64) -> f64 {
        self.gain.0.number() * sum + self.offset.number() * count
    }

    /// The correction for people.
    #[must_use]
    pub fn words(&self) -> String {
        format!("value times {} plus {}", self.gain, self.offset)
    }
}

/// Gain and offset with a space between them, as readings carry them.
impl fmt::Display for Calibration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.gain, self.offset)
    }
}

impl FromStr for Calibration {
    type Err = InvalidCoefficient;

    fn from_str(text: &str) -> Result<Self, InvalidCoefficient> {
        let (gain, offset) = text.split_once(' ').ok_or(InvalidCoefficient)?;
        Ok(Self { gain: gain.parse()?, offset: offset.parse()? })
    }
}

/// The calibrations of one sensor or one of its channels, in the order of the times from which on
/// each is right.
///
/// A reading is corrected by the one that is right for its time, whenever that was ordered. So an
/// order with an earlier date changes what is shown of readings that were sealed before it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Calibrations(Vec<(Timestamp, Calibration)>);

impl Calibrations {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The times at which each begins to be right, in order.
    pub fn begins(&self) -> impl Iterator<Item = Timestamp> {
        self.0.iter().map(|(from, _)| *from)
    }

    /// The one that is right at a time.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Option<&Calibration> {
        let begun = self.0.partition_point(|(from, _)| *from <= at);
        self.0.get(..begun)?.last().map(|(_from, calibration)| calibration)
    }

    /// The newest one.
    #[must_use]
    pub fn newest(&self) -> Option<&Calibration> {
        self.0.last().map(|(_from, calibration)| calibration)
    }

    /// The corrected number of a reading with this time, status and value; `None` if no calibration
    /// is right then, or the value is no number.
    #[must_use]
    pub fn correct(&self, at: Timestamp, status: &str, value: &str) -> Option<f64> {
        let calibration = self.at(at)?;
        number_of(status, value).map(|number| calibration.of(number))
    }
}

impl FromIterator<(Timestamp, Calibration)> for Calibrations {
    fn from_iter<T: IntoIterator<Item = (Timestamp, Calibration)>>(all: T) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(from, _)| *from);
        Self(all)
    }
}

/// A number as a person wrote it, finite as a double.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Coefficient(String);

impl Coefficient {
    /// Longest text in characters: more digits than a double has.
    const CHARS_MAX: usize = 40;

    fn number(&self) -> f64 {
        self.0.parse().unwrap_or_default()
    }
}

impl TryFrom<String> for Coefficient {
    type Error = InvalidCoefficient;

    fn try_from(text: String) -> Result<Self, InvalidCoefficient> {
        let is_number = text.len() <= Self::CHARS_MAX && Decimal::parse(&text).is_some();
        let number = text.parse().ok().filter(|number: &f64| is_number && number.is_finite());
        number.map(|_number| Self(text)).ok_or(InvalidCoefficient)
    }
}

impl FromStr for Coefficient {
    type Err = InvalidCoefficient;

    fn from_str(text: &str) -> Result<Self, InvalidCoefficient> {
        text.to_owned().try_into()
    }
}

impl From<Coefficient> for String {
    fn from(coefficient: Coefficient) -> Self {
        coefficient.0
    }
}

impl fmt::Display for Coefficient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A coefficient that is not zero.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Gain(Coefficient);

impl TryFrom<String> for Gain {
    type Error = InvalidCoefficient;

    fn try_from(text: String) -> Result<Self, InvalidCoefficient> {
        let coefficient = Coefficient::try_from(text)?;
        if coefficient.number() == 0.0 { Err(InvalidCoefficient) } else { Ok(Self(coefficient)) }
    }
}

impl FromStr for Gain {
    type Err = InvalidCoefficient;

    fn from_str(text: &str) -> Result<Self, InvalidCoefficient> {
        text.to_owned().try_into()
    }
}

impl From<Gain> for String {
    fn from(gain: Gain) -> Self {
        gain.0.to_string()
    }
}

impl fmt::Display for Gain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The text is not a coefficient.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it is not a number of at most {} characters such as 1.02 or -0.5, or it is a gain of zero",
    Coefficient::CHARS_MAX
)]
pub struct InvalidCoefficient;

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(text: &str) -> Calibration {
        text.parse().expect(text)
    }

    #[test]
    fn a_value_is_corrected_by_first_the_product_and_then_the_sum() {
        let calibration = calibration("0.1 0.2");
        assert_eq!(calibration.apply("3"), Some(0.1_f64 * 3.0 + 0.2));
        assert_eq!((calibration.apply("warm"), calibration.apply("1e400")), (None, None));
        assert_eq!(calibration.of_sum(6.0, 3.0), 0.1_f64 * 6.0 + 0.2 * 3.0);
    }

    #[test]
    fn a_corrected_number_stays_finite() {
        let calibration = calibration("-1e300 5");
        assert_eq!(calibration.of(1e300), f64::MIN);
        assert_eq!(calibration.of(-1e300), f64::MAX);
    }

    #[test]
    fn each_is_right_from_its_time_on() {
        let at = Timestamp::from_unix_micros;
        let all = [(at(20), calibration("3 0")), (at(10), calibration("2 0"))];
        let all: Calibrations = all.into_iter().collect();
        assert_eq!(all.begins().collect::<Vec<_>>(), [at(10), at(20)]);
        let corrected = |micros| all.correct(at(micros), "SUCCESS", "1.5");
        assert_eq!([9, 10, 19, 20].map(corrected), [None, Some(3.0), Some(3.0), Some(4.5)]);
        assert_eq!(all.correct(at(20), "COMM_ERROR", "1.5"), None);
        assert_eq!(all.newest(), Some(&calibration("3 0")));
    }
}
