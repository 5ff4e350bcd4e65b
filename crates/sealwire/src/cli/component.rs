//! The arguments of `sealwire component`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
}
