//! Orders whose caller goes away. At each disk operation, the future is dropped, the order is given
//! again, and retention sweeps. Then the process is killed or the power fails, and the log is
//! opened.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, mpsc},
    time::Duration,
};

use durable::simulated_disk::{Contents, Fault, Gate, Loss, Plan, SimulatedDisk};
use ledger::{
    AppendError, Batch, EraseError, Erasure, Hold, LeafRanges, Ledger, Storage, StoredEnvelope,
    Writer, verify::verify_folder,
};
use model::{Envelope, Timestamp, action};
use tokio::{runtime::Runtime, task::yield_now, time::timeout};

use super::{
    event,
    faults::{Trying, folder, signer, signers},
    features::at,
    message_of,
};

/// Small enough that the log has several segments.
const SEGMENT_BYTES_MAX: u64 = 3 << 9;
/// More operations than any order takes.
const DEADLINE: Duration = Duration::from_secs(60);
const EVENTS: u64 = 120;
/// The leaves to erase, in two segments.
const ERASED: &str = "2-9,70-75";
/// Turns that the retry gets before the hanging step continues. With the lock, it uses none of
/// them.
const TURNS: usize = 200;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Erase,
    Retain,
    Hold,
    Release,
    Rotate,
}

impl Order {
    /// Gives the order. The second time, there may be nothing left to do.
    async fn give(self, ledger: Ledger) {
        let far = Timestamp::from_unix_micros(4_000_000_000_000_000);
        let outcome = match self {
            Self::Erase => {
                let (actor, reason) = ("tester".into(), "a test".into());
                let erasure = Erasure { leaves: ERASED.parse().unwrap(), actor, reason };
                ledger.erase(erasure, at(0)).await.map(drop)
            }
            Self::Retain => ledger.retain("TEST", far, "site", at(0)).await.map(drop),
            Self::Hold => {
                let hold = Hold { from: Some(far), ..Hold::default() };
                let placed = ledger.place_hold(&hold, "judge", "case", at(0)).await;
                placed.map(drop).map_err(EraseError::Append)
            }
            Self::Release => {
                let hold = *ledger.holds().keys().next().unwrap_or(&0);
                ledger.release_hold(hold, "judge", "over", at(0)).await.map(drop)
            }
            Self::Rotate => {
                let rotated = ledger.rotate_key(signer(2), "tester").await;
                rotated.map(drop).map_err(EraseError::Append)
            }
        };
        match outcome {
            Ok(())
            | Err(EraseError::Nothing | EraseError::NoSuchHold { .. })
            // The log already has the new key.
            | Err(EraseError::Append(AppendError::LogEvent(_))) => {}
            Err(error) => panic!("{self:?}: {error}: {:?}", std::error::Error::source(&error)),
        }
    }
}

fn open(disk: &SimulatedDisk) -> (Ledger, Writer) {
    let disk = Arc::new(disk.clone());
    let storage = Storage { segment_bytes_max: SEGMENT_BYTES_MAX, ..Storage::from(disk) };
    Ledger::open_on(storage, folder(), signers()).unwrap()
}

