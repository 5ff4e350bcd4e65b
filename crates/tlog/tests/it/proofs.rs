//! Roots and proofs: they equal their definitions, and are refused after any change.

use proptest::prelude::*;
use tlog::{
    ConsistencyError, Frontier, Growth, Hash, InclusionError, LeafIndex, ShortTile, TileId,
    TreeSize, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, root, root_of,
    verify_consistency, verify_inclusion,
};

use crate::oracle::{self, leaf, leaves, size_of, tiles_read_once};

/// Checks root, frontier and the inclusion proof of one leaf against their definitions.
#[track_caller]
fn check_tree(leaves: &[Hash], index: usize) {
    let expected_root = oracle::tree_hash(leaves);
    let size = size_of(leaves);
    assert_eq!(root(size, tiles_read_once(leaves)), Ok(expected_root));
    assert_eq!(root_of(leaves), expected_root);

    let leaf = leaf(index, leaves.len());
    let proof = inclusion_proof(leaf, tiles_read_once(leaves)).unwrap();
    assert_eq!(proof, oracle::path(index, leaves));
    assert_eq!(verify_inclusion(leaf, &leaves[index], &proof, &expected_root), Ok(()));
}

/// Checks the consistency proof of a tree and its first `old` leaves against its definition.
#[track_caller]
fn check_growth(leaves: &[Hash], old: usize) {
    let (old_root, new_root) = (oracle::tree_hash(&leaves[..old]), oracle::tree_hash(leaves));
    let growth = growth(old as u64, leaves.len() as u64);
    let proof = consistency_proof(growth, tiles_read_once(leaves)).unwrap();
    if old > 0 {
        assert_eq!(proof, oracle::subproof(old, leaves, true));
    }
    assert_eq!(verify_consistency(growth, &old_root, &new_root, &proof), Ok(()));
}

/// Every proof that differs from `proof` in one way.
fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut mutations = vec![[proof, &[leaf_hash(b"more")]].concat()];
    for at in 0..proof.len() {
        let mut dropped = proof.to_vec();
        dropped.remove(at);
        mutations.push(dropped);
        let mut flipped = proof.to_vec();
        flipped[at] = flip(&proof[at]);
        mutations.push(flipped);
        let mut doubled = proof.to_vec();
        doubled.insert(at, proof[at]);
        mutations.push(doubled);
        if at > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at - 1, at);
            mutations.push(swapped);
        }
    }
    mutations
}

fn flip(hash: &Hash) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[17] ^= 4;
    Hash::from_bytes(bytes)
}

#[track_caller]
fn growth(old: u64, new: u64) -> Growth {
    TreeSize::new(new).extends(TreeSize::new(old)).unwrap()
}

/// Tiles of a tree whose leaves are all equal. Such a tree can have any size.
fn tiles_of_uniform_tree(id: &TileId) -> Result<Vec<Hash>, ShortTile> {
    let height = u32::from(id.level.get()) * 8;
    let hash = (0..height).fold(leaf_hash(b""), |hash, _height| node_hash(&hash, &hash));
    Ok(vec![hash; id.width.count()])
}

#[test]
fn small_trees_have_the_proofs_of_the_definition() {
    for size in 1..=40 {
        let leaves = leaves(size);
        (0..size).for_each(|index| check_tree(&leaves, index));
        (0..=size).for_each(|old| check_growth(&leaves, old));
    }
}

#[test]
fn trees_at_the_edges_of_tiles_have_the_proofs_of_the_definition() {
    for size in [255, 256, 257, 511, 512, 513] {
        let leaves = leaves(size);
        [0, size / 3, size - 1].iter().for_each(|index| check_tree(&leaves, *index));
        [0, 1, 255, size - 1, size].iter().for_each(|old| check_growth(&leaves, *old));
    }
    // Few of these: the definition hashes every leaf again for every hash of a proof.
    for (size, index, old) in [(65_536, 300, 65_280), (65_537, 65_536, 65_536)] {
        let leaves = leaves(size);
        check_tree(&leaves, index);
        check_growth(&leaves, old);
    }
}

