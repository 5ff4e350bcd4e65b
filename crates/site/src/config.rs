//! What a site is made of.

use std::{path::PathBuf, time::Duration};

use model::Pattern;
use page_http::PageHost;

/// Files that a site has open at most: the connections of its ports, and its own. Of those, tokio's
/// 512 threads for work on the disk may each have one; the others are 60 while nobody asks for
/// anything, and grow with the log: a file for each 64 MiB. It is below 4,096, the hard limit of
/// many a system.
pub const FILES_MAX: u64 = http_server::Places::MANY.files_max()
    + page_http::FILES_MAX
    + REGISTRY_PLACES.files_max()
    + 1_024;

/// Connections of the component registry: a host opens a few at each start.
pub(crate) const REGISTRY_PLACES: http_server::Places =
    http_server::Places { connections: 32, refusals: 16 };

/// What a site is made of.
#[derive(Debug)]
pub struct Config {
    /// Its folder.
    pub data_dir: PathBuf,
    /// Its name, for a new site.
    pub name: Option<String>,
    /// Sensors to simulate.
    pub simulate: u32,
    /// Ports on loopback; 0 picks a free one.
    pub ports: Ports,
    /// Names, beside the machine's own, under which people reach the page.
    pub page_hosts: Vec<PageHost>,
    /// The components, by name: all of [`COMPONENTS`](crate::COMPONENTS).
    pub components: Vec<(String, Vec<u8>)>,
    /// Subjects on which sensors say that they live.
    pub heartbeats: Vec<Pattern>,
    /// How patient the poller is.
    pub polling: poll::Config,
    /// The file with the log's signing key; in the folder where this is `None`.
    pub key_file: Option<PathBuf>,
    /// Time between two checkpoints while the log grows.
    pub checkpoint_period: Duration,
}

/// Where the site listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The page and its API.
    pub http: u16,
    /// The log.
    pub log: u16,
    /// NATS clients.
    pub nats: u16,
    /// MQTT devices.
    pub mqtt: u16,
}
