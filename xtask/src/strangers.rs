//! Programs of other makers that the end-to-end tests meet: Prometheus' promtool, mosquitto, tshark
//! and libfaketime from Debian's packages; NATS' own command line and two clients of registries,
//! which Go builds.
//!
//! What a system cannot have is left out here. The tests that need it report that they are skipped.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    build, debian,
    shell::{command, output, root, run, say, target},
};

/// Packages whose programs the tests look for in PATH. None of them starts a service.
const PACKAGES: [&str; 2] = ["mosquitto-clients", "tshark"];
/// Programs of these packages.
const PROGRAMS: [&str; 2] = ["/usr/bin/mosquitto_sub", "/usr/bin/tshark"];
/// Folder that pins NATS' command line.
const NATS_CLI: &str = "crates/sealwire/tests/e2e/natscli";
/// Folder that pins the clients of registries.
const OCI_TOOLS: &str = "crates/sealwire/tests/e2e/ocitools";

/// Folder of the device that runs under MicroPython.
const MICROPYTHON: &str = "crates/sealwire/tests/e2e/off_loopback/micropython";

/// Installs MicroPython, and umqtt.simple beside the device that imports it.
pub(crate) fn install_micropython() -> Result<()> {
    build::install_npm_packages(MICROPYTHON)?;
    let folder = root().join(MICROPYTHON);
    let script = folder.join("fetch_umqtt.py");
    let fetched = folder.join("node_modules/umqtt.py");
    // npm makes its folder anew when it installs other packages, so the file lies beside a copy of
    // the script that pins it.
    let (pinned, installed) = (fs::read(&script)?, folder.join("node_modules/fetched_by.py"));
    if fs::read(&installed).is_ok_and(|bytes| bytes == pinned) {
        return Ok(());
    }
    run("fetching umqtt.simple", command("python3").arg(&script).arg(&fetched))?;
    fs::write(&installed, pinned).context("cannot note what is installed")
}

/// The paths of those that are not in PATH, as the variables in which the tests look for them.
pub(crate) fn variables() -> Result<Vec<(&'static str, PathBuf)>> {
    if !PROGRAMS.iter().all(|program| Path::new(program).exists()) {
        debian::install(&PACKAGES)?;
    }
    let mut variables = Vec::new();
    for (name, found) in [
        ("PROMTOOL", promtool as fn() -> Result<Option<PathBuf>>),
        ("MOSQUITTO", mosquitto),
        ("NATS_CLI", nats_cli),
        ("CRANE", crane),
        ("ORAS", oras),
        ("LIBFAKETIME", libfaketime),
    ] {
        let named = std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
        let path = named.map_or_else(found, |path| Ok(Some(path)))?;
        variables.extend(path.map(|path| (name, path)));
    }
    Ok(variables)
}

/// Prometheus' own check of metrics: 19 MB.
fn promtool() -> Result<Option<PathBuf>> {
    let installed = PathBuf::from("/usr/bin/promtool");
    if installed.exists() {
        return Ok(Some(installed));
    }
    debian::unpack("prometheus", "usr/bin/promtool")
}

/// The library with which a test shifts the clock of a site, for programs with threads.
fn libfaketime() -> Result<Option<PathBuf>> {
    let folder = format!("usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    debian::unpack("libfaketime", &format!("{folder}/libfaketimeMT.so.1"))
}

/// The broker.
fn mosquitto() -> Result<Option<PathBuf>> {
    let installed = PathBuf::from("/usr/sbin/mosquitto");
    if installed.exists() {
        return Ok(Some(installed));
    }
    let unpacked = debian::unpack("mosquitto", "usr/sbin/mosquitto")?;
    // It ends with an error after its help, but without its libraries it says nothing.
    let starts = |program: &PathBuf| {
        let help = command(&program.to_string_lossy()).arg("-h").output();
        help.is_ok_and(|help| !help.stdout.is_empty())
    };
    if unpacked.as_ref().is_some_and(|program| !starts(program)) {
        debian::install_dependencies("mosquitto")?;
    }
    Ok(unpacked.filter(starts))
}

/// NATS' command line.
fn nats_cli() -> Result<Option<PathBuf>> {
    go_program(NATS_CLI, "natscli", "github.com/nats-io/natscli/nats", "nats")
}

/// Google's client of registries.
fn crane() -> Result<Option<PathBuf>> {
    go_program(OCI_TOOLS, "crane", "github.com/google/go-containerregistry/cmd/crane", "crane")
}

/// The client of registries for artifacts of any kind.
fn oras() -> Result<Option<PathBuf>> {
    go_program(OCI_TOOLS, "oras", "oras.land/oras/cmd/oras", "oras")
}

/// A program that Go builds, once for each pinned version, in about a minute. `source` pins it, and
/// `folder` below `target` is for it alone.
fn go_program(source: &str, folder: &str, package: &str, name: &str) -> Result<Option<PathBuf>> {
    let source = root().join(source);
    let folder = target().join(folder);
    let (program, installed) = (folder.join(name), folder.join("installed"));
    let pinned = fs::read_to_string(source.join("go.sum")).context("cannot read go.sum")?;
    if fs::read_to_string(&installed).is_ok_and(|text| text == pinned) {
        return Ok(Some(program));
    }
    let go = || {
        let mut go = command("go");
        go.current_dir(&source).env("GOTOOLCHAIN", "local");
        go
    };
    if output("go", &["version"]).is_none() {
        return Ok(None);
    }
    let fetched = go().args(["mod", "download"]).output().context("cannot start go")?;
    if !fetched.status.success() {
        say(&format!("no `{name}`: {}", String::from_utf8_lossy(&fetched.stderr).trim()));
        return Ok(None);
    }
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    run(&format!("building `{name}`"), go().args(["build", "-o"]).arg(&program).arg(package))?;
    fs::write(&installed, pinned).context("cannot note what is installed")?;
    Ok(Some(program))
}
