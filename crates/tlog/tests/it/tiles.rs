//! Tiles: their names, the tiles of a tree, and their content.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tlog::{
    BundleId, LeafIndex, Subtree, TileId, TileLevel, TilePath, TileWidth, TreeSize, decode_hashes,
    encode_hashes,
};

use crate::oracle::{self, leaves, size_of};

fn tiles_of(size: u64) -> Vec<String> {
    TreeSize::new(size).tiles().map(|tile| tile.to_string()).collect()
}

#[test]
fn paths_are_those_of_the_specification() {
    for path in [
        "tile/0/000",
        "tile/0/x001/x234/067",
        "tile/0/x001/x234/067.p/12",
        "tile/63/999.p/255",
        "tile/7/x018/x446/x744/x073/x709/x551/615", // the highest index
        "tile/entries/000",
        "tile/entries/x001/000.p/1",
    ] {
        assert_eq!(TilePath::parse(path).unwrap().to_string(), path);
    }
    let Ok(TilePath::Hashes(tile)) = TilePath::parse("tile/3/x001/x234/067.p/12") else {
        panic!("a tile of hashes");
    };
    assert_eq!((tile.level.get(), tile.index, tile.width.count()), (3, 1_234_067, 12));
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    for (path, reason) in [
        ("", "is not a tile"),
        ("tile", "is not a tile"),
        ("tile/0", "is not a tile"),
        ("/tile/0/000", "is not a tile"),
        ("tiles/0/000", "is not a tile"),
        ("tile//000", "no valid tile level"),
        ("tile/00/000", "no valid tile level"),
        ("tile/64/000", "no valid tile level"),
        ("tile/-1/000", "no valid tile level"),
        ("tile/data/000", "no valid tile level"),
        ("tile/0/", "no valid tile index"),
        ("tile/0/0", "no valid tile index"),
        ("tile/0/1000", "no valid tile index"),
        ("tile/0/+12", "no valid tile index"),
        ("tile/0/x00", "no valid tile index"),
        ("tile/0/x001", "no valid tile index"),
        ("tile/0/001/000", "no valid tile index"),
        ("tile/0/x000/001", "no valid tile index"), // shorter without the zeros
        ("tile/0/x001/x000", "no valid tile index"),
        ("tile/0/X001/000", "no valid tile index"),
        ("tile/0/../000", "no valid tile index"),
        ("tile/0/000/", "no valid tile index"),
        ("tile/0/000.p", "no valid tile index"),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", "no valid tile index"), // one more than 64 bits
        ("tile/0/x001/x000/x000/x000/x000/x000/x000/000", "no valid tile index"),
        ("tile/0/000.p/", "no valid width"),
        ("tile/0/000.p/0", "no valid width"),
        ("tile/0/000.p/01", "no valid width"),
        ("tile/0/000.p/256", "no valid width"),
        ("tile/0/000.p/1/", "no valid width"),
        ("tile/0/000.p/1.p/1", "no valid width"),
    ] {
        let refused = TilePath::parse(path).expect_err(path).to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_tree_has_the_tiles_of_the_specification_s_examples() {
    assert_eq!(tiles_of(0), [""; 0]);
    assert_eq!(tiles_of(256), ["tile/0/000", "tile/1/000.p/1"]);

    let tiles = tiles_of(70_000);
    assert_eq!(tiles.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(
        tiles[273..],
        ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
}

#[test]
fn a_leaf_s_bundle_is_as_wide_as_the_tree_has_it() {
    //  (leaf, tree, bundle, offset)
    for (index, size, bundle, offset) in [
        (0, 1, "tile/entries/000.p/1", 0),
        (255, 256, "tile/entries/000", 255),
        (255, 300, "tile/entries/000", 255),
        (256, 300, "tile/entries/001.p/44", 0),
        (u64::MAX - 1, u64::MAX, "tile/entries/x072/x057/x594/x037/x927/935.p/255", 254),
    ] {
        let leaf = TreeSize::new(size).leaf(LeafIndex::new(index)).unwrap();
        assert_eq!(leaf.bundle().to_string(), bundle, "{leaf}");
        assert_eq!(leaf.index().offset_in_tile(), offset, "{leaf}");
    }
}

#[test]
fn a_tile_is_its_hashes_and_nothing_else() {
    let hashes = leaves(3);
    let width = TileWidth::from_count(3).unwrap();
    let bytes = encode_hashes(&hashes);
    assert_eq!(bytes.len(), 96);
    assert_eq!(decode_hashes(width, &bytes), Ok(hashes));
    for len in [0, 1, 64, 95] {
        decode_hashes(width, &bytes[..len]).expect_err("too short");
    }
    let refused = decode_hashes(width, &[0; 97]).unwrap_err();
    assert_eq!(refused.to_string(), "a tile has 97 bytes, but a tile of its width has 96");
}

#[test]
fn every_subtree_is_computed_from_one_tile() {
    let leaves = leaves(70_000);
    let size = size_of(&leaves);
    for (height, index) in
        [(0, 69_999), (1, 34_999), (4, 17), (7, 300), (8, 272), (9, 100), (12, 16), (16, 0)]
    {
        let subtree = Subtree::new(height, index).unwrap();
        let tile = subtree.tile(size).unwrap();
        let hash = subtree.hash_from_tile(&oracle::tile(&tile, &leaves));
        let begin = usize::try_from(subtree.begin().get()).unwrap();
        let end = usize::try_from(subtree.end().get()).unwrap();
        assert_eq!(hash, Some(oracle::tree_hash(&leaves[begin..end])), "{subtree:?} in {tile}");
    }
    let unfinished = Subtree::new(8, 273).unwrap();
    assert_eq!(unfinished.tile(size), None);
    Subtree::new(64, 0).expect_err("too high");
    Subtree::new(63, 1).expect_err("too far to the right");
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0..=63_u8, index: u64, count in 1..=256_usize) {
        let width = TileWidth::from_count(count).unwrap();
        let tile = TileId { level: TileLevel::new(level).unwrap(), index, width };
        prop_assert_eq!(TilePath::parse(&tile.to_string()), Ok(TilePath::Hashes(tile)));
        let bundle = BundleId { index, width };
        prop_assert_eq!(TilePath::parse(&bundle.to_string()), Ok(TilePath::Entries(bundle)));
    }

    #[test]
    fn what_parses_is_canonical(path in "tile/(0|7|63|64|entries)/(x?[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = TilePath::parse(&path) {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn no_path_causes_a_panic(path: String) {
        prop_assert!(TilePath::parse(&path).is_err());
    }

    /// A writer that stores only the new tiles at each step ends with all tiles of the tree.
    #[test]
    fn growing_adds_what_is_missing(sizes in prop::collection::vec(0..200_000_u64, 1..6)) {
        let mut sizes = sizes;
        sizes.sort_unstable();
        let mut stored = BTreeMap::new();
        let mut bundles = BTreeMap::new();
        let mut old = TreeSize::EMPTY;
        for size in sizes.iter().copied().map(TreeSize::new) {
            let growth = size.extends(old).unwrap();
            stored.extend(growth.tiles().map(|tile| ((tile.level, tile.index), tile)));
            bundles.extend(growth.bundles().map(|bundle| (bundle.index, bundle)));
            old = size;
        }
        prop_assert!(stored.into_values().eq(old.tiles()));
        prop_assert!(bundles.into_values().eq(old.bundles()));
    }

    #[test]
    fn a_tree_has_as_many_hashes_on_a_level_as_the_definition_says(size in 0..5_000_000_u64) {
        for level in 0..4_u8 {
            let hashes: usize = TreeSize::new(size)
                .tiles()
                .filter(|tile| tile.level.get() == level)
                .map(|tile| tile.width.count())
                .sum();
            prop_assert_eq!(hashes as u64, size / 256_u64.pow(level.into()));
        }
    }
}
