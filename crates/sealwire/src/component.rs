//! `sealwire component`: this version's components, for registries and hosts elsewhere.

use anyhow::{Result, bail};

use crate::{
    cli::{ComponentArguments, ComponentCommand},
    components, output,
};

pub(crate) fn run(arguments: &ComponentArguments) -> Result<()> {
    let ComponentCommand::Export { folder } = &arguments.command;
    let images = site::images(&components::all());
    if images.is_empty() {
        bail!("this sealwire was built without components: build it with `cargo xtask build`");
    }
    registry::write_layout(folder, &images)?;
    for image in &images {
        output::line(&format!("{}@{}", image.name(), image.digest()));
    }
    Ok(())
}
