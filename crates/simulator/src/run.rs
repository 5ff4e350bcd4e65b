//! The IO shell: one task for each connection, with all sensors that share it.

use core::{convert::Infallible, time::Duration};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use model::{Protocol, SensorId, Subject, subject::topic_of};
use nats::{Tls, nkey::Seed};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    agenda::{Agenda, Purpose, What},
    connection::{ConnectError, Connection, InvalidUrl, Lost, Polled, Server, reconnect_delay},
    device::{Device, Reaction},
    faults::{Faults, Own},
    fleet::{SensorSpec, Topics},
    live::{Live, SoFar},
    mqtt::{Login, Will},
    sensor::{HEARTBEAT_SUBJECT, Sensor},
    tally::SensorCounts,
};

/// Most sensors of one run: as many as the largest site has. Over 1,000 connections they take
/// 175 MB.
pub const SENSORS_MAX: u32 = 100_000;
/// Most connections of one run: what `nats-server` accepts, and some for others.
pub const CONNECTIONS_MAX: u32 = 60_000;
/// Connections of a run by default. Up to this many sensors each have their own connection, as
/// devices do; more sensors share them. A connection costs the server about 70 KB.
pub const CONNECTIONS: u32 = 100;
/// Time after which a site gives a poll up, by default.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Time between the first heartbeats of two sensors: those of 100,000 come within ten seconds.
const FIRST_HEARTBEATS_APART: Duration = Duration::from_micros(100);
/// Shortest time between two bursts of one flood.
const FLOOD_STEP: Duration = Duration::from_millis(10);
/// Answers of the last so long before a connection broke may be lost.
const AT_RISK: Duration = Duration::from_secs(2);

/// A fleet, and where it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the NATS server.
    pub nats_url: String,
    /// URL of the MQTT server.
    pub mqtt_url: String,
    /// Share of the sensors that speak MQTT, from 0 to 1.
    pub mqtt_share: f64,
    /// Number of sensors, the first of the fleet.
    pub count: u32,
    /// Most connections that they share, in proportion to the sensors of each protocol. There are
    /// never more than sensors, and each protocol that is spoken has one.
    pub connections: u32,
    /// Poll interval that all of them ask for; each kind's own if `None`.
    pub interval: Option<Duration>,
    /// An answer that comes no earlier than this after its poll counts as a miss.
    pub answer_timeout: Duration,
    /// What the sensors do wrong, beyond what their names say.
    pub faults: Faults,
    /// Credentials with which sensors connect. If there are any, their sensors are simulated
    /// instead of the first `count` of the fleet, and each credential has a connection of its own.
    pub credentials: Vec<Credential>,
    /// What the sensors believe about servers that speak TLS; `None` for connections in the clear.
    pub tls: Option<Tls>,
    /// Where the values begin.
    pub seed: u64,
    /// Counts that grow during the run.
    pub live: Arc<Live>,
}

/// What a device shows, and the sensors that it speaks for.
#[derive(Clone)]
pub struct Credential {
    /// Its name, which is also the user name and the client id for MQTT.
    pub name: String,
    /// What it shows to a NATS server.
    pub seed: Seed,
    /// What it shows to an MQTT server.
    pub password: String,
    /// The sensors: alias, id and subjects.
    pub sensors: Vec<(String, SensorId, Topics)>,
}

impl core::fmt::Debug for Credential {
    /// Omits what is secret.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Config {
    /// So many sensors without faults, all over NATS.
    #[must_use]
    pub fn new(nats_url: String, count: u32, seed: u64) -> Self {
        Self {
            nats_url,
            mqtt_url: String::from("mqtt://127.0.0.1:1883"),
            mqtt_share: 0.0,
            count,
            connections: CONNECTIONS,
            interval: None,
            answer_timeout: ANSWER_TIMEOUT,
            faults: Faults::default(),
            credentials: Vec::new(),
            tls: None,
            seed,
            live: Arc::default(),
        }
    }
}

