//! The world of one life: the disk, the clock, the tasks and the dice. Everything runs in one
//! thread. A turn polls one task, runs one piece of blocking work or has the log's writer take one
//! step, as the dice say. Before each operation of the disk there may be turns of others, faults,
//! and the end of the process.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    path::Path,
    rc::Rc,
    time::Duration,
};

use durable::simulated_disk::{Fault, Loss, Operation, Plan, SimulatedDisk};
use ledger::{Stepped, SteppedWriter};
use model::Timestamp;
use poll::Bus;
use tokio::time::Instant;

use super::{dice::Dice, index_files::IndexFiles, sensors::Sensor, tasks::Tasks, truth::Truth};

/// 2027-01-15T08:00:00Z, after every version of this program.
const BEGINS_AT_MICROS: i64 = 1_800_000_000_000_000;
/// How deep turns may be within turns.
const DEPTH_MAX: u32 = 2;
/// One operation of the disk in so many ends the process.
const OPERATIONS_PER_KILL: u64 = 4_000;
/// One operation in so many begins a fault of the disk.
const OPERATIONS_PER_FAULT: u64 = 1_500;
/// Before one operation in so many, others have turns.
const OPERATIONS_PER_INTERRUPTION: u64 = 6;
/// One interruption in so many is long: as a thread that gets no turn for a while.
const INTERRUPTIONS_PER_LONG_ONE: u64 = 8;
/// After one turn in so many, within an operation of the disk, a visitor goes away.
const TURNS_PER_LEAVING: u64 = 6;
/// Events that a failure is told with.
const TOLD_MAX: usize = 60;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// It closed its log.
    Stopped,
    /// It could not open its log, or the log stopped.
    Failed,
    Killed,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) dice: Dice,
    pub(super) tasks: Tasks,
    pub(super) bus: Cell<Bus>,
    pub(super) sensors: Vec<Rc<RefCell<Sensor>>>,
    pub(super) truth: RefCell<Truth>,
    pub(super) index: IndexFiles,
    pub(super) writer: RefCell<Option<SteppedWriter>>,
    pub(super) end: Cell<Option<End>>,
    /// The number of the key that signs the log.
    pub(super) key: Cell<u8>,
    /// Whether a rotation is under way, or of one it is not known whether it was sealed.
    pub(super) is_rotating: Cell<bool>,
    disk: RefCell<SimulatedDisk>,
    /// The disk that a killed process leaves.
    left: RefCell<Option<SimulatedDisk>>,
    /// The wall clock when the process began, and the moment of that.
    began: Cell<(i64, Option<Instant>)>,
    depth: Cell<u32>,
    /// Faults of the disk so far.
    faults: Cell<u64>,
    events: Cell<u64>,
    told: RefCell<VecDeque<String>>,
    digest: Cell<u64>,
    is_loud: bool,
    /// Whether nothing fails any more, and nobody is killed.
    is_healthy: Cell<bool>,
}

pub(super) fn folder() -> &'static Path {
    Path::new("/site/ledger")
}

/// The world of this thread.
pub(super) fn world() -> Rc<World> {
    WORLD.with_borrow(|world| Rc::clone(world.as_ref().expect("this thread simulates a site")))
}

fn before_operation(operation: Operation) {
    if let Some(world) = WORLD.with_borrow(Clone::clone) {
        world.interrupt(operation);
    }
}

fn begin_order(order: work::simulation::Task) {
    world().tasks.begin("an order", order);
}

fn wall() -> Timestamp {
    world().now()
}

/// Takes the world out of its thread at the end of a life, also of one that fails.
pub(super) struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(world) = WORLD.take() {
            if std::thread::panicking() {
                world.tell_the_end();
            }
            world.tasks.clear();
        }
    }
}

