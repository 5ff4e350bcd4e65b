//! Which subscription belongs to which sensor, and how much of it is heard.
//!
//! Invariant: a sensor, or anyone who uses its topics, costs the others nothing but the look at
//! each message. Of each read of the socket, the poller hears a few messages of one topic and no
//! more; and it handles heartbeats, which cost the most, only after every answer.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use model::{Heartbeat, Pattern, Protocol, SensorId, Subject};
use nats::{Connection, Message};
use poll::Now;

/// Messages of one topic that are heard of one read of the socket, which takes some milliseconds. A
/// sensor answers once in a hundred; the rest is counted as dropped.
const OF_TOPIC_MAX: u16 = 16;
/// Heartbeats of one sensor that wait. It sends one or two in a minute; the rest is counted as
/// dropped. With credentials, as many wait of all that came on a topic and name a sensor that sends
/// none there.
const OF_SENDER_MAX: u8 = 4;
/// Heartbeats that wait: each sensor of three full fleets at once. Further ones are dropped.
const HEARTBEATS_MAX: usize = 65_536;
/// Bytes of heartbeats that wait: three full fleets, with half a kilobyte each.
const HEARTBEATS_BYTES_MAX: usize = 32 << 20;

/// The subscriptions of the connection to the devices.
///
/// Each sensor has a place, which another one may get after it. The number of a subscription names
/// the place, how often it was given away, and the topic. So no number is used twice, and a message
/// that was under way when a subscription ended is not taken for another's.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    patterns: Vec<Pattern>,
    places: Vec<Place>,
    free: Vec<u32>,
    of_sensor: HashMap<SensorId, u32>,
    /// Reads of the socket so far.
    reads: u64,
}

#[derive(Debug)]
struct Place {
    sensor: SensorId,
    /// Which of its topics are subscribed to.
    topics: [bool; 2],
    /// Messages of each topic in a read of the socket, and which read that is.
    messages: [u16; 2],
    given: u32,
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

impl Topic {
    const ALL: [Self; 2] = [Self::Read, Self::Disconnect];
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
        let subscriptions = Self { patterns, ..Self::default() };
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
        let place = self.free.pop().unwrap_or_else(|| {
            let (topics, messages) = ([false; 2], [0; 2]);
            self.places.push(Place { sensor, topics, messages, given: 0, read: 0 });
            let index = self.places.len() - 1;
            u32::try_from(index).expect("fewer than 2^32 sensors fit into memory")
        });
        self.of_sensor.insert(sensor, place);
        let Some(taken) = self.places.get_mut(place as usize) else { return };
        (taken.sensor, taken.topics) = (sensor, [true, topics.1.is_some()]);
        let given = taken.given;
        if let Some(connection) = connection {
            subscribe(|topic| self.number(place, given, topic), topics, connection);
        }
    }

    /// The number of a subscription.
    fn number(&self, place: u32, given: u32, topic: Topic) -> u64 {
        let of_place = (u64::from(given) << PLACE_BITS) | u64::from(place);
        self.patterns.len() as u64 + 2 * of_place + topic as u64
    }

