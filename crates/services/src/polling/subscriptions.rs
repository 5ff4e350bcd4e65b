//! Which subscription belongs to which sensor, and how much of it is heard.
//!
//! Invariant: a sensor, or anyone who uses its topics, costs the others nothing but the look at
//! each message. Of each read of the socket, the poller hears a few messages of one topic and no
//! more; and it handles heartbeats, which cost the most, only after every answer.

use std::collections::{HashMap, VecDeque};

use model::{Heartbeat, Pattern, Protocol, SensorId, Subject};
use nats::{Connection, Message};
use poll::Now;

/// Messages of one topic that are heard of one read of the socket, which takes some milliseconds. A
/// sensor answers once in a hundred; the rest is counted as dropped.
const OF_TOPIC_MAX: u32 = 16;
/// Heartbeats that wait: each sensor of three full fleets at once. Further ones are dropped.
const HEARTBEATS_MAX: usize = 65_536;
/// Bytes of heartbeats that wait: three full fleets, with half a kilobyte each.
const HEARTBEATS_BYTES_MAX: usize = 32 << 20;

/// The subscriptions of the connection to the devices.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    patterns: Vec<Pattern>,
    of_sensors: HashMap<u64, OfTopic>,
    /// The subscription of each sensor's read topic. That of its disconnect topic has the next
    /// number.
    of_sensor: HashMap<SensorId, u64>,
    /// The number of the next subscription. None is used twice, so a message that was under way
    /// when a subscription ended is not taken for another's.
    next: u64,
    /// Reads of the socket so far.
    reads: u64,
}

#[derive(Debug)]
struct OfTopic {
    sensor: SensorId,
    topic: Topic,
    /// Messages in a read of the socket, and which read that is.
    messages: u32,
    read: u64,
}

/// The purpose of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Topic {
    /// The sensor answers there.
    Read,
    /// The sensor says there that it disconnects.
    Disconnect,
}

/// Whose message it is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Sender {
    /// Some sensor's heartbeat.
    Heartbeat,
    /// A message on a topic of this sensor.
    Sensor(SensorId, Topic),
    /// One message too many.
    Dropped,
    /// Nobody's: the subscription has ended, or the message is a notice of a server.
    Nobody,
}

impl Subscriptions {
    /// Subscribes to heartbeats, and to nothing else yet.
    pub(super) fn of(patterns: Vec<Pattern>, connection: &mut Connection<Now>) -> Self {
        let subscriptions = Self { next: patterns.len() as u64, patterns, ..Self::default() };
        subscriptions.hear_heartbeats(connection);
        subscriptions
    }

    fn hear_heartbeats(&self, connection: &mut Connection<Now>) {
        for (number, pattern) in (0..).zip(&self.patterns) {
            connection.subscribe(pattern, number);
        }
    }

    /// Subscribes to a sensor's topics. `connection` is `None` while there is none.
    pub(super) fn add(
        &mut self,
        sensor: SensorId,
        topics: (&Subject, Option<&Subject>),
        connection: Option<&mut Connection<Now>>,
    ) {
        let number = self.next;
        self.next += 2;
        let of = |topic| OfTopic { sensor, topic, messages: 0, read: 0 };
        self.of_sensors.insert(number, of(Topic::Read));
        if topics.1.is_some() {
            self.of_sensors.insert(number + 1, of(Topic::Disconnect));
        }
        self.of_sensor.insert(sensor, number);
        if let Some(connection) = connection {
            subscribe(number, topics, connection);
        }
    }

    /// Ends the subscriptions of a sensor.
    pub(super) fn remove(
        &mut self,
        sensor: SensorId,
        mut connection: Option<&mut Connection<Now>>,
    ) {
        let Some(number) = self.of_sensor.remove(&sensor) else { return };
        for number in [number, number + 1] {
            if self.of_sensors.remove(&number).is_some()
                && let Some(connection) = &mut connection
            {
                connection.unsubscribe(number);
            }
        }
    }

    /// Subscribes to everything again, over a new connection. Takes the topics from the sensors'
    /// heartbeats, which are the ones that were subscribed to.
    pub(super) fn renew<'a>(
        &self,
        sensors: impl Iterator<Item = &'a Heartbeat>,
        connection: &mut Connection<Now>,
    ) {
        self.hear_heartbeats(connection);
        for heartbeat in sensors {
            if let Some(number) = self.of_sensor.get(&heartbeat.id) {
                let topics = (&heartbeat.read_topic, heartbeat.disconnect_topic.as_ref());
                subscribe(*number, topics, connection);
            }
        }
    }

    /// Begins to count messages for another read of the socket.
    pub(super) const fn begin_read(&mut self) {
        self.reads += 1;
    }

    /// Whose message this is. Counts it.
    pub(super) fn sender(&mut self, message: Message<'_>) -> Sender {
        if has_status(message.headers) {
            return Sender::Nobody;
        }
        if message.subscription < self.patterns.len() as u64 {
            return Sender::Heartbeat;
        }
        let Some(of_topic) = self.of_sensors.get_mut(&message.subscription) else {
            return Sender::Nobody;
        };
        if of_topic.read != self.reads {
            (of_topic.read, of_topic.messages) = (self.reads, 0);
        }
        of_topic.messages += 1;
        match of_topic.messages {
            ..=OF_TOPIC_MAX => Sender::Sensor(of_topic.sensor, of_topic.topic),
            _ => Sender::Dropped,
        }
    }
}

fn subscribe(
    number: u64,
    (read, disconnect): (&Subject, Option<&Subject>),
    connection: &mut Connection<Now>,
) {
    connection.subscribe(read, number);
    if let Some(disconnect) = disconnect {
        connection.subscribe(disconnect, number + 1);
    }
}

