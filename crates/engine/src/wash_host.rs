//! Configuration and arguments of `wash host`.

use std::{ffi::OsString, fs, io, net::SocketAddr, path::Path, path::PathBuf};

use crate::{accounts::Role, ca::Authority, supervise::Start};

/// Name of the host, as people see it.
pub const NAME: &str = "wash host";
/// Folder of the host's image cache. It and the host's other files are in the host's folder, where
/// the host runs. So that folder may have any name, even one that is not UTF-8.
const IMAGES: &str = "images";
/// Core module instances for which the host reserves room, for all components together. A call that
/// finds none gets an error. Each instance costs address space for one memory.
pub const CORE_INSTANCES: usize = 160;
/// Core module instances that one call of a component needs, including the modules that lower its
/// imports. Our components need at most three.
pub const CORE_INSTANCES_OF_A_CALL: usize = 3;
/// Messages that the components process at the same time. Further ones wait.
pub const MESSAGES_MAX: usize = 8;
/// Largest memory of one instance.
const HEAP_MEMORY: &str = "64MiB";

/// With RUST_BACKTRACE set, as developers have it, the host captures backtraces for errors that it
/// creates and drops at every request, at 5 ms each. This setting leaves only the backtraces of
/// panics.
const NO_BACKTRACES: (&str, &str) = ("RUST_LIB_BACKTRACE", "0");

/// Settings for which the host, or an older one, has no flag. Its own default timeout for a call is
/// ten minutes.
const ENVIRONMENT: [(&str, &str); 7] = [
    NO_BACKTRACES,
    ("WASH_WASMCLOUD_MESSAGING_MAX_IN_FLIGHT", "8"),
    // A call that computes without an end holds a thread until it is trapped. With one thread for
    // each core, as is the default, a few such calls silence the host.
    ("TOKIO_WORKER_THREADS", "8"),
    // The page's port waits this long for an answer.
    ("WASH_HTTP_RESPONSE_TIMEOUT_SECS", "10"),
    ("WASH_HTTP_REQUEST_BODY_TIMEOUT_SECS", "10"),
    ("WASH_EPHEMERAL_CALL_TIMEOUT_SECS", "10"),
    // Time for the rest of a call whose caller has gone.
    ("WASH_ABANDONED_CALL_GRACE_SECS", "2"),
];

/// Setting for how long a component may take for a message, in seconds.
const DELIVER_TIMEOUT: &str = "WASH_MESSAGING_DELIVER_TIMEOUT_SECS";
/// That time where components compute alone. They need milliseconds.
const COMPUTE_SECONDS: &str = "2";
/// That time where one calls a server, which may take four seconds for its answer.
const CALL_SECONDS: &str = "5";

/// Configuration of a start.
#[derive(Debug)]
pub struct Config<'a> {
    /// Host name in logs and heartbeats.
    pub name: &'a str,
    /// Address of the hosts' server, for both control and data.
    pub nats: SocketAddr,
    /// Address at which the host answers HTTP.
    pub http: SocketAddr,
    /// The host's own folder, for log, image cache and certificates.
    pub folder: &'a Path,
    /// Authority that issues the certificates.
    pub authority: &'a Authority,
    /// Whether a component calls a server on another machine.
    pub calls_servers: bool,
    /// Authorities in PEM that components believe when they call servers, instead of the public
    /// ones.
    pub servers_ca: Option<&'a [u8]>,
}

/// Makes the host's certificates, one for control and one for data, and returns how to start the
/// host.
///
/// # Errors
/// The folder cannot be written, or no certificate can be made.
pub fn prepare(program: PathBuf, config: &Config<'_>) -> io::Result<Start> {
    durable::create_folder(config.folder)?;
    // The host finds images by the address of their registry. Ours has another address at each
    // start, so cached images are of no use.
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
        // Our registry is on loopback and speaks plain HTTP. Images are pinned by digest.
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
    if let Some(pem) = config.servers_ca {
        let name = "servers-ca.pem";
        durable::replace(&config.folder.join(name), pem)?;
        arguments.extend(["--http-client-ca-path", name].map(OsString::from));
        arguments.extend(["--http-client-trust-roots", "extra-only"].map(OsString::from));
    }
    let seconds = if config.calls_servers { CALL_SECONDS } else { COMPUTE_SECONDS };
    let environment = ENVIRONMENT.into_iter().chain([(DELIVER_TIMEOUT, seconds)]).collect();
    Ok(Start {
        name: NAME,
        program,
        arguments,
        environment,
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
            calls_servers: true,
            servers_ca: Some(b"pem"),
        };
        let start = prepare(PathBuf::from("wash"), &config).unwrap();
        assert!(start.environment.contains(&("RUST_LIB_BACKTRACE", "0")));
        assert!(start.environment.contains(&(DELIVER_TIMEOUT, CALL_SECONDS)));
        let messages = MESSAGES_MAX.to_string();
        let variable = "WASH_WASMCLOUD_MESSAGING_MAX_IN_FLIGHT";
        assert!(start.environment.contains(&(variable, messages.as_str())));
        assert!(!image.exists());
        let trusts = start.arguments.iter().skip_while(|word| *word != "--http-client-ca-path");
        assert_eq!(
            trusts.collect::<Vec<_>>(),
            ["--http-client-ca-path", "servers-ca.pem", "--http-client-trust-roots", "extra-only"]
        );
        assert_eq!(fs::read(folder.path().join("servers-ca.pem")).unwrap(), b"pem");
    }
}
