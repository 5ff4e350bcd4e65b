//! The host that the site itself starts, on this machine.

use std::{io, net::SocketAddr, path::PathBuf};

use data_dir::DataDir;
use engine::{
    Authority,
    supervise::Start,
    wash_host::{self, Config, Identities, PullsFrom},
};
use registry::Registry;

use crate::error::{EngineError, UpError};

/// What a host has to know of the hosts' server.
pub(crate) struct Server<'a> {
    /// Where the server listens, as this machine reaches it.
    pub(crate) address: SocketAddr,
    /// Makes the certificates that the host shows there.
    pub(crate) authority: &'a Authority,
    /// Certificate in PEM of the authority that made the server's.
    pub(crate) ca_pem: &'a str,
}

/// Writes the host's files and returns how to start it. It answers HTTP at `http`. If a component
/// calls a server on another machine, `calls` has the authorities that it believes, if not the
/// public ones.
pub(crate) fn prepare(
    program: PathBuf,
    data_dir: &DataDir,
    server: &Server<'_>,
    registry: &Registry,
    (http, calls): (SocketAddr, Option<Option<&[u8]>>),
) -> Result<Start, UpError> {
    let failed = |source| UpError::machine(EngineError { name: wash_host::NAME, source });
    let identities = Identities::of_own_host(server.authority).map_err(io::Error::other);
    let config = Config {
        name: data_dir.name(),
        group: wash_host::GROUP,
        nats: &server.address.to_string(),
        server_ca_pem: server.ca_pem,
        identities: &identities.map_err(failed)?,
        pulls_from: &PullsFrom {
            registry: registry.address().to_string(),
            in_clear_text: true,
            ca_pem: None,
            token: None,
        },
        http,
        folder: &data_dir.engine("wash"),
        calls_servers: calls.is_some(),
        servers_ca: calls.flatten(),
    };
    wash_host::prepare(program, &config).map_err(failed)
}
