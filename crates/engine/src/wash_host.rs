//! How `wash host` is started.

use std::{ffi::OsString, fs, io, net::SocketAddr, path::Path, path::PathBuf};

use crate::supervise::Start;

/// Instances the host keeps room for: our components need a handful, and each slot costs address space.
const CORE_INSTANCES: &str = "50";
/// Memory one instance may grow to.
const HEAP_MEMORY: &str = "64MiB";

/// What the start depends on.
#[derive(Debug)]
pub struct Config<'a> {
    /// Name in logs and heartbeats.
    pub name: &'a str,
    /// The message bus, for control and for components alike.
    pub nats: SocketAddr,
    /// Where the host answers HTTP.
    pub http: SocketAddr,
    /// A folder of its own: log and image cache.
    pub folder: &'a Path,
}

/// Says how to start the host.
///
/// # Errors
/// The folder cannot be written.
pub fn prepare(program: PathBuf, config: &Config<'_>) -> io::Result<Start> {
    fs::create_dir_all(config.folder)?;
    let nats = format!("nats://{}", config.nats);
    let arguments: Vec<OsString> = vec![
        "--non-interactive".into(),
        "host".into(),
        "--host-name".into(),
        config.name.into(),
        "--scheduler-nats-url".into(),
        nats.clone().into(),
        "--data-nats-url".into(),
        nats.into(),
        "--http-addr".into(),
        config.http.to_string().into(),
        // Our registry is on loopback and speaks plain HTTP; images are pinned by digest.
        "--allow-insecure-registries".into(),
        "--oci-cache-dir".into(),
        config.folder.join("images").into(),
        "--core-instances".into(),
        CORE_INSTANCES.into(),
        "--default-heap-memory".into(),
        HEAP_MEMORY.into(),
    ];
    Ok(Start { name: "wash host", program, arguments, log: config.folder.join("wash-host.log") })
}
