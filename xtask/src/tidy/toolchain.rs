//! The oldest Rust that builds the project is the one that tests it.
//!
//! Cargo.toml promises it as `rust-version`, and rust-toolchain.toml has rustup take it. So code
//! that needs a newer Rust fails to build here, before it fails for somebody who believed the
//! promise.

use std::fs;

use anyhow::{Context as _, Result};
use toml::Table;

use crate::shell::root;

/// Reports where the two files disagree.
pub(super) fn check(faults: &mut Vec<String>) -> Result<()> {
    let read = |file: &str| -> Result<Table> {
        let text =
            fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"))?;
        text.parse().with_context(|| format!("{file} is not TOML"))
    };
    report(&read("Cargo.toml")?, &read("rust-toolchain.toml")?, faults);
    Ok(())
}

fn report(workspace: &Table, toolchain: &Table, faults: &mut Vec<String>) {
    let promised = text(workspace, &["workspace", "package", "rust-version"]);
    let taken = text(toolchain, &["toolchain", "channel"]);
    if promised.is_empty() || numbers(promised) != numbers(taken) {
        faults.push(format!(
            "Cargo.toml promises to build with Rust `{promised}`, and rust-toolchain.toml takes `{taken}`"
        ));
    }
}

/// The first two numbers of a version: a patch adds nothing that code could need.
fn numbers(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn text<'a>(table: &'a Table, path: &[&str]) -> &'a str {
    let (last, tables) = path.split_last().expect("a path has a last name");
    let table = tables.iter().try_fold(table, |table, name| table.get(*name)?.as_table());
    table.and_then(|table| table.get(*last)?.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rust_than_the_promised_one_is_refused() {
        let workspace = "[workspace.package]\nrust-version = \"1.95\"".parse().unwrap();
        for (channel, expected) in
            [("1.95", 0), ("1.95.0", 0), ("1.95.1", 0), ("1.96.0", 1), ("stable", 1), ("", 1)]
        {
            let toolchain = format!("[toolchain]\nchannel = \"{channel}\"").parse().unwrap();
            let mut faults = Vec::new();
            report(&workspace, &toolchain, &mut faults);
            assert_eq!(faults.len(), expected, "{channel}: {faults:?}");
        }
        let mut faults = Vec::new();
        report(&Table::new(), &Table::new(), &mut faults);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
