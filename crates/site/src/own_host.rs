//! The hosts that the site itself starts, on this machine: one for its own components and, if it
//! has processors, another one for those.

use std::{io, net::SocketAddr, path::PathBuf};

use data_dir::DataDir;
use engine::{
    Authority, Change, Engine, HostKind, Log,
    wash_host::{self, Config, Identities, PullsFrom},
};
use registry::Registry;
use tokio::sync::mpsc;

use crate::{
    error::{EngineError, UpError},
    part::Part,
    ports::Reserved,
};

/// Folder of the host for components of the site, in the data directory.
pub(crate) const FOLDER: &str = "wash";
/// Folder of the host for processors.
pub(crate) const GUESTS_FOLDER: &str = "guests";

/// What a host has to know of the hosts' server.
pub(crate) struct Server<'a> {
    /// Where the server listens, as this machine reaches it.
    pub(crate) address: SocketAddr,
    /// Makes the certificates that the hosts show there.
    pub(crate) authority: &'a Authority,
    /// Certificate in PEM of the authority that made the server's.
    pub(crate) ca_pem: &'a str,
}

/// What both hosts have in common.
pub(crate) struct OwnHosts<'a> {
    /// Path of `wash`.
    pub(crate) program: PathBuf,
    /// Where each host has a folder of its own.
    pub(crate) data_dir: &'a DataDir,
    /// Where they take orders and questions.
    pub(crate) server: Server<'a>,
    /// Where they pull images.
    pub(crate) registry: &'a Registry,
    /// Learns of their outages.
    pub(crate) changes: mpsc::Sender<Change>,
}

impl OwnHosts<'_> {
    /// Runs the host for components of the site. It answers HTTP on the port. If a component calls
    /// a server on another machine, `calls` has the authorities that it believes, if not the public
    /// ones. Returns its log.
    pub(crate) fn run(
        &self,
        part: &mut Part,
        port: Reserved,
        calls: Option<Option<&[u8]>>,
    ) -> Result<Log, UpError> {
        let http = port.address();
        drop(port);
        self.run_one(part, HostKind::Site, (self.data_dir.name(), FOLDER), Some(http), calls)
    }

    /// Runs the host for processors. Returns its log.
    pub(crate) fn run_guests(&self, part: &mut Part) -> Result<Log, UpError> {
        let name = format!("{}, for processors", self.data_dir.name());
        self.run_one(part, HostKind::Guests, (&name, GUESTS_FOLDER), None, None)
    }

    fn run_one(
        &self,
        part: &mut Part,
        kind: HostKind,
        (name, folder): (&str, &str),
        http: Option<SocketAddr>,
        calls: Option<Option<&[u8]>>,
    ) -> Result<Log, UpError> {
        let (group, engine) = match kind {
            HostKind::Site => (wash_host::GROUP, wash_host::NAME),
            HostKind::Guests => (wash_host::GUESTS_GROUP, wash_host::GUESTS),
        };
        let failed = |source| UpError::machine(EngineError { name: engine, source });
        let identities = Identities::of_own_host(self.server.authority, kind);
        let config = Config {
            kind,
            name,
            group,
            nats: &self.server.address.to_string(),
            server_ca_pem: self.server.ca_pem,
            identities: &identities.map_err(io::Error::other).map_err(failed)?,
            pulls_from: &PullsFrom {
                registry: self.registry.address().to_string(),
                in_clear_text: true,
                ca_pem: None,
                token: None,
            },
            http,
            folder: &self.data_dir.engine(folder),
            calls_servers: calls.is_some(),
            servers_ca: calls.flatten(),
        };
        let start = wash_host::prepare(self.program.clone(), &config).map_err(failed)?;
        let host = Engine::start(start).map_err(failed)?;
        let log = host.log().clone();
        part.run_unfailing(engine, host.supervise(self.changes.clone(), part.stop.clone()));
        Ok(log)
    }
}
