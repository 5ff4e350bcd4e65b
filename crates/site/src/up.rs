//! A whole site on one machine: both engines and every service, started in order and stopped in order.
//!
//! The order up: folder, ports, log, `nats-server`, everything that needs only it, `wash host`, and then the simulated sensors. Down it is the other way
//! round: first what brings readings, then what works on them, then the engines, and the log last, covered by a checkpoint.

mod bus;
mod error;
mod part;
mod ready;
mod site;

use std::{io, path::PathBuf, time::Duration};

use data_dir::Addresses;
use data_dir::{folder::DataDir, run_file::RunFile};
use engine::{find, release, sandbox};
use ledger::Writer;
use model::Pattern;
use orders::SiteLog;
use page_http::PageHost;
use services::cosigning::Cosigning;
use tokio_util::sync::CancellationToken;

use self::site::Site;
use crate::{
    ports::{Reserved, reserve},
    start_files,
};

pub use self::error::UpError;
pub use crate::workloads::COMPONENTS;

/// Files that a site has open at most: the connections of its ports, and its own. Of those, tokio's 512 threads for work on the disk may each have one;
/// the others are 60 while nobody asks for anything, and grow with the log: a file for each 64 MiB. It is below 4,096, the hard limit of many a system.
pub const FILES_MAX: u64 = http_server::Places::MANY.files_max()
    + page_http::FILES_MAX
    + REGISTRY_PLACES.files_max()
    + 1_024;

/// Connections of the component registry: a host opens a few at each start.
const REGISTRY_PLACES: http_server::Places = http_server::Places { connections: 32, refusals: 16 };

/// What a site is made of.
#[derive(Debug)]
pub struct Config {
    /// Its folder.
    pub data_dir: PathBuf,
    /// Its name, for a new site.
    pub name: Option<String>,
    /// Sensors to simulate.
    pub simulate: u32,
    /// Ports on loopback; 0 picks a free one.
    pub ports: Ports,
    /// Names, beside the machine's own, under which people reach the page.
    pub page_hosts: Vec<PageHost>,
    /// The components, by name: all of [`COMPONENTS`].
    pub components: Vec<(String, Vec<u8>)>,
    /// Subjects on which sensors say that they live.
    pub heartbeats: Vec<Pattern>,
    /// How patient the poller is.
    pub polling: poll::Config,
    /// The file with the log's signing key; in the folder where this is `None`.
    pub key_file: Option<PathBuf>,
    /// Time between two checkpoints while the log grows.
    pub checkpoint_period: Duration,
}

/// Where the site listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The page and its API.
    pub http: u16,
    /// The log.
    pub log: u16,
    /// NATS clients.
    pub nats: u16,
    /// MQTT devices.
    pub mqtt: u16,
}

/// Runs a site until `shutdown`. `progress` is told what is being done, `ready` where the site is found once everything answers.
///
/// # Errors
/// What kept the site from starting, or made it stop. Everything that was started has been stopped.
pub async fn run(
    config: Config,
    progress: impl Fn(&str) + Send + Sync,
    ready: impl FnOnce(&Addresses) -> io::Result<()>,
    shutdown: CancellationToken,
) -> Result<(), UpError> {
    let data_dir = DataDir::open(&config.data_dir, config.name.as_deref())?;
    data_dir.closed().lines().for_each(|line| progress(&line));
    // Read again where it is used; a wrong file is better found while someone looks.
    start_files::read_all(data_dir.path())?;
    let missing =
        COMPONENTS.iter().find(|name| !config.components.iter().any(|(known, _)| known == *name));
    if let Some(name) = missing {
        return Err(UpError::ComponentMissing { name });
    }
    let programs = Programs {
        nats_server: find(&release::NATS_SERVER, &progress)?,
        wash: find(&release::WASH, &progress)?,
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

/// Opens a site's log and reads what belongs to it, as a start does.
pub(crate) async fn open_log(
    data_dir: &DataDir,
    key_file: Option<PathBuf>,
) -> Result<(SiteLog, Option<Cosigning>), UpError> {
    let log = SiteLog::open(data_dir, key_file)?;
    let (policy, witnessed) = (data_dir.witness_policy(), data_dir.witnessed());
    match Cosigning::open(&policy, &witnessed, log.ledger.clone()) {
        Ok(cosigning) => Ok((log, cosigning)),
        Err(error) => {
            log.writer.close().await.map_err(UpError::Write)?;
            Err(error.into())
        }
    }
}

async fn close(writer: Writer, outcome: Result<(), UpError>) -> Result<(), UpError> {
    // If the writer failed, whatever else failed followed from it.
    writer.close().await.map_err(UpError::Write)?;
    outcome
}

/// Where the engines are.
struct Programs {
    nats_server: PathBuf,
    wash: PathBuf,
}

/// The ports of the site, all held until each goes to the program that is to listen on it.
struct Listening {
    page: Reserved,
    /// Where the host answers the page's port.
    host: Reserved,
    bus: bus::Listening,
    log: Reserved,
}

impl Listening {
    async fn reserve(ports: Ports) -> Result<Self, UpError> {
        Ok(Self {
            page: reserve("the page", "--http-port", ports.http).await?,
            log: reserve("the log", "--log-port", ports.log).await?,
            // Nobody but this process asks there, so it needs no name: any free port will do.
            host: reserve("the host", "--http-port", 0).await?,
            bus: bus::Listening {
                nats: reserve("NATS", "--nats-port", ports.nats).await?,
                mqtt: reserve("MQTT", "--mqtt-port", ports.mqtt).await?,
                hosts: reserve("hosts", "--nats-port", 0).await?,
            },
        })
    }
}
