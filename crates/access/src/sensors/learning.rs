//! What the site learns from the heartbeats of existing devices that are to get credentials: their
//! ids and topics. No IO.
//!
//! Somebody asks for sensors by their aliases, again and again, until all of them were heard. In
//! between, only those are remembered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{Heartbeat, Subject, Timestamp};

use crate::sensors::sensor::{Alias, Sensor, Topics};

/// Sensors that somebody asks for, and what was heard of them.
#[derive(Debug, Default)]
pub struct Learning {
    wanted: BTreeMap<Alias, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    /// When it was last asked for.
    asked: Timestamp,
    /// The sensors that have this alias.
    heard: Vec<Sensor>,
}

impl Learning {
    /// Most aliases that are asked for at once. Further ones are not looked for.
    pub const ALIASES_MAX: usize = 10_000;
    /// Most sensors with the same alias that are remembered: two are enough to see that an alias
    /// names no sensor.
    const OF_ALIAS_MAX: usize = 2;
    /// Time after which an alias that nobody asks for any more is forgotten.
    const FORGET_AFTER: Duration = Duration::from_secs(60);

    /// The sensors with these aliases that were heard since somebody first asked for them.
    pub fn ask(&mut self, aliases: BTreeSet<Alias>, now: Timestamp) -> Vec<Sensor> {
        self.wanted.retain(|_alias, wanted| now.apart(wanted.asked) < Self::FORGET_AFTER);
        let mut heard = Vec::new();
        for alias in aliases {
            if self.wanted.len() >= Self::ALIASES_MAX && !self.wanted.contains_key(&alias) {
                continue;
            }
            let wanted = self.wanted.entry(alias);
            let wanted = wanted.or_insert_with(|| Wanted { asked: now, heard: Vec::new() });
            wanted.asked = now;
            heard.extend(wanted.heard.iter().cloned());
        }
        heard
    }

    /// Takes a heartbeat that came on this subject, if somebody asks for its sensor.
    pub fn hear(&mut self, subject: &str, heartbeat: &Heartbeat) {
        if self.wanted.is_empty() {
            return;
        }
        // What no credential can have is learned from nobody.
        let Ok(alias) = heartbeat.alias.parse::<Alias>() else { return };
        let Ok(topic) = Subject::parse(subject) else { return };
        let Some(wanted) = self.wanted.get_mut(&alias) else { return };
        let topics = Topics {
            heartbeat: topic,
            poll: heartbeat.poll_topic.clone(),
            read: heartbeat.read_topic.clone(),
            disconnect: heartbeat.disconnect_topic.clone(),
        };
        wanted.heard.retain(|known| known.id != heartbeat.id);
        if wanted.heard.len() < Self::OF_ALIAS_MAX {
            wanted.heard.push(Sensor { alias, id: heartbeat.id, topics });
        }
    }
}

#[cfg(test)]
mod tests {
    use model::SensorId;

    use super::*;

    fn heartbeat(alias: &str, id: u8) -> Heartbeat {
        let id = SensorId::from_bytes([id; 16]);
        let json = format!(
            r#"{{"alias":"{alias}","id":"{id}","poll_interval":1000,"poll_topic":"a.{id}.poll","read_topic":"a.{id}.read"}}"#
        );
        Heartbeat::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn who_is_asked_for_is_heard_and_nobody_else() {
        let aliases = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let at = |second: i64| Timestamp::from_unix_micros(second * 1_000_000);
        let mut learning = Learning::default();
        learning.hear("a.heartbeat", &heartbeat("a", 1));
        assert_eq!(learning.ask(aliases(&["a", "b"]), at(0)), []);
        for _ in 0..3 {
            learning.hear("a.heartbeat", &heartbeat("a", 1));
            learning.hear("a.heartbeat", &heartbeat("c", 3));
        }
        let heard = learning.ask(aliases(&["a", "b"]), at(30));
        let [sensor] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!(sensor.id, SensorId::from_bytes([1; 16]));
        assert_eq!(sensor.topics.heartbeat.as_str(), "a.heartbeat");
        assert_eq!(sensor.topics.poll, heartbeat("a", 1).poll_topic);
        // A second device that calls itself the same is seen, and a hundred take no more room.
        (2..100).for_each(|id| learning.hear("a.heartbeat", &heartbeat("a", id)));
        assert_eq!(learning.ask(aliases(&["a"]), at(31)).len(), 2);
        assert_eq!(learning.ask(aliases(&["a"]), at(100)), [], "nobody has asked for a while");
    }
}
