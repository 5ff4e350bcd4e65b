//! A log, its pipeline and a host with the components that judge and check, without the rest of a
//! site: no sensors, no page. `sealwire bench pipeline` measures it.

use std::{path::Path, slice, str::FromStr as _, time::Duration};

use access::{Gate, Scope, TokenDescription, TokenName};
use async_nats::{Client, Request};
use data_dir::DataDir;
use engine::{Change, Engine, find, release, wash_host};
use lattice::{Deployment, Standing};
use ledger::{Batch, Ledger, Writer};
use model::{
    Event,
    processing::{ProcessorName, Question, VERSION},
};
use orders::SiteLog;
use registry::{Parts, Readers, Registry, no_room};
use services::{
    applications::{Desk, checking::Checking},
    bus::Connections,
    checkpointing::Checkpointing,
    indexing::{self, AtStart, Indexing},
    pipeline::{Digests, Judging, Meters},
    progress::progress,
    timings,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    bus,
    config::REGISTRY_PLACES,
    error::{ComponentMissing, EngineError, UpError, no_registry},
    own_host,
    part::Part,
    ports::{LOOPBACK, reserve},
    processors::{ImageName, Processors},
    start_files::ledger_stopped,
    workloads,
};

/// Changes of engines that nobody has heard yet.
const CHANGES_MAX: usize = 16;
/// Time that a component has to answer a question, and the pause before it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// Time that a component has until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Name of the component that each processor runs.
const PROCESSOR: &str = "test-processor";

/// A log whose readings are judged.
pub struct JudgingAlone {
    /// The log.
    pub ledger: Ledger,
    /// The first leaf whose verdict is not sealed.
    pub judged: watch::Receiver<u64>,
    /// The same of each processor.
    pub processed: Vec<watch::Receiver<u64>>,
    /// Where events of applications are handed in.
    pub desk: Desk,
    /// An application.
    pub application: TokenDescription,
    processor: Option<ImageName>,
    want: watch::Sender<Vec<Deployment>>,
    data: Client,
    services: Part,
    engines: Part,
    writer: Writer,
    _data_dir: DataDir,
}

impl std::fmt::Debug for JudgingAlone {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("JudgingAlone").finish_non_exhaustive()
    }
}

impl JudgingAlone {
    /// Seals events in the log of a site's folder while nobody judges. Creates the log if there is
    /// none.
    ///
    /// # Errors
    /// The folder or the log cannot be used.
    pub async fn seal_before(
        folder: &Path,
        batches: impl Iterator<Item = Vec<Event>>,
    ) -> Result<(), UpError> {
        let data_dir = DataDir::open(folder, None).map_err(UpError::folder)?;
        let SiteLog { ledger, writer, .. } =
            SiteLog::open(&data_dir, None).map_err(UpError::folder)?;
        for events in batches {
            ledger.append(Batch::of(events)).await.map_err(UpError::folder)?;
        }
        writer.close().await.map_err(ledger_stopped)
    }

