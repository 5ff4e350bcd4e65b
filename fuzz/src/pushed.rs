//! Messages of devices that report by themselves, and files of rules for them: any message is
//! mapped or refused, and what is sealed of it is within its limits.
//!
//! A line with a topic comes before each message, and four bytes `----` after it. What comes before
//! the first message and is followed by `====` is a file of rules.

use std::time::Duration;

use model::Timestamp;
use pushed::{At, Config, Mapper, Pushes, Rules, preset};

use crate::sealed;

pub(crate) fn run(input: &[u8]) {
    let (rules, messages) = split(input, b"====").unwrap_or((b"", input));
    let own = str::from_utf8(rules).ok().and_then(|text| Rules::parse(text).ok());
    let rules = own.unwrap_or_else(|| Rules::parse(&preset::all()).unwrap());
    let (mut mapper, mut pushes) =
        (Mapper::new(rules), Pushes::new(Config { series_max: 100, new_series_per_minute: 100 }));
    let mut rest = messages;
    for second in 0..100 {
        let (message, after) = split(rest, b"----").unwrap_or((rest, b""));
        let (topic, payload) = split(message, b"\n").unwrap_or((message, b""));
        let topic = String::from_utf8_lossy(topic);
        let wall = Timestamp::from_unix_micros(1_795_953_600_000_000 + second * 1_000_000);
        let since_start = Duration::from_secs(second.unsigned_abs());
        let mapping = mapper.map(&topic, payload, wall);
        let said = mapping.readings.len() + mapping.refusals.len() + mapping.heard.len();
        assert!(said > 0, "nothing is said of {topic}");
        pushes.handle(&topic, mapping, At { since_start, wall });
        while let Some(event) = pushes.poll_event() {
            // A source is one of Pangea's fields, which have up to 128 characters.
            assert!(event.source.as_ref().unwrap().chars().count() < 128);
            sealed::seal(event);
        }
        if after.is_empty() {
            break;
        }
        rest = after;
    }
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(by.len()).position(|window| window == by)?;
    Some((bytes.get(..at)?, bytes.get(at + by.len()..)?))
}