impl World {
    /// Begins the world of a seed in this thread.
    pub(super) fn begin(seed: u64, is_loud: bool) -> (Rc<Self>, Leaving) {
        let disk = SimulatedDisk::new(Path::new("/site"));
        disk.before_each(before_operation);
        let world = Rc::new(Self {
            seed,
            dice: Dice::new(seed),
            tasks: Tasks::default(),
            bus: Cell::new(Bus::Up),
            sensors: Sensor::all(),
            truth: RefCell::default(),
            index: IndexFiles::new(),
            writer: RefCell::new(None),
            end: Cell::new(None),
            key: Cell::new(1),
            is_rotating: Cell::new(false),
            disk: RefCell::new(disk),
            left: RefCell::new(None),
            began: Cell::new((BEGINS_AT_MICROS, None)),
            depth: Cell::new(0),
            faults: Cell::new(0),
            events: Cell::new(0),
            told: RefCell::default(),
            digest: Cell::new(0xcbf2_9ce4_8422_2325),
            is_loud,
            is_healthy: Cell::new(false),
        });
        WORLD.set(Some(Rc::clone(&world)));
        clock::simulate(wall);
        work::simulation::begin(begin_order);
        (world, Leaving)
    }

    /// The disk of the running process.
    pub(super) fn disk(&self) -> SimulatedDisk {
        self.disk.borrow().clone()
    }

    /// The wall clock, which jumps.
    pub(super) fn now(&self) -> Timestamp {
        let (micros, began) = self.began.get();
        let since = began.map_or(Duration::ZERO, |began| began.elapsed());
        Timestamp::from_unix_micros(micros + since.as_micros() as i64)
    }

    /// Both clocks, as the poller takes them.
    pub(super) fn poll_now(&self) -> poll::Now {
        let since = self.began.get().1.map_or(Duration::ZERO, |began| began.elapsed());
        poll::Now { monotonic: poll::Instant::after_start(since), wall: self.now() }
    }

    pub(super) fn set_clock(&self, by_micros: i64) {
        let (micros, began) = self.began.get();
        self.began.set((micros + by_micros, began));
        self.note(|| format!("the clock is set by {by_micros} us"));
    }

    /// A process begins, on what the one before it left.
    pub(super) fn begin_process(&self) {
        self.end.set(None);
        if let Some(left) = self.left.take() {
            self.disk.replace(left);
        }
        self.bus.set(Bus::Up);
        self.is_rotating.set(false);
        self.began.set((self.now_unmoved(), Some(Instant::now())));
        self.note(|| "a process begins".to_owned());
    }

    fn now_unmoved(&self) -> i64 {
        self.began.get().0
    }

    /// The process is gone. Time does not stand still until the next one.
    pub(super) fn end_process(&self, at: Timestamp) {
        self.began.set((at.unix_micros() + self.dice.below(20_000_000) as i64, None));
        self.tasks.clear();
        work::simulation::begin(begin_order);
        drop(self.writer.take());
        if self.left.borrow().is_none() {
            let contents = self.disk.borrow().restart().contents();
            self.leave(SimulatedDisk::with(contents));
        }
        self.index.after(self);
    }

    fn leave(&self, disk: SimulatedDisk) {
        disk.before_each(before_operation);
        self.left.replace(Some(disk));
    }

    /// Kills the process, or takes its power.
    pub(super) fn kill(&self) {
        let loss = match self.dice.below(4) {
            0 => Loss::Nothing,
            1 => Loss::Everything,
            _ => Loss::Some(self.dice.draw()),
        };
        self.note(|| format!("killed, losing {loss:?}"));
        let contents = self.disk.borrow().contents().after(loss);
        self.disk.borrow().restart();
        self.leave(SimulatedDisk::with(contents));
        self.index.keep();
        self.end.set(Some(End::Killed));
    }

    /// Before each operation of the disk: anything may happen.
    fn interrupt(&self, operation: Operation) {
        if self.end.get().is_some() {
            return;
        }
        if self.can_fail() && self.dice.once_in(OPERATIONS_PER_KILL) {
            self.note(|| format!("before an operation: {operation:?}"));
            return self.kill();
        }
        let is_open = self.disk.borrow().is_plan_open();
        if self.can_fail() && !is_open && self.dice.once_in(OPERATIONS_PER_FAULT) {
            self.plan_fault();
        }
        if self.depth.get() < DEPTH_MAX && self.dice.once_in(OPERATIONS_PER_INTERRUPTION) {
            self.depth.set(self.depth.get() + 1);
            let turns = if self.dice.once_in(INTERRUPTIONS_PER_LONG_ONE) { 150 } else { 12 };
            for _turn in 0..self.dice.within(1..turns) {
                if self.end.get().is_some() || !self.turn() {
                    break;
                }
                if self.dice.once_in(TURNS_PER_LEAVING) {
                    self.go_away();
                }
            }
            self.depth.set(self.depth.get() - 1);
        }
    }

