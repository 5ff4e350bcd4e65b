//! `sealwire component`: this version's components, for registries and hosts elsewhere, users' own
//! processors from their first file to the registry, and signatures of images.

mod build;
mod compare;
mod history;
mod new;
pub(crate) mod project_name;
mod publisher;
mod push;
mod remote;
mod signatures;
mod test;
mod world;

use std::path::Path;

use anyhow::{Result, bail};
use lattice::Cluster;
use serde_json::json;

use self::remote::Remote;
use crate::{
    cli::{ComponentArguments, ComponentCommand, ManifestsArguments},
    components, output, processors,
};

pub(crate) fn run(arguments: ComponentArguments) -> Result<()> {
    match arguments.command {
        ComponentCommand::New(arguments) => new::run(&arguments),
        ComponentCommand::Build { folder } => build::run(&folder),
        ComponentCommand::Test(arguments) => test::run(&arguments),
        ComponentCommand::Push(arguments) => push::run(&arguments),
        ComponentCommand::Export { folder } => export(&folder),
        ComponentCommand::Manifests(arguments) => manifests(arguments),
        ComponentCommand::Key { file, name } => {
            output::line(&publisher::create(&file, name)?.vkey().to_string());
            Ok(())
        }
        ComponentCommand::Sign { image, key, registry } => {
            signatures::sign(&image, &publisher::load(&key)?, &Remote::new(&registry)?)
        }
        ComponentCommand::Signatures { image, vkey, registry } => {
            signatures::show(&image, &vkey, &Remote::new(&registry)?)
        }
    }
}

fn export(folder: &Path) -> Result<()> {
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

fn manifests(arguments: ManifestsArguments) -> Result<()> {
    let ManifestsArguments { registry, pull_secret, group, replicas, processors, data_dir } =
        arguments;
    let processors = processors.as_deref().map(processors::read).transpose()?;
    let cluster = Cluster { registry, pull_secret, group, replicas };
    let manifests = site::manifests(&data_dir, &components::all(), processors.as_ref(), &cluster)?;
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": manifests });
    serde_json::to_string_pretty(&list)?.lines().for_each(output::json);
    Ok(())
}
