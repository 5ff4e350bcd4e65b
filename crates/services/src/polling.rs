//! Drives the poller: passes it the messages that arrive on NATS, and carries out its decisions.
//!
//! One task owns the poller. Each sensor has a small task that listens to its topics. All of them
//! end with [`Polling`].

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use model::{
    Event, Heartbeat, Pattern, Protocol, SensorId, SensorState, Subject, action,
    completeness::LastNumbers,
};
use poll::{Action, Config, Counters, Now, Past, Poller, Source, action::POLL};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use work::Service;

use crate::{bus::Connection, sealing::ToSeal};

/// Messages of sensors that wait for the poller. When this is full, they wait in their
/// subscriptions.
const INCOMING_MAX: usize = 1_024;
/// Orders to forget a sensor that wait for the poller. When this is full, [`Forgetting::forget`]
/// waits.
const FORGET_ORDERS_MAX: usize = 16;

/// Polls the sensors. The fields are what the service needs at its start.
#[derive(Debug)]
pub struct Polling {
    /// Timeouts and limits of the poller.
    pub config: Config,
    /// Subject patterns of the sensors' heartbeats.
    pub heartbeats: Vec<Pattern>,
    /// The sensors at the start.
    pub known: Known,
    /// Connection to the devices.
    pub connection: Connection,
    /// Channel to the service that seals events.
    pub events: mpsc::Sender<ToSeal>,
    /// Receives the poller's counters after each step.
    pub counters: watch::Sender<Counters>,
    /// Orders to forget a sensor.
    pub forget: ForgetOrders,
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

/// The poller ended before it answered. The sensor may or may not be forgotten; the log shows
/// which.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the site has stopped polling")]
pub struct PollingEnded;

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

/// What the whole log records about sensors.
#[derive(Debug)]
pub struct Known {
    /// Each sensor's newest heartbeat and state.
    pub sensors: Vec<(Heartbeat, SensorState)>,
    /// The newest numbers of each sensor, including sensors that are not in `sensors`.
    pub last_numbers: BTreeMap<SensorId, LastNumbers>,
    /// The times in the log, against which the poller checks the clock.
    pub past: Past,
}

/// A message of a sensor, with the time at which it arrived.
struct Incoming {
    sensor: SensorId,
    message: SensorMessage,
    at: Now,
}

enum SensorMessage {
    Answer(async_nats::Message),
    Disconnect,
}

impl Service for Polling {
    const NAME: &'static str = "polling";
    /// The bus refuses a subscription.
    type Error = async_nats::SubscribeError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        poll_all(self, shutdown).await
    }
}

async fn poll_all(
    polling: Polling,
    shutdown: CancellationToken,
) -> Result<(), async_nats::SubscribeError> {
    let Polling { config, heartbeats: patterns, known, connection, events, counters, mut forget } =
        polling;
    let started = Instant::now();
    let mut heartbeats = Vec::new();
    for pattern in &patterns {
        heartbeats.push(connection.client.subscribe(pattern.as_str().to_owned()).await?);
    }
    let mut heartbeats = futures::stream::select_all(heartbeats);
    let mut bus = connection.state.clone();
    let (listened, mut incoming) = mpsc::channel(INCOMING_MAX);
    let mut shell = Shell {
        poller: Poller::new(config).hearing(patterns),
        client: connection.client,
        listeners: Listeners { tasks: JoinSet::new(), handles: HashMap::new(), listened, started },
        left_out: HashMap::new(),
        events,
    };
    let Known { sensors, last_numbers, past } = known;
    for (heartbeat, refused) in shell.poller.restore(sensors, last_numbers, past, now(started)) {
        warn!(reason = %refused, "cannot take up a sensor of the log");
        shell.left_out.insert(heartbeat.id, heartbeat);
    }
    loop {
        shell.act().await?;
        counters.send_replace(shell.poller.counters());
        let wake_at = shell
            .poller
            .poll_timeout()
            .map(|at| started + at.saturating_duration_since(poll::Instant::default()));
        let sleep = async {
            match wake_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        // Messages come before the timer: an answer that waits here arrived in time, however late
        // this loop reads it.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(order) = forget.0.recv() => shell.forget(order, now(started)).await?,
            Some(Incoming { sensor, message, at }) = incoming.recv() => match message {
                SensorMessage::Answer(answer) => shell.poller.handle_answer(sensor, &answer.payload, at),
                SensorMessage::Disconnect => shell.poller.handle_disconnect(sensor, at),
            },
            Ok(()) = bus.changed() => {
                let state = *bus.borrow_and_update();
                shell.poller.handle_bus(state, now(started));
            }
            Some(message) = heartbeats.next() => {
                let source = Source { subject: &message.subject, protocol: protocol(&message) };
                if let Err(reason) = shell.poller.handle_heartbeat(&message.payload, source, now(started)) {
                    debug!(subject = %message.subject, %reason, "refused a heartbeat");
                }
            }
            () = sleep => shell.poller.handle_timeout(now(started)),
        }
    }
    // This ends the polls in flight, and the log records it.
    shell.poller.handle_stop(now(started));
    shell.act().await
}

