//! Configuration and arguments of the two servers of the bus. [`accounts`] says who may do what
//! there.

use std::{
    fmt::{self, Write as _},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    accounts::{self, OnDevices, OtherHost, Traffic},
    ca::Identity,
    supervise::Start,
};

/// Largest message on the hosts' server in bytes: one answer has room for every sensor of a full
/// site. The query service refuses an answer that does not fit.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Largest message on the devices' server in bytes. The site takes at most 256 KiB from a device,
/// and answers the server's questions with less than 1 MiB: the permissions of a credential with
/// the most sensors and the longest topics.
const DEVICES_PAYLOAD_BYTES_MAX: usize = 2 << 20;
/// Name of the configuration file. The file and those it names are in the server's folder, where
/// the server runs. So the folder may have any name, even one that is not UTF-8.
const CONFIGURATION: &str = "nats-server.conf";
/// Name of the file with the certificate chain and the key of the ports that other machines reach.
const CERTIFICATE: &str = "site.pem";
/// Time for a TLS handshake, in seconds. A microcontroller needs some for its arithmetic.
const HANDSHAKE_SECONDS: u32 = 10;
/// Time between two pings of the hosts' server, and pings without an answer after which it closes a
/// connection. A frozen host takes its share of the components' questions until then. The server's
/// own defaults are two minutes and 2.
const HOSTS_PINGS: &str = "ping_interval: \"2s\"\nping_max: 2\n";
/// Name of the devices' server, as people see it.
pub const DEVICES: &str = "nats-server";
/// Name of the hosts' server, as people see it.
pub const HOSTS: &str = "nats-server for hosts";

/// A port of the devices' server.
#[derive(Clone, Copy)]
pub struct Port<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Certificate chain and key in PEM, if the port speaks TLS. It then speaks nothing else.
    pub identity_pem: Option<&'a [u8]>,
}

impl fmt::Debug for Port<'_> {
    /// Omits the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Port").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Port<'_> {
    /// The port's TLS, for the configuration.
    fn tls(&self) -> String {
        match self.identity_pem {
            Some(_) => format!(
                "tls {{ cert_file: \"{CERTIFICATE}\", key_file: \"{CERTIFICATE}\", \
                 timeout: {HANDSHAKE_SECONDS} }}\n"
            ),
            None => String::new(),
        }
    }
}

/// The server to which devices connect.
#[derive(Debug)]
pub struct ForDevices<'a> {
    /// Server name in logs and for JetStream.
    pub name: &'a str,
    /// Port for NATS clients.
    pub nats: Port<'a>,
    /// Port for MQTT devices.
    pub mqtt: Port<'a>,
    /// Port for leaf nodes, if it is open.
    pub leaf: Option<Port<'a>>,
    /// The server's own folder, for configuration, log and JetStream's files.
    pub folder: &'a Path,
    /// Who the site is on this server.
    pub site: OnDevices<'a>,
}

/// The server to which hosts connect. Every client needs a certificate.
#[derive(Clone, Debug)]
pub struct ForHosts<'a> {
    /// Server name in logs.
    pub name: String,
    /// Address for hosts and the site.
    pub nats: SocketAddr,
    /// The server's own folder, for configuration, certificates and log.
    pub folder: PathBuf,
    /// Certificate in PEM of the authority that made those of the site and of its own host.
    pub authority_pem: String,
    /// Questions between the components and the site.
    pub traffic: Traffic<'a>,
}

