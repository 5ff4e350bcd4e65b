//! Removes from a text what a log must not hold.
//!
//! If a text is JSON, it is parsed first: patterns are applied to each value and each name after
//! unescaping, and the result is written as JSON again. The same holds for JSON within a text in
//! JSON. Patterns are applied to a number as written and to its full digits; if a pattern matches,
//! the number becomes a text.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use regex_lite::{Captures, NoExpand, Regex};
use serde_json::value::RawValue;

use crate::members::Entries;

/// Replacement for removed text.
pub const REDACTED: &str = "[redacted]";

/// Most levels of nesting that are searched, of values in values and of JSON in texts. Deeper parts
/// are removed whole. A client's nested value has at most as many levels.
const LEVELS_MAX: usize = 128;

/// The patterns of one field.
#[derive(Clone, Debug)]
pub(crate) struct Redaction(Vec<Regex>);

/// For each pattern, whether it has matched.
struct Met(Vec<bool>);

impl Redaction {
    pub(crate) const fn of(patterns: Vec<Regex>) -> Self {
        Self(patterns)
    }

    /// The text without what must not be sealed; `None` if nothing matches.
    pub(crate) fn apply(&self, text: &str) -> Option<String> {
        self.text(text, 0, &mut self.nothing_met())
    }

    fn nothing_met(&self) -> Met {
        Met(vec![false; self.0.len()])
    }

    /// Redacts a text, which may be JSON.
    fn text(&self, text: &str, level: usize, met: &mut Met) -> Option<String> {
        if !text.trim_start().starts_with(['{', '[', '"']) {
            return self.plain(text, met);
        }
        let Ok(value) = serde_json::from_str::<&RawValue>(text) else {
            return self.plain(text, met);
        };
        let mut within = self.nothing_met();
        let redacted = self.value(value, level, &mut within);
        let redacted = self.across_values(text, redacted, &within);
        met.0.iter_mut().zip(within.0).for_each(|(met, within)| *met |= within);
        redacted
    }

