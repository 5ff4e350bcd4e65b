//! The page in a real browser.

use std::{fs, path::Path, process::Command};

use crate::site::Site;

#[test]
fn the_page_shows_the_fleet_and_verifies_in_the_browser() {
    let site = Site::start(&["--simulate", "40"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let screenshots = root.join("target/screenshots");
    fs::create_dir_all(&screenshots).unwrap();
    let output = Command::new("node")
        .current_dir(root.join("web"))
        .args(["e2e/page.mjs", "--url", &site.addresses.http, "--sensors", "40", "--out"])
        .arg(&screenshots)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert!(screenshots.join("verify.png").is_file());
}