/// Runs the fleet against its servers until `shutdown`. The sensors then stop without a message,
/// as devices do. Returns what each of them did, in their order in the fleet.
///
/// If a server is absent at the start, `run` returns an error. If it goes away later, the sensors
/// wait for it.
///
/// # Errors
/// A URL or the count is invalid, or a server does not let a sensor in at the start.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
) -> Result<Vec<SensorCounts>, SimulatorError> {
    let shares = if config.credentials.is_empty() {
        shares(config)?
    } else {
        shares_of_credentials(config)?
    };
    let connections = shares.len();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut share in shares {
        share.started = started;
        let connection = match shutdown.run_until_cancelled(share.connect()).await {
            Some(Ok(connection)) => connection,
            Some(Err(source)) => {
                tasks.shutdown().await;
                return Err(SimulatorError::Connect { server: share.server.to_string(), source });
            }
            None => break,
        };
        let stop = shutdown.clone();
        tasks.spawn(share.run(connection, stop));
    }
    info!(connections, "the fleet runs");
    let mut sensors = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        // A panic stops the whole fleet, because returning drops the others' tasks: measurements
        // with part of it silently missing mean nothing.
        sensors.extend(ended?);
    }
    sensors.sort_unstable_by_key(|sensor| sensor.index);
    Ok(sensors)
}

/// Why the fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The text is not the URL of a server.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// More sensors are asked for than there may be.
    #[error("{count} sensors are too many: at most {SENSORS_MAX} are simulated")]
    TooMany {
        /// Number of sensors asked for.
        count: u32,
    },
    /// A connection failed at the start.
    #[error("cannot connect to the server at {server}")]
    Connect {
        /// Host and port of the server.
        server: String,
        /// Cause of the failure.
        source: ConnectError,
    },
    /// The task of a connection panicked.
    #[error("a sensor panicked")]
    Panic(#[from] JoinError),
}

/// The sensors of each connection.
fn shares(config: Config) -> Result<Vec<Share>, SimulatorError> {
    let Config { count, mqtt_share, seed, .. } = config;
    if count > SENSORS_MAX {
        return Err(SimulatorError::TooMany { count });
    }
    let (mqtt, nats): (Vec<u32>, Vec<u32>) =
        (0..count).partition(|index| speaks_mqtt(*index, mqtt_share));
    // In proportion, but none where somebody is there.
    let of_mqtt = (f64::from(config.connections) * mqtt_share).round();
    let of_mqtt = (1..=config.connections).find(|it| f64::from(*it) >= of_mqtt).unwrap_or(1);
    let of_nats = config.connections.saturating_sub(if mqtt.is_empty() { 0 } else { of_mqtt });
    let faults = Arc::new(config.faults);
    // Clients of two runs on one server must not have the same name: the server would let one go.
    let run: u32 = rand::random();
    let mut shares = Vec::new();
    for (protocol, url, sensors, connections) in [
        (Protocol::Nats, &config.nats_url, nats, of_nats),
        (Protocol::Mqtt, &config.mqtt_url, mqtt, of_mqtt),
    ] {
        if sensors.is_empty() {
            continue;
        }
        let server = Server::parse(url, protocol, config.tls.clone())?;
        let connections = usize::try_from(connections.max(1)).unwrap_or(usize::MAX);
        for first in 0..connections.min(sensors.len()) {
            let sensors = sensors.iter().skip(first).step_by(connections);
            let devices = sensors.map(|index| {
                let mut spec = SensorSpec::at(*index);
                spec.poll_interval = config.interval.unwrap_or(spec.poll_interval);
                Device::new(Sensor::new(spec, seed, protocol), &faults, config.answer_timeout)
            });
            let number = u32::try_from(shares.len()).unwrap_or(u32::MAX);
            let of = Of { server: server.clone(), run, number, seed };
            shares.push(Share::new(of, devices.collect(), &faults, &config.live));
        }
    }
    Ok(shares)
}

