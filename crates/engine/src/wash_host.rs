//! Configuration and arguments of `wash host`.

use std::{
    ffi::OsString,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde_json::json;

use crate::{
    accounts::{HostKind, Role},
    ca::{Authority, CredentialError, Identity},
    environment,
    supervise::Start,
};

/// Name of the host, as people see it.
pub const NAME: &str = "wash host";
/// Name of the host for users' processors, as people see it.
pub const GUESTS: &str = "wash host for processors";
/// Group of a host that is for processors alone.
pub const GUESTS_GROUP: &str = "guests";
/// Group of other hosts.
pub const GROUP: &str = "default";
/// Where the host looks for what it shows to registries, below its folder: in its home.
const LOGINS: (&str, &str) = ("home/.docker", "config.json");
/// How long a host that has just started looks for the site's server. Then it ends, and is started
/// again.
const LOOKS_FOR: &str = "10m";
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
/// Largest memory of all instances of processors together: that of as many as process messages at
/// the same time. A component with many memories gets no more.
const GUESTS_MEMORY: &str = "512MiB";

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

/// A certificate and its secret key, both in PEM.
#[derive(Clone)]
pub struct Certified {
    /// The certificate.
    pub certificate_pem: String,
    /// The secret key.
    pub key_pem: String,
}

impl fmt::Debug for Certified {
    /// Omits the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certified").finish_non_exhaustive()
    }
}

impl From<&Identity> for Certified {
    fn from(identity: &Identity) -> Self {
        Self { certificate_pem: identity.certificate_pem(), key_pem: identity.key_pem() }
    }
}

/// Who a host is on its server: one certificate for control, one for data.
#[derive(Clone, Debug)]
pub struct Identities {
    /// For control.
    pub control: Certified,
    /// For data.
    pub data: Certified,
}

impl Identities {
    /// Those of the site's own host of this kind, for one run.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn of_own_host(authority: &Authority, kind: HostKind) -> Result<Self, CredentialError> {
        let [control, data] = Role::of_own_host(kind);
        Ok(Self {
            control: Certified::from(&control.identity(authority)?),
            data: Certified::from(&data.identity(authority)?),
        })
    }
}

/// The registry from which a host pulls, and how.
#[derive(Clone)]
pub struct PullsFrom {
    /// Host and port, as a reference of an image begins. The host names it in its heartbeats, so
    /// that the site knows what to call an image there.
    pub registry: String,
    /// Whether it speaks plain HTTP. Only on loopback.
    pub in_clear_text: bool,
    /// Authorities in PEM that the host believes there besides the public ones.
    pub ca_pem: Option<String>,
    /// What it shows there; nothing where anyone may pull.
    pub token: Option<String>,
}

impl fmt::Debug for PullsFrom {
    /// Omits the token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PullsFrom")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Configuration of a start.
#[derive(Debug)]
pub struct Config<'a> {
    /// What the host runs. One for processors has limits of its own, calls nobody, and gives way to
    /// the rest of the machine.
    pub kind: HostKind,
    /// Host name in logs and heartbeats.
    pub name: &'a str,
    /// Group of the host, as its heartbeats name it.
    pub group: &'a str,
    /// Host and port of the hosts' server, for both control and data.
    pub nats: &'a str,
    /// Certificate in PEM of the authority that made the server's.
    pub server_ca_pem: &'a str,
    /// Who the host is there.
    pub identities: &'a Identities,
    /// Where it pulls images.
    pub pulls_from: &'a PullsFrom,
    /// Address at which the host's components answer HTTP, if there is one.
    pub http: Option<SocketAddr>,
    /// The host's own folder, for log, image cache and certificates.
    pub folder: &'a Path,
    /// Whether a component calls a server on another machine.
    pub calls_servers: bool,
    /// Authorities in PEM that components believe when they call servers, instead of the public
    /// ones.
    pub servers_ca: Option<&'a [u8]>,
}

