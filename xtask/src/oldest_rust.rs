//! Whether the Rust that Cargo.toml promises, its `rust-version`, builds everything.
//!
//! Clippy refuses what the standard library has only in a newer Rust (`incompatible_msrv`). It does
//! not see syntax that is newer. That takes the promised Rust itself, which not every machine may
//! install. So everything is checked with it where it is there, and otherwise this says that it was
//! not.

use std::fs;

use anyhow::{Context as _, Result};
use toml::Table;

use crate::shell::{command, output, root, run, say, target};

/// How to check the promise on this machine.
#[derive(Debug, Eq, PartialEq)]
enum Way {
    /// All other checks do: they run with this very Rust.
    IsActive,
    /// With another toolchain, by its name.
    With(String),
    /// Not at all.
    Skip,
}

/// Checks it as far as this machine can.
pub(crate) fn check() -> Result<()> {
    let promised = promised()?;
    let active = output("rustc", &["--version"]).context("`rustc --version` fails")?;
    // Without rustup there are no others.
    let installed = output("rustup", &["toolchain", "list"]).unwrap_or_default();
    match way(&promised, &active, &installed) {
        Way::IsActive => {
            say(&format!("Rust {promised}, the oldest that is promised, is the one that runs"));
            Ok(())
        }
        Way::With(toolchain) => run(
            &format!("building with Rust {promised}, the oldest that is promised"),
            // Not with the `cargo` that runs us: only rustup's takes a toolchain.
            command("cargo")
                .arg(format!("+{toolchain}"))
                .args(["check", "--locked", "--quiet", "--workspace", "--all-targets"])
                // Else each of the two would build again what the other did.
                .arg("--target-dir")
                .arg(target().join("oldest-rust")),
        ),
        Way::Skip => {
            say(&format!(
                "skipped: a build with Rust {promised}, the oldest that is promised; it needs \
                 `rustup toolchain install {promised}`"
            ));
            Ok(())
        }
    }
}

fn promised() -> Result<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let table: Table = text.parse().context("Cargo.toml is not TOML")?;
    let version = ["workspace", "package"]
        .iter()
        .try_fold(&table, |table, name| table.get(*name)?.as_table())
        .and_then(|package| package.get("rust-version")?.as_str());
    Ok(version.context("Cargo.toml promises no `rust-version`")?.to_owned())
}

/// `active` is what `rustc --version` prints, `installed` what `rustup toolchain list` does.
fn way(promised: &str, active: &str, installed: &str) -> Way {
    let numbers = numbers(promised);
    if active.split(' ').nth(1).is_some_and(|version| self::numbers(version) == numbers) {
        return Way::IsActive;
    }
    let names = installed.lines().filter_map(|line| line.split(' ').next());
    // `1.95-x86_64-unknown-linux-gnu`, `1.95.0-...`.
    let is_it = |name: &&str| name.split('-').next().is_some_and(|v| self::numbers(v) == numbers);
    names.into_iter().find(is_it).map_or(Way::Skip, |name| Way::With(name.to_owned()))
}

/// The first two numbers of a version: a patch adds nothing that code could need.
fn numbers(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promised_rust_is_taken_where_it_is_there() {
        let installed = "stable-x86_64-unknown-linux-gnu (active, default)\n\
                         1.94.1-x86_64-unknown-linux-gnu\n\
                         1.95.0-x86_64-unknown-linux-gnu\n";
        let it = || Way::With(String::from("1.95.0-x86_64-unknown-linux-gnu"));
        for (promised, active, installed, expected) in [
            ("1.95", "rustc 1.95.0 (59807616e 2026-04-14)", "", Way::IsActive),
            ("1.95", "rustc 1.95.1 (59807616e 2026-05-14)", installed, Way::IsActive),
            ("1.95", "rustc 1.97.0 (e50aa6fba 2026-07-09)", installed, it()),
            ("1.95.0", "rustc 1.97.0 (e50aa6fba 2026-07-09)", installed, it()),
            // Neither 1.9 nor 1.950.
            ("1.9", "rustc 1.97.0 (e50aa6fba 2026-07-09)", installed, Way::Skip),
            ("1.95", "rustc 1.950.0 (e50aa6fba 2046-07-09)", "", Way::Skip),
        ] {
            assert_eq!(way(promised, active, installed), expected, "{promised} {active}");
        }
    }

    #[test]
    fn something_is_promised() {
        assert!(!promised().unwrap().is_empty());
    }
}
