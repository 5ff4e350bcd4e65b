//! Judges as the true one does, except where a value says how to fail.

use model::derive::{Derived, Question, Seen, Sighting};

use crate::true_judge;

/// The component traps on this value.
const TRAP: &str = "trap";
/// The component is never done with this value.
const HANG: &str = "hang";
/// The component takes memory on this value until it gets no more.
const MEMORY: &str = "memory";
/// The component derives from a leaf of which it was not asked.
const NONSENSE: &str = "nonsense";

/// All events that follow from the sightings. The last one that says how to fail decides.
#[must_use]
pub fn judge(question: Question) -> Vec<Derived> {
    let nonsense = question.sightings.iter().rev().find_map(fail);
    let mut derived = true_judge::judge(question);
    derived.extend(nonsense);
    derived
}

fn fail(sighting: &Sighting) -> Option<Derived> {
    let Seen::Value { value, .. } = &sighting.seen else { return None };
    match value.as_str() {
        TRAP => std::process::abort(),
        HANG => loop {
            std::hint::spin_loop();
        },
        MEMORY => {
            let mut taken = Vec::new();
            loop {
                taken.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        NONSENSE => {
            let (leaf, source) = (sighting.leaf + 1_000_000, sighting.source.clone());
            Some(Derived::not_judged(leaf, sighting.sensor, source, "nonsense"))
        }
        _ => None,
    }
}