    /// Ends the subscriptions of a sensor.
    pub(super) fn remove(
        &mut self,
        sensor: SensorId,
        mut connection: Option<&mut Connection<Now>>,
    ) {
        let Some(place) = self.of_sensor.remove(&sensor) else { return };
        let Some(left) = self.places.get_mut(place as usize) else { return };
        let (topics, given) = (std::mem::take(&mut left.topics), left.given);
        left.given = given.wrapping_add(1);
        self.free.push(place);
        for (topic, _) in Topic::ALL.into_iter().zip(topics).filter(|(_, is_heard)| *is_heard) {
            let number = self.number(place, given, topic);
            if let Some(connection) = &mut connection {
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
            if let Some(&place) = self.of_sensor.get(&heartbeat.id)
                && let Some(given) = self.places.get(place as usize).map(|place| place.given)
            {
                let topics = (&heartbeat.read_topic, heartbeat.disconnect_topic.as_ref());
                subscribe(|topic| self.number(place, given, topic), topics, connection);
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
        let Some(number) = message.subscription.checked_sub(self.patterns.len() as u64) else {
            return Sender::Heartbeat;
        };
        let topic = if number.is_multiple_of(2) { Topic::Read } else { Topic::Disconnect };
        let of_place = number / 2;
        let (given, index) = (of_place >> PLACE_BITS, of_place & ((1 << PLACE_BITS) - 1));
        let place = usize::try_from(index).ok().and_then(|index| self.places.get_mut(index));
        let Some(place) = place.filter(|place| u64::from(place.given) == given) else {
            return Sender::Nobody;
        };
        if place.read != self.reads {
            (place.read, place.messages) = (self.reads, [0; 2]);
        }
        let of_topic = topic as usize;
        let (Some(true), Some(messages)) =
            (place.topics.get(of_topic), place.messages.get_mut(of_topic))
        else {
            return Sender::Nobody;
        };
        *messages = messages.saturating_add(1);
        match *messages {
            ..=OF_TOPIC_MAX => Sender::Sensor(place.sensor, topic),
            _ => Sender::Dropped,
        }
    }
}

/// Bits of a subscription's number that name the place: more places than a site has sensors.
const PLACE_BITS: u32 = 32;

fn subscribe(
    number: impl Fn(Topic) -> u64,
    (read, disconnect): (&Subject, Option<&Subject>),
    connection: &mut Connection<Now>,
) {
    connection.subscribe(read, number(Topic::Read));
    if let Some(disconnect) = disconnect {
        connection.subscribe(disconnect, number(Topic::Disconnect));
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
    /// How many of each sender wait.
    of_sender: HashMap<Of, u8>,
    bytes: usize,
}

/// Whose a heartbeat is, as far as that can be seen without parsing it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Of {
    /// That of the sensor that it names.
    Sensor(SensorId),
    /// That of whoever speaks on this topic, in a name that is not theirs.
    Topic(String),
}

/// A heartbeat that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) subject: String,
    pub(super) protocol: Protocol,
    pub(super) payload: Vec<u8>,
    /// For whom it counts; `None` if nobody can be told.
    of: Option<Of>,
}

impl Heartbeats {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a heartbeat. `is_expected` says whether the sensor that it names sends heartbeats on
    /// this topic: if not, it takes nothing from that sensor. Returns whether there was room.
    pub(super) fn push(
        &mut self,
        message: Message<'_>,
        is_expected: impl Fn(Option<SensorId>) -> bool,
    ) -> bool {
        let bytes = message.payload.len() + message.subject.len();
        let sensor = named(message.payload);
        let of = match is_expected(sensor) {
            true => sensor.map(Of::Sensor),
            false => Some(Of::Topic(message.subject.to_owned())),
        };
        let of_sender = of.as_ref().and_then(|of| self.of_sender.get(of)).copied();
        let has_room = self.waiting.len() < HEARTBEATS_MAX
            && self.bytes + bytes <= HEARTBEATS_BYTES_MAX
            && of_sender.is_none_or(|count| count < OF_SENDER_MAX);
        if has_room {
            self.bytes += bytes;
            if let Some(of) = &of {
                *self.of_sender.entry(of.clone()).or_default() += 1;
            }
            self.waiting.push_back(Waiting {
                subject: message.subject.to_owned(),
                protocol: protocol(message.headers),
                payload: message.payload.to_owned(),
                of,
            });
        }
        has_room
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.payload.len() + waiting.subject.len();
        if let Some(of) = &waiting.of
            && let Entry::Occupied(mut count) = self.of_sender.entry(of.clone())
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if self.waiting.is_empty() {
            // A fleet that came at once does not keep its room.
            *self = Self::default();
        }
        Some(waiting)
    }
}

/// The sensor that a heartbeat names: the text after its first `"id"`. The poller reads it properly
/// later. What is not found here counts for no sensor.
fn named(payload: &[u8]) -> Option<SensorId> {
    const KEY: &[u8] = b"\"id\"";
    let key = payload.windows(KEY.len()).position(|window| window == KEY)?;
    let mut parts = payload.get(key + KEY.len()..)?.split(|byte| *byte == b'"');
    let colon = parts.next()?.trim_ascii();
    let text = parts.next().filter(|_| colon == b":")?;
    std::str::from_utf8(text).ok()?.parse().ok()
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
        let mut subscriptions = Subscriptions { patterns, ..Subscriptions::default() };
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
        let renewed = subscriptions.number(1, 1, Topic::Read);
        assert_eq!(sender(&mut subscriptions, renewed), Sender::Sensor(second, Topic::Read));
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
        let anyone = |_sensor| true;
        let mut heartbeats = Heartbeats::default();
        assert!(heartbeats.push(message(0, "NATS/1.0\r\nNmqtt-Pub: 0\r\n\r\n"), anyone));
        assert!(heartbeats.push(message(0, "NATS/1.0\r\nX: Nmqtt-Pub:\r\n\r\n"), anyone));
        assert_eq!(heartbeats.pop().unwrap().protocol, Protocol::Mqtt);
        assert_eq!(heartbeats.pop().unwrap().protocol, Protocol::Nats);
        assert!(heartbeats.pop().is_none() && heartbeats.bytes == 0);
        let pushed = (0..100_000).filter(|_| heartbeats.push(message(0, ""), anyone)).count();
        assert_eq!(pushed, HEARTBEATS_MAX);
        // A sensor that sends nothing else keeps no other one's from being heard.
        let beat =
            |id: u8| format!(r#"{{"alias":"a","id" : "{}"}}"#, SensorId::from_bytes([id; 16]));
        let mut heartbeats = Heartbeats::default();
        let mut push = |id| {
            let payload = beat(id);
            heartbeats.push(Message { payload: payload.as_bytes(), ..message(0, "") }, anyone)
        };
        assert_eq!((0..100).filter(|_| push(1)).count(), 4);
        assert!(push(2));
        let taken = std::iter::from_fn(|| heartbeats.pop()).count();
        assert_eq!((taken, heartbeats.of_sender.len()), (5, 0));
        let mut heartbeats = Heartbeats::default();
        let payload = vec![b'x'; 8 << 20];
        let large = Message { payload: &payload, ..message(0, "") };
        assert_eq!((0..10).filter(|_| heartbeats.push(large, anyone)).count(), 3);
    }

    #[test]
    fn heartbeats_in_the_name_of_another_take_no_room_from_it() {
        let (own, stranger) = (SensorId::from_bytes([1; 16]), SensorId::from_bytes([2; 16]));
        let mut heartbeats = Heartbeats::default();
        let mut push = |subject, sensor: SensorId| {
            let payload = format!(r#"{{"id":"{sensor}"}}"#);
            let message = Message { payload: payload.as_bytes(), subject, ..message(0, "") };
            let is_expected = |sensor| subject == "own.heartbeat" && sensor == Some(own);
            heartbeats.push(message, is_expected)
        };
        // By its own topic, a stranger names the sensor and thousands of others.
        assert_eq!((0..100).filter(|_| push("stranger.heartbeat", own)).count(), 4);
        let others = (0..100).map(|id| SensorId::from_bytes([id; 16]));
        assert_eq!(others.filter(|other| push("stranger.heartbeat", *other)).count(), 0);
        assert!(!push("stranger.heartbeat", stranger));
        assert_eq!((0..100).filter(|_| push("own.heartbeat", own)).count(), 4);
        while heartbeats.pop().is_some() {}
        assert!(heartbeats.of_sender.is_empty());
    }
}
