//! The page in a real browser.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::site::Site;

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

/// Runs a script of `web/e2e`.
fn in_a_browser(script: &str, arguments: &[&str]) {
    let output = Command::new("node")
        .current_dir(root().join("web"))
        .arg(format!("e2e/{script}"))
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}

fn screenshots() -> String {
    let folder = root().join("target/screenshots");
    fs::create_dir_all(&folder).unwrap();
    folder.to_string_lossy().into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
