//! `verify` finds and names any flipped bit in any file of a log.
//!
//! The log is complete and closed: several segments, erasures, a key rotation, a hold. Two kinds of
//! bits do not matter, and such a log has none of them: those of a `.next` file, which readers
//! ignore, and those of a commit group after everything that checkpoint, state and tree cover.
//! `verify` cannot tell the last group from one that a crash tore, so it counts such bytes as torn
//! instead of refusing them.

use std::path::Path;

use durable::simulated_disk::{Contents, SimulatedDisk};
use ledger::verify::verify_folder;
use proptest::{prelude::*, sample::Index};

use super::faults::{folder, whole_log};

/// Files up to this length are tried at every byte, longer ones at random offsets.
const TRIED_WHOLE_MAX: usize = 1 << 10;

#[track_caller]
fn assert_found(contents: &Contents, path: &Path, at: usize, bit: u8) {
    let disk = SimulatedDisk::with(contents.clone().with_flipped_bit(path, at, bit));
    let place = || format!("bit {bit} of byte {at} of {}", path.display());
    let error = verify_folder(&disk, folder(), None, &mut |_| {}).expect_err(&place());
    let text = model::error_chain(&error);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name), "{} is not named: {text}", place());
}

#[test]
fn any_flipped_bit_of_a_small_file_is_found_and_named() {
    let contents = whole_log();
    let files = contents.files();
    for name in ["checkpoint", "state", "blocks-", "nodes-8"] {
        let is_it = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(name);
        let is_tried = files.iter().any(|(path, len)| is_it(path) && *len <= TRIED_WHOLE_MAX);
        assert!(is_tried, "{name}");
    }
    for (path, len) in files.iter().filter(|(_, len)| *len <= TRIED_WHOLE_MAX) {
        for at in 0..*len {
            // Neighbouring bytes get different bits, so eight bytes try all of them.
            assert_found(&contents, path, at, (at % 8) as u8);
        }
    }
}

#[test]
fn any_flipped_bit_of_a_large_file_is_found_and_named() {
    let contents = whole_log();
    let mut files = contents.files();
    files.retain(|(_, len)| *len > TRIED_WHOLE_MAX);
    assert!(files.iter().any(|(path, _)| path.ends_with("entries")));
    assert!(files.iter().any(|(path, _)| path.ends_with("00000000000000000000.seg")));
    proptest!(|(position: Index, bit in 0..8_u8)| {
        for (path, len) in &files {
            assert_found(&contents, path, position.index(*len), bit);
        }
    });
}
