//! `sealwire component build`: has the tools of a language compile a project, and makes a component
//! of what they give.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use wit_component::ComponentEncoder;

use super::world;
use crate::output;

/// Rust's target without WASI: a component imports what its world names and nothing else.
const TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn run(folder: &Path) -> Result<()> {
    let component = if folder.join("Cargo.toml").exists() {
        rust(folder)?
    } else if folder.join("package.json").exists() {
        javascript(folder)?
    } else {
        bail!(
            "{} has neither a Cargo.toml nor a package.json: `sealwire component new` starts a \
             project",
            output::quoted(folder)
        )
    };
    let bytes = world::read(&component)?.len();
    output::line(&format!("{} ({} kB)", output::quoted(&component), bytes.div_ceil(1_000)));
    Ok(())
}

/// What a project calls itself.
#[derive(Deserialize)]
struct Package {
    name: String,
}

/// A line that cargo prints.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn rust(folder: &Path) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Package,
    }
    let manifest = folder.join("Cargo.toml");
    let failed = || format!("cannot read {}", output::quoted(&manifest));
    let text = fs::read_to_string(&manifest).with_context(failed)?;
    let Manifest { package: Package { name } } = toml::from_str(&text).with_context(failed)?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let told = cargo.current_dir(folder).stderr(Stdio::inherit()).output();
    let told = told.context("cannot run cargo: get Rust at https://rustup.rs")?;
    if !told.status.success() {
        bail!("cargo has not built it (without rustup, install Rust's library for {TARGET} first)");
    }
    let files = told.stdout.split(|byte| *byte == b'\n').filter_map(|line| {
        // Other lines are about other things.
        serde_json::from_slice::<Message>(line).ok()
    });
    let is_module = |file: &PathBuf| file.extension().is_some_and(|is| is == "wasm");
    // The package itself is compiled last.
    let module = files.flat_map(|message| message.filenames).rfind(is_module);
    let module = module.context("cargo has made no module: `crate-type` must be [\"cdylib\"]")?;
    let read = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = ComponentEncoder::default().validate(true).module(&read)?.encode()?;
    let path = folder.join(format!("{name}.wasm"));
    fs::write(&path, component)
        .with_context(|| format!("cannot write {}", output::quoted(&path)))?;
    Ok(path)
}

fn javascript(folder: &Path) -> Result<PathBuf> {
    let manifest = folder.join("package.json");
    let failed = || format!("cannot read {}", output::quoted(&manifest));
    let text = fs::read(&manifest).with_context(failed)?;
    let Package { name } = serde_json::from_slice(&text).with_context(failed)?;
    if !folder.join("node_modules").exists() {
        npm(folder, &["ci", "--prefer-offline", "--no-audit", "--no-fund"])?;
    }
    npm(folder, &["run", "--silent", "build"])?;
    Ok(folder.join(format!("{name}.wasm")))
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    // Standard output is for the result.
    let status = npm.args(arguments).current_dir(folder).stdout(io::stderr()).status();
    let status = status.context("cannot run npm: get Node.js at https://nodejs.org")?;
    if !status.success() {
        bail!("`npm {}` fails", arguments.join(" "));
    }
    Ok(())
}