#[test]
fn the_empty_tree_has_a_root_and_no_leaves() {
    assert_eq!(root(TreeSize::EMPTY, tiles_read_once(&[])), Ok(empty_root()));
    assert_eq!(Frontier::new().root(), empty_root());
    let refused = TreeSize::EMPTY.leaf(LeafIndex::new(0)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "leaf 0 is not in a tree of 0 leaves: use an index below the size"
    );
}

#[test]
fn a_log_only_grows() {
    let refused = TreeSize::new(3).extends(TreeSize::new(4)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a tree of 3 leaves does not extend one of 4: a log only grows"
    );
}

#[test]
fn growth_without_a_proof_still_compares_roots() {
    let (one, other) = (leaf_hash(b"one"), leaf_hash(b"other"));
    let empty = empty_root();
    //  (old, new, old root, new root, proof, whether it holds)
    for (old, new, old_root, new_root, proof, holds) in [
        (0, 0, empty, empty, vec![], true),
        (0, 9, empty, one, vec![], true), // anything extends nothing
        (0, 9, other, one, vec![], false), // nothing has one root
        (0, 0, empty, one, vec![], false), // on either side
        (0, 9, empty, one, vec![one], false), // there is nothing to prove
        (7, 7, one, one, vec![], true),
        (7, 7, one, other, vec![], false), // a split view
        (7, 7, one, one, vec![one], false),
        (1, 2, one, node_hash(&one, &other), vec![other], true),
        (1, 2, one, node_hash(&one, &other), vec![], false),
    ] {
        let result = verify_consistency(growth(old, new), &old_root, &new_root, &proof);
        assert_eq!(result.is_ok(), holds, "{old} to {new}: {result:?}");
    }
}

#[test]
fn a_frontier_goes_on_where_it_was_loaded() {
    let leaves = leaves(600);
    let mut grown = Frontier::new();
    for size in 0..leaves.len() {
        let loaded = Frontier::load(grown.size(), tiles_read_once(&leaves)).unwrap();
        assert_eq!(loaded, grown, "{size} leaves");
        assert_eq!(grown.append(leaves[size]), LeafIndex::new(size as u64));
    }
    assert_eq!(grown.root(), oracle::tree_hash(&leaves));
}

#[test]
fn a_tile_that_is_too_short_is_an_error() {
    let leaves = leaves(300);
    let short = |id: &TileId| Ok(oracle::tile(id, &leaves).split_off(1));
    let refused: ShortTile = root(size_of(&leaves), short).unwrap_err();
    assert_eq!(refused.to_string(), "`tile/0/001.p/44` has 43 hashes, not 44");
}

#[test]
fn a_fuller_tile_will_do() {
    let all = leaves(600);
    let fuller = |id: &TileId| {
        let fuller = TileId::in_tree(id.level, id.index, size_of(&all)).unwrap();
        Ok::<_, ShortTile>(oracle::tile(&fuller, &all))
    };
    for size in [1, 100, 256, 257, 599] {
        assert_eq!(root(TreeSize::new(size as u64), fuller), Ok(oracle::tree_hash(&all[..size])));
    }
}

#[test]
fn a_reader_s_error_is_passed_on() {
    #[derive(Debug, PartialEq)]
    struct Lost;
    impl From<ShortTile> for Lost {
        fn from(_short: ShortTile) -> Self {
            unreachable!("nothing was read")
        }
    }
    assert_eq!(inclusion_proof(leaf(3, 9), |_id| Err(Lost)), Err(Lost));
}

