//! The fault table: one workload, and every fault at each of its file operations. Then the log is
//! opened again and compared with what it promised. The same for a loss of power before and after
//! each operation.

use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use durable::simulated_disk::{Contents, Fault, Gate, Loss, Operation, Plan, SimulatedDisk};
use ledger::{
    AppendError, AppendKey, Batch, Cursor, EraseError, Erasure, Hold, LeafRanges, Ledger,
    OpenError, Receipt, Signers, Storage, Writer, verify::verify_folder,
};
use model::Timestamp;
use tlog::{Checkpoint, KeyName, Signer, verify_consistency};
use tokio::runtime::Runtime;

use super::{event, message_of};

/// Small enough that the workload's large batches each fill a segment.
const SEGMENT_BYTES_MAX: u64 = 3 << 9;
/// The leaves that the workload erases, in two segments.
const ERASED: &str = "2,10-20,280";
/// Longer than any operation of the workload takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// Leaves of the whole workload: 389 messages, a rotation, an order of erasure, a hold and the
/// genesis entry.
const LEAVES: u64 = 393;
/// Number of random losses of power that are tried beside losing all and losing nothing.
/// SEALWIRE_LOSSES sets another number.
const LOSSES: u64 = 2;

pub(crate) fn folder() -> &'static Path {
    Path::new("/site/ledger")
}

pub(crate) fn signer(seed: u8) -> Signer {
    Signer::from_seed(KeyName::parse("sealwire.test/plant").unwrap(), &[seed; 32])
}

/// The first key, and the key to which the workload changes.
pub(crate) fn signers() -> Signers {
    Signers { current: signer(1), next: Some(signer(2)) }
}