/// Writes the host's files and returns how to start it.
///
/// # Errors
/// The folder cannot be written.
pub fn prepare(program: PathBuf, config: &Config<'_>) -> io::Result<Start> {
    durable::create_folder(config.folder)?;
    // The host finds images by the address of their registry. Ours has another address at each
    // start, so cached images are of no use.
    match fs::remove_dir_all(config.folder.join(IMAGES)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let nats = format!("tls://{}", config.nats);
    let PullsFrom { registry, in_clear_text, ca_pem, token } = config.pulls_from;
    let mut arguments: Vec<OsString> = vec![
        "--non-interactive".into(),
        "host".into(),
        "--host-name".into(),
        config.name.into(),
        "--host-group".into(),
        config.group.into(),
        "--environment".into(),
        registry.into(),
        "--scheduler-nats-url".into(),
        nats.clone().into(),
        "--data-nats-url".into(),
        nats.into(),
        "--nats-connect-timeout".into(),
        LOOKS_FOR.into(),
        "--oci-cache-dir".into(),
        IMAGES.into(),
        "--core-instances".into(),
        CORE_INSTANCES.to_string().into(),
        "--default-heap-memory".into(),
        HEAP_MEMORY.into(),
    ];
    if let Some(http) = config.http {
        arguments.extend(["--http-addr".into(), http.to_string().into()]);
    }
    if config.kind == HostKind::Guests {
        let limits = ["--max-guest-memory", GUESTS_MEMORY, "--guest-memory-mode", "enforce"];
        let sockets = ["--socket-egress", "enforce"];
        arguments.extend(limits.into_iter().chain(sockets).map(OsString::from));
    }
    let put = |name: &str, pem: &[u8]| durable::replace(&config.folder.join(name), pem);
    put("ca.pem", config.server_ca_pem.as_bytes())?;
    let Identities { control, data } = config.identities;
    for (plane, name, certified) in [("scheduler", "control", control), ("data", "data", data)] {
        let [certificate, key] = ["pem", "key"].map(|kind| format!("{name}.{kind}"));
        put(&certificate, certified.certificate_pem.as_bytes())?;
        put(&key, certified.key_pem.as_bytes())?;
        for (what, file) in [("ca", "ca.pem"), ("cert", &certificate), ("key", &key)] {
            arguments.extend([format!("--{plane}-nats-tls-{what}").into(), file.into()]);
        }
    }
    if *in_clear_text {
        // Images are pinned by digest.
        arguments.push("--allow-insecure-registries".into());
    }
    if let Some(pem) = ca_pem {
        let name = "registry-ca.pem";
        put(name, pem.as_bytes())?;
        arguments.extend(["--oci-ca-path", name].map(OsString::from));
    }
    if let Some(pem) = config.servers_ca {
        let name = "servers-ca.pem";
        put(name, pem)?;
        arguments.extend(["--http-client-ca-path", name].map(OsString::from));
        arguments.extend(["--http-client-trust-roots", "extra-only"].map(OsString::from));
    }
    let (folder, name) = LOGINS;
    environment::make(config.folder, folder)?;
    let logins = token.as_ref().map_or_else(
        || json!({}),
        // The registry takes any user name.
        |token| json!({ registry: { "auth": BASE64.encode(format!("host:{token}").as_bytes()) } }),
    );
    let logins = json!({ "auths": logins }).to_string();
    durable::replace(&config.folder.join(folder).join(name), logins.as_bytes())?;
    let seconds = if config.calls_servers { CALL_SECONDS } else { COMPUTE_SECONDS };
    let environment = ENVIRONMENT.into_iter().chain([(DELIVER_TIMEOUT, seconds)]).collect();
    Ok(Start {
        name: match config.kind {
            HostKind::Site => NAME,
            HostKind::Guests => GUESTS,
        },
        program,
        arguments,
        environment,
        gives_way: config.kind == HostKind::Guests,
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
        let authority = Authority::new().unwrap();
        let identities = Identities::of_own_host(&authority, HostKind::Site).unwrap();
        let pulls_from = PullsFrom {
            registry: String::from("plant.example:5000"),
            in_clear_text: false,
            ca_pem: Some(String::from("pem")),
            token: Some(String::from("pts_secret")),
        };
        let config = Config {
            kind: HostKind::Site,
            name: "site",
            group: GROUP,
            nats: "plant.example:4223",
            server_ca_pem: "pem",
            identities: &identities,
            pulls_from: &pulls_from,
            http: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
            folder: folder.path(),
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
        let words: Vec<_> = start.arguments.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(!words.iter().any(|word| word.contains("pts_") || word.contains("insecure")));
        assert!(words.join(" ").contains("--oci-ca-path registry-ca.pem"), "{words:?}");
        let logins = fs::read_to_string(folder.path().join("home/.docker/config.json")).unwrap();
        let login = BASE64.encode(b"host:pts_secret");
        assert_eq!(logins, format!(r#"{{"auths":{{"plant.example:5000":{{"auth":"{login}"}}}}}}"#));
        assert!(!start.gives_way && !words.contains(&"--max-guest-memory"));

        let config = Config { kind: HostKind::Guests, http: None, ..config };
        let start = prepare(PathBuf::from("wash"), &config).unwrap();
        let words: Vec<_> = start.arguments.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(start.gives_way && !words.contains(&"--http-addr"), "{words:?}");
        let limits =
            "--max-guest-memory 512MiB --guest-memory-mode enforce --socket-egress enforce";
        assert!(words.join(" ").contains(limits), "{words:?}");
    }
}
