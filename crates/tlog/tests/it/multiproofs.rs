//! Proofs of several leaves: they verify for any leaves of any tree, and fail after any change.

use std::collections::BTreeSet;

use proptest::{collection::btree_set, prelude::*, sample::Index};
use tlog::{
    Hash, InvalidLeaves, LeafIndex, LeavesInTree, MultiproofError, Rfc6962, TreeSize,
    inclusion_proof, leaf_hash, multiproof_from_subtrees, verify_multiproof,
};

use crate::oracle::{self, leaf, leaves, size_of, tiles_read_once};

fn in_tree(size: TreeSize, indices: &BTreeSet<usize>) -> LeavesInTree {
    LeavesInTree::new(size, indices.iter().map(|index| LeafIndex::new(*index as u64))).unwrap()
}

fn prove(leaves: &[Hash], proved: &LeavesInTree) -> Vec<Hash> {
    multiproof_from_subtrees::<Rfc6962, std::convert::Infallible>(proved, |subtree| {
        let begin = usize::try_from(subtree.begin().get()).unwrap();
        Ok(oracle::tree_hash(&leaves[begin..][..1 << subtree.height()]))
    })
    .unwrap()
}

/// A tree and some of its leaves.
fn tree_and_some() -> impl Strategy<Value = (Vec<Hash>, BTreeSet<usize>)> {
    (1..70_usize).prop_flat_map(|size| {
        let some = btree_set(0..size, 1..=size);
        some.prop_map(move |some| (leaves(size), some))
    })
}

proptest! {
    #[test]
    fn any_leaves_are_proved((leaves, some) in tree_and_some()) {
        let proved = in_tree(size_of(&leaves), &some);
        let proof = prove(&leaves, &proved);
        let hashes: Vec<Hash> = some.iter().map(|index| leaves[*index]).collect();
        let root = oracle::tree_hash(&leaves);
        prop_assert_eq!(verify_multiproof(&proved, &hashes, &proof, &root), Ok(()));
        let alone = |index: &usize| inclusion_proof(leaf(*index, leaves.len()), tiles_read_once(&leaves)).unwrap().len();
        prop_assert!(proof.len() <= some.iter().map(alone).sum());
    }

    #[test]
    fn whatever_is_changed_is_noticed((leaves, some) in tree_and_some(), at: Index, what in 0..4) {
        let proved = in_tree(size_of(&leaves), &some);
        let mut proof = prove(&leaves, &proved);
        let mut hashes: Vec<Hash> = some.iter().map(|index| leaves[*index]).collect();
        let root = oracle::tree_hash(&leaves);
        let other = leaf_hash(b"other");
        match what {
            0 => *at.get_mut(&mut hashes) = other,
            1 if !proof.is_empty() => *at.get_mut(&mut proof) = other,
            2 if !proof.is_empty() => drop(proof.remove(at.index(proof.len()))),
            _ => proof.insert(at.index(proof.len() + 1), other),
        }
        prop_assert!(verify_multiproof(&proved, &hashes, &proof, &root).is_err());
    }
}

#[test]
fn the_proof_of_one_leaf_is_its_audit_path_from_left_to_right() {
    let all = leaves(7);
    let proof = prove(&all, &in_tree(size_of(&all), &BTreeSet::from([2])));
    let path = inclusion_proof(leaf(2, 7), tiles_read_once(&all)).unwrap();
    let sorted = |mut hashes: Vec<Hash>| {
        hashes.sort_unstable();
        hashes
    };
    assert_eq!(sorted(proof), sorted(path));
}

#[test]
fn leaves_are_named_in_order_and_within_the_tree() {
    let refusal = |size, indices: &[u64]| {
        let indices = indices.iter().map(|index| LeafIndex::new(*index));
        LeavesInTree::new(TreeSize::new(size), indices).unwrap_err()
    };
    assert!(matches!(refusal(3, &[0, 3]), InvalidLeaves::NotInTree(_)));
    assert!(matches!(refusal(3, &[1, 0]), InvalidLeaves::Order { .. }));
    assert!(matches!(refusal(3, &[1, 1]), InvalidLeaves::Order { .. }));
    let none = LeavesInTree::new(TreeSize::EMPTY, []).unwrap();
    let unasked = verify_multiproof(&none, &[leaf_hash(b"x")], &[], &tlog::empty_root());
    assert!(matches!(unasked, Err(MultiproofError::Leaves { expected_len: 0, len: 1 })));
}
