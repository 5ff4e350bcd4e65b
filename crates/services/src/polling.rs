//! Drives the poller: passes it the messages that arrive on NATS, and carries out its decisions.
//!
//! One task owns the poller and the connection to the devices. It works in steps: it reads what
//! has arrived, has the poller handle all of it, and hands over all that follows. A step takes at
//! least [`STEP`], so under load one step serves many sensors. An idle site does not wait.

mod keeping_up;
mod ordering;
mod subscriptions;

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ledger::Batch;
use model::{Event, Given, Heartbeat, Pattern, SensorId, SensorOrder, action};
use nats::ConnectionError;
use poll::{Action, Bus, Config, Counters, Guard, Now, Poller, RefusedOrder, Source, action::POLL};
use prometheus::Histogram;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use work::Service;

use crate::{
    bus::{Devices, Turned, now},
    known::Known,
    lag::{Follower, Lag},
    sealing::ToSeal,
};
use keeping_up::KeepingUp;
use ordering::OrderedPolls;
pub(crate) use ordering::{Asked, Ordered, PollOrdered};
pub use ordering::{GivenOrders, OrderingError, PollingEnded, SensorOrders};
use subscriptions::{Heartbeats, Sender, Subscriptions, Topic};

/// Least time between two steps. Polls and the stamps of answers are late by at most so much, which
/// is half of the shortest answer timeout (10 ms), and the site wakes up at most so often. A step
/// costs nearly the same for one message as for ten.
const STEP: Duration = Duration::from_millis(5);
/// Heartbeats that are handled in one step, in about two milliseconds. Answers do not wait longer
/// for them.
const HEARTBEATS_OF_STEP: usize = 256;
/// Orders to forget a sensor that wait for the poller. When this is full, [`Forgetting::forget`]
/// waits.
const FORGET_ORDERS_MAX: usize = 16;
/// Events that wait here because the queue of events to be sealed is full. No polls are sent
/// meanwhile, so what comes are the ends of those in flight, and what heartbeats change. Beyond
/// this, everything but reading waits.
const UNSEALED_MAX: usize = 65_536;
/// Least time between two warnings that the queue is full.
const FULL_TOLD_PERIOD: Duration = Duration::from_secs(60);

/// Polls the sensors. The fields are what the service needs at its start.
#[derive(Debug)]
pub struct Polling {
    /// Timeouts and limits of the poller.
    pub config: Config,
    /// Subject patterns of the sensors' heartbeats.
    pub heartbeats: Vec<Pattern>,
    /// Who may speak as which sensor.
    pub guard: Guard,
    /// Tells when that changes.
    pub guard_changed: watch::Receiver<()>,
    /// The sensors at the start.
    pub known: Known,
    /// Connection to the devices.
    pub devices: Devices,
    /// Counts messages that were dropped because more came than the site hears.
    pub dropped: Arc<AtomicU64>,
    /// Channel to the service that seals events.
    pub events: mpsc::Sender<ToSeal>,
    /// How far those who follow the log are behind. While the index falls behind, the site polls
    /// less.
    pub lags: watch::Receiver<Vec<Lag>>,
    /// Receives the poller's counters after each step.
    pub counters: watch::Sender<Counters>,
    /// Takes how late each poll is sent.
    pub late_seconds: Histogram,
    /// Orders to forget a sensor.
    pub forget: ForgetOrders,
    /// Other orders about sensors.
    pub orders: GivenOrders,
}

/// Sends orders to forget a sensor to the poller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Forgetting(mpsc::Sender<Forget>);

/// Receiving end of [`Forgetting`].
#[derive(Debug)]
pub struct ForgetOrders(mpsc::Receiver<Forget>);

/// An order to forget a sensor until its next heartbeat.
#[derive(Debug)]
struct Forget {
    sensor: SensorId,
    /// The account that gives the order.
    by: String,
    reason: String,
    answer: oneshot::Sender<Forgotten>,
}