fn open(disk: &SimulatedDisk) -> Result<(Ledger, Writer), OpenError> {
    let disk = Arc::new(disk.clone());
    let storage = Storage { segment_bytes_max: SEGMENT_BYTES_MAX, ..Storage::from(disk) };
    Ledger::open_on(storage, folder(), signers())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// What the log promised.
#[derive(Clone, Debug)]
enum Promise {
    Sealed { receipt: Receipt, first: usize, key: Option<String> },
    Cursor(u64),
    Published(Checkpoint),
    Held(u64),
    Erased(LeafRanges),
    Rotated,
}

/// The promises, each with the number of operations that had begun by then.
#[derive(Clone, Debug, Default)]
struct Promises(Arc<Mutex<Vec<(usize, Promise)>>>);

impl Promises {
    fn add(&self, disk: &SimulatedDisk, promise: Promise) {
        self.0.lock().unwrap().push((disk.operation_count(), promise));
    }

    /// The promises that were made before the operation of this number began.
    fn before(&self, operation: usize) -> Vec<Promise> {
        let promises = self.0.lock().unwrap();
        let made = promises.iter().filter(|(count, _)| *count <= operation);
        made.map(|(_, promise)| promise.clone()).collect()
    }

    fn all(&self) -> Vec<Promise> {
        self.before(usize::MAX)
    }
}

/// Why a workload did not finish.
#[derive(Debug)]
enum Stopped {
    Open(OpenError),
    Append(AppendError),
    Erase(EraseError),
    Close(ledger::WriteError),
}

impl Stopped {
    fn error(&self) -> &dyn std::error::Error {
        match self {
            Self::Open(error) => error,
            Self::Append(error) => error,
            Self::Erase(error) => error,
            Self::Close(error) => error,
        }
    }
}

/// A client of the log, which remembers what the log promised. Every message is a different number,
/// so a duplicate is noticed.
struct User {
    disk: SimulatedDisk,
    ledger: Ledger,
    promises: Promises,
}

impl User {
    /// Appends. If the append is refused, tries once more: a refusal means that nothing was
    /// written.
    async fn append(
        &self,
        first: usize,
        count: usize,
        key: Option<&str>,
        cursor: Option<u64>,
    ) -> Result<Receipt, Stopped> {
        let batch = || Batch {
            events: (first..first + count).map(|number| event(number.to_string())).collect(),
            key: key.map(|key| AppendKey::parse(key).unwrap()),
            cursor: cursor.map(|next_leaf| Cursor { name: "test".into(), next_leaf }),
            earlier_keys: Vec::new(),
        };
        let answer = match self.ledger.append(batch()).await {
            Err(AppendError::Write(_)) => {
                self.disk.make_room();
                self.ledger.append(batch()).await
            }
            other => other,
        };
        let receipt = answer.map_err(Stopped::Append)?;
        let key = key.map(str::to_owned);
        self.promises.add(&self.disk, Promise::Sealed { receipt, first, key });
        if let Some(next_leaf) = cursor {
            self.promises.add(&self.disk, Promise::Cursor(next_leaf));
        }
        Ok(receipt)
    }

    /// Publishes a checkpoint. If there is no room for it, tries once more.
    async fn publish(&self) -> Result<(), Stopped> {
        for _attempt in 0..2 {
            let published = self.ledger.publish_checkpoint().await.map_err(Stopped::Append)?;
            self.promises.add(&self.disk, Promise::Published(published.checkpoint.clone()));
            if published.checkpoint.size.get() == self.ledger.size() {
                return Ok(());
            }
            self.disk.make_room();
        }
        panic!("no checkpoint covers the log, though there is room");
    }

    async fn rotate(&self) -> Result<(), Stopped> {
        let answer = match self.ledger.rotate_key(signer(2), "tester").await {
            Err(AppendError::Write(_)) => {
                self.disk.make_room();
                self.ledger.rotate_key(signer(2), "tester").await
            }
            other => other,
        };
        answer.map_err(Stopped::Append)?;
        self.promises.add(&self.disk, Promise::Rotated);
        Ok(())
    }

    async fn hold(&self, from: Timestamp) -> Result<(), Stopped> {
        let hold = Hold { from: Some(from), ..Hold::default() };
        let at = Timestamp::from_unix_micros(0);
        let answer = match self.ledger.place_hold(&hold, "judge", "case", at).await {
            Err(AppendError::Write(_)) => {
                self.disk.make_room();
                self.ledger.place_hold(&hold, "judge", "case", at).await
            }
            other => other,
        };
        let receipt = answer.map_err(Stopped::Append)?;
        self.promises.add(&self.disk, Promise::Held(receipt.first_leaf));
        Ok(())
    }

    /// Erases. If there is no room for that, tries once more.
    async fn erase(&self, leaves: &str) -> Result<(), Stopped> {
        let leaves: LeafRanges = leaves.parse().unwrap();
        let erase = || {
            let (actor, reason) = ("tester".into(), "a test".into());
            let erasure = Erasure { leaves: leaves.clone(), actor, reason };
            self.ledger.erase(erasure, Timestamp::from_unix_micros(0))
        };
        let answer = match erase().await {
            Err(EraseError::Append(AppendError::Write(_)) | EraseError::Io { .. }) => {
                self.disk.make_room();
                erase().await
            }
            other => other,
        };
        match answer {
            Ok(_) | Err(EraseError::Nothing) => {}
            Err(error) => return Err(Stopped::Erase(error)),
        }
        self.promises.add(&self.disk, Promise::Erased(leaves));
        Ok(())
    }
}

/// Everything that a log does: it is created, grows over several segments, is killed, continues,
/// and is closed.
async fn workload(disk: &SimulatedDisk, promises: &Promises) -> Result<(), Stopped> {
    let user = |disk: &SimulatedDisk, ledger: Ledger| User {
        disk: disk.clone(),
        ledger,
        promises: promises.clone(),
    };
    let (ledger, writer) = open(disk).map_err(Stopped::Open)?;
    let first = user(disk, ledger);
    first.append(0, 3, None, Some(2)).await?;
    first.append(3, 2, Some("a"), None).await?;
    first.publish().await?;
    // More than 256 leaves: a second block, and nodes of two heights.
    first.append(5, 260, None, None).await?;
    // The segment is full; what follows is in the second one.
    let receipt = first.append(265, 1, Some("b"), Some(200)).await?;
    assert_eq!(first.append(265, 1, Some("b"), None).await?, receipt, "a retry");
    first.rotate().await?;
    first.append(266, 60, None, None).await?;
    first.erase(ERASED).await?;
    first.append(326, 2, Some("c"), None).await?;
    writer.close().await.map_err(Stopped::Close)?;

    let (ledger, writer) = open(disk).map_err(Stopped::Open)?;
    let second = user(disk, ledger);
    second.hold(Timestamp::from_unix_micros(0)).await?;
    second.append(328, 60, None, None).await?;
    second.append(388, 0, None, Some(300)).await?;
    second.publish().await?;
    second.append(388, 1, Some("d"), None).await?;
    writer.close().await.map_err(Stopped::Close)
}

/// Opens the log as a new process does, checks its promises, continues it, closes it and verifies
/// it.
async fn check(disk: &SimulatedDisk, promises: &mut Vec<Promise>) {
    let (ledger, writer) = open(disk).unwrap();
    let numbers = hold_to(&ledger, promises);
    retry(disk, &ledger, promises).await;

    let user = User { disk: disk.clone(), ledger: ledger.clone(), promises: Promises::default() };
    let size = ledger.size();
    let next = numbers.iter().max().map_or(0, |number| number + 1).max(1_000);
    let receipt = user.append(next, 2, Some(&format!("goes on at {next}")), None).await.unwrap();
    assert_eq!((receipt.first_leaf, receipt.leaves), (size, 2));
    user.publish().await.unwrap();
    promises.extend(user.promises.all());
    writer.close().await.unwrap();
    let verified = verify_folder(disk, folder(), None, &mut |_| {}).unwrap();
    assert_eq!((verified.leaves, verified.torn_bytes), (size + 2, 0));
}

/// Checks the promises of an open log. Returns the numbers in its messages.
fn hold_to(ledger: &Ledger, promises: &[Promise]) -> Vec<usize> {
    let stored = ledger.envelopes(0, usize::MAX, usize::MAX).unwrap();
    let messages: Vec<Option<String>> =
        stored.iter().map(|stored| stored.bytes.as_deref().map(message_of)).collect();
    let numbers: Vec<usize> =
        messages.iter().flatten().filter_map(|message| message.parse().ok()).collect();
    let mut once = numbers.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), numbers.len(), "a message was sealed twice");

    let gone = |leaf: u64| messages[leaf as usize].is_none();
    let erasable: LeafRanges = ERASED.parse().unwrap();
    let stays = (0..messages.len() as u64).filter(|leaf| !erasable.contains(*leaf));
    assert!(!stays.into_iter().any(gone), "an envelope is gone that nobody erased");
    for promise in promises {
        match promise {
            Promise::Sealed { receipt, first, .. } => {
                for (leaf, number) in
                    (receipt.first_leaf..).zip(*first..).take(receipt.leaves as usize)
                {
                    let there = messages
                        .get(leaf as usize)
                        .unwrap_or_else(|| panic!("leaf {leaf} is lost"));
                    // What was erased is gone, acknowledged or not.
                    assert!(
                        there.as_ref().is_none_or(|there| *there == number.to_string()),
                        "leaf {leaf}: {there:?}"
                    );
                }
            }
            Promise::Cursor(next_leaf) => assert!(ledger.cursor("test") >= *next_leaf),
            Promise::Published(old) => {
                let new = ledger.published();
                let growth =
                    new.checkpoint.size.extends(old.size).expect("a checkpoint never goes back");
                let proof = ledger.prove_growth(growth).unwrap();
                verify_consistency(growth, &old.root, &new.checkpoint.root, &proof).unwrap();
            }
            Promise::Held(leaf) => assert!(ledger.holds().contains_key(leaf)),
            Promise::Erased(leaves) => assert!(leaves.leaves().all(gone)),
            Promise::Rotated => assert_eq!(ledger.vkey(), *signer(2).vkey()),
        }
    }
    numbers
}

