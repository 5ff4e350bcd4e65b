//! Which readings are sealed, which number each gets, and what ends without one.

use std::time::Duration;

use model::{Event, Timestamp, completeness::Completeness};
use proptest::prelude::*;
use pushed::{At, Config, Mapper, Pushes, Rules};

const RULES: &str = r#"
presets = ["sparkplug"]

[[rule]]
name = "every minute"
topic = "minute/{device}"
sensor = "{device}"
time = "/at"
time_format = "unix_s"
interval_s = 60
[[rule.value]]
path = "/t"
quantity = "temperature"

[[rule]]
name = "at will"
topic = "free/{device}"
sensor = "{device}"
[[rule.value]]
path = "/t"
quantity = "temperature"
"#;

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

/// 2026-11-29T12:00:00Z in seconds since 1970.
const START: u64 = 1_795_953_600;

pub(crate) struct Site {
    mapper: Mapper,
    pub(crate) pushes: Pushes,
    pub(crate) sealed: Vec<Event>,
}

pub(crate) fn at(seconds: u64) -> At {
    let micros = i64::try_from((START + seconds) * 1_000_000).unwrap();
    At { since_start: Duration::from_secs(seconds), wall: Timestamp::from_unix_micros(micros) }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(Config { series_max: 4, new_series_per_minute: 3 })
    }

    fn with(config: Config) -> Self {
        let mapper = Mapper::new(Rules::parse(RULES).unwrap());
        Self { mapper, pushes: Pushes::new(config), sealed: Vec::new() }
    }

    pub(crate) fn hear(&mut self, seconds: u64, topic: &str, payload: &str) {
        let mapping = self.mapper.map(topic, payload.as_bytes(), at(seconds).wall);
        self.pushes.handle(topic, mapping, at(seconds));
        self.take();
    }

    /// Lets time pass, as the driver does: it wakes at each deadline.
    pub(crate) fn pass_until(&mut self, seconds: u64) {
        let end = at(seconds).since_start;
        while let Some(due) = self.pushes.poll_timeout().filter(|due| *due <= end) {
            let micros = i64::try_from(due.as_micros()).unwrap();
            let wall = at(0).wall.unix_micros() + micros;
            let now = At { since_start: due, wall: Timestamp::from_unix_micros(wall) };
            self.pushes.handle_timeout(now);
            self.take();
        }
    }

    pub(crate) fn take(&mut self) {
        self.sealed.extend(std::iter::from_fn(|| self.pushes.poll_event()));
    }

    /// What was sealed, a word for each event: `1` is a reading with this number, `-` one without,
    /// `2-4` a gap, `new` a new series, `refused` a refusal.
    pub(crate) fn words(&self) -> String {
        let word = |event: &Event| {
            let detail = event.sealwire.as_ref().unwrap();
            match event.action.as_deref().unwrap() {
                "SENSOR_DISCOVERED" => String::from("new"),
                "SENSOR_READING" => {
                    detail.poll.map_or_else(|| String::from("-"), |poll| poll.to_string())
                }
                "READINGS_MISSING" => {
                    let reason = detail.reason.clone().unwrap();
                    format!("{}:{reason}", detail.missing.clone().unwrap_or_default())
                }
                "PUSHES_REFUSED" => String::from("refused"),
                other => other.to_owned(),
            }
        };
        self.sealed.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn each_declared_interval_ends_in_a_reading_or_a_gap() {
    let mut site = Site::new();
    for (seconds, payload) in [(0, r#"{"t":1}"#), (61, r#"{"t":2}"#), (119, r#"{"t":2}"#)] {
        site.hear(seconds, "minute/a", payload);
    }
    site.pass_until(400); // due at 179, 239, 299 and 359, and over half a minute later
    site.hear(410, "minute/a", r#"{"t":3}"#);
    site.hear(420, "minute/a", r#"{"t":4}"#); // more often than it promised
    assert_eq!(site.words(), "new 1 2 3 4-5:not_reported 6-7:not_reported 8 -");
    let mut checked = Completeness::of_log();
    (0..).zip(&site.sealed).for_each(|(leaf, event)| checked.take(leaf, event));
    assert!(checked.is_complete());
}

#[test]
fn without_a_declared_interval_nothing_is_due() {
    let mut site = Site::new();
    site.hear(0, "free/a", r#"{"t":1}"#);
    site.pass_until(1_000_000);
    site.hear(1_000_000, "free/a", r#"{"t":1}"#);
    assert_eq!(site.words(), "new - -");
    let mut checked = Completeness::of_log();
    (0..).zip(&site.sealed).for_each(|(leaf, event)| checked.take(leaf, event));
    let (_, account) = checked.accounts().next().unwrap();
    assert_eq!((account.polls(), account.not_asked()), (None, 2));
}

#[test]
fn a_message_that_comes_twice_is_sealed_once() {
    let mut site = Site::new();
    let told = format!(r#"{{"t":1,"at":{START}}}"#);
    site.hear(1, "minute/a", &told);
    site.hear(2, "minute/a", &told);
    site.hear(3, "minute/a", &format!(r#"{{"t":1,"at":{}}}"#, START + 2)); // the same value again
    assert_eq!((site.words().as_str(), site.pushes.counters().duplicates), ("new 1 -", 1));
    // Without a time nobody can tell, so nothing is left out.
    site.hear(100, "free/b", r#"{"t":1}"#);
    site.hear(100, "free/b", r#"{"t":1}"#);
    assert_eq!(site.words(), "new 1 - new - -");
}

#[test]
fn a_flood_is_refused_counted_and_told_once_a_minute() {
    let mut site = Site::new();
    for count in 0..2_000 {
        site.hear(10, "free/a", &format!(r#"{{"t":{count}}}"#));
    }
    for device in ["b", "c", "d", "e"] {
        site.hear(11, &format!("free/{device}"), r#"{"t":1}"#);
    }
    let readings = site.sealed.iter().filter(|event| event.status.is_some()).count();
    assert_eq!(readings, 600 + 2, "its own, and two of the others': three new series a minute");
    site.pass_until(80);
    let refused = |event: &&Event| event.action.as_deref() == Some("PUSHES_REFUSED");
    let said: Vec<&str> = site.sealed.iter().filter(refused).map(|event| &*event.message).collect();
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(site.pushes.counters().refused, 1_400 + 2);
    site.pass_until(100_000);
    assert_eq!(site.pushes.poll_timeout(), None, "and then it is forgotten");
}

#[test]
fn what_was_due_while_the_site_was_down_or_the_bus_away_is_missing() {
    let mut before = Site::new();
    before.hear(0, "minute/a", r#"{"t":1}"#);
    let description = before.sealed.first().unwrap().sealwire.clone().unwrap().heartbeat.unwrap();
    let series = model::PushedSeries::from_canonical(&description).unwrap();
    for (away, words) in [
        (Some(Ok(Duration::from_secs(200))), "2-4:stopped 5"),
        (Some(Ok(Duration::ZERO)), "2"),
        (Some(Err("the clock is wrong")), ":uncounted 2"),
        (None, "2"),
    ] {
        let mut site = Site::new();
        site.pushes.restore(series.clone(), MINUTE, 1, away, at(0));
        site.hear(5, "minute/a", r#"{"t":1}"#);
        assert_eq!(site.words(), words);
    }
    let mut site = Site::new();
    site.pushes.restore(series.clone(), MINUTE, 1, None, at(0));
    site.pushes.handle_bus(false, at(10));
    site.pass_until(130);
    site.pushes.handle_bus(true, at(130));
    site.pass_until(200);
    site.pushes.handle_stop(at(200));
    site.take();
    assert_eq!(site.words(), "2-3:bus_away 4:not_reported");
    // Gaps for different reasons are declared apart.
    let mut site = Site::new();
    site.pushes.restore(series.clone(), MINUTE, 1, None, at(0));
    site.pass_until(70);
    site.pushes.handle_bus(false, at(80));
    site.pass_until(200);
    site.pushes.handle_stop(at(200));
    site.take();
    assert_eq!(site.words(), "2:not_reported 3-4:bus_away");
    // No rule declares an interval any more, and then one does again.
    let mut site = Site::new();
    site.pushes.restore(series, None, 1, Some(Ok(Duration::from_secs(200))), at(0));
    site.pass_until(10_000);
    site.hear(10_000, "minute/a", r#"{"t":1}"#);
    assert_eq!(site.words(), "SENSOR_CHANGED 2");
}

#[test]
fn a_device_that_is_gone_for_ever_makes_one_event_an_hour() {
    const DAYS: u64 = 10;
    let mut site = Site::new();
    site.hear(0, "minute/a", r#"{"t":1}"#);
    site.pass_until(DAYS * 86_400);
    let events = site.sealed.len() as u64;
    assert!((DAYS * 24..DAYS * 24 + 10).contains(&events), "{events} events");
    site.hear(DAYS * 86_400, "minute/a", r#"{"t":1}"#);
    // Once it was there again, its next silence shows within minutes.
    let events = site.sealed.len();
    site.pass_until(DAYS * 86_400 + 200);
    assert_eq!(site.sealed.len(), events + 1);
    let mut checked = Completeness::of_log();
    (0..).zip(&site.sealed).for_each(|(leaf, event)| checked.take(leaf, event));
    assert!(checked.is_complete());
    let (_, account) = checked.accounts().next().unwrap();
    assert_eq!(account.missing(), DAYS * 24 * 60 - 1 + 2);
}

proptest! {
    #[test]
    fn the_log_accounts_for_every_interval(
        steps in prop::collection::vec((0_u64..200, 0_u8..4), 1..60),
    ) {
        let mut site = Site::new();
        let mut seconds = 0;
        for (wait, what) in steps {
            seconds += wait;
            site.pass_until(seconds);
            match what {
                0 => site.pushes.handle_bus(false, at(seconds)),
                1 => site.pushes.handle_bus(true, at(seconds)),
                _ => site.hear(seconds, "minute/a", &format!(r#"{{"t":{seconds}}}"#)),
            }
        }
        site.pushes.handle_stop(at(seconds));
        site.take();
        let mut checked = Completeness::of_log();
        (0..).zip(&site.sealed).for_each(|(leaf, event)| checked.take(leaf, event));
        prop_assert!(checked.is_complete(), "{}", site.words());
    }
}
