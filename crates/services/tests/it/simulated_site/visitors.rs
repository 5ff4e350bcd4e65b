//! Those who use the site: programs that append, operators with orders, and readers inside and
//! outside the site's process. Each may go away before it is answered.

use std::{path::Path, rc::Rc, sync::Arc};

use durable::simulated_disk::{Contents, SimulatedDisk};
use ledger::{
    AppendError, AppendKey, Batch, EraseError, Erasure, Hold, LeafRanges, Ledger, LogReader,
    OpenReaderError, copy::copy_log, verify::verify_folder,
};
use model::{Event, SensorId, Timestamp, action, error_chain};
use tlog::{Hash, leaf_hash};

use super::{
    process::signer,
    world::{World, folder},
};

/// The last so many leaves are new.
const NEW_LEAVES: u64 = 30;
/// Batches to which a program may come back.
const RETRIED_MAX: u64 = 4;

/// What visitors share.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Batches that programs have appended.
    batches: u64,
}

/// Somebody comes and asks for something.
pub(super) fn come(world: &Rc<World>, ledger: &Ledger, asked: &mut Asked) {
    let (world, ledger) = (Rc::clone(world), ledger.clone());
    let tasks = Rc::clone(&world);
    match tasks.dice.below(20) {
        0..7 => {
            let is_retry = asked.batches > 0 && world.dice.once_in(3);
            let number = if is_retry {
                asked.batches - 1 - world.dice.below(RETRIED_MAX.min(asked.batches))
            } else {
                asked.batches
            };
            asked.batches = asked.batches.max(number + 1);
            tasks.tasks.visit("appends", append(world, ledger, number));
        }
        7..11 => {
            // Two orders at once, often about the same segments.
            tasks.tasks.visit("erases", erase(Rc::clone(&world), ledger.clone()));
            tasks.tasks.visit("erases too", erase(world, ledger));
        }
        11 => tasks.tasks.visit("holds", hold(world, ledger)),
        12 => tasks.tasks.visit("releases", release(world, ledger)),
        13 => tasks.tasks.visit("retains", retain(world, ledger)),
        14 => rotate(&tasks, world, ledger),
        15 => tasks.tasks.visit("publishes", async move {
            let published = ledger.publish_checkpoint().await;
            assert!(matches!(published, Ok(_) | Err(AppendError::Stopped)));
        }),
        _ => tasks.tasks.visit("reads", read(world, ledger)),
    }
}

/// The log may refuse what it cannot write now, and stop.
fn is_of_the_disk(error: &AppendError) -> bool {
    matches!(error, AppendError::Write(_) | AppendError::Stopped)
}

async fn append(world: Rc<World>, ledger: Ledger, number: u64) {
    let messages: Vec<String> =
        (0..1 + number % 4).map(|part| format!("program{number}part{part}")).collect();
    let event = |message: &String| {
        let at = Timestamp::from_unix_micros(0);
        let mut event = Event::site("NOTE", "program", message.clone(), at);
        event.actor = Some("a program".to_owned());
        event
    };
    let key = Some(AppendKey::parse(&format!("batch {number}")).unwrap());
    let events = messages.iter().map(event).collect();
    match ledger.append(Batch { events, key, ..Batch::default() }).await {
        Ok(receipt) => {
            world.look();
            world.truth.borrow().sealed(receipt, &messages);
        }
        Err(error) => assert!(is_of_the_disk(&error), "{error}"),
    }
}

/// Some leaves that were judged.
fn some_leaves(world: &World) -> LeafRanges {
    let judged = world.truth.borrow().judged();
    // Often new ones, so that orders meet in one segment.
    let eldest = if world.dice.once_in(2) { judged.saturating_sub(NEW_LEAVES) } else { 0 };
    let mut leaves = Vec::new();
    for _range in 0..world.dice.within(1..4) {
        let first = eldest + world.dice.below((judged - eldest).max(1));
        let end = (first + world.dice.within(1..6)).min(judged);
        let truth = world.truth.borrow();
        leaves.extend((first..end).filter(|leaf| truth.may_be_erased(*leaf)));
    }
    LeafRanges::from_leaves(leaves)
}

async fn erase(world: Rc<World>, ledger: Ledger) {
    let leaves = some_leaves(&world);
    let (actor, reason) = ("an operator".to_owned(), "a test".to_owned());
    let erasure = Erasure { leaves: leaves.clone(), actor, reason };
    match ledger.erase(erasure, world.now()).await {
        Ok(_) => {
            world.look();
            world.disk().calmly(|| world.truth.borrow_mut().erased(&leaves));
        }
        Err(error) => assert_is_refusal(&world, &error),
    }
}

#[track_caller]
fn assert_is_refusal(world: &World, error: &EraseError) {
    let is_fine = match error {
        EraseError::OfTheLog { .. }
        | EraseError::Held { .. }
        | EraseError::Nothing
        | EraseError::NoSuchHold { .. }
        | EraseError::Ending => true,
        EraseError::Io { .. } | EraseError::Read(_) => world.faults() > 0,
        EraseError::Append(error) => is_of_the_disk(error),
        EraseError::Damaged { .. } | EraseError::NoSuchLeaf { .. } => false,
    };
    assert!(is_fine, "{}", error_chain(error));
}

