//! Checks one leaf step by step, and reports the result of each step.
//!
//! The steps lead from the envelope to the log's signature. A failed step does not stop later ones
//! that are still possible. So the whole list shows what was tampered with: two things agree, and
//! the third differs.

use std::error::Error;

use crate::key::Key;
use tlog::{
    Checkpoint, EntryBundle, Hash, LeafInTree, TlogProof, VerifierKey, leaf_hash, verify_inclusion,
};

const PROOF_READABLE: &str = "The proof is well-formed and covers the leaf";
const LEAF_ASKED_FOR: &str = "The proof is for the leaf that was asked for";
const BUNDLE_HOLDS_LEAF: &str = "The log's entry bundle contains the leaf";
const ENTRY_IS_HASH: &str = "The entry is the SHA-256 of the envelope";
const PROOF_LEADS_TO_ROOT: &str = "The proof leads from the envelope to the checkpoint's root";
const CHECKPOINT_SIGNED: &str = "The checkpoint is signed by the log's key";

/// Result of one check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// What was checked, in plain words.
    pub name: &'static str,
    /// The findings, with hashes in hex: the evidence if the step passed, otherwise the difference.
    pub detail: String,
    /// Whether the check passed.
    pub passed: bool,
}

/// A parsed proof file and the content of its checkpoint, whose signature is not verified yet.
pub(crate) struct Claim {
    proof: TlogProof,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) leaf: LeafInTree,
}

/// Checks that `envelope` is the leaf `leaf`, that `proof` belongs to it, that `bundle` holds its
/// hash, and that `key` signed a checkpoint that covers it and the leaf that names the key. The
/// caller must know that the log has no later key.
///
/// `proof` is a C2SP tlog-proof file; `bundle` is the C2SP entry bundle that holds the leaf. The
/// leaf is genuine if every step passed.
pub fn verify_leaf(leaf: u64, envelope: &[u8], proof: &str, bundle: &[u8], key: &Key) -> Vec<Step> {
    let claim = match Claim::parse(proof) {
        Ok(claim) => claim,
        // Without a proof, leaf, root and signature are unknown.
        Err(error) => return vec![failed(PROOF_READABLE, &*error)],
    };
    let named = claim.leaf.index().get();
    let detail = format!("you asked for leaf {leaf}, but the proof is for leaf {named}");
    let asked = Step { name: LEAF_ASKED_FOR, detail, passed: named == leaf };
    let mut steps = vec![passed(PROOF_READABLE, claim.summary()), asked];
    let commitment = Hash::sha256(envelope);
    match claim.entry(bundle) {
        Ok(entry) => {
            steps.push(passed(BUNDLE_HOLDS_LEAF, format!("its entry is {entry}")));
            steps.push(claim.compare(&entry, &commitment));
        }
        Err(error) => steps.push(failed(BUNDLE_HOLDS_LEAF, &*error)),
    }
    steps.push(match claim.verify_inclusion(&commitment) {
        Ok(()) => {
            let root = claim.checkpoint.root;
            passed(PROOF_LEADS_TO_ROOT, format!("{commitment} is under the root {root}"))
        }
        Err(error) => failed(PROOF_LEADS_TO_ROOT, &*error),
    });
    steps.push(match claim.verify_signature(key) {
        Ok(key) => passed(
            CHECKPOINT_SIGNED,
            format!("`{}` signed it with key {}", claim.checkpoint.origin, key.id()),
        ),
        Err(error) => failed(CHECKPOINT_SIGNED, &*error),
    });
    steps
}

impl Claim {
    pub(crate) fn parse(proof: &str) -> Result<Self, Box<dyn Error>> {
        let proof = TlogProof::parse(proof)?;
        // The signature is not verified here; that is a step of its own.
        let checkpoint = Checkpoint::parse(proof.checkpoint.unverified_text())?;
        let leaf = checkpoint.size.leaf(proof.index)?;
        Ok(Self { proof, checkpoint, leaf })
    }

    fn summary(&self) -> String {
        let (index, size) = (self.leaf.index(), self.leaf.size());
        let hashes = self.proof.hashes.len();
        format!("leaf {index} of {size} in `{}`, with {hashes} hashes", self.checkpoint.origin)
    }

