//! What makes a race end otherwise than usual: a loaded machine, slow system calls, stops.
//!
//! What varies does so by the number of the round, so that a round can be run again.

use std::{
    fmt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use crate::{
    debian,
    shell::{output, say},
};

/// Calls that a slow disk delays. A `?` stands before those that not every processor has.
const OF_THE_DISK: &str = "fsync,fdatasync,pwrite64,pread64,openat,ftruncate,?rename,renameat,\
                           ?renameat2,?unlink,unlinkat";
/// Calls at which threads and processes wait for each other.
const OF_TURNS: &str = "futex,?epoll_wait,epoll_pwait,accept4,recvfrom,sendto,write,flock";
/// Longest delay of a call of the disk: that of an fsync on a busy one.
const DISK_MICROS_MAX: u64 = 20_000;
/// Longest delay of a turn: some of the scheduler's time slices.
const TURN_MICROS_MAX: u64 = 5_000;
/// At most every so manieth call is delayed, so that a test ends.
const STEP_MAX: u64 = 12;
/// Longest time for which a process runs between two stops, and for which it is stopped.
const PAUSE_MICROS_MAX: u64 = 50_000;

/// The kinds of circumstances.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Only that others take the processor.
    Loaded,
    /// System calls are delayed by strace.
    SlowCalls,
    /// The process is stopped and goes on.
    Stopped,
}

/// Those that this machine can make.
pub(super) fn all_here() -> Result<Vec<Kind>> {
    let mut kinds = vec![Kind::Loaded, Kind::Stopped];
    if has_strace()? {
        kinds.push(Kind::SlowCalls);
    }
    Ok(kinds)
}

/// Whether calls can be delayed here. Where strace is missing and Debian's packages can be
/// installed, it is.
fn has_strace() -> Result<bool> {
    let traces = || output("strace", &["-f", "-qq", "-o", "/dev/null", "true"]).is_some();
    if !traces() && output("strace", &["--version"]).is_none() {
        debian::install(&["strace"])?;
    }
    let is_there = traces();
    if !is_there {
        say("skipped: slow system calls; they need Linux, strace, and the right to trace");
    }
    Ok(is_there)
}

impl Kind {
    pub(super) const fn in_round(self, round: u64) -> Circumstance {
        Circumstance { kind: self, round }
    }
}

/// A kind of circumstance as it is in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstance {
    kind: Kind,
    round: u64,
}

impl Circumstance {
    /// Starts a program in it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let Kind::SlowCalls = self.kind else { return Command::new(program) };
        let mut strace = Command::new("strace");
        // Only the calls that are delayed cost anything.
        strace.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]);
        strace.arg(format!("--trace={OF_THE_DISK},{OF_TURNS}"));
        strace.args(self.delays().map(|delay| format!("--inject={delay}")));
        strace.arg("--").arg(program);
        strace
    }

    /// Which calls are delayed, by how much, and which of them.
    fn delays(&self) -> [String; 2] {
        let mut chance = Chance::of(self.round);
        [(OF_THE_DISK, DISK_MICROS_MAX), (OF_TURNS, TURN_MICROS_MAX)].map(|(calls, micros_max)| {
            let micros = chance.up_to(micros_max);
            let step = chance.up_to(STEP_MAX);
            let first = chance.up_to(step);
            // Half of the rounds are late before a call is made, the others before it returns.
            let moment = if self.round.is_multiple_of(2) { "enter" } else { "exit" };
            format!("{calls}:delay_{moment}={micros}:when={first}+{step}")
        })
    }

    /// When the process is stopped, if it is.
    pub(super) fn pauses(&self) -> Option<Pauses> {
        matches!(self.kind, Kind::Stopped).then(|| Pauses(Chance::of(self.round)))
    }
}

impl fmt::Display for Circumstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Loaded => f.write_str("a loaded machine"),
            Kind::Stopped => f.write_str("a loaded machine, stopped again and again"),
            Kind::SlowCalls => write!(f, "slow calls: {}", self.delays().join(" ")),
        }
    }
}

/// For how long the process runs, and for how long it is stopped then, for ever.
#[derive(Clone, Debug)]
pub(super) struct Pauses(Chance);

impl Iterator for Pauses {
    type Item = (Duration, Duration);

    fn next(&mut self) -> Option<Self::Item> {
        let mut pause = || Duration::from_micros(self.0.up_to(PAUSE_MICROS_MAX));
        Some((pause(), pause()))
    }
}

/// Numbers that look like chance and are the same in each run (SplitMix64).
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    const fn of(round: u64) -> Self {
        Self(round)
    }

    /// A number from 1 up to this one.
    const fn up_to(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1 + (mixed ^ (mixed >> 31)) % max
    }
}

/// Threads that keep every core busy until it is dropped.
#[derive(Debug)]
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn begin() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let spin = || {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        Self { threads: (0..cores).map(|_| spin()).collect(), is_over }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("spinning does not panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_the_same_again_and_another_one_is_not() {
        let delays = |round| Kind::SlowCalls.in_round(round).delays();
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
        let pauses = |round| Kind::Stopped.in_round(round).pauses().unwrap().take(9);
        assert!(pauses(7).eq(pauses(7)) && pauses(7).ne(pauses(8)));
        let max = Duration::from_micros(PAUSE_MICROS_MAX);
        assert!(pauses(7).all(|(runs, stops)| !runs.is_zero() && runs.max(stops) <= max));
    }
}
