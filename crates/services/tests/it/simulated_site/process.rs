//! One process of the site: what `site` starts and stops, on the simulated disk.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use ledger::{Ledger, Signers, Storage, Writer};
use model::{
    Event, SensorId, action,
    derive::{Question, Verdict},
    error_chain,
};
use poll::{Action, Bus, Config, Poller, Source};
use sensor_reader::judge;
use services::{
    checkpointing::Checkpointing,
    indexing::{self, AtStart, Indexing},
    known::Known,
    pipeline::{Components, Digests, Judging, Meters},
    progress::progress,
    sealing::{QUEUE_EVENTS_MAX, Sealing, ToSeal},
    site_clock::{SiteClock, own_time_at_end},
    testing::OnProbation,
    timings,
};
use tlog::{KeyName, Signer};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::yield_now,
    time::{advance, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use work::Service;

use super::{
    sensors::{self, Arrived, Message},
    visitors::{self, Asked},
    world::{End, World, folder, world},
};

/// Small enough that a log has many segments.
const SEGMENT_BYTES_MAX: u64 = 4 << 10;
/// As in a site.
const CHECKPOINT_PERIOD: Duration = Duration::from_millis(500);
/// As in a site.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Time without a heartbeat after which a sensor is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);
/// Longer than anything of a site takes: a site without a timer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Digest of the component that judges.
const DIGEST: &str = "sha256:simulated";
/// Messages that wait for the poller.
const MESSAGES_MAX: usize = 1_024;

pub(super) fn signer(number: u8) -> Signer {
    Signer::from_seed(KeyName::parse("sealwire.test/plant").unwrap(), &[number; 32])
}

/// Lives until the process ends, or stops it after so many events.
pub(super) async fn live(world: &Rc<World>, asked: &RefCell<Asked>, stop_after: u64) {
    world.begin_process();
    let Some(process) = Process::start(world) else { return };
    let (ledger, mut process) = (process.ledger.clone(), Some(process));
    let stop_at = world.events() + stop_after;
    let mut recording: Option<(usize, u64)> = None;
    loop {
        // Timers fire in the turns of the runtime.
        yield_now().await;
        if world.end.get().is_some() {
            return;
        }
        if world.events() >= stop_at
            && let Some(process) = process.take()
        {
            world.tasks.begin("the stop", process.stop(Rc::clone(world)));
        }
        let operations = world.disk().operation_count();
        match world.dice.below(600) {
            0 if world.can_fail() && world.dice.once_in(3) => return world.kill(),
            1..16 if process.is_some() => visitors::come(world, &ledger, &mut asked.borrow_mut()),
            16..28 => world.go_away(),
            28..30 => world.disk().make_room(),
            30 => jump(world),
            31 => {
                if let Some(process) = &process {
                    process.change_bus(world);
                }
            }
            32..34 => visitors::look_from_outside(world),
            34..38 if recording.is_none() => {
                world.disk().keep_history();
                let published = world.truth.borrow().published_size();
                recording = Some((operations + world.dice.within(5..300) as usize, published));
            }
            38..58 => {
                world.note(|| "time passes".to_owned());
                advance(Duration::from_millis(world.dice.within(1..300))).await;
            }
            _ => {
                if !world.turn() {
                    let woken = timeout(HANGS_AFTER, world.tasks.woken()).await;
                    woken.expect("the site hangs");
                }
            }
        }
        if let Some((until, published)) = recording
            && operations >= until
        {
            recording = None;
            let history = world.disk().history();
            visitors::look_meanwhile(world, history, published);
        }
    }
}

/// The wall clock jumps by up to half an hour, back or ahead, and now and then by ten years.
fn jump(world: &World) {
    const FAR: i64 = 3_652 * 86_400 * 1_000_000;
    let far = match world.dice.below(16) {
        0 => FAR,
        1 => -FAR,
        _ => 0,
    };
    let by = world.dice.below(3_600_000_000) as i64 - 1_800_000_000;
    world.set_clock(by + far);
}

/// What runs in the process.
struct Process {
    ledger: Ledger,
    writer: Writer,
    events: mpsc::Sender<ToSeal>,
    messages: mpsc::Sender<Arrived>,
    intake: CancellationToken,
    services: CancellationToken,
    /// Each is cancelled when a task has ended.
    polling: CancellationToken,
    sealing: CancellationToken,
    others: Vec<CancellationToken>,
}

impl Process {
    /// Starts a site. `None` if it cannot: then the disk has failed.
    fn start(world: &Rc<World>) -> Option<Self> {
        let storage = Storage {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            ..Storage::from(Arc::new(world.disk()))
        };
        let key = world.key.get();
        let signers = Signers { current: signer(key), next: Some(signer(key + 1)) };
        let faults = world.faults();
        let seed = world.seed ^ world.events();
        let opened = Ledger::open_stepped(storage, folder(), signers, (world.now(), seed));
        let (ledger, writer, steps) = match opened {
            Ok(opened) => opened,
            Err(error) => return world.fails_to_start(faults, &error),
        };
        if world.end.get().is_some() {
            return None;
        }
        if ledger.vkey() == *signer(key + 1).vkey() {
            world.key.set(key + 1);
        }
        assert_eq!(ledger.vkey(), *signer(world.key.get()).vkey());
        world.writer.replace(Some(steps));
        world.disk().calmly(|| world.truth.borrow_mut().opened(&ledger));
        let indexer = match indexing::open(&world.index.path(), &ledger) {
            Ok(indexer) => indexer,
            Err(error) => return world.fails_to_start(faults, &error),
        };

        let (events, queue) = mpsc::channel(QUEUE_EVENTS_MAX);
        let (messages, incoming) = mpsc::channel(MESSAGES_MAX);
        let (intake, services) = (CancellationToken::new(), CancellationToken::new());
        let seal_seconds = timings::seal_seconds();
        let clock = SiteClock::start(own_time_at_end(&ledger));
        let sealing = Sealing { ledger: ledger.clone(), events: queue, seal_seconds, clock };
        let sealing = run(world, sealing, &CancellationToken::new());
        let started = Event::site(action::SITE_STARTED, "site", "starts".to_owned(), clock::now());
        events.try_send(started.into()).unwrap();
        let ((known, is_known), (standings, is_stood)) = (oneshot::channel(), oneshot::channel());
        let judging = Judging {
            ledger: ledger.clone(),
            reader: Component,
            accepted: watch::channel(Digests::from([DIGEST.to_owned()])).1,
            probation: OnProbation::default(),
            standings: is_stood,
            judged: watch::Sender::new(0),
            verdict_seconds: timings::verdict_seconds(),
            meters: Meters::default(),
        };
        let checkpointing = Checkpointing { ledger: ledger.clone(), period: CHECKPOINT_PERIOD };
        let indexing = Indexing {
            ledger: ledger.clone(),
            indexer,
            reports: progress().0,
            at_start: AtStart { known: Some(known), standings: Some(standings) },
            found_seconds: timings::found_seconds(),
        };
        let others = vec![
            run(world, indexing, &services),
            run(world, checkpointing, &services),
            run(world, judging, &services),
        ];
        let polling = poll_all(
            Rc::clone(world),
            is_known,
            (incoming, messages.clone()),
            events.clone(),
            intake.clone(),
        );
        let polling = world.tasks.begin("polling", polling);
        Some(Self { ledger, writer, events, messages, intake, services, polling, sealing, others })
    }

    fn change_bus(&self, world: &World) {
        let bus = if world.bus.get() == Bus::Up { Bus::Down } else { Bus::Up };
        world.bus.set(bus);
        world.note(|| format!("the bus is {bus:?}"));
        let _full = self.messages.try_send((Message::Bus(bus), world.poll_now()));
    }

    /// Stops everything in the order in which a site does, and verifies what it leaves.
    async fn stop(self, world: Rc<World>) {
        world.note(|| "the site stops".to_owned());
        self.intake.cancel();
        let _in_time = timeout(DRAIN_TIMEOUT, self.polling.cancelled()).await;
        world.tasks.drop_named("polling");
        drop(self.events);
        if timeout(DRAIN_TIMEOUT, self.sealing.cancelled()).await.is_err() {
            world.tasks.drop_named(Sealing::NAME);
        }
        self.services.cancel();
        let others = async {
            for other in &self.others {
                other.cancelled().await;
            }
        };
        let _in_time = timeout(DRAIN_TIMEOUT, others).await;
        for name in [Indexing::NAME, Checkpointing::NAME, Judging::<Component>::NAME] {
            world.tasks.drop_named(name);
        }
        drop(self.ledger);
        let closed = self.writer.close().await;
        if world.end.get().is_none() {
            let failed = closed.is_err();
            assert!(!failed || world.faults() > 0, "{closed:?}");
            world.note(|| format!("closed, failed: {failed}"));
            world.end.set(Some(if failed { End::Failed } else { End::Stopped }));
        }
    }
}

/// Runs a service as a task. A service that fails ends the process, and only a log that has stopped
/// makes one fail.
fn run<S: Service>(world: &Rc<World>, service: S, stop: &CancellationToken) -> CancellationToken {
    let (stop, task_world) = (stop.clone(), Rc::clone(world));
    world.tasks.begin(S::NAME, async move {
        if let Err(error) = service.run(stop).await {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            let words = error_chain(&*error);
            task_world.note(|| format!("{} fails: {words}", S::NAME));
            assert!(words.contains("the ledger has stopped"), "{} fails: {words}", S::NAME);
            task_world.end.set(Some(task_world.end.get().unwrap_or(End::Failed)));
        }
    })
}

/// Drives the real poller as the service `polling` does.
async fn poll_all(
    world: Rc<World>,
    known: oneshot::Receiver<Known>,
    (mut incoming, messages): (mpsc::Receiver<Arrived>, mpsc::Sender<Arrived>),
    events: mpsc::Sender<ToSeal>,
    stop: CancellationToken,
) {
    let Some(Ok(Known { sensors, last_numbers, in_force, pushed: _, past })) =
        stop.run_until_cancelled(known).await
    else {
        return;
    };
    let mut polls = BTreeMap::new();
    for sensor in &world.sensors {
        let (asks, asked) = mpsc::unbounded_channel();
        let live = sensors::live(Rc::clone(&world), Rc::clone(sensor), asked, messages.clone());
        world.tasks.begin("a sensor", live);
        polls.insert(sensor.borrow().id(), asks);
    }
    let mut poller = Poller::new(Config { lost_after: LOST_AFTER, ..Config::default() });
    poller.restore_orders(in_force);
    let refused = poller.restore(sensors, last_numbers, past, world.poll_now());
    assert!(refused.is_empty(), "{refused:?}");
    let began = tokio::time::Instant::now();
    let zero = world.poll_now().monotonic;
    loop {
        act(&world, &mut poller, &polls, &events).await;
        let wake_at = poller.poll_timeout().map(|at| began + at.saturating_duration_since(zero));
        let wake = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some((message, at)) = incoming.recv() => match message {
                Message::Answer(sensor, text) => poller.handle_answer(sensor, text.as_bytes(), at),
                Message::Disconnect(sensor) => poller.handle_disconnect(sensor, at),
                Message::Bus(bus) => poller.handle_bus(bus, at),
                Message::Heartbeat(text) => {
                    let source =
                        Source { subject: "hall.heartbeat", protocol: model::Protocol::Nats };
                    poller.handle_heartbeat(text.as_bytes(), source, at).unwrap();
                }
            },
            () = wake => poller.handle_timeout(world.poll_now()),
        }
    }
    poller.handle_stop(world.poll_now());
    act(&world, &mut poller, &polls, &events).await;
}

