//! What a Kubernetes cluster can run for a site: the workloads that a site gives to hosts on other
//! machines, in the words of wasmCloud's operator.

use std::{io, path::Path};

use data_dir::folder;
use lattice::Cluster;
use orders::apps::{self, AppsError};
use page_http::WorkloadName;
use serde_json::Value;

use crate::{processors::Processors, workloads};

/// Why there are no manifests.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No site has this data directory.
    #[error("there is no site in {0}")]
    NoSite(String, #[source] io::Error),
    /// Its file about the log's fields cannot be used.
    #[error(transparent)]
    Fields(#[from] pangea_http::PangeaConfigError),
    /// What was deployed there cannot be read.
    #[error("cannot read what was deployed")]
    Deployed(#[from] AppsError),
    /// This program was built without a component.
    #[error("this sealwire was built without the component {0}: build it with `cargo xtask build`")]
    NoComponent(&'static str),
}

/// The manifests of what hosts on other machines run for the site with this data directory, as it
/// would run it now: components of the site, of which `components` are this version's, or with
/// `processors` these, which other hosts run.
///
/// # Errors
/// The data directory cannot be read, or a component is missing.
pub fn manifests(
    data_dir: &Path,
    components: &[(String, Vec<u8>)],
    processors: Option<&Processors>,
    cluster: &Cluster,
) -> Result<Vec<Value>, ManifestError> {
    let no_site = |error| ManifestError::NoSite(data_dir.display().to_string(), error);
    data_dir.join(folder::DESCRIPTION).metadata().map_err(no_site)?;
    if let Some(processors) = processors {
        let deployments = processors.iter().map(workloads::processing);
        return Ok(deployments.map(|it| it.workload.manifest(cluster)).collect());
    }
    let fields = pangea_http::Config::load(&data_dir.join(folder::PANGEA))?.fields_json();
    let images = workloads::images(components);
    let own = workloads::workloads(&images, &WorkloadName::random(), &fields)
        .map_err(ManifestError::NoComponent)?;
    let built_in = workloads::built_in(own, &Processors::default());
    let deployments = built_in.with(&apps::newest(data_dir, &built_in)?);
    let others = deployments.iter().filter(|it| !it.workload.is_for_own_host());
    Ok(others.map(|deployment| deployment.workload.manifest(cluster)).collect())
}

#[cfg(test)]
mod tests;
