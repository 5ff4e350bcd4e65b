//! Reads JSON objects of requests member by member. A fault names the place of a member that is
//! missing, unknown or of the wrong type.
//!
//! Members are parsed only when they are taken, so that numbers keep their digits.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::fault::{Code, Fault};

/// An object whose members are taken out one by one.
#[derive(Debug)]
pub(crate) struct Members<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// Parses the body of a request.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        let invalid = |words: String| Fault::new(Code::InvalidObject, "", words);
        let text = str::from_utf8(body).map_err(|error| invalid(format!("not UTF-8: {error}")))?;
        serde_json::from_str(text)
            .map_err(|error| invalid(format!("the body must be a JSON object: {error}")))
    }

    /// Parses a value that must be an object.
    pub(crate) fn of(value: &'a RawValue) -> Result<Self, Fault> {
        serde_json::from_str(value.get())
            .map_err(|error| Fault::new(Code::InvalidObject, "", format!("an object: {error}")))
    }

    /// Each member and its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// Whether there is a member of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a member out, unparsed.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name)
    }

    /// Takes a required member.
    pub(crate) fn required(&mut self, name: &str) -> Result<&'a RawValue, Fault> {
        self.take(name).ok_or_else(|| missing(name))
    }

    /// Takes an optional text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        self.take(name).map(|value| text(value).map_err(|fault| fault.under(&at(name)))).transpose()
    }

    /// Takes an optional text of at most `chars_max` characters.
    pub(crate) fn short_text(
        &mut self,
        name: &str,
        chars_max: usize,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        let text = self.text(name)?;
        if let Some(text) = &text {
            check_length(text, chars_max).map_err(|fault| fault.under(&at(name)))?;
        }
        Ok(text)
    }

    /// Takes an optional member that must be one of some words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Fault::new(Code::NotEnumMember, at(name), format!("one of {}", words.join(", ")))
        })
    }

    /// Takes an optional boolean.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(Fault::new(Code::InvalidBool, at(name), "true or false")),
        }
    }

    /// Takes an optional integer from `least` to `most`. A fraction of zero is allowed, as in JSON
    /// Schema.
    pub(crate) fn whole(
        &mut self,
        name: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = whole(value.get())
            .ok_or_else(|| Fault::new(Code::InvalidInteger, at(name), "a whole number"))?;
        let sent = excerpt(value.get());
        if number < i128::from(least) {
            let words = format!("{sent} is below {least}");
            return Err(Fault::new(Code::IsTooSmall, at(name), words));
        }
        u64::try_from(number)
            .ok()
            .filter(|number| *number <= most)
            .map(Some)
            .ok_or_else(|| Fault::new(Code::IsTooBig, at(name), format!("{sent} is above {most}")))
    }

    /// Takes an optional array.
    pub(crate) fn array(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        array(value).map(Some).map_err(|fault| fault.under(&at(name)))
    }

    /// Refuses the first member that is left, because it is unknown.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => {
                let words = format!("`{}` is not a member of this object", excerpt(&name));
                Err(Fault::new(Code::UnexpectedProperty, at(&name), words))
            }
        }
    }
}

/// One step of a JSON pointer, to a member.
pub(crate) fn at(name: &str) -> String {
    format!("/{}", excerpt(name).replace('~', "~0").replace('/', "~1"))
}

/// The fault of a required member that is absent.
pub(crate) fn missing(name: &str) -> Fault {
    Fault::new(Code::FieldRequired, at(name), format!("`{name}` is required"))
}

/// Parses a text.
pub(crate) fn text(value: &RawValue) -> Result<Cow<'_, str>, Fault> {
    let read: Result<Text<'_>, _> = serde_json::from_str(value.get());
    read.map(|Text(text)| text).map_err(|error| {
        let code = if value.get() == "null" { Code::InvalidNull } else { Code::InvalidString };
        Fault::new(code, "", format!("a text: {error}"))
    })
}

/// Parses an array.
pub(crate) fn array(value: &RawValue) -> Result<Vec<&RawValue>, Fault> {
    serde_json::from_str(value.get())
        .map_err(|error| Fault::new(Code::InvalidArray, "", format!("an array: {error}")))
}

/// Checks that a text has at most `chars_max` characters.
pub(crate) fn check_length(text: &str, chars_max: usize) -> Result<(), Fault> {
    // A text never has more characters than bytes.
    let chars = if text.len() <= chars_max { 0 } else { text.chars().count() };
    if chars <= chars_max {
        return Ok(());
    }
    let words = format!("{chars} characters, but at most {chars_max} are allowed");
    Err(Fault::new(Code::AboveMaxLength, "", words))
}

/// A number without a fraction. Values beyond 128 bits saturate.
#[expect(clippy::cast_possible_truncation, reason = "it saturates, and there is no fraction")]
fn whole(token: &str) -> Option<i128> {
    token.parse().ok().or_else(|| {
        let number: f64 = token.parse().ok()?;
        // A number too large for a float is whole too.
        (number.fract() == 0.0 || number.is_infinite()).then_some(number as i128)
    })
}

/// The beginning of a text that a client chose, short enough for a message.
fn excerpt(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

/// A text that borrows from the JSON if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object in their order, including repeated names.
pub(crate) struct Entries<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Entries(entries) = Entries::deserialize(deserializer)?;
        let mut members = BTreeMap::new();
        for (name, value) in entries {
            // Readers differ in which of two equal names they use.
            if members.contains_key(&name) {
                let name = excerpt(&name);
                return Err(D::Error::custom(format!("`{name}` appears twice")));
            }
            members.insert(name, value);
        }
        Ok(Self(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_what_json_schema_says() {
        for (token, number) in [
            ("1", Some(1)),
            ("1.0", Some(1)),
            ("-0.0", Some(0)),
            ("12e2", Some(1_200)),
            ("1e400", Some(i128::MAX)),
            ("1.5", None),
            ("\"1\"", None),
            ("true", None),
        ] {
            assert_eq!(whole(token), number, "{token}");
        }
    }

    #[test]
    fn every_fault_has_a_code_and_a_place() {
        let body = r#"{"a/b":1,"flag":0,"null":null,"number":-1,"text":[],"word":"up"}"#;
        let mut members = Members::parse(body.as_bytes()).unwrap();
        let mut faults = vec![
            members.required("absent").unwrap_err(),
            members.flag("flag").unwrap_err(),
            members.text("null").unwrap_err(),
            members.whole("number", 1, 9).unwrap_err(),
            members.text("text").unwrap_err(),
            members.word("word", &[("asc", 1), ("desc", 2)]).unwrap_err(),
        ];
        faults.push(members.finish().unwrap_err());
        let found: Vec<_> =
            faults.iter().map(|fault| (fault.code, fault.source_pointer.as_str())).collect();
        assert_eq!(
            found,
            [
                (Code::FieldRequired, "/absent"),
                (Code::InvalidBool, "/flag"),
                (Code::InvalidNull, "/null"),
                (Code::IsTooSmall, "/number"),
                (Code::InvalidString, "/text"),
                (Code::NotEnumMember, "/word"),
                (Code::UnexpectedProperty, "/a~1b"),
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "1", "{", "null", r#"{"a":1,"a":2}"#, r#"{"a":NaN}"#, "{}x"] {
            let fault = Members::parse(body.as_bytes()).unwrap_err();
            assert_eq!(fault.code, Code::InvalidObject, "{body}");
        }
        assert_eq!(Members::parse(b"{\"a\":\"\xff\"}").unwrap_err().code, Code::InvalidObject);
    }
}
