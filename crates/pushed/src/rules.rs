//! The rules: which topics are heard, and what stands in their messages.

use std::{ops::Range, time::Duration};

use model::Pattern;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    device_time::{Clock, TimeFormat},
    pointer::Pointer,
    preset, reading,
    template::Template,
    topic::TopicPattern,
};

/// Rules in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) topic: TopicPattern,
    pub(crate) interval: Option<Duration>,
    pub(crate) says: Says,
}

/// What the messages of a topic say.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// JSON with values at some places.
    Json { sensor: Template, time: Option<Pointer>, clock: Clock, values: Vec<Value> },
    /// The payload is one value.
    Text { sensor: Template, quantity: Template, unit: Option<String> },
    /// Home Assistant's discovery: where a sensor's values are, and what they are.
    Discovery { sensor: Template },
    /// A message of a Sparkplug B node. If `asks_again`, the site asks a node for its birth when it
    /// lacks it.
    Sparkplug { asks_again: bool },
}

/// A value in a JSON payload.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) path: Pointer,
    pub(crate) quantity: Template,
    pub(crate) unit: Option<String>,
    /// Where the payload names the unit. If it does not, `unit` counts.
    pub(crate) unit_path: Option<Pointer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    presets: Vec<Spanned<String>>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Spanned<String>,
    topic: Spanned<String>,
    #[serde(default)]
    format: Format,
    sensor: Option<Spanned<String>>,
    time: Option<Spanned<String>>,
    time_format: Option<Spanned<TimeFormat>>,
    utc_offset: Option<Spanned<String>>,
    interval_s: Option<Spanned<u64>>,
    rebirth: Option<Spanned<bool>>,
    #[serde(default)]
    value: Vec<RawValue>,
}

#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Text,
    Discovery,
    Sparkplug,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawValue {
    path: Option<Spanned<String>>,
    quantity: Spanned<String>,
    unit: Option<Spanned<String>>,
    unit_path: Option<Spanned<String>>,
}

/// Why a file of rules is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct InvalidRules {
    /// The line, counted from 1, if the fault has one.
    pub line: Option<usize>,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

/// A fault at a place of the file.
struct Fault(Option<Range<usize>>, String);

impl Rules {
    /// Largest file in bytes.
    pub const FILE_BYTES_MAX: usize = 1 << 20;
    /// Most rules. Each is tried on each message that no rule before it takes.
    pub const RULES_MAX: usize = 1_000;
    /// Most values of one rule. Each is looked for in each message of the rule.
    pub const VALUES_MAX: usize = 64;
    /// Longest declared interval.
    const INTERVAL_S_MAX: u64 = 24 * 60 * 60;

    /// Parses a file of rules (TOML). The rules of the presets that it names follow its own.
    ///
    /// # Errors
    /// The file is too large, is not TOML, or has a rule that cannot be followed.
    pub fn parse(text: &str) -> Result<Self, InvalidRules> {
        if text.len() > Self::FILE_BYTES_MAX {
            let reason = format!(
                "the file has {} bytes, but at most {} are read",
                text.len(),
                Self::FILE_BYTES_MAX
            );
            return Err(InvalidRules { line: None, reason });
        }
        let rules = Self::of_file(text).map_err(|Fault(place, reason)| {
            let before = place.and_then(|place| text.get(..place.start));
            let line = before.map(|before| before.matches('\n').count() + 1);
            InvalidRules { line, reason }
        })?;
        if rules.0.is_empty() {
            let reason = String::from("the file has no rules; use `[[rule]]`, `presets`, or both");
            return Err(InvalidRules { line: None, reason });
        }
        Ok(rules)
    }

    fn of_file(text: &str) -> Result<Self, Fault> {
        let file: File = toml::from_str(text)
            .map_err(|error| Fault(error.span(), error.message().to_owned()))?;
        let mut rules: Vec<Rule> = Vec::new();
        for raw in file.rule {
            let place = raw.name.span();
            let rule = raw.into_rule()?;
            if rules.iter().any(|other| other.name == rule.name) {
                let reason = format!("a rule before is called `{}` already", rule.name);
                return Err(Fault(Some(place), reason));
            }
            rules.push(rule);
        }
        for name in file.presets {
            let preset = preset::text(name.get_ref()).ok_or_else(|| {
                let known = preset::NAMES.join(", ");
                let reason = format!("`{}` is no preset; use {known}", name.get_ref());
                Fault(Some(name.span()), reason)
            })?;
            rules.extend(Self::of_file(preset)?.0);
        }
        if rules.len() > Self::RULES_MAX {
            let reason = format!("there are {} rules; at most {}", rules.len(), Self::RULES_MAX);
            return Err(Fault(None, reason));
        }
        Ok(Self(rules))
    }

