//! Configuration of a site.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use access::sensors::Admits;
use model::Pattern;
use page_http::PageHost;

use crate::{mirror::Mirror, processors::Processors};

/// Most files that a site has open: the connections of its ports, and its own files. Of the latter,
/// each of tokio's 512 blocking threads may have one. The others are 60 while the site is idle, and
/// grow by one for each 64 MiB of log. The sum is below 4,096, the hard limit of many systems.
pub const FILES_MAX: u64 = http_server::Places::MANY.files_max()
    + page_http::FILES_MAX
    + REGISTRY_PLACES.plain_files_max()
    + OPEN_REGISTRY_PLACES.files_max()
    + (REGISTRY_PLACES.connections + OPEN_REGISTRY_PLACES.connections) as u64
    + registry::FILES_MAX
    + 956;

/// Connections of the registry on loopback. A host opens a few at each start.
pub(crate) const REGISTRY_PLACES: http_server::Places =
    http_server::Places { connections: 16, refusals: 4 };
/// Connections of the registry where other machines reach it.
pub(crate) const OPEN_REGISTRY_PLACES: http_server::Places =
    http_server::Places { connections: 24, refusals: 4 };

/// Configuration of a site.
#[derive(Debug)]
pub struct Config {
    /// Path of the data directory.
    pub data_dir: PathBuf,
    /// Name for a new site.
    pub name: Option<String>,
    /// Number of sensors to simulate.
    pub simulate: u32,
    /// Whether devices without credentials are let in although there are credentials.
    pub open: bool,
    /// Where the site listens; port 0 picks a free one.
    pub listen: Listen,
    /// Files of a certificate chain and of its key, if it is not to be the one of the site's own
    /// authority.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Host names under which people reach the page, in addition to the machine's own.
    pub page_hosts: Vec<PageHost>,
    /// Name and bytes of each component; all of [`COMPONENTS`](crate::COMPONENTS) are needed.
    pub components: Vec<(String, Vec<u8>)>,
    /// Subject patterns of the sensors' heartbeats.
    pub heartbeats: Vec<Pattern>,
    /// Rules for devices that report by themselves, if the site hears any.
    pub rules: Option<pushed::Rules>,
    /// The server to which the log is mirrored, if it is.
    pub mirror: Option<Mirror>,
    /// Users' processors.
    pub processors: Processors,
    /// Timeouts and limits of the poller.
    pub polling: poll::Config,
    /// File with the log's signing key; in the data directory if `None`.
    pub key_file: Option<PathBuf>,
    /// Time between two checkpoints while the log grows.
    pub checkpoint_period: Duration,
}

impl Config {
    /// Whom the site lets in without a credential.
    pub(crate) fn admits(&self) -> Admits {
        if self.open {
            Admits::Anyone
        } else if self.listen.opens_devices() {
            Admits::NobodyElse
        } else {
            Admits::AnyoneAtFirst
        }
    }
}

/// Addresses on which the site listens.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// The page and its API.
    pub page: SocketAddr,
    /// The log.
    pub log: SocketAddr,
    /// NATS clients.
    pub nats: SocketAddr,
    /// MQTT devices.
    pub mqtt: SocketAddr,
    /// The registry, in addition to the port on loopback from which the site's own host pulls.
    pub registry: Option<SocketAddr>,
    /// Leaf nodes; `None` keeps them out.
    pub leaf: Option<SocketAddr>,
    /// Hosts on other machines; `None` keeps them out.
    pub hosts: Option<SocketAddr>,
}
