//! What can be told in under a minute when nothing big has changed: no engine, no browser, no page.
//!
//! The order is that of what costs least.

use anyhow::Result;

use crate::{
    build, chip, dependencies, oldest_rust,
    shell::{cargo, run},
    tidy, tools,
};

/// Runs every quick check.
pub(crate) fn all() -> Result<()> {
    tidy::check()?;
    run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    run("spelling", &mut tools::command("typos")?)?;
    dependencies::check()?;
    lints()?;
    oldest_rust::check()?;
    chip::build()?;
    run(
        "unit tests",
        cargo().args(["test", "--locked", "--workspace", "--lib", "--bins", "--quiet"]),
    )
}

/// Those of this machine's code, and those of the components'.
fn lints() -> Result<()> {
    let clippy = ["clippy", "--locked", "--quiet"];
    let deny = ["--", "--deny", "warnings"];
    run("lints", cargo().args(clippy).args(["--workspace", "--all-targets"]).args(deny))?;
    build::add_target(build::WASM_TARGET)?;
    run(
        "the components' lints",
        cargo()
            .args(clippy)
            .args(["--target", build::WASM_TARGET])
            .args(
                build::COMPONENTS
                    .iter()
                    .chain(&build::TEST_COMPONENTS)
                    .flat_map(|name| ["--package", name]),
            )
            .args(deny),
    )
}
