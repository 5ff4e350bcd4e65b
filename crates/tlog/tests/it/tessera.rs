//! A log that Tessera wrote (transparency-dev/tessera, testdata): 15 entries, a checkpoint at each
//! size.

use std::fs;
use std::path::PathBuf;

use tlog::{
    Checkpoint, EntryBundle, Hash, ShortTile, TileId, TreeSize, VerifierKey, consistency_proof,
    decode_hashes, inclusion_proof, leaf_hash, root, root_of, verify_consistency, verify_inclusion,
};

const VKEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
const ENTRIES: [&str; 15] = [
    "one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten", "ileven", "twelf",
    "threeten", "fourten", "fivten",
];

#[track_caller]
fn read(path: &str) -> Vec<u8> {
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/tessera-log");
    let path = PathBuf::from(log).join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_tile(id: &TileId) -> Result<Vec<Hash>, ShortTile> {
    Ok(decode_hashes(id.width, &read(&id.to_string())).unwrap())
}

fn checkpoint(size: u64) -> Checkpoint {
    let note = String::from_utf8(read(&format!("checkpoint.{size}"))).unwrap();
    let checkpoint = Checkpoint::open(&note, &VerifierKey::parse(VKEY).unwrap()).unwrap();
    assert_eq!(checkpoint.size.get(), size);
    checkpoint
}

#[test]
fn every_checkpoint_has_the_root_of_its_entries_and_of_its_tiles() {
    assert_eq!(checkpoint(0).root, root_of(&[]));
    for size in 1..=15 {
        let checkpoint = checkpoint(size);
        let bundles: Vec<_> = checkpoint.size.bundles().collect();
        let [bundle] = bundles[..] else { panic!("{size} entries are one bundle") };
        let bytes = read(&bundle.to_string());
        let bundle = EntryBundle::decode(&bytes).unwrap();
        assert_eq!(bundle.encode(), bytes);
        assert!(
            bundle
                .entries()
                .iter()
                .eq(ENTRIES[..bundle.width().count()].iter().map(|entry| entry.as_bytes()))
        );

        assert_eq!(root_of(&bundle.leaf_hashes()), checkpoint.root, "{size} leaves");
        assert_eq!(root(checkpoint.size, read_tile), Ok(checkpoint.root), "{size} leaves");
        for tile in checkpoint.size.tiles() {
            assert_eq!(read_tile(&tile), Ok(bundle.leaf_hashes()), "{tile}");
        }
    }
}

#[test]
fn every_leaf_is_proved_in_every_tree() {
    for size in 1..=15 {
        let root = checkpoint(size).root;
        for (index, entry) in (0..size).zip(ENTRIES) {
            let leaf = TreeSize::new(size).leaf(tlog::LeafIndex::new(index)).unwrap();
            let proof = inclusion_proof(leaf, read_tile).unwrap();
            let entry = leaf_hash(entry.as_bytes());
            assert_eq!(verify_inclusion(leaf, &entry, &proof, &root), Ok(()), "{leaf}");
        }
    }
}

#[test]
fn every_tree_is_proved_to_extend_every_smaller_one() {
    for new in (0..=15).map(checkpoint) {
        for old in (0..=new.size.get()).map(checkpoint) {
            let growth = new.size.extends(old.size).unwrap();
            let proof = consistency_proof(growth, read_tile).unwrap();
            let verdict = verify_consistency(growth, &old.root, &new.root, &proof);
            assert_eq!(verdict, Ok(()), "{growth}");
        }
    }
}
