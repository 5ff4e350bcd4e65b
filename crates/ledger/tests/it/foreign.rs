//! Logs that other programs wrote, in the layout of C2SP tlog-tiles: only the tree and the
//! signature say anything, and a verifier needs to know the key beforehand.

use std::collections::BTreeMap;

use ledger::verify::{
    GrowthError, KeyEvent, KnownLog, LogKeys, LogSource, NoKeys, OpenLogError, VerifyError,
    verify_growth, verify_tree,
};
use proptest::prelude::*;
use tlog::{
    Checkpoint, EntryBundle, Hash, OpenCheckpointError, Origin, Signer, TilePath, TreeSize,
    encode_hashes, leaf_hash, root_of,
};

use super::features::other_signer;

/// A tile of level 1 that is full, and more.
const LARGE: u64 = 256 * 256 + 300;

/// The files of a log.
#[derive(Clone)]
struct TileLog {
    note: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl LogSource for TileLog {
    fn checkpoint(&self) -> Result<String, String> {
        Ok(self.note.clone())
    }

    fn key_events(&self) -> Result<Option<Vec<KeyEvent>>, String> {
        Ok(None)
    }

    fn file(&self, path: TilePath) -> Result<Option<impl AsRef<[u8]>>, String> {
        Ok(self.files.get(&path.to_string()))
    }
}

impl TileLog {
    /// A log of `size` entries of all lengths, signed by `signer`, with the files that its
    /// checkpoint requires.
    fn of(size: u64, signer: &Signer) -> Self {
        let entry = |leaf: u64| leaf.to_string().repeat((leaf % 40) as usize).into_bytes();
        let entries: Vec<_> = (0..size).map(entry).collect();
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let size = TreeSize::new(size);
        let mut files = BTreeMap::new();
        let mut put = |path: TilePath, bytes| files.insert(path.to_string(), bytes);
        for (bundle, entries) in size.bundles().zip(entries.chunks(256)) {
            let bytes = EntryBundle::new(entries.to_vec()).unwrap().encode();
            put(TilePath::Entries(bundle), bytes);
        }
        let mut level = leaves.clone();
        let mut tiles = size.tiles().peekable();
        while let Some(first) = tiles.peek().copied() {
            for hashes in level.chunks(256) {
                let tile = tiles.next().unwrap();
                assert_eq!(tile.level, first.level);
                put(TilePath::Hashes(tile), encode_hashes(hashes));
            }
            level = level.as_chunks::<256>().0.iter().map(|hashes| root_of(hashes)).collect();
        }
        let origin = Origin::parse(signer.vkey().name().as_str()).unwrap();
        let note = Checkpoint::new(origin, size, root_of(&leaves)).sign(signer);
        Self { note, files }
    }

    fn verify(&self, known: &KnownLog) -> Result<u64, VerifyError> {
        let verified = verify_tree(self, Some(known), &mut |_| {})?;
        assert!(matches!(verified.keys, LogKeys::Known(_)));
        assert_eq!(verified.files, self.files.len() as u64);
        Ok(verified.checkpoint.size.get())
    }

