//! Decimal numbers compared digit by digit. Floating point never rounds a value between the sensor
//! and the result.

use alloc::{format, string::String};
use core::cmp::Ordering;

/// A decimal number as written, or an infinity.
#[derive(Clone, Debug)]
pub struct Decimal {
    is_negative: bool,
    magnitude: Magnitude,
}

/// Distance from zero.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Magnitude {
    Zero,
    /// `0.<digits> * 10^exponent`; the digits have neither a leading nor a trailing zero. So the
    /// derived order of the fields is the order of the values.
    Finite {
        exponent: i64,
        digits: String,
    },
    Infinite,
}

impl Decimal {
    /// Longest text that is parsed, in bytes. No sensor writes a longer number.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// Parses a JSON number, optionally with a leading `+` or without digits before or after the
    /// point, or a word for infinity. Returns `None` for anything else, `NaN` included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
            return Some(Self { is_negative, magnitude: Magnitude::Infinite });
        }
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (rest, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: String = [integer, fraction].concat();
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, magnitude: Magnitude::Zero });
        }
        let exponent = exponent.saturating_add(i64::try_from(integer.len()).ok()? - leading);
        let magnitude = Magnitude::Finite { exponent, digits: String::from(digits) };
        Some(Self { is_negative, magnitude })
    }
}

/// A JSON number times ten to the power of `scale`. Only the point and the exponent move: all
/// digits stay as they were written.
#[must_use]
pub fn scaled(number: &str, scale: i8) -> String {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let sign = if digits.len() < number.len() { "-" } else { "" };
    if scale == 0 {
        return String::from(number);
    }
    if let Some((mantissa, exponent)) = number.split_once(['e', 'E']) {
        // An exponent beyond 64 bits is infinite or zero, whatever the scale.
        let exponent = exponent.parse::<i64>().map(|old| old.saturating_add(scale.into()));
        return exponent
            .map_or_else(|_| String::from(number), |exponent| format!("{mantissa}e{exponent}"));
    }
    if digits.contains('.') {
        return format!("{number}e{scale}");
    }
    let places = usize::from(scale.unsigned_abs());
    if scale > 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return format!("{number}{}", "0".repeat(zeros));
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (integer, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{integer}.{fraction}")
}

/// Parses an exponent, clamped to a billion in either direction. Beyond that, values count as
/// equally large or equally near to zero.
fn read_exponent(text: &str) -> Option<i64> {
    const MAX: i64 = 1_000_000_000;
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse::<i64>().map_or(MAX, |exponent| exponent.min(MAX)))
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn numbers_are_compared_as_they_are_written() {
        let ascending = [
            "-Infinity",
            "-1e400",
            "-1e399",
            "-50.00000000000000000001",
            "-50",
            "-1e-400",
            "0",
            "1e-400",
            "0.0999",
            "0.1",
            "0.10000000000000000000001",
            "9",
            "10",
            "10.5",
            "49.9999999999999999999",
            "50",
            "50.00000000000000000001",
            "1e308",
            "1e400",
            "inf",
        ];
        for pair in ascending.windows(2) {
            let [low, high] = pair else { unreachable!() };
            assert!(decimal(low) < decimal(high), "{low} {high}");
        }
        for same in [
            ["1e1", "10"],
            ["-0", "0"],
            ["00.10", ".1"],
            ["5.", "+5e0"],
            ["Infinity", "+INF"],
            ["120e-1", "12"],
        ] {
            let [one, other] = same;
            assert_eq!(decimal(one), decimal(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "NaN", "open", "true", " 1", "1 ", "0x10", "1_000",
            "1,5", "--1", "1.2.3", "\u{664}",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
        assert_eq!(Decimal::parse(&"1".repeat(Decimal::TEXT_BYTES_MAX + 1)), None);
    }

    #[test]
    fn a_scale_moves_the_point_and_keeps_the_digits() {
        for (number, scale, scaled_number) in [
            ("2350", -2, "23.50"),
            ("-2350", -2, "-23.50"),
            ("5", -2, "0.05"),
            ("-5", -3, "-0.005"),
            ("0", -1, "0.0"),
            ("7", 3, "7000"),
            ("0", 3, "0"),
            ("-7", 1, "-70"),
            ("23.50", 0, "23.50"),
            ("23.50", -2, "23.50e-2"),
            ("2.5", 18, "2.5e18"),
            ("-1E+5", -2, "-1e3"),
            ("1e-400", 18, "1e-382"),
            ("1e99999999999999999999", 2, "1e99999999999999999999"),
        ] {
            assert_eq!(scaled(number, scale), scaled_number, "{number} {scale}");
        }
    }

    proptest! {
        #[test]
        fn a_scaled_number_is_the_number_times_a_power_of_ten(
            number in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?", scale in -18..=18_i8
        ) {
            let there = scaled(&number, scale);
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&there).is_ok());
            prop_assert_eq!(decimal(&scaled(&there, -scale)), decimal(&number));
            let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((&number, "0"));
            let exponent = exponent.parse::<i64>().unwrap() + i64::from(scale);
            prop_assert_eq!(decimal(&there), decimal(&format!("{mantissa}e{exponent}")));
        }

        #[test]
        fn the_order_is_that_of_the_values(one: i32, other: i32, shift in -20_i32..20) {
            let text = |number: i32| decimal(&format!("{number}e{shift}"));
            prop_assert_eq!(text(one).cmp(&text(other)), one.cmp(&other));
        }

        #[test]
        fn any_floating_point_number_is_read(one in any::<f64>(), other in any::<f64>()) {
            let order = one.partial_cmp(&other);
            if let Some(order) = order {
                prop_assert_eq!(decimal(&format!("{one:?}")).cmp(&decimal(&format!("{other:e}"))), order);
            }
        }
    }
}
