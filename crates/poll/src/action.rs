//! The actions of the poller, and the queue in which it leaves them for the driver.

use std::collections::VecDeque;

use model::{Event, Heartbeat, SensorId, Subject, Timestamp};

use crate::{clock::Instant, counters::Counters};

/// One action for the driver. Order matters: the driver must subscribe before it sends the first
/// poll that needs the subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Subscribe to a sensor's topics. The driver keeps the subscription when the bus goes down and
    /// comes back.
    Subscribe {
        /// The sensor that sends these messages.
        sensor: SensorId,
        /// Messages here go to [`Poller::handle_answer`](crate::Poller::handle_answer).
        read_topic: Subject,
        /// Messages here go to [`Poller::handle_disconnect`](crate::Poller::handle_disconnect).
        disconnect_topic: Option<Subject>,
    },
    /// Unsubscribe from all topics of a sensor.
    Unsubscribe {
        /// The sensor whose subscriptions end.
        sensor: SensorId,
    },
    /// Publish the payload [`POLL`].
    SendPoll {
        /// The sensor that is polled.
        sensor: SensorId,
        /// The poll's number. A poll that is repeated keeps its number.
        poll: u64,
        /// When it could be sent first. What is later is the driver's own delay, or waited for room
        /// among the polls in flight.
        due_at: Instant,
        /// The sensor's poll topic.
        subject: Subject,
        /// The reply subject: the sensor's read topic, so that a NATS sensor may answer there. If
        /// nobody subscribes to the poll topic, the NATS server itself replies with an empty
        /// message of status 503. The driver drops messages with a status, because no sensor sent
        /// them.
        reply: Subject,
    },
    /// Seal the event in the ledger.
    Seal(Box<Event>),
}

/// Payload of a poll.
pub const POLL: &[u8] = b"poll";

/// Queue of actions, and counters, that the sub-machines share.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    actions: VecDeque<Action>,
    pub(crate) counters: Counters,
}

impl Outbox {
    /// Room for actions that is kept while there are none: a start makes a hundred thousand of
    /// them.
    const KEPT_MAX: usize = 4_096;

    pub(crate) fn next(&mut self) -> Option<Action> {
        let next = self.actions.pop_front();
        if self.actions.is_empty() && self.actions.capacity() > Self::KEPT_MAX {
            self.actions = VecDeque::new();
        }
        next
    }

    pub(crate) fn subscribe(&mut self, heartbeat: &Heartbeat) {
        self.actions.push_back(Action::Subscribe {
            sensor: heartbeat.id,
            read_topic: heartbeat.read_topic.clone(),
            disconnect_topic: heartbeat.disconnect_topic.clone(),
        });
    }

    pub(crate) fn unsubscribe(&mut self, sensor: SensorId) {
        self.actions.push_back(Action::Unsubscribe { sensor });
    }

    pub(crate) fn send_poll(&mut self, heartbeat: &Heartbeat, poll: u64, due_at: Instant) {
        self.actions.push_back(Action::SendPoll {
            sensor: heartbeat.id,
            poll,
            due_at,
            subject: heartbeat.poll_topic.clone(),
            reply: heartbeat.read_topic.clone(),
        });
    }

    pub(crate) fn seal_sighting(&mut self, action: &str, heartbeat: &Heartbeat, at: Timestamp) {
        self.seal(Event::sighting(action, heartbeat, at));
    }

    pub(crate) fn seal(&mut self, event: Event) {
        self.actions.push_back(Action::Seal(Box::new(event)));
    }
}
