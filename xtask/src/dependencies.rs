//! Whether the dependencies are those that we want: cargo-deny, by the rules of deny.toml.

use anyhow::Result;

use crate::{shell::run, tools};

/// Licences, bans, second versions and sources.
pub(crate) fn check() -> Result<()> {
    let mut deny = tools::command("cargo-deny")?;
    deny.args(["--locked", "check", "--deny", "warnings", "--hide-inclusion-graph"]);
    run("dependencies by deny.toml", deny.args(["licenses", "bans", "sources"]))
}
