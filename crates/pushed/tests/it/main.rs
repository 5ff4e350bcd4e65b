//! Tests the rules from outside: recorded messages of the named firmwares, and rules that are
//! refused.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

mod files;
mod messages;
mod orders;
mod pushes;

use std::fmt::Write as _;

use model::{Timestamp, subject::topic_of};
use pushed::{DeviceTime, Heard, Mapper, Mapping, Recorded, Rules, preset};

/// When messages came that do not say so.
fn at() -> Timestamp {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn all_presets() -> Mapper {
    Mapper::new(Rules::parse(&preset::all()).unwrap())
}

/// What a message became, a line for each thing.
fn shown(topic: &str, mapping: &Mapping) -> String {
    let mut text = format!("{topic}\n");
    for reading in &mapping.readings {
        let unit = reading.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let time = match &reading.time {
            DeviceTime::None => String::new(),
            DeviceTime::Told(time) => format!(" at {time}"),
            DeviceTime::Doubted { text, why } => format!(" at \"{text}\" ({})", why.as_str()),
        };
        let flags: Vec<String> = reading.flags.iter().map(|flag| flag.word()).collect();
        let flags = if flags.is_empty() { String::new() } else { format!(" {flags:?}") };
        writeln!(
            text,
            "  {} | {} = {}{unit}{time}{flags}",
            reading.name, reading.quantity, reading.value
        )
        .unwrap();
    }
    for heard in &mapping.heard {
        let line = match heard {
            Heard::Declared(topic) => format!("declared: values come on {topic}"),
            Heard::Withdrawn(topic) => format!("withdrawn: {topic}"),
            Heard::Born(name) => format!("{name} is there"),
            Heard::Gone(name) => format!("{name} is gone"),
            Heard::Nothing(why) => format!("({why})"),
            Heard::NoValues(rule) => format!("(nothing stands where `{rule}` looks for values)"),
        };
        writeln!(text, "  {line}").unwrap();
    }
    if let Some(request) = &mapping.request {
        writeln!(text, "  asks on {}", topic_of(request.topic.as_str())).unwrap();
    }
    for refusal in &mapping.refusals {
        writeln!(text, "  refused: {refusal}").unwrap();
    }
    text
}

/// What recorded messages became, one after the other.
fn map_all(mapper: &mut Mapper, lines: &str) -> String {
    let mut text = String::new();
    for line in lines.lines() {
        let Recorded { topic, payload, at: came } = Recorded::parse(line).unwrap();
        let mapping = mapper.map(&topic, &payload, came.unwrap_or_else(at));
        text.push_str(&shown(&topic, &mapping));
    }
    text
}