async fn act(
    world: &World,
    poller: &mut Poller,
    polls: &BTreeMap<SensorId, mpsc::UnboundedSender<()>>,
    events: &mpsc::Sender<ToSeal>,
) {
    while let Some(action) = poller.poll_action() {
        match action {
            Action::SendPoll { sensor, .. } if world.bus.get() == Bus::Up => {
                let _gone = polls[&sensor].send(());
            }
            Action::SendPoll { .. } | Action::Subscribe { .. } | Action::Unsubscribe { .. } => {}
            Action::Seal(event) => drop(events.send(ToSeal::from(*event)).await),
        }
    }
}

/// The component: judges right, late or not at all, or says what it was not asked. It always fails
/// on some values.
struct Component;

impl Components for Component {
    async fn answer(&self, _subject: &str, question: Vec<u8>) -> Result<Vec<u8>, String> {
        let (mood, millis) = {
            let world = world();
            (world.dice.below(48), world.dice.within(1..40))
        };
        sleep(Duration::from_millis(millis)).await;
        let question: Question = serde_json::from_slice(&question).unwrap();
        if question.sightings.iter().any(sensors::is_poison) {
            sleep(Duration::from_secs(2)).await;
            return Err("it trapped".to_owned());
        }
        let mut verdict = Verdict { component: DIGEST.to_owned(), derived: judge(question) };
        match mood {
            0 => {
                sleep(Duration::from_secs(5)).await;
                return Err("no answer".to_owned());
            }
            1 => return Ok(b"{".to_vec()),
            2 => verdict.component.push('2'),
            3 => verdict.derived.iter_mut().for_each(|derived| derived.from_leaf += 1_000_000),
            4 => sleep(Duration::from_secs(3)).await,
            _ => {}
        }
        Ok(serde_json::to_vec(&verdict).unwrap())
    }
}
