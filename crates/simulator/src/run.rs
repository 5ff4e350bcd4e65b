//! The IO shell: runs sensors as NATS clients.

use core::convert::Infallible;

use async_nats::{Client, ConnectError, PublishError, ServerAddr, Subject, SubscribeError};
use futures::StreamExt as _;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span, info};

use crate::{
    connection::connect,
    fleet::SensorSpec,
    sensor::{HEARTBEAT_SUBJECT, Sensor},
};

/// Most sensors of one run: as many as a site accepts by default.
pub const SENSORS_MAX: u32 = 20_000;
/// Most connections. Up to this many sensors each have their own connection, as devices do; more
/// sensors share them. A connection costs the server about 70 KB.
pub const CONNECTIONS_MAX: u32 = 100;

/// Runs the first `count` sensors of the fleet against a NATS server until `shutdown`. The sensors
/// then stop without a message, as devices do.
///
/// If the server is absent at the start, `run` returns an error. If it goes away later, the sensors
/// wait for it.
///
/// # Errors
/// The URL or the count is invalid, or a connection, subscription or sensor failed.
pub async fn run(
    nats_url: String,
    count: u32,
    seed: u64,
    shutdown: CancellationToken,
) -> Result<(), SimulatorError> {
    if count > SENSORS_MAX {
        return Err(SimulatorError::TooMany { count });
    }
    let server: ServerAddr = nats_url.parse().map_err(SimulatorError::Url)?;
    let connections = count.min(CONNECTIONS_MAX);
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let connected = shutdown.run_until_cancelled(connect(&server, seed, connection)).await;
        let client = match connected {
            Some(Ok(client)) => client,
            Some(Err(source)) => {
                tasks.shutdown().await;
                let server = format!("{}:{}", server.host(), server.port());
                return Err(SimulatorError::Connect { server, source });
            }
            None => break,
        };
        for index in (connection..count).step_by(usize::try_from(connections).unwrap_or(1)) {
            let sensor = Sensor::new(SensorSpec::at(index), seed);
            let span = debug_span!("sensor", alias = sensor.spec().alias);
            let task = run_sensor(sensor, client.clone()).instrument(span);
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(task));
        }
    }
    info!(sensors = count, connections, "the fleet runs");
    while let Some(ended) = tasks.join_next().await {
        let failure = match ended {
            Ok(None) => continue,
            Ok(Some(Err(error))) => error,
            Err(panic) => SimulatorError::Panic(panic),
        };
        // Stop the whole fleet: measurements with part of it silently missing mean nothing.
        tasks.shutdown().await;
        return Err(failure);
    }
    Ok(())
}

/// Why the fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The text is not the URL of a NATS server. The message leaves it out, because it may contain
    /// a password.
    #[error("the server's URL is not understood: use one like nats://127.0.0.1:4222")]
    Url(#[source] std::io::Error),
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
    /// The client refused to subscribe.
    #[error("cannot listen on `{subject}`")]
    Subscribe {
        /// Subject of the sensor's polls.
        subject: String,
        /// Cause of the failure.
        source: SubscribeError,
    },
    /// The client refused to publish.
    #[error("cannot publish on `{subject}`")]
    Publish {
        /// Subject of the message.
        subject: Subject,
        /// Cause of the failure.
        source: PublishError,
    },
    /// The client gave up its connection.
    #[error("the connection of {alias} ended")]
    Ended {
        /// Alias of the sensor.
        alias: String,
    },
    /// A sensor's task panicked.
    #[error("a sensor panicked")]
    Panic(#[source] JoinError),
}

/// Sends heartbeats and answers until an error. Drop the future to stop the sensor.
async fn run_sensor(mut sensor: Sensor, client: Client) -> Result<Infallible, SimulatorError> {
    let subject = sensor.poll_subject();
    let subscribed = client.subscribe(subject.clone()).await;
    let mut polls = subscribed.map_err(|source| SimulatorError::Subscribe { subject, source })?;
    let read_subject = Subject::from(sensor.read_subject());
    let heartbeat_subject = Subject::from(HEARTBEAT_SUBJECT);
    let mut next_heartbeat = Instant::now();
    loop {
        // Both branches are cancel-safe: a poll that is not taken stays in its queue.
        let (subject, payload) = tokio::select! {
            () = sleep_until(next_heartbeat) => {
                next_heartbeat = Instant::now() + sensor.heartbeat_delay();
                (&heartbeat_subject, Some(sensor.heartbeat()))
            }
            poll = polls.next() => match poll {
                Some(_poll) => (&read_subject, sensor.answer(clock::now())),
                None => return Err(SimulatorError::Ended { alias: sensor.spec().alias.clone() }),
            }
        };
        if let Some(payload) = payload {
            let published = client.publish(subject.clone(), payload.into()).await;
            published
                .map_err(|source| SimulatorError::Publish { subject: subject.clone(), source })?;
        }
    }
}
