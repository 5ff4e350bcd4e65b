//! Builds what must run on a chip: each of our `no_std` crates.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{
    build,
    shell::{cargo, root, run},
};

/// A Cortex-M0: no operating system, and no compare-and-swap.
const TARGET: &str = "thumbv6m-none-eabi";

/// On a chip without compare-and-swap, the firmware chooses a replacement. A build that never runs
/// may choose any.
const FLAGS: &str = "--cfg portable_atomic_unsafe_assume_single_core";

/// Builds all of these crates; there is at least one.
pub(crate) fn build() -> Result<()> {
    let packages = packages()?;
    if packages.is_empty() {
        bail!("no crate of ours is `no_std` any more");
    }
    build::add_target(TARGET)?;
    run(
        &format!("building {} for {TARGET}", packages.join(", ")),
        cargo()
            .args(["build", "--locked", "--target", TARGET])
            .args(packages.iter().flat_map(|name| ["--package", name]))
            // With `--target`, the flags do not apply to build scripts and procedural macros.
            .env("RUSTFLAGS", FLAGS),
    )
}

fn packages() -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        let Ok(text) = fs::read_to_string(entry.path().join("src/lib.rs")) else { continue };
        let file = syn::parse_file(&text)
            .with_context(|| format!("{}/src/lib.rs is not Rust", entry.path().display()))?;
        if is_no_std(&file) {
            packages.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    packages.sort();
    Ok(packages)
}

/// Matches `#![no_std]`, also with a condition such as `not(test)`.
fn is_no_std(file: &syn::File) -> bool {
    file.attrs.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("no_std"),
        syn::Meta::List(list) => {
            let mut names = list.tokens.clone().into_iter();
            list.path.is_ident("cfg_attr") && names.any(|name| name.to_string() == "no_std")
        }
        syn::Meta::NameValue(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_says_itself_that_it_is_no_std() {
        for (text, expected) in [
            ("#![no_std] fn f() {}", true),
            ("#![cfg_attr(not(test), no_std)]", true),
            ("//! Not `no_std`.\n#![warn(missing_docs)]", false),
        ] {
            assert_eq!(is_no_std(&syn::parse_file(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_signs_a_reading_or_verifies_a_log_runs_on_a_chip() {
        let packages = packages().unwrap();
        for name in ["key-history", "model", "tlog", "wire"] {
            assert!(packages.iter().any(|package| package == name), "{name}");
        }
    }
}