    fn plan_fault(&self) {
        let faults = [Fault::Error, Fault::ErrorButDone, Fault::Short, Fault::Torn, Fault::NoSpace];
        let fault = *self.dice.of(&faults);
        let at = self.disk.borrow().operation_count() + self.dice.below(20) as usize;
        self.disk.borrow().plan(Plan { at, fault, gate: None });
        self.faults.set(self.faults.get() + 1);
        self.note(|| format!("the disk will fail: {fault:?}"));
    }

    /// Whether the disk may fail, and the process may be killed.
    pub(super) fn can_fail(&self) -> bool {
        !self.is_healthy.get()
    }

    /// From now on nothing fails.
    pub(super) fn heal(&self) {
        self.is_healthy.set(true);
    }

    /// The disk as the last process left it.
    pub(super) fn left(&self) -> SimulatedDisk {
        self.left.borrow().clone().expect("a process has ended")
    }

    /// A process cannot start. Only the disk may be the reason.
    pub(super) fn fails_to_start<T>(
        &self,
        faults: u64,
        error: &dyn std::error::Error,
    ) -> Option<T> {
        self.note(|| format!("the site does not start: {}", model::error_chain(error)));
        if self.end.get().is_none() {
            let is_of_the_disk = self.faults() > faults;
            assert!(is_of_the_disk, "{}", model::error_chain(error));
            self.end.set(Some(End::Failed));
        }
        None
    }

    /// Faults of the disk until now.
    pub(super) fn faults(&self) -> u64 {
        self.faults.get()
    }

    /// One turn of someone who is ready. `false` if nobody is.
    pub(super) fn turn(&self) -> bool {
        let tasks = self.tasks.ready();
        let pieces = work::simulation::waiting();
        let writer = self.writer.borrow().as_ref().is_some_and(SteppedWriter::is_ready);
        let choices = tasks.len() + pieces + usize::from(writer);
        if choices == 0 {
            return false;
        }
        let chosen = self.dice.below(choices as u64) as usize;
        if let Some(task) = tasks.get(chosen) {
            self.note(|| format!("task {task}: {}", self.tasks.name(*task)));
            self.tasks.poll(*task);
        } else if chosen < tasks.len() + pieces {
            let at = chosen - tasks.len();
            self.note(|| format!("piece of work {at} of {pieces}"));
            work::simulation::take(at).expect("it waits").run();
        } else {
            self.step_writer();
        }
        if self.end.get().is_none() {
            self.look();
        }
        true
    }

    /// A visitor goes away before the answer comes.
    pub(super) fn go_away(&self) {
        let visitors = self.tasks.visitors();
        if !visitors.is_empty() {
            let gone = *self.dice.of(&visitors);
            self.note(|| format!("task {gone} is dropped"));
            self.tasks.drop_task(gone);
        }
    }

    fn step_writer(&self) {
        let Some(mut writer) = self.writer.take() else { return };
        let joins = !self.dice.once_in(4);
        self.note(|| format!("the writer, joins: {joins}"));
        let stepped = writer.step(self.now(), joins);
        self.writer.replace(Some(writer));
        if stepped != Stepped::On {
            self.note(|| format!("the writer: {stepped:?}"));
        }
    }

    /// Holds the site to everything that must be so at every moment.
    pub(super) fn look(&self) {
        let disk = self.disk();
        disk.calmly(|| self.truth.borrow_mut().look(self, &disk));
    }

    pub(super) fn events(&self) -> u64 {
        self.events.get()
    }

    /// What happened in this life, in 64 bits.
    pub(super) fn digest(&self) -> u64 {
        self.digest.get()
    }

    /// Notes an event of this life.
    pub(super) fn note(&self, event: impl FnOnce() -> String) {
        self.events.set(self.events.get() + 1);
        let event = event();
        let number = self.events.get();
        let operations = self.disk.borrow().operation_count();
        let line = format!("{number} [{operations}] {event}");
        for byte in line.bytes() {
            self.digest.set((self.digest.get() ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        }
        if self.is_loud {
            eprintln!("{line}");
        }
        let mut told = self.told.borrow_mut();
        if told.len() == TOLD_MAX {
            told.pop_front();
        }
        told.push_back(line);
    }

    fn tell_the_end(&self) {
        if !self.is_loud {
            for line in &*self.told.borrow() {
                eprintln!("{line}");
            }
        }
    }
}
