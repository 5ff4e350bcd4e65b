//! A host with components, and what it needs: a log for the registry, both servers of the bus, and
//! the engines, as a site has them. Without anybody who asks the components.

use std::{path::Path, time::Duration};

use access::Gate;
use async_nats::Client;
use data_dir::DataDir;
use engine::{Change, Engine, Log, find, release, wash_host};
use lattice::{Deployment, Standing, Workload};
use ledger::{Ledger, Writer};
use orders::{Operator, SiteLog};
use registry::{Image, Parts, Readers, Registry, no_room};
use services::bus::Connections;
use tokio::sync::{mpsc, watch};

use crate::{
    bus,
    config::REGISTRY_PLACES,
    error::{EngineError, UpError, no_registry},
    own_host,
    part::Part,
    ports::{LOOPBACK, reserve},
    start_files::ledger_stopped,
    workloads,
};

/// Changes of engines that nobody has heard yet.
const CHANGES_MAX: usize = 16;

/// A host with components.
pub(crate) struct HostAlone {
    /// The log.
    pub(crate) ledger: Ledger,
    /// Carries out orders to it.
    pub(crate) operator: Operator,
    /// What the host is to run.
    pub(crate) want: watch::Sender<Vec<Deployment>>,
    /// The connection on which the components are asked.
    pub(crate) data: Client,
    /// What runs where.
    pub(crate) standing: watch::Receiver<Standing>,
    /// Output of the host.
    pub(crate) host_log: Log,
    /// Services that stop before the engines do.
    pub(crate) services: Part,
    engines: Part,
    writer: Writer,
    pub(crate) data_dir: DataDir,
}

impl HostAlone {
    /// Starts a host on a site's folder. Creates the log if there is none. `wanted` says what runs
    /// of the images.
    ///
    /// # Errors
    /// The folder or the log cannot be used, or an engine does not start.
    pub(crate) async fn start(
        folder: &Path,
        images: Vec<Image>,
        wanted: impl FnOnce(&DataDir) -> Result<Vec<Workload>, UpError>,
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

        let parts = Parts {
            images,
            folder: registry::folder_in(data_dir.path()),
            gate: Gate::new(operator.tokens().clone()),
            ledger: ledger.clone(),
        };
        let (registry, port_of_registry) = Registry::bind(parts).await.map_err(no_registry)?;
        services.run(registry.cleaning());
        let wanted = wanted(&data_dir)?.into_iter().map(workloads::everywhere).collect();
        let (want, watch_wanted) = watch::channel(wanted);
        let (tell_standing, standing) = watch::channel(Standing::default());
        let stop = services.stop.clone();
        let (hosts_changes, mut hosts_changed) = mpsc::channel(CHANGES_MAX);
        services.run_unfailing("the hosts", async move {
            while hosts_changed.recv().await.is_some() {}
        });
        let reconciling = lattice::run(
            lattice::Parts {
                bus: control,
                former: Vec::new(),
                wanted: watch_wanted,
                standing: tell_standing,
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
        let server = own_host::Server {
            address: bus.hosts,
            authority: &bus.authority,
            ca_pem: &bus.server_ca_pem,
        };
        let at = (port.address(), None);
        let start = own_host::prepare(wash, &data_dir, &server, &registry, at)?;
        drop(port);
        let host = Engine::start(start).map_err(failed)?;
        let host_log = host.log().clone();
        let supervised = host.supervise(changes, engines.stop.clone());
        engines.run_unfailing(wash_host::NAME, supervised);
        Ok(Self {
            ledger,
            operator,
            want,
            data,
            standing,
            host_log,
            services,
            engines,
            writer,
            data_dir,
        })
    }

    /// Waits until what runs is as `is_it` says.
    ///
    /// # Errors
    /// A service or an engine has ended.
    pub(crate) async fn wait_for(
        &mut self,
        is_it: impl Fn(&Standing) -> bool,
    ) -> Result<(), UpError> {
        tokio::select! {
            _stands = self.standing.wait_for(is_it) => Ok(()),
            ended = self.services.ended() => Err(UpError::Service(ended)),
            ended = self.engines.ended() => Err(UpError::Service(ended)),
        }
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// The writer failed.
    pub(crate) async fn stop(mut self) -> Result<(), UpError> {
        self.services.stop(Duration::MAX).await;
        self.engines.stop(Duration::MAX).await;
        self.writer.close().await.map_err(ledger_stopped)
    }
}