/// Outcome of a [`Forget`].
#[derive(Debug)]
enum Forgotten {
    /// The poller has forgotten the sensor. The receiver gets the leaf of the event that records
    /// it.
    Sealing(oneshot::Receiver<u64>),
    /// The site does not know this sensor.
    Unknown,
}

impl Forgetting {
    /// Creates the sending and the receiving end.
    #[must_use]
    pub fn new() -> (Self, ForgetOrders) {
        let (orders, given) = mpsc::channel(FORGET_ORDERS_MAX);
        (Self(orders), ForgetOrders(given))
    }

    /// Makes the poller forget a sensor, and seals who ordered it and why. Returns the leaf of that
    /// event, or `None` if the site does not know the sensor. Dropping this future ends only the
    /// wait, not the order.
    ///
    /// # Errors
    /// The poller has ended.
    pub async fn forget(
        &self,
        sensor: SensorId,
        by: String,
        reason: String,
    ) -> Result<Option<u64>, PollingEnded> {
        let (answer, answered) = oneshot::channel();
        let order = Forget { sensor, by, reason, answer };
        self.0.send(order).await.map_err(|_ended| PollingEnded)?;
        match answered.await.map_err(|_ended| PollingEnded)? {
            Forgotten::Sealing(sealed) => sealed.await.map(Some).map_err(|_ended| PollingEnded),
            Forgotten::Unknown => Ok(None),
        }
    }
}

impl Service for Polling {
    const NAME: &'static str = "polling";
    /// Polling goes on until the site stops.
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        poll_all(self, shutdown).await;
        Ok(())
    }
}

