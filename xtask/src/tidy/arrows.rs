//! Which package may know which: each only those in the rows above its own.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

/// Our packages, from the ground up. Those of one row do not know each other.
const ROWS: &[&[&str]] = &[
    &["durable", "http-client", "http-server", "model", "tlog", "wire", "work"],
    &["clock", "engine", "key-history", "nats"],
    &["access", "index", "lattice", "ledger", "pangea", "poll", "pushed", "simulator", "tls"],
    &["data-dir", "readings", "registry", "witness"],
    &["orders", "services"],
    &["log-http", "page-http", "pangea-http"],
    &["site"],
    &["sealwire"],
    &["fuzz", "xtask"],
];

/// Packages that run on a host, in the browser or on a chip, too: they do no IO and wait for
/// nothing.
const PURE: [&str; 7] = ["key-history", "model", "pangea", "poll", "pushed", "tlog", "wire"];

/// What runs on the host and in the browser: it may know what is pure, and nothing else of ours.
const COMPONENTS: [&str; 9] = [
    "event-logger",
    "http-gateway",
    "pangea-api",
    "sensor-reader",
    "test-application",
    "test-processor",
    "test-reader",
    "ui",
    "verifier",
];

/// Dependencies with which a package does IO or waits.
const IO: [&str; 8] =
    ["tokio", "async-nats", "axum", "futures", "rusqlite", "rustix", "tracing", "getrandom"];

/// Reports what is out of order in the manifest of the package in the folder `name`.
pub(super) fn check(name: &str, manifest: &str, faults: &mut Vec<String>) -> Result<()> {
    let table: Table =
        manifest.parse().with_context(|| format!("the manifest of `{name}` is not TOML"))?;
    let own_row = row_of(name);
    if own_row.is_none() && !COMPONENTS.contains(&name) {
        faults.push(format!("`{name}` is not in tidy's table of packages: name its row"));
        return Ok(());
    }
    if lookup(&table, &["package", "name"]).and_then(Value::as_str) != Some(name) {
        faults.push(format!("the package in the folder `{name}` has another name"));
    }
    if lookup(&table, &["lints", "workspace"]).and_then(Value::as_bool) != Some(true) {
        faults.push(format!("`{name}` does not take the workspace's lints"));
    }
    let oldest = lookup(&table, &["package", "rust-version"]);
    if oldest.and_then(|oldest| oldest.get("workspace")).and_then(Value::as_bool) != Some(true) {
        faults.push(format!("`{name}` does not promise the workspace's `rust-version`"));
    }
    for dependency in dependencies(&table) {
        let row = row_of(dependency);
        let is_pure = PURE.contains(&dependency);
        let is_allowed = match (row, own_row) {
            (None, _) => !COMPONENTS.contains(&dependency),
            (Some(row), Some(own_row)) => row < own_row,
            (Some(_), None) => is_pure,
        };
        if !is_allowed || PURE.contains(&name) && row.is_some() && !is_pure {
            faults.push(format!("`{name}` may not depend on `{dependency}`"));
        }
        if PURE.contains(&name) && IO.contains(&dependency) {
            faults.push(format!("`{name}` does no IO and may not depend on `{dependency}`"));
        }
    }
    Ok(())
}

fn row_of(package: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&package))
}

/// Dependencies of the library or program, on whichever system. Tests may depend on what they like.
fn dependencies(manifest: &Table) -> Vec<&str> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets =
        targets.into_iter().flat_map(|targets| targets.values().filter_map(Value::as_table));
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")])
        .filter_map(|dependencies| dependencies?.as_table())
        .flat_map(|dependencies| dependencies.keys().map(String::as_str))
        .collect()
}

fn lookup<'a>(table: &'a Table, path: &[&str; 2]) -> Option<&'a Value> {
    table.get(path[0])?.get(path[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn faults(name: &str, dependencies: &str) -> Vec<String> {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nrust-version.workspace = true\n\n[lints]\nworkspace = true\n\n{dependencies}\n"
        );
        faults_of(name, &manifest)
    }

    fn faults_of(name: &str, manifest: &str) -> Vec<String> {
        let mut faults = Vec::new();
        check(name, manifest, &mut faults).unwrap();
        faults
    }

    #[test]
    fn a_package_takes_lints_and_oldest_rust_from_the_workspace() {
        let lints = "[lints]\nworkspace = true";
        for package in ["", "rust-version = \"1.90\"", "rust-version.workspace = false"] {
            assert_eq!(
                faults_of("ledger", &format!("[package]\nname = \"ledger\"\n{package}\n{lints}")),
                ["`ledger` does not promise the workspace's `rust-version`"],
                "{package}"
            );
        }
        assert_eq!(
            faults_of("ledger", "[package]\nname = \"ledger\"\nrust-version.workspace = true"),
            ["`ledger` does not take the workspace's lints"]
        );
    }

    #[test]
    fn an_arrow_upwards_or_within_a_row_is_refused_on_every_system() {
        let fine = "[dependencies]\nmodel.workspace = true\ntlog = { workspace = true }";
        assert_eq!(faults("ledger", fine), Vec::<String>::new());
        for (name, dependencies, refused) in [
            ("ledger", "[dependencies]\nsite.workspace = true", "site"),
            ("ledger", "[target.'cfg(unix)'.dependencies]\nsite = { path = \"\" }", "site"),
            ("ledger", "[build-dependencies]\nindex.workspace = true", "index"),
            ("services", "[dependencies]\norders.workspace = true", "orders"),
            ("poll", "[dependencies]\nclock.workspace = true", "clock"),
            ("ui", "[dependencies]\nledger.workspace = true", "ledger"),
        ] {
            let expected = [format!("`{name}` may not depend on `{refused}`")];
            assert_eq!(faults(name, dependencies), expected, "{dependencies}");
        }
        assert_eq!(faults("ledger", "[dev-dependencies]\nsite.workspace = true").len(), 0);
        assert_eq!(
            faults("poll", "[dependencies]\ntokio.workspace = true"),
            ["`poll` does no IO and may not depend on `tokio`"]
        );
        assert_eq!(faults("utils", "").len(), 1);
    }
}
