//! The tools of xtask/tools.txt.

use std::process::Command;

use anyhow::Result;

use crate::{python, shell};

const PINNED: &str = include_str!("../tools.txt");

/// A command for one of the tools, run in the project's root. The tools are installed together when
/// one is first needed.
pub(crate) fn command(program: &str) -> Result<Command> {
    let install =
        ["--require-hashes", "--only-binary", ":all:", "--requirement", "xtask/tools.txt"];
    let programs = python::environment("tools", &install, PINNED)?;
    Ok(shell::command(&programs.join(program).to_string_lossy()))
}