async fn poll_all(polling: Polling, shutdown: CancellationToken) {
    let Polling {
        config,
        heartbeats: patterns,
        guard,
        mut guard_changed,
        known,
        mut devices,
        dropped,
        events,
        mut lags,
        counters,
        late_seconds,
        mut forget,
        mut orders,
    } = polling;
    let started = Instant::now();
    let subscriptions = match devices.connection() {
        Some(connection) => Subscriptions::of(patterns.clone(), connection),
        // A connection that was just made is there.
        None => return,
    };
    let mut shell = Shell {
        poller: Poller::new(config).hearing(patterns).guarded(guard),
        devices,
        lost: None,
        subscriptions,
        is_behind: false,
        keeping_up: KeepingUp::default(),
        heartbeats: Heartbeats::default(),
        left_out: HashMap::new(),
        dropped,
        events: events.clone(),
        ordered_polls: OrderedPolls::default(),
        unsealed: VecDeque::new(),
        full_told: None,
        sent: Vec::new(),
        late_seconds,
        started,
    };
    let Known { sensors, last_numbers, in_force, pushed: _, past } = known;
    shell.poller.restore_orders(in_force);
    for (heartbeat, refused) in shell.poller.restore(sensors, last_numbers, past, now(started)) {
        warn!(reason = %refused, "cannot take up a sensor of the log");
        shell.left_out.insert(heartbeat.id, heartbeat);
    }
    shell.poller.handle_guard(now(started));
    let mut step_from = started;
    loop {
        shell.lose_connection();
        shell.act().await;
        counters.send_if_modified(|counters| {
            std::mem::replace(counters, shell.poller.counters()) != *counters
        });
        let wake_at = shell.poller.poll_timeout().map(|at| {
            let at = started + at.saturating_duration_since(poll::Instant::default());
            at.max(step_from)
        });
        let is_behind = shell.is_behind || !shell.heartbeats.is_empty();
        let sleep = async {
            match wake_at {
                _ if is_behind => {}
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let turn = async {
            // Waiting here lets more arrive. What waits in the socket is stamped when it is read.
            sleep_until(step_from.into()).await;
            shell.devices.turn(|| now(started)).await
        };
        // Messages come before the timer: an answer that waits here arrived in time, however late
        // this loop reads it.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(order) = forget.0.recv() => shell.forget(order, now(started)).await,
            Some(asked) = orders.0.recv() => shell.handle_asked(asked, now(started)).await,
            Ok(()) = guard_changed.changed() => shell.poller.handle_guard(now(started)),
            // Once a second, and needed most when messages are always there.
            Ok(()) = lags.changed() => shell.handle_lags(&lags.borrow_and_update()),
            turned = turn => shell.handle_turn(turned),
            // Sealing has made room, which the next round uses.
            Ok(_room) = events.reserve(), if !shell.unsealed.is_empty() => {}
            () = sleep => {}
        }
        shell.hear();
        shell.handle_heartbeats();
        let moment = Instant::now();
        if wake_at.is_some_and(|at| at <= moment) {
            shell.poller.handle_timeout(now(started));
        }
        // Not while a step is due: heartbeats that wait must not delay the next read.
        if step_from <= moment {
            step_from = moment + STEP;
        }
    }
    // This ends the polls in flight, and the log records it.
    shell.poller.handle_stop(now(started));
    shell.act().await;
    shell.seal_all().await;
}

struct Shell {
    poller: Poller,
    devices: Devices,
    /// Why the connection was lost, if its end is not handled yet.
    lost: Option<ConnectionError>,
    subscriptions: Subscriptions,
    /// Whether messages may have arrived that the poller has not heard.
    is_behind: bool,
    keeping_up: KeepingUp,
    heartbeats: Heartbeats,
    /// Sensors that the log knows and that the poller did not take at the start.
    left_out: HashMap<SensorId, Heartbeat>,
    dropped: Arc<AtomicU64>,
    events: mpsc::Sender<ToSeal>,
    ordered_polls: OrderedPolls,
    /// Events of this step, and of those before it while the queue is full. They go to be sealed
    /// together.
    unsealed: VecDeque<ToSeal>,
    /// When it was said last that the queue is full.
    full_told: Option<Instant>,
    /// When each poll of this step was due.
    sent: Vec<poll::Instant>,
    late_seconds: Histogram,
    started: Instant,
}

impl Shell {
    /// Makes the poller forget a sensor. Seals the order after every event of the poller about that
    /// sensor.
    async fn forget(&mut self, order: Forget, now: Now) {
        let Forget { sensor, by, reason, answer } = order;
        let left_out = self.left_out.remove(&sensor);
        let heartbeat = self.poller.handle_forget(sensor, now).or(left_out);
        self.act().await;
        let forgotten = match heartbeat {
            Some(heartbeat) => {
                let event = Event::sensor_forgotten(&by, &heartbeat, &reason, now.wall);
                let (event, sealed) = ToSeal::awaited(event);
                self.unsealed.push_back(event);
                self.hand_over();
                Forgotten::Sealing(sealed)
            }
            None => Forgotten::Unknown,
        };
        // The caller may be gone; the log then holds the answer.
        let _gone = answer.send(forgotten);
    }

    async fn handle_asked(&mut self, asked: Asked, now: Now) {
        match asked {
            Asked::Order(order) => self.obey(order, now).await,
            Asked::Poll(order) => self.poll_now(order, now).await,
            // The caller may be gone.
            Asked::InForce(answer) => drop(answer.send(self.poller.orders_in_force())),
        }
    }

    /// Has the poller carry out an order. Seals the order after every event of the poller about
    /// that sensor.
    async fn obey(&mut self, order: Ordered, now: Now) {
        let Ordered { sensor, order, by, reason, answer } = order;
        let given = Given { order, by, at: now.wall, reason };
        let described = self.poller.handle_order(sensor, &given, now);
        self.act().await;
        let sealing = described.map(|heartbeat| {
            let (event, sealed) = ToSeal::awaited(Event::sensor_ordered(&heartbeat, &given));
            self.unsealed.push_back(event);
            self.hand_over();
            sealed
        });
        // The caller may be gone; the log then holds the answer.
        let _gone = answer.send(sealing);
    }

    /// Has the poller send a poll. Its answer follows in a later step.
    async fn poll_now(&mut self, order: PollOrdered, now: Now) {
        let PollOrdered { sensor, by, reason, answer } = order;
        let given = Given { order: SensorOrder::Poll, by, at: now.wall, reason };
        let accepted = match self.ordered_polls.has(sensor) {
            true => Err(RefusedOrder::Underway { sensor }),
            false => self.poller.handle_order(sensor, &given, now),
        };
        match accepted {
            Ok(_described) => self.ordered_polls.expect(sensor, answer),
            // The caller may be gone.
            Err(refused) => drop(answer.send(Err(refused))),
        }
        self.act().await;
    }

    /// Takes how far those who follow the log are behind.
    fn handle_lags(&mut self, lags: &[Lag]) {
        let of_index = lags.iter().find(|lag| lag.follower == Follower::Index);
        let load = self.keeping_up.look(of_index.map_or(Duration::ZERO, |lag| lag.waited));
        self.poller.handle_load(load, now(self.started));
    }

    /// Takes what the connection brought.
    fn handle_turn(&mut self, turned: Turned) {
        match turned {
            Turned::Heard => self.is_behind = true,
            Turned::Lost(reason) => self.lost = Some(reason),
            Turned::Back => {
                if let Some(connection) = self.devices.connection() {
                    let sensors = self.poller.sensors().map(|(heartbeat, _)| heartbeat);
                    self.subscriptions.renew(sensors, connection);
                }
                self.poller.handle_bus(Bus::Up, now(self.started));
            }
        }
    }

    /// Passes the messages that have arrived to the poller.
    fn hear(&mut self) {
        if !std::mem::take(&mut self.is_behind) {
            return;
        }
        self.subscriptions.begin_read();
        let mut dropped = 0;
        let lost = self.devices.hear(|message, at| match self.subscriptions.sender(message) {
            Sender::Sensor(sensor, Topic::Read) => {
                self.poller.handle_answer(sensor, message.payload, at);
            }
            Sender::Sensor(sensor, Topic::Disconnect) => {
                self.poller.handle_disconnect(sensor, at);
            }
            Sender::Heartbeat => {
                let has_room = self
                    .heartbeats
                    .push(message, |sensor| self.poller.expects(message.subject, sensor));
                dropped += u64::from(!has_room);
            }
            Sender::Dropped => dropped += 1,
            Sender::Nobody => {}
        });
        if lost.is_some() {
            self.lost = lost;
        }
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            debug!(dropped, "more messages came than are heard");
        }
    }

    fn handle_heartbeats(&mut self) {
        for _ in 0..HEARTBEATS_OF_STEP {
            let Some(waiting) = self.heartbeats.pop() else { return };
            let source = Source { subject: &waiting.subject, protocol: waiting.protocol };
            let now = now(self.started);
            if let Err(reason) = self.poller.handle_heartbeat(&waiting.payload, source, now) {
                debug!(subject = waiting.subject, %reason, "refused a heartbeat");
            }
        }
    }

    /// Handles the loss of the connection, after everything that was heard before.
    fn lose_connection(&mut self) {
        if self.lost.is_some() {
            self.is_behind = true;
            self.hear();
        }
        if let Some(reason) = self.lost.take() {
            self.devices.lose(&reason);
            self.poller.handle_bus(Bus::Down, now(self.started));
        }
    }

    /// Carries out all decisions of the poller. Has it send no polls while there is no room for the
    /// events that follow.
    async fn act(&mut self) {
        let mut had_room = self.unsealed.is_empty();
        loop {
            self.carry_out();
            self.hand_over();
            if self.unsealed.len() > UNSEALED_MAX {
                self.seal_all().await;
            }
            let has_room = self.unsealed.is_empty();
            if has_room == had_room {
                break;
            }
            if !has_room {
                self.tell_full();
            }
            self.poller.handle_room(has_room, now(self.started));
            had_room = has_room;
        }
        if !had_room {
            self.keeping_up.handle_no_room();
        }
    }

    fn tell_full(&mut self) {
        if self.full_told.is_none_or(|told| told.elapsed() >= FULL_TOLD_PERIOD) {
            self.full_told = Some(Instant::now());
            warn!("events come faster than they are sealed, so due polls wait");
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.poller.poll_action() {
            match action {
                Action::Subscribe { sensor, read_topic, disconnect_topic } => {
                    let topics = (&read_topic, disconnect_topic.as_ref());
                    self.subscriptions.add(sensor, topics, self.devices.connection());
                }
                Action::Unsubscribe { sensor } => {
                    self.subscriptions.remove(sensor, self.devices.connection());
                }
                Action::SendPoll { sensor, poll, due_at, subject, reply } => {
                    let connection = self.devices.connection();
                    let is_sent = connection.is_some_and(|connection| {
                        connection.publish(&subject, Some((&reply).into()), POLL)
                    });
                    // No answer comes then, and the poller seals the timeout.
                    if is_sent {
                        self.sent.push(due_at);
                    } else {
                        debug!(%sensor, poll, "cannot send a poll");
                    }
                }
                Action::Seal(event) => {
                    // The poller reports these at most once a minute, however often they happen, so
                    // a warning each time is not too much.
                    let is_of_the_site = event.sensor().is_none();
                    if is_of_the_site
                        && matches!(
                            event.action.as_deref(),
                            Some(action::HEARTBEATS_REFUSED | action::POLLS_STRETCHED)
                        )
                    {
                        warn!(
                            reason = event.message,
                            "the site cannot poll sensors as often as they ask"
                        );
                    }
                    self.unsealed.push_back(self.ordered_polls.seal(event));
                }
            }
        }
        self.ordered_polls.give_up(|sensor| self.poller.is_asked(sensor));
        if let Some(connection) = self.devices.connection()
            && let Err(error) = connection.flush()
        {
            self.lost.get_or_insert(error);
        }
        self.measure_sent();
    }

    /// Counts how late the polls of this step were when the socket had them.
    fn measure_sent(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let sent_at = now(self.started).monotonic;
        let counted = self.late_seconds.local();
        for due_at in self.sent.drain(..) {
            counted.observe(sent_at.saturating_duration_since(due_at).as_secs_f64());
        }
        counted.flush();
    }

    /// Hands events over, as far as the queue has room.
    fn hand_over(&mut self) {
        loop {
            let count = self.unsealed.len().min(Batch::EVENTS_MAX).min(self.events.capacity());
            if count == 0 {
                return;
            }
            match self.events.try_reserve_many(count) {
                Ok(permits) => {
                    let events = self.unsealed.drain(..count);
                    permits.zip(events).for_each(|(permit, event)| permit.send(event));
                    // What a start or an outage took is given back.
                    if self.unsealed.is_empty() {
                        self.unsealed.shrink_to(Batch::EVENTS_MAX);
                    }
                }
                Err(TrySendError::Full(())) => return,
                // The receiver outlives us: it ends when every sender is gone.
                Err(TrySendError::Closed(())) => return self.unsealed.clear(),
            }
        }
    }

    /// Hands all events over. While there is no room for them, it goes on reading, so that answers
    /// get the time at which they arrived.
    async fn seal_all(&mut self) {
        let (started, queue) = (self.started, self.events.clone());
        while !self.unsealed.is_empty() {
            tokio::select! {
                biased;
                room = queue.reserve() => match room {
                    Ok(room) => {
                        drop(room);
                        self.hand_over();
                    }
                    Err(_ended) => return,
                },
                // The messages are heard in the next step.
                turned = self.devices.turn(|| now(started)), if self.lost.is_none() => {
                    self.handle_turn(turned);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