/// A share for each credential.
fn shares_of_credentials(config: Config) -> Result<Vec<Share>, SimulatorError> {
    let Config { nats_url, mqtt_url, mqtt_share, interval, seed, credentials, .. } = config;
    let count = credentials.iter().map(|credential| credential.sensors.len()).sum::<usize>();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if count > SENSORS_MAX {
        return Err(SimulatorError::TooMany { count });
    }
    let nats = Server::parse(&nats_url, Protocol::Nats, config.tls.clone())?;
    let mqtt = Server::parse(&mqtt_url, Protocol::Mqtt, config.tls)?;
    let faults = Arc::new(config.faults);
    let mut indices = 0..;
    let share = |(number, credential): (u32, Credential)| {
        let Credential { name, seed: secret, password, sensors } = credential;
        let (protocol, server) = if speaks_mqtt(number, mqtt_share) {
            let login = Login { user: name.clone(), password };
            (Protocol::Mqtt, mqtt.clone().with_login(login))
        } else {
            (Protocol::Nats, nats.clone().with_seed(secret))
        };
        let devices = sensors.into_iter().zip(&mut indices).map(|((alias, id, topics), index)| {
            let mut spec = SensorSpec::of_credential(index, alias, id, topics);
            spec.poll_interval = interval.unwrap_or(spec.poll_interval);
            Device::new(Sensor::new(spec, seed, protocol), &faults, config.answer_timeout)
        });
        let devices: Vec<Device> = devices.collect();
        let of = Of { server, run: 0, number, seed };
        Share { name, ..Share::new(of, devices, &faults, &config.live) }
    };
    Ok((0..).zip(credentials).map(share).collect())
}

/// Whether the sensor at `index` speaks MQTT: of any so many successive ones, this share does.
fn speaks_mqtt(index: u32, share: f64) -> bool {
    let up_to = |index: f64| (index * share).floor();
    up_to(f64::from(index) + 1.0) > up_to(f64::from(index))
}

/// Of which connection a share is.
struct Of {
    server: Server,
    /// Distinguishes this run's clients from those of another run.
    run: u32,
    /// Number of the connection.
    number: u32,
    seed: u64,
}

/// The sensors that share one connection.
struct Share {
    server: Server,
    name: String,
    /// Number of the connection.
    number: u32,
    seed: u64,
    devices: Vec<Device>,
    /// The devices by their ids, to find whose poll has come by its topic.
    by_id: HashMap<SensorId, usize>,
    /// Those that have topics of their own, by the topic of their polls.
    by_topic: HashMap<String, usize>,
    heartbeats: Subject,
    faults: Arc<Faults>,
    /// Faults of the connection itself.
    wills: Own,
    will: Option<Will>,
    agenda: Agenda,
    /// When the newest answers were sent, and by which device.
    newest: VecDeque<(Duration, usize)>,
    /// Begin of the run.
    started: Instant,
    live: Arc<Live>,
    /// What `live` does not have yet.
    more: SoFar,
}

/// Why sensors stop using a connection.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("a fault breaks the connection")]
    Broken,
    #[error("the run ends")]
    Stopped,
}

impl Device {
    fn send_heartbeats(
        &mut self,
        connection: &mut Connection,
        subject: &Subject,
        heartbeats: &[Vec<u8>],
    ) {
        let subject = self.sensor.own_heartbeat_subject().unwrap_or(subject);
        for heartbeat in heartbeats {
            let is_sent = connection.publish(subject, heartbeat);
            let counts = &mut self.counts;
            *(if is_sent { &mut counts.heartbeats } else { &mut counts.unsent }) += 1;
        }
    }
}

