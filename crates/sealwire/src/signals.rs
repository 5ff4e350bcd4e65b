//! Signals that ask the process to end in order.
//!
//! SIGINT, SIGTERM and SIGHUP mean the same. A second one changes nothing: a supervisor may send
//! several, and a terminal that closes sends its own as well. The exception is a second Ctrl-C at a
//! terminal, at least a second after the first: it ends the process at once. A SIGHUP that was
//! ignored when the process started, as under `nohup`, stays ignored.

use std::{
    fs,
    io::{self, IsTerminal as _},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use durable::Stop;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::output;

/// Time after which a second Ctrl-C counts as deliberate. An earlier one may be a copy: wrappers
/// forward the signal that the terminal has sent already.
const DELIBERATE: Duration = Duration::from_secs(1);
/// Time that a command has to remove its unfinished files: a few folders of them.
const CLEARING_TIMEOUT: Duration = Duration::from_secs(10);

/// A token that is cancelled when the process is asked to end. The caller must then stop in order
/// and in bounded time.
pub(crate) fn shutdown() -> Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    listen(None, move || token.cancel())?;
    Ok(shutdown)
}

/// For a command that creates files: tells it when the process is asked to end. The command must
/// then remove its unfinished files.
pub(crate) fn stop() -> Result<Stop> {
    let stop = Stop::default();
    let asked = stop.clone();
    listen(Some(CLEARING_TIMEOUT), move || asked.ask())?;
    Ok(stop)
}

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Interrupt,
    Terminate,
    HangUp,
}

/// The reaction to a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    /// Stop in order.
    Stop,
    /// Ignore it: the process is stopping already.
    GoOn,
    /// End at once.
    EndNow,
}

/// The requests so far.
#[derive(Debug)]
struct Asking {
    is_at_terminal: bool,
    since: Option<Instant>,
}

impl Asking {
    fn handle(&mut self, asked: Asked, now: Instant) -> Answer {
        let Some(since) = self.since else {
            self.since = Some(now);
            return Answer::Stop;
        };
        let is_deliberate = asked == Asked::Interrupt && now.duration_since(since) >= DELIBERATE;
        if is_deliberate && self.is_at_terminal { Answer::EndNow } else { Answer::GoOn }
    }
}

/// The signals that this process handles itself.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if the process ignores SIGHUP.
    hang_up: Option<Signal>,
}

impl Signals {
    fn take() -> io::Result<Self> {
        let hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    async fn next(&mut self) -> Asked {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = hang_up => Asked::HangUp,
        }
    }
}

/// Calls `stop` at the first signal. Runs on a thread that lives as long as the process, so a
/// command that waits for the disk reacts too.
fn listen(patience: Option<Duration>, stop: impl Fn() + Send + 'static) -> Result<()> {
    let start = || -> io::Result<(Runtime, Signals)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let signals = Signals::take()?;
        drop(guard);
        Ok((runtime, signals))
    };
    let (runtime, signals) = start().context("cannot listen to signals")?;
    let answering = move || runtime.block_on(answer(signals, patience, stop));
    let spawned = thread::Builder::new().name(String::from("signals")).spawn(answering);
    spawned.context("cannot listen to signals")?;
    Ok(())
}

async fn answer(mut signals: Signals, patience: Option<Duration>, stop: impl Fn()) {
    let is_at_terminal = io::stderr().is_terminal();
    let mut asking = Asking { is_at_terminal, since: None };
    loop {
        let end = asking.since.zip(patience).map(|(since, patience)| since + patience);
        let too_long = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let asked = tokio::select! {
            asked = signals.next() => asked,
            () = too_long => return end_now("stopping took too long"),
        };
        match asking.handle(asked, Instant::now()) {
            Answer::Stop => {
                if is_at_terminal {
                    output::note("sealwire: stopping; press Ctrl-C again to end at once");
                }
                stop();
            }
            Answer::GoOn => output::note("sealwire: already stopping"),
            Answer::EndNow => return end_now("ended at once, as asked"),
        }
    }
}

/// Ends the process at once. This is safe: acknowledged events are durable, engines end with this
/// process, and the next command removes unfinished files.
fn end_now(why: &str) {
    output::note(&format!("sealwire: {why}"));
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .expect("a process may end itself");
}

/// Whether SIGHUP was ignored when the process started. Linux reports it; other systems count as
/// not ignoring it.
fn ignores_hang_up() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, 1))
}

/// Whether a signal is in the set of ignored signals in the kernel's status text.
fn ignores(status: &str, signal: u32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_deliberate_second_ctrl_c_cuts_a_stop_short() {
        use Asked::{HangUp, Interrupt, Terminate};
        let begin = Instant::now();
        for first in [Interrupt, Terminate, HangUp] {
            for second in [Interrupt, Terminate, HangUp] {
                for is_at_terminal in [true, false] {
                    for after in [Duration::ZERO, DELIBERATE / 2, DELIBERATE, DELIBERATE * 60] {
                        let mut asking = Asking { is_at_terminal, since: None };
                        assert_eq!(asking.handle(first, begin), Answer::Stop);
                        let expected =
                            if second == Interrupt && is_at_terminal && after >= DELIBERATE {
                                Answer::EndNow
                            } else {
                                Answer::GoOn
                            };
                        let answer = asking.handle(second, begin + after);
                        assert_eq!(answer, expected, "{first:?} {second:?} {after:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_kernel_says_what_is_ignored() {
        let status = "Name:\tsealwire\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, 1) && ignores(status, 13));
        assert!(!ignores(status, 2) && !ignores("Name:\tsealwire\n", 1));
    }
}