/// Whether the headers begin with a status. A server sends such notices, and no sensor does.
fn has_status(headers: &[u8]) -> bool {
    headers.strip_prefix(b"NATS/1.0").is_some_and(|rest| rest.first() == Some(&b' '))
}

/// Heartbeats that wait until the answers that came with them are handled.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// A heartbeat that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) subject: String,
    pub(super) protocol: Protocol,
    pub(super) payload: Vec<u8>,
}

impl Heartbeats {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a heartbeat. Returns whether there was room.
    pub(super) fn push(&mut self, message: Message<'_>) -> bool {
        let bytes = message.payload.len() + message.subject.len();
        let has_room =
            self.waiting.len() < HEARTBEATS_MAX && self.bytes + bytes <= HEARTBEATS_BYTES_MAX;
        if has_room {
            self.bytes += bytes;
            self.waiting.push_back(Waiting {
                subject: message.subject.to_owned(),
                protocol: protocol(message.headers),
                payload: message.payload.to_owned(),
            });
        }
        has_room
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.payload.len() + waiting.subject.len();
        if self.waiting.is_empty() {
            // A fleet that came at once does not keep its room.
            self.waiting = VecDeque::new();
        }
        Some(waiting)
    }
}

/// The protocol of the sender. NATS' gateway marks messages that came by MQTT.
fn protocol(headers: &[u8]) -> Protocol {
    const GATEWAY_HEADER: &[u8] = b"Nmqtt-Pub:";
    let mut lines = headers.split(|byte| *byte == b'\n');
    let by_mqtt = lines.any(|line| line.starts_with(GATEWAY_HEADER));
    if by_mqtt { Protocol::Mqtt } else { Protocol::Nats }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subscription: u64, headers: &'static str) -> Message<'static> {
        let headers = headers.as_bytes();
        Message { subscription, subject: "a.read", headers, payload: b"1" }
    }

    #[test]
    fn a_message_is_its_sensors_while_the_subscription_lasts() {
        let [first, second] = [[1; 16], [2; 16]].map(SensorId::from_bytes);
        let (read, disconnect) = (Subject::parse("a").unwrap(), Subject::parse("b").unwrap());
        let patterns = vec![Pattern::parse("*.heartbeat").unwrap()];
        let mut subscriptions = Subscriptions { next: 1, patterns, ..Subscriptions::default() };
        subscriptions.add(first, (&read, None), None);
        subscriptions.add(second, (&read, Some(&disconnect)), None);
        let sender =
            |subscriptions: &mut Subscriptions, number| subscriptions.sender(message(number, ""));
        assert_eq!(sender(&mut subscriptions, 0), Sender::Heartbeat);
        assert_eq!(sender(&mut subscriptions, 1), Sender::Sensor(first, Topic::Read));
        assert_eq!(sender(&mut subscriptions, 2), Sender::Nobody, "it has no disconnect topic");
        assert_eq!(sender(&mut subscriptions, 3), Sender::Sensor(second, Topic::Read));
        assert_eq!(sender(&mut subscriptions, 4), Sender::Sensor(second, Topic::Disconnect));
        let notice = message(3, "NATS/1.0 503\r\n\r\n");
        assert_eq!(subscriptions.sender(notice), Sender::Nobody);
        // Its topics change: what was on its way to the former ones is nobody's.
        subscriptions.remove(second, None);
        subscriptions.add(second, (&disconnect, None), None);
        assert_eq!(sender(&mut subscriptions, 3), Sender::Nobody);
        assert_eq!(sender(&mut subscriptions, 4), Sender::Nobody);
        assert_eq!(sender(&mut subscriptions, 5), Sender::Sensor(second, Topic::Read));
    }

    #[test]
    fn of_each_read_a_topic_is_heard_a_few_times_and_another_topic_still_is() {
        let [loud, quiet] = [[1; 16], [2; 16]].map(SensorId::from_bytes);
        let topic = Subject::parse("a").unwrap();
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(loud, (&topic, None), None);
        subscriptions.add(quiet, (&topic, None), None);
        for _ in 0..2 {
            subscriptions.begin_read();
            let senders: Vec<Sender> =
                (0..1_000).map(|_| subscriptions.sender(message(0, ""))).collect();
            let heard = senders.iter().filter(|sender| **sender != Sender::Dropped).count();
            assert_eq!(heard, 16);
            let other = subscriptions.sender(message(2, ""));
            assert_eq!(other, Sender::Sensor(quiet, Topic::Read));
        }
    }

    #[test]
    fn heartbeats_wait_in_order_and_within_limits() {
        let mut heartbeats = Heartbeats::default();
        assert!(heartbeats.push(message(0, "NATS/1.0\r\nNmqtt-Pub: 0\r\n\r\n")));
        assert!(heartbeats.push(message(0, "NATS/1.0\r\nX: Nmqtt-Pub:\r\n\r\n")));
        assert_eq!(heartbeats.pop().unwrap().protocol, Protocol::Mqtt);
        assert_eq!(heartbeats.pop().unwrap().protocol, Protocol::Nats);
        assert!(heartbeats.pop().is_none() && heartbeats.bytes == 0);
        let pushed = (0..100_000).filter(|_| heartbeats.push(message(0, ""))).count();
        assert_eq!(pushed, HEARTBEATS_MAX);
        let mut heartbeats = Heartbeats::default();
        let payload = vec![b'x'; 8 << 20];
        let large = Message { payload: &payload, ..message(0, "") };
        assert_eq!((0..10).filter(|_| heartbeats.push(large)).count(), 3);
    }
}
