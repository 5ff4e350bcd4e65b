//! Finds the keys that have signed a log, for someone who knows one of them.
//!
//! The events are checked against the log itself: each must be a leaf of a checkpoint signed by the
//! key in use at that checkpoint's size. So nobody can hide a rotation from a reader who knows the
//! newest key, and nobody can invent one without the key before it.

use std::error::Error;

use key_history::KeyHistory;
use tlog::Hash;

use crate::{
    key::Key,
    verify_leaf::{Claim, in_words},
};

/// An event that names a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyEvent {
    /// Index of the event's leaf.
    pub leaf: u64,
    /// The event's envelope as canonical JSON.
    pub envelope: Vec<u8>,
    /// C2SP tlog-proof of the leaf.
    pub proof: String,
}

/// The keys that these events name, in order.
///
/// # Errors
/// The message says which event does not follow from the one before it, or is not in the log.
pub fn follow_keys(events: &[KeyEvent]) -> Result<Vec<Key>, String> {
    let named: Vec<_> = events
        .iter()
        .map(|event| key_history::KeyEvent { leaf: event.leaf, envelope: event.envelope.clone() })
        .collect();
    let keys = KeyHistory::follow(&named, None).map_err(|error| in_words(&error))?;
    for event in events {
        prove(event, &keys).map_err(|error| {
            let words = in_words(&*error);
            format!("leaf {}, which names a key, is not proved: {words}", event.leaf)
        })?;
    }
    Ok(keys.iter().map(|(leaf, key)| Key { leaf, vkey: key.to_string() }).collect())
}

fn prove(event: &KeyEvent, keys: &KeyHistory) -> Result<(), Box<dyn Error>> {
    let claim = Claim::parse(&event.proof)?;
    let proved = claim.leaf.index().get();
    if proved != event.leaf {
        return Err(format!("the proof is for leaf {proved}").into());
    }
    claim.verify_inclusion(&Hash::sha256(&event.envelope))?;
    claim.verify_signed_by(keys.at(claim.checkpoint.size.get()))
}

#[cfg(test)]
mod tests {
    use key_history::rotation;
    use model::{Envelope, Event, Salt, Timestamp};
    use tlog::{
        Checkpoint, KeyName, LeafIndex, Origin, ShortTile, SignedNote, Signer, TileId, TlogProof,
        TreeSize, inclusion_proof, leaf_hash, root_of,
    };

    use super::*;

