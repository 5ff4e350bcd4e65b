//! What the driver is to do, and what was counted on the way.

use std::collections::VecDeque;

use model::{Event, Heartbeat, SensorId, Subject, Timestamp};

use crate::counters::Counters;

/// One thing for the driver to do. The order matters: a subscription comes before the first poll
/// that needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Listen to a sensor. The subscription is expected to outlive a bus that goes away and comes
    /// back.
    Subscribe {
        /// Whose messages these are.
        sensor: SensorId,
        /// To [`Poller::handle_answer`](crate::Poller::handle_answer).
        read_topic: Subject,
        /// To [`Poller::handle_disconnect`](crate::Poller::handle_disconnect).
        disconnect_topic: Option<Subject>,
    },
    /// Stop listening to all of a sensor's topics.
    Unsubscribe {
        /// Which one.
        sensor: SensorId,
    },
    /// Publish the payload [`POLL`].
    SendPoll {
        /// Who is asked.
        sensor: SensorId,
        /// Where.
        subject: Subject,
        /// The reply subject: its read topic, so that a NATS sensor may answer there. Where nobody
        /// takes the poll, the NATS server itself answers there, empty and with status 503: the
        /// driver drops messages with a status, for they are nobody's answer.
        reply: Subject,
    },
    /// Hand the event to the ledger.
    Seal(Box<Event>),
}

/// What a poll says.
pub const POLL: &[u8] = b"poll";

/// Where the sub-machines leave what they decided.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) actions: VecDeque<Action>,
    pub(crate) counters: Counters,
}

impl Outbox {
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

    pub(crate) fn send_poll(&mut self, heartbeat: &Heartbeat) {
        self.actions.push_back(Action::SendPoll {
            sensor: heartbeat.id,
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
