//! Orders about series that devices report by themselves.

use std::time::Duration;

use model::{Event, Given, SensorId, completeness::Completeness};

use crate::pushes::{Site, at};

/// Gives an order, and seals it as the driver does. The error is the refusal.
fn order(site: &mut Site, seconds: u64, sensor: SensorId, json: &str) -> Result<(), String> {
    let order = serde_json::from_str(json).expect(json);
    let (by, reason) = (String::from("ada"), String::from("a test"));
    let given = Given { order, by, at: at(seconds).wall, reason };
    let described = site.pushes.handle_order(sensor, &given, at(seconds));
    site.take();
    let described = described.map_err(|refused| refused.to_string())?;
    site.sealed.push(Event::series_ordered(&described, &given));
    Ok(())
}

/// The series of a device that is heard for the first time.
fn first_heard(site: &mut Site, seconds: u64, topic: &str) -> SensorId {
    site.hear(seconds, topic, r#"{"t":1}"#);
    site.sealed.last().and_then(Event::sensor).expect("a reading")
}

#[test]
fn names_calibrations_and_maintenance_are_on_what_is_sealed() {
    let mut site = Site::new();
    let a = first_heard(&mut site, 0, "free/a");
    for json in [
        r#"{"order":"rename","alias":"Oven"}"#,
        r#"{"order":"move","location":"Hall"}"#,
        r#"{"order":"calibrate","gain":"2","offset":"-0.5","from":"2026-11-01T00:00:00Z"}"#,
        r#"{"order":"maintain","from":"2026-11-29T12:00:05Z","until":"2026-11-29T12:00:08Z"}"#,
    ] {
        order(&mut site, 1, a, json).unwrap();
    }
    site.hear(6, "free/a", r#"{"t":7}"#);
    let within = site.sealed.pop().unwrap();
    assert!(within.is_in_maintenance());
    site.hear(8, "free/a", r#"{"t":7}"#);
    let event = site.sealed.pop().unwrap();
    assert!(!event.is_in_maintenance(), "it ends by itself");
    assert_eq!(event.source.as_deref(), Some("Hall.Oven.temperature"));
    let detail = event.sealwire.unwrap();
    assert_eq!((event.new.as_deref(), detail.calibration.as_deref()), (Some("7"), Some("2 -0.5")));
    // A series that begins again under the same orders, and what the rule says without them.
    let in_force = site.pushes.orders_in_force();
    let mut anew = Site::new();
    anew.pushes.restore_orders(in_force.into_iter().collect());
    assert_eq!(first_heard(&mut anew, 9, "free/a"), a);
    let sources: Vec<_> = anew.sealed.iter().filter_map(|event| event.source.as_deref()).collect();
    assert_eq!(sources, ["Hall.Oven.temperature"; 2]);
    let described = anew.sealed[0].sealwire.as_ref().unwrap().heartbeat.clone().unwrap();
    assert!(described.contains(r#""name":"a""#), "the rule's name is sealed: {described}");
    for json in [r#"{"order":"rename","alias":null}"#, r#"{"order":"move","location":null}"#] {
        order(&mut anew, 10, a, json).unwrap();
    }
    anew.hear(11, "free/a", r#"{"t":7}"#);
    assert_eq!(anew.sealed.pop().unwrap().source.as_deref(), Some("a.temperature"));
}

#[test]
fn a_retired_series_is_neither_sealed_nor_missed_until_it_is_expected_again() {
    let mut site = Site::new();
    let a = first_heard(&mut site, 0, "minute/a");
    order(&mut site, 70, a, r#"{"order":"retire"}"#).unwrap();
    site.pass_until(400);
    site.hear(410, "minute/a", r#"{"t":2}"#);
    // It is so after a restart too.
    let in_force = site.pushes.orders_in_force();
    let sealed = std::mem::take(&mut site.sealed);
    let description = sealed[0].sealwire.as_ref().unwrap().heartbeat.clone().unwrap();
    let description = model::PushedSeries::from_canonical(&description).unwrap();
    let mut site = Site::new();
    site.sealed = sealed;
    site.pushes.restore_orders(in_force.into_iter().collect());
    let (minute, away) = (Duration::from_secs(60), Duration::from_secs(400));
    site.pushes.restore(description, Some(minute), 1, Some(Ok(away)), at(500));
    site.pass_until(900);
    site.hear(910, "minute/a", r#"{"t":3}"#);
    order(&mut site, 1_000, a, r#"{"order":"recall"}"#).unwrap();
    site.hear(1_050, "minute/a", r#"{"t":4}"#);
    site.pass_until(1_300); // it is missed again
    let words = "new 1 SENSOR_RETIRED SENSOR_RECALLED 2 3-4:not_reported";
    assert_eq!(site.words(), words);
    let mut checked = Completeness::of_log();
    (0..).zip(&site.sealed).for_each(|(leaf, event)| checked.take(leaf, event));
    assert!(checked.is_complete());
}

#[test]
fn another_device_continues_a_series() {
    let mut site = Site::new();
    let a = first_heard(&mut site, 0, "minute/a");
    let b = first_heard(&mut site, 10, "minute/b");
    order(&mut site, 15, b, r#"{"order":"retire"}"#).unwrap();
    let replace = format!(r#"{{"order":"replace","device":"{b}"}}"#);
    order(&mut site, 20, a, &replace).unwrap();
    assert_eq!(site.pushes.orders_in_force().len(), 1, "what is forgotten is not retired");
    site.hear(60, "minute/b", r#"{"t":2}"#);
    let event = site.sealed.last().unwrap();
    assert_eq!((event.sensor(), event.source.as_deref()), (Some(a), Some("a.temperature")));
    site.hear(61, "minute/a", r#"{"t":3}"#);
    let refused = site.sealed.last().unwrap();
    assert!(refused.message.contains("another device is in the place of"), "{}", refused.message);
    assert_eq!(
        site.words(),
        "new 1 new 1 SENSOR_RETIRED SENSOR_FORGOTTEN SENSOR_REPLACED 2 refused"
    );
    for (sensor, device, words) in [
        (b, a, "the site polls no sensor"),
        (a, a, "is the sensor's own id"),
        (a, SensorId::from_bytes([7; 16]), "is no sensor that a device reports by itself"),
    ] {
        let json = format!(r#"{{"order":"replace","device":"{device}"}}"#);
        let refusal = order(&mut site, 70, sensor, &json).unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }
    let c = first_heard(&mut site, 80, "minute/c");
    let refusal = order(&mut site, 81, c, &replace).unwrap_err();
    assert!(refusal.contains("cannot take this place"), "{refusal}");
    // The former device counts again once no other is in its place.
    order(&mut site, 90, a, r#"{"order":"replace","device":null}"#).unwrap();
    site.hear(120, "minute/a", r#"{"t":4}"#);
    assert_eq!(site.sealed.last().and_then(Event::sensor), Some(a));
}

#[test]
fn what_does_not_fit_a_series_is_refused() {
    let mut site = Site::new();
    let a = first_heard(&mut site, 0, "free/a");
    order(&mut site, 1, a, r#"{"order":"retire"}"#).unwrap();
    for (json, words) in [
        (r#"{"order":"retire"}"#, "is already retired"),
        (r#"{"order":"end-maintenance"}"#, "is not in maintenance"),
        (r#"{"order":"poll"}"#, "the site does not poll"),
        (r#"{"order":"pause"}"#, "the site does not poll"),
        (r#"{"order":"interval","poll_interval":1000}"#, "the site does not poll"),
        (r#"{"order":"settle","mac":null}"#, "the site does not poll"),
        (
            r#"{"order":"calibrate","gain":"2","offset":"0","channel":"t","from":"2026-11-01T00:00:00Z"}"#,
            "declares no channel `t`",
        ),
        (
            r#"{"order":"calibrate","gain":"2","offset":"0","from":"2026-12-01T00:00:00Z"}"#,
            "begins in the future",
        ),
    ] {
        let refusal = order(&mut site, 2, a, json).unwrap_err();
        assert!(refusal.contains(words), "{json}: {refusal}");
    }
    assert_eq!(site.words(), "new - SENSOR_RETIRED");
}