    const NAME: &str = "sealwire.local/plant-1";
    /// Leaves at which the log changes to its second and its third key.
    const ROTATIONS: [u64; 2] = [4, 9];
    const LEAVES: u64 = 12;

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(KeyName::parse(NAME).unwrap(), &[seed; 32])
    }

    fn sealed(event: Event) -> Vec<u8> {
        let received_at = Timestamp::from_unix_micros(0);
        let salt = Salt::from_random([7; 16]);
        serde_json::to_vec(&Envelope { event, received_at, salt }).unwrap()
    }

    /// A log whose keys have the seeds 1, 2 and 3.
    struct Log {
        envelopes: Vec<Vec<u8>>,
    }

    impl Log {
        fn new() -> Self {
            let at = Timestamp::from_unix_micros(0);
            let envelopes = (0..LEAVES).map(|leaf| {
                let seed = 1 + ROTATIONS.iter().zip(1..).take_while(|(at, _)| **at < leaf).count();
                let seed = u8::try_from(seed).unwrap();
                sealed(if leaf == 0 {
                    Event::log_created(NAME, &signer(1).vkey().to_string(), 3, at)
                } else if ROTATIONS.contains(&leaf) {
                    rotated(leaf, &signer(seed), &signer(seed + 1))
                } else {
                    Event::site("SITE_STARTED", "site", format!("{leaf}"), at)
                })
            });
            Self { envelopes: envelopes.collect() }
        }

        /// Proof of a leaf for a checkpoint of `size` leaves, signed by the key with this seed.
        fn prove(&self, leaf: u64, size: u64, seed: u8) -> String {
            let size = TreeSize::new(size);
            let count = usize::try_from(size.get()).unwrap();
            let hash = |envelope: &Vec<u8>| leaf_hash(Hash::sha256(envelope).as_bytes());
            let leaves: Vec<_> = self.envelopes.iter().take(count).map(hash).collect();
            let read_tile = |_: &TileId| Ok::<_, ShortTile>(leaves.clone());
            let leaf = size.leaf(LeafIndex::new(leaf)).unwrap();
            let checkpoint = Checkpoint::new(Origin::parse(NAME).unwrap(), size, root_of(&leaves));
            let proof = TlogProof {
                index: leaf.index(),
                hashes: inclusion_proof(leaf, read_tile).unwrap(),
                checkpoint: SignedNote::parse(&checkpoint.sign(&signer(seed))).unwrap(),
                extra: None,
            };
            proof.to_string()
        }

        /// The events of these leaves, each proved for a checkpoint of `size` leaves.
        fn events(&self, leaves: &[u64], size: u64, seed: u8) -> Vec<KeyEvent> {
            let event = |leaf: &u64| KeyEvent {
                leaf: *leaf,
                envelope: self.envelopes[usize::try_from(*leaf).unwrap()].clone(),
                proof: self.prove(*leaf, size, seed),
            };
            leaves.iter().map(event).collect()
        }
    }

    fn rotated(leaf: u64, old: &Signer, new: &Signer) -> Event {
        let statement = rotation::state(NAME, leaf, old, new).unwrap();
        let at = Timestamp::from_unix_micros(0);
        Event::key_rotated("ada", NAME, &new.vkey().to_string(), statement, at)
    }

    #[test]
    fn the_keys_of_a_log_are_followed_from_its_first() {
        let log = Log::new();
        let keys = follow_keys(&log.events(&[0, 4, 9], LEAVES, 3)).unwrap();
        let named = |(leaf, seed)| Key { leaf, vkey: signer(seed).vkey().to_string() };
        assert_eq!(keys, [(0, 1), (4, 2), (9, 3)].map(named));
        // Before the third key there were two, and before the second one.
        assert_eq!(follow_keys(&log.events(&[0, 4], 9, 2)).unwrap(), keys[..2]);
        assert_eq!(follow_keys(&log.events(&[0], 4, 1)).unwrap(), keys[..1]);
    }

    #[test]
    fn a_key_counts_only_with_its_event_in_the_log_under_a_key_in_use() {
        let log = Log::new();
        let good = || log.events(&[0, 4, 9], LEAVES, 3);
        let mut not_in_log = good();
        let own = sealed(rotated(9, &signer(2), &signer(4)));
        not_in_log[2].envelope = own;
        let mut moved = good();
        moved[2].proof = log.prove(8, LEAVES, 3);
        let mut unauthorised = good();
        unauthorised[1].envelope = sealed(rotated(4, &signer(5), &signer(2)));
        let mut foreign = good();
        foreign[2].proof = log.prove(9, LEAVES, 4);
        for (events, words) in [
            (vec![], "no event names a key"),
            (log.events(&[4, 9], LEAVES, 3), "leaf 4 is not an event LOG_CREATED"),
            // A tree with the third key's event must not be signed by the second key, nor by the
            // first.
            (log.events(&[0, 4, 9], LEAVES, 2), "from a known key"),
            (log.events(&[0, 4, 9], LEAVES, 1), "from a known key"),
            // The third key's event must not be left out of what its key signed.
            (log.events(&[0, 4], LEAVES, 3), "from a known key"),
            (not_in_log, "from a known key"),
            (moved, "the proof is for leaf 8"),
            (unauthorised, "leaf 4 changes to a key without authority"),
            (foreign, "from a known key"),
        ] {
            let refusal = follow_keys(&events).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
