//! The parts of a running site. They are started in order, watched, and stopped in order.

use std::{
    collections::HashMap,
    error::Error,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use access::{AccessToken, Gate, sensors::Admits};
use data_dir::{Addresses, DataDir, RunFile};
use futures::future::BoxFuture;
use http_server::Listener;
use index::Reader;
use lattice::{Deployment, Standing};
use ledger::Ledger;
use log_http::LiveFeed;
use model::{Event, Pattern, action};
use orders::{
    Apps, Operator, OrderSocket, Retaining,
    polling::{Endpoint, Refusal},
};
use page_http::{PageHost, WorkloadName};
use poll::{Counters, Guard, RefusedOrder};
use prometheus::Histogram;
use registry::{Image, Parts, Readers, Registry};
use services::{
    applications::{
        Counters as EventCounters, Desk, checking::Checking, forwarded::Forwarded,
        hearing::Hearing, of_hosts::OfHosts,
    },
    bus::{Connections, Devices},
    checkpointing::Checkpointing,
    cosigning::Cosigning,
    door::Door,
    fleet::KeptFleet,
    hosts_door::{HostsDoor, HostsRefusals},
    indexing::{self, AtStart, Indexing},
    known::Known,
    lag::{Lag, Watching},
    mirroring::{Caller, MirrorProgress, Mirroring},
    pipeline::{Digests, Judging, Meters},
    polling::{self, GivenOrders, OrderingError, Polling, SensorOrders},
    polling_service::{self, PollingService},
    progress::{Progress, progress},
    pushing::{Declarations, Pushing, SeriesAtStart},
    queries::{LogQueries, Logs, MirrorQueries, Queries},
    sealing::{self, Sealing, ToSeal},
    site_clock::{SiteClock, own_time_at_end},
    testing::OnProbation,
    timekeeping::Timekeeping,
    timings,
    turned_away::TurnedAway,
};
use tls::Served;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    bus,
    certificate::{Certificate, DevicesCertificate},
    config::{Config, OPEN_REGISTRY_PLACES, REGISTRY_PLACES},
    deploying::Deploying,
    error::{ComponentMissing, IoFailure, ServiceEnded, UpError, no_registry},
    guarding::guard,
    listening::{HOSTS, HTTP, LEAF, Listening, MQTT, NATS, Programs, listener, url},
    mirror::Mirror,
    operators::OperatorFiles,
    outages,
    own_host::{self, OwnHosts},
    part::Part,
    ports::{Reserved, is_open},
    processors::Followed,
    ready::{Page, PageSilent, page_answers},
    rolling::Rolling,
    start_files::{NO_ORDERS, NO_RUN_FILE},
    workloads,
};

/// Time that the page has for its first answer. The host compiles the components first.
const PAGE_READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Time that each part has to finish its work when the site stops.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Changes of engines that wait to be sealed.
const CHANGES_MAX: usize = 16;

/// What `/metrics` reads of devices that report by themselves, of applications and of a mirror.
type Watched = (watch::Receiver<pushed::Counters>, Arc<EventCounters>, Option<MirrorQueries>);

/// Whose answers are taken of a component, and which version of it is on probation.
type Judged = (watch::Receiver<Digests>, OnProbation);

