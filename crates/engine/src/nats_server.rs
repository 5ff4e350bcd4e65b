//! How `nats-server` is started: its configuration file and its arguments.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::supervise::Start;

/// Largest message in bytes: room for the fleet of a full site in one answer. What does not fit is told so by the query service.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// What the configuration depends on. The server listens on loopback only: its control subjects and the sensors' share one account.
#[derive(Debug)]
pub struct Config<'a> {
    /// Name in logs and for JetStream.
    pub name: &'a str,
    /// Where clients connect.
    pub nats: SocketAddr,
    /// Where MQTT devices connect.
    pub mqtt: SocketAddr,
    /// A folder of its own: configuration, log and JetStream's files.
    pub folder: &'a Path,
}

/// Writes the configuration and says how to start the server.
///
/// # Errors
/// The folder cannot be written.
pub fn prepare(program: PathBuf, config: &Config<'_>) -> io::Result<Start> {
    DirBuilder::new().recursive(true).mode(0o700).create(config.folder)?;
    let file = config.folder.join("nats-server.conf");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&file)?.write_all(render(config).as_bytes())?;
    Ok(Start {
        name: "nats-server",
        program,
        arguments: vec!["--config".into(), file.into()],
        environment: Vec::new(),
        log: config.folder.join("nats-server.log"),
    })
}

/// JetStream is there because MQTT needs it for sessions, and bounded as such. It is not where readings become durable: the ledger is.
fn render(config: &Config<'_>) -> String {
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    format!(
        "server_name: {name}\n\
         listen: \"{nats}\"\n\
         max_payload: {PAYLOAD_BYTES_MAX}\n\
         max_connections: 65536\n\
         jetstream {{\n  store_dir: {store}\n  max_memory_store: 64MB\n  max_file_store: 1GB\n}}\n\
         mqtt {{\n  listen: \"{mqtt}\"\n}}\n",
        name = serde_json::Value::from(config.name),
        nats = config.nats,
        mqtt = config.mqtt,
        store = quoted(&config.folder.join("jetstream")),
    )
}
