//! JSON objects that devices write, with required fields and optional ones that are left out if
//! they are invalid.
//!
//! The reader checks the outermost type first. It reads equal values alike, whatever the order of
//! the fields, the white space, the escapes and the notation of a whole number.

use alloc::{
    borrow::ToOwned as _,
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// An optional field that was present but invalid. The rest of the object was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// Name of the field on the wire.
    pub field: &'static str,
    /// What is wrong with the field, and what is allowed.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` is left out: {}", self.field, self.reason)
    }
}

/// The unread fields of an object, and the fields left out so far.
pub(crate) struct Object<'a> {
    fields: BTreeMap<Box<str>, Field<'a>>,
    left_out: Vec<LeftOut>,
}

enum Field<'a> {
    Once(&'a RawValue),
    /// The field appears more than once, so its value is ambiguous.
    Repeated,
}

impl<'a> Object<'a> {
    /// The value of a required field. The error says that it is missing or repeated.
    pub(crate) fn required(&self, name: &str) -> Result<&'a RawValue, String> {
        match self.fields.get(name) {
            Some(Field::Once(json)) => Ok(json),
            Some(Field::Repeated) => Err(format!("duplicate field `{name}`")),
            None => Err(format!("missing field `{name}`")),
        }
    }

    /// The value of an optional field, if it is present and `read` accepts it. `null` counts as
    /// absent.
    pub(crate) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let taken = match self.fields.get(field)? {
            Field::Once(json) if json.get() == "null" => return None,
            Field::Once(json) => read(json),
            Field::Repeated => Err("it appears twice".to_owned()),
        };
        taken.map_err(|reason| self.left_out.push(LeftOut { field, reason })).ok()
    }

    /// Whether a field is there and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self.fields.get(name) {
            Some(Field::Once(json)) => json.get() != "null",
            Some(Field::Repeated) => true,
            None => false,
        }
    }

    /// Leaves a field out, whatever its value, if it is there.
    pub(crate) fn take_out(&mut self, field: &'static str, reason: &str) {
        if self.has(field) {
            self.left_out.push(LeftOut { field, reason: reason.to_owned() });
        }
        self.fields.remove(field);
    }

    /// The fields that were left out.
    pub(crate) fn into_left_out(self) -> Vec<LeftOut> {
        self.left_out
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `deserialize_struct` would accept an array as an object.
        deserializer
            .deserialize_map(ObjectVisitor)
            .map(|fields| Self { fields, left_out: Vec::new() })
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = BTreeMap<Box<str>, Field<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<Box<str>>()? {
            let json = map.next_value::<&RawValue>().map_err(A::Error::custom)?;
            fields
                .entry(name)
                .and_modify(|field| *field = Field::Repeated)
                .or_insert(Field::Once(json));
        }
        Ok(fields)
    }
}

/// The members of an object in their order; a name may be there twice. An object with more than
/// `MAX` of them is refused before the rest is read.
pub(crate) struct Members<'a, const MAX: usize>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Members<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor::<MAX>).map(Self)
    }
}

struct MembersVisitor<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for MembersVisitor<MAX> {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == MAX {
                return Err(A::Error::custom(format_args!("it has more than {MAX} members")));
            }
            members.push((name, map.next_value::<&RawValue>()?));
        }
        Ok(members)
    }
}

/// The content of a JSON string, without quotes and escapes.
pub(crate) fn text(json: &RawValue) -> Result<String, String> {
    if !json.get().starts_with('"') {
        return Err(format!("it is {}; use text", kind(json)));
    }
    serde_json::from_str(json.get()).map_err(|error| error.to_string())
}

/// Longest name in characters.
pub(crate) const NAME_CHARS_MAX: usize = 60;

/// A text that can be a name.
pub(crate) fn name(json: &RawValue) -> Result<String, String> {
    name_of(text(json)?)
}

/// The text, if it can be a name.
pub(crate) fn name_of(name: String) -> Result<String, String> {
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(format!("it is longer than {} characters", NAME_CHARS_MAX));
    }
    if name.chars().any(char::is_control) {
        return Err(String::from("it has a control character"));
    }
    Ok(name)
}

/// A text of at most `chars_max` characters.
pub(crate) fn text_up_to(chars_max: usize, json: &RawValue) -> Result<String, String> {
    let text = text(json)?;
    if text.chars().count() > chars_max {
        return Err(format!("it is longer than {chars_max} characters"));
    }
    Ok(text)
}

/// A whole number of at most `max`, in any notation that JSON allows: `7`, `7.0`, `7e0`, `70e-1`.
pub(crate) fn whole_number(max: u64, json: &RawValue) -> Result<u64, String> {
    whole(json.get()).filter(|number| *number <= max).ok_or_else(|| {
        let given = match kind(json) {
            "a number" => json.get().chars().take(40).collect(),
            other => String::from(other),
        };
        format!("it is {given}; use a whole number of 0 to {max}")
    })
}

/// A whole number, possibly negative, in any notation that JSON allows.
pub(crate) fn integer(json: &RawValue) -> Option<i64> {
    let digits = json.get();
    let magnitude = whole(digits.strip_prefix('-').unwrap_or(digits))?;
    let magnitude = i64::try_from(magnitude).ok()?;
    Some(if digits.starts_with('-') { -magnitude } else { magnitude })
}

/// The value of a JSON number, if it is whole, not negative and fits.
fn whole(number: &str) -> Option<u64> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (integer, is_negative) = match integer.strip_prefix('-') {
        Some(integer) => (integer, true),
        None => (integer, false),
    };
    let mut digits = [integer, fraction].concat();
    let mut shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    while shift < 0 && digits.len() > 1 && digits.ends_with('0') {
        digits.pop();
        shift += 1;
    }
    let value: u64 = digits
        .trim_start_matches('0')
        .parse()
        .or_else(|error| {
            if digits.bytes().all(|digit| digit == b'0') && !digits.is_empty() {
                Ok(0)
            } else {
                Err(error)
            }
        })
        .ok()?;
    match (value, is_negative) {
        (0, _) => Some(0),
        (_, true) => None,
        (value, false) => value.checked_mul(10_u64.checked_pow(u32::try_from(shift).ok()?)?),
    }
}

/// The type of a JSON value, in words for messages.
pub(crate) fn kind(json: &RawValue) -> &'static str {
    match json.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_is_one_in_every_form() {
        for (number, value) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7.000e0", Some(7)),
            ("70e-1", Some(7)),
            ("0.7E1", Some(7)),
            ("0.07e+2", Some(7)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.0e99", Some(0)),
            ("-7", None),
            ("7.5", None),
            ("7e-1", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e19", Some(10_000_000_000_000_000_000)),
        ] {
            assert_eq!(whole(number), value, "{number}");
        }
    }

    #[test]
    fn an_integer_has_a_sign() {
        for (number, value) in [
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("-70e-1", Some(-7)),
            ("-0", Some(0)),
            ("-0.5", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("\"7\"", None),
            ("true", None),
        ] {
            let json: &RawValue = serde_json::from_str(number).unwrap();
            assert_eq!(integer(json), value, "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_number_of_json_is_whole_or_not(text in r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,12})?") {
            let _either = whole(&text);
        }

        #[test]
        fn moving_the_point_changes_nothing(value: u64, places in 0_usize..30) {
            prop_assert_eq!(whole(&format!("{value}{}e-{places}", "0".repeat(places))), Some(value));
            prop_assert_eq!(whole(&format!("{value}.{}", "0".repeat(places + 1))), Some(value));
        }
    }
}
