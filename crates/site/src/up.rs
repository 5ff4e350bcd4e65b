//! Runs a whole site on one machine: both engines and every service.
//!
//! A start goes through these steps: folder, ports, log, `nats-server`, every service that needs
//! only that, `wash host`, and then the simulated sensors. A stop goes the other way: first the
//! sources of readings, then the services that work on them, then the engines, and last the log,
//! covered by a checkpoint.

use std::io;

use data_dir::{Addresses, DataDir, RunFile};
use engine::{find, release, sandbox};
use ledger::Writer;
use orders::SiteLog;
use tokio_util::sync::CancellationToken;

use crate::{
    certificate::Certificate,
    config::Config,
    error::{ComponentMissing, SimulatedHaveNone, UpError},
    listening::{Listening, Programs},
    site::Site,
    start_files::{self, ledger_stopped, open_log},
    workloads::COMPONENTS,
};

/// Runs a site until `shutdown`. `progress` receives a message at each step, `ready` receives the
/// addresses once everything answers.
///
/// # Errors
/// The site did not start, or a failure stopped it. Everything that was started has stopped.
pub async fn run(
    config: Config,
    progress: impl Fn(&str) + Send + Sync,
    ready: impl FnOnce(&Addresses) -> io::Result<()>,
    shutdown: CancellationToken,
) -> Result<(), UpError> {
    let data_dir =
        DataDir::open(&config.data_dir, config.name.as_deref()).map_err(UpError::folder)?;
    data_dir.closed().lines().for_each(|line| progress(&line));
    // The site reads these files again when it uses them. Reading them now shows a wrong file while
    // someone is watching.
    start_files::read_all(data_dir.path())?;
    let missing =
        COMPONENTS.iter().find(|name| !config.components.iter().any(|(known, _)| known == *name));
    if let Some(name) = missing {
        return Err(UpError::machine(ComponentMissing(name)));
    }
    let programs = Programs {
        nats_server: find(&release::NATS_SERVER, &progress).map_err(UpError::machine)?,
        wash: find(&release::WASH, &progress).map_err(UpError::machine)?,
    };
    let source = tls::Source::find(data_dir.path(), config.certificate.clone());
    config.listen.check(source.is_some(), config.open).map_err(UpError::machine)?;
    let certificate = match source.filter(|_| config.listen.is_open()) {
        Some(source) => Some(Certificate::begin(source).map_err(UpError::folder)?),
        None => None,
    };
    let listening = Listening::reserve(config.listen).await?;
    if !sandbox::is_available() {
        progress("this kernel has no Landlock: the engines run with all rights of this account");
    }

    progress("opening the log");
    let (SiteLog { ledger, writer, operator }, cosigning) =
        open_log(&data_dir, config.key_file.clone()).await?;
    let admits = config.admits();
    let (has_none, lets_anyone_in) =
        operator.credentials().look(|book| (book.is_empty(), admits.anyone(book)));
    if config.simulate > 0 && !lets_anyone_in {
        return close(writer, Err(UpError::machine(SimulatedHaveNone))).await;
    }
    if lets_anyone_in {
        progress("devices need no credentials here (`sealwire sensor add` makes the first ones)");
    } else if has_none {
        progress("no device has a credential yet, so none is let in: `sealwire sensor add`");
    }
    let outcome = {
        let mut site =
            Site::new(&data_dir, ledger, operator, cosigning, &listening, certificate, admits);
        let starting = Box::pin(site.start(config, listening, programs, &progress));
        let outcome = match shutdown.run_until_cancelled(starting).await {
            Some(Ok(page)) => site.serve(page, ready, &progress, &shutdown).await,
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        progress("stopping");
        RunFile::remove(data_dir.path());
        site.stop().await;
        outcome
    };
    close(writer, outcome).await
}

async fn close(writer: Writer, outcome: Result<(), UpError>) -> Result<(), UpError> {
    // If the writer failed, it caused every other failure.
    writer.close().await.map_err(ledger_stopped)?;
    outcome
}
