//! A device that reports by itself, on another machine, with a credential for its topics alone.

use std::fs;

use tempfile::TempDir;

use super::Elsewhere;
use crate::{
    attacks::credentials::{Device, order},
    site::{Site, sealwire, until},
};

/// A report of Tasmota about this temperature.
fn report(device: &str, celsius: &str) -> String {
    let payload =
        format!(r#"{{"Time":"2026-11-29T12:00:00","DS18B20":{{"Temperature":{celsius}}}}}"#);
    format!("tele/{device}/SENSOR={payload}")
}

#[test]
fn a_device_that_reports_by_itself_comes_with_its_credential_and_on_its_topics_alone() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let ca = elsewhere.certify(&folder.path().join("data"), &[]);
    let (rules, output) = (folder.path().join("rules.toml"), folder.path().join("credentials"));
    fs::write(&rules, "presets = [\"tasmota\"]\n").unwrap();
    let rules = rules.to_str().unwrap();
    let listen = ["--mqtt-listen", &elsewhere.here, "--map", rules];
    let mut site = Site::start_in(folder, &listen);
    let data_dir = site.data_dir();
    let mapped = ["--map", rules, "--output", output.to_str().unwrap()];
    let add = |name: &str, topic: &str| {
        [&["add", name, "--reports", topic], &mapped[..]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let give = |words: Vec<String>| {
        let site = ["sensor", "--data-dir", data_dir.to_str().unwrap()];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        sealwire(&[&site[..], &words].concat())
    };
    for (topic, words) in [
        ("tele/kitchen/STATE", "no rule in"),
        ("tele/+/SENSOR", "wildcard"),
        ("tele/my kitchen/SENSOR", "space"),
    ] {
        let (code, _, said) = give(add("kitchen", topic));
        assert!(code == Some(1) && said.contains(words), "{topic}: {said}");
    }
    for name in ["kitchen", "oven"] {
        let (code, _, said) = give(add(name, &format!("tele/{name}/SENSOR")));
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, _, said) = give(add("hob", "tele/oven/SENSOR"));
    assert!(code == Some(1) && said.contains("oven already has it"), "{said}");

    let device = |name: &str, ca: &str, messages: &[String]| {
        let mut command = Device::command(&["ip", "netns", "exec", &elsewhere.name]);
        let port = Device::port(&site, "mqtt").to_string();
        command.args(["reports", &elsewhere.here, &port]);
        Device::run(command.arg(output.join(format!("{name}.json"))).arg(ca).args(messages))
    };
    let messages = [
        report("kitchen", "21.5"),
        report("oven", "66.6"),
        "Pump-1/heartbeat={}".to_owned(),
        report("kitchen", "22.5"),
    ];
    let kitchen = device("kitchen", &ca, &messages);
    kitchen.says("connected");
    let sealed = |value: &str| {
        let event = site.wait_for_event("SENSOR_READING", |it| it["event"]["new"] == value);
        event["envelope"]["event"]["source"].as_str().unwrap().to_owned()
    };
    assert_eq!(sealed("21.5"), "tasmota/kitchen/DS18B20.temperature");
    // Messages of one connection come in order, so the one between was dropped.
    assert_eq!(sealed("22.5"), "tasmota/kitchen/DS18B20.temperature");
    assert!(
        !site.events("SENSOR_READING").iter().any(|it| it["envelope"]["event"]["new"] == "66.6")
    );
    let oven = device("oven", &ca, &[report("oven", "180")]);
    oven.says("connected");
    assert_eq!(sealed("180"), "tasmota/oven/DS18B20.temperature");
    assert!(!kitchen.has_said("heard"), "it hears what others report");
    until("what it may not do is told", || {
        let refused = order(&site, &["refused"]);
        let told =
            |words: &str| refused.lines().any(|it| it.contains("kitchen") && it.contains(words));
        let all = ["it may not publish to `tele.oven.SENSOR`", "it may not hear `>`"];
        all.iter().all(|words| told(words)).then_some(())
    });
    assert!(order(&site, &["list"]).contains("tele.kitchen.SENSOR"));

    order(&site, &["revoke", "kitchen"]);
    kitchen.says("closed");
    device("kitchen", &ca, &[]).says("refused");
    site.stop();
}
