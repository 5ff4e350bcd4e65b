//! `sealwire run-engine`: the subcommand with which a site starts its engines.

use anyhow::{Context as _, Result};
use engine::supervise::exec_bound_to_parent;

use crate::cli::RunEngineArguments;

/// Returns only if the engine cannot be started.
pub(crate) fn run(arguments: &RunEngineArguments) -> Result<()> {
    let RunEngineArguments { gives_way, parent, folder, program, arguments } = arguments;
    let never = exec_bound_to_parent(*parent, *gives_way, folder, program, arguments)
        .with_context(|| format!("cannot start {}", program.display()))?;
    match never {}
}