impl ForDevices<'_> {
    /// Writes the configuration and returns how to start the server.
    ///
    /// MQTT needs JetStream for sessions, so it is enabled, with limits for that purpose. It does
    /// not make readings durable; the ledger does. A port without TLS has none even for clients
    /// that ask for it: some clients accept every offer, and would then refuse a certificate that
    /// they do not know.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn prepare(&self, program: PathBuf) -> io::Result<Start> {
        let (accounts, callout) = self.site.accounts();
        let Self { nats, mqtt, leaf, folder, .. } = self;
        let ports = [Some(nats), Some(mqtt), leaf.as_ref()];
        if let Some(pem) = ports.into_iter().flatten().find_map(|port| port.identity_pem) {
            durable::create_folder(folder)?;
            replace_certificate(folder, pem)?;
        }
        let mut configuration = general(self.name, nats.address, DEVICES_PAYLOAD_BYTES_MAX);
        write!(
            configuration,
            "{}jetstream {{\n  store_dir: \"jetstream\"\n  max_memory_store: 64MB\n  max_file_store: 1GB\n}}\n\
             accounts: {accounts}\n\
             system_account: {}\n\
             authorization {{ auth_callout: {callout} }}\n\
             mqtt {{\n  listen: \"{}\"\n  {}}}\n",
            nats.tls(),
            accounts::SYSTEM_ACCOUNT,
            mqtt.address,
            mqtt.tls(),
        )
        .expect("a text takes everything");
        if let Some(leaf) = leaf {
            // Nothing goes from one leaf node to another: each speaks to the site alone.
            write!(
                configuration,
                "leafnodes {{\n  listen: \"{}\"\n  isolate_leafnode_interest: true\n  {}}}\n",
                leaf.address,
                leaf.tls(),
            )
            .expect("a text takes everything");
        }
        durable::create_folder(folder)?;
        durable::replace(&folder.join(CONFIGURATION), configuration.as_bytes())?;
        Ok(start(DEVICES, program, folder))
    }
}

impl ForHosts<'_> {
    /// Writes the configuration, which the server reads at its start and when it is told to: what
    /// it shows of itself, and whom it lets in.
    ///
    /// A host's certificate is its own authority, which can make no other certificate. So the
    /// server lets in these very certificates, and those that the site's authority made.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, server: &Identity, others: &[OtherHost]) -> io::Result<()> {
        durable::create_folder(&self.folder)?;
        let mut configuration = general(&self.name, self.nats, PAYLOAD_BYTES_MAX);
        configuration.push_str(HOSTS_PINGS);
        configuration.push_str("tls {\n  verify_and_map: true\n");
        let others_pem = others.iter().map(|host| host.certificates_pem.as_str());
        let known: String = [self.authority_pem.as_str()].into_iter().chain(others_pem).collect();
        for (key, name, pem) in [
            ("ca_file", "ca.pem", known),
            ("cert_file", "server.pem", server.certificate_pem()),
            ("key_file", "server.key", server.key_pem()),
        ] {
            durable::replace(&self.folder.join(name), pem.as_bytes())?;
            writeln!(configuration, "  {key}: \"{name}\"").expect("a text takes everything");
        }
        let accounts = accounts::hosts(self.traffic, others);
        writeln!(configuration, "  timeout: {HANDSHAKE_SECONDS}\n}}\naccounts: {accounts}")
            .expect("a text takes everything");
        durable::replace(&self.folder.join(CONFIGURATION), configuration.as_bytes())
    }

    /// How to start the server, once its configuration is written.
    #[must_use]
    pub fn start(&self, program: PathBuf) -> Start {
        start(HOSTS, program, &self.folder)
    }
}

/// Writes another certificate for the devices' server. It shows it once it is told to read its
/// files again.
///
/// # Errors
/// The folder cannot be written.
pub fn replace_certificate(folder: &Path, identity_pem: &[u8]) -> io::Result<()> {
    durable::replace(&folder.join(CERTIFICATE), identity_pem)
}

fn general(name: &str, address: SocketAddr, payload_bytes_max: usize) -> String {
    format!(
        "server_name: {name}\n\
         listen: \"{address}\"\n\
         max_payload: {payload_bytes_max}\n\
         max_connections: 65536\n",
        name = Value::from(name),
    )
}

fn start(name: &'static str, program: PathBuf, folder: &Path) -> Start {
    Start {
        name,
        program,
        arguments: vec!["--config".into(), CONFIGURATION.into()],
        environment: Vec::new(),
        folder: folder.to_owned(),
        log: folder.join("nats-server.log"),
        gives_way: false,
    }
}
