//! Plays a script to a poller and records what it does.

use core::{
    cmp::Ordering::{Equal, Less},
    time::Duration,
};

use model::{Event, Given, Protocol, SensorId, SensorOrder, Timestamp};
use poll::{Action, Bus, Config, Instant, Now, Poller, Source};

/// The heartbeat subject of the tests.
pub(crate) const BEAT: Source<'static> =
    Source { subject: "sim.heartbeat", protocol: Protocol::Nats };

/// 2026-11-23T19:01:23Z.
pub(crate) const WALL_START_MICROS: i64 = 1_795_460_483_000_000;

pub(crate) fn at(millis: u64) -> Now {
    Now {
        monotonic: Instant::after_start(Duration::from_millis(millis)),
        wall: Timestamp::from_unix_micros(
            WALL_START_MICROS + i64::try_from(millis).unwrap() * 1_000,
        ),
    }
}

/// Sensors of the tests have a name of one letter, and an id of this letter sixteen times.
pub(crate) fn sensor(name: &str) -> SensorId {
    SensorId::from_bytes([name.as_bytes()[0]; 16])
}

/// A heartbeat of sensor `name`, every 2 s unless `changes` (`key=value`) say otherwise.
/// `timeout` and `retries` are left out unless they are among the changes.
pub(crate) fn heartbeat(name: &str, changes: &[&str]) -> String {
    let mut fields = [
        ("alias", name.to_owned()),
        ("every", "2000".to_owned()),
        ("poll", format!("sim/poll/{name}")),
        ("read", format!("sim/read/{name}")),
        ("gone", format!("sim/gone/{name}")),
        ("timeout", "null".to_owned()),
        ("retries", "null".to_owned()),
        ("mac", "m1".to_owned()),
    ];
    for change in changes {
        let (key, value) = change.split_once('=').expect("a change is `key=value`");
        let field = fields.iter_mut().find(|(name, _)| *name == key).expect("a known key");
        field.1 = value.to_owned();
    }
    let [alias, every, poll, read, gone, timeout, retries, mac] = fields.map(|(_, value)| value);
    let id = sensor(name);
    let topics =
        format!(r#""poll_topic":"{poll}","read_topic":"{read}","disconnect_topic":"{gone}""#);
    let patience = format!(r#""answer_timeout":{timeout},"retries":{retries},"mac_addr":"{mac}""#);
    format!(r#"{{"id":"{id}","alias":"{alias}","poll_interval":{every},{topics},{patience}}}"#)
}

/// An order of an operator: `poll`, `pause`, `resume`, `every <milliseconds>`, `every own`, JSON,
/// or `add <milliseconds>` with the topics of [`heartbeat`].
pub(crate) fn order(name: &str, words: &[&str], now: Now) -> Given {
    let id = sensor(name);
    let json = match words {
        ["add", every] => format!(
            r#"{{"order":"add","alias":"{name}","id":"{id}","poll_interval":{every},
                "poll_topic":"sim/poll/{name}","read_topic":"sim/read/{name}"}}"#
        ),
        ["every", "own"] => r#"{"order":"interval","poll_interval":null}"#.to_owned(),
        ["every", millis] => format!(r#"{{"order":"interval","poll_interval":{millis}}}"#),
        [json] if json.starts_with('{') => (*json).to_owned(),
        [what] => format!(r#"{{"order":"{what}"}}"#),
        _ => panic!("`{words:?}` is not an order"),
    };
    let order: SensorOrder = serde_json::from_str(&json).unwrap();
    Given { order, by: "root".to_owned(), at: now.wall, reason: "a test".to_owned() }
}

/// Plays `script`, one input per line, and returns one line for each action with its time. The last
/// line has the counters that are not zero.
///
/// A line is `<milliseconds> <input>`: `beat a [key=value ...]`, `answer a <payload>`, `gone a`,
/// `order a <order>`, `down`, `up`, `full`, `room`, `stop` or `end`. The poller is woken when it
/// asks for it. If the line begins with `!`, the driver slept until this time.
///
/// The site has room for three sensors.
#[track_caller]
pub(crate) fn run(script: &[&str]) -> Vec<String> {
    let mut poller = Poller::new(Config { sensors_max: 3, ..Config::default() });
    let mut trace = Vec::new();
    for line in script {
        let (moment, input) = line.trim_start_matches('!').split_once(' ').expect("a moment");
        let moment = at(moment.parse().expect("milliseconds"));
        while !line.starts_with('!')
            && let Some(deadline) = poller.poll_timeout().filter(|next| *next <= moment.monotonic)
        {
            let since = deadline.saturating_duration_since(Instant::default());
            // First polls are spread over half milliseconds; traces show whole ones.
            let now = at(u64::try_from(since.as_micros().div_ceil(1_000)).unwrap());
            poller.handle_timeout(now);
            drain(&mut poller, now, &mut trace);
        }
        let now = moment;
        if let Some(refusal) = feed(&mut poller, input, now) {
            trace.push(format!("{} refused: {refusal}", millis(now)));
        }
        poller.handle_timeout(now);
        drain(&mut poller, now, &mut trace);
    }
    let counters = poller.counters().named();
    let counters = counters.iter().filter(|(_, count)| *count > 0);
    let counters: Vec<_> = counters.map(|(name, count)| format!("{name}={count}")).collect();
    trace.push(counters.join(" "));
    trace
}

fn feed(poller: &mut Poller, input: &str, now: Now) -> Option<String> {
    let words: Vec<&str> = input.split(' ').collect();
    match words.as_slice() {
        ["beat", name, changes @ ..] => {
            let payload = heartbeat(name, changes);
            return poller
                .handle_heartbeat(payload.as_bytes(), BEAT, now)
                .err()
                .map(|e| e.to_string());
        }
        ["answer", name, payload] => poller.handle_answer(sensor(name), payload.as_bytes(), now),
        ["gone", name] => poller.handle_disconnect(sensor(name), now),
        ["order", name, words @ ..] => {
            let given = order(name, words, now);
            let refused = poller.handle_order(sensor(name), &given, now).err();
            return refused.map(|refused| refused.to_string());
        }
        ["down"] => poller.handle_bus(Bus::Down, now),
        ["up"] => poller.handle_bus(Bus::Up, now),
        ["full"] => poller.handle_room(false, now),
        ["room"] => poller.handle_room(true, now),
        ["stop"] => poller.handle_stop(now),
        ["end"] => {}
        _ => panic!("`{input}` is not an input"),
    }
    None
}

fn drain(poller: &mut Poller, now: Now, trace: &mut Vec<String>) {
    while let Some(action) = poller.poll_action() {
        let text = match action {
            Action::Subscribe { sensor, read_topic, .. } => {
                format!("subscribe {} {read_topic}", name(sensor))
            }
            Action::Unsubscribe { sensor } => format!("unsubscribe {}", name(sensor)),
            Action::SendPoll { sensor, .. } => format!("poll {}", name(sensor)),
            // The trace has each refusal itself.
            Action::Seal(event) if event.action.as_deref() == Some("HEARTBEATS_REFUSED") => {
                continue;
            }
            Action::Seal(event) => sealed(&event, now),
        };
        trace.push(format!("{} {text}", millis(now)));
    }
}

fn sealed(event: &Event, now: Now) -> String {
    let age = event.timestamp.as_ref().map(|at| at.cmp(&now.wall.to_string()));
    // A held reading has the time of its answer.
    let is_reading = event.status.as_deref() == Some("SUCCESS");
    assert!(age == Some(Equal) || is_reading && age == Some(Less), "as old as its input");
    let action = event.action.as_deref().unwrap();
    let name = name(event.sensor().unwrap());
    let detail = event.sealwire.as_ref().unwrap();
    match (&event.status, &event.new, &detail.reason) {
        (Some(status), Some(value), _) => format!("{name} {status} {value}"),
        (_, _, Some(reason)) => {
            let missing = detail.missing.as_ref().map(|missing| format!(" {missing}"));
            format!("{name} {action}{} {reason}", missing.unwrap_or_default())
        }
        _ if action == "FIELDS_LEFT_OUT" => {
            let fields = detail.error.as_deref().unwrap().split("; ");
            let fields = fields.filter_map(|told| told.split_once(" is left out"));
            let fields: Vec<&str> = fields.map(|(field, _)| field).collect();
            format!("{name} {action} {}", fields.join(", "))
        }
        _ => format!("{name} {action}"),
    }
}

fn name(sensor: SensorId) -> char {
    let first = sensor.to_string().get(..2).map(|hex| u8::from_str_radix(hex, 16).unwrap());
    char::from(first.unwrap())
}

fn millis(now: Now) -> u128 {
    now.monotonic.saturating_duration_since(Instant::default()).as_millis()
}
