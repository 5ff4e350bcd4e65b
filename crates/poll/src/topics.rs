//! Which sensor speaks on which topic, so that no answer is taken for another sensor's.
//!
//! Invariant: a read topic has at most one owner, and only its owner is subscribed to it. An owner keeps its topic while it is lost or gone (late
//! answers still are counted) until a sensor that lives asks for it.

use std::collections::{BTreeMap, BTreeSet};

use model::{Heartbeat, SensorId, Subject};

/// The topics of the fleet.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    readers: BTreeMap<Subject, SensorId>,
    polled: BTreeSet<(Subject, SensorId)>,
}

/// Why topics cannot be had.
#[derive(Debug)]
pub(crate) enum Conflict {
    /// The sensor names one topic for two things.
    Twice(Subject),
    /// Another sensor that lives answers there, or is polled there.
    Taken { topic: Subject, owner: SensorId },
}

impl Topics {
    const FIRST: SensorId = SensorId::from_bytes([0; 16]);

    /// Checks that the topics of `heartbeat` meet those of no sensor that lives, and returns the sensor whose read topic it would take over.
    pub(crate) fn check(
        &self,
        heartbeat: &Heartbeat,
        is_alive: impl Fn(SensorId) -> bool,
    ) -> Result<Option<SensorId>, Conflict> {
        let Heartbeat { id, read_topic, poll_topic, disconnect_topic, .. } = heartbeat;
        if read_topic == poll_topic || disconnect_topic.as_ref() == Some(read_topic) {
            return Err(Conflict::Twice(read_topic.clone()));
        }
        if disconnect_topic.as_ref() == Some(poll_topic) {
            return Err(Conflict::Twice(poll_topic.clone()));
        }
        let taken = |topic: &Subject, owner| Err(Conflict::Taken { topic: topic.clone(), owner });
        // A poll sent there would be taken for that sensor's answer.
        if let Some(owner) = self.reader(poll_topic).filter(|owner| owner != id && is_alive(*owner))
        {
            return taken(poll_topic, owner);
        }
        let mut polled = self
            .polled
            .range((read_topic.clone(), Self::FIRST)..)
            .take_while(|(topic, _)| topic == read_topic)
            .map(|&(_, sensor)| sensor);
        if let Some(owner) = polled.find(|owner| owner != id && is_alive(*owner)) {
            return taken(read_topic, owner);
        }
        match self.reader(read_topic).filter(|owner| owner != id) {
            Some(owner) if is_alive(owner) => taken(read_topic, owner),
            stale => Ok(stale),
        }
    }

    /// The sensor that answers on `topic`.
    pub(crate) fn reader(&self, topic: &Subject) -> Option<SensorId> {
        self.readers.get(topic).copied()
    }

    /// Gives the topics of a checked heartbeat to its sensor.
    pub(crate) fn claim(&mut self, heartbeat: &Heartbeat) {
        self.readers.insert(heartbeat.read_topic.clone(), heartbeat.id);
        self.polled.insert((heartbeat.poll_topic.clone(), heartbeat.id));
    }

    /// Takes back what [`Topics::claim`] gave, but for what went to another sensor since.
    pub(crate) fn release(&mut self, heartbeat: &Heartbeat) {
        if self.reader(&heartbeat.read_topic) == Some(heartbeat.id) {
            self.readers.remove(&heartbeat.read_topic);
        }
        self.polled.remove(&(heartbeat.poll_topic.clone(), heartbeat.id));
    }
}
