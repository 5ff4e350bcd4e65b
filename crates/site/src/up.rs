//! A whole site on one machine: both engines and every service, started in order and stopped in
//! order.
//!
//! The order up: folder, ports, log, `nats-server`, everything that needs only it, `wash host`, and
//! then the simulated sensors. Down it is the other way round: first what brings readings, then
//! what works on them, then the engines, and the log last, covered by a checkpoint.

use std::io;

use data_dir::{Addresses, DataDir, RunFile};
use engine::{find, release, sandbox};
use ledger::Writer;
use orders::SiteLog;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::{ComponentMissing, UpError},
    listening::{Listening, Programs},
    site::Site,
    start_files::{self, ledger_stopped, open_log},
    workloads::COMPONENTS,
};

/// Runs a site until `shutdown`. `progress` is told what is being done, `ready` where the site is
/// found once everything answers.
///
/// # Errors
/// What kept the site from starting, or made it stop. Everything that was started has been stopped.
pub async fn run(
    config: Config,
    progress: impl Fn(&str) + Send + Sync,
    ready: impl FnOnce(&Addresses) -> io::Result<()>,
    shutdown: CancellationToken,
) -> Result<(), UpError> {
    let data_dir =
        DataDir::open(&config.data_dir, config.name.as_deref()).map_err(UpError::folder)?;
    data_dir.closed().lines().for_each(|line| progress(&line));
    // Read again where it is used; a wrong file is better found while someone looks.
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
    let listening = Listening::reserve(config.ports).await?;
    if !sandbox::is_available() {
        progress(
            "this kernel has no Landlock: the engines run with all that this user may see and do",
        );
    }

    progress("opening the log");
    let (SiteLog { ledger, writer, operator }, cosigning) =
        open_log(&data_dir, config.key_file.clone()).await?;
    let outcome = {
        let mut site = Site::new(&data_dir, ledger, operator, cosigning, &listening);
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
    // If the writer failed, whatever else failed followed from it.
    writer.close().await.map_err(ledger_stopped)?;
    outcome
}
