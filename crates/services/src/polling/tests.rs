//! The service against a server of devices that says what a test has it say.

use std::net::Ipv4Addr;

use nats::nkey::{Kind, Seed};
use poll::Past;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);
/// Events that may wait to be sealed. Nobody seals them until a test does.
const QUEUE: usize = 8;

/// The devices' server, and what the service said that no test has looked at.
struct Server {
    stream: TcpStream,
    said: String,
}

impl Server {
    /// Waits until the service has said a line that contains `text`, and forgets all lines up to
    /// it.
    async fn hear(&mut self, text: &str) -> String {
        let hearing = async {
            loop {
                let lines: Vec<&str> = self.said.split_inclusive("\r\n").collect();
                let found = lines.iter().position(|line| line.contains(text));
                if let Some(found) = found.filter(|found| lines[*found].ends_with("\r\n")) {
                    let line = lines[found].to_owned();
                    self.said = lines[found + 1..].concat();
                    return line;
                }
                let mut bytes = Vec::new();
                assert!(self.stream.read_buf(&mut bytes).await.unwrap() > 0, "it ended");
                self.said.push_str(&String::from_utf8(bytes).unwrap());
            }
        };
        timeout(DEADLINE, hearing).await.expect(text)
    }

    async fn say(&mut self, subject: &str, subscription: &str, payload: &str) {
        let bytes = payload.len();
        let message = format!("MSG {subject} {subscription} {bytes}\r\n{payload}\r\n");
        self.stream.write_all(message.as_bytes()).await.unwrap();
    }

    /// A sensor's first heartbeat. Returns the number of the subscription to its answers.
    async fn beat(&mut self, number: u8) -> String {
        let id = SensorId::from_bytes([number; 16]);
        let beat = format!(
            r#"{{"id":"{id}","alias":"s{number}","poll_interval":100,"poll_topic":"poll.{number}","read_topic":"read.{number}"}}"#
        );
        self.say("sim.heartbeat", "0", &beat).await;
        let subscribed = self.hear(&format!("SUB read.{number} ")).await;
        subscribed.trim_end().rsplit(' ').next().unwrap().to_owned()
    }
}

/// A running service.
struct Running {
    server: Server,
    events: mpsc::Receiver<ToSeal>,
    counters: watch::Receiver<Counters>,
    late_seconds: Histogram,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    /// Kept, because the service takes no orders when their senders are gone.
    _orders: (Forgetting, SensorOrders, watch::Sender<Vec<Lag>>),
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"INFO {}\r\n").await.unwrap();
            let mut server = Server { stream, said: String::new() };
            server.hear("PING").await;
            server.stream.write_all(b"PONG\r\n").await.unwrap();
            server
        };
        let address = crate::bus::Server { address, tls: None };
        let connecting = Devices::connect(address, Seed::from_bytes(Kind::User, &[1; 32]));
        let (mut server, devices) = tokio::join!(serving, connecting);
        let (queue, events) = mpsc::channel(QUEUE);
        let (counting, counters) = watch::channel(Counters::default());
        let (lagging, lags) = watch::channel(Vec::new());
        let (forgetting, forget) = Forgetting::new();
        let (giving, orders) = SensorOrders::new();
        let late_seconds = crate::timings::poll_late_seconds();
        let last_numbers = std::collections::BTreeMap::new();
        let polling = Polling {
            guard: Guard::default(),
            guard_changed: watch::channel(()).1,
            config: Config::default(),
            heartbeats: vec![Pattern::parse("*.heartbeat").unwrap()],
            known: Known {
                sensors: Vec::new(),
                last_numbers,
                in_force: std::collections::BTreeMap::new(),
                pushed: Vec::new(),
                past: Past::default(),
            },
            devices: devices.unwrap(),
            dropped: Arc::default(),
            events: queue,
            lags,
            counters: counting,
            late_seconds: late_seconds.clone(),
            forget,
            orders,
        };
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let running = polling.run(shutdown.clone());
        tasks.spawn(async move { running.await.unwrap() });
        server.hear("SUB *.heartbeat 0").await;
        let _orders = (forgetting, giving, lagging);
        Self { server, events, counters, late_seconds, shutdown, tasks, _orders }
    }

    async fn wait_for(&mut self, what: &str, is_so: impl FnMut(&Counters) -> bool) -> Counters {
        *timeout(DEADLINE, self.counters.wait_for(is_so)).await.expect(what).unwrap()
    }

    /// Seals what waits, once.
    fn seal(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(ToSeal::into_event).collect()
    }
}

#[tokio::test]
async fn while_nothing_is_sealed_polls_stop_and_timeouts_and_heartbeats_do_not() {
    let mut site = Running::start().await;
    let answers = site.server.beat(1).await;
    site.server.hear("PUB poll.1 read.1 4").await;
    site.server.say("read.1", &answers, "21.5").await;
    site.wait_for("an answer", |counters| counters.answers == 1).await;
    // Its polls get no answer any more, and each of them is an event until the queue is full.
    let full = site.wait_for("polls stop", |counters| counters.waiting > 0).await;
    assert!(full.timeouts > 0 && full.in_flight == 0, "{full:?}");
    // Another sensor is heard of, and not polled.
    site.server.beat(2).await;
    let heard = site.wait_for("it waits", |counters| counters.waiting == 2).await;
    assert_eq!(heard.polls, full.polls, "no poll is sent meanwhile");

    let mut sealed = site.seal();
    assert_eq!(sealed.len(), QUEUE);
    site.server.hear("PUB poll.1 ").await;
    site.server.hear("PUB poll.2 ").await;
    site.shutdown.cancel();
    while let Some(event) = timeout(DEADLINE, site.events.recv()).await.unwrap() {
        sealed.push(event.into_event());
    }
    while let Some(ended) = site.tasks.join_next().await {
        ended.unwrap();
    }
    let mut completeness = model::completeness::Completeness::of_log();
    sealed.iter().for_each(|event| completeness.take(0, event));
    assert!(completeness.is_complete(), "each number is sealed once: {completeness:?}");
    let discovered =
        sealed.iter().filter(|event| event.action.as_deref() == Some(action::SENSOR_DISCOVERED));
    assert_eq!(discovered.count(), 2);
    let polls = site.counters.borrow().polls;
    assert_eq!(site.late_seconds.get_sample_count(), polls, "how late each poll was is counted");
}
