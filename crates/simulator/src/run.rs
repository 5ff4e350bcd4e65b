//! The IO shell: one task for each connection, with all sensors that share it.

use core::{cmp::Reverse, convert::Infallible, time::Duration};
use std::collections::BinaryHeap;

use model::Subject;
use nats::{ConnectError, Connection, ConnectionError, Heard};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    connection::{InvalidUrl, Server, reconnect_delay},
    fleet::SensorSpec,
    sensor::{HEARTBEAT_SUBJECT, Sensor, mix},
    tally::{Counts, Tally},
};

/// Most sensors of one run: as many as a site accepts by default.
pub const SENSORS_MAX: u32 = 20_000;
/// Connections of a run by default. Up to this many sensors each have their own connection, as
/// devices do; more sensors share them. A connection costs the server about 70 KB.
pub const CONNECTIONS: u32 = 100;

/// A fleet, and where it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the NATS server.
    pub nats_url: String,
    /// Number of sensors, the first of the fleet.
    pub count: u32,
    /// Most connections that they share. There are never more than sensors.
    pub connections: u32,
    /// Poll interval that all of them ask for; each kind's own if `None`.
    pub interval: Option<Duration>,
    /// Where the values begin.
    pub seed: u64,
}

/// Runs the fleet against a NATS server until `shutdown`. The sensors then stop without a message,
/// as devices do. Returns what they sent.
///
/// If the server is absent at the start, `run` returns an error. If it goes away later, the sensors
/// wait for it.
///
/// # Errors
/// The URL or the count is invalid, or the server does not let a sensor in at the start.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<Tally, SimulatorError> {
    let Config { nats_url, count, connections, interval, seed } = config;
    if count > SENSORS_MAX {
        return Err(SimulatorError::TooMany { count });
    }
    let server: Server = nats_url.parse()?;
    let connections = count.min(connections.max(1));
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let connection = match shutdown.run_until_cancelled(server.connect(index)).await {
            Some(Ok(connection)) => connection,
            Some(Err(source)) => {
                tasks.shutdown().await;
                return Err(SimulatorError::Connect { server: server.to_string(), source });
            }
            None => break,
        };
        let sensors = (index..count).step_by(usize::try_from(connections).unwrap_or(1));
        let devices = sensors.map(|sensor| Device::new(sensor, interval, seed)).collect();
        let share = Share { server: server.clone(), index, seed, devices };
        let stop = shutdown.clone();
        tasks.spawn(share.run(connection, stop));
    }
    info!(sensors = count, connections, "the fleet runs");
    let mut tally = Tally::default();
    while let Some(ended) = tasks.join_next().await {
        // A panic stops the whole fleet, because returning drops the others' tasks: measurements
        // with part of it silently missing mean nothing.
        tally.merge(&ended?);
    }
    Ok(tally)
}

/// Why the fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The text is not the URL of a NATS server.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// More sensors are asked for than a site accepts.
    #[error("{count} sensors are too many: at most {SENSORS_MAX} are simulated")]
    TooMany {
        /// Number of sensors asked for.
        count: u32,
    },
    /// The first connection failed.
    #[error("cannot connect to the NATS server at {server}")]
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

/// The sensors that share one connection.
struct Share {
    server: Server,
    /// Index of the connection.
    index: u32,
    seed: u64,
    devices: Vec<Device>,
}

/// A sensor with its topics.
struct Device {
    sensor: Sensor,
    polled: Subject,
    read: Subject,
    next_heartbeat: Instant,
    counts: Counts,
}

impl Device {
    fn new(index: u32, interval: Option<Duration>, seed: u64) -> Self {
        let mut spec = SensorSpec::at(index);
        spec.poll_interval = interval.unwrap_or(spec.poll_interval);
        let sensor = Sensor::new(spec, seed);
        let subject = |text: String| Subject::parse(&text).expect("it is of three plain words");
        Self {
            polled: subject(sensor.poll_subject()),
            read: subject(sensor.read_subject()),
            sensor,
            next_heartbeat: Instant::now(),
            counts: Counts { sensors: 1, ..Counts::default() },
        }
    }

    /// Sends a message and counts it, or counts that it could not be sent.
    fn publish(
        connection: &mut Connection,
        topic: &Subject,
        payload: &[u8],
        (sent, unsent): (&mut u64, &mut u64),
    ) {
        let count = if connection.publish(topic, None, payload) { sent } else { unsent };
        *count += 1;
    }
}

impl Share {
    /// Runs the sensors until `stop`.
    async fn run(mut self, connection: Connection, stop: CancellationToken) -> Tally {
        let never = stop.run_until_cancelled(self.run_for_ever(connection)).await;
        debug_assert!(never.is_none(), "only `stop` ends it");
        let mut tally = Tally::default();
        for device in &self.devices {
            tally.add(device.sensor.spec().kind.quantity.name, device.counts);
        }
        tally
    }

    async fn run_for_ever(&mut self, mut connection: Connection) -> Infallible {
        loop {
            let Err(lost) = self.serve(&mut connection).await;
            debug!(connection = self.index, error = %lost, "a connection is lost");
            let mut attempts = 0;
            connection = loop {
                attempts += 1;
                sleep(reconnect_delay(mix(self.seed, self.index), attempts)).await;
                match self.server.connect(self.index).await {
                    Ok(connection) => break connection,
                    // A hundred connections make thousands of attempts while a server restarts.
                    Err(error) => debug!(connection = self.index, %error, "cannot reconnect"),
                }
            };
        }
    }

    /// Sends heartbeats and answers while the connection lasts.
    async fn serve(&mut self, connection: &mut Connection) -> Result<Infallible, ConnectionError> {
        let heartbeats = Subject::parse(HEARTBEAT_SUBJECT).expect("it is of two plain words");
        let mut next_heartbeats = BinaryHeap::with_capacity(self.devices.len());
        for (number, device) in (0_u64..).zip(&self.devices) {
            connection.subscribe(&device.polled, number);
            next_heartbeats.push(Reverse((device.next_heartbeat, number)));
        }
        loop {
            let now = Instant::now();
            while let Some(Reverse((at, number))) = next_heartbeats.peek().copied()
                && at <= now
                && let Some(device) = device(&mut self.devices, number)
            {
                next_heartbeats.pop();
                let payload = device.sensor.heartbeat();
                let Counts { heartbeats: sent, unsent, .. } = &mut device.counts;
                Device::publish(connection, &heartbeats, &payload, (sent, unsent));
                device.next_heartbeat = now + device.sensor.heartbeat_delay();
                next_heartbeats.push(Reverse((device.next_heartbeat, number)));
            }
            let wake_at = next_heartbeats.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                turned = connection.turn(|| ()) => turned?,
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => continue,
            }
            loop {
                // The sensor is looked up before its answer is sent over the same connection.
                let number = match connection.poll_heard()? {
                    Some((Heard::Message(message), ())) => message.subscription,
                    Some((Heard::Refused(reason), ())) => {
                        // A forbidden subject is reported only here.
                        warn!(reason, "refused by the server");
                        continue;
                    }
                    None => break,
                };
                let Some(device) = device(&mut self.devices, number) else { continue };
                let Counts { polls, answers, silences, unsent, .. } = &mut device.counts;
                *polls += 1;
                match device.sensor.answer(clock::now()) {
                    Some(answer) => {
                        Device::publish(connection, &device.read, &answer, (answers, unsent));
                    }
                    None => *silences += 1,
                }
            }
        }
    }
}

fn device(devices: &mut [Device], number: u64) -> Option<&mut Device> {
    devices.get_mut(usize::try_from(number).ok()?)
}
