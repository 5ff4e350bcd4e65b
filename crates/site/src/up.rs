//! A whole site on one machine: both engines and every service, started in order and stopped in order.
//!
//! The order up: folder, ports, log, `nats-server`, everything that needs only it, `wash host`, and then the simulated sensors. Down it is the other way
//! round: first what brings readings, then what works on them, then the engines, and the log last, covered by a checkpoint.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use engine::{
    Change, Engine, FindError, Registry, find, nats_server, reconcile, release, wash_host,
};
use index::{IndexError, Indexer, Reader, SensorState};
use ledger::{AppendError, KeyError, Ledger, OpenError, WriteError, Writer, load_or_create_key};
use model::{Event, action};
use poll::Counters;
use serde::Serialize;
use tlog::KeyName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    DataDir, DataDirError, bus, clock, indexing, log_http, pipeline, polling, ports, queries,
    sealing, workloads,
};

/// Time between two checkpoints while the log grows.
const CHECKPOINT_PERIOD: Duration = Duration::from_millis(500);
/// How long `nats-server` may take to answer; it reads JetStream's files first.
const NATS_READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the page may take to answer for the first time; the host compiles the components.
const PAGE_READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between two looks whether something answers.
const READY_PAUSE: Duration = Duration::from_millis(25);
/// How long the services may take to end what they are at when the site stops.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Changes of engines that wait to be sealed.
const CHANGES_MAX: usize = 16;

pub use crate::workloads::COMPONENTS;

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
    /// The components, by name: all of [`COMPONENTS`].
    pub components: Vec<(String, Vec<u8>)>,
    /// How patient the poller is.
    pub polling: poll::Config,
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

/// Where a site is found once everything answers.
#[derive(Clone, Debug, Serialize)]
pub struct Addresses {
    /// The page and its API.
    pub http: String,
    /// The log.
    pub log: String,
    /// NATS clients.
    pub nats: String,
    /// MQTT devices.
    pub mqtt: String,
    /// The log's verifier key.
    pub vkey: String,
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
    let missing =
        COMPONENTS.iter().find(|name| !config.components.iter().any(|(known, _)| known == *name));
    if let Some(name) = missing {
        return Err(UpError::ComponentMissing { name });
    }
    let nats_program = find(&release::NATS_SERVER, &progress)?;
    let wash_program = find(&release::WASH, &progress)?;
    let listening = Listening::reserve(config.ports).await?;

    progress("opening the log");
    let key_name = KeyName::parse(&data_dir.origin()).expect("a site's name is checked");
    let signer = load_or_create_key(&data_dir.key(), key_name)?;
    let (ledger, writer) = Ledger::open(&data_dir.ledger(), signer)?;
    let outcome = {
        let mut site = Site::new(&data_dir, ledger, &listening);
        let started = site.start(config, listening, nats_program, wash_program, &progress).await;
        let outcome = match started {
            Ok(page) => site.serve(page, ready, &progress, &shutdown).await,
            Err(error) => Err(error),
        };
        progress("stopping");
        site.stop().await;
        outcome
    };
    close(writer, outcome).await
}

async fn close(writer: Writer, outcome: Result<(), UpError>) -> Result<(), UpError> {
    let closed = writer.close().await;
    outcome?;
    closed.map_err(UpError::Write)
}

/// Addresses that were found free, and the listeners that are ours.
struct Listening {
    page: SocketAddr,
    nats: SocketAddr,
    mqtt: SocketAddr,
    log: TcpListener,
    log_address: SocketAddr,
}

impl Listening {
    async fn reserve(ports: Ports) -> Result<Self, UpError> {
        let log_address = ports::reserve("the log", "--log-port", ports.log)?;
        let log = TcpListener::bind(log_address).await.map_err(|_| UpError::PortInUse {
            what: "the log",
            flag: "--log-port",
            port: log_address.port(),
        })?;
        Ok(Self {
            page: ports::reserve("the page", "--http-port", ports.http)?,
            nats: ports::reserve("NATS", "--nats-port", ports.nats)?,
            mqtt: ports::reserve("MQTT", "--mqtt-port", ports.mqtt)?,
            log,
            log_address,
        })
    }
}