async fn hold(world: Rc<World>, ledger: Ledger) {
    let sensor = world.dice.once_in(2).then_some(SensorId::from_bytes([b'a'; 16]));
    let from = Timestamp::from_unix_micros(world.now().unix_micros() - 5_000_000);
    let hold = Hold { sensor, from: Some(from), to: Some(world.now()) };
    if let Err(error) = ledger.place_hold(&hold, "an operator", "a case", world.now()).await {
        assert!(is_of_the_disk(&error), "{error}");
    }
}

async fn release(world: Rc<World>, ledger: Ledger) {
    let Some(hold) = ledger.holds().into_keys().next() else { return };
    if let Err(error) = ledger.release_hold(hold, "an operator", "it is over", world.now()).await {
        assert_is_refusal(&world, &error);
    }
}

async fn retain(world: Rc<World>, ledger: Ledger) {
    let judged = world.truth.borrow().judged();
    if judged == 0 {
        return;
    }
    let leaf = world.dice.below(judged);
    let before = world.truth.borrow().envelope_of(leaf).received_at;
    let kept = ledger.retain(action::SENSOR_READING, before, "retention", world.now()).await;
    if let Err(error) = kept {
        assert_is_refusal(&world, &error);
    }
}

/// One rotation at a time, and none after one of which it is not known whether it was sealed.
fn rotate(tasks: &World, world: Rc<World>, ledger: Ledger) {
    if world.is_rotating.replace(true) {
        return;
    }
    tasks.tasks.visit("rotates", async move {
        let next = world.key.get() + 1;
        match ledger.rotate_key(signer(next), "an operator").await {
            Ok(_) => {
                world.key.set(next);
                world.is_rotating.set(false);
            }
            Err(AppendError::Write(_)) => world.is_rotating.set(false),
            Err(error) => assert!(matches!(error, AppendError::Stopped), "{error}"),
        }
    });
}

/// Reads and proves leaves in the site's own process, as the log port does.
async fn read(world: Rc<World>, ledger: Ledger) {
    let from = world.dice.below(ledger.size());
    let (count, handle) = (1 + world.dice.below(40) as usize, ledger.clone());
    let reading = work::blocking((), move || {
        let stored = handle.envelopes(from, count, usize::MAX);
        let proof = handle.prove(from);
        (stored, proof, handle.keys())
    });
    let (stored, proof, keys) = reading.await.unwrap();
    if world.end.get().is_some() {
        return;
    }
    world.look();
    match stored {
        Ok(stored) => {
            let truth = world.truth.borrow();
            for stored in stored {
                let is_right = |bytes: &Vec<u8>| Hash::sha256(bytes) == truth.entry(stored.leaf);
                assert!(stored.bytes.as_ref().is_none_or(is_right), "leaf {}", stored.leaf);
            }
        }
        Err(error) => assert!(error.may_pass(), "{}", error_chain(&error)),
    }
    match proof {
        Ok(proof) => {
            let entry = leaf_hash(world.truth.borrow().entry(from).as_bytes());
            let proof = proof.expect("the log has the leaf");
            let is_proved = |vkey: &str| proof.verify(&entry, &vkey.parse().unwrap()).is_ok();
            assert!(keys.iter().any(|key| is_proved(&key.vkey)), "leaf {from} is not proved");
        }
        Err(error) => assert!(error.may_pass(), "{}", error_chain(&error)),
    }
}

/// Other processes read the files while the site stands still: a reader, a verifier and a copy.
pub(super) fn look_from_outside(world: &World) {
    let published = world.truth.borrow().published_size();
    let disk = SimulatedDisk::with(world.disk().contents());
    if published == 0 || !assert_reads(&disk, published, 0) {
        return;
    }
    world.note(|| "somebody looks from outside".to_owned());
    let verified = verify_folder(&disk, folder(), None, &mut |_| {}).unwrap();
    assert!(verified.leaves >= published);
    let copy = Path::new("/copy/ledger");
    let copied = copy_log(&disk, folder(), copy).unwrap();
    assert!(copied.leaves >= published);
    assert_eq!(verify_folder(&disk, copy, None, &mut |_| {}).unwrap().leaves, copied.leaves);
}

/// Another process reads the files while the site works on: before each of the reader's operations
/// the site does some of its own, and sometimes many.
pub(super) fn look_meanwhile(world: &World, history: Vec<Contents>, published: u64) {
    world.note(|| format!("somebody looks during {} operations", history.len()));
    let disk = SimulatedDisk::with(history[0].clone());
    let mut moment = 0;
    for operation in 0.. {
        let operations = if world.dice.once_in(8) { 40 } else { 3 };
        moment += world.dice.below(operations) as usize;
        let Some(contents) = history.get(moment) else { break };
        disk.switch(operation, contents.clone());
    }
    assert_reads(&disk, published, world.dice.below(published + 1));
}

/// A reader finds a log of at least `published` leaves that holds from the leaf `from` on.
fn assert_reads(disk: &SimulatedDisk, published: u64, from: u64) -> bool {
    let reader = match LogReader::open(Arc::new(disk.clone()), folder(), None) {
        Err(OpenReaderError::NoCheckpoint { .. }) if published == 0 => return false,
        opened => opened.unwrap(),
    };
    assert!(reader.size() >= published, "{} of {published} leaves", reader.size());
    let stored = reader.envelopes(from, usize::MAX, usize::MAX).unwrap();
    assert_eq!(stored.len() as u64, reader.size() - from);
    for (stored, entry) in stored.iter().zip(reader.entries(from, stored.len()).unwrap()) {
        assert!(stored.bytes.as_ref().is_none_or(|bytes| Hash::sha256(bytes) == entry));
    }
    true
}
