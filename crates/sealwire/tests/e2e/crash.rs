//! Every process is killed in turn. What was acknowledged is in the log exactly once, and so is
//! what follows from it.

use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    house,
    mqtt::{Device, heartbeat},
    site::{Follower, Site, sealwire, until, verify},
};

/// Milliseconds between two polls of the device.
const EVERY_MS: u64 = 200;
/// A sensor whose range has a delay.
const DELAYED: &str = "0b5a6e0c-5555-4222-8333-944455566688";

#[test]
fn nothing_acknowledged_is_lost_whoever_is_killed() {
    let mut site = Site::start(&["--simulate", "40"]);
    // A device whose every second value is out of range, so there is always something to judge.
    let id = "0b5a6e0c-5555-4222-8333-944455566677";
    let mut beat = heartbeat(id, "Swinging", EVERY_MS);
    beat["range"] = json!([0, 10]);
    let device = Device::start(&site, beat, |number| {
        json!({ "value": (number % 2) * 20, "seq": number }).to_string()
    });
    // And one whose range has a delay, which must hold whoever dies while it lasts.
    let mut beat = heartbeat(DELAYED, "Delayed", EVERY_MS);
    beat["range"] = json!({ "low": 0, "high": 10, "hysteresis": 2, "delay": 5 * EVERY_MS });
    let _delayed = Device::start(&site, beat, |number| {
        json!({ "value": if number % 16 < 9 { 20 } else { 7 }, "seq": number }).to_string()
    });
    let mut told = Vec::new();

    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    follower.wait_for_more("LEAVING_RANGE", 1);

    // The host: readings are still sealed, and are judged when it is back.
    site.kill_engine("wash");
    follower.wait_for_more("SENSOR_READING", 40);
    site.wait_for_event("ENGINE_UP", |envelope| envelope["event"]["source"] == "wash host");
    let lost = site.wait_for_event("HOST_LOST", |_| true);
    let lost = &lost["envelope"]["event"];
    site.wait_for_event("HOST_JOINED", |envelope| {
        let joined = &envelope["event"];
        joined["source"] == lost["source"]
            && joined["target"].as_str().is_some_and(|id| lost["target"] != id)
    });
    follower.wait_for_more("OUT_OF_RANGE", 3);

    // The bus: nothing can be polled until it is back.
    site.kill_engine("nats");
    site.wait_for_event("ENGINE_UP", |envelope| envelope["event"]["source"] == "nats-server");
    follower.wait_for_more("SENSOR_READING", 40);
    follower.wait_for_more("OUT_OF_RANGE", 3);

    // The site itself, twice, with everything that it was doing.
    for _time in 0..2 {
        let follower = Follower::start(&site);
        follower.wait_for_more("OUT_OF_RANGE", 2);
        site.kill();
        told.extend(follower.seen());
        // Two polls of the device fall due while no site polls it.
        let killed = Instant::now();
        until("time passes", || {
            (killed.elapsed() > Duration::from_millis(2 * EVERY_MS)).then_some(())
        });
        site.start_again();
        let answered = device.answered.load(Ordering::Relaxed);
        until("the device is polled again", || {
            (device.answered.load(Ordering::Relaxed) > answered + 5).then_some(())
        });
    }
    told.extend(follower.seen());
    let follower = Follower::start(&site);
    follower.wait_for_more("OUT_OF_RANGE", 3);
    let (code, printed) = verify(&site.addresses.log);
    assert_eq!(code, Some(0), "{printed}");
    site.stop();
    // After a stop the log accounts for everything, also for the kills before it.
    let data_dir = site.data_dir();
    let folder = data_dir.to_str().unwrap();
    let (code, printed, _errors) = sealwire(&["verify", "--completeness", folder]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("42 sensors: all "), "{printed}");
    told.extend(follower.seen());

    let kept = house::open(&site.data_dir());
    assert!(told.len() > 200, "{} leaves were followed", told.len());
    kept.assert_holds(&told);
    kept.assert_answers_are_there_once();
    kept.assert_no_poll_is_unaccounted_for(id.parse().unwrap(), &["bus_away", "stopped"]);
    kept.assert_derived_is_what_follows();
    let delayed: BTreeSet<_> = kept.derived_of(DELAYED.parse().unwrap()).collect();
    assert!(delayed.is_superset(&["LEAVING_RANGE", "OUT_OF_RANGE", "BACK_IN_RANGE"].into()));
    kept.assert_readings_were_sealed_without_a_host();
}