/// Where the page will be, and how many hosts are there to serve it.
struct Page {
    address: SocketAddr,
    hosts_ready: watch::Receiver<usize>,
}

/// The running parts, in the order in which they stop.
struct Site<'a> {
    data_dir: &'a DataDir,
    ledger: Ledger,
    addresses: Addresses,
    /// What brings readings: the simulator and the poller.
    intake: Part,
    /// What works on the log and shows it.
    services: Part,
    host: Part,
    bus: Part,
    events: mpsc::Sender<Event>,
    /// Seals `events`; ends when every sender is gone.
    sealing: JoinSet<Result<(), UpError>>,
}

/// Tasks that stop together.
struct Part {
    tasks: JoinSet<Result<(), UpError>>,
    stop: CancellationToken,
}

impl Part {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// The failure of the first task that ends. Never returns while none does.
    async fn failure(&mut self) -> UpError {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Ok(Ok(()))) => UpError::Ended,
            Some(Err(panic)) => UpError::Panicked(panic),
            None => std::future::pending().await,
        }
    }

    /// Asks the tasks to stop and waits for them; those that take longer than `patience` are cut off.
    async fn stop(&mut self, patience: Duration) {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(failure)) = ended {
                    warn!(%failure, "while stopping");
                }
            }
        };
        if timeout(patience, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

impl<'a> Site<'a> {
    fn new(data_dir: &'a DataDir, ledger: Ledger, listening: &Listening) -> Self {
        let (events, queue) = mpsc::channel(sealing::QUEUE_EVENTS_MAX);
        let mut sealing = JoinSet::new();
        let log = ledger.clone();
        sealing.spawn(async move { Ok(sealing::run(log, queue).await?) });
        let Listening { page, nats, mqtt, log_address, .. } = listening;
        let addresses = Addresses {
            http: format!("http://{page}"),
            log: format!("http://{log_address}"),
            nats: format!("nats://{nats}"),
            mqtt: format!("mqtt://{mqtt}"),
            vkey: ledger.vkey().to_string(),
        };
        Self {
            data_dir,
            ledger,
            addresses,
            intake: Part::new(),
            services: Part::new(),
            host: Part::new(),
            bus: Part::new(),
            events,
            sealing,
        }
    }

    /// Starts everything; answers where the page will be.
    async fn start(
        &mut self,
        config: Config,
        listening: Listening,
        nats_program: PathBuf,
        wash_program: PathBuf,
        progress: &(impl Fn(&str) + Sync),
    ) -> Result<Page, UpError> {
        let Listening { page, nats, mqtt, log, .. } = listening;
        let (changes, changed) = mpsc::channel(CHANGES_MAX);
        self.seal_changes(changed);
        self.seal(Event::site(
            action::SITE_STARTED,
            "site",
            format!("site {} starts", self.data_dir.name()),
            clock::now(),
        ));

        progress("starting nats-server");
        let folder = self.data_dir.engine("nats");
        let name = self.data_dir.name();
        let start = nats_server::prepare(
            nats_program,
            &nats_server::Config { name, nats, mqtt, folder: &folder },
        )
        .map_err(|source| UpError::Engine { name: "nats-server", source })?;
        let mut server = Engine::start(start)
            .map_err(|source| UpError::Engine { name: "nats-server", source })?;
        let connection = connect(&mut server, nats).await?;
        let supervised = server.supervise(changes.clone(), self.bus.stop.clone());
        self.bus.tasks.spawn(async {
            supervised.await;
            Ok(())
        });

        let registry = Registry::bind(workloads::images(&config.components))
            .await
            .map_err(|source| UpError::Listen { what: "the component registry", source })?;
        let digest =
            registry.image(workloads::SENSOR_READER).map(|(image, _)| image.digest().to_owned());
        let workloads = workloads::workloads(&registry, page)
            .map_err(|name| UpError::ComponentMissing { name })?;
        let (hosts_ready, watch_hosts_ready) = watch::channel(0);
        let reconciling = reconcile::run(
            connection.client.clone(),
            workloads,
            hosts_ready,
            self.services.stop.clone(),
        );
        let serving = registry.serve(self.services.stop.clone());
        self.services.tasks.spawn(async { Ok(reconciling.await?) });
        self.services.tasks.spawn(async {
            serving
                .await
                .map_err(|source| UpError::Listen { what: "the component registry", source })
        });

        progress("starting wash host");
        let folder = self.data_dir.engine("wash");
        let start = wash_host::prepare(
            wash_program,
            &wash_host::Config { name, nats, http: page, folder: &folder },
        )
        .map_err(|source| UpError::Engine { name: "wash host", source })?;
        let host =
            Engine::start(start).map_err(|source| UpError::Engine { name: "wash host", source })?;
        let supervised = host.supervise(changes, self.host.stop.clone());
        self.host.tasks.spawn(async {
            supervised.await;
            Ok(())
        });

        let known =
            self.start_services(connection.clone(), log, page, digest.unwrap_or_default()).await?;
        self.start_polling(config.polling, known.0, connection, known.1);
        if config.simulate > 0 {
            let (nats, stop) = (self.addresses.nats.clone(), self.intake.stop.clone());
            let simulated =
                async move { simulator::run(nats, config.simulate, rand::random(), stop).await };
            self.intake.tasks.spawn(async { Ok(simulated.await?) });
        }
        Ok(Page { address: page, hosts_ready: watch_hosts_ready })
    }

    /// Starts what works on the log. Answers the sensors the log knows, and where the poller leaves its counters.
    async fn start_services(
        &mut self,
        connection: bus::Connection,
        listener: TcpListener,
        page: SocketAddr,
        digest: String,
    ) -> Result<(Vec<(model::Heartbeat, poll::SensorState)>, watch::Sender<Counters>), UpError>
    {
        let indexer = Indexer::open(&self.data_dir.index(), &self.addresses.vkey)?;
        let (for_queries, for_pipeline) = (indexer.reader()?, indexer.reader()?);
        let (indexed, watch_indexed) = watch::channel(0);
        let (counters, watch_counters) = watch::channel(Counters::default());
        let stop = &self.services.stop;
        let tasks = &mut self.services.tasks;

        let indexing = indexing::run(self.ledger.clone(), indexer, indexed, stop.clone());
        tasks.spawn(async { Ok(indexing.await?) });
        let checkpointing =
            stop.clone().run_until_cancelled_owned(publish_checkpoints(self.ledger.clone()));
        tasks.spawn(async { checkpointing.await.unwrap_or(Ok(())) });
        let judging = pipeline::run(
            self.ledger.clone(),
            connection.client.clone(),
            digest,
            for_pipeline,
            watch_indexed.clone(),
            stop.clone(),
        );
        tasks.spawn(async { Ok(judging.await?) });
        let page_origins = [page.ip().to_string(), String::from("localhost")]
            .iter()
            .filter_map(|host| format!("http://{host}:{}", page.port()).parse().ok())
            .collect();
        let shown = log_http::LogHttp {
            ledger: self.ledger.clone(),
            counters: watch_counters.clone(),
            connection: connection.clone(),
            page_origins,
        };
        let serving = log_http::serve(listener, shown, stop.clone());
        tasks.spawn(async {
            serving.await.map_err(|source| UpError::Listen { what: "the log", source })
        });

        let known = self.known_sensors(&for_queries, watch_indexed).await?;
        let queries = queries::Queries {
            ledger: self.ledger.clone(),
            index: for_queries,
            connection,
            counters: watch_counters,
            site_name: self.data_dir.name().to_owned(),
            log_url: self.addresses.log.clone(),
        };
        let answering = queries::run(queries, self.services.stop.clone());
        self.services.tasks.spawn(async { Ok(answering.await?) });
        Ok((known, counters))
    }

    /// The sensors as the whole log has them.
    async fn known_sensors(
        &mut self,
        index: &Reader,
        mut indexed: watch::Receiver<u64>,
    ) -> Result<Vec<(model::Heartbeat, poll::SensorState)>, UpError> {
        let size = self.ledger.size();
        tokio::select! {
            _caught_up = indexed.wait_for(|next_leaf| *next_leaf >= size) => {}
            failure = self.services.failure() => return Err(failure),
        }
        let state = |state| match state {
            SensorState::Online => poll::SensorState::Online,
            SensorState::Lost => poll::SensorState::Lost,
            SensorState::Disconnected => poll::SensorState::Disconnected,
        };
        let sensors = index.sensors(0)?;
        Ok(sensors.into_iter().map(|sensor| (sensor.heartbeat, state(sensor.state))).collect())
    }

    fn start_polling(
        &mut self,
        config: poll::Config,
        known: Vec<(model::Heartbeat, poll::SensorState)>,
        connection: bus::Connection,
        counters: watch::Sender<Counters>,
    ) {
        let start =
            polling::Start { config, known, connection, events: self.events.clone(), counters };
        let polling = polling::run(start, self.intake.stop.clone());
        self.intake.tasks.spawn(async { Ok(polling.await?) });
    }

    /// Waits until the page answers, says so, and then until the site is to stop or something fails.
    async fn serve(
        &mut self,
        page: Page,
        ready: impl FnOnce(&Addresses) -> io::Result<()>,
        progress: &(impl Fn(&str) + Sync),
        shutdown: &CancellationToken,
    ) -> Result<(), UpError> {
        progress("starting the components");
        let answering = async {
            timeout(PAGE_READY_TIMEOUT, page_answers(page)).await.map_err(|_elapsed| {
                UpError::PageSilent { log: self.data_dir.engine("wash").join("wash-host.log") }
            })
        };
        tokio::select! {
            answers = answering => answers?,
            failure = failure_of(&mut self.intake, &mut self.services, &mut self.host, &mut self.bus, &mut self.sealing) => return Err(failure),
            () = shutdown.cancelled() => return Ok(()),
        }
        ready(&self.addresses).map_err(UpError::Ready)?;
        tokio::select! {
            failure = failure_of(&mut self.intake, &mut self.services, &mut self.host, &mut self.bus, &mut self.sealing) => Err(failure),
            () = shutdown.cancelled() => Ok(()),
        }
    }

    /// Stops everything but the log: within five seconds, whatever hangs.
    async fn stop(mut self) {
        self.seal(Event::site(
            action::SITE_STOPPED,
            "site",
            format!("site {} stops", self.data_dir.name()),
            clock::now(),
        ));
        self.intake.stop(DRAIN_TIMEOUT).await;
        drop(self.events);
        // Whoever brought events is gone, so sealing ends when what waited is sealed.
        let sealed = async { while self.sealing.join_next().await.is_some() {} };
        if timeout(DRAIN_TIMEOUT, sealed).await.is_err() {
            warn!("stopping with events that could not be sealed");
        }
        self.services.stop(DRAIN_TIMEOUT).await;
        // These wait for their engine, which is killed when it takes too long.
        self.host.stop(Duration::MAX).await;
        self.bus.stop(Duration::MAX).await;
    }

    /// Hands an event of the site itself to be sealed.
    fn seal(&self, event: Event) {
        if let Err(error) = self.events.try_send(event) {
            warn!(%error, "an event of the site itself is not sealed");
        }
    }

    /// Seals the outages of engines.
    fn seal_changes(&mut self, mut changed: mpsc::Receiver<Change>) {
        let events = self.events.downgrade();
        let stop = self.services.stop.clone();
        self.services.tasks.spawn(async move {
            while let Some(Some(change)) = stop.run_until_cancelled(changed.recv()).await {
                let event = match change {
                    Change::Down { name, reason } => Event::site(
                        action::ENGINE_DOWN,
                        name,
                        format!("{name} {reason}"),
                        clock::now(),
                    ),
                    Change::Up { name, outage } => {
                        let message = format!("{name} runs again after {} ms", outage.as_millis());
                        Event::site(action::ENGINE_UP, name, message, clock::now())
                    }
                };
                let Some(events) = events.upgrade() else { break };
                let _stopping = events.send(event).await;
            }
            stop.cancelled().await;
            Ok(())
        });
    }
}

/// The first failure of any part.
async fn failure_of(
    intake: &mut Part,
    services: &mut Part,
    host: &mut Part,
    bus: &mut Part,
    sealing: &mut JoinSet<Result<(), UpError>>,
) -> UpError {
    tokio::select! {
        failure = intake.failure() => failure,
        failure = services.failure() => failure,
        failure = host.failure() => failure,
        failure = bus.failure() => failure,
        Some(ended) = sealing.join_next() => match ended {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) => UpError::Ended,
            Err(panic) => UpError::Panicked(panic),
        },
    }
}

