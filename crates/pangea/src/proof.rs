//! Proofs in Pangea's tree, in the SDKs' format. A leaf is the SHA-256 of the envelope, a node the
//! SHA-256 of left and right child, and the tree has the shape of RFC 6962.
//!
//! A step is `l:` or `r:`, the side of the sibling, followed by the sibling's hash in hex. Steps
//! lead from the leaf to the root. The SDKs disagree about an empty proof, so this module never
//! makes one: if a proof would have no steps, it returns `None`.

use tlog::{
    Growth, Hash, LeafInTree, LeafIndex, NodeHash as _, Pangea, Subtree, TreeSize,
    inclusion_proof_from_subtrees,
};

use crate::recompute::{Side, fold, parse_hash, steps};

/// Proof that a leaf is in the tree; `None` for a tree of one leaf.
///
/// # Errors
/// The error of `subtree_hash`.
pub fn membership<E>(
    leaf: LeafInTree,
    subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Option<String>, E> {
    let steps = path(leaf, 0, subtree_hash)?;
    Ok((!steps.is_empty()).then(|| steps.join(",")))
}

/// Proof that the later tree begins with the earlier one: a line for each peak of the earlier tree,
/// from right to left, with its path to the root of the later tree. `None` if the trees are equal
/// or the earlier one is empty.
///
/// # Errors
/// The error of `subtree_hash`.
pub fn consistency<E>(
    growth: Growth,
    mut subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Option<Vec<String>>, E> {
    let (old, new) = (growth.old_size(), growth.new_size());
    if old == TreeSize::EMPTY || old == new {
        return Ok(None);
    }
    let mut lines = Vec::new();
    for peak in peaks(old).rev() {
        let mut line = vec![format!("x:{}", hex::encode(subtree_hash(peak)?.as_bytes()))];
        let leaf = new.leaf(peak.begin()).expect("the later tree has the earlier one's leaves");
        line.extend(path(leaf, peak.height(), &mut subtree_hash)?);
        lines.push(line.join(","));
    }
    Ok(Some(lines))
}

/// What a consistency proof shows of a growth by these sizes: the roots of the earlier and of the
/// later tree.
///
/// # Errors
/// The lines are not such a proof.
pub fn grown(growth: Growth, lines: &[String]) -> Result<(Hash, Hash), String> {
    let (old, new) = (growth.old_size(), growth.new_size());
    let peaks: Vec<Subtree> = peaks(old).rev().collect();
    if peaks.len() != lines.len() {
        return Err(format!("it has {} lines, and {} are needed", lines.len(), peaks.len()));
    }
    let mut roots: Option<(Hash, Hash)> = None;
    for (peak, line) in peaks.into_iter().zip(lines) {
        let (begin, path) = line.split_once(',').ok_or("a line of it is no path")?;
        let hash = parse_hash(begin.strip_prefix("x:").ok_or("a line of it has no `x:`")?)?;
        let leaf = new.leaf(peak.begin()).map_err(|error| error.to_string())?;
        let way = sides(leaf).skip(usize::from(peak.height()));
        let steps: Vec<Side> =
            steps(path).map(|step| step.map(|(side, _)| side)).collect::<Result<_, _>>()?;
        if !way.eq(steps) {
            return Err("a line of it is the path of another part of the tree".to_owned());
        }
        let reached = fold(hash, path)?;
        roots = Some(match roots {
            None => (hash, reached),
            Some((old, new)) if new == reached => (Pangea::node(&hash, &old), new),
            Some(_) => return Err("its lines lead to different roots".to_owned()),
        });
    }
    roots.ok_or_else(|| "an empty tree has no consistency proof".to_owned())
}

/// Steps to the root from the subtree of this height that contains the leaf.
fn path<E>(
    leaf: LeafInTree,
    height: u8,
    subtree_hash: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Vec<String>, E> {
    let siblings = inclusion_proof_from_subtrees::<Pangea, E>(leaf, subtree_hash)?;
    let steps = sides(leaf).zip(siblings).skip(usize::from(height));
    let letter = |side| if side == Side::Left { 'l' } else { 'r' };
    let step =
        |(side, hash): (Side, Hash)| format!("{}:{}", letter(side), hex::encode(hash.as_bytes()));
    Ok(steps.map(step).collect())
}

/// The side of each sibling on the path, from the leaf up.
pub(crate) fn sides(leaf: LeafInTree) -> impl Iterator<Item = Side> {
    let (mut index, mut last) = (leaf.index().get(), leaf.size().get() - 1);
    std::iter::from_fn(move || {
        // A last node without a sibling moves up a level unchanged.
        while last > 0 && index == last && index % 2 == 0 {
            (index, last) = (index / 2, last / 2);
        }
        (last > 0).then(|| {
            let side = if index % 2 == 1 { Side::Left } else { Side::Right };
            (index, last) = (index / 2, last / 2);
            side
        })
    })
}

/// The perfect subtrees that make up a tree, from left to right.
fn peaks(size: TreeSize) -> impl DoubleEndedIterator<Item = Subtree> {
    let leaves = size.get();
    (0..63_u8).rev().filter(move |height| leaves >> height & 1 == 1).map(move |height| {
        let index = leaves >> (height + 1) << 1;
        Subtree::new(height, index).expect("a tree's own subtrees are within 64 bits")
    })
}

/// The leaf with this index, if a tree of this size has it.
#[must_use]
pub fn leaf_in(size: u64, leaf: u64) -> Option<LeafInTree> {
    TreeSize::new(size).leaf(LeafIndex::new(leaf)).ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tlog::Frontier;

    use super::*;

    fn leaf_hash(index: u64) -> Hash {
        Hash::sha256(&index.to_be_bytes())
    }

    fn subtree(subtree: Subtree) -> Result<Hash, Infallible> {
        let mut row: Vec<Hash> =
            (subtree.begin().get()..subtree.end().get()).map(leaf_hash).collect();
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| Pangea::node(&pair[0], &pair[1])).collect();
        }
        Ok(row[0])
    }

    fn root(size: u64) -> Hash {
        let Ok(frontier) = Frontier::<Pangea>::load_subtrees(TreeSize::new(size), subtree);
        frontier.root()
    }

    /// Folds the steps as the SDKs do.
    fn fold(begin: Hash, steps: &str) -> Hash {
        steps.split(',').filter(|step| !step.is_empty()).fold(begin, |hash, step| {
            let (side, sibling) = step.split_once(':').unwrap();
            let sibling = Hash::from_bytes(hex::decode(sibling).unwrap().try_into().unwrap());
            match side {
                "l" => Pangea::node(&sibling, &hash),
                "r" => Pangea::node(&hash, &sibling),
                other => panic!("a step to the {other}"),
            }
        })
    }

    #[test]
    fn every_leaf_of_every_tree_is_shown_to_be_in_it() {
        for size in 1..=33 {
            for index in 0..size {
                let Ok(proof) = membership(leaf_in(size, index).unwrap(), subtree);
                assert_eq!(proof.is_none(), size == 1, "no proof is empty");
                assert_eq!(
                    fold(leaf_hash(index), &proof.unwrap_or_default()),
                    root(size),
                    "{index} of {size}"
                );
            }
        }
    }

    #[test]
    fn every_tree_is_shown_to_begin_with_every_smaller_one() {
        for new in 1..=33 {
            for old in 0..=new {
                let growth = TreeSize::new(new).extends(TreeSize::new(old)).unwrap();
                let Ok(lines) = consistency(growth, subtree);
                let Some(lines) = lines else {
                    assert!(old == 0 || old == new);
                    continue;
                };
                assert_eq!(grown(growth, &lines), Ok((root(old), root(new))));
                for at in 0..lines.len() {
                    let mut others = lines.clone();
                    others.rotate_left(at);
                    let is_same = others == lines;
                    assert_eq!(grown(growth, &others).is_ok(), is_same, "{old} in {new}");
                }
                assert!(grown(growth, &lines[1..]).is_err());
                let mut peaks = lines.iter().map(|line| {
                    let (peak, path) = line.strip_prefix("x:").unwrap().split_once(',').unwrap();
                    let peak = Hash::from_bytes(hex::decode(peak).unwrap().try_into().unwrap());
                    assert_eq!(fold(peak, path), root(new), "{old} in {new}");
                    peak
                });
                let rightmost = peaks.next().unwrap();
                assert_eq!(
                    peaks.fold(rightmost, |right, left| Pangea::node(&left, &right)),
                    root(old)
                );
            }
        }
    }
}
