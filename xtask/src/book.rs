//! Builds docs as a book with mdBook. `tidy` checks where links lead.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, command, root, run, say, target};

/// The version of mdBook's own crate. There are wheels, but only from other people.
const MDBOOK: &str = "0.5.4";

/// Builds the book, if there is a book.toml. A warning of mdBook is a failure.
pub(crate) fn build() -> Result<()> {
    if !root().join("book.toml").exists() {
        return Ok(());
    }
    let mdbook = mdbook()?;
    say("building the book");
    let output = command(&mdbook.to_string_lossy())
        .arg("build")
        .output()
        .with_context(|| format!("cannot start {}", mdbook.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || warns(&said) {
        bail!("mdbook build is not content:\n{said}");
    }
    Ok(())
}

fn warns(said: &str) -> bool {
    said.split_whitespace().any(|word| word == "WARN" || word == "ERROR")
}

/// Path of mdBook. It is compiled when it is first needed, without optimisation, which takes a
/// minute.
fn mdbook() -> Result<PathBuf> {
    let folder = target().join(format!("mdbook-{MDBOOK}"));
    let program = folder.join("bin/mdbook");
    if program.exists() {
        return Ok(program);
    }
    let build = folder.join("build");
    run(
        "building mdbook (a minute, the first time)",
        cargo()
            .args(["install", "--quiet", "--locked", "--debug", "--no-default-features"])
            .arg("--root")
            .arg(&folder)
            .arg("--target-dir")
            .arg(&build)
            .arg(format!("mdbook@{MDBOOK}"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false"),
    )?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_mdbook_is_noticed() {
        assert!(!warns(" INFO Book building has started\n INFO HTML book written to `book`\n"));
        assert!(warns(" INFO Book building has started\n WARN unclosed HTML tag `<div>`\n"));
    }
}
