//! Bare requests: what is left of polling without a site. The same client library sends the same
//! polls on the same schedule to the same sensors, over a `nats-server` with the same settings but
//! without accounts, and counts the answers.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use engine::release;
use model::{Heartbeat, SensorId, Subject};
use nats::{Connection, Heard};
use simulator::lateness::Lateness;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::bench::{
    ledger::Killed,
    site::{
        load::Load,
        running::{COMPLETE, DEADLINE, Fleet, WARM_UP_MAX},
    },
};

/// Least time between two steps, in which messages gather: the poller's.
const STEP: Duration = Duration::from_millis(5);
/// Time over which the rate is taken while the fleet appears.
const SPAN: Duration = Duration::from_secs(2);
/// Pause between two attempts to connect to a server that starts.
const PAUSE: Duration = Duration::from_millis(50);
/// Number of the subscription to heartbeats. A sensor's has the next ones.
const HEARTBEATS: u64 = 0;

/// What was measured.
pub(super) struct Bare {
    pub(super) answers_per_s: f64,
    pub(super) lateness: Option<Lateness>,
}

impl Bare {
    pub(super) fn measure(folder: &Path, load: Load, window: Duration) -> Result<Self> {
        let (_server, nats, mqtt) = start_server(folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (answers_per_s, fleet) = runtime.block_on(async {
            let mut client = Client::connect(nats).await?;
            let (nats, mqtt) = (format!("nats://{nats}"), format!("mqtt://{mqtt}"));
            let fleet = Fleet::start(folder, [&nats, &mqtt], load, &load.arguments())?;
            let deadline = Instant::now() + WARM_UP_MAX;
            loop {
                let rate = client.run_for(SPAN).await?;
                if rate >= COMPLETE * load.per_second() || Instant::now() > deadline {
                    break;
                }
            }
            anyhow::Ok((client.run_for(window).await?, fleet))
        })?;
        Ok(Self { answers_per_s, lateness: fleet.stop()?.lateness })
    }
}

/// Starts the server that a site has for its devices, without the site.
fn start_server(folder: &Path) -> Result<(Killed, SocketAddr, SocketAddr)> {
    let program = engine::find(&release::NATS_SERVER, &|_line| {})?;
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
    let (nats, mqtt) = (free()?, free()?);
    let configuration = folder.join("nats-server.conf");
    fs::write(
        &configuration,
        format!(
            "server_name: bare\nlisten: \"{nats}\"\nmax_connections: 65536\n\
             jetstream {{ store_dir: \"jetstream\" }}\nmqtt {{ listen: \"{mqtt}\" }}\n"
        ),
    )
    .context("cannot write the server's configuration")?;
    let server = Command::new(program)
        .arg("--config")
        .arg(configuration)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start nats-server")?;
    Ok((Killed(server), nats, mqtt))
}

/// Polls sensors, and throws their answers away.
struct Client {
    connection: Connection,
    known: HashSet<SensorId>,
    sensors: Vec<Polled>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    answers: u64,
}

struct Polled {
    poll: Subject,
    read: Subject,
    interval: Duration,
}

impl Client {
    async fn connect(server: SocketAddr) -> Result<Self> {
        let connecting = async {
            loop {
                match Connection::connect(server, "bare", None).await {
                    Ok(connection) => return connection,
                    Err(_starting) => sleep(PAUSE).await,
                }
            }
        };
        let mut connection =
            timeout(DEADLINE, connecting).await.context("nats-server does not answer")?;
        let heartbeats = "*.heartbeat".parse::<model::Pattern>()?;
        connection.subscribe(&heartbeats, HEARTBEATS);
        Ok(Self {
            connection,
            known: HashSet::new(),
            sensors: Vec::new(),
            due: BinaryHeap::new(),
            answers: 0,
        })
    }

    /// Polls for so long. Returns answers a second.
    async fn run_for(&mut self, span: Duration) -> Result<f64> {
        let (begin, before) = (Instant::now(), self.answers);
        let end = begin + span;
        let mut step_from = begin;
        while Instant::now() < end {
            self.poll_due(Instant::now());
            self.connection.flush()?;
            let wake_at = self.due.peek().map_or(end, |Reverse((at, _))| *at).min(end);
            let turn = async {
                sleep_until(step_from).await;
                self.connection.turn(|| ()).await
            };
            tokio::select! {
                turned = turn => turned?,
                () = sleep_until(wake_at.max(step_from)) => {}
            }
            step_from = Instant::now() + STEP;
            self.hear()?;
        }
        Ok((self.answers - before) as f64 / begin.elapsed().as_secs_f64())
    }

    fn poll_due(&mut self, now: Instant) {
        while let Some(Reverse((at, number))) = self.due.peek().copied()
            && at <= now
            && let Some(Polled { poll, read, interval }) = self.sensors.get(number)
        {
            self.due.pop();
            // A poll for which there is no room is one fewer answer.
            let _is_sent = self.connection.publish(poll, Some(read.into()), b"poll");
            self.due.push(Reverse((at + *interval, number)));
        }
    }

    fn hear(&mut self) -> Result<()> {
        let mut heartbeats = Vec::new();
        while let Some((heard, ())) = self.connection.poll_heard()? {
            match heard {
                Heard::Message(message) if message.subscription == HEARTBEATS => {
                    heartbeats.push(Heartbeat::parse(message.payload)?);
                }
                Heard::Message(_) => self.answers += 1,
                Heard::Refused(reason) => anyhow::bail!("nats-server refuses: {reason}"),
            }
        }
        for heartbeat in heartbeats {
            if !self.known.insert(heartbeat.id) {
                continue;
            }
            let number = self.sensors.len();
            self.connection.subscribe(&heartbeat.read_topic, HEARTBEATS + 1 + number as u64);
            let interval = heartbeat.poll_interval();
            // Spread over the interval, as a site does.
            let first = Instant::now() + interval.mul_f64(rand::random());
            self.due.push(Reverse((first, number)));
            let Heartbeat { poll_topic: poll, read_topic: read, .. } = heartbeat;
            self.sensors.push(Polled { poll, read, interval });
        }
        Ok(())
    }
}
