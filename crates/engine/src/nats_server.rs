//! How both servers of the bus are started: their configuration files and arguments. Who may do
//! what there is in [`accounts`].

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    accounts::{self, Password, Traffic},
    ca::Authority,
    supervise::Start,
};

/// Largest message in bytes: room for the fleet of a full site in one answer. What does not fit is
/// told so by the query service.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// The configuration. It and what it names lie in the server's folder, where the server runs: so a
/// folder may have any name, also one that is no text.
const CONFIGURATION: &str = "nats-server.conf";
/// The server that devices connect to, for people.
pub const DEVICES: &str = "nats-server";
/// The server that hosts connect to, for people.
pub const HOSTS: &str = "nats-server for hosts";

/// The server that devices connect to.
#[derive(Debug)]
pub struct ForDevices<'a> {
    /// Name in logs and for JetStream.
    pub name: &'a str,
    /// Where NATS clients connect.
    pub nats: SocketAddr,
    /// Where MQTT devices connect.
    pub mqtt: SocketAddr,
    /// A folder of its own: configuration, log and JetStream's files.
    pub folder: &'a Path,
    /// What the site shows there.
    pub password: &'a Password,
}

/// The server that hosts connect to. Nobody gets in without a certificate.
#[derive(Debug)]
pub struct ForHosts<'a> {
    /// Name in logs.
    pub name: &'a str,
    /// Where hosts and the site connect.
    pub nats: SocketAddr,
    /// A folder of its own: configuration, certificate and log.
    pub folder: &'a Path,
    /// Who makes certificates.
    pub authority: &'a Authority,
    /// What components and the site ask each other.
    pub traffic: Traffic<'a>,
}

impl ForDevices<'_> {
    /// Writes the configuration and says how to start the server.
    ///
    /// JetStream is there because MQTT needs it for sessions, and bounded as such. It is not where
    /// readings become durable: the ledger is. There is no TLS, not even for clients that ask for
    /// it: some take up every offer, and would refuse a certificate that they do not know.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn prepare(&self, program: PathBuf) -> io::Result<Start> {
        let users = accounts::devices(self.password).map_err(io::Error::other)?;
        let mut configuration = general(self.name, self.nats);
        write!(
            configuration,
            "jetstream {{\n  store_dir: \"jetstream\"\n  max_memory_store: 64MB\n  max_file_store: 1GB\n}}\n\
             authorization {{ users: {users} }}\n\
             no_auth_user: \"{}\"\n\
             mqtt {{\n  listen: \"{}\"\n  no_auth_user: \"{}\"\n}}\n",
            accounts::DEVICE,
            self.mqtt,
            accounts::MQTT_DEVICE,
        )
        .expect("a text takes everything");
        start(DEVICES, program, self.folder, &configuration)
    }
}

impl ForHosts<'_> {
    /// Makes the server's certificate, writes the configuration, and says how to start the server.
    ///
    /// # Errors
    /// The folder cannot be written, or no certificate can be made.
    pub fn prepare(&self, program: PathBuf) -> io::Result<Start> {
        durable::create_folder(self.folder)?;
        let identity = self.authority.server(self.nats.ip()).map_err(io::Error::other)?;
        let mut configuration = general(self.name, self.nats);
        configuration.push_str("tls {\n  verify_and_map: true\n");
        for (key, name, pem) in [
            ("ca_file", "ca.pem", self.authority.pem()),
            ("cert_file", "server.pem", identity.certificate_pem()),
            ("key_file", "server.key", identity.key_pem()),
        ] {
            durable::replace(&self.folder.join(name), pem.as_bytes())?;
            writeln!(configuration, "  {key}: \"{name}\"").expect("a text takes everything");
        }
        let accounts = accounts::hosts(self.traffic);
        writeln!(configuration, "}}\naccounts: {accounts}").expect("a text takes everything");
        start(HOSTS, program, self.folder, &configuration)
    }
}

fn general(name: &str, address: SocketAddr) -> String {
    format!(
        "server_name: {name}\n\
         listen: \"{address}\"\n\
         max_payload: {PAYLOAD_BYTES_MAX}\n\
         max_connections: 65536\n",
        name = Value::from(name),
    )
}

fn start(
    name: &'static str,
    program: PathBuf,
    folder: &Path,
    configuration: &str,
) -> io::Result<Start> {
    durable::create_folder(folder)?;
    durable::replace(&folder.join(CONFIGURATION), configuration.as_bytes())?;
    Ok(Start {
        name,
        program,
        arguments: vec!["--config".into(), CONFIGURATION.into()],
        environment: Vec::new(),
        folder: folder.to_owned(),
        log: folder.join("nats-server.log"),
    })
}
