//! How `wash host` is started.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::supervise::Start;

/// Instances the host keeps room for: our components need a handful, and each slot costs address space.
const CORE_INSTANCES: &str = "50";
/// Memory one instance may grow to.
const HEAP_MEMORY: &str = "64MiB";

/// With RUST_BACKTRACE set, as developers have it, the host captures a backtrace for errors it makes and drops at every request, which takes it 5 ms each.
/// This leaves those of panics.
const NO_BACKTRACES: (&str, &str) = ("RUST_LIB_BACKTRACE", "0");

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
    DirBuilder::new().recursive(true).mode(0o700).create(config.folder)?;
    // Images are found by their registry's address, and ours is another at each start: what is kept is of no use.
    let images = config.folder.join("images");
    match fs::remove_dir_all(&images) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
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
        images.into(),
        "--core-instances".into(),
        CORE_INSTANCES.into(),
        "--default-heap-memory".into(),
        HEAP_MEMORY.into(),
    ];
    Ok(Start {
        name: "wash host",
        program,
        arguments,
        environment: vec![NO_BACKTRACES],
        log: config.folder.join("wash-host.log"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_captures_no_backtraces_and_keeps_no_old_images() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("images/of-an-earlier-registry");
        fs::create_dir_all(&image).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let config = Config { name: "site", nats: address, http: address, folder: folder.path() };
        let start = prepare(PathBuf::from("wash"), &config).unwrap();
        assert!(start.environment.contains(&("RUST_LIB_BACKTRACE", "0")));
        assert!(!image.exists());
    }
}
