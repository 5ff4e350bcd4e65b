//! `sealwire map`: tries rules for pushed readings on recorded messages, and prints those that are
//! built in.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use model::subject::topic_of;
use pushed::{DeviceTime, Heard, Mapper, Mapping, Reading, Recorded, Rules, preset};

use crate::{
    cli::{MapCommand, MapTestArguments},
    output,
};

/// Longest line of recorded messages in bytes: the largest payload in base64, with its topic.
const LINE_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(command: &MapCommand) -> Result<()> {
    match command {
        MapCommand::Test(arguments) => test(arguments),
        MapCommand::Preset { name } => {
            let known = || format!("there is no preset `{name}`; use {}", preset::NAMES.join(", "));
            output::lines(preset::text(name).with_context(known)?.trim_end());
            Ok(())
        }
    }
}

/// Reads the rules of a file, or those of all presets.
pub(crate) fn rules(file: Option<&Path>) -> Result<Rules> {
    let text = match file {
        None => preset::all(),
        Some(path) => {
            let read = || -> std::io::Result<String> {
                let mut text = String::new();
                let bytes_max = Rules::FILE_BYTES_MAX as u64 + 1;
                File::open(path)?.take(bytes_max).read_to_string(&mut text)?;
                Ok(text)
            };
            read().with_context(|| format!("cannot read the rules in {}", path.display()))?
        }
    };
    Rules::parse(&text).with_context(|| match file {
        Some(path) => format!("the rules in {} cannot be followed", path.display()),
        None => String::from("the presets cannot be followed"),
    })
}

fn test(arguments: &MapTestArguments) -> Result<()> {
    let mut mapper = Mapper::new(rules(arguments.rules.as_deref())?);
    let file = &arguments.messages;
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut lines = BufReader::new(opened);
    let (mut messages, mut unmapped) = (0_u64, 0_u64);
    for number in 1_u64.. {
        let mut line = String::new();
        let read = lines.by_ref().take(LINE_BYTES_MAX + 1).read_line(&mut line);
        let bytes = read.with_context(|| format!("cannot read line {number}"))?;
        if bytes == 0 {
            break;
        }
        ensure!(
            line.len() as u64 <= LINE_BYTES_MAX,
            "line {number} has more than {LINE_BYTES_MAX} bytes"
        );
        if line.trim().is_empty() {
            continue;
        }
        let message = Recorded::parse(&line).with_context(|| format!("line {number}"))?;
        let at = message.at.unwrap_or_else(clock::now);
        let mapping = mapper.map(&message.topic, &message.payload, at);
        messages += 1;
        unmapped += u64::from(!mapping.is_understood());
        output::line(&format!("{number}  {}", message.topic));
        show(&mapping);
    }
    ensure!(messages > 0, "{} has no messages", file.display());
    output::line(&format!("{messages} messages, {unmapped} of them not understood"));
    if arguments.strict && unmapped > 0 {
        bail!("{unmapped} of {messages} messages were not understood");
    }
    Ok(())
}

fn show(mapping: &Mapping) {
    for reading in &mapping.readings {
        output::line(&format!("      {}", line(reading)));
    }
    for heard in &mapping.heard {
        let line = match heard {
            Heard::Declared(topic) => format!("declares values on {topic}"),
            Heard::Withdrawn(topic) => format!("withdraws what it declared on {topic}"),
            Heard::Born(name) => format!("{name} is there"),
            Heard::Gone(name) => format!("{name} is gone"),
            Heard::Nothing(why) => format!("nothing: {why}"),
            Heard::NoValues(rule) => {
                format!("NOTHING stands where rule `{rule}` looks for values")
            }
        };
        output::line(&format!("      {line}"));
    }
    if let Some(request) = &mapping.request {
        output::line(&format!(
            "      the site asks for births on {}",
            topic_of(request.topic.as_str())
        ));
    }
    for refusal in &mapping.refusals {
        output::line(&format!("      REFUSED {refusal}"));
    }
}

/// A reading in one line: sensor, quantity, value, unit, and what else is known of it.
fn line(reading: &Reading) -> String {
    let Reading { sensor, name, quantity, value, unit, time, seq, flags, rule, interval } = reading;
    let unit = unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let mut details = vec![format!("rule {rule}"), format!("sensor {sensor}")];
    match time {
        DeviceTime::None => {}
        DeviceTime::Told(time) => details.push(format!("time {time}")),
        DeviceTime::Doubted { text, why } => {
            details.push(format!("time {text:?} is not believed: {}", why.as_str()));
        }
    }
    details.extend(seq.map(|seq| format!("seq {seq}")));
    details.extend(interval.map(|interval| format!("every {} s", interval.as_secs())));
    details.extend(flags.iter().map(|flag| flag.word()));
    format!("{name}  {quantity}  {value}{unit}  ({})", details.join(", "))
}