    /// The subjects on which the messages of the rules come, each once.
    #[must_use]
    pub fn patterns(&self) -> Vec<Pattern> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for rule in &self.0 {
            if !patterns.contains(rule.topic.pattern()) {
                patterns.push(rule.topic.pattern().clone());
            }
        }
        patterns
    }

    /// The interval that the rule of this name declares; `None` if it declares none, or there is no
    /// such rule.
    #[must_use]
    pub fn interval_of(&self, rule: &str) -> Option<Duration> {
        self.0.iter().find(|own| own.name == rule)?.interval
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.0
    }
}

impl RawRule {
    fn into_rule(self) -> Result<Rule, Fault> {
        let name = read(&self.name, |name| reading::name(name).map(str::to_owned))?;
        let topic = read(&self.topic, TopicPattern::parse)?;
        let interval = match &self.interval_s {
            Some(seconds) if !(1..=Rules::INTERVAL_S_MAX).contains(seconds.get_ref()) => {
                let reason = format!(
                    "`interval_s` is {}; use 1 to {}",
                    seconds.get_ref(),
                    Rules::INTERVAL_S_MAX
                );
                return Err(Fault(Some(seconds.span()), reason));
            }
            seconds => seconds.as_ref().map(|seconds| Duration::from_secs(*seconds.get_ref())),
        };
        let says = match self.format {
            Format::Json => self.json(&topic)?,
            Format::Text => self.text(&topic)?,
            Format::Discovery => {
                self.without_time()?;
                self.without_values("the devices' own messages say what they send")?;
                Says::Discovery { sensor: self.sensor(&topic)? }
            }
            Format::Sparkplug => {
                self.without_time()?;
                self.without_values("the nodes' births say what they send")?;
                if let Some(sensor) = &self.sensor {
                    let reason = "`sensor` is group, node and device of the topic here";
                    return Err(Fault(Some(sensor.span()), String::from(reason)));
                }
                Says::Sparkplug {
                    asks_again: self.rebirth.as_ref().is_none_or(|rebirth| *rebirth.get_ref()),
                }
            }
        };
        if let (Some(rebirth), false) = (&self.rebirth, matches!(says, Says::Sparkplug { .. })) {
            let reason = "only `format = \"sparkplug\"` has a `rebirth`";
            return Err(Fault(Some(rebirth.span()), String::from(reason)));
        }
        Ok(Rule { name, topic, interval, says })
    }

    fn json(&self, topic: &TopicPattern) -> Result<Says, Fault> {
        let values = self.value.iter().map(|value| value.json(topic, self.sensor.as_ref()));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        self.count_of_values(&values)?;
        let format = self.time_format.as_ref().map(|format| *format.get_ref()).unwrap_or_default();
        let time = self.time.as_ref().map(|path| read(path, Pointer::parse)).transpose()?;
        if let (Some(path), Some(place)) = (&time, &self.time)
            && path.captures().next().is_some()
        {
            let reason = String::from("a message has one time, so its path captures nothing");
            return Err(Fault(Some(place.span()), reason));
        }
        let offset_minutes =
            self.utc_offset.as_ref().map(|offset| read(offset, offset_minutes)).transpose()?;
        if let Some(offset) = self.utc_offset.as_ref().filter(|_| format != TimeFormat::Local) {
            let reason = "`utc_offset` is for `time_format = \"local\"` alone";
            return Err(Fault(Some(offset.span()), String::from(reason)));
        }
        let sensor = self.required_sensor()?;
        Ok(Says::Json { sensor, time, clock: Clock { format, offset_minutes }, values })
    }

    fn text(&self, topic: &TopicPattern) -> Result<Says, Fault> {
        self.without_time()?;
        let sensor = self.sensor(topic)?;
        let [value] = self.value.as_slice() else {
            let reason = "the payload is one value, so the rule has one `[[rule.value]]`";
            return Err(Fault(Some(self.name.span()), String::from(reason)));
        };
        if let Some(path) = value.path.as_ref().or(value.unit_path.as_ref()) {
            let reason = "a payload of `format = \"text\"` has no paths";
            return Err(Fault(Some(path.span()), String::from(reason)));
        }
        let quantity = read(&value.quantity, Template::parse)?;
        known(&quantity, &value.quantity, topic.captures())?;
        Ok(Says::Text { sensor, quantity, unit: value.unit()? })
    }

