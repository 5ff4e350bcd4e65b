//! `sealwire up`: runs a whole site on this machine.

use std::{
    env,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use data_dir::Addresses;
use durable::{OutputError, Stop};
use serde::Serialize;
use site::{Config, Listen, Mirror};
use tracing::warn;

use crate::{cli::UpArguments, components, logging, map, open_files, output, processors, signals};

/// Time for disk work for which no caller waits any more, after the site has stopped.
const LAST_WORK_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: UpArguments) -> Result<()> {
    logging::start();
    open_files::allow(site::FILES_MAX)?;
    let rules = arguments.map.as_deref().map(|file| map::rules(Some(file))).transpose()?;
    let processors = arguments.processors.as_deref().map(processors::read).transpose()?;
    let mirror = mirror(&arguments)?;
    let data_dir = arguments.data_dir.clone();
    let config = Config {
        data_dir: arguments.data_dir,
        name: arguments.name,
        simulate: arguments.simulate,
        open: arguments.open,
        listen: Listen {
            page: (arguments.http_listen, arguments.http_port).into(),
            log: (arguments.log_listen, arguments.log_port).into(),
            nats: (arguments.nats_listen, arguments.nats_port).into(),
            mqtt: (arguments.mqtt_listen, arguments.mqtt_port).into(),
            registry: closed_unless_named(
                "registry",
                arguments.registry_listen,
                arguments.registry_port,
            )?,
            leaf: closed_unless_named("leaf", arguments.leaf_listen, arguments.leaf_port)?,
            hosts: closed_unless_named("hosts", arguments.hosts_listen, arguments.hosts_port)?,
        },
        certificate: both(arguments.tls_cert, arguments.tls_key)?,
        page_hosts: arguments.page_hosts,
        components: components::all(),
        heartbeats: arguments.heartbeats,
        rules,
        mirror,
        processors: processors.unwrap_or_default(),
        polling: poll::Config {
            answer_timeout: Duration::from_millis(arguments.answer_timeout),
            retries: arguments.retries,
            lost_after: Duration::from_secs(arguments.lost_after),
            polls_per_second: arguments.polls_per_second,
            polls_in_flight: arguments.polls_in_flight,
            new_sensors_per_minute: arguments.new_sensors_per_minute.max(arguments.simulate),
            ..poll::Config::default()
        },
        key_file: arguments.key_file,
        checkpoint_period: Duration::from_millis(arguments.checkpoint_interval),
    };
    let ready = |addresses: &Addresses| {
        announce(addresses, &data_dir);
        arguments.ready_file.as_deref().map_or(Ok(()), |file| write_ready_file(file, addresses))
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        site::run(config, |step| output::note(&format!("sealwire: {step}")), ready, shutdown)
            .await
            .context("cannot run the site")
    });
    // A question that is still being looked up must not delay the exit when everything else has
    // ended.
    runtime.shutdown_timeout(LAST_WORK_TIMEOUT);
    outcome
}

/// The files of a certificate and of its key, if they are named.
fn both(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        _ => bail!("tls-cert and tls-key belong together: name both files, or neither"),
    }
}

/// Where a port listens that is closed unless it is named.
fn closed_unless_named(
    name: &str,
    listen: Option<IpAddr>,
    port: Option<u16>,
) -> Result<Option<SocketAddr>> {
    match (listen, port) {
        (Some(_), None) => bail!("{name}-listen needs {name}-port: name the port too"),
        (listen, port) => {
            let listen = listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            Ok(port.map(|port| (listen, port).into()))
        }
    }
}

/// The server to which the log is mirrored, if it is named.
fn mirror(arguments: &UpArguments) -> Result<Option<Mirror>> {
    match (&arguments.mirror_url, &arguments.mirror_token_file) {
        (Some(endpoint), Some(token)) => {
            let server = (endpoint.clone(), arguments.mirror_config_id.clone());
            let mirror = Mirror::read(server, token, arguments.mirror_ca.as_deref())?;
            if endpoint.is_in_clear() {
                let words = "sealwire: the mirror's token and all events go there in clear text: ";
                output::note(&format!("{words}{}", endpoint.as_str()));
            }
            Ok(Some(mirror))
        }
        (None, None) if arguments.mirror_ca.is_none() && arguments.mirror_config_id.is_none() => {
            Ok(None)
        }
        _ => bail!("a mirror needs both mirror-url and mirror-token-file"),
    }
}

fn announce(addresses: &Addresses, data_dir: &Path) {
    let page = addresses.http.replace("127.0.0.1", "localhost");
    let sealwire = env::args_os().next().map_or_else(|| "sealwire".into(), PathBuf::from);
    let sealwire = output::quoted(&sealwire);
    // `verify` does not know the site's own authority.
    let is_encrypted = addresses.log.starts_with("https:");
    let log = if is_encrypted { output::quoted(data_dir) } else { addresses.log.clone() };
    let other = |name: &str, address: &Option<String>| {
        address.as_ref().map(|it| format!("\n    {name:<8} {it}")).unwrap_or_default()
    };
    let leaf = other("leaves", &addresses.leaf);
    let registry = other("registry", &addresses.registry);
    let hosts = other("hosts", &addresses.hosts);
    output::lines(&format!(
        "\n  The site is running.\n\
         \n    page     {page}\
         \n    log      {}\
         \n    sensors  {} or {}{leaf}\
         {registry}{hosts}\
         \n    key      {}\n\
         \n  Verify the log at any time:  {sealwire} verify {log}\n\
         \n  Press Ctrl-C to stop.\n",
        addresses.log, addresses.nats, addresses.mqtt, addresses.vkey
    ));
}

/// Writes the addresses to a file, whole or not at all: a program that waits for the file reads it
/// as soon as it exists. If the file is a pipe, its reader may come later, and this does not wait
/// for it.
pub(crate) fn write_ready_file(file: &Path, addresses: &impl Serialize) -> io::Result<()> {
    let mut json = serde_json::to_vec(addresses)?;
    json.push(b'\n');
    let path = file.to_owned();
    let write = move || -> Result<(), OutputError> {
        let failed = |source| OutputError::new(&path, source);
        durable::write_output(&path, &Stop::default(), |out| out.write_all(&json).map_err(failed))?;
        Ok(())
    };
    if !durable::is_stream(file) {
        return write().map_err(io::Error::other);
    }
    let write = move || {
        if let Err(error) = write() {
            warn!(source = ?std::error::Error::source(&error), "{error}");
        }
    };
    thread::Builder::new().name(String::from("ready file")).spawn(write)?;
    Ok(())
}