impl Share {
    fn new(of: Of, devices: Vec<Device>, faults: &Arc<Faults>, live: &Arc<Live>) -> Self {
        let Of { server, run, number, seed } = of;
        let wills = faults.of_connection(devices.iter().map(Device::faults));
        // A connection has one will. The first of its sensors has it.
        let will = devices.first().filter(|_| !wills.is_empty());
        let will = will.and_then(|device| device.sensor.disconnect_topic());
        let will = will.map(|topic| Will { topic, payload: "gone" });
        let mut agenda = Agenda::default();
        for (number, device) in devices.iter().enumerate() {
            let first = FIRST_HEARTBEATS_APART * device.sensor.spec().index;
            let added = agenda.add(first, number, What::Heartbeat);
            debug_assert!(added.is_ok(), "only answers have a limit");
            let (per_second, change) = device.flood(faults, Duration::ZERO);
            let flood = if per_second > 0 { Some(Duration::ZERO) } else { change };
            if let Some(at) = flood {
                let added = agenda.add(at, number, What::Flood);
                debug_assert!(added.is_ok(), "only answers have a limit");
            }
        }
        let by_id = devices.iter().enumerate();
        let has_own = |(_number, device): &(usize, &Device)| device.sensor.spec().topics.is_some();
        let by_topic = devices.iter().enumerate().filter(has_own);
        Self {
            by_topic: by_topic
                .map(|(number, device)| (topic_of(device.polled.as_str()), number))
                .collect(),
            name: format!("simulator-{run:08x}-{number}"),
            by_id: by_id.map(|(number, device)| (device.sensor.spec().id, number)).collect(),
            heartbeats: Subject::parse(HEARTBEAT_SUBJECT).expect("it is of two plain words"),
            faults: Arc::clone(faults),
            newest: VecDeque::new(),
            started: Instant::now(),
            live: Arc::clone(live),
            more: SoFar::default(),
            server,
            number,
            seed,
            devices,
            wills,
            will,
            agenda,
        }
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        self.server.connect(&self.name, self.will.as_ref()).await
    }

    /// Runs the sensors until `stop`.
    async fn run(mut self, connection: Connection, stop: CancellationToken) -> Vec<SensorCounts> {
        let mut connection = Some(connection);
        let mut were_gone = false;
        while let Some(mut served) = connection {
            if were_gone {
                self.greet(&mut served);
            }
            let ended = self.serve(&mut served, &stop).await;
            debug!(connection = self.number, reason = %ended, "a connection ends");
            drop(served);
            were_gone = matches!(ended, Ended::Broken);
            connection = match ended {
                Ended::Stopped => None,
                Ended::Lost(_) | Ended::Broken => {
                    self.put_at_risk();
                    stop.run_until_cancelled(self.reconnect()).await
                }
            };
        }
        let counts = |device: Device| {
            let spec = device.sensor.spec();
            SensorCounts {
                index: spec.index,
                id: spec.id,
                alias: spec.alias.clone(),
                quantity: spec.kind.quantity.name,
                protocol: device.sensor.protocol(),
                counts: device.counts,
            }
        };
        self.devices.into_iter().map(counts).collect()
    }

    async fn reconnect(&self) -> Connection {
        let mut attempts = 0;
        loop {
            let of = (self.seed, self.number);
            while let Some(until) = self.faults.away_until(&self.wills, of, self.elapsed()) {
                sleep_until(self.started + until).await;
            }
            attempts += 1;
            sleep(reconnect_delay(self.seed, self.number, attempts)).await;
            match self.connect().await {
                Ok(connection) => return connection,
                // A hundred connections make thousands of attempts while a server restarts.
                Err(error) => debug!(connection = self.number, %error, "cannot reconnect"),
            }
        }
    }

    /// Sends heartbeats and answers while the connection lasts. Returns why it ended.
    async fn serve(&mut self, connection: &mut Connection, stop: &CancellationToken) -> Ended {
        let Err(ended) = self.serve_on(connection, stop).await;
        ended
    }