    fn required_sensor(&self) -> Result<Template, Fault> {
        match &self.sensor {
            Some(sensor) => read(sensor, Template::parse),
            None => Err(Fault(
                Some(self.name.span()),
                String::from("the rule has no `sensor`, such as `sensor = \"hall/{device}\"`"),
            )),
        }
    }

    /// The template of a sensor's name that the topic alone fills.
    fn sensor(&self, topic: &TopicPattern) -> Result<Template, Fault> {
        let template = self.required_sensor()?;
        if let Some(sensor) = &self.sensor {
            known(&template, sensor, topic.captures())?;
        }
        Ok(template)
    }

    fn without_time(&self) -> Result<(), Fault> {
        let places = [
            self.time.as_ref().map(Spanned::span),
            self.time_format.as_ref().map(Spanned::span),
            self.utc_offset.as_ref().map(Spanned::span),
        ];
        match places.into_iter().flatten().next() {
            None => Ok(()),
            place => Err(Fault(place, String::from("only `format = \"json\"` has a `time`"))),
        }
    }

    fn without_values(&self, why: &str) -> Result<(), Fault> {
        match self.value.first() {
            None => Ok(()),
            Some(value) => Err(Fault(
                Some(value.quantity.span()),
                format!("this format has no `[[rule.value]]`: {why}"),
            )),
        }
    }

    fn count_of_values(&self, values: &[Value]) -> Result<(), Fault> {
        if (1..=Rules::VALUES_MAX).contains(&values.len()) {
            return Ok(());
        }
        let reason = format!(
            "the rule has {} values; use 1 to {} `[[rule.value]]`",
            values.len(),
            Rules::VALUES_MAX
        );
        Err(Fault(Some(self.name.span()), reason))
    }
}

impl RawValue {
    fn json(&self, topic: &TopicPattern, sensor: Option<&Spanned<String>>) -> Result<Value, Fault> {
        let Some(path) = &self.path else {
            let reason = "the value has no `path`, such as `path = \"/BME280/Temperature\"`";
            return Err(Fault(Some(self.quantity.span()), String::from(reason)));
        };
        let pointer = read(path, Pointer::parse)?;
        if let Some(name) = pointer.captures().find(|name| topic.captures().any(|own| own == *name))
        {
            let reason = format!("`{{{name}}}` stands in the topic, too; use another name");
            return Err(Fault(Some(path.span()), reason));
        }
        let captures = || topic.captures().chain(pointer.captures());
        let quantity = read(&self.quantity, Template::parse)?;
        known(&quantity, &self.quantity, captures())?;
        if let Some(place) = sensor {
            known(&read(place, Template::parse)?, place, captures())?;
        }
        let unit_path =
            self.unit_path.as_ref().map(|path| read(path, Pointer::parse)).transpose()?;
        if let (Some(pointer), Some(place)) = (&unit_path, &self.unit_path)
            && pointer.captures().next().is_some()
        {
            let reason = String::from("the path of a unit captures nothing");
            return Err(Fault(Some(place.span()), reason));
        }
        let unit = self.unit()?;
        Ok(Value { path: pointer, quantity, unit, unit_path })
    }

    fn unit(&self) -> Result<Option<String>, Fault> {
        let unit = |text: &str| reading::unit(text).map(str::to_owned);
        self.unit.as_ref().map(|text| read(text, unit)).transpose()
    }
}

fn read<T>(text: &Spanned<String>, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Fault> {
    parse(text.get_ref())
        .map_err(|reason| Fault(Some(text.span()), format!("`{}`: {reason}", text.get_ref())))
}

/// Checks that everything that a template needs is captured.
fn known<'a>(
    template: &Template,
    place: &Spanned<String>,
    captures: impl Iterator<Item = &'a str>,
) -> Result<(), Fault> {
    let captures: Vec<&str> = captures.collect();
    let Some(name) = template.names().find(|name| !captures.contains(name)) else { return Ok(()) };
    let there = match captures.as_slice() {
        [] => String::from("this rule captures nothing"),
        names => format!("there are {{{}}}", names.join("}, {")),
    };
    Err(Fault(Some(place.span()), format!("`{{{name}}}` is not captured; {there}")))
}

/// Minutes of an offset such as `+01:00`.
fn offset_minutes(text: &str) -> Result<i32, String> {
    let refused = || String::from("use an offset such as `+01:00` or `-05:30`");
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(refused()),
    };
    let number = |text: &str, max: i32| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &i32| is_plain && *number <= max)
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(refused)?;
    let (hours, minutes) = number(hours, 14).zip(number(minutes, 59)).ok_or_else(refused)?;
    Ok(sign * (hours * 60 + minutes))
}