#[test]
fn refusals_say_what_was_found() {
    let leaf_hash = leaf_hash(b"");
    let refused = verify_inclusion(leaf(3, 7), &leaf_hash, &[], &leaf_hash).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "an inclusion proof of leaf 3 of 7 has 3 hashes, but this one has 0"
    );
    let refused = verify_consistency(growth(3, 7), &leaf_hash, &leaf_hash, &[]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a consistency proof of 7 leaves from 3 has 4 hashes, but this one has 0"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn trees_have_the_proofs_of_the_definition(size in 1..800_usize, index: prop::sample::Index) {
        let leaves = leaves(size);
        check_tree(&leaves, index.index(size));
        check_growth(&leaves, index.index(size + 1));
    }

    #[test]
    fn a_changed_inclusion_proof_is_refused(size in 1..400_usize, index: prop::sample::Index) {
        let leaves = leaves(size);
        let index = index.index(size);
        let (at, root) = (leaf(index, size), oracle::tree_hash(&leaves));
        let proof = oracle::path(index, &leaves);
        for mutation in mutations(&proof) {
            prop_assert!(verify_inclusion(at, &leaves[index], &mutation, &root).is_err());
        }
        let other_leaf = verify_inclusion(at, &flip(&leaves[index]), &proof, &root);
        let other_root = verify_inclusion(at, &leaves[index], &proof, &flip(&root));
        for refused in [other_leaf, other_root] {
            prop_assert!(matches!(refused, Err(InclusionError::Root { .. })), "{:?}", refused);
        }
        for other in (0..size).filter(|other| *other != index) {
            prop_assert!(verify_inclusion(leaf(other, size), &leaves[index], &proof, &root).is_err());
        }
    }

    #[test]
    fn a_changed_consistency_proof_is_refused(size in 2..400_usize, old: prop::sample::Index) {
        let leaves = leaves(size);
        let old = old.index(size - 1) + 1;
        let (old_root, new_root) = (oracle::tree_hash(&leaves[..old]), oracle::tree_hash(&leaves));
        let proof = oracle::subproof(old, &leaves, true);
        let growth = growth(old as u64, size as u64);
        for mutation in mutations(&proof) {
            prop_assert!(verify_consistency(growth, &old_root, &new_root, &mutation).is_err());
        }
        let refused = verify_consistency(growth, &old_root, &flip(&new_root), &proof);
        prop_assert!(matches!(refused, Err(ConsistencyError::NewRoot { .. })), "{:?}", refused);
        let refused = verify_consistency(growth, &flip(&old_root), &new_root, &proof);
        prop_assert!(refused.is_err());
    }

    #[test]
    fn trees_of_any_size_have_proofs(sizes: (u64, u64), index: u64) {
        let (old, new) = (sizes.0.min(sizes.1), sizes.0.max(sizes.1).max(1));
        let (old_size, new_size) = (TreeSize::new(old), TreeSize::new(new));
        let old_root = root(old_size, tiles_of_uniform_tree).unwrap();
        let new_root = root(new_size, tiles_of_uniform_tree).unwrap();
        let frontier = Frontier::load(new_size, tiles_of_uniform_tree).unwrap();
        prop_assert_eq!(frontier.root(), new_root);

        let proof = consistency_proof(growth(old, new), tiles_of_uniform_tree).unwrap();
        prop_assert_eq!(verify_consistency(growth(old, new), &old_root, &new_root, &proof), Ok(()));

        let leaf = new_size.leaf(LeafIndex::new(index % new)).unwrap();
        let proof = inclusion_proof(leaf, tiles_of_uniform_tree).unwrap();
        prop_assert_eq!(verify_inclusion(leaf, &leaf_hash(b""), &proof, &new_root), Ok(()));
    }

    #[test]
    fn no_proof_from_outside_causes_a_panic(
        sizes: (u64, u64), index: u64, proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<_> = proof.into_iter().map(Hash::from_bytes).collect();
        let root = empty_root();
        if let Ok(leaf) = TreeSize::new(sizes.0).leaf(LeafIndex::new(index)) {
            prop_assert!(verify_inclusion(leaf, &root, &proof, &root).is_err());
        }
        if let Ok(growth) = TreeSize::new(sizes.1).extends(TreeSize::new(sizes.0)) {
            let _verdict = verify_consistency(growth, &root, &root, &proof);
        }
    }
}
