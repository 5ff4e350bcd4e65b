//! A simulated site: the real poller, sealing, ledger, indexer and pipeline in one thread, from one
//! seed.
//!
//! The seed decides when sensors answer, who runs next, which operation of the disk fails, when the
//! process is killed or loses power, when the clock jumps, who goes away before an answer comes,
//! and what operators order. Everything is held to its invariants after each event (`truth`).
//!
//! `cargo xtask sites` tries seeds that nobody has tried; `cargo xtask sites SEED` repeats
//! one and tells each event. A seed that fails goes into `simulated_site/seeds`, and every run
//! tries those first.

mod dice;
mod index_files;
mod process;
mod sensors;
mod tasks;
mod truth;
mod visitors;
mod world;

use std::{
    cell::RefCell,
    env, fs,
    io::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use ledger::verify::verify_folder_with;
use model::{Envelope, completeness::Completeness};
use tokio::{runtime, task};

use self::{
    visitors::Asked,
    world::{End, World, folder},
};

/// Seeds of a run where nobody says how many.
const SEEDS_DEFAULT: u64 = 8;
/// Says how many seeds are tried.
const SEEDS: &str = "SEALWIRE_SITES_SEEDS";
/// The first of them; they follow each other.
const FIRST: &str = "SEALWIRE_SITES_FIRST";
/// The one seed that is tried, with each event told.
const SEED: &str = "SEALWIRE_SITES_SEED";
/// Events of one life.
const EVENTS_MAX: u64 = 9_000;
/// Events after which a process is stopped, if nothing ends it before.
const EVENTS_PER_PROCESS: u64 = 5_000;

/// Processes after which a site on a healthy disk has come back.
const PROCESSES_MAX: u32 = 10;
/// Bytes of the stack of a life: turns within turns take more than a thread's two megabytes.
const STACK_BYTES: usize = 32 << 20;

/// One life of a site: several processes, one after the other. Answers what happened, in 64 bits.
fn live(seed: u64, is_loud: bool) -> u64 {
    let (world, _leaving) = World::begin(seed, is_loud);
    let asked = RefCell::new(Asked::default());
    while world.events() < EVENTS_MAX {
        let stop_after = world.dice.below(EVENTS_PER_PROCESS);
        run_process(&world, &asked, stop_after);
    }
    // The disk is healthy now, and time goes on until a process closes the log.
    world.heal();
    let mut ends = (0..PROCESSES_MAX).map(|_| run_process(&world, &asked, 400));
    assert!(ends.any(|end| end == End::Stopped), "the site does not come back");
    world.digest()
}

fn run_process(world: &std::rc::Rc<World>, asked: &RefCell<Asked>, stop_after: u64) -> End {
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(task::unconstrained(process::live(world, asked, stop_after)));
    let end = world.end.get().expect("a process lives until its end");
    let ended_at = {
        // The paused clock is the runtime's.
        let _context = runtime.enter();
        world.tasks.clear();
        world.now()
    };
    drop(runtime);
    world.truth.borrow_mut().closed();
    world.note(|| format!("the process ended: {end:?}"));
    world.end_process(ended_at);
    if end == End::Stopped {
        verify(world);
    }
    end
}

/// What a site that has stopped leaves: a whole log, every poll of it accounted for, an index that
/// says what the log says, and nothing of what was erased.
fn verify(world: &World) {
    let disk = world.left();
    let mut completeness = Completeness::of_log();
    let verified =
        verify_folder_with(
            &disk,
            folder(),
            None,
            &mut |_| {},
            &mut |leaf, envelope| match envelope {
                Some(bytes) => completeness.take(leaf, &Envelope::parse(bytes).unwrap().event),
                None => completeness.take_erased(),
            },
        );
    let verified = verified.unwrap();
    assert!(completeness.is_complete());
    let truth = world.truth.borrow();
    assert!(verified.leaves >= truth.size());
    assert_eq!(verified.checkpoint.size.get(), verified.leaves, "a checkpoint covers everything");
    world.index.compare(&disk, &truth);
}

/// Lives a seed; a failure is told with how to repeat it.
fn try_seed(seed: u64, is_loud: bool) -> Result<u64, u64> {
    let living = thread::Builder::new().stack_size(STACK_BYTES);
    let living = living.spawn(move || live(seed, is_loud)).unwrap();
    living.join().map_err(|_panic| {
        eprintln!("seed {seed} fails; repeat it with: cargo xtask sites {seed}");
        seed
    })
}

fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/simulated_site/seeds")
}

/// The seeds that failed once, one at the beginning of each line.
fn kept_seeds() -> Vec<u64> {
    let text = fs::read_to_string(kept()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// Keeps a seed for every later run.
fn keep(seed: u64) {
    if !kept_seeds().contains(&seed) {
        let file = fs::OpenOptions::new().append(true).open(kept());
        // Where the sources cannot be written, what was told must do.
        let _told = file.and_then(|mut file| writeln!(file, "{seed} failed"));
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn a_site_keeps_its_promises_whatever_happens() {
    if let Some(seed) = number(SEED) {
        assert!(try_seed(seed, true).is_ok());
        return;
    }
    let first = number(FIRST).unwrap_or_default();
    let mut seeds = kept_seeds();
    seeds.extend(first..first.wrapping_add(number(SEEDS).unwrap_or(SEEDS_DEFAULT)));
    let mut tried = std::collections::BTreeSet::new();
    seeds.retain(|seed| tried.insert(*seed));
    let next = AtomicU64::new(0);
    let failed = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let trying = || {
            std::iter::from_fn(|| seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize).copied())
                .find_map(|seed| try_seed(seed, false).err())
        };
        let trying: Vec<_> = (0..threads).map(|_| scope.spawn(trying)).collect();
        trying.into_iter().filter_map(|trying| trying.join().unwrap()).collect::<Vec<u64>>()
    });
    failed.iter().for_each(|seed| keep(*seed));
    assert_eq!(failed, [0; 0], "these seeds fail");
}

#[test]
fn one_seed_is_one_life() {
    assert_eq!(try_seed(7, false), try_seed(7, false));
}