    /// The words with which the log is refused after one bit of a file has changed.
    #[track_caller]
    fn with_changed_bit(&self, path: &str, at: usize) -> String {
        let mut changed = self.clone();
        changed.files.get_mut(path).unwrap()[at] ^= 1;
        changed.verify(&known()).expect_err(path).to_string()
    }
}

fn known() -> KnownLog {
    other_signer(1).vkey().clone().into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_log_of_any_size_verifies_with_its_key(size in 0..1_200_u64) {
        prop_assert_eq!(TileLog::of(size, &other_signer(1)).verify(&known()).unwrap(), size);
    }
}

#[test]
fn a_changed_bit_is_named_in_whichever_file_it_is() {
    let log = TileLog::of(LARGE, &other_signer(1));
    assert_eq!(log.verify(&known()).unwrap(), LARGE);
    for (path, at, words) in [
        (
            "tile/entries/001",
            // Within the first entry, after its length.
            2,
            "leaf 256: its entry in tile/entries/001 does not hash to the value in tile/0/001",
        ),
        (
            "tile/entries/257.p/44",
            2,
            "leaf 65792: its entry in tile/entries/257.p/44 does not hash to the value in tile/0/257.p/44",
        ),
        (
            "tile/0/255",
            8_191,
            "leaf 65535: its entry in tile/entries/255 does not hash to the value in tile/0/255",
        ),
        (
            "tile/0/257.p/44",
            0,
            "leaf 65792: its entry in tile/entries/257.p/44 does not hash to the value in tile/0/257.p/44",
        ),
        ("tile/1/000", 17, "tile/1/000 does not match the hashes of the tiles below it"),
        ("tile/1/001.p/1", 17, "tile/1/001.p/1 does not match the hashes of the tiles below it"),
        ("tile/2/000.p/1", 17, "tile/2/000.p/1 does not match the hashes of the tiles below it"),
    ] {
        assert_eq!(log.with_changed_bit(path, at), words);
    }
    // The second byte of the first entry's length.
    let refused = log.with_changed_bit("tile/entries/003", 1);
    assert!(refused.starts_with("tile/entries/003 is not an entry bundle"), "{refused}");
}

#[test]
fn the_first_fault_in_the_log_is_the_one_that_is_named() {
    let mut log = TileLog::of(LARGE, &other_signer(1));
    for path in ["tile/entries/250", "tile/entries/007", "tile/entries/100"] {
        log.files.remove(path);
    }
    for _ in 0..20 {
        let refused = log.verify(&known()).unwrap_err();
        assert!(
            matches!(&refused, VerifyError::Missing { path } if path == "tile/entries/007"),
            "{refused}"
        );
    }
}

#[test]
fn files_of_the_wrong_length_are_refused() {
    let log = TileLog::of(600, &other_signer(1));
    let with = |path: &str, bytes: &[u8]| {
        let mut changed = log.clone();
        changed.files.insert(path.to_owned(), bytes.to_vec());
        changed.verify(&known()).unwrap_err().to_string()
    };
    let (bundle, tile) = (&log.files["tile/entries/001"], &log.files["tile/0/001"]);
    let short = EntryBundle::new(EntryBundle::decode(bundle).unwrap().entries()[..255].to_vec());
    assert_eq!(
        with("tile/entries/001", &short.unwrap().encode()),
        "tile/entries/001 has 255 entries, but a bundle of its width has 256"
    );
    // A bundle in the place of a narrower one.
    assert_eq!(
        with("tile/entries/002.p/88", bundle),
        "tile/entries/002.p/88 has 256 entries, but a bundle of its width has 88"
    );
    assert_eq!(with("tile/0/001", &tile[..8_160]), "tile/0/001 is not a tile");
    assert_eq!(with("tile/0/001", &[tile.as_slice(), &[0]].concat()), "tile/0/001 is not a tile");
}

#[test]
fn a_full_file_stands_in_for_a_partial_one_that_was_deleted() {
    let grown = TileLog::of(1_024, &other_signer(1));
    let mut log = TileLog::of(900, &other_signer(1));
    for (partial, full) in
        [("tile/entries/003.p/132", "tile/entries/003"), ("tile/0/003.p/132", "tile/0/003")]
    {
        log.files.remove(partial).unwrap();
        let missing = log.verify(&known()).unwrap_err();
        assert!(matches!(&missing, VerifyError::Missing { path } if path == partial), "{missing}");
        log.files.insert(full.to_owned(), grown.files[full].clone());
    }
    assert_eq!(log.verify(&known()).unwrap(), 900);
    // It must be the full one.
    let full = log.files.get_mut("tile/entries/003").unwrap();
    *full = TileLog::of(1_000, &other_signer(1)).files["tile/entries/003.p/232"].clone();
    assert_eq!(
        log.verify(&known()).unwrap_err().to_string(),
        "tile/entries/003 has 232 entries, but a bundle of its width has 256"
    );
}

#[test]
fn only_the_known_key_and_origin_count() {
    let log = TileLog::of(300, &other_signer(1));
    let nobody = verify_tree(&log, None, &mut |_| {}).unwrap_err();
    assert!(matches!(nobody, VerifyError::NoKeys(NoKeys)), "{nobody}");
    let another = log.verify(&other_signer(2).vkey().clone().into()).unwrap_err();
    assert!(
        matches!(another, VerifyError::Checkpoint(OpenCheckpointError::Signature(_))),
        "{another}"
    );
    let mut renamed = known();
    renamed.origin = Origin::parse("log.example/other").unwrap();
    let other_log = log.verify(&renamed).unwrap_err();
    assert!(
        matches!(other_log, VerifyError::Checkpoint(OpenCheckpointError::Origin { .. })),
        "{other_log}"
    );

    // A log whose origin is not its key's name.
    let checkpoint = Checkpoint::open(&log.note, &known().key).unwrap();
    let checkpoint = Checkpoint { origin: renamed.origin.clone(), ..checkpoint };
    let mut other_log = log;
    other_log.note = checkpoint.sign(&other_signer(1));
    assert_eq!(other_log.verify(&renamed).unwrap(), 300);
}

#[test]
fn another_history_under_the_same_key_has_another_root() {
    let log = TileLog::of(300, &other_signer(1));
    let mut forged = TileLog::of(300, &other_signer(1));
    let checkpoint = Checkpoint::open(&log.note, &known().key).unwrap();
    let root = Hash::sha256(b"another history");
    forged.note = Checkpoint { root, ..checkpoint }.sign(&other_signer(1));
    let refused = forged.verify(&known()).unwrap_err();
    assert!(matches!(&refused, VerifyError::Root { signed, .. } if *signed == root), "{refused}");
}

#[test]
fn growth_is_shown_by_the_known_key_too() {
    let (old, new) = (TileLog::of(300, &other_signer(1)), TileLog::of(900, &other_signer(1)));
    let grown = verify_growth(&new, Some(&known()), &old.note).unwrap();
    assert_eq!((grown.since.size.get(), grown.checkpoint.size.get()), (300, 900));
    let shrunk = verify_growth(&old, Some(&known()), &new.note).unwrap_err();
    assert!(matches!(shrunk, GrowthError::Shrunk(_)), "{shrunk}");
    let foreign = TileLog::of(300, &other_signer(2));
    let refused = verify_growth(&new, Some(&known()), &foreign.note).unwrap_err();
    assert!(matches!(refused, GrowthError::Since(_)), "{refused}");
    let unknown = verify_growth(&new, None, &old.note).unwrap_err();
    assert!(matches!(unknown, GrowthError::Checkpoint(OpenLogError::NoKeys(_))), "{unknown}");
}
