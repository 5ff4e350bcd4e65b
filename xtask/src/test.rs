//! Everything that CI runs, cheapest first.
//!
//! The end-to-end tests come last, so that the run ends with cargo's own summary of them.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    book, build, check, debian, python,
    shell::{cargo, command, root, run, say, target},
    soak, strangers,
};

/// Python packages of the tests: independent clients of NATS (with the keys of its own that a
/// device shows) and MQTT, Pangea's SDK, and a tool that checks a server against an OpenAPI
/// document.
const PYTHON_PACKAGES: [&str; 5] = [
    "nats-py==2.16.0",
    "nkeys==0.2.1",
    "paho-mqtt==2.1.0",
    "pangea-sdk==6.13.0",
    "schemathesis==4.32.5",
];
/// Folder of the test with Pangea's Node SDK.
const NODE_SDK: &str = "crates/sealwire/tests/e2e/pangea/node";
/// Paths at which the page's browser tests look for Chromium, unless CHROMIUM names it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Builds everything and runs every check and test.
pub(crate) fn all() -> Result<()> {
    check::all()?;
    book::build()?;
    let python = python()?;
    build::install_npm_packages(NODE_SDK)?;
    strangers::install_micropython()?;
    let chromium = chromium()?;
    let strangers = strangers::variables()?;
    build::all(build::Profile::Dev)?;
    let web = root().join("web");
    build::install_page_tools()?;
    run("the page's unit tests", command("npm").current_dir(&web).args(["test", "--silent"]))?;
    run(
        "documentation",
        cargo()
            .args([
                "doc",
                "--locked",
                "--workspace",
                "--no-deps",
                "--document-private-items",
                "--quiet",
            ])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    run(
        "the documentation's examples",
        cargo().args(["test", "--locked", "--workspace", "--doc", "--quiet"]),
    )?;
    run(
        "integration tests",
        cargo().args(["test", "--locked", "--workspace", "--exclude", "sealwire", "--test", "*"]),
    )?;
    soak::short()?;
    let mut end_to_end = cargo();
    end_to_end
        .args(["test", "--locked", "--package", "sealwire", "--test", "e2e"])
        .env("SEALWIRE_TEST_PYTHON", python)
        .env("CHROMIUM", chromium)
        .envs(strangers);
    run("end-to-end tests", &mut end_to_end)
}

/// The project's own Python with the packages of the tests.
fn python() -> Result<PathBuf> {
    let programs = python::environment("python", &PYTHON_PACKAGES, &PYTHON_PACKAGES.join("\n"))?;
    Ok(programs.join("python"))
}

/// Path of Chromium. If it is missing and Debian packages can be installed, it is installed.
fn chromium() -> Result<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from(CHROMIUM), PathBuf::from);
    if named.exists() {
        return Ok(named);
    }
    if !debian::install(&["chromium"])? {
        bail!(
            "there is no Chromium at {}: install it (on Debian `sudo apt-get install chromium`), or name it in CHROMIUM",
            named.display()
        );
    }
    if !named.exists() {
        bail!("the package chromium brought no {}: name the program in CHROMIUM", named.display());
    }
    Ok(named)
}

/// Runs a release build of a site and prints the figures of docs/performance.md.
pub(crate) fn measure() -> Result<()> {
    let binary = build::all(build::Profile::Release)?;
    let chromium = chromium()?;
    build::install_page_tools()?;
    say("measuring; this takes half an hour");
    run(
        "measuring a small site",
        command("node").args(["web/e2e/measure.mjs"]).arg(&binary).env("CHROMIUM", chromium),
    )?;
    run(
        "measuring polling",
        command(&binary.to_string_lossy())
            .args(["bench", "polling", "--json", "--folder"])
            .arg(target()),
    )?;
    run(
        "measuring a large site",
        command(&binary.to_string_lossy())
            .args(["bench", "site", "--json", "--folder"])
            .arg(target()),
    )
}