    /// Also removes matches that span several values, even if the rest is no longer JSON. If a
    /// pattern has also matched within a value, only its matches with a quotation mark count here:
    /// the others match a replacement or an escape.
    fn across_values(&self, text: &str, redacted: Option<String>, met: &Met) -> Option<String> {
        let patterns = self.0.iter().zip(&met.0);
        patterns.fold(redacted, |redacted, (pattern, has_met)| {
            let left = redacted.as_deref().unwrap_or(text);
            let goes = |part: &str| !*has_met || part.contains('"');
            if !pattern.find_iter(left).any(|part| goes(part.as_str())) {
                return redacted;
            }
            let cut = |part: &Captures<'_>| {
                let part = part.get(0).map_or("", |whole| whole.as_str());
                String::from(if goes(part) { REDACTED } else { part })
            };
            Some(pattern.replace_all(left, cut).into_owned())
        })
    }

    /// Redacts a text as it stands, without parsing it.
    fn plain(&self, text: &str, met: &mut Met) -> Option<String> {
        let mut redacted: Option<String> = None;
        for (pattern, met) in self.0.iter().zip(&mut met.0) {
            let left = redacted.as_deref().unwrap_or(text);
            if pattern.is_match(left) {
                *met = true;
                redacted = Some(pattern.replace_all(left, NoExpand(REDACTED)).into_owned());
            }
        }
        redacted
    }

    /// Redacts a JSON value.
    fn value(&self, value: &RawValue, level: usize, met: &mut Met) -> Option<String> {
        if level == LEVELS_MAX {
            return Some(quoted(REDACTED));
        }
        let (token, level) = (value.get(), level + 1);
        match token.as_bytes().first()? {
            b'{' => self.object(token, level, met),
            b'[' => {
                let values: Vec<&RawValue> = serde_json::from_str(token).ok()?;
                let redacted: Vec<_> =
                    values.iter().map(|value| self.value(value, level, met)).collect();
                redacted.iter().any(Option::is_some).then(|| {
                    let left = values.iter().zip(&redacted);
                    let left = left.map(|(value, redacted)| kept(value, redacted.as_deref()));
                    format!("[{}]", left.collect::<Vec<_>>().join(","))
                })
            }
            b'"' => {
                let redacted = match serde_json::from_str::<String>(token) {
                    Ok(text) => self.text(&text, level, met),
                    // Half of a surrogate pair is not text; the patterns are applied to its escape.
                    Err(_half) => self.plain(token, met),
                };
                redacted.map(|redacted| quoted(&redacted))
            }
            b'-' | b'0'..=b'9' => self.number(token, met).map(|redacted| quoted(&redacted)),
            _literal => None,
        }
    }

    fn object(&self, token: &str, level: usize, met: &mut Met) -> Option<String> {
        let Entries(entries) = serde_json::from_str(token).ok()?;
        let mut names = HashSet::new();
        // The next number for each redacted name, so that not every number is tried again.
        let mut numbers: HashMap<String, u64> = HashMap::new();
        let (mut members, mut is_redacted) = (Vec::new(), false);
        for (name, value) in entries {
            let redacted = self.value(value, level, met);
            let other_name = self.plain(&name, met);
            is_redacted |= redacted.is_some() || other_name.is_some();
            let name = match other_name {
                // A reader may use either of two equal names, so both stay.
                None => name,
                Some(name) => Cow::Owned(unique(name, &names, &mut numbers)),
            };
            members.push(format!("{}:{}", quoted(&name), kept(value, redacted.as_deref())));
            names.insert(name);
        }
        is_redacted.then(|| format!("{{{}}}", members.join(",")))
    }

    /// Redacts a number as written or with its full digits: 4.2e15 and 4200000000000000 are the
    /// same.
    fn number(&self, token: &str, met: &mut Met) -> Option<String> {
        let digits = token.parse::<f64>().ok().filter(|number| number.is_finite());
        let digits = digits.and_then(|number| self.plain(&number.to_string(), met));
        self.plain(token, met).or(digits)
    }
}

/// A redacted name, with a number appended if the name exists already. So two names that differed
/// only in the removed part stay distinct.
fn unique(
    name: String,
    names: &HashSet<Cow<'_, str>>,
    numbers: &mut HashMap<String, u64>,
) -> String {
    if !names.contains(name.as_str()) {
        return name;
    }
    let number = numbers.entry(name.clone()).or_insert(1);
    loop {
        *number += 1;
        let numbered = format!("{name} {number}");
        if !names.contains(numbered.as_str()) {
            return numbered;
        }
    }
}

