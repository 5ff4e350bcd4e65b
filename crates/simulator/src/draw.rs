//! Randomness without a state: what is drawn follows from the seed and from what it is for.
//!
//! So what a sensor does at its hundredth poll is the same whatever came before, in whichever order
//! the sensors are polled.

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// What is drawn. Two purposes never share their randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A sensor's value at a poll.
    Value = 1,
    /// The value of a second device with the sensor's id.
    ValueOfDouble = 2,
    /// Whether a faulty sensor answers a poll.
    Silence = 3,
    /// Time until a sensor's next heartbeat.
    Heartbeat = 4,
    /// Time until a connection is tried again.
    Reconnect = 5,
    /// Whether a sensor has a fault.
    HasFault = 6,
    /// Whether, or how much, a fault shows.
    Fault = 7,
    /// When the sensor is off.
    Outage = 8,
}

/// A generator for this purpose. `of` says of what: a sensor, a number, a fault.
pub(crate) fn draw(seed: u64, purpose: Purpose, of: [u64; 3]) -> Xoshiro256PlusPlus {
    let start = scramble(seed ^ scramble(purpose as u64));
    // Small and fast. Unlike that of `StdRng`, its output never changes between versions.
    Xoshiro256PlusPlus::seed_from_u64(of.iter().fold(start, |state, word| scramble(state ^ word)))
}

/// Whether something of this probability happens.
pub(crate) fn happens(probability: f64, seed: u64, purpose: Purpose, of: [u64; 3]) -> bool {
    draw(seed, purpose, of).random::<f64>() < probability
}

/// The step and the mixing of SplitMix64: each bit of the result depends on every bit of the word.
const fn scramble(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_purpose_seed_and_object_has_randomness_of_its_own() {
        let mut seen = BTreeSet::new();
        for seed in 0..4 {
            for purpose in [Purpose::Value, Purpose::Silence, Purpose::Heartbeat] {
                for of in [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]] {
                    let drawn: u64 = draw(seed, purpose, of).random();
                    assert_eq!(drawn, draw(seed, purpose, of).random::<u64>(), "it is repeated");
                    assert!(seen.insert(drawn), "{seed} {purpose:?} {of:?}");
                }
            }
        }
    }

    #[test]
    fn what_has_a_probability_happens_that_often() {
        for probability in [0.0, 0.1, 0.5, 1.0] {
            let times = (0..10_000)
                .filter(|number| happens(probability, 7, Purpose::Fault, [3, *number, 0]))
                .count();
            let share = f64::from(u32::try_from(times).unwrap()) / 10_000.0;
            assert!((share - probability).abs() < 0.02, "{share} of {probability}");
        }
    }
}
