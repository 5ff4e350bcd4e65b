//! The clock of the site's machine jumps while the site runs. libfaketime stands for that clock: it
//! shifts the time that the site's own process sees, and leaves the monotonic clock and the engines
//! alone.

use std::{fs, path::PathBuf, time::Duration};

use model::{SensorId, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    house,
    site::{Site, sealwire, until},
};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// How far a time may be from the one that is meant: the machine is busy.
const NEAR: Duration = Duration::from_secs(300);

/// The clock that the site sees.
struct Clock {
    folder: TempDir,
}

impl Clock {
    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Shifts the clock by so many seconds from the true time.
    fn set(&self, offset_s: i64) {
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{offset_s:+}\n")).unwrap();
        fs::rename(next, self.file()).unwrap();
    }
}

/// What a step must lead to.
struct Step {
    offset_s: i64,
    is_believed: bool,
}

fn shifted(offset_s: i64) -> Timestamp {
    Timestamp::from_unix_micros(clock::now().unix_micros() + offset_s * 1_000_000)
}

fn is_near(text: &Value, wanted: Timestamp) -> bool {
    let Some(time) = text.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return false;
    };
    // `since` is zero for a time that has not come.
    time.since(wanted).max(wanted.since(time)) < NEAR
}

/// Sets the clock, and checks what is sealed, flagged and told of it.
fn takes(site: &Site, clock: &Clock, Step { offset_s, is_believed }: Step) {
    let told_before = site.events("CLOCK_STEPPED").len();
    clock.set(offset_s);
    let step = until("the step is sealed", || {
        let told = site.events("CLOCK_STEPPED");
        (told.len() > told_before).then(|| told[0].clone())
    });
    let event = &step["envelope"]["event"];
    assert!(is_near(&event["new"], shifted(offset_s)), "{event}");
    let message = event["message"].as_str().unwrap();
    assert_eq!(message.contains("not believed"), !is_believed, "{message}");
    until("the page is told whether the clock is believed", || {
        (site.get("/api/site").1["clock"]["believed"] == is_believed).then_some(())
    });

    // Readings are sealed with the time that the clock shows, and with the site's own where that is
    // not believed.
    let leaf = step["leaf"].as_u64().unwrap();
    let reading = until("a reading follows", || {
        let is_later = |event: &Value| event["leaf"].as_u64() > Some(leaf);
        site.events("SENSOR_READING").into_iter().find(is_later)
    });
    let (event, own) = (&reading["envelope"]["event"], &reading["envelope"]["sealwire"]);
    assert!(is_near(&event["timestamp"], shifted(offset_s)), "{reading}");
    let flags = own["flags"].as_str().unwrap_or_default();
    assert_eq!(flags.split(' ').any(|flag| flag == "site_clock"), !is_believed, "{reading}");
    let believed = if is_believed { offset_s } else { 0 };
    if !is_believed {
        assert!(is_near(&own["site_time"], shifted(believed)), "{reading}");
    }
    // Plots and lists go by what the site believes.
    let path = format!("/api/sensors/{}/readings?limit=5000", own["sensor"].as_str().unwrap());
    let listed = site.get(&path).1;
    let listed = listed["readings"].as_array().unwrap();
    let shown = listed.iter().find(|shown| shown["leaf"] == reading["leaf"]).unwrap();
    assert!(is_near(&shown["timestamp"], shifted(believed)), "{shown}");
}

#[test]
fn a_clock_that_jumps_while_the_site_runs_loses_nothing_and_is_told() {
    let Some(library) = std::env::var_os("LIBFAKETIME") else {
        eprintln!("skipped: LIBFAKETIME names no libfaketime that could shift the site's clock");
        return;
    };
    let clock = Clock { folder: TempDir::new().unwrap() };
    clock.set(0);
    let preload = format!("LD_PRELOAD={}", library.to_str().unwrap());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.file().display());
    // The file is read again each second. Times of files stay true.
    let launcher = [
        "env",
        &preload,
        &file,
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "NO_FAKE_STAT=1",
    ];
    let mut site = Site::start_by(&launcher, TempDir::new().unwrap(), &["--simulate", "3"]);
    let sensor = until("sensors are polled", || {
        let sensors = site.sensors();
        let has_value = |sensor: &&Value| !sensor["last"].is_null();
        (sensors.iter().filter(has_value).count() == 3)
            .then(|| sensors[0]["id"].as_str().unwrap().to_owned())
    });
    // Less than a day is a zone that was set wrong, and believed; more is not.
    takes(&site, &clock, Step { offset_s: 23 * HOUR_S, is_believed: true });
    takes(&site, &clock, Step { offset_s: 0, is_believed: true });
    takes(&site, &clock, Step { offset_s: 3 * DAY_S, is_believed: false });
    takes(&site, &clock, Step { offset_s: -3 * DAY_S, is_believed: false });
    let in_1970 = HOUR_S - clock::now().unix_micros() / 1_000_000;
    takes(&site, &clock, Step { offset_s: in_1970, is_believed: false });

    // A start in 1970, and then a clock that is set.
    site.stop();
    site.start_again();
    assert_eq!(site.get("/api/site").1["clock"]["believed"], false);
    takes(&site, &clock, Step { offset_s: 0, is_believed: true });

    site.stop();
    let data_dir = site.data_dir();
    let (code, printed, said) = sealwire(&["verify", "--completeness", data_dir.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{printed}{said}");
    let sealed = house::open(&data_dir);
    sealed.assert_answers_are_there_once();
    sealed.assert_no_poll_is_unaccounted_for(sensor.parse::<SensorId>().unwrap(), &[]);
    let received = sealed.envelopes.iter().map(|envelope| envelope.received_at);
    assert!(received.is_sorted(), "the time of receipt never goes back");
}