    /// Judges the log of a site's folder, and returns once a host runs the components. Creates the
    /// log if there is none. `components` are those of a site. With `processor`, a user's
    /// processor runs beside them under each of the names.
    ///
    /// # Errors
    /// The folder or the log cannot be used, or an engine does not start.
    pub async fn start(
        folder: &Path,
        components: &[(String, Vec<u8>)],
        processor: Option<(&[u8], &[ProcessorName])>,
        checkpoint_period: Duration,
    ) -> Result<Self, UpError> {
        let data_dir = DataDir::open(folder, None).map_err(UpError::folder)?;
        let nats_server = find(&release::NATS_SERVER, &|_line| {}).map_err(UpError::machine)?;
        let wash = find(&release::WASH, &|_line| {}).map_err(UpError::machine)?;
        let SiteLog { ledger, writer, operator } =
            SiteLog::open(&data_dir, None).map_err(UpError::folder)?;
        let listening = bus::Listening {
            nats: reserve("NATS", "--nats-port", LOOPBACK).await?,
            mqtt: reserve("MQTT", "--mqtt-port", LOOPBACK).await?,
            leaf: None,
            hosts: reserve("hosts", "--hosts-port", LOOPBACK).await?,
            takes_other_hosts: false,
        };
        let port = reserve("the host", "--http-port", LOOPBACK).await?;
        let (mut services, mut engines) = (Part::new(), Part::new());
        let (changes, mut changed) = mpsc::channel::<Change>(CHANGES_MAX);
        // It ends with the engines, which hold the senders.
        engines
            .run_unfailing("the outages", async move { while changed.recv().await.is_some() {} });
        let bus =
            Box::pin(bus::start(&data_dir, nats_server, listening, (None, false), None)).await?;
        for server in bus.servers {
            let supervised = server.supervise(changes.clone(), engines.stop.clone());
            engines.run_unfailing("nats-server", supervised);
        }
        let Connections { control, data, .. } = bus.connections;

        let mut images = workloads::images(components);
        let (mut processors, mut processor_image) = (Processors::default(), None);
        if let Some((component, names)) = processor {
            let own = [(String::from(PROCESSOR), component.to_vec())];
            let image = workloads::images(&own).remove(0);
            let name = ImageName::own(&image);
            processors = Processors::of(names, &name);
            processor_image = Some(name);
            images.push(image);
        }
        let tokens = operator.tokens().clone();
        let parts = Parts {
            images: images.clone(),
            folder: registry::folder_in(data_dir.path()),
            gate: Gate::new(operator.tokens().clone()),
            ledger: ledger.clone(),
        };
        let (registry, port_of_registry) = Registry::bind(parts).await.map_err(no_registry)?;
        services.run(registry.cleaning());
        let missing = |name| UpError::machine(ComponentMissing(name));
        let pangea = pangea_http::Config::load(&data_dir.pangea()).map_err(UpError::folder)?;
        let mut wanted = vec![
            workloads::judging(&images).map_err(missing)?,
            workloads::checking(&images, &pangea.fields_json()).map_err(missing)?,
        ];
        wanted.extend(processors.iter().map(workloads::processing));
        let wanted = wanted.into_iter().map(workloads::everywhere).collect();
        let (want, watch_wanted) = watch::channel(wanted);
        let logger_digest = workloads::logger_digest(&images).map_err(missing)?;
        let digest = workloads::reader_digest(&images).map_err(missing)?;
        let (standing, mut watch_standing) = watch::channel(Standing::default());
        let stop = services.stop.clone();
        let (hosts_changes, mut hosts_changed) = mpsc::channel(CHANGES_MAX);
        services.run_unfailing("the hosts", async move {
            while hosts_changed.recv().await.is_some() {}
        });
        let reconciling = lattice::run(
            lattice::Parts { bus: control, wanted: watch_wanted, standing, changes: hosts_changes },
            stop.clone(),
        );
        services.spawn("the reconciler", async { Ok(reconciling.await?) });
        let (listener, router) =
            (port_of_registry.into_listener(), registry.router(Readers::Anyone));
        let serving = http_server::serve(REGISTRY_PLACES, listener, router, no_room, stop);
        services.run_unfailing("the component registry", serving);
        let failed = |source| UpError::machine(EngineError { name: wash_host::NAME, source });
        let server = own_host::Server {
            address: bus.hosts,
            authority: &bus.authority,
            ca_pem: &bus.server_ca_pem,
        };
        let at = (port.address(), None);
        let start = own_host::prepare(wash, &data_dir, &server, &registry, at)?;
        drop(port);
        let host = Engine::start(start).map_err(failed)?;
        let supervised = host.supervise(changes, engines.stop.clone());
        engines.run_unfailing(wash_host::NAME, supervised);

        let indexer = indexing::open(&data_dir.index(), &ledger).map_err(UpError::folder)?;
        let (tell_standings, standings) = oneshot::channel();
        let (tell_judged, judged) = watch::channel(0);
        services.run(Indexing {
            ledger: ledger.clone(),
            indexer,
            reports: progress().0,
            at_start: AtStart { standings: Some(tell_standings), ..AtStart::default() },
            found_seconds: timings::found_seconds(),
        });
        services.run(Checkpointing { ledger: ledger.clone(), period: checkpoint_period });
        let meters = Meters::default();
        let mut processed = Vec::new();
        for (processing, (_, progress)) in processors.services(&ledger, &data, &meters) {
            services.run(processing);
            processed.push(progress);
        }
        let log_name = orders::log_name::config_id(ledger.log_id());
        let application = application();
        tokens.add(application.clone(), "").map_err(UpError::folder)?;
        let (desk, waiting) = Desk::new(ledger.clone(), tokens, log_name);
        let accepted = watch::channel(Digests::from([logger_digest])).1;
        services.run(Checking { logger: data.clone(), accepted, waiting });
        services.run(Judging {
            ledger: ledger.clone(),
            reader: data.clone(),
            accepted: watch::channel(Digests::from([digest])).1,
            standings,
            judged: tell_judged,
            verdict_seconds: timings::verdict_seconds(),
            meters,
        });
        tokio::select! {
            _ready = watch_standing.wait_for(Standing::is_ready) => {}
            ended = services.ended() => return Err(UpError::Service(ended)),
            ended = engines.ended() => return Err(UpError::Service(ended)),
        }
        let _data_dir = data_dir;
        Ok(Self {
            ledger,
            judged,
            processed,
            desk,
            application,
            processor: processor_image,
            want,
            data,
            services,
            engines,
            writer,
            _data_dir,
        })
    }

    /// Has the host run the processor with which this was started under a further name. Returns
    /// once it answers.
    ///
    /// # Errors
    /// This was started without a processor, or it does not answer.
    pub async fn start_processor(&self, name: &ProcessorName) -> Result<(), UpError> {
        let image = self.processor.as_ref().ok_or(ComponentMissing(PROCESSOR));
        let image = image.map_err(UpError::machine)?;
        let names = Processors::of(slice::from_ref(name), image);
        let added = names.iter().map(workloads::processing).map(workloads::everywhere);
        self.want.send_modify(|wanted| wanted.extend(added));
        let question = Question { version: VERSION, processor: name.clone(), events: Vec::new() };
        let question = question.to_json();
        let asked =
            || Request::new().payload(question.clone().into()).timeout(Some(ANSWER_TIMEOUT));
        let answers = async {
            while self.data.send_request(name.subject(), asked()).await.is_err() {
                // Nobody hears the question yet.
                sleep(ASK_AGAIN).await;
            }
        };
        timeout(START_TIMEOUT, answers).await.map_err(UpError::machine)
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// The writer failed.
    pub async fn stop(mut self) -> Result<(), UpError> {
        self.services.stop(Duration::MAX).await;
        self.engines.stop(Duration::MAX).await;
        self.writer.close().await.map_err(ledger_stopped)
    }
}

/// An application of this process, which may hand in events.
fn application() -> TokenDescription {
    TokenDescription {
        name: TokenName::from_str("bench").expect("a name of a token"),
        scope: vec![Scope::Write],
        log: None,
        nkey: None,
        created_at: clock::now(),
    }
}
