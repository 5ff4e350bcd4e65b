//! Proof files: what they prove, and what is refused.

use proptest::prelude::*;
use tlog::{
    Checkpoint, Hash, KeyName, LeafIndex, Origin, SignedNote, Signer, TlogProof,
    VerifyTlogProofError, leaf_hash, root_of,
};

use crate::oracle::{self, leaves, size_of};

fn signer(name: &str) -> Signer {
    Signer::from_seed(KeyName::parse(name).unwrap(), &[3; 32])
}

fn proof_of(index: usize, leaves: &[Hash]) -> TlogProof {
    let origin = Origin::parse("example.com/log").unwrap();
    let checkpoint = Checkpoint::new(origin, size_of(leaves), root_of(leaves));
    TlogProof {
        index: LeafIndex::new(index as u64),
        hashes: oracle::path(index, leaves),
        checkpoint: SignedNote::parse(&checkpoint.sign(&signer("example.com/log"))).unwrap(),
        extra: None,
    }
}

#[test]
fn a_proof_holds_for_its_leaf_only() {
    let leaves = leaves(15);
    let key = signer("example.com/log").vkey().clone();
    for (index, leaf) in leaves.iter().enumerate() {
        let proof = TlogProof::parse(&proof_of(index, &leaves).to_string()).unwrap();
        assert_eq!(proof.verify(leaf, &key).unwrap().size.get(), 15);

        let other_leaf = proof.verify(&leaf_hash(b"other"), &key);
        assert!(matches!(other_leaf, Err(VerifyTlogProofError::Inclusion(_))), "{other_leaf:?}");
        let other_key = proof.verify(leaf, signer("example.com/other").vkey());
        assert!(matches!(other_key, Err(VerifyTlogProofError::Checkpoint(_))), "{other_key:?}");
    }
}

#[test]
fn a_proof_of_a_leaf_beyond_its_checkpoint_is_refused() {
    let leaves = leaves(2);
    let proof = TlogProof { index: LeafIndex::new(2), ..proof_of(1, &leaves) };
    let refused = proof.verify(&leaves[1], signer("example.com/log").vkey());
    assert!(matches!(refused, Err(VerifyTlogProofError::Leaf(_))), "{refused:?}");
}

#[test]
fn malformed_proofs_are_refused() {
    let good = proof_of(1, &leaves(3)).to_string();
    let hash = leaf_hash(b"").to_base64();
    let (head, note) = good.split_once("\n\n").unwrap();
    let with_head = |head: &str| format!("{head}\n\n{note}");
    let first = "c2sp.org/tlog-proof@v1";
    for (proof, reason) in [
        (String::new(), "no checkpoint"),
        (head.to_owned(), "no checkpoint"),
        (format!("{head}\n\n"), "not a signed note"),
        (with_head("c2sp.org/tlog-proof@v2\nindex 1"), "first line"),
        (with_head(&format!(" {head}")), "first line"),
        (with_head(first), "is not an index"),
        (with_head(&format!("{first}\nindex 01")), "is not an index"),
        (with_head(&format!("{first}\nindex  1")), "is not an index"),
        (with_head(&format!("{first}\nindex 1\nextra AAAA")), "is not a hash"), // out of order
        (with_head(&format!("{first}\nextra !\nindex 1")), "extra data"),
        (with_head(&format!("{first}\nextra AAAA\nextra AAAA\nindex 1")), "is not an index"),
        (with_head(&format!("{first}\nextra {}\nindex 1", "AAAA".repeat(21_846))), "extra data"),
        (with_head(&format!("{first}\nindex 1\n{hash} ")), "is not a hash"),
        (with_head(&format!("{first}\r\nindex 1\r\n{hash}")), "first line"),
        (with_head(&format!("{first}\nindex 1{}", format!("\n{hash}").repeat(66))), "more than 65"),
    ] {
        let refused = TlogProof::parse(&proof).expect_err(&proof).to_string();
        let refused = refused.replace("a line of the proof is not a hash", "is not a hash");
        assert!(refused.contains(reason), "{proof:?}: {refused}");
    }
}

proptest! {
    #[test]
    fn proofs_round_trip(
        size in 1..300_usize, index: prop::sample::Index,
        extra: Option<Vec<u8>>,
    ) {
        let proof = TlogProof { extra, ..proof_of(index.index(size), &leaves(size)) };
        prop_assert_eq!(TlogProof::parse(&proof.to_string()), Ok(proof));
    }

    /// No changed byte of a proof file goes unnoticed.
    #[test]
    fn a_changed_proof_is_refused(at: prop::sample::Index, byte: u8) {
        let leaves = leaves(7);
        let mut proof = proof_of(3, &leaves).to_string().into_bytes();
        let at = at.index(proof.len());
        prop_assume!(proof[at] != byte);
        proof[at] = byte;
        if let Ok(proof) = TlogProof::parse(&String::from_utf8_lossy(&proof)) {
            prop_assert!(proof.verify(&leaves[3], signer("example.com/log").vkey()).is_err());
        }
    }
}
