//! Home Assistant's MQTT discovery: a message on `homeassistant/sensor/<object>/config` declares on
//! which topic a sensor sends its values, and what they are.
//!
//! Of the templates that Home Assistant knows, those that name one value are read: `{{ value }}`,
//! `{{ value_json.a.b }}` and `{{ value_json['a'] }}`. A declaration with any other template is
//! refused, because a value that a template computes is not what the device wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{Protocol, Subject};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    mapping::{Heard, Mapping, reading_of, scalar, text_of},
    pointer::Pointer,
    reading::{self, Reading},
    rules::Rule,
    template::Captures,
};

/// What devices have declared.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// By the topic of the declaration.
    declared: BTreeMap<String, Declared>,
    /// Declarations of each topic with values.
    by_topic: BTreeMap<Subject, BTreeSet<String>>,
}

/// A declared sensor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Declared {
    rule: String,
    interval: Option<Duration>,
    name: String,
    quantity: String,
    unit: Option<String>,
    topic: Option<Subject>,
    /// Where in the payload the value stands; `None` if the payload is the value.
    path: Option<Pointer>,
    /// The declaration, as far as it was read.
    said: String,
}

/// The part of a declaration that is read. Each field has a short name, too.
#[derive(Deserialize, Serialize)]
struct Config {
    #[serde(rename = "~", skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(alias = "stat_t")]
    state_topic: Option<String>,
    #[serde(alias = "val_tpl", skip_serializing_if = "Option::is_none")]
    value_template: Option<String>,
    #[serde(alias = "unit_of_meas", skip_serializing_if = "Option::is_none")]
    unit_of_measurement: Option<String>,
    #[serde(alias = "dev_cla", skip_serializing_if = "Option::is_none")]
    device_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Discovery {
    /// Most sensors that devices can declare. Each takes about a kilobyte.
    const DECLARED_MAX: usize = 10_000;

    /// What is declared to be sent on a topic.
    pub(crate) fn on(&self, topic: &Subject) -> impl Iterator<Item = &Declared> {
        let names = self.by_topic.get(topic).into_iter().flatten();
        names.filter_map(|name| self.declared.get(name))
    }

    /// The topics of the declarations in force, and what they say.
    pub(crate) fn declarations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.declared.iter().map(|(topic, declared)| (topic.as_str(), declared.said.as_str()))
    }

    /// Takes a declaration; an empty one withdraws what was declared.
    pub(crate) fn hear(
        &mut self,
        about: Declared,
        topic: &str,
        payload: &[u8],
        mapping: &mut Mapping,
    ) {
        if payload.is_empty() {
            match self.withdraw(topic) {
                Some(subject) => mapping.heard.push(Heard::Withdrawn(subject)),
                None => mapping.nothing("a declaration is withdrawn"),
            }
            return;
        }
        let rule = about.rule.clone();
        if self.declared.len() >= Self::DECLARED_MAX && !self.declared.contains_key(topic) {
            let reason = format!("devices have declared {} sensors already", Self::DECLARED_MAX);
            return mapping.refuse(&rule, reason);
        }
        match about.with(payload) {
            Ok((declared, _)) if self.declared.get(topic) == Some(&declared) => {
                mapping.nothing("the same was declared before");
            }
            Ok((declared, subject)) => {
                if let Some(former) = self.withdraw(topic).filter(|former| *former != subject) {
                    mapping.heard.push(Heard::Withdrawn(former));
                }
                self.by_topic.entry(subject.clone()).or_default().insert(topic.to_owned());
                self.declared.insert(topic.to_owned(), declared);
                mapping.heard.push(Heard::Declared(subject));
            }
            Err(reason) => mapping.refuse(&rule, reason),
        }
    }

    /// Withdraws a declaration. Returns the topic of its values if nothing else is declared there.
    fn withdraw(&mut self, topic: &str) -> Option<Subject> {
        let subject = self.declared.remove(topic)?.topic?;
        let others = self.by_topic.get_mut(&subject)?;
        others.remove(topic);
        others.is_empty().then(|| self.by_topic.remove(&subject))?;
        Some(subject)
    }
}

impl Declared {
    /// The beginning of a declaration: what the rule says.
    pub(crate) fn about(rule: &Rule, name: String) -> Self {
        Self {
            rule: rule.name.clone(),
            interval: rule.interval,
            name,
            quantity: String::new(),
            unit: None,
            topic: None,
            path: None,
            said: String::new(),
        }
    }

