//! Holds the layout: which crate may know which, and what no file may have.

mod arrows;
mod imports;
mod links;
mod names;
mod sources;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use self::sources::Code;
use crate::shell::{root, say};

/// Longest source file in lines, tests included.
const LINES_MAX: usize = 800;
/// Longest line of a comment in Rust in characters; a row of a table may be longer.
const COMMENT_COLUMNS_MAX: usize = 100;
/// Longest line of Rust in characters where rustfmt leaves it: in texts and in macros.
const COLUMNS_MAX: usize = 160;

/// Largest file in bytes. What is larger was built or downloaded, and does not belong here.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Reports everything that is out of order at once.
pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    let files = sources::list()?;
    let code = sources::parse(&files)?;
    packages(&code, &mut faults)?;
    names::check(&files, &code, &mut faults)?;
    links::check(&files, &mut faults)?;
    for file in &files {
        size(file, &mut faults)?;
        source(file, &mut faults)?;
    }
    if !faults.is_empty() {
        bail!("out of order:\n  - {}", faults.join("\n  - "));
    }
    say("the layout is in order");
    Ok(())
}

fn packages(code: &Code, faults: &mut Vec<String>) -> Result<()> {
    for folder in ["crates", "components", ""] {
        for entry in fs::read_dir(root().join(folder))? {
            let name = entry?.file_name();
            let path = Path::new(folder).join(&name);
            let manifest = root().join(&path).join("Cargo.toml");
            let Ok(text) = fs::read_to_string(&manifest) else { continue };
            let name = name.to_string_lossy();
            arrows::check(&name, &text, faults)?;
            imports::check(&name, &path.join("src"), code, faults);
        }
    }
    Ok(())
}

fn size(file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let name = file.display();
    let bytes = fs::metadata(root().join(file)).with_context(|| format!("no {name}"))?.len();
    if bytes > FILE_BYTES_MAX {
        faults.push(format!("{name} has {bytes} bytes, more than {FILE_BYTES_MAX}: leave it out"));
    }
    Ok(())
}

fn source(file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let is_source = file.extension().is_some_and(|extension| {
        ["rs", "ts", "svelte", "mjs", "wit", "py"].iter().any(|known| extension == *known)
    });
    if !is_source {
        return Ok(());
    }
    let name = file.display();
    let text =
        fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {name}"))?;
    if text.lines().count() > LINES_MAX {
        faults.push(format!("{name} has more than {LINES_MAX} lines: split it at a noun"));
    }
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    for (number, line) in (1..).zip(text.lines()) {
        let text = line.trim_start();
        let is_prose = text.starts_with("//") && !text.contains(" |");
        let columns_max = if is_prose { COMMENT_COLUMNS_MAX } else { COLUMNS_MAX };
        if is_rust && line.chars().count() > columns_max {
            faults.push(format!("{name}:{number} is longer than {columns_max} characters"));
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
