//! Limits how many polls are in flight, and stops polls while the driver has no room for readings.
//!
//! Invariants:
//! - at most `most` polls take a place. A poll takes one for the site's own time for an answer, not
//!   for the time that its sensor asks for: sensors that are slow keep none from the others;
//! - a sensor whose poll waits is in `waiting`, once. Sensors are served in the order in which they
//!   began to wait, so none waits longer than it takes to serve the others once.

use std::collections::VecDeque;

use crate::{sensor::Counted, sensors::Slot};

/// Polls in flight, and the sensors whose polls wait for room.
#[derive(Debug)]
pub(crate) struct InFlight {
    most: u32,
    /// Polls in flight.
    count: u32,
    /// Those of them that take a place.
    places: u32,
    /// Whether the driver has room for what sensors answer.
    is_open: bool,
    waiting: VecDeque<Slot>,
}

impl InFlight {
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, count: 0, places: 0, is_open: true, waiting: VecDeque::new() }
    }

    /// Whether another poll may be sent.
    const fn has_room(&self) -> bool {
        self.is_open && self.places < self.most
    }

    /// Whether a poll that falls due may be sent now: there is room, and none waits for it.
    pub(crate) fn has_room_at_once(&self) -> bool {
        self.has_room() && self.waiting.is_empty()
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Stops all polls, or lets them go on.
    pub(crate) const fn open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    /// Takes what is counted of a sensor.
    pub(crate) fn change(&mut self, before: Counted, after: Counted) {
        let change = |count: u32, was: bool, is: bool| {
            count.saturating_add(is.into()).saturating_sub(was.into())
        };
        self.count = change(self.count, before.is_in_flight, after.is_in_flight);
        let [had, has] = [before, after].map(|counted| counted.place_until.is_some());
        self.places = change(self.places, had, has);
    }

    /// Has a sensor wait for room.
    pub(crate) fn wait(&mut self, slot: Slot) {
        self.waiting.push_back(slot);
    }

    /// A sensor that is forgotten waits no more.
    pub(crate) fn leave(&mut self, slot: Slot) {
        self.waiting.retain(|waiting| *waiting != slot);
    }

    /// The sensor that has waited longest, if there is room for its poll.
    pub(crate) fn next(&mut self) -> Option<Slot> {
        if self.has_room() { self.waiting.pop_front() } else { None }
    }

    /// Nobody waits any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}
