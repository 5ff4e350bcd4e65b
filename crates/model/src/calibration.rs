//! The correction of what a sensor writes.

use alloc::{
    borrow::ToOwned as _,
    format,
    string::{String, ToString as _},
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

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

    /// The corrected number.
    #[must_use]
    pub fn of(&self, number: f64) -> f64 {
        let product = self.gain.0.number() * number;
        product + self.offset.number()
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