/// Within the window of keys, a retry gets the first receipt.
async fn retry(disk: &SimulatedDisk, ledger: &Ledger, promises: &[Promise]) {
    let mut segments = disk.contents().names(&folder().join("segments"));
    segments.retain(|name| name.ends_with(".seg"));
    let before_newest = segments.len().saturating_sub(2);
    let window: u64 = segments[before_newest].trim_end_matches(".seg").parse().unwrap();
    for promise in promises {
        let Promise::Sealed { receipt, first, key: Some(key) } = promise else { continue };
        if receipt.first_leaf < window {
            continue;
        }
        let count = receipt.leaves as usize;
        let batch = Batch {
            events: (*first..first + count).map(|number| event(number.to_string())).collect(),
            key: Some(AppendKey::parse(key).unwrap()),
            ..Batch::default()
        };
        assert_eq!(ledger.append(batch).await.unwrap(), *receipt, "a retry of {key}");
    }
}

/// Checks the log, and checks it again after a loss of power: what the first check saw must still
/// be true.
fn check_twice(runtime: &Runtime, contents: Contents, mut promises: Vec<Promise>) {
    let disk = SimulatedDisk::with(contents);
    runtime.block_on(check(&disk, &mut promises));
    let disk = SimulatedDisk::with(disk.contents().after(Loss::Everything));
    runtime.block_on(check(&disk, &mut promises));
}

