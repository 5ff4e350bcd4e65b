//! A log, its pipeline and a host with the component that judges, without the rest of a site: no
//! sensors, no page. `sealwire bench pipeline` measures it.

use std::{path::Path, time::Duration};

use access::Gate;
use data_dir::DataDir;
use engine::{Change, Engine, find, release, wash_host};
use lattice::Standing;
use ledger::{Ledger, Writer};
use orders::SiteLog;
use registry::{Parts, Readers, Registry, no_room};
use services::{
    bus::Connections,
    checkpointing::Checkpointing,
    indexing::{self, AtStart, Indexing},
    pipeline::{Digests, Judging, Meters},
    progress::progress,
    timings,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    bus,
    config::REGISTRY_PLACES,
    error::{ComponentMissing, EngineError, UpError, no_registry},
    part::Part,
    ports::{LOOPBACK, reserve},
    start_files::ledger_stopped,
    workloads,
};

/// Changes of engines that nobody has heard yet.
const CHANGES_MAX: usize = 16;

/// A log whose readings are judged.
pub struct JudgingAlone {
    /// The log.
    pub ledger: Ledger,
    /// The first leaf whose verdict is not sealed.
    pub judged: watch::Receiver<u64>,
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
    /// Judges the log of a site's folder, and returns once a host runs the component. Creates the
    /// log if there is none. `components` are those of a site.
    ///
    /// # Errors
    /// The folder or the log cannot be used, or an engine does not start.
    pub async fn start(
        folder: &Path,
        components: &[(String, Vec<u8>)],
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
            hosts: reserve("hosts", "--nats-port", LOOPBACK).await?,
        };
        let port = reserve("the host", "--http-port", LOOPBACK).await?;
        let (mut services, mut engines) = (Part::new(), Part::new());
        let (changes, mut changed) = mpsc::channel::<Change>(CHANGES_MAX);
        // It ends with the engines, which hold the senders.
        engines
            .run_unfailing("the outages", async move { while changed.recv().await.is_some() {} });
        let bus = Box::pin(bus::start(&data_dir, nats_server, listening, None, false)).await?;
        for server in bus.servers {
            let supervised = server.supervise(changes.clone(), engines.stop.clone());
            engines.run_unfailing("nats-server", supervised);
        }
        let Connections { control, data, .. } = bus.connections;

        let parts = Parts {
            images: workloads::images(components),
            folder: registry::folder_in(data_dir.path()),
            gate: Gate::new(operator.tokens().clone()),
            ledger: ledger.clone(),
        };
        let (registry, port_of_registry) = Registry::bind(parts).await.map_err(no_registry)?;
        services.run(registry.cleaning());
        let missing = |name| UpError::machine(ComponentMissing(name));
        let judging = workloads::judging(&registry).map_err(missing)?;
        let digest = workloads::reader_digest(&registry).map_err(missing)?;
        let (standing, mut watch_standing) = watch::channel(Standing::default());
        let stop = services.stop.clone();
        let (hosts_changes, mut hosts_changed) = mpsc::channel(CHANGES_MAX);
        services.run_unfailing("the hosts", async move {
            while hosts_changed.recv().await.is_some() {}
        });
        let reconciling = lattice::run(
            lattice::Parts {
                bus: control,
                registry: registry.address().to_string(),
                wanted: watch::channel(vec![workloads::everywhere(judging)]).1,
                standing,
                changes: hosts_changes,
            },
            stop.clone(),
        );
        services.spawn("the reconciler", async { Ok(reconciling.await?) });
        let (listener, router) =
            (port_of_registry.into_listener(), registry.router(Readers::Anyone));
        let serving = http_server::serve(REGISTRY_PLACES, listener, router, no_room, stop);
        services.run_unfailing("the component registry", serving);
        let failed = |source| UpError::machine(EngineError { name: wash_host::NAME, source });
        let config = wash_host::Config {
            name: data_dir.name(),
            nats: bus.hosts,
            http: port.address(),
            folder: &data_dir.engine("wash"),
            authority: &bus.authority,
            calls_servers: false,
            servers_ca: None,
        };
        let start = wash_host::prepare(wash, &config).map_err(failed)?;
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
        services.run(Judging {
            ledger: ledger.clone(),
            reader: data,
            accepted: watch::channel(Digests::from([digest])).1,
            standings,
            judged: tell_judged,
            verdict_seconds: timings::verdict_seconds(),
            meters: Meters::default(),
        });
        tokio::select! {
            _ready = watch_standing.wait_for(Standing::is_ready) => {}
            ended = services.ended() => return Err(UpError::Service(ended)),
            ended = engines.ended() => return Err(UpError::Service(ended)),
        }
        Ok(Self { ledger, judged, services, engines, writer, _data_dir: data_dir })
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
