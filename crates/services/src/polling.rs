//! Drives the poller: what arrives on NATS goes in, what it decides is done.
//!
//! One task owns the machine; each sensor has a small task that listens to its topics. All of them
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

/// Messages of sensors that wait for the poller. When it is full they wait in their subscriptions.
const INCOMING_MAX: usize = 1_024;
/// Orders to forget a sensor that wait for the poller. When it is full, who gives more waits.
const FORGET_ORDERS_MAX: usize = 16;

/// Polls the sensors; told this at the start.
#[derive(Debug)]
pub struct Polling {
    pub config: Config,
    /// Where sensors say that they live.
    pub heartbeats: Vec<Pattern>,
    pub known: Known,
    pub connection: Connection,
    /// Where events go.
    pub events: mpsc::Sender<ToSeal>,
    pub counters: watch::Sender<Counters>,
    pub forget: ForgetOrders,
}

/// The way to the poller for orders to forget a sensor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Forgetting(mpsc::Sender<Forget>);

/// The other end.
#[derive(Debug)]
pub struct ForgetOrders(mpsc::Receiver<Forget>);

/// That a sensor is to be known no more, until it beats again.
#[derive(Debug)]
struct Forget {
    sensor: SensorId,
    /// Who orders it.
    by: String,
    reason: String,
    answer: oneshot::Sender<Forgotten>,
}

/// What became of a [`Forget`].
#[derive(Debug)]
enum Forgotten {
    /// The poller knows it no more; the leaf that says so comes here.
    Sealing(oneshot::Receiver<u64>),
    /// Nobody knows such a sensor.
    Unknown,
}

/// Why nobody knows whether a sensor is forgotten: the log says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the site stopped polling meanwhile")]
pub struct PollingEnded;

impl Forgetting {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, ForgetOrders) {
        let (orders, given) = mpsc::channel(FORGET_ORDERS_MAX);
        (Self(orders), ForgetOrders(given))
    }

    /// Has the poller know a sensor no more, and seal who ordered it and why. Answers the leaf that
    /// says so; `None` where nobody knows the sensor. Dropping this future ends the waiting only.
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

/// What the whole log says of sensors.
#[derive(Debug)]
pub struct Known {
    pub sensors: Vec<(Heartbeat, SensorState)>,
    /// The newest of each, also of sensors that are not among these.
    pub last_numbers: BTreeMap<SensorId, LastNumbers>,
    /// What the clock is held against.
    pub past: Past,
}

/// A message of a sensor, with the moment it arrived.
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
        warn!(reason = %refused, "a sensor of the log is not taken up");
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
        // What has arrived comes before what time says: an answer that waits here was in time,
        // however late it is looked at.
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
                    debug!(subject = %message.subject, %reason, "a heartbeat is refused");
                }
            }
            () = sleep => shell.poller.handle_timeout(now(started)),
        }
    }
    // Polls that are in flight end here; the log says so.
    shell.poller.handle_stop(now(started));
    shell.act().await
}

/// What the sender of a message speaks: NATS' gateway marks what came by MQTT.
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
    /// Sensors that the log knows and the poller did not take up at the start.
    left_out: HashMap<SensorId, Heartbeat>,
    events: mpsc::Sender<ToSeal>,
}

impl Shell {
    /// Has the poller forget a sensor, and seals that it did after all that it says of the sensor.
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
        // Who no longer waits finds it in the log.
        let _gone = answer.send(forgotten);
        Ok(())
    }

    /// Does everything the poller has decided.
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
                    // What is told once a minute, however often it happens, is told here, too.
                    let is_of_the_site = event.sensor().is_none();
                    if is_of_the_site
                        && matches!(
                            event.action.as_deref(),
                            Some(action::HEARTBEATS_REFUSED | action::POLLS_STRETCHED)
                        )
                    {
                        warn!(reason = event.message, "sensors do not get what they ask for");
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
        // Then no answer comes, and the timeout is sealed.
        if let Err(error) = poll {
            debug!(%sensor, %error, "a poll could not be sent");
        }
    }
}

/// The tasks that listen to sensors.
struct Listeners {
    tasks: JoinSet<()>,
    handles: HashMap<SensorId, AbortHandle>,
    listened: mpsc::Sender<Incoming>,
    started: Instant,
}

impl Listeners {
    fn listen(&mut self, sensor: SensorId, answers: Subscriber, disconnects: Option<Subscriber>) {
        // Those that were stopped are let go of here, so that they do not gather.
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

/// Ends only by being aborted, or with the connection.
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
                // The server's word that nobody listens to the poll goes to the reply subject too;
                // it is no answer of the sensor's.
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
