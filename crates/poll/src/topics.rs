//! Assigns topics to sensors, so that no answer is taken for another sensor's.
//!
//! Invariant: a read topic has at most one owner, and the site subscribes to it for its owner only.
//! A lost or gone sensor keeps its topic, so that late answers are still counted, until an online
//! sensor asks for it.

use std::collections::{BTreeMap, BTreeSet};

use model::{Heartbeat, SensorId, Subject};

/// Topics in use, with the sensors that use them.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    readers: BTreeMap<Subject, SensorId>,
    polled: BTreeSet<(Subject, SensorId)>,
    /// Disconnect topics. Several sensors may share one.
    left: BTreeSet<(Subject, SensorId)>,
}

/// Why a sensor cannot have its topics.
#[derive(Debug)]
pub(crate) enum Conflict {
    /// The sensor uses one topic for two purposes.
    Twice(Subject),
    /// An online sensor uses the topic: to answer, to be polled or to disconnect.
    Taken { topic: Subject, owner: SensorId },
}

impl Topics {
    /// Checks that the topics of `heartbeat` are not in use by an online sensor. Returns the sensor
    /// whose read topic it would take over, if any.
    pub(crate) fn check(
        &self,
        heartbeat: &Heartbeat,
        is_alive: impl Fn(SensorId) -> bool,
    ) -> Result<Option<SensorId>, Conflict> {
        let Heartbeat { id, read_topic, poll_topic, .. } = heartbeat;
        if read_topic == poll_topic {
            return Err(Conflict::Twice(read_topic.clone()));
        }
        let taken = |topic: &Subject, owner| Err(Conflict::Taken { topic: topic.clone(), owner });
        // A poll sent there would be taken for that sensor's answer.
        if let Some(owner) = self.reader(poll_topic).filter(|owner| owner != id && is_alive(*owner))
        {
            return taken(poll_topic, owner);
        }
        // An answer sent there would be taken for a poll or for that sensor's disconnect message. A
        // poll sent there would be taken for a disconnect message.
        let other = |owner: &SensorId| owner != id && is_alive(*owner);
        for (topics, topic) in
            [(&self.polled, read_topic), (&self.left, read_topic), (&self.left, poll_topic)]
        {
            if let Some(owner) = users(topics, topic).find(other) {
                return taken(topic, owner);
            }
        }
        match self.reader(read_topic).filter(|owner| owner != id) {
            Some(owner) if is_alive(owner) => taken(read_topic, owner),
            stale => Ok(stale),
        }
    }

    /// Checks that `topic`, the disconnect topic of `heartbeat`, differs from its other topics and
    /// from every topic on which another sensor answers or is polled.
    pub(crate) fn check_farewell(
        &self,
        heartbeat: &Heartbeat,
        topic: &Subject,
        is_alive: impl Fn(SensorId) -> bool,
    ) -> Result<(), Conflict> {
        if [&heartbeat.read_topic, &heartbeat.poll_topic].contains(&topic) {
            return Err(Conflict::Twice(topic.clone()));
        }
        let mut users = self.reader(topic).into_iter().chain(users(&self.polled, topic));
        match users.find(|owner| *owner != heartbeat.id && is_alive(*owner)) {
            Some(owner) => Err(Conflict::Taken { topic: topic.clone(), owner }),
            None => Ok(()),
        }
    }

    /// The sensor that answers on `topic`.
    pub(crate) fn reader(&self, topic: &Subject) -> Option<SensorId> {
        self.readers.get(topic).copied()
    }

    /// Assigns the topics of a checked heartbeat to its sensor.
    pub(crate) fn claim(&mut self, heartbeat: &Heartbeat) {
        self.readers.insert(heartbeat.read_topic.clone(), heartbeat.id);
        self.polled.insert((heartbeat.poll_topic.clone(), heartbeat.id));
        self.left.extend(heartbeat.disconnect_topic.clone().map(|topic| (topic, heartbeat.id)));
    }

    /// Undoes [`Topics::claim`], except for topics that another sensor has taken over since.
    pub(crate) fn release(&mut self, heartbeat: &Heartbeat) {
        if self.reader(&heartbeat.read_topic) == Some(heartbeat.id) {
            self.readers.remove(&heartbeat.read_topic);
        }
        self.polled.remove(&(heartbeat.poll_topic.clone(), heartbeat.id));
        if let Some(topic) = &heartbeat.disconnect_topic {
            self.left.remove(&(topic.clone(), heartbeat.id));
        }
    }
}

/// The sensors that use `topic`.
fn users<'a>(
    topics: &'a BTreeSet<(Subject, SensorId)>,
    topic: &'a Subject,
) -> impl Iterator<Item = SensorId> + 'a {
    const FIRST: SensorId = SensorId::from_bytes([0; 16]);
    let from_topic = topics.range((topic.clone(), FIRST)..);
    from_topic.take_while(move |(used, _)| used == topic).map(|&(_, sensor)| sensor)
}
