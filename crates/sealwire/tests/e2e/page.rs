//! The page in a real browser.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    attacks::credentials,
    house,
    pangea::Client,
    site::{Site, until},
};

#[test]
fn the_page_shows_the_fleet_and_verifies_in_the_browser() {
    let site = Site::start(&["--simulate", "40"]);
    let out = screenshots();
    in_a_browser("page.mjs", &["--url", &site.addresses.http, "--sensors", "40", "--out", &out]);
    assert!(Path::new(&out).join("verify.png").is_file());
    verify_finds_every_lie_of_a_gateway(&site);
    keys_are_followed_from_the_one_that_was_seen_first(&site, &out);
}

#[test]
fn the_page_works_in_seven_windows_through_tunnels_and_behind_proxies() {
    let site = Site::start(&["--simulate", "40", "--page-host", "plant.example"]);
    let out = screenshots();
    let url = &site.addresses.http;
    in_a_browser("windows.mjs", &["--url", url, "--name", "plant.example", "--out", &out]);
    assert!(Path::new(&out).join("seventh-window.png").is_file());
}

fn verify_finds_every_lie_of_a_gateway(site: &Site) {
    in_a_browser("lies.mjs", &["--url", &site.addresses.http]);
}

/// This test rotates the key of the site.
fn keys_are_followed_from_the_one_that_was_seen_first(site: &Site, out: &str) {
    let data_dir = site.data_dir();
    let data_dir = data_dir.to_string_lossy();
    let sealwire = env!("CARGO_BIN_EXE_sealwire");
    let log = ["--url", &site.addresses.http, "--data-dir", &data_dir];
    in_a_browser("keys.mjs", &[&log[..], &["--sealwire", sealwire, "--out", out]].concat());
}

#[test]
fn the_page_bears_whatever_it_is_told() {
    in_a_browser("hostile.mjs", &["--out", &screenshots()]);
}

#[test]
fn a_list_of_ten_thousand_sensors_scrolls_in_few_elements() {
    in_a_browser("fleet.mjs", &["--out", &screenshots()]);
}

/// What was refused stands on the page, and whoever has a token that operates gives orders there.
#[test]
fn the_page_says_who_was_refused_and_takes_orders_from_those_who_may() {
    let mut site = Site::start(&["--simulate", "2", "--open"]);
    let data_dir = site.data_dir();
    let output = data_dir.with_file_name("credentials");
    let written = ["--output", output.to_str().unwrap()];
    credentials::order(
        &site,
        &[&["add", "Pump-1", "Pump-2", "--set", "Hall"], &written[..]].concat(),
    );
    credentials::comes_with_a_wrong_password(&site, "Hall");
    let refusals = until("the refusal is told", || {
        let (_, told) = site.get("/api/refusals");
        told["refusals"].get(0)?["who"].as_str().map(|_| told.clone())
    });
    let told = &refusals["refusals"][0];
    assert_eq!(
        (&refusals["found"], &told["who"], &told["count"]),
        (&1.into(), &"Hall".into(), &1.into())
    );
    assert_eq!((&told["covers"], &told["sensors"][1]["alias"]), (&2.into(), &"Pump-2".into()));
    assert!(told["why"].as_str().unwrap().starts_with("its password is wrong (from"), "{told}");
    let id = told["sensors"][1]["id"].as_str().unwrap();
    let of = |id: &str| site.get(&format!("/api/refusals?sensor={id}")).1["found"].clone();
    assert_eq!((of(id), of(site.sensors()[0]["id"].as_str().unwrap())), (1.into(), 0.into()));
    assert_eq!(site.get("/api/site").1["refused_devices"], 1);

    let [shift, reader] = [("shift", "operate"), ("reader", "read")]
        .map(|(name, scope)| Client::new(&site, name, scope).token);
    let url = site.addresses.http.clone();
    let tokens = ["--url", &url, "--token", &shift, "--operator", "shift", "--reader", &reader];
    let refused = ["--refused", "Hall", "--sensor", id, "--out", &screenshots()].map(String::from);
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    in_a_browser("orders.mjs", &[&tokens[..], &refused].concat());
    site.stop();
    let sealed = house::open(&data_dir);
    let by = |action: &str| {
        let of = sealed.envelopes.iter().filter(|it| it.event.action.as_deref() == Some(action));
        of.map(|it| it.event.actor.clone().unwrap()).collect::<Vec<_>>()
    };
    for action in ["POLLS_PAUSED", "POLLS_RESUMED", "POLL_INTERVAL_SET", "ANSWER_TIMEOUT_SET"] {
        assert_eq!(by(action), ["token shift"], "{action}");
    }
    assert_eq!(by("POLL_ORDERED"), ["token shift"; 2]);
}

/// Runs a script of `web/e2e`.
fn in_a_browser(script: &str, arguments: &[&str]) {
    in_a_browser_by(&[], script, arguments);
}

/// The same, started by another program, with this beginning of the command line.
pub(crate) fn in_a_browser_by(launcher: &[&str], script: &str, arguments: &[&str]) {
    let words = [launcher, &["node"]].concat();
    let output = Command::new(words[0])
        .args(&words[1..])
        .current_dir(root().join("web"))
        .arg(format!("e2e/{script}"))
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}

pub(crate) fn screenshots() -> String {
    let folder = root().join("target/screenshots");
    fs::create_dir_all(&folder).unwrap();
    folder.to_string_lossy().into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
