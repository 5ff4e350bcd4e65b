//! Memory for submissions that are being checked and sealed. No IO.
//!
//! An application has a part of it, so that one that hands in too much keeps no other waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use access::TokenName;

/// Bytes of all submissions that wait. What the component makes of them takes some times as much.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of one application's submissions that wait.
pub(super) const APPLICATION_BYTES_MAX: usize = 16 << 20;
/// Bytes that a submission counts for at least: its task and its place in the queue.
const SUBMISSION_BYTES_MIN: usize = 16 << 10;

/// Why there is no place now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoPlace {
    /// The application has all of its part.
    OfApplication,
    /// All applications together have everything.
    OfAnyone,
}

/// The memory. Cheap to clone: the clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    bytes: usize,
    /// By application; only those with a place.
    of: HashMap<TokenName, usize>,
}

/// A submission's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    name: TokenName,
    bytes: usize,
}

impl Room {
    /// Takes a place for a submission of so many bytes, if there is one now.
    pub(super) fn place(&self, name: &TokenName, bytes: usize) -> Result<Place, NoPlace> {
        let bytes = bytes.max(SUBMISSION_BYTES_MIN);
        let mut taken = self.taken();
        let own = taken.of.get(name).copied().unwrap_or_default() + bytes;
        if own > APPLICATION_BYTES_MAX {
            return Err(NoPlace::OfApplication);
        }
        if taken.bytes + bytes > BYTES_MAX {
            return Err(NoPlace::OfAnyone);
        }
        taken.bytes += bytes;
        taken.of.insert(name.clone(), own);
        Ok(Place { room: self.clone(), name: name.clone(), bytes })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.bytes -= self.bytes;
        if let Some(own) = taken.of.get_mut(&self.name) {
            *own -= self.bytes;
            if *own == 0 {
                taken.of.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_application_leaves_room_for_others_and_all_of_it_comes_back() {
        let room = Room::default();
        let names = ["a", "b", "c", "d", "e"].map(|name| name.parse::<TokenName>().unwrap());
        let full = APPLICATION_BYTES_MAX / SUBMISSION_BYTES_MIN;
        let places: Vec<Place> = (0..full).map(|_| room.place(&names[0], 1).unwrap()).collect();
        assert_eq!(room.place(&names[0], 1).unwrap_err(), NoPlace::OfApplication);
        let others: Vec<Place> =
            names[1..4].iter().map(|it| room.place(it, APPLICATION_BYTES_MAX).unwrap()).collect();
        assert_eq!(room.place(&names[4], 1).unwrap_err(), NoPlace::OfAnyone);
        drop(others);
        let other = room.place(&names[4], 1).unwrap();
        drop((places, other));
        assert!(room.taken().bytes == 0 && room.taken().of.is_empty());
    }
}