/// The running parts, in the order in which they stop.
pub(crate) struct Site<'a> {
    data_dir: &'a DataDir,
    ledger: Ledger,
    operator: Operator,
    /// Asks witnesses, if there is a policy. Taken when that service starts.
    cosigning: Option<Cosigning>,
    /// The certificate of the ports that other machines reach, if there are any.
    certificate: Option<Certificate>,
    /// What lets operators reach the site's service, while it runs.
    operator_files: Option<OperatorFiles>,
    addresses: Addresses,
    /// Whom the site lets in without a credential.
    admits: Admits,
    /// Decides who may pass where other machines reach page and log.
    gate: Gate,
    /// The sources of readings: the simulator and the poller.
    intake: Part,
    /// The services that work on the log and show it.
    services: Part,
    host: Part,
    bus: Part,
    events: mpsc::Sender<ToSeal>,
    /// Seals `events`. Ends when every sender is gone.
    sealing: Part,
    /// Time that an event waits until it is durable.
    seal_seconds: Histogram,
    clock: SiteClock,
    /// Starts of components that what is demanded of images forbade.
    forbidden: Arc<AtomicU64>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(
        data_dir: &'a DataDir,
        ledger: Ledger,
        operator: Operator,
        cosigning: Option<Cosigning>,
        listening: &Listening,
        certificate: Option<Certificate>,
        admits: Admits,
    ) -> Self {
        let (events, queue) = mpsc::channel(sealing::QUEUE_EVENTS_MAX);
        let mut sealing = Part::new();
        let seal_seconds = timings::seal_seconds();
        let clock = SiteClock::start(own_time_at_end(&ledger));
        sealing.run(Sealing {
            ledger: ledger.clone(),
            events: queue,
            seal_seconds: seal_seconds.clone(),
            clock: clock.clone(),
        });
        let Listening { page, host: _, bus, log, registry } = listening;
        let bus::Listening { nats, mqtt, leaf, hosts, takes_other_hosts } = bus;
        let served = certificate.as_ref().map(|certificate| &certificate.served);
        let addresses = Addresses {
            http: url(HTTP, page.address(), served),
            log: url(HTTP, log.address(), served),
            nats: url(NATS, nats.address(), served),
            mqtt: url(MQTT, mqtt.address(), served),
            registry: registry.as_ref().map(|port| url(HTTP, port.address(), served)),
            leaf: leaf.as_ref().map(|leaf| url(LEAF, leaf.address(), served)),
            hosts: takes_other_hosts.then(|| url(HOSTS, hosts.address(), served)),
            vkey: ledger.vkey().to_string(),
        };
        let gate = Gate::new(operator.tokens().clone());
        Self {
            data_dir,
            ledger,
            operator,
            cosigning,
            certificate,
            operator_files: None,
            addresses,
            admits,
            gate,
            intake: Part::new(),
            services: Part::new(),
            host: Part::new(),
            bus: Part::new(),
            events,
            sealing,
            seal_seconds,
            clock,
            forbidden: Arc::default(),
        }
    }

    /// Starts everything and returns the address of the page. After a cancel, [`Site::stop`] stops
    /// what was started.
    pub(crate) async fn start(
        &mut self,
        config: Config,
        listening: Listening,
        programs: Programs,
        progress: &(impl Fn(&str) + Sync),
    ) -> Result<Page, UpError> {
        let (changes, changed) = mpsc::channel(CHANGES_MAX);
        let sealed = outages::seal(changed, self.events.downgrade(), self.services.stop.clone());
        self.services.run_unfailing("the record of outages", sealed);
        self.seal_own(action::SITE_STARTED, "starts");

        progress("starting nats-server");
        let Listening { page, host, log, bus, registry: registry_port } = listening;
        let with_pushing = config.rules.is_some();
        let served = self.certificate.as_ref().map(|it| it.served.clone());
        let served = served.filter(|_| config.listen.opens_devices());
        let other_hosts = bus.takes_other_hosts.then(|| bus::OtherHosts {
            hosts: self.operator.hosts().clone(),
            authority_key: self.data_dir.hosts_key(),
            served: self.served_at(bus.hosts.address()),
        });
        let starting = bus::start(
            self.data_dir,
            programs.nats_server,
            bus,
            (served.as_ref(), with_pushing),
            other_hosts,
        );
        let bus = Box::pin(starting).await?;
        if let (Some(served), [devices, _]) = (served, &bus.servers) {
            let (folder, reload) = (self.data_dir.engine(bus::FOLDER), devices.reload());
            self.services.run(DevicesCertificate { served, folder, reload });
        }
        let [devices_server, hosts_server] = &bus.servers;
        let server_log = devices_server.log().hear();
        self.services.run(HostsRefusals {
            server_log: hosts_server.log().hear(),
            refusals: self.operator.credentials().clone(),
        });
        if let Some(server) = bus.open_hosts {
            self.services.run(HostsDoor { server, reload: hosts_server.reload() });
        }
        for server in bus.servers {
            let supervised = server.supervise(changes.clone(), self.bus.stop.clone());
            self.bus.run_unfailing("nats-server", supervised);
        }
        let Connections {
            devices,
            pushing,
            door,
            applications,
            control,
            data,
            guests,
            operators,
            dropped,
        } = bus.connections;
        // Before anything else: until then nobody is let in.
        self.services.run(Door {
            client: door,
            credentials: self.operator.credentials().clone(),
            tokens: self.operator.tokens().clone(),
            admits: self.admits,
            server_log,
            issuer: bus.issuer,
            events: self.events.downgrade(),
        });
        let files = OperatorFiles::write(
            self.data_dir.path(),
            (bus.hosts, &bus.server_ca_pem),
            &bus.authority,
        );
        let failed = IoFailure::of("cannot write the operator's certificate");
        self.operator_files = Some(files.map_err(failed).map_err(UpError::folder)?);
        progress("starting wash host");
        let images = workloads::images(&config.components);
        let parts = Parts {
            images: images.clone(),
            folder: registry::folder_in(self.data_dir.path()),
            gate: self.gate.clone(),
            ledger: self.ledger.clone(),
        };
        let (registry, own_port) = Registry::bind(parts).await.map_err(no_registry)?;
        self.services.run(registry.cleaning());
        let pangea = pangea_http::Config::load(&self.data_dir.pangea()).map_err(UpError::folder)?;
        let workload = WorkloadName::random();
        let (apps, deploying) = self.deploy((&images, &registry), &workload, &pangea, &config)?;
        let [reader, logger] = [workloads::SENSOR_READER, workloads::EVENT_LOGGER]
            .map(|name| (deploying.accepted(name), deploying.probation(name)));
        let desk = self.hear_applications(applications, data.clone(), logger);
        let mirror_progress = self.mirror(config.mirror.as_ref(), &deploying, &data);
        if let Some(keeping) = self.certificate.as_mut().and_then(|it| it.keeping.take()) {
            self.services.run(keeping);
        }
        let answering = page_http::Host::new(host.address(), workload.clone());
        self.services.run(Rolling {
            apps: apps.clone(),
            standing: deploying.standing.subscribe(),
            ledger: self.ledger.clone(),
            data: data.clone(),
            page: answering.clone(),
            probations: deploying.probations(),
        });
        let page_port = self.page_port(page, answering.clone(), config.page_hosts, desk.clone());
        self.serve_registry(&registry, own_port, registry_port);
        let standing = self.reconcile((deploying, apps.former().await), control);
        let hosts = OwnHosts {
            program: programs.wash,
            data_dir: self.data_dir,
            server: own_host::Server {
                address: bus.hosts,
                authority: &bus.authority,
                ca_pem: &bus.server_ca_pem,
            },
            registry: &registry,
            changes,
        };
        let calls = config.mirror.as_ref().map(|mirror| mirror.ca.as_deref());
        let host_log = hosts.run(&mut self.host, host, calls)?;
        if !config.processors.is_empty() {
            hosts.run_guests(&mut self.host)?;
        }
        self.services.run(page_port);
        let meters = Meters::default();
        let mut processed = Vec::new();
        for (processing, progress) in config.processors.services(&self.ledger, &guests, &meters) {
            self.services.run(processing);
            processed.push(progress);
        }

        let late_seconds = timings::poll_late_seconds();
        let (pushed_counters, watch_pushed) = watch::channel(pushed::Counters::default());
        let (mut known, counters, lags) = self
            .start_services(
                (data, operators, &dropped),
                (watch_pushed, desk.counters(), mirror_progress),
                pangea,
                (log, late_seconds.clone()),
                (reader, meters, processed),
                config.checkpoint_period,
            )
            .await?;
        let (mut giving, given) = SensorOrders::new();
        if let Some((rules, devices)) = config.rules.zip(pushing) {
            let (series, events) = (SeriesAtStart::take(&mut known), self.events.clone());
            let config = pushed::Config {
                series_max: config.polling.sensors_max,
                new_series_per_minute: config.polling.new_sensors_per_minute,
            };
            let declarations = Declarations::of(self.data_dir.declarations());
            self.intake.run(Pushing {
                rules,
                config,
                series,
                declarations,
                devices,
                orders: giving.for_pushing(),
                events,
                counters: pushed_counters,
            });
        }
        let bus = (devices, dropped, late_seconds);
        let heartbeats = (config.heartbeats, guard(self.admits, self.operator.credentials()));
        let orders = (giving, given);
        self.start_polling(config.polling, heartbeats, (known, orders), bus, (counters, lags));
        if config.simulate > 0 {
            let (nats, stop) = (self.addresses.nats.clone(), self.intake.stop.clone());
            let fleet = simulator::Config::new(nats, config.simulate, rand::random());
            let simulated = simulator::run(fleet, stop);
            self.intake
                .spawn("the simulator", async { simulated.await.map(drop).map_err(Into::into) });
        }
        Ok(Page { host: answering, standing, host_log })
    }

    /// Lets operators deploy components, and tells what is deployed.
    fn deploy(
        &self,
        (images, registry): (&[Image], &Registry),
        page: &WorkloadName,
        pangea: &pangea_http::Config,
        config: &Config,
    ) -> Result<(Apps, Deploying), UpError> {
        let missing = |name| UpError::machine(ComponentMissing(name));
        let mut own = workloads::workloads(images, page, &pangea.fields_json()).map_err(missing)?;
        let mirroring = config.mirror.as_ref().map(|to| workloads::mirroring(images, to));
        own.extend(mirroring.transpose().map_err(missing)?);
        let (data_dir, ledger) = (self.data_dir.path().to_owned(), self.ledger.clone());
        let built_in = workloads::built_in(own, &config.processors);
        let witnessed = self.cosigning.as_ref().map(Cosigning::watch);
        let tells = (self.events.downgrade(), Arc::clone(&self.forbidden));
        let opened =
            Deploying::open(data_dir, (ledger, registry.clone()), built_in, (witnessed, tells));
        let (apps, deploying) = opened.map_err(UpError::folder)?;
        self.operator.runs(apps.clone());
        Ok((apps, deploying))
    }

    /// Starts to mirror the log, if it is to be mirrored. Returns whom to ask about that.
    fn mirror(
        &mut self,
        mirror: Option<&Mirror>,
        deploying: &Deploying,
        data: &async_nats::Client,
    ) -> Option<MirrorQueries> {
        let mirror = mirror?;
        let (progress, watch_progress) = watch::channel(MirrorProgress::default());
        let accepted = deploying.accepted(workloads::PANGEA_API);
        let log = mirror.log.clone();
        let caller = Caller { client: data.clone(), accepted, log };
        self.services.run(Mirroring {
            ledger: self.ledger.clone(),
            caller: caller.clone(),
            server: mirror.endpoint.as_str().to_owned(),
            folder: self.data_dir.mirror(),
            progress,
        });
        Some(MirrorQueries { progress: watch_progress, caller })
    }

    /// The certificate that a port with this address shows, if other machines reach it.
    fn served_at(&self, address: SocketAddr) -> Option<Served> {
        self.certificate.as_ref().map(|it| it.served.clone()).filter(|_| is_open(address))
    }

    /// The page's port. Where other machines reach it, it asks for a token.
    fn page_port(
        &self,
        port: Reserved,
        host: page_http::Host,
        names: Vec<PageHost>,
        desk: Desk,
    ) -> page_http::PagePort {
        let entrance = is_open(port.address())
            .then(|| page_http::Entrance { gate: self.gate.clone(), ledger: self.ledger.clone() });
        let served = self.served_at(port.address());
        page_http::PagePort {
            listener: listener(port, served.as_ref()),
            entrance,
            live: LiveFeed::new(self.ledger.clone(), self.services.stop.clone()).for_anyone(),
            log: self.public_log().router(),
            log_path: log_http::log_path(self.ledger.log_id()),
            polling: page_http::polling(self.operator.clone()),
            events: page_http::Events::new(desk, self.operator.tokens().clone()),
            host,
            names,
            served,
        }
    }

    /// Serves the registry to this machine's host, and on a port of its own if it has one.
    fn serve_registry(&mut self, registry: &Registry, own: registry::Port, port: Option<Reserved>) {
        let stop = &self.services.stop;
        let serve = |places, listener: Listener, readers| {
            let router = registry.router(readers);
            http_server::serve(places, listener, router, registry::no_room, stop.clone())
        };
        let for_host = serve(REGISTRY_PLACES, own.into_listener().into(), Readers::OwnHost);
        let for_others = port.map(|port| {
            let served = self.certificate.as_ref().map(|it| &it.served);
            serve(OPEN_REGISTRY_PLACES, listener(port, served), Readers::WithToken)
        });
        self.services.run_unfailing("the registry", for_host);
        if let Some(for_others) = for_others {
            self.services.run_unfailing("the registry's port", for_others);
        }
    }

    /// Starts the reconciler that gives hosts workloads. Returns a watch of what runs where.
    fn reconcile(
        &mut self,
        (deploying, former): (Deploying, Vec<Deployment>),
        client: async_nats::Client,
    ) -> watch::Receiver<Standing> {
        let Deploying { check, wanted, standing, .. } = deploying;
        let watch_standing = standing.subscribe();
        let (hosts_changes, hosts_changed) = mpsc::channel(CHANGES_MAX);
        let stop = self.services.stop.clone();
        let sealed = outages::seal(hosts_changed, self.events.downgrade(), stop);
        self.services.run_unfailing("the record of hosts", sealed);
        let parts =
            lattice::Parts { bus: client, former, wanted, check, standing, changes: hosts_changes };
        let reconciling = lattice::run(parts, self.services.stop.clone());
        self.services.spawn("the reconciler", async { Ok(reconciling.await?) });
        watch_standing
    }

    /// Starts the services that work on the log. Returns the sensors that the log knows, where the
    /// poller reports its counters, and how far those who follow the log are behind.
    async fn start_services(
        &mut self,
        (data, operators, dropped): (async_nats::Client, async_nats::Client, &Arc<AtomicU64>),
        (pushed, applications, mirror): Watched,
        pangea: pangea_http::Config,
        (log, late_seconds): (Reserved, Histogram),
        ((accepted, probation), meters, processed): (Judged, Meters, Vec<Followed>),
        checkpoint_period: Duration,
    ) -> Result<(Known, watch::Sender<Counters>, watch::Receiver<Vec<Lag>>), UpError> {
        let indexer =
            indexing::open(&self.data_dir.index(), &self.ledger).map_err(UpError::folder)?;
        let reader = || indexer.reader().map_err(UpError::folder);
        let (for_queries, for_pangea) = (reader()?, reader()?);
        let ((tell_known, known), (tell_standings, standings)) =
            (oneshot::channel(), oneshot::channel());
        let (reports, progress) = progress();
        let (counters, watch_counters) = watch::channel(Counters::default());
        let (lags, watch_lags) = watch::channel(Vec::new());
        let (judged, watch_judged) = watch::channel(0);
        let (found_seconds, verdict_seconds) =
            (timings::found_seconds(), timings::verdict_seconds());
        let pangea = self.pangea(pangea, for_pangea, progress.clone())?;
        let public_log = self.public_log();
        let witnessed = public_log.witnessed.clone();
        let ledger = || self.ledger.clone();
        let served = self.served_at(log.address());
        let services = &mut self.services;
        services.run(Indexing {
            ledger: ledger(),
            indexer,
            reports,
            at_start: AtStart { known: Some(tell_known), standings: Some(tell_standings) },
            found_seconds: found_seconds.clone(),
        });
        services.run(Watching {
            ledger: ledger(),
            progress: progress.clone(),
            judged: watch_judged,
            processed,
            witnessed: witnessed.clone(),
            events: self.events.downgrade(),
            lags,
        });
        services.run(Timekeeping { clock: self.clock.clone(), events: self.events.downgrade() });
        services.run(Checkpointing { ledger: ledger(), period: checkpoint_period });
        services.run(Retaining(self.operator.clone()));
        services.run(TurnedAway { gate: self.gate.clone(), ledger: ledger() });
        if let Some(cosigning) = self.cosigning.take() {
            services.run(cosigning);
        }
        services.run(Judging {
            ledger: ledger(),
            reader: data.clone(),
            accepted,
            probation,
            standings,
            judged,
            verdict_seconds: verdict_seconds.clone(),
            meters: meters.clone(),
        });
        let access_token =
            AccessToken::load_or_create(&self.data_dir.access_token()).map_err(UpError::folder)?;
        services.run(log_http::LogPort {
            is_open: is_open(log.address()),
            gate: self.gate.clone(),
            credentials: self.operator.credentials().clone(),
            listener: listener(log, served.as_ref()),
            served,
            certificate: self.certificate.as_ref().map(|it| it.health.clone()),
            log: public_log,
            access_token,
            counters: watch_counters.clone(),
            pushed,
            applications,
            dropped: Arc::clone(dropped),
            progress: progress.clone(),
            lags: watch_lags.clone(),
            forbidden: Arc::clone(&self.forbidden),
            mirror: mirror.as_ref().map(|mirror| mirror.progress.clone()),
            clock: self.clock.clone(),
            pipeline: meters,
            timings: vec![late_seconds, self.seal_seconds.clone(), found_seconds, verdict_seconds],
            others: pangea.router(),
            no_room: pangea_http::no_room,
            too_many_wrong_tokens: pangea_http::too_many_wrong_tokens,
        });
        let no_orders = |source| UpError::folder(IoFailure::of(NO_ORDERS)(source));
        let orders = OrderSocket::bind(self.data_dir.path(), self.operator.clone());
        services.run(orders.map_err(no_orders)?);
        let no_run_file = |source| UpError::folder(IoFailure::of(NO_RUN_FILE)(source));
        let run_file = RunFile { addresses: self.addresses.clone() };
        run_file.write(self.data_dir.path()).map_err(no_run_file)?;

        let known = tokio::select! {
            Ok(known) = known => known,
            ended = self.services.ended() => return Err(UpError::Service(ended)),
        };
        let own = LogQueries {
            ledger: self.ledger.clone(),
            index: for_queries,
            fleet: KeptFleet::default(),
            dropped: Arc::clone(dropped),
            counters: watch_counters,
            witnessed,
            progress,
            lags: watch_lags.clone(),
            mirror,
            clock: self.clock.clone(),
            site_name: self.data_dir.name().to_owned(),
            log_url: self.addresses.log.clone(),
            door: (self.admits, self.operator.credentials().clone()),
        };
        let logs = Logs::new(own, []);
        self.services.run(self.polling_service(operators, logs.clone()));
        self.services.run(Queries { client: data, logs });
        Ok((known, counters, watch_lags))
    }

    /// What the log shows to anyone. Call it before the witnesses are asked, because asking takes
    /// `cosigning`, the source of the watched cosignatures.
    fn public_log(&self) -> log_http::PublicLog {
        let witnessed = self.cosigning.as_ref().map(Cosigning::watch);
        log_http::PublicLog { ledger: self.ledger.clone(), witnessed }
    }

    /// Has applications hand in events. Returns where else they can.
    fn hear_applications(
        &mut self,
        client: async_nats::Client,
        logger: async_nats::Client,
        (accepted, probation): Judged,
    ) -> Desk {
        let tokens = self.operator.tokens();
        let log_name = orders::log_name::config_id(self.ledger.log_id());
        let (desk, waiting) = Desk::new(self.ledger.clone(), tokens.clone(), log_name);
        self.services.run(Forwarded { client: logger.clone(), desk: desk.clone() });
        self.services.run(OfHosts {
            client: logger.clone(),
            desk: desk.clone(),
            tokens: tokens.clone(),
        });
        self.services.run(Checking { logger, accepted, probation, waiting });
        self.intake.run(Hearing {
            client,
            desk: desk.clone(),
            tokens: tokens.clone(),
            credentials: self.operator.credentials().clone(),
        });
        desk
    }

    fn pangea(
        &self,
        config: pangea_http::Config,
        index: Reader,
        progress: Progress,
    ) -> Result<pangea_http::Api, UpError> {
        let saved = pangea_http::Saved::open(self.data_dir.path()).map_err(UpError::folder)?;
        let log = (self.ledger.clone(), &self.operator);
        Ok(pangea_http::Api::new(log, (index, progress), config, saved))
    }

    fn start_polling(
        &mut self,
        config: poll::Config,
        (heartbeats, guard): (Vec<Pattern>, Guard),
        (known, (giving, orders)): (Known, (SensorOrders, GivenOrders)),
        (devices, dropped, late_seconds): (Devices, Arc<AtomicU64>, Histogram),
        (counters, lags): (watch::Sender<Counters>, watch::Receiver<Vec<Lag>>),
    ) {
        let (forgetting, forget) = polling::Forgetting::new();
        self.operator.polls(orders::Polls {
            forget: Box::new(move |sensor, by, reason| {
                let forgetting = forgetting.clone();
                Box::pin(async move { Ok(forgetting.forget(sensor, by, reason).await?) })
            }),
            poll: Box::new({
                let giving = giving.clone();
                move |sensor, by, reason| {
                    let giving = giving.clone();
                    Box::pin(async move { outcome(giving.poll(sensor, (by, reason)).await) })
                }
            }),
            in_force: Box::new({
                let giving = giving.clone();
                move || {
                    let giving = giving.clone();
                    Box::pin(async move { Ok(giving.in_force().await?) })
                }
            }),
            order: Box::new(move |sensor, order, by, reason| {
                let giving = giving.clone();
                Box::pin(async move { outcome(giving.give(sensor, order, (by, reason)).await) })
            }),
        });
        self.intake.run(Polling {
            config,
            heartbeats,
            guard,
            guard_changed: self.operator.credentials().watch(),
            known,
            devices,
            dropped,
            events: self.events.clone(),
            lags,
            counters,
            late_seconds,
            forget,
            orders,
        });
    }

    /// The service through which operators of this machine order polls over NATS.
    fn polling_service(&self, client: async_nats::Client, logs: Logs) -> PollingService {
        let operator = self.operator.clone();
        let give = move |name, token: Option<String>, body: Vec<u8>| {
            let operator = operator.clone();
            let giving = async move {
                let endpoint = Endpoint::of_name(name).expect("the service has these endpoints");
                let given = operator.request(endpoint, token.as_deref(), &body).await;
                given.map_err(|Refusal { code, words }| (code, words))
            };
            Box::pin(giving) as BoxFuture<'static, polling_service::Answer>
        };
        PollingService {
            client,
            orders: Endpoint::ALL.map(Endpoint::name).to_vec(),
            give: Arc::new(give),
            logs,
            site: HashMap::from([
                ("site".to_owned(), self.data_dir.name().to_owned()),
                ("log".to_owned(), self.ledger.log_id().to_string()),
            ]),
        }
    }

    /// Waits until the page answers, reports it, and then waits until the site must stop or
    /// something fails.
    pub(crate) async fn serve(
        &mut self,
        page: Page,
        ready: impl FnOnce(&Addresses) -> io::Result<()>,
        progress: &(impl Fn(&str) + Sync),
        shutdown: &CancellationToken,
    ) -> Result<(), UpError> {
        progress("starting the components");
        let host_log = page.host_log.clone();
        let answering = async {
            timeout(PAGE_READY_TIMEOUT, page_answers(page))
                .await
                .map_err(|_elapsed| UpError::machine(PageSilent { ending: host_log.ending() }))
        };
        tokio::select! {
            answers = answering => answers?,
            ended = self.ended() => return Err(UpError::Service(ended)),
            () = shutdown.cancelled() => return Ok(()),
        }
        let untold = IoFailure::of("cannot announce the site's addresses");
        ready(&self.addresses).map_err(|source| UpError::machine(untold(source)))?;
        tokio::select! {
            ended = self.ended() => Err(UpError::Service(ended)),
            () = shutdown.cancelled() => Ok(()),
        }
    }

    /// The service that ended first, of all parts.
    async fn ended(&mut self) -> ServiceEnded {
        tokio::select! {
            ended = self.intake.ended() => ended,
            ended = self.services.ended() => ended,
            ended = self.host.ended() => ended,
            ended = self.bus.ended() => ended,
            ended = self.sealing.ended() => ended,
        }
    }

    /// Stops everything except the log. This takes at most three times [`DRAIN_TIMEOUT`] and the
    /// two seconds that an engine has, even if something hangs.
    pub(crate) async fn stop(mut self) {
        self.seal_own(action::SITE_STOPPED, "stops");
        self.intake.stop(DRAIN_TIMEOUT).await;
        drop(self.events);
        // No task sends events any more, so sealing ends when the queue is empty.
        if !self.sealing.stop(DRAIN_TIMEOUT).await {
            warn!("stopping with events that could not be sealed");
        }
        self.services.stop(DRAIN_TIMEOUT).await;
        // Each of these waits for its engine, which is killed if it takes too long.
        tokio::join!(self.host.stop(Duration::MAX), self.bus.stop(Duration::MAX));
    }

    /// Queues an event about the site itself for sealing.
    fn seal_own(&self, action: &str, words: &str) {
        let message = format!("site {} {words}", self.data_dir.name());
        let event = Event::site(action, "site", message, clock::now());
        if let Err(error) = self.events.try_send(event.into()) {
            warn!(%error, action, "cannot seal an event of the site itself");
        }
    }
}

/// What the poller did on an order, as the operator takes it.
fn outcome<T>(given: Result<T, OrderingError>) -> Result<Result<T, RefusedOrder>, AnyError> {
    match given {
        Ok(done) => Ok(Ok(done)),
        Err(OrderingError::Refused(refused)) => Ok(Err(refused)),
        Err(OrderingError::Ended(ended)) => Err(ended.into()),
    }
}

type AnyError = Box<dyn Error + Send + Sync>;
