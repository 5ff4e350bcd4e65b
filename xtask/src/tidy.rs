//! Holds the layout: which crate may know which, and what no file may have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    imports,
    shell::{self, root, say},
};

/// Each package with those of ours it may depend on. A package that is not here, or an arrow that is not, is refused.
const ARROWS: &[(&str, &[&str])] = &[
    // What does no IO.
    ("model", &[]),
    ("tlog", &[]),
    ("poll", &["model"]),
    ("key-history", &["model", "tlog"]),
    ("pangea", &["model", "tlog"]),
    // What does.
    ("clock", &["model"]),
    ("durable", &[]),
    ("work", &[]),
    ("ledger", &["durable", "key-history", "model", "tlog", "work"]),
    ("http-client", &[]),
    ("http-server", &[]),
    ("witness", &["durable", "http-client", "http-server", "ledger", "tlog", "work"]),
    ("index", &["model"]),
    ("readings", &["ledger", "model"]),
    ("engine", &["durable"]),
    ("simulator", &["clock", "model"]),
    (
        "site",
        &[
            "clock",
            "durable",
            "engine",
            "http-server",
            "index",
            "key-history",
            "ledger",
            "model",
            "pangea",
            "poll",
            "readings",
            "simulator",
            "tlog",
            "witness",
            "work",
        ],
    ),
    (
        "sealwire",
        &[
            "clock",
            "durable",
            "engine",
            "http-client",
            "index",
            "ledger",
            "model",
            "poll",
            "readings",
            "simulator",
            "site",
            "tlog",
            "witness",
        ],
    ),
    // What runs on the host and in the browser.
    ("sensor-reader", &["model"]),
    ("http-gateway", &["model"]),
    ("ui", &[]),
    ("verifier", &["key-history", "tlog"]),
    ("xtask", &[]),
    ("fuzz", &["ledger", "tlog"]),
];

/// Dependencies with which a package does IO or waits; those that do none may not have them.
const IO: [&str; 8] =
    ["tokio", "async-nats", "axum", "futures", "rusqlite", "rustix", "tracing", "getrandom"];
const WITHOUT_IO: [&str; 5] = ["model", "tlog", "poll", "key-history", "pangea"];

/// Longest source file in lines, tests included.
const LINES_MAX: usize = 800;
/// Longest line of Rust in characters: rustfmt leaves comments and texts as they are.
const COLUMNS_MAX: usize = 160;

/// Reports everything that is out of order at once.
pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    packages(&mut faults)?;
    let listed = shell::output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .context("`git ls-files` fails: tidy works in a git checkout")?;
    for file in listed.lines().map(PathBuf::from) {
        source(&file, &mut faults)?;
    }
    if !faults.is_empty() {
        bail!("out of order:\n  - {}", faults.join("\n  - "));
    }
    say("the layout is in order");
    Ok(())
}

fn packages(faults: &mut Vec<String>) -> Result<()> {
    for folder in ["crates", "components", "."] {
        let folder = root().join(folder);
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let manifest = path.join("Cargo.toml");
            let Ok(text) = fs::read_to_string(&manifest) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            package(&name, &text, faults);
            imports::check(&name, &path.join("src"), faults)?;
        }
    }
    Ok(())
}

fn package(name: &str, manifest: &str, faults: &mut Vec<String>) {
    let Some((_, allowed)) = ARROWS.iter().find(|(package, _)| *package == name) else {
        faults.push(format!("`{name}` is not in xtask's table of who may depend on whom"));
        return;
    };
    if !manifest.contains(&format!("name = \"{name}\"")) {
        faults.push(format!("the package in the folder `{name}` is called otherwise"));
    }
    if !manifest.contains("[lints]\nworkspace = true") {
        faults.push(format!("`{name}` does not take the workspace's lints"));
    }
    for dependency in dependencies(manifest) {
        let is_ours = ARROWS.iter().any(|(package, _)| *package == dependency);
        if is_ours && !allowed.contains(&dependency) {
            faults.push(format!("`{name}` may not depend on `{dependency}`"));
        }
        if WITHOUT_IO.contains(&name) && IO.contains(&dependency) {
            faults.push(format!("`{name}` does no IO and may not depend on `{dependency}`"));
        }
    }
}

/// Names in `[dependencies]`. Tests may depend on what they like.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
}

fn source(file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let is_source = file.extension().is_some_and(|extension| {
        ["rs", "ts", "svelte", "mjs", "wit", "py"].iter().any(|known| extension == *known)
    });
    let path = root().join(file);
    if !is_source || !path.exists() {
        return Ok(());
    }
    let name = file.display();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    if text.lines().count() > LINES_MAX {
        faults.push(format!("{name} has more than {LINES_MAX} lines: split it at a noun"));
    }
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    for (number, line) in (1..).zip(text.lines()) {
        if is_rust && line.chars().count() > COLUMNS_MAX {
            faults.push(format!("{name}:{number} is longer than {COLUMNS_MAX} characters"));
        }
        // Written apart, so that this file passes its own check.
        if [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")]
            .iter()
            .any(|word| line.contains(word))
        {
            faults.push(format!(
                "{name}:{number} leaves work behind: do it, or open an issue and say so there"
            ));
        }
    }
    let is_commented = text.lines().any(|line| line.starts_with("//!"));
    if is_rust && !is_commented {
        faults.push(format!("{name} does not say in a `//!` line what it is"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn faults(name: &str, dependencies: &str) -> Vec<String> {
        let manifest = format!(
            "[package]\nname = \"{name}\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n{dependencies}\n"
        );
        let mut faults = Vec::new();
        package(name, &manifest, &mut faults);
        faults
    }

    #[test]
    fn an_arrow_the_other_way_is_refused() {
        assert_eq!(
            faults("ledger", "model.workspace = true\ntlog = { workspace = true }"),
            Vec::<String>::new()
        );
        assert_eq!(
            faults("ledger", "site.workspace = true"),
            ["`ledger` may not depend on `site`"]
        );
        assert_eq!(
            faults("poll", "tokio.workspace = true"),
            ["`poll` does no IO and may not depend on `tokio`"]
        );
        assert_eq!(faults("utils", "").len(), 1);
    }
}