    /// The entry of the leaf in the log's bundle.
    fn entry(&self, bundle: &[u8]) -> Result<Hash, Box<dyn Error>> {
        let bundle = EntryBundle::decode(bundle)?;
        let offset = usize::from(self.leaf.index().offset_in_tile());
        let entries = bundle.entries();
        let entry = entries.get(offset).ok_or_else(|| {
            format!(
                "the leaf is entry {offset} of its bundle, but the bundle has only {}",
                entries.len()
            )
        })?;
        let hash = <[u8; Hash::LEN]>::try_from(entry.as_slice())
            .map_err(|_wrong_length| format!("the entry has {} bytes, not 32", entry.len()))?;
        Ok(Hash::from_bytes(hash))
    }

    fn compare(&self, entry: &Hash, commitment: &Hash) -> Step {
        if entry == commitment {
            return passed(ENTRY_IS_HASH, format!("both are {entry}"));
        }
        let proved = |entry| self.verify_inclusion(entry).is_ok();
        let culprit = match (proved(entry), proved(commitment)) {
            (true, _) => "the proof is for this entry, so the envelope was changed",
            (false, true) => "the proof is for this envelope, so the bundle is not from the log",
            (false, false) => "the proof is for neither",
        };
        let detail = format!(
            "the log's entry is {entry}, but the envelope hashes to {commitment}; {culprit}"
        );
        Step { name: ENTRY_IS_HASH, detail, passed: false }
    }

    pub(crate) fn verify_inclusion(&self, entry: &Hash) -> Result<(), Box<dyn Error>> {
        let leaf_hash = leaf_hash(entry.as_bytes());
        verify_inclusion(self.leaf, &leaf_hash, &self.proof.hashes, &self.checkpoint.root)?;
        Ok(())
    }

    /// Verifies the signature. A key signs only trees that contain the leaf that names it. A
    /// signature over a smaller tree is older than the key, or comes from someone who has the key
    /// but not the log.
    fn verify_signature(&self, Key { leaf, vkey }: &Key) -> Result<VerifierKey, Box<dyn Error>> {
        let key = VerifierKey::parse(vkey)?;
        self.verify_signed_by(&key)?;
        let size = self.checkpoint.size.get();
        if *leaf > 0 && size <= *leaf {
            return Err(format!(
                "the checkpoint covers {size} leaves, so it is older than the key that leaf {leaf} names"
            )
            .into());
        }
        Ok(key)
    }

    pub(crate) fn verify_signed_by(&self, key: &VerifierKey) -> Result<(), Box<dyn Error>> {
        Checkpoint::verify(&self.proof.checkpoint, key, key.name().as_str())?;
        Ok(())
    }
}

fn passed(name: &'static str, detail: String) -> Step {
    Step { name, detail, passed: true }
}

fn failed(name: &'static str, error: &(dyn Error + 'static)) -> Step {
    Step { name, detail: in_words(error), passed: false }
}