/// The protocol of the sender. NATS' gateway marks messages that came by MQTT.
fn protocol(message: &async_nats::Message) -> Protocol {
    const GATEWAY_HEADER: &str = "Nmqtt-Pub";
    let headers = message.headers.as_ref();
    let by_mqtt = headers.is_some_and(|headers| headers.get(GATEWAY_HEADER).is_some());
    if by_mqtt { Protocol::Mqtt } else { Protocol::Nats }
}

struct Shell {
    poller: Poller,
    client: Client,
    listeners: Listeners,
    /// Sensors that the log knows and that the poller did not take at the start.
    left_out: HashMap<SensorId, Heartbeat>,
    events: mpsc::Sender<ToSeal>,
}

impl Shell {
    /// Makes the poller forget a sensor. Seals the order after every event of the poller about that
    /// sensor.
    async fn forget(&mut self, order: Forget, now: Now) -> Result<(), async_nats::SubscribeError> {
        let Forget { sensor, by, reason, answer } = order;
        let left_out = self.left_out.remove(&sensor);
        let heartbeat = self.poller.handle_forget(sensor, now).or(left_out);
        self.act().await?;
        let forgotten = match heartbeat {
            Some(heartbeat) => {
                let event = Event::sensor_forgotten(&by, &heartbeat, &reason, now.wall);
                let (event, sealed) = ToSeal::awaited(event);
                drop(self.events.send(event).await);
                Forgotten::Sealing(sealed)
            }
            None => Forgotten::Unknown,
        };
        // The caller may be gone; the log then holds the answer.
        let _gone = answer.send(forgotten);
        Ok(())
    }

    /// Carries out all decisions of the poller.
    async fn act(&mut self) -> Result<(), async_nats::SubscribeError> {
        while let Some(action) = self.poller.poll_action() {
            match action {
                Action::Subscribe { sensor, read_topic, disconnect_topic } => {
                    let answers = self.client.subscribe(read_topic.to_string()).await?;
                    let disconnects = match &disconnect_topic {
                        Some(topic) => Some(self.client.subscribe(topic.to_string()).await?),
                        None => None,
                    };
                    self.listeners.listen(sensor, answers, disconnects);
                }
                Action::Unsubscribe { sensor } => self.listeners.stop(sensor),
                Action::SendPoll { sensor, subject, reply } => {
                    self.send_poll(sensor, &subject, &reply).await;
                }
                // The receiver outlives us: it ends when every sender is gone.
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
                    drop(self.events.send(ToSeal::from(*event)).await);
                }
            }
        }
        Ok(())
    }

    async fn send_poll(&self, sensor: SensorId, subject: &Subject, reply: &Subject) {
        let poll = self
            .client
            .publish_with_reply(subject.to_string(), reply.to_string(), POLL.into())
            .await;
        // No answer comes then, and the poller seals the timeout.
        if let Err(error) = poll {
            debug!(%sensor, %error, "cannot send a poll");
        }
    }
}

/// The tasks that listen to sensors' topics.
struct Listeners {
    tasks: JoinSet<()>,
    handles: HashMap<SensorId, AbortHandle>,
    listened: mpsc::Sender<Incoming>,
    started: Instant,
}

impl Listeners {
    fn listen(&mut self, sensor: SensorId, answers: Subscriber, disconnects: Option<Subscriber>) {
        // This frees the tasks that have stopped, so they do not accumulate.
        while self.tasks.try_join_next().is_some() {}
        let task = listen(sensor, answers, disconnects, self.listened.clone(), self.started);
        if let Some(former) = self.handles.insert(sensor, self.tasks.spawn(task)) {
            former.abort();
        }
    }

    fn stop(&mut self, sensor: SensorId) {
        if let Some(handle) = self.handles.remove(&sensor) {
            handle.abort();
        }
    }
}

/// Runs until it is aborted or the connection ends.
async fn listen(
    sensor: SensorId,
    mut answers: Subscriber,
    disconnects: Option<Subscriber>,
    listened: mpsc::Sender<Incoming>,
    started: Instant,
) {
    let mut disconnects = futures::stream::iter(disconnects).flatten();
    loop {
        let message = tokio::select! {
            Some(answer) = answers.next() => {
                // The server also sends its notice that nobody listens to the poll to the reply
                // subject. That notice is not an answer of the sensor.
                if answer.status.is_some() {
                    continue;
                }
                SensorMessage::Answer(answer)
            }
            Some(_said) = disconnects.next() => SensorMessage::Disconnect,
            else => return,
        };
        let incoming = Incoming { sensor, message, at: now(started) };
        if listened.send(incoming).await.is_err() {
            return;
        }
    }
}

fn now(started: Instant) -> Now {
    Now { monotonic: poll::Instant::after_start(started.elapsed()), wall: clock::now() }
}
