//! How `wash host` is started.

use std::{ffi::OsString, fs, io, net::SocketAddr, path::Path, path::PathBuf};

use crate::{accounts::Role, ca::Authority, supervise::Start};

/// The host, for people.
pub const NAME: &str = "wash host";
/// The host's cache. It and the other files lie in the host's folder, where the host runs: so a
/// folder may have any name, also one that is no text.
const IMAGES: &str = "images";
/// Instances of core modules the host keeps room for, for all its components together: who finds
/// none is answered with an error. Each costs address space for one memory.
pub const CORE_INSTANCES: usize = 160;
/// Instances that one component needs for one call, with the modules that lower its imports: ours
/// have three at most.
pub const CORE_INSTANCES_OF_A_CALL: usize = 3;
/// Messages that components work on at once; further ones wait.
pub const MESSAGES_MAX: usize = 8;
/// Memory one instance may grow to.
const HEAP_MEMORY: &str = "64MiB";

/// With RUST_BACKTRACE set, as developers have it, the host captures a backtrace for errors it
/// makes and drops at every request, which takes it 5 ms each. This leaves those of panics.
const NO_BACKTRACES: (&str, &str) = ("RUST_LIB_BACKTRACE", "0");

/// What the host knows no flag for, or an older one does not. By itself it gives a call ten
/// minutes.
const ENVIRONMENT: [(&str, &str); 7] = [
    NO_BACKTRACES,
    ("WASH_WASMCLOUD_MESSAGING_MAX_IN_FLIGHT", "8"),
    // As long as the pipeline waits for a verdict.
    ("WASH_MESSAGING_DELIVER_TIMEOUT_SECS", "5"),
    // As long as the page's port waits for an answer.
    ("WASH_HTTP_RESPONSE_TIMEOUT_SECS", "10"),
    ("WASH_HTTP_REQUEST_BODY_TIMEOUT_SECS", "10"),
    ("WASH_EPHEMERAL_CALL_TIMEOUT_SECS", "10"),
    // What is left of a call for which nobody waits any more.
    ("WASH_ABANDONED_CALL_GRACE_SECS", "2"),
];

/// What the start depends on.
#[derive(Debug)]
pub struct Config<'a> {
    /// Name in logs and heartbeats.
    pub name: &'a str,
    /// The hosts' server of the message bus, for control and for components alike.
    pub nats: SocketAddr,
    /// Where the host answers HTTP.
    pub http: SocketAddr,
    /// A folder of its own: log, image cache and certificates.
    pub folder: &'a Path,
    /// Who makes certificates.
    pub authority: &'a Authority,
}

/// Makes the host's certificates, one for control and one for components, and says how to start it.
///
/// # Errors
/// The folder cannot be written, or no certificate can be made.
pub fn prepare(program: PathBuf, config: &Config<'_>) -> io::Result<Start> {
    durable::create_folder(config.folder)?;
    // Images are found by their registry's address, and ours is another at each start: what is kept
    // is of no use.
    match fs::remove_dir_all(config.folder.join(IMAGES)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let nats = format!("nats://{}", config.nats);
    let mut arguments: Vec<OsString> = vec![
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
        IMAGES.into(),
        "--core-instances".into(),
        CORE_INSTANCES.to_string().into(),
        "--default-heap-memory".into(),
        HEAP_MEMORY.into(),
    ];
    let ca = String::from("ca.pem");
    durable::replace(&config.folder.join(&ca), config.authority.pem().as_bytes())?;
    for (plane, name, role) in
        [("scheduler", "control", Role::HostControl), ("data", "data", Role::HostData)]
    {
        let identity = role.identity(config.authority).map_err(io::Error::other)?;
        let [certificate, key] = ["pem", "key"].map(|kind| format!("{name}.{kind}"));
        durable::replace(&config.folder.join(&certificate), identity.certificate_pem().as_bytes())?;
        durable::replace(&config.folder.join(&key), identity.key_pem().as_bytes())?;
        for (what, file) in [("ca", &ca), ("cert", &certificate), ("key", &key)] {
            arguments.extend([format!("--{plane}-nats-tls-{what}").into(), file.into()]);
        }
    }
    Ok(Start {
        name: NAME,
        program,
        arguments,
        environment: ENVIRONMENT.to_vec(),
        folder: config.folder.to_owned(),
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
        let authority = Authority::new().unwrap();
        let config = Config {
            name: "site",
            nats: address,
            http: address,
            folder: folder.path(),
            authority: &authority,
        };
        let start = prepare(PathBuf::from("wash"), &config).unwrap();
        assert!(start.environment.contains(&("RUST_LIB_BACKTRACE", "0")));
        let messages = MESSAGES_MAX.to_string();
        let variable = "WASH_WASMCLOUD_MESSAGING_MAX_IN_FLIGHT";
        assert!(start.environment.contains(&(variable, messages.as_str())));
        assert!(!image.exists());
    }
}