/// Prints on a panic which case was being tried.
pub(crate) struct Trying<'a>(pub(crate) &'a dyn Fn() -> String);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("while trying: {}", (self.0)());
        }
    }
}

/// The result of a workload without faults: segments of which two were rewritten, and a log under
/// its second key.
pub(crate) fn whole_log() -> Contents {
    let disk = site();
    runtime().block_on(workload(&disk, &Promises::default())).unwrap();
    disk.contents()
}

fn site() -> SimulatedDisk {
    SimulatedDisk::new(folder().parent().unwrap())
}

/// Contents of a disk before one operation in a log's life.
pub(crate) struct Moment {
    pub(crate) contents: Contents,
    /// Leaves of the newest checkpoint that was published.
    pub(crate) published: u64,
}

/// Every moment of a workload without faults.
pub(crate) fn life() -> Vec<Moment> {
    let (disk, promises) = (site(), Promises::default());
    disk.keep_history();
    runtime().block_on(workload(&disk, &promises)).unwrap();
    let published = |promise: &Promise| match promise {
        Promise::Published(checkpoint) => checkpoint.size.get(),
        _ => 0,
    };
    let moments = disk.history().into_iter().enumerate();
    moments
        .map(|(operation, contents)| {
            let told = promises.before(operation);
            Moment { contents, published: told.iter().map(published).max().unwrap_or_default() }
        })
        .collect()
}

/// The operations of a workload without faults.
fn operations() -> Vec<Operation> {
    let disk = site();
    runtime().block_on(workload(&disk, &Promises::default())).unwrap();
    disk.operations()
}

/// Runs the workload with a fault at every operation that can have it. `outcome` checks how far the
/// workload came.
fn run_table(fault: Fault, outcome: impl Fn(Result<(), Stopped>)) {
    let runtime = runtime();
    let mut tried = 0;
    for (at, operation) in operations().into_iter().enumerate() {
        if !fault.can_happen_to(operation) {
            continue;
        }
        let _trying = Trying(&|| format!("{fault:?} at operation {at}, {operation:?}"));
        let (disk, promises) = (site(), Promises::default());
        disk.plan(Plan { at, fault, gate: None });
        outcome(runtime.block_on(workload(&disk, &promises)));
        assert!(!disk.is_plan_open(), "it never came to that");
        check_twice(&runtime, disk.restart().contents(), promises.all());
        tried += 1;
    }
    assert!(tried > 0);
    eprintln!("{fault:?}: {tried} operations");
}

#[test]
fn an_operation_that_fails_costs_nothing_that_was_promised() {
    run_table(Fault::Error, |_either| {});
}