/// A log of several segments, with a hold that covers none of its leaves.
async fn begin(disk: &SimulatedDisk) -> (Ledger, Writer) {
    let (ledger, writer) = open(disk);
    for first in (0..EVENTS).step_by(30) {
        let events = (first..first + 30).map(|number| event(number.to_string())).collect();
        ledger.append(Batch::of(events)).await.unwrap();
    }
    Order::Hold.give(ledger.clone()).await;
    ledger.publish_checkpoint().await.unwrap();
    (ledger, writer)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Number of operations before the order begins, and number that it takes.
fn operations(order: Order) -> std::ops::Range<usize> {
    let disk = SimulatedDisk::new(folder().parent().unwrap());
    runtime().block_on(async {
        let (ledger, writer) = begin(&disk).await;
        let begin = disk.operation_count();
        order.give(ledger).await;
        let end = disk.operation_count();
        writer.close().await.unwrap();
        begin..end
    })
}

/// Opens the remaining log. Everything that was not erased is there once, and the orders are
/// carried out.
async fn check(contents: Contents) {
    let disk = SimulatedDisk::with(contents);
    let (ledger, writer) = open(&disk);
    let stored = ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
    let mut numbers = BTreeSet::new();
    let mut ordered = BTreeSet::new();
    let mut erased = BTreeSet::new();
    for StoredEnvelope { leaf, bytes } in stored {
        let Some(bytes) = bytes else {
            erased.insert(leaf);
            continue;
        };
        let envelope = Envelope::parse(&bytes).unwrap();
        if envelope.event.action.as_deref() == Some(action::ENVELOPES_ERASED) {
            let leaves = envelope.event.sealwire.unwrap().erased.unwrap();
            ordered.extend(leaves.parse::<LeafRanges>().unwrap().leaves());
        } else if let Ok(number) = message_of(&bytes).parse::<u64>() {
            assert!(numbers.insert(number), "{number} is there twice");
        }
    }
    assert_eq!(erased, ordered, "what was ordered is erased, and nothing else");
    // Leaf 0 is the genesis entry, so the message of number n is leaf n + 1.
    let lost = (0..EVENTS).filter(|number| !numbers.contains(number)).map(|number| number + 1);
    assert!(lost.eq(erased), "a message is lost");
    writer.close().await.unwrap();
    verify_folder(&disk, folder(), None, &mut |_| {}).unwrap();
}

/// Drops an order while the operation `step` hangs, then gives it again while retention sweeps.
/// Returns the contents of the disk before each operation from then on.
async fn drop_at(order: Order, step: usize) -> Vec<Contents> {
    let disk = SimulatedDisk::new(folder().parent().unwrap());
    let (ledger, writer) = begin(&disk).await;
    let (reached, is_reached) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    disk.plan(Plan { at: step, fault: Fault::Slow, gate: Some(Gate { reached, open: is_open }) });
    {
        let mut order = pin!(order.give(ledger.clone()));
        let hangs = work::blocking((), move || is_reached.recv_timeout(DEADLINE).unwrap());
        tokio::select! {
            () = order.as_mut() => panic!("it never came to operation {step}"),
            hangs = hangs => hangs.unwrap(),
        }
    }
    disk.keep_history();
    let again = async {
        tokio::join!(order.give(ledger.clone()), Order::Retain.give(ledger.clone()));
    };
    let (mut again, mut is_done) = (pin!(again), false);
    for _turn in 0..TURNS {
        tokio::select! {
            biased;
            () = again.as_mut() => {
                is_done = true;
                break;
            }
            () = yield_now() => {}
        }
    }
    open.send(()).unwrap();
    if !is_done {
        timeout(DEADLINE, again).await.unwrap();
    }
    let history = disk.history();
    writer.close().await.unwrap();
    history
}

fn run(order: Order) {
    let runtime = runtime();
    for step in operations(order) {
        let _trying = Trying(&|| format!("{order:?} dropped at operation {step}"));
        runtime.block_on(async {
            let history = Box::pin(drop_at(order, step)).await;
            let (middle, end) = (&history[history.len() / 2], history.last().unwrap());
            for contents in [middle, end] {
                check(contents.clone().after(Loss::Nothing)).await;
                check(contents.clone().after(Loss::Everything)).await;
            }
            check(middle.clone().after(Loss::Some(step as u64))).await;
        });
    }
}

#[test]
fn an_erasure_that_nobody_waits_for_loses_nothing() {
    run(Order::Erase);
}

#[test]
fn a_sweep_that_nobody_waits_for_loses_nothing() {
    run(Order::Retain);
}

#[test]
fn a_hold_that_nobody_waits_for_loses_nothing() {
    run(Order::Hold);
    run(Order::Release);
}

#[test]
fn a_rotation_that_nobody_waits_for_loses_nothing() {
    run(Order::Rotate);
}
