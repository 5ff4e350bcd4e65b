//! Hosts with components, and what they need: a log for the registry, both servers of the bus, and
//! the engines, as a site has them. Without anybody who asks the components.

use std::{path::Path, time::Duration};

use access::Gate;
use async_nats::Client;
use data_dir::DataDir;
use engine::{Change, HostKind, Log, find, release};
use lattice::{Deployment, Standing};
use ledger::{Ledger, Writer};
use orders::{Operator, SiteLog};
use registry::{Image, Parts, Readers, Registry, no_room};
use services::bus::Connections;
use tokio::sync::{mpsc, watch};

use crate::{
    bus,
    config::REGISTRY_PLACES,
    error::{UpError, no_registry},
    own_host::{self, OwnHosts},
    part::Part,
    ports::{LOOPBACK, reserve},
    start_files::ledger_stopped,
};

/// Changes of engines that nobody has heard yet.
const CHANGES_MAX: usize = 16;

/// A host with components of the site, one with processors, or both.
pub(crate) struct HostAlone {
    /// The log.
    pub(crate) ledger: Ledger,
    /// Carries out orders to it.
    pub(crate) operator: Operator,
    /// What the hosts are to run.
    pub(crate) want: watch::Sender<Vec<Deployment>>,
    /// The connection on which components of the site are asked.
    pub(crate) data: Client,
    /// That on which processors are.
    pub(crate) guests: Client,
    /// What runs where.
    pub(crate) standing: watch::Receiver<Standing>,
    /// Output of the host for processors, if there is one.
    pub(crate) guests_log: Option<Log>,
    /// Services that stop before the engines do.
    pub(crate) services: Part,
    engines: Part,
    writer: Writer,
    pub(crate) data_dir: DataDir,
}

impl HostAlone {
    /// Starts a host of each kind on a site's folder. Creates the log if there is none. `wanted`
    /// says what runs of the images.
    ///
    /// # Errors
    /// The folder or the log cannot be used, or an engine does not start.
    pub(crate) async fn start(
        folder: &Path,
        kinds: &[HostKind],
        images: Vec<Image>,
        wanted: impl FnOnce(&DataDir) -> Result<Vec<Deployment>, UpError>,
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
        let Connections { control, data, guests, .. } = bus.connections;

        let parts = Parts {
            images,
            folder: registry::folder_in(data_dir.path()),
            gate: Gate::new(operator.tokens().clone()),
            ledger: ledger.clone(),
        };
        let (registry, port_of_registry) = Registry::bind(parts).await.map_err(no_registry)?;
        services.run(registry.cleaning());
        let (want, watch_wanted) = watch::channel(wanted(&data_dir)?);
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
                // All of it is a part of this program, or was just named by whoever runs it.
                check: lattice::Check::nothing(),
                standing: tell_standing,
                changes: hosts_changes,
            },
            stop.clone(),
        );
        services.spawn("the reconciler", async { Ok(reconciling.await?) });
        let (listener, router) =
            (port_of_registry.into_listener(), registry.router(Readers::OwnHost));
        let serving = http_server::serve(REGISTRY_PLACES, listener, router, no_room, stop);
        services.run_unfailing("the component registry", serving);
        let hosts = OwnHosts {
            program: wash,
            data_dir: &data_dir,
            server: own_host::Server {
                address: bus.hosts,
                authority: &bus.authority,
                ca_pem: &bus.server_ca_pem,
            },
            registry: &registry,
            changes,
        };
        if kinds.contains(&HostKind::Site) {
            hosts.run(&mut engines, port, None)?;
        }
        let with_guests = kinds.contains(&HostKind::Guests);
        let guests_log = with_guests.then(|| hosts.run_guests(&mut engines)).transpose()?;
        drop(hosts);
        Ok(Self {
            ledger,
            operator,
            want,
            data,
            guests,
            standing,
            guests_log,
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
