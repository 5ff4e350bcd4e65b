//! What is left of an erased envelope: nothing that confirms a guess of its content. The commitment
//! is salted, and the salt is erased too. No file contains anything else that follows from the
//! event.

use std::{fs, path::Path};

use ledger::{AppendError, AppendKey, Batch, Ledger};
use model::EventJson;
use tempfile::TempDir;
use tlog::Hash;

use super::{
    batch, event,
    features::{at, erasure, kept_log, keyed, other_signer},
    files, verify,
};

/// A message from which the caller also derives the key of the append.
const PIN: &str = "PIN 4711";

fn pin() -> Batch {
    Batch { key: Some(AppendKey::parse(PIN).unwrap()), ..Batch::of(vec![event(PIN.into())]) }
}

/// Unsalted functions of the event and its key, which anyone who guesses them can compute.
fn guesses(key: &str) -> Vec<Hash> {
    let EventJson { head, tail } = EventJson::of(&event(PIN.into()));
    let pieces = [
        head.clone(),
        [head, tail.clone()].concat(),
        serde_json::to_vec(&event(PIN.into())).unwrap(),
        tail,
    ];
    let mut guesses: Vec<Hash> = pieces.iter().map(|piece| Hash::sha256(piece)).collect();
    guesses.extend([PIN, key].map(|text| Hash::sha256(text.as_bytes())));
    guesses
}

/// Files that contain one of the guesses, as bytes or as text.
fn files_that_tell(folder: &Path, key: &str) -> Vec<String> {
    let mut tell = Vec::new();
    for file in files(folder) {
        let bytes = fs::read(&file).unwrap();
        let stands = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let tells = |guess: &Hash| {
            stands(guess.as_bytes())
                || stands(guess.to_string().as_bytes())
                || stands(guess.to_base64().as_bytes())
        };
        if guesses(key).iter().any(tells) || stands(PIN.as_bytes()) {
            tell.push(file.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    tell
}

#[tokio::test]
async fn no_unsalted_function_of_an_envelope_outlives_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    let (ledger, writer) = Ledger::open(&path, other_signer(1)).unwrap();
    let receipt = ledger.append(pin()).await.unwrap();
    ledger.append(batch(0, 3)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    assert_eq!(files_that_tell(&path, PIN).len(), 1, "its key is in the segment as long as it is");
    ledger.erase(erasure(&receipt.first_leaf.to_string()), at(1)).await.unwrap();
    assert_eq!(files_that_tell(&path, PIN), Vec::<String>::new());
    // The log no longer knows what was sealed under the key.
    assert_ne!(ledger.append(pin()).await.unwrap(), receipt);
    writer.close().await.unwrap();
    verify(&path).unwrap();
}

/// Version 3 kept a hash of the appended events, also after their erasure.
#[tokio::test]
async fn what_an_older_version_kept_of_erased_envelopes_goes_at_the_first_start() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    kept_log("v3", &path);
    assert_eq!(files_that_tell(&path, "guessed"), ["00000000000000000000.seg"]);
    let (ledger, writer) = Ledger::open(&path, other_signer(2)).unwrap();
    assert_eq!(files_that_tell(&path, "guessed"), Vec::<String>::new());
    writer.close().await.unwrap();
    drop(ledger);
    verify(&path).unwrap();
}

#[tokio::test]
async fn a_retry_is_compared_with_what_was_sealed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    let open = || Ledger::open(&path, other_signer(1)).unwrap();
    let (ledger, writer) = open();
    let first = ledger.append(keyed("a", 0, 300)).await.unwrap();
    let erased = ledger.append(keyed("b", 300, 2)).await.unwrap();
    // The segment is rewritten, with the first batch unchanged.
    ledger.erase(erasure(&erased.first_leaf.to_string()), at(1)).await.unwrap();
    writer.close().await.unwrap();
    for _start in 0..2 {
        let (ledger, writer) = open();
        assert_eq!(ledger.append(keyed("a", 0, 300)).await.unwrap(), first);
        for (from, count) in [(1, 300), (0, 299), (0, 301)] {
            let refusal = ledger.append(keyed("a", from, count)).await.unwrap_err();
            let is_it = matches!(refusal, AppendError::KeyReused { first_leaf } if first_leaf == first.first_leaf);
            assert!(is_it, "{refusal}");
        }
        writer.close().await.unwrap();
        verify(&path).unwrap();
    }
}

#[tokio::test]
async fn a_retry_over_an_upgrade_gets_the_first_receipt() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    kept_log("v3", &path);
    let (ledger, writer) = Ledger::open(&path, other_signer(2)).unwrap();
    let receipt = ledger.append(keyed("kept", 23, 2)).await.unwrap();
    assert_eq!((receipt.first_leaf, receipt.leaves), (28, 2));
    let refusal = ledger.append(keyed("kept", 22, 2)).await.unwrap_err();
    assert!(matches!(refusal, AppendError::KeyReused { first_leaf: 28 }), "{refusal}");
    writer.close().await.unwrap();
    verify(&path).unwrap();
}