#[test]
fn an_operation_that_fails_and_was_done_costs_nothing_that_was_promised() {
    run_table(Fault::ErrorButDone, |_either| {});
}

#[test]
fn a_short_read_or_write_is_gone_on_with() {
    run_table(Fault::Short, |outcome| outcome.unwrap());
}

#[test]
fn a_torn_write_costs_nothing_that_was_promised() {
    run_table(Fault::Torn, |_either| {});
}

#[test]
fn a_full_disk_stops_nothing_once_there_is_room_again() {
    run_table(Fault::NoSpace, |outcome| match outcome {
        // If opening or closing fails, someone makes room and starts it again.
        Ok(()) | Err(Stopped::Open(_) | Stopped::Close(_)) => {}
        Err(stopped) => panic!("a full disk stopped the log: {:?}", stopped.error()),
    });
}

#[test]
fn a_slow_operation_delays_and_breaks_nothing() {
    let runtime = runtime();
    for (at, operation) in operations().into_iter().enumerate() {
        let _trying = Trying(&|| format!("slow operation {at}, {operation:?}"));
        let (disk, promises) = (site(), Promises::default());
        let (reached, is_reached) = mpsc::channel();
        let (open, is_open) = mpsc::channel();
        let gate = Gate { reached, open: is_open };
        disk.plan(Plan { at, fault: Fault::Slow, gate: Some(gate) });
        thread::scope(|scope| {
            // If the test fails, the gate is dropped with it, and the workload ends.
            let open = open;
            let working = scope.spawn(|| self::runtime().block_on(workload(&disk, &promises)));
            is_reached.recv_timeout(DEADLINE).unwrap();
            // What was promised by now does not depend on the hanging operation: it stays true if
            // the power fails meanwhile.
            let promised = promises.all();
            let meanwhile = disk.contents().after(Loss::Everything);
            check_twice(&runtime, meanwhile, promised);
            open.send(()).unwrap();
            working.join().unwrap().unwrap();
        });
        let verified = verify_folder(&disk, folder(), None, &mut |_| {}).unwrap();
        assert_eq!(verified.leaves, LEAVES);
    }
}

#[test]
fn a_kill_or_a_loss_of_power_costs_nothing_that_was_promised() {
    let runtime = runtime();
    let (disk, promises) = (site(), Promises::default());
    disk.keep_history();
    runtime.block_on(workload(&disk, &promises)).unwrap();
    let history = disk.history();
    let losses = std::env::var("SEALWIRE_LOSSES").map_or(LOSSES, |count| count.parse().unwrap());
    for (operation, contents) in history.into_iter().enumerate() {
        let losses = (0..losses).map(|seed| Loss::Some((operation as u64) << 8 | seed));
        for loss in [Loss::Nothing, Loss::Everything].into_iter().chain(losses) {
            let _trying = Trying(&|| format!("{loss:?} before operation {operation}"));
            let (left, mut promised) = (contents.clone().after(loss), promises.before(operation));
            match loss {
                // Not everything that the start found is durable yet.
                Loss::Nothing => check_twice(&runtime, left, promised),
                _ => runtime.block_on(check(&SimulatedDisk::with(left), &mut promised)),
            }
        }
    }
}

#[test]
fn a_read_that_fails_now_may_succeed_later() {
    let disk = site();
    let (ledger, writer) = open(&disk).unwrap();
    let runtime = runtime();
    runtime.block_on(ledger.append(Batch::of(vec![event("1".to_owned())]))).unwrap();
    runtime.block_on(ledger.publish_checkpoint()).unwrap();
    for read in [
        |ledger: &Ledger| ledger.entries(0, 2).map(drop),
        |ledger: &Ledger| ledger.envelopes(0, 2, usize::MAX).map(drop),
        |ledger: &Ledger| ledger.prove(1).map(drop),
    ] {
        disk.plan(Plan { at: disk.operation_count(), fault: Fault::Error, gate: None });
        assert!(read(&ledger).unwrap_err().may_pass());
        read(&ledger).unwrap();
    }
    runtime.block_on(writer.close()).unwrap();
}