async fn publish_checkpoints(ledger: Ledger) -> Result<(), UpError> {
    let mut ticks = interval(CHECKPOINT_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        ledger.publish_checkpoint().await?;
    }
}

/// Connects to the server as soon as it answers.
async fn connect(server: &mut Engine, address: SocketAddr) -> Result<bus::Connection, UpError> {
    let deadline = Instant::now() + NATS_READY_TIMEOUT;
    loop {
        let error = match bus::connect(address).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if let Some(end) = server.ended() {
            return Err(UpError::EngineEnded { end });
        }
        if Instant::now() > deadline {
            return Err(UpError::Bus(error));
        }
        sleep(READY_PAUSE).await;
    }
}

/// Waits until the gateway answers with what it got from the site.
async fn page_answers(mut page: Page) {
    // The sender lives as long as the reconciler, and when that ends the site stops.
    let _alive = page.hosts_ready.wait_for(|hosts| *hosts > 0).await.is_ok();
    while !matches!(asks_the_gateway(page.address).await, Ok(true)) {
        sleep(READY_PAUSE).await;
    }
    info!(page = %page.address, "the page answers");
}

async fn asks_the_gateway(page: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, page.port())).await?;
    stream
        .write_all(
            format!("GET /api/site HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// Its folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// An engine is missing.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The binary was built without a component.
    #[error(
        "this sealwire was built without the component `{name}`: build it with `cargo xtask build`"
    )]
    ComponentMissing {
        /// Which.
        name: &'static str,
    },
    /// A port is taken.
    #[error(
        "port {port} for {what} is in use: stop what uses it, or name another with {flag} (0 picks a free one)"
    )]
    PortInUse {
        /// What it is for.
        what: &'static str,
        /// The flag that names another.
        flag: &'static str,
        /// The port.
        port: u16,
    },
    /// A listener fails.
    #[error("{what} cannot listen")]
    Listen {
        /// Whose.
        what: &'static str,
        /// What failed.
        source: io::Error,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The index cannot be used.
    #[error(
        "the index cannot be used; it holds nothing that the log does not, so it may be deleted"
    )]
    Index(#[from] IndexError),
    /// An engine cannot be started.
    #[error("{name} cannot be started")]
    Engine {
        /// Which.
        name: &'static str,
        /// What failed.
        source: io::Error,
    },
    /// An engine ended at once.
    #[error("{end}")]
    EngineEnded {
        /// How.
        end: String,
    },
    /// The message bus cannot be reached.
    #[error("nats-server does not answer")]
    Bus(#[source] async_nats::ConnectError),
    /// A subscription is refused.
    #[error("the message bus refuses a subscription")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The page does not come.
    #[error("the page does not answer; the host's log is {}", log.display())]
    PageSilent {
        /// The host's log.
        log: PathBuf,
    },
    /// Whoever was to be told where the site is could not be.
    #[error("the site's addresses cannot be told")]
    Ready(#[source] io::Error),
    /// The ledger refuses an event.
    #[error("an event cannot be sealed")]
    Append(#[from] AppendError),
    /// The ledger cannot go on.
    #[error("the ledger has stopped")]
    Write(#[source] WriteError),
    /// Indexing fails.
    #[error(transparent)]
    Indexing(#[from] indexing::IndexingError),
    /// Judging fails.
    #[error(transparent)]
    Pipeline(#[from] pipeline::PipelineError),
    /// The simulator fails.
    #[error("the simulated sensors stopped")]
    Simulator(#[from] simulator::SimulatorError),
    /// A service ended although nobody asked it to.
    #[error("a service of the site has ended by itself")]
    Ended,
    /// A bug.
    #[error("a service of the site panicked")]
    Panicked(#[source] JoinError),
}
