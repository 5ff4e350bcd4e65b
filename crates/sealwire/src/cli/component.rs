//! The arguments of `sealwire component`.

use std::{num::NonZeroU16, path::PathBuf};

use clap::{Args, Subcommand};
use lattice::RegistryName;

#[derive(Args, Debug)]
pub(crate) struct ComponentArguments {
    #[command(subcommand)]
    pub(crate) command: ComponentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComponentCommand {
    /// Write this version's components, as OCI images, to a folder in the OCI image layout.
    ///
    /// Tools copy them from there to any registry, for example `oras cp --from-oci-layout`. They
    /// have the digests that a site's own registry serves.
    Export {
        /// Folder to create.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print what a Kubernetes cluster needs to run a site's components, as the JSON that `kubectl
    /// apply -f -` takes: a WorkloadDeployment of wasmCloud's operator for each.
    ///
    /// They are those that hosts on other machines run: `sensor-reader`, `event-logger` and users'
    /// processors, in the versions that the site runs now. docs/packages.md says what the cluster's
    /// hosts need.
    Manifests(ManifestsArguments),
}

#[derive(Args, Debug)]
pub(crate) struct ManifestsArguments {
    /// The registry from which the cluster's hosts pull the images: host and port, perhaps with a
    /// path. The site's own or another that has them.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) registry: RegistryName,
    /// Name of the cluster's secret that the registry wants to see [default: none].
    #[arg(long, value_name = "NAME")]
    pub(crate) pull_secret: Option<String>,
    /// Group of the hosts that run the components.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) group: String,
    /// How many times each component runs in the cluster.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) replicas: NonZeroU16,
    /// File (TOML) that lists users' processors, as for `sealwire up`.
    #[arg(long, value_name = "FILE", env = "SEALWIRE_PROCESSORS", hide_env = true)]
    pub(crate) processors: Option<PathBuf>,
    /// The site's data directory.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
}
