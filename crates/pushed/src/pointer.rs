//! Places in a JSON payload: JSON Pointer (RFC 6901), where a token `{name}` stands for any member
//! or element and captures its name.
//!
//! A value is returned as the text that the device wrote, so no number goes through floating point.
//! That is why this is not JSONPath (RFC 9535): its libraries work on parsed numbers.

use std::collections::BTreeSet;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::template::{Captures, is_name};

/// A path into a payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pointer(Vec<Token>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    Name(String),
    Capture(String),
}

/// A value that a path leads to.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) captures: Captures,
    pub(crate) json: &'a RawValue,
}

impl Pointer {
    /// Most levels of a path. Deeper levels of a payload are not looked at.
    pub(crate) const DEPTH_MAX: usize = 16;
    /// Most members of an object, elements of an array, or places of a path that are looked at.
    pub(crate) const MEMBERS_MAX: usize = 1_024;

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("a path begins with `/`, such as `/a/b`")?;
        let tokens: Vec<Token> = rest.split('/').map(token).collect::<Result<_, _>>()?;
        if tokens.len() > Self::DEPTH_MAX {
            return Err(format!("a path has at most {} levels", Self::DEPTH_MAX));
        }
        let this = Self(tokens);
        let names: Vec<&str> = this.captures().collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        if distinct.len() < names.len() {
            return Err(String::from("a name stands there twice"));
        }
        Ok(this)
    }

    /// The path to a member, for names that are not written as a pointer.
    pub(crate) fn of_names(names: Vec<String>) -> Result<Self, String> {
        if names.len() > Self::DEPTH_MAX {
            return Err(format!("a path has at most {} levels", Self::DEPTH_MAX));
        }
        Ok(Self(names.into_iter().map(Token::Name).collect()))
    }

    /// Names of what is captured.
    pub(crate) fn captures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|token| match token {
            Token::Capture(name) => Some(name.as_str()),
            Token::Name(_) => None,
        })
    }

    /// Everything that the path leads to, in the payload's order. `captures` are those of the
    /// topic.
    pub(crate) fn find<'a>(
        &self,
        json: &'a RawValue,
        captures: &Captures,
    ) -> Result<Vec<Found<'a>>, String> {
        let mut found = vec![Found { captures: captures.clone(), json }];
        for token in &self.0 {
            let mut deeper = Vec::new();
            for Found { captures, json } in found {
                for (name, json) in members(json)? {
                    let mut captures = captures.clone();
                    match token {
                        Token::Name(wanted) if *wanted != name => continue,
                        Token::Name(_) => {}
                        Token::Capture(capture) => captures.add(capture, &escaped(&name)),
                    }
                    deeper.push(Found { captures, json });
                }
            }
            if deeper.len() > Self::MEMBERS_MAX {
                return Err(format!("the path leads to more than {} places", Self::MEMBERS_MAX));
            }
            found = deeper;
        }
        Ok(found)
    }
}

/// A name as a level of another name: a slash in it separates nothing (RFC 6901, section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn token(text: &str) -> Result<Token, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return is_name(name).map(|()| Token::Capture(name.to_owned()));
    }
    if text.contains(['{', '}']) {
        return Err(format!("`{text}`: `{{name}}` must be a whole level"));
    }
    Ok(Token::Name(text.replace("~1", "/").replace("~0", "~")))
}

/// Names and values of an object or array; nothing for other values.
fn members(json: &RawValue) -> Result<Vec<(String, &RawValue)>, String> {
    let told = |error: serde_json::Error| error.to_string();
    let members = match json.get().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Members<'_>>(json.get()).map_err(told)?.0,
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json.get()).map_err(told)?;
            (0_usize..).map(|index| index.to_string()).zip(elements).collect()
        }
        _ => return Ok(Vec::new()),
    };
    if members.len() > Pointer::MEMBERS_MAX {
        return Err(format!(
            "an object or array has {} members; at most {} are read",
            members.len(),
            Pointer::MEMBERS_MAX
        ));
    }
    let mut names = BTreeSet::new();
    match members.iter().find(|(name, _)| !names.insert(name.as_str())) {
        Some((name, _)) => Err(format!("`{name}` stands there twice")),
        None => Ok(members),
    }
}

/// The members of an object, in its order, repeated ones included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, json: &str) -> Result<Vec<String>, String> {
        let json: &RawValue = serde_json::from_str(json).unwrap();
        let found = Pointer::parse(path)?.find(json, &Captures::default())?;
        Ok(found.iter().map(|found| format!("{}|{}", found.captures, found.json.get())).collect())
    }

    #[test]
    fn a_path_leads_to_the_text_that_the_device_wrote() {
        let json = r#"{"a":{"T":20.60,"H":1e2},"b":{"T":-0.0},"c":7,"d/e":[1,{"x":2}],"~":0}"#;
        for (path, expected) in [
            ("/c", &["|7"][..]),
            ("/a/T", &["|20.60"]),
            ("/a/H", &["|1e2"]),
            ("/{part}/T", &["part=a|20.60", "part=b|-0.0"]),
            ("/d~1e/1/x", &["|2"]),
            ("/{k}/1/x", &["k=d~1e|2"]), // so that no slash of a name makes a level
            ("/~0", &["|0"]),
            ("/a/T/deeper", &[]),
            ("/missing", &[]),
        ] {
            assert_eq!(found(path, json).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_too_much_is_refused_in_words() {
        for (path, json, words) in [
            ("a", "1", "begins with `/`"),
            ("/x{a}", "1", "whole level"),
            ("/{a}/{a}", "1", "twice"),
            ("/a", r#"{"a":1,"a":2}"#, "`a` stands there twice"),
            (&"/a".repeat(17), "1", "at most 16"),
            ("/a", &format!("[{}0]", "0,".repeat(1_024)), "at most 1024"),
        ] {
            let error = found(path, json).unwrap_err();
            assert!(error.contains(words), "{path}: {error}");
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(found("/b", &deep).unwrap(), Vec::<String>::new());
    }
}
