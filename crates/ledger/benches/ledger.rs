//! The cost of each step of a log, one question per benchmark: how long does it take until a batch
//! is durable, to make a proof, to start, to verify?
//!
//! `cargo bench -p ledger`. `sealwire bench ledger` measures all of it under load and compares it
//! with the machine.

use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ledger::{Batch, Ledger, Writer, disk::RealDisk, verify::verify_folder};
use model::Event;
use tlog::Signer;
use tokio::runtime::Runtime;

/// Number of leaves of the log that is read.
const LEAVES: u64 = 200_000;

fn open(folder: &Path) -> (Ledger, Writer) {
    let name = "sealwire.test/bench".parse().expect("it is a key's name");
    Ledger::open(folder, Signer::from_seed(name, &[1; 32])).expect("the log opens")
}

fn events(count: usize) -> Vec<Event> {
    let event = |number| Event {
        action: Some(String::from("SENSOR_READING")),
        message: format!("Boiler Room.T1: {number}.50"),
        new: Some(format!("{number}.50")),
        source: Some(String::from("Boiler Room.T1")),
        status: Some(String::from("SUCCESS")),
        timestamp: Some(String::from("2026-11-25T03:01:23.654321Z")),
        ..Event::default()
    };
    (0..count).map(event).collect()
}

fn appends(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("there is a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is a disk");
    let (ledger, writer) = open(folder.path());
    let mut group = criterion.benchmark_group("append");
    for count in [1, 1_000] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("a batch of {count}"), |bencher| {
            bencher.iter_batched(
                || Batch::of(events(count)),
                |batch| runtime.block_on(ledger.append(batch)).expect("it is sealed"),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    runtime.block_on(writer.close()).expect("the log closes");
}

fn readers(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("there is a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is a disk");
    let (ledger, writer) = open(folder.path());
    while ledger.size() < LEAVES {
        runtime.block_on(ledger.append(Batch::of(events(1_000)))).expect("it is sealed");
    }
    runtime.block_on(ledger.publish_checkpoint()).expect("a checkpoint covers it");
    let mut leaf = 0;
    criterion.bench_function("prove one leaf", |bencher| {
        bencher.iter(|| {
            // A prime step, because neighbouring leaves share parts of the tree.
            leaf = (leaf + 7_919) % LEAVES;
            ledger.prove(leaf).expect("it can be read").expect("it is in the log")
        });
    });
    runtime.block_on(writer.close()).expect("the log closes");
    drop(ledger);
    criterion.bench_function("open a log that was closed", |bencher| {
        bencher.iter_with_large_drop(|| open(folder.path()));
    });
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(LEAVES)).sample_size(10);
    group.bench_function("a whole log", |bencher| {
        bencher
            .iter(|| verify_folder(&RealDisk, folder.path(), None, &mut |_| {}).expect("it holds"));
    });
    group.finish();
}

criterion_group!(benches, appends, readers);
criterion_main!(benches);
