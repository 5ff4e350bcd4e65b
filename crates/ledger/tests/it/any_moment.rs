//! Reads files while another process writes them. The other process is stopped between any two of
//! its operations, or does operations between any two of the reader's.

use std::{path::Path, sync::Arc};

use durable::simulated_disk::{Loss, SimulatedDisk};
use ledger::{
    LogReader, OpenReaderError,
    copy::copy_log,
    evidence::{Selection, export, verify_bundle},
    examine::{
        claimed_checkpoint, claimed_state, examine_segments, log_root, newest_received_at,
        tree_covers, tree_root,
    },
    verify::{verify_folder, verify_tree},
};
use model::Timestamp;
use tlog::Hash;

use super::faults::{Moment, Trying, folder, life};

/// Every reader finds a log of at least `published` leaves that verifies.
fn assert_holds_for_every_reader(disk: &SimulatedDisk, published: u64) {
    let reader = match LogReader::open(Arc::new(disk.clone()), folder(), None) {
        Err(OpenReaderError::NoCheckpoint { .. }) if published == 0 => return,
        opened => opened.unwrap(),
    };
    assert!(reader.size() >= published, "{} of {published} leaves", reader.size());
    assert_reads(&reader);

    let verified = verify_folder(disk, folder(), None, &mut |_| {}).unwrap();
    assert!(verified.leaves >= reader.size());

    let copy = Path::new("/copy/ledger");
    let copied = copy_log(disk, folder(), copy).unwrap();
    assert!(copied.leaves >= published);
    assert_eq!(verify_folder(disk, copy, None, &mut |_| {}).unwrap().leaves, copied.leaves);

    let (checkpoint, _note) = claimed_checkpoint(disk, folder()).unwrap().unwrap();
    let stored = claimed_state(disk, folder()).unwrap();
    assert!(stored.is_none_or(|state| state.size <= checkpoint.size.get()));
    assert!(tree_covers(disk, folder(), checkpoint.size).unwrap());
    for root in [
        tree_root(disk, folder(), checkpoint.size).unwrap(),
        log_root(disk, folder(), checkpoint.size).unwrap(),
        examine_segments(disk, folder(), checkpoint.size).unwrap().root,
    ] {
        assert_eq!(root, Some(checkpoint.root));
    }
    assert!(newest_received_at(disk, folder()).unwrap().is_some());
}

/// Reads a whole log in each way: as envelopes, as a public log, as evidence.
fn assert_reads(reader: &LogReader) {
    let stored = reader.envelopes(0, usize::MAX, usize::MAX).unwrap();
    assert_eq!(stored.len() as u64, reader.size());
    for (stored, entry) in stored.iter().zip(reader.entries(0, stored.len()).unwrap()) {
        assert!(stored.bytes.as_ref().is_none_or(|bytes| Hash::sha256(bytes) == entry));
    }
}

fn assert_is_evidence(reader: &LogReader) {
    let mut bundle = Vec::new();
    let at = Timestamp::from_unix_micros(0);
    export(reader, &Selection::default(), at, "a test", &mut bundle, &mut |_| {}).unwrap();
    let mut findings = Vec::new();
    verify_bundle(bundle.as_slice(), None, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
}

#[test]
fn every_reader_finds_a_log_that_holds_wherever_the_writer_is_stopped() {
    let moments = life();
    let mut looked = 0;
    for (number, Moment { contents, published }) in moments.into_iter().enumerate() {
        let _trying = Trying(&|| format!("before operation {number}"));
        let disk = SimulatedDisk::with(contents);
        assert_holds_for_every_reader(&disk, published);
        if let Ok(reader) = LogReader::open(Arc::new(disk), folder(), None) {
            assert_is_evidence(&reader);
            verify_tree(&reader, None, &mut |_| {}).unwrap();
            looked += 1;
        }
    }
    assert!(looked > 200, "{looked}");
}

#[test]
fn what_a_checkpoint_covers_is_in_the_trees_files_after_a_loss_of_power() {
    for (number, Moment { contents, published }) in life().into_iter().enumerate() {
        let _trying = Trying(&|| format!("before operation {number}"));
        let disk = SimulatedDisk::with(contents.after(Loss::Everything));
        let Some((checkpoint, _note)) = claimed_checkpoint(&disk, folder()).unwrap() else {
            assert_eq!(published, 0);
            continue;
        };
        let root = tree_root(&disk, folder(), checkpoint.size).unwrap();
        assert_eq!(root, Some(checkpoint.root));
    }
}

/// The writer does some of its operations between any two of the reader's.
fn with_the_writer_going_on(read: impl Fn(&SimulatedDisk)) {
    let moments = life();
    let begun = moments.iter().position(|moment| moment.published > 0).unwrap();
    // A few operations, some of an erasure, all of one.
    for (step, ahead) in [(11, 2), (13, 9), (17, 45), (29, 150)] {
        for first in (begun..moments.len() - ahead).step_by(step) {
            for at in 0.. {
                let _trying = Trying(&|| format!("from {first} to {} at {at}", first + ahead));
                let disk = SimulatedDisk::with(moments[first].contents.clone());
                disk.switch(at, moments[first + ahead].contents.clone());
                read(&disk);
                if disk.operation_count() <= at {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_log_is_looked_at_while_it_is_written() {
    with_the_writer_going_on(|disk| {
        let reader = LogReader::open(Arc::new(disk.clone()), folder(), None).unwrap();
        assert_reads(&reader);
    });
}

#[test]
fn a_folder_is_verified_while_it_is_written() {
    with_the_writer_going_on(|disk| {
        verify_folder(disk, folder(), None, &mut |_| {}).unwrap();
    });
}