fn kept<'a>(value: &'a RawValue, redacted: Option<&'a str>) -> &'a str {
    redacted.unwrap_or_else(|| value.get())
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CARD: &str = "4242424242424242";

    fn cards() -> Redaction {
        Redaction::of(vec![Regex::new(r"\b\d{16}\b").unwrap()])
    }

    #[test]
    fn a_value_is_met_as_it_is_meant_and_what_is_left_is_json() {
        for (text, left) in [
            (format!("card {CARD}."), "card [redacted].".to_owned()),
            // With an escape before it, the raw text has no word boundary.
            (format!(r#"{{"a":"card\n{CARD}"}}"#), r#"{"a":"card\n[redacted]"}"#.to_owned()),
            (format!(r#"["x\u0034{}"]"#, &CARD[1..]), format!(r#"["x\u0034{}"]"#, &CARD[1..])),
            (format!(r#"["\u0034{}"]"#, &CARD[1..]), r#"["[redacted]"]"#.to_owned()),
            (format!("\"a\\t{CARD}\""), r#""a\t[redacted]""#.to_owned()),
            // Numbers in any notation.
            (format!(r#"{{"a":{CARD},"b":1.50}}"#), r#"{"a":"[redacted]","b":1.50}"#.to_owned()),
            (
                r#"[4.242424242424242e15,-4242424242424242]"#.to_owned(),
                r#"["[redacted]","-[redacted]"]"#.to_owned(),
            ),
            // Member names.
            (
                format!(r#"{{"{CARD}":1,"5555555555554444":2}}"#),
                r#"{"[redacted]":1,"[redacted] 2":2}"#.to_owned(),
            ),
            // A repeated name: a reader may use either member.
            (format!(r#"{{"a":"{CARD}","a":"x"}}"#), r#"{"a":"[redacted]","a":"x"}"#.to_owned()),
            // A number too large for a float does not hide its neighbours.
            (format!(r#"[1e999,"x\n{CARD}"]"#), r#"[1e999,"x\n[redacted]"]"#.to_owned()),
            // Text that only begins like JSON.
            (format!("{{card {CARD}"), "{card [redacted]".to_owned()),
        ] {
            let redacted = cards().apply(&text);
            assert_eq!(redacted.unwrap_or_else(|| text.clone()), left, "{text}");
        }
        for text in ["", "{\"a\": 1}", "[ 424242424242424 ]", "\"\\ud800\""] {
            assert_eq!(cards().apply(text), None, "{text}");
        }
    }

    #[test]
    fn json_in_texts_in_json_is_read_too() {
        let mut value = json!({ "lines": [format!("card\n{CARD}")] });
        for _level in 0..6 {
            value = json!({ "body": value.to_string(), "is": true });
        }
        let mut left: Value =
            serde_json::from_str(&cards().apply(&value.to_string()).unwrap()).unwrap();
        for _level in 0..6 {
            left = serde_json::from_str(left["body"].as_str().unwrap()).unwrap();
        }
        assert_eq!(left, json!({ "lines": ["card\n[redacted]"] }));
        let deep = format!("{}\"{CARD}\"{}", "[".repeat(200), "]".repeat(200));
        assert!(!cards().apply(&deep).unwrap().contains(CARD));
        // Beyond the deepest level searched, everything is removed.
        let in_arrays = |inner: &str| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
        let deeper = in_arrays(&quoted(&in_arrays("\"not looked at\"")));
        assert!(!cards().apply(&deeper).unwrap().contains("not looked at"));
    }

    #[test]
    fn thousands_of_names_that_become_one_stay_as_many() {
        let names = (0..20_000_u64).map(|name| (format!("{name:016}"), Value::from(1)));
        let text = Value::Object(names.collect()).to_string();
        let left: Value = serde_json::from_str(&cards().apply(&text).unwrap()).unwrap();
        let left = left.as_object().unwrap();
        assert_eq!(left.len(), 20_000);
        assert!(left.keys().all(|name| name.starts_with(REDACTED)));
    }

    #[test]
    fn a_pattern_that_meets_what_lies_across_values_is_applied_to_the_text() {
        let redaction = Redaction::of(vec![Regex::new(r#""password":"[^"]*""#).unwrap()]);
        let left = redaction.apply(r#"{"name":"ada","password":"lovelace"}"#).unwrap();
        assert_eq!(left, r#"{"name":"ada",[redacted]}"#);
        // Also if it matches within a value, or within a text in JSON.
        let hidden = r#"{"note":"\"password\":\"x\"","password":"lovelace"}"#;
        assert_eq!(redaction.apply(hidden).unwrap(), r#"{"note":"[redacted]",[redacted]}"#);
        let within = json!({ "body": r#"{"password":"lovelace"}"# }).to_string();
        assert_eq!(redaction.apply(&within).unwrap(), r#"{"body":"{[redacted]}"}"#);
        // The replacement itself is not redacted again.
        let words = Redaction::of(vec![Regex::new("[a-z]+").unwrap()]);
        assert_eq!(words.apply(r#"["ada",true]"#).as_deref(), Some(r#"["[redacted]",true]"#));
    }
}
