//! The arguments of `sealwire component`.

use std::{num::NonZeroU16, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use lattice::RegistryName;
use model::processing::ProcessorName;
use registry::{Pinned, PublishedName};
use tlog::{KeyName, VerifierKey};

use crate::component::project_name::ProjectName;

#[derive(Args, Debug)]
pub(crate) struct ComponentArguments {
    #[command(subcommand)]
    pub(crate) command: ComponentCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComponentCommand {
    /// Start a project: a processor of your own, with its interface and a unit test.
    New(NewArguments),
    /// Build a project's component. Needs Rust, or Node with npm.
    ///
    /// The first build of a project fetches its packages. After that, no network is needed.
    Build {
        /// Folder of the project.
        #[arg(value_name = "DIR", default_value = ".")]
        folder: PathBuf,
    },
    /// Replay sealed history through a processor, and show what a site would seal. Seals nothing;
    /// the site may be running.
    ///
    /// The processor runs on a wasmCloud host of its own, with the limits of a site. Exit codes: 0,
    /// it has answered everything and, with --against, nothing differs; 1, it has not, or something
    /// does.
    Test(TestArguments),
    /// Publish a processor in a site's registry, and print what the file of processors needs.
    Push(PushArguments),
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
    /// They are those that hosts on other machines run: `sensor-reader` and `event-logger` in the
    /// versions that the site runs now, or users' processors. docs/packages.md says what the
    /// cluster's hosts need.
    Manifests(ManifestsArguments),
    /// Make a publisher's key, with which images are signed. Print its verifier key, which sites
    /// list.
    Key {
        /// File for the key, which only its owner can read. The verifier key goes to the same path
        /// with `.pub` at its end. Neither replaces a file.
        file: PathBuf,
        /// Name of the publisher, as text in each signature, e.g. plant.example/ci.
        #[arg(long)]
        name: KeyName,
    },
    /// Sign an image in a site's registry, and push the signature beside it.
    Sign {
        /// The image, as the file with what is to run names it: plant/reader@sha256:...
        image: Pinned,
        /// File of the publisher's key. The verifier key is beside it.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        registry: RegistryArguments,
    },
    /// Show who signed an image in a site's registry.
    ///
    /// Exit code 1 says that one of the named keys did not.
    Signatures {
        /// The image, as the file with what is to run names it: plant/reader@sha256:...
        image: Pinned,
        /// A verifier key whose signature is checked. Several may be named. What other keys say to
        /// have signed is shown, unchecked.
        #[arg(long, value_name = "KEY")]
        vkey: Vec<VerifierKey>,
        #[command(flatten)]
        registry: RegistryArguments,
    },
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
    /// File (TOML) that lists users' processors, as for `sealwire up`. Print these instead of the
    /// site's components: they run on hosts that were added with `--guests`, in a group of their
    /// own.
    #[arg(long, value_name = "FILE")]
    pub(crate) processors: Option<PathBuf>,
    /// The site's data directory.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct NewArguments {
    /// Name of the processor: a letter, and then up to 39 of the characters a-z, 0-9 and -.
    #[arg(value_name = "NAME")]
    pub(crate) name: ProjectName,
    /// Language in which it is written.
    #[arg(long = "lang", value_name = "LANGUAGE")]
    pub(crate) language: Language,
    /// Folder to create [default: the name].
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// A language in which processors are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    #[value(name = "javascript")]
    JavaScript,
}

#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// The component.
    #[arg(value_name = "FILE")]
    pub(crate) component: PathBuf,
    /// Data directory of the site whose log is replayed, or of a backup.
    #[arg(long, value_name = "DIR", default_value = "sealwire-data", env = "SEALWIRE_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// First leaf to replay [default: the first of the log or, with --against, the first from which
    /// that processor derived something].
    #[arg(long, value_name = "LEAF")]
    pub(crate) from: Option<u64>,
    /// Leaf before which to stop [default: the newest checkpoint or, with --against, the leaf up to
    /// which that processor has come].
    #[arg(long, value_name = "LEAF")]
    pub(crate) to: Option<u64>,
    /// Compare with what the processor of this name derived at the site. The component is asked
    /// under this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) against: Option<ProcessorName>,
    /// File that lists the site's processors, for the filter of the one that --against names.
    /// Without it, the component sees all readings.
    #[arg(long, value_name = "FILE", requires = "against")]
    pub(crate) processors: Option<PathBuf>,
    /// Values and differences to print. The rest is counted.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) first: usize,
    /// Leaves on which the processor fails, after which to stop. Each takes most of a minute: a
    /// question is divided until it is known which leaf is to blame.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) failures: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PushArguments {
    /// The component.
    #[arg(value_name = "FILE")]
    pub(crate) component: PathBuf,
    /// Where it goes in the registry: plant/double, for the tag `latest`, or plant/double:1.2.
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: PublishedName,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

#[derive(Args, Debug)]
pub(crate) struct RegistryArguments {
    /// Address of the registry, as `sealwire up` prints it.
    #[arg(long, value_name = "URL")]
    pub(crate) registry: String,
    /// File with an API token, whose scope is `publish` to push and to sign, and `pull` to look.
    /// Only its owner may be able to read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// File with the certificate of the authority that issued the site's own, in PEM [default: the
    /// public ones].
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}