    async fn serve_on(
        &mut self,
        connection: &mut Connection,
        stop: &CancellationToken,
    ) -> Result<Infallible, Ended> {
        connection.subscribe(self.devices.iter().map(|device| &device.polled))?;
        let of = (self.seed, self.number);
        let breaks_at = self.faults.next_break(&self.wills, of, self.elapsed());
        loop {
            let now = self.elapsed();
            if breaks_at.is_some_and(|at| at <= now) {
                return Err(Ended::Broken);
            }
            while let Some((at, number, what)) = self.agenda.due(now) {
                self.act(connection, (at, number, what), now);
            }
            self.live.add(core::mem::take(&mut self.more));
            let wake_at = [self.agenda.soonest(), breaks_at].into_iter().flatten().min();
            let wake_at = wake_at.unwrap_or(now) + Duration::from_micros(1);
            tokio::select! {
                () = stop.cancelled() => {
                    // What was counted as sent is sent.
                    connection.flush()?;
                    return Err(Ended::Stopped);
                }
                turned = connection.turn() => turned?,
                () = sleep_until(self.started + wake_at) => continue,
            }
            while let Some(polled) = connection.polled()? {
                self.answer(connection, &polled);
            }
        }
    }

    /// Does what is due.
    fn act(
        &mut self,
        connection: &mut Connection,
        (at, number, what): (Duration, usize, What),
        now: Duration,
    ) {
        let Some(device) = self.devices.get_mut(number) else { return };
        let next = match what {
            What::Answer { payload, purpose } => {
                return self.send(connection, number, &payload, purpose, now);
            }
            What::Heartbeat => {
                let (heartbeats, next) = device.heartbeats(&self.faults, now);
                device.send_heartbeats(connection, &self.heartbeats, &heartbeats);
                Some(next)
            }
            What::Flood => {
                let (per_second, change) = device.flood(&self.faults, now);
                let step = Duration::from_secs(1).checked_div(per_second);
                let next = step.map(|step| {
                    let step = step.max(FLOOD_STEP);
                    let messages = (step.as_secs_f64() * f64::from(per_second)).round();
                    let payload = device.flooding();
                    let mut sent = 0.0;
                    while sent < messages {
                        sent += 1.0;
                        let is_sent = connection.publish(&device.read, &payload);
                        let counts = &mut device.counts;
                        *(if is_sent { &mut counts.floods } else { &mut counts.unsent }) += 1;
                    }
                    // A flood that was held up does not make up for it.
                    (at + step).max(now)
                });
                [next, change].into_iter().flatten().min()
            }
        };
        if let Some(next) = next {
            let added = self.agenda.add(next, number, what);
            debug_assert!(added.is_ok(), "only answers have a limit");
        }
    }

    /// Sends heartbeats of all sensors, beside those that are due: they were gone.
    fn greet(&mut self, connection: &mut Connection) {
        let now = self.elapsed();
        for device in &mut self.devices {
            let (heartbeats, _next) = device.heartbeats(&self.faults, now);
            device.send_heartbeats(connection, &self.heartbeats, &heartbeats);
        }
    }

    /// Has a sensor take a poll, and sends its answer, now or later.
    fn answer(&mut self, connection: &mut Connection, polled: &Polled) {
        let number = match polled {
            Polled::Number(number) => usize::try_from(*number).ok(),
            Polled::Topic(topic) => self.by_topic.get(topic).copied().or_else(|| {
                let (_, id) = topic.rsplit_once('/')?;
                self.by_id.get(&id.parse::<SensorId>().ok()?).copied()
            }),
        };
        let now = self.elapsed();
        let Some((number, device)) =
            number.and_then(|number| Some((number, self.devices.get_mut(number)?)))
        else {
            return;
        };
        self.more.polls += 1;
        if let Some(late) = device.lateness(now) {
            self.live.add_late(late);
        }
        match device.handle_poll(&self.faults, now, clock::now()) {
            Reaction::Silence => self.more.misses += 1,
            Reaction::Answer { after, payloads: (own, double), is_late } => {
                let purpose = if is_late { Purpose::LateAnswer } else { Purpose::Answer };
                let own = (own, purpose);
                let double = double.map(|payload| (payload, Purpose::Double));
                for (payload, purpose) in [Some(own), double].into_iter().flatten() {
                    if after.is_zero() {
                        self.send(connection, number, &payload, purpose, now);
                        continue;
                    }
                    let answer = What::Answer { payload, purpose };
                    if self.agenda.add(now + after, number, answer).is_err()
                        && let Some(device) = self.devices.get_mut(number)
                    {
                        device.counts.unsent += 1;
                    }
                }
            }
        }
    }