/// An error with all its causes, in one line.
pub(crate) fn in_words(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use tlog::{
        KeyName, Origin, ShortTile, SignedNote, Signer, TileId, TreeSize, inclusion_proof, root_of,
    };

    use super::*;

    const NAME: &str = "sealwire.local/plant-1";
    const LEAVES: u64 = 300;
    const LEAF: u64 = 290;

    /// Everything that a site serves of one leaf.
    struct Served {
        envelope: Vec<u8>,
        proof: TlogProof,
        bundle: Vec<u8>,
        vkey: String,
        named_at: u64,
    }

    impl Served {
        fn good() -> Self {
            let signer = signer(NAME, 1);
            let entries: Vec<_> =
                (0..LEAVES).map(|leaf| Hash::sha256(&envelope(leaf)).as_bytes().to_vec()).collect();
            let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
            let size = TreeSize::new(LEAVES);
            let leaf = size.leaf(tlog::LeafIndex::new(LEAF)).unwrap();
            let read_tile = |id: &TileId| {
                let tile = match id.level.get() {
                    0 => {
                        leaves.chunks(256).nth(usize::try_from(id.index).unwrap()).unwrap().to_vec()
                    }
                    _ => vec![root_of(&leaves[..256])],
                };
                Ok::<_, ShortTile>(tile)
            };
            let checkpoint = Checkpoint::new(Origin::parse(NAME).unwrap(), size, root_of(&leaves));
            Self {
                envelope: envelope(LEAF),
                proof: TlogProof {
                    index: leaf.index(),
                    hashes: inclusion_proof(leaf, read_tile).unwrap(),
                    checkpoint: SignedNote::parse(&checkpoint.sign(&signer)).unwrap(),
                    extra: None,
                },
                bundle: EntryBundle::new(entries[256..].to_vec()).unwrap().encode(),
                vkey: signer.vkey().to_string(),
                named_at: 0,
            }
        }

        /// Replaces `old` with `new` in the checkpoint's note.
        fn replace_in_checkpoint(&mut self, old: &str, new: &str) {
            let note = self.proof.checkpoint.to_string();
            assert!(note.contains(old), "{note}");
            self.proof.checkpoint = SignedNote::parse(&note.replace(old, new)).unwrap();
        }

        fn verify(&self) -> Vec<Step> {
            let key = Key { leaf: self.named_at, vkey: self.vkey.clone() };
            verify_leaf(LEAF, &self.envelope, &self.proof.to_string(), &self.bundle, &key)
        }
    }

    fn envelope(leaf: u64) -> Vec<u8> {
        format!(r#"{{"event":{{"message":"{leaf}"}}}}"#).into_bytes()
    }

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::from_seed(KeyName::parse(name).unwrap(), &[seed; 32])
    }

    /// Tampers with the served data and checks which steps fail. All other steps must run and pass.
    #[track_caller]
    fn check(tamper: impl FnOnce(&mut Served), failing: &[&str]) -> Vec<Step> {
        let mut served = Served::good();
        tamper(&mut served);
        let steps = served.verify();
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        assert_eq!(
            names,
            [
                PROOF_READABLE,
                LEAF_ASKED_FOR,
                BUNDLE_HOLDS_LEAF,
                ENTRY_IS_HASH,
                PROOF_LEADS_TO_ROOT,
                CHECKPOINT_SIGNED
            ],
            "{steps:#?}"
        );
        let failed: Vec<_> =
            steps.iter().filter(|step| !step.passed).map(|step| step.name).collect();
        assert_eq!(failed, failing, "{steps:#?}");
        steps
    }

    #[test]
    fn a_good_leaf_passes_every_step() {
        let steps = check(|_served| (), &[]);
        assert_eq!(steps[0].detail, "leaf 290 of 300 in `sealwire.local/plant-1`, with 6 hashes");
    }

    #[test]
    fn a_full_bundle_will_do_for_a_partial_one() {
        check(
            |served| {
                let mut entries = EntryBundle::decode(&served.bundle).unwrap().entries().to_vec();
                entries.resize(256, vec![0; 32]);
                served.bundle = EntryBundle::new(entries).unwrap().encode();
            },
            &[],
        );
    }

    #[test]
    fn a_changed_envelope_is_not_the_one_that_was_sealed() {
        let steps = check(|served| served.envelope[20] ^= 1, &[ENTRY_IS_HASH, PROOF_LEADS_TO_ROOT]);
        assert!(steps[3].detail.ends_with("the envelope was changed"));
    }

    #[test]
    fn a_changed_bundle_is_not_the_log_s() {
        // Entry 34 of 32 bytes; each entry has a length prefix of two bytes.
        let steps = check(|served| served.bundle[34 * 34 + 10] ^= 1, &[ENTRY_IS_HASH]);
        assert!(steps[3].detail.ends_with("the bundle is not from the log"));
    }

    #[test]
    fn a_changed_proof_leads_elsewhere() {
        check(|served| served.proof.hashes.swap(0, 1), &[PROOF_LEADS_TO_ROOT]);
        check(|served| served.proof.hashes.truncate(5), &[PROOF_LEADS_TO_ROOT]);
    }

    #[test]
    fn the_proof_of_another_leaf_does_not_do() {
        check(
            |served| served.proof.index = tlog::LeafIndex::new(LEAF - 1),
            &[LEAF_ASKED_FOR, ENTRY_IS_HASH, PROOF_LEADS_TO_ROOT],
        );
    }

    #[test]
    fn a_changed_root_is_neither_led_to_nor_signed() {
        check(
            |served| {
                let text = served.proof.checkpoint.unverified_text();
                let root = Checkpoint::parse(text).unwrap().root.to_base64();
                served.replace_in_checkpoint(&root, &Hash::sha256(b"other").to_base64());
            },
            &[PROOF_LEADS_TO_ROOT, CHECKPOINT_SIGNED],
        );
    }

    #[test]
    fn a_changed_signature_is_refused() {
        let steps = check(
            |served| {
                let good = served.proof.checkpoint.signatures()[0].clone();
                let mut bad = good.clone();
                bad.bytes[5] ^= 1;
                served.replace_in_checkpoint(&good.to_string(), &bad.to_string());
            },
            &[CHECKPOINT_SIGNED],
        );
        assert!(steps[5].detail.contains("does not match this text"), "{}", steps[5].detail);
    }

    #[test]
    fn a_foreign_key_is_refused() {
        for (name, seed) in [(NAME, 2), ("sealwire.local/plant-2", 1)] {
            let steps = check(
                |served| served.vkey = signer(name, seed).vkey().to_string(),
                &[CHECKPOINT_SIGNED],
            );
            assert!(steps[5].detail.contains("from a known key"), "{}", steps[5].detail);
        }
        check(|served| served.vkey.push('!'), &[CHECKPOINT_SIGNED]);
    }

    #[test]
    fn a_checkpoint_from_before_the_key_is_refused() {
        check(|served| served.named_at = LEAVES - 1, &[]);
        let steps = check(|served| served.named_at = LEAVES, &[CHECKPOINT_SIGNED]);
        assert!(steps[5].detail.contains("is older than the key"), "{}", steps[5].detail);
    }

    #[test]
    fn the_checkpoint_of_another_log_is_refused() {
        let steps = check(
            |served| {
                let text = served.proof.checkpoint.unverified_text().replace(NAME, "another log");
                served.proof.checkpoint = SignedNote::sign(&text, &signer(NAME, 1)).unwrap();
            },
            &[CHECKPOINT_SIGNED],
        );
        assert_eq!(
            steps[5].detail,
            "the checkpoint is from the log `another log`, not from `sealwire.local/plant-1`"
        );
    }

    #[test]
    fn a_bundle_without_the_leaf_leaves_the_comparison_out() {
        for (bundle, reason) in [
            (vec![], "empty"),
            (vec![0, 5, 1], "ends within entry 0"),
            (vec![0, 1, 7], "the leaf is entry 34 of its bundle, but the bundle has only 1"),
            ([0, 1, 7].repeat(40), "the entry has 1 bytes, not 32"),
        ] {
            let steps = Served { bundle, ..Served::good() }.verify();
            assert_eq!(
                steps.iter().map(|step| step.passed).collect::<Vec<_>>(),
                [true, true, false, true, true]
            );
            assert_eq!(steps[2].name, BUNDLE_HOLDS_LEAF);
            assert!(steps[2].detail.contains(reason), "{}", steps[2].detail);
        }
    }

    #[test]
    fn without_a_proof_nothing_else_is_checked() {
        let good = Served::good();
        let proof = good.proof.to_string();
        for (proof, reason) in [
            (String::new(), "no checkpoint"),
            (proof.replace("index 290", "index 300"), "leaf 300 is not in a tree of 300 leaves"),
            (proof.replace("\n300\n", "\n0300\n"), "`0300` is not the size of a tree"),
        ] {
            let key = Key { leaf: 0, vkey: good.vkey.clone() };
            let steps = verify_leaf(LEAF, &good.envelope, &proof, &good.bundle, &key);
            let [Step { name: PROOF_READABLE, passed: false, detail }] = &steps[..] else {
                panic!("{steps:#?}");
            };
            assert!(detail.contains(reason), "{detail}");
        }
    }
}
