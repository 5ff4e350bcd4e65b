//! Sensors that answer in time, late, twice, with nonsense or not at all; that go, and come back.

use std::{cell::RefCell, rc::Rc, time::Duration};

use model::{
    SensorId,
    derive::{Seen, Sighting},
};
use poll::Bus;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::world::World;

/// Milliseconds between two polls of each sensor.
const POLL_INTERVALS_MS: [u64; 3] = [300, 700, 1_500];

/// What comes to the poller.
#[derive(Debug)]
pub(super) enum Message {
    Heartbeat(String),
    Answer(SensorId, String),
    Disconnect(SensorId),
    Bus(Bus),
}

/// A message, and when it arrived.
pub(super) type Arrived = (Message, poll::Now);

/// What a sensor knows, also while the site does not run.
#[derive(Debug)]
pub(super) struct Sensor {
    name: char,
    interval_ms: u64,
    /// Its own count of its readings.
    seq: u64,
    /// Its value, in tenths.
    tenths: i64,
}

impl Sensor {
    pub(super) fn all() -> Vec<Rc<RefCell<Self>>> {
        let sensors = ('a'..).zip(POLL_INTERVALS_MS);
        sensors
            .map(|(name, interval_ms)| Self { name, interval_ms, seq: 0, tenths: 250 })
            .map(|sensor| Rc::new(RefCell::new(sensor)))
            .collect()
    }

    pub(super) fn id(&self) -> SensorId {
        SensorId::from_bytes([self.name as u8; 16])
    }

    fn heartbeat(&self) -> String {
        let Self { name, interval_ms, .. } = self;
        let id = self.id();
        format!(
            concat!(
                r#"{{"id":"{id}","alias":"T-{name}","location":"Hall","range":[0,50],"#,
                r#""poll_interval":{interval_ms},"poll_topic":"poll.{name}","#,
                r#""read_topic":"read.{name}","disconnect_topic":"gone.{name}"}}"#,
            ),
            id = id,
            name = name,
            interval_ms = interval_ms,
        )
    }

    /// The next reading.
    fn answer(&mut self, world: &World) -> String {
        self.seq += 1;
        self.tenths += world.dice.below(161) as i64 - 80;
        self.tenths = self.tenths.clamp(-100, 600);
        let value = format!("{}.{}", self.tenths / 10, (self.tenths % 10).abs());
        if world.dice.once_in(150) {
            return format!(r#"{{"value":"{POISON}","seq":{}}}"#, self.seq);
        }
        match world.dice.below(20) {
            0 => "{\"value\":".to_owned(),
            1 => format!(r#"{{"value":"warm","seq":{}}}"#, self.seq),
            2 => value,
            _ => format!(r#"{{"value":{value},"seq":{}}}"#, self.seq),
        }
    }
}

/// A value on which the component fails.
const POISON: &str = "poison";

/// Whether the component fails on it.
pub(super) fn is_poison(sighting: &Sighting) -> bool {
    matches!(&sighting.seen, Seen::Value { value, .. } if value == POISON)
}

/// Lives as long as the site's process: sends heartbeats, and answers polls.
pub(super) async fn live(
    world: Rc<World>,
    sensor: Rc<RefCell<Sensor>>,
    mut polls: mpsc::UnboundedReceiver<()>,
    site: mpsc::Sender<Arrived>,
) {
    let mut next = Instant::now() + Duration::from_millis(world.dice.below(3_000));
    loop {
        tokio::select! {
            biased;
            Some(()) = polls.recv() => answer(&world, &sensor, &site),
            () = sleep_until(next) => {
                let id = sensor.borrow().id();
                next += Duration::from_millis(world.dice.within(3_000..8_000));
                match world.dice.below(30) {
                    0 => send(&world, &site, 0, Message::Disconnect(id)),
                    // Longer than the site waits for a heartbeat.
                    1 => next += Duration::from_secs(25),
                    _ => send(&world, &site, 0, Message::Heartbeat(sensor.borrow().heartbeat())),
                }
            }
        }
    }
}

/// Answers a poll, or does not.
fn answer(world: &Rc<World>, sensor: &RefCell<Sensor>, site: &mpsc::Sender<Arrived>) {
    let mut sensor = sensor.borrow_mut();
    let id = sensor.id();
    let delays: &[u64] = match world.dice.below(16) {
        0 => &[],
        1 => &[700],
        2 => &[20, 30],
        3 => &[499],
        _ => &[10],
    };
    if delays.is_empty() {
        return;
    }
    let text = sensor.answer(world);
    for delay in delays {
        let jitter = world.dice.below(40);
        send(world, site, delay + jitter, Message::Answer(id, text.clone()));
    }
}

/// Has a message arrive after a delay, unless the bus is away then.
fn send(world: &Rc<World>, site: &mpsc::Sender<Arrived>, delay_ms: u64, message: Message) {
    let (site, on_the_way) = (site.clone(), Rc::clone(world));
    world.tasks.begin("a message", async move {
        sleep(Duration::from_millis(delay_ms)).await;
        if on_the_way.bus.get() == Bus::Up {
            let _site_is_gone = site.send((message, on_the_way.poll_now())).await;
        }
    });
}
