//! The page in a real browser.

use std::{fs, path::Path, process::Command};

use crate::site::Site;

#[test]
fn the_page_shows_the_fleet_and_verifies_in_the_browser() {
    let site = Site::start(&["--simulate", "40"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let screenshots = root.join("target/screenshots");
    fs::create_dir_all(&screenshots).unwrap();
    let out = screenshots.to_string_lossy();
    in_a_browser("page.mjs", &site, &["--sensors", "40", "--out", &out]);
    assert!(screenshots.join("verify.png").is_file());
    verify_finds_every_lie_of_a_gateway(&site);
    keys_are_followed_from_the_one_that_was_seen_first(&site, &out);
}

fn verify_finds_every_lie_of_a_gateway(site: &Site) {
    in_a_browser("lies.mjs", site, &[]);
}

/// It rotates the key of the site.
fn keys_are_followed_from_the_one_that_was_seen_first(site: &Site, out: &str) {
    let data_dir = site.data_dir();
    let data_dir = data_dir.to_string_lossy();
    let sealwire = env!("CARGO_BIN_EXE_sealwire");
    let arguments = ["--sealwire", sealwire, "--data-dir", &data_dir, "--out", out];
    in_a_browser("keys.mjs", site, &arguments);
}

/// Runs a script of `web/e2e` against a site.
pub(crate) fn in_a_browser(script: &str, site: &Site, arguments: &[&str]) {
    let output = Command::new("node")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web"))
        .arg(format!("e2e/{script}"))
        .args(["--url", &site.addresses.http])
        .args(arguments)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}
