//! RFC 6962 and tlog-tiles written down once more, as their definitions read: slow and obvious.

use tlog::{Hash, LeafInTree, LeafIndex, ShortTile, TileId, TreeSize, leaf_hash, node_hash};

/// §2.1: MTH of leaves that are already hashed.
pub(crate) fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => tlog::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(largest_power_of_two_below(leaves.len()));
            node_hash(&tree_hash(left), &tree_hash(right))
        }
    }
}

/// §2.1.1: PATH.
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = largest_power_of_two_below(leaves.len());
    let (left, right) = leaves.split_at(k);
    if m < k {
        [path(m, left), vec![tree_hash(right)]].concat()
    } else {
        [path(m - k, right), vec![tree_hash(left)]].concat()
    }
}

/// §2.1.2: SUBPROOF; PROOF is the one with `known`.
pub(crate) fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { vec![] } else { vec![tree_hash(leaves)] };
    }
    let k = largest_power_of_two_below(leaves.len());
    let (left, right) = leaves.split_at(k);
    if m <= k {
        [subproof(m, left, known), vec![tree_hash(right)]].concat()
    } else {
        [subproof(m - k, right, false), vec![tree_hash(left)]].concat()
    }
}

/// tlog-tiles: the hashes of a tile by their formula, `MTH(D[(n*256+i)*256^l :
/// (n*256+i+1)*256^l])`.
pub(crate) fn tile(id: &TileId, leaves: &[Hash]) -> Vec<Hash> {
    let span = 256_usize.pow(u32::from(id.level.get()));
    let first = usize::try_from(id.index).unwrap() * 256;
    (first..first + id.width.count()).map(|i| tree_hash(&leaves[i * span..][..span])).collect()
}

/// Reads tiles of a tree, and insists that none is read twice.
pub(crate) fn tiles_read_once(
    leaves: &[Hash],
) -> impl FnMut(&TileId) -> Result<Vec<Hash>, ShortTile> {
    let mut read = std::collections::BTreeSet::new();
    move |id| {
        assert!(read.insert(*id), "{id} is read twice");
        Ok(tile(id, leaves))
    }
}

/// As many leaves, all of them different.
pub(crate) fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(index.to_string().as_bytes())).collect()
}

pub(crate) fn size_of(leaves: &[Hash]) -> TreeSize {
    TreeSize::new(leaves.len() as u64)
}

#[track_caller]
pub(crate) fn leaf(index: usize, size: usize) -> LeafInTree {
    TreeSize::new(size as u64).leaf(LeafIndex::new(index as u64)).unwrap()
}

fn largest_power_of_two_below(count: usize) -> usize {
    count.next_power_of_two() / 2
}
