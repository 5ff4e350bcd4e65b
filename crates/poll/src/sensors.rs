//! The sensors of a site, by id and by slot.
//!
//! A slot is a small number that a sensor has while it is known, so that what is kept of each
//! sensor elsewhere can lie in one row.
//!
//! Invariant: `slots` and `by_id` hold the same sensors. Nothing depends on the order of `by_id`,
//! which differs from run to run.

use std::collections::HashMap;

use model::SensorId;

use crate::sensor::Sensor;

/// All sensors that are known.
#[derive(Debug, Default)]
pub(crate) struct Sensors {
    /// In boxes, so that a row that grows moves pointers alone.
    slots: Vec<Option<Box<Sensor>>>,
    free: Vec<Slot>,
    by_id: HashMap<SensorId, Slot>,
}

/// The place of a sensor. Another sensor may get it after this one is forgotten.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn new(index: usize) -> Self {
        Self(Self::number(index))
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// A place as it is kept. There are fewer sensors than such numbers: each takes hundreds of
    /// bytes.
    pub(crate) fn number(index: usize) -> u32 {
        u32::try_from(index).expect("fewer than 2^32 sensors fit into memory")
    }
}

impl Sensors {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot(&self, sensor: SensorId) -> Option<Slot> {
        self.by_id.get(&sensor).copied()
    }

    pub(crate) fn contains(&self, sensor: SensorId) -> bool {
        self.by_id.contains_key(&sensor)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Sensor> {
        self.slots.get(slot.index())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Sensor> {
        self.slots.get_mut(slot.index())?.as_deref_mut()
    }

    /// The sensor with this id.
    pub(crate) fn of(&self, sensor: SensorId) -> Option<&Sensor> {
        self.get(self.slot(sensor)?)
    }

    /// Adds a sensor that is not known yet.
    pub(crate) fn insert(&mut self, sensor: Sensor) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::new(self.slots.len() - 1)
        });
        self.by_id.insert(sensor.id(), slot);
        if let Some(place) = self.slots.get_mut(slot.index()) {
            *place = Some(Box::new(sensor));
        }
        slot
    }

    pub(crate) fn remove(&mut self, sensor: SensorId) -> Option<(Slot, Box<Sensor>)> {
        let slot = self.by_id.remove(&sensor)?;
        let sensor = self.slots.get_mut(slot.index())?.take()?;
        self.free.push(slot);
        Some((slot, sensor))
    }

    /// Every sensor, in order of slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sensor> {
        self.slots.iter().filter_map(|sensor| sensor.as_deref())
    }

    /// Every sensor with its slot, in order of slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Sensor)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, sensor)| Some((Slot::new(index), sensor.as_deref_mut()?)))
    }
}