    fn send(
        &mut self,
        connection: &mut Connection,
        number: usize,
        payload: &[u8],
        purpose: Purpose,
        now: Duration,
    ) {
        let Some(device) = self.devices.get_mut(number) else { return };
        let counts = &mut device.counts;
        if !connection.publish(&device.read, payload) {
            counts.unsent += 1;
            return;
        }
        match purpose {
            Purpose::Answer => {
                counts.answers += 1;
                self.more.answers += 1;
                let is_safe = |(at, _): &(Duration, usize)| *at + AT_RISK < now;
                while self.newest.pop_front_if(|newest| is_safe(newest)).is_some() {}
                self.newest.push_back((now, number));
            }
            Purpose::LateAnswer => {
                counts.late += 1;
                self.more.misses += 1;
            }
            Purpose::Double => counts.doubles += 1,
        }
    }

    /// The connection broke: the newest answers may be lost, and those that wait would come for
    /// polls that nobody awaits any more.
    fn put_at_risk(&mut self) {
        let now = self.elapsed();
        for number in self.agenda.take_answers() {
            if let Some(device) = self.devices.get_mut(number) {
                device.counts.unsent += 1;
            }
        }
        for (at, number) in self.newest.drain(..) {
            if let Some(device) = self.devices.get_mut(number)
                && at + AT_RISK >= now
            {
                device.counts.at_risk += 1;
            }
        }
    }

    /// Time since the begin of the run.
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_speaks_mqtt_is_exact_and_spread() {
        for (share, of_forty) in [(0.0, 0), (0.3, 12), (0.5, 20), (1.0, 40)] {
            let mqtt: Vec<u32> = (0..40).filter(|index| speaks_mqtt(*index, share)).collect();
            assert_eq!(mqtt.len(), of_forty, "{share}");
            let early = mqtt.iter().filter(|index| **index < 20).count();
            assert_eq!(early, of_forty / 2, "{share}");
        }
    }

    #[test]
    fn each_sensor_is_on_one_connection_of_its_protocol() {
        for (mqtt_share, connections, expected) in [
            (0.0, 10, 10),
            (0.3, 10, 10),
            (1.0, 10, 10),
            (0.01, 10, 10),
            (0.5, 1, 2),
            (0.5, 500, 200),
        ] {
            let config = Config {
                mqtt_share,
                connections,
                ..Config::new(String::from("nats://127.0.0.1"), 200, 7)
            };
            let shares = shares(config).unwrap();
            assert_eq!(shares.len(), expected, "{mqtt_share} of {connections}");
            let mut indices: Vec<u32> = Vec::new();
            for share in &shares {
                let protocol = share.devices.first().unwrap().sensor.protocol();
                for device in &share.devices {
                    assert_eq!(device.sensor.protocol(), protocol);
                    indices.push(device.sensor.spec().index);
                }
            }
            indices.sort_unstable();
            assert_eq!(indices, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn more_sensors_than_there_may_be_are_refused() {
        let config = Config::new(String::from("nats://127.0.0.1"), SENSORS_MAX + 1, 7);
        assert!(matches!(shares(config), Err(SimulatorError::TooMany { .. })));
    }
}
