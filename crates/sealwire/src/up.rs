//! `sealwire up`: a whole site on this machine.

use std::{env, fs, io, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use site::up::{Addresses, Config, Ports};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{cli::UpArguments, components, logging, open_files, output};

/// How long work on the disk that nobody waits for any more may take when the site has stopped.
const LAST_WORK_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: UpArguments) -> Result<()> {
    logging::start();
    open_files::allow(site::up::FILES_MAX)?;
    let config = Config {
        data_dir: arguments.data_dir,
        name: arguments.name,
        simulate: arguments.simulate,
        ports: Ports {
            http: arguments.http_port,
            log: arguments.log_port,
            nats: arguments.nats_port,
            mqtt: arguments.mqtt_port,
        },
        page_hosts: arguments.page_hosts,
        components: components::all(),
        heartbeats: arguments.heartbeats,
        polling: poll::Config {
            answer_timeout: Duration::from_millis(arguments.answer_timeout),
            lost_after: Duration::from_secs(arguments.lost_after),
            ..poll::Config::default()
        },
        key_file: arguments.key_file,
        checkpoint_period: Duration::from_millis(arguments.checkpoint_interval),
    };
    let ready = |addresses: &Addresses| {
        announce(addresses);
        arguments.ready_file.as_deref().map_or(Ok(()), |file| write_ready_file(file, addresses))
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let shutdown = shutdown_on_signal()?;
        site::run(config, |step| output::note(&format!("sealwire: {step}")), ready, shutdown)
            .await
            .context("the site does not run")
    });
    // A question that is still being looked up must not hold the process when everything else has ended.
    runtime.shutdown_timeout(LAST_WORK_TIMEOUT);
    outcome
}

fn announce(addresses: &Addresses) {
    let page = addresses.http.replace("127.0.0.1", "localhost");
    let sealwire = env::args().next().unwrap_or_else(|| String::from("sealwire"));
    output::lines(&format!(
        "\n  The site runs.\n\
         \n    page     {page}\
         \n    log      {}\
         \n    sensors  {} or {}\
         \n    key      {}\n\
         \n  Check the log at any time:  {sealwire} verify {}\n\
         \n  Ctrl-C stops everything.\n",
        addresses.log, addresses.nats, addresses.mqtt, addresses.vkey, addresses.log
    ));
}

/// Whole or not at all: whoever waits for the file reads it as soon as it is there.
pub(crate) fn write_ready_file(file: &Path, addresses: &impl Serialize) -> io::Result<()> {
    let next = file.with_extension("next");
    fs::write(&next, serde_json::to_vec(addresses)?)?;
    fs::rename(next, file)
}

/// A token that Ctrl-C and SIGTERM cancel. A second signal ends the process at once: what was acknowledged is durable, and engines end with us.
pub(crate) fn shutdown_on_signal() -> Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let token = shutdown.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it lives as long as the process, which ends with the site"
    )]
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        signalled().await;
        token.cancel();
        signalled().await;
        output::note("sealwire: stopped without waiting, as asked");
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
            .expect("a process may end itself");
    });
    Ok(shutdown)
}
