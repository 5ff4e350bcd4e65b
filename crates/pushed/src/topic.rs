//! Topic patterns with named levels: `tele/{device}/SENSOR`.
//!
//! A pattern is written in MQTT syntax. A level is a text, `+` for any one level, `{name}` for any
//! one level that is captured, or, as the last one, `#` for one or more levels.

use model::Pattern;

use crate::template::{Captures, is_name};

/// A topic pattern, with what it captures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TopicPattern {
    levels: Vec<Level>,
    pattern: Pattern,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Level {
    Exact(String),
    Any,
    Capture(String),
    Rest,
}

impl TopicPattern {
    /// Most levels that one pattern captures. A topic with more named parts is a tree, not a name.
    pub(crate) const CAPTURES_MAX: usize = 8;

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let levels: Vec<Level> = text.split('/').map(level).collect::<Result<_, _>>()?;
        let plain: Vec<&str> = levels.iter().map(Level::in_mqtt).collect();
        let mut plain = plain.join("/");
        if !plain.contains('/') {
            // Only a slash says that the pattern is in MQTT syntax, where a dot is no separator.
            if plain.contains(['.', '*', '>']) {
                return Err(String::from("use levels separated by `/`"));
            }
            plain = plain.replace('+', "*").replace('#', ">");
        }
        let pattern = Pattern::parse(&plain).map_err(|error| error.to_string())?;
        let this = Self { levels, pattern };
        let mut names: Vec<&str> = this.captures().collect();
        if names.len() > Self::CAPTURES_MAX {
            return Err(format!("at most {} levels can be captured", Self::CAPTURES_MAX));
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(format!("`{{{}}}` stands there twice", pair.first().unwrap_or(&""))),
            None => Ok(this),
        }
    }

    /// The pattern for a subscription.
    pub(crate) const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Names of what is captured.
    pub(crate) fn captures(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Capture(name) => Some(name.as_str()),
            Level::Exact(_) | Level::Any | Level::Rest => None,
        })
    }

    /// What the pattern captures of this topic; `None` if it does not match.
    pub(crate) fn matches(&self, topic: &str) -> Option<Captures> {
        let mut captures = Captures::default();
        let mut given = topic.split('/');
        for level in &self.levels {
            let given = given.next()?;
            match level {
                Level::Rest => return Some(captures),
                Level::Any => {}
                Level::Capture(name) => captures.add(name, given),
                Level::Exact(text) if text == given => {}
                Level::Exact(_) => return None,
            }
        }
        given.next().is_none().then_some(captures)
    }
}

impl Level {
    fn in_mqtt(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Any | Self::Capture(_) => "+",
            Self::Rest => "#",
        }
    }
}

fn level(text: &str) -> Result<Level, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return is_name(name).map(|()| Level::Capture(name.to_owned()));
    }
    match text {
        "+" => Ok(Level::Any),
        "#" => Ok(Level::Rest),
        text if text.contains(['{', '}']) => {
            Err(format!("`{text}`: `{{name}}` must be a whole level"))
        }
        text => Ok(Level::Exact(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_matches_level_by_level() {
        for (pattern, topic, captured) in [
            ("tele/{device}/SENSOR", "tele/kitchen/SENSOR", Some("device=kitchen")),
            ("tele/{device}/SENSOR", "tele/kitchen/STATE", None),
            ("tele/{device}/SENSOR", "tele/kitchen/SENSOR/x", None),
            ("tele/{device}/SENSOR", "tele/SENSOR", None),
            ("+/{a}/{b}", "x/1/2", Some("a=1 b=2")),
            ("shellies/{d}/#", "shellies/x/relay/0", Some("d=x")),
            ("shellies/{d}/#", "shellies/x", None), // a NATS subscription does not get it either
            ("a.b/{c}", "a.b/c", Some("c=c")),      // a dot is part of a level
            ("{a}/x", "/x", Some("a=")),
        ] {
            let matched = TopicPattern::parse(pattern).unwrap().matches(topic);
            assert_eq!(
                matched.map(|captures| captures.to_string()).as_deref(),
                captured,
                "{topic}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_words() {
        for (pattern, words) in [
            ("", "refused"),
            ("#", "it matches every message"),
            ("a/#/b", "must be the last one"),
            ("a/x{b}", "must be a whole level"),
            ("a/{}", "a name has"),
            ("a/{b}/{b}", "`{b}` stands there twice"),
            ("a b/c", "refused"),
            ("sealwire/x", "refused"),
            ("tele.*.SENSOR", "separated by `/`"),
            ("{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "at most 8"),
        ] {
            let error = TopicPattern::parse(pattern).unwrap_err();
            assert!(error.contains(words), "{pattern}: {error}");
        }
    }
}
