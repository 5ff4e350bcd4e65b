//! The project's files, and its Rust, which is parsed once for all rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use crate::shell::{self, root};

/// Files by their paths in the project; what git ignores is not among them.
pub(super) type Files = BTreeSet<PathBuf>;

/// The Rust files among them.
pub(super) type Code = BTreeMap<PathBuf, syn::File>;

/// Lists the files that git knows or would add.
pub(super) fn list() -> Result<Files> {
    let listed = shell::output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .context("`git ls-files` fails: tidy works in a git checkout")?;
    // What was removed is listed until git is told.
    Ok(listed.lines().map(PathBuf::from).filter(|file| root().join(file).exists()).collect())
}

/// Parses the Rust files among these.
pub(super) fn parse(files: &Files) -> Result<Code> {
    let mut code = Code::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|is| is == "rs")) {
        let name = file.display();
        let text = fs::read_to_string(root().join(file));
        let text = text.with_context(|| format!("cannot read {name}"))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("{name} is not Rust"))?;
        code.insert(file.clone(), parsed);
    }
    Ok(code)
}
