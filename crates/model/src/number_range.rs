//! Ranges of consecutive numbers as events write them: `412-430`, or `412` alone.

use core::{fmt, str::FromStr};

use crate::answer::Answer;

/// A range from a first to a last number, both included. `first <= last <= NUMBER_MAX`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NumberRange {
    first: u64,
    last: u64,
}

impl NumberRange {
    /// Largest number: the last integer that every JSON parser carries exactly (RFC 8259 section
    /// 6).
    pub const NUMBER_MAX: u64 = Answer::SEQ_MAX;

    /// The range that holds only this number, clamped to [`NUMBER_MAX`](Self::NUMBER_MAX).
    #[must_use]
    pub const fn one(number: u64) -> Self {
        let number = if number < Self::NUMBER_MAX { number } else { Self::NUMBER_MAX };
        Self { first: number, last: number }
    }

    /// The numbers from `first` to `last`; `None` if `first` is above `last` or `last` above
    /// [`NUMBER_MAX`](Self::NUMBER_MAX).
    #[must_use]
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last && last <= Self::NUMBER_MAX).then_some(Self { first, last })
    }

    /// This range, extended to `number` if it ends before it.
    #[must_use]
    pub fn through(self, number: u64) -> Self {
        Self { first: self.first, last: self.last.max(number.min(Self::NUMBER_MAX)) }
    }

    /// The first number of the range.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The last number of the range.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.last
    }

    /// How many numbers the range holds; at least 1.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last {
            write!(formatter, "{first}")
        } else {
            write!(formatter, "{first}-{last}")
        }
    }
}

impl FromStr for NumberRange {
    type Err = InvalidNumberRange;

    /// Accepts only what [`Display`](fmt::Display) writes, so that each range has one text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| {
            let plain = digits == "0" || !digits.starts_with(['0', '+']);
            digits.parse().ok().filter(|_| plain).ok_or(InvalidNumberRange)
        };
        let range = match text.split_once('-') {
            None => number(text).and_then(|one| Self::new(one, one).ok_or(InvalidNumberRange))?,
            Some((first, last)) => Self::new(number(first)?, number(last)?)
                .filter(|range| range.count() > 1)
                .ok_or(InvalidNumberRange)?,
        };
        Ok(range)
    }
}

/// The text is not a range of numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a range of numbers is a number below 2^53, or two with a hyphen and the lower one first, such as 412-430"
)]
pub struct InvalidNumberRange;

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_has_one_text() {
        for (text, range) in [
            ("412-430", Some((412, 430))),
            ("412", Some((412, 412))),
            ("0-9007199254740991", Some((0, NumberRange::NUMBER_MAX))),
            ("0-9007199254740992", None), // no longer exact
            ("", None),
            ("-", None),
            ("430-412", None),
            ("412-412", None), // is written `412`
            ("0412", None),
            ("+412", None),
            (" 412", None),
            ("412-", None),
            ("1-2-3", None),
            ("1-18446744073709551616", None),
        ] {
            let parsed = text.parse::<NumberRange>().ok();
            assert_eq!(parsed.map(|range| (range.first(), range.last())), range, "{text}");
        }
    }

    proptest! {
        #[test]
        fn is_read_back_as_written(first in 0..=NumberRange::NUMBER_MAX, more in 0_u64..1_000) {
            let range = NumberRange::one(first).through(first + more);
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "[0-9+ ]{0,4}-?[0-9]{0,4}") {
            if let Ok(range) = text.parse::<NumberRange>() {
                prop_assert_eq!(range.to_string(), text);
            }
        }
    }
}
