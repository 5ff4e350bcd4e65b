//! Checks the dependencies: cargo-deny with the rules of deny.toml, and cargo-shear for unused
//! ones.

use anyhow::Result;

use crate::{shell::run, tools};

/// Checks licences, bans, duplicate versions and sources, and that each dependency is used.
pub(crate) fn check() -> Result<()> {
    let mut deny = tools::command("cargo-deny")?;
    deny.args(["--locked", "check", "--deny", "warnings", "--hide-inclusion-graph"]);
    run("dependencies by deny.toml", deny.args(["licenses", "bans", "sources"]))?;
    let mut shear = tools::command("cargo-shear")?;
    run("unused dependencies", shear.args(["--locked", "--deny-warnings"]))
}