    fn with(mut self, payload: &[u8]) -> Result<(Self, Subject), String> {
        let config: Config = serde_json::from_slice(payload)
            .map_err(|error| format!("the declaration is not understood: {error}"))?;
        self.said = serde_json::to_string(&config).expect("a declaration has only text keys");
        let topic = config.state_topic.ok_or("the declaration has no `state_topic`")?;
        let base = config.base.unwrap_or_default();
        let topic = match (topic.strip_prefix('~'), topic.strip_suffix('~')) {
            (Some(rest), _) => format!("{base}{rest}"),
            (None, Some(rest)) => format!("{rest}{base}"),
            (None, None) => topic,
        };
        let subject =
            Subject::of_topic(&topic, Protocol::Mqtt).map_err(|error| error.to_string())?;
        reading::name(&self.name)?;
        let quantity = config.device_class.or(config.name).unwrap_or_else(|| "state".to_owned());
        self.quantity = reading::quantity(&quantity)?.to_owned();
        self.unit = match config.unit_of_measurement {
            Some(unit) => Some(reading::unit(&unit)?.to_owned()),
            None => None,
        };
        self.path = match config.value_template.as_deref() {
            Some(template) => path_of(template)?,
            None => None,
        };
        self.topic = Some(subject.clone());
        Ok((self, subject))
    }

    /// Reads a message with values.
    pub(crate) fn read(&self, payload: &[u8], mapping: &mut Mapping) {
        match self.value(payload) {
            Ok(Some(value)) => {
                let names = (self.name.as_str(), self.quantity.as_str());
                match reading_of(&self.rule, self.interval, names, &value) {
                    Ok(reading) => {
                        mapping.readings.push(Reading { unit: self.unit.clone(), ..reading });
                    }
                    Err(reason) => mapping.refuse(&self.rule, reason),
                }
            }
            Ok(None) => mapping.nothing("the value is null"),
            Err(reason) => mapping.refuse(&self.rule, reason),
        }
    }

    fn value(&self, payload: &[u8]) -> Result<Option<String>, String> {
        let Some(path) = &self.path else { return text_of(payload).map(|text| Some(text.into())) };
        let json: &RawValue = serde_json::from_slice(payload)
            .map_err(|error| format!("the payload is not JSON: {error}"))?;
        let found = path.find(json, &Captures::default())?.pop();
        let found = found.ok_or("nothing stands where the declaration's template looks")?;
        scalar(found.json)
    }
}

/// The place that a template names; `None` if it names the whole payload.
fn path_of(template: &str) -> Result<Option<Pointer>, String> {
    let refused = || {
        let shown: String = template.chars().take(80).collect();
        format!(
            "the template `{shown}` computes a value; only `{{{{ value }}}}`, \
             `{{{{ value_json.a.b }}}}` and `{{{{ value_json['a'] }}}}` are read"
        )
    };
    let inner = template.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let inner = inner.ok_or_else(refused)?.trim();
    if inner == "value" {
        return Ok(None);
    }
    let mut rest = inner.strip_prefix("value_json").ok_or_else(refused)?;
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|character: char| !is_of_name(character)).unwrap_or(after.len());
            after.split_at_checked(end).filter(|(name, _)| !name.is_empty())
        } else {
            in_brackets(rest)
        }
        .ok_or_else(refused)?;
        names.push(name.to_owned());
        rest = after;
    }
    if names.is_empty() {
        return Err(refused());
    }
    Pointer::of_names(names).map(Some)
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The name in `['name']` or `["name"]`, or the index in `[0]`, and what follows.
fn in_brackets(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(name) = inner.strip_prefix(quote) {
            let (name, after) = name.split_once(quote)?;
            return Some((name, after.strip_prefix(']')?)).filter(|_| !name.contains('\\'));
        }
    }
    let (index, after) = inner.split_once(']')?;
    let is_index = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    is_index.then_some((index, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_a_place_or_is_refused() {
        for (template, path) in [
            ("{{ value }}", Some("")),
            ("{{value_json.temperature}}", Some("/temperature")),
            ("{{ value_json.a.b_c }}", Some("/a/b_c")),
            ("{{ value_json['tem p'] }}", Some("/tem p")),
            (r#"{{ value_json["a/b"].c }}"#, Some("/a~1b/c")),
            ("{{ value_json.params['temperature:0'].tC }}", Some("/params/temperature:0/tC")),
            ("{{ value_json.list[0] }}", Some("/list/0")),
            ("{{ value_json.t | float }}", None),
            ("{{ value_json.t / 10 }}", None),
            ("{{ value_json }}", None),
            ("{{ value_json. }}", None),
            ("{{ value_json['a] }}", None),
            ("{{ value_json[x] }}", None),
            ("{% if value_json.t %}1{% endif %}", None),
            ("{{ states('x') }}", None),
            ("25", None),
        ] {
            let read = path_of(template);
            match path {
                None => assert!(read.unwrap_err().contains("computes a value"), "{template}"),
                Some("") => assert_eq!(read, Ok(None), "{template}"),
                Some(path) => {
                    assert_eq!(read, Ok(Some(Pointer::parse(path).unwrap())), "{template}");
                }
            }
        }
    }
}
