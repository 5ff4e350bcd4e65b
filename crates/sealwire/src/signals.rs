//! Signals that ask the process to end: it ends in order.
//!
//! SIGINT, SIGTERM and SIGHUP mean the same. A second one changes nothing: a supervisor may send
//! several, and a terminal that closes sends its own beside it. Only who presses Ctrl-C once more
//! at a terminal, a moment after the first, ends the process at once. A SIGHUP that whoever started
//! the process had it ignore, as `nohup` does, is ignored.

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

/// A second Ctrl-C is meant as one when it comes this much later: wrappers pass on what the
/// terminal has sent already.
const DELIBERATE: Duration = Duration::from_secs(1);
/// How long a command may take to clear away what it has not finished: some folders of files.
const CLEARING_TIMEOUT: Duration = Duration::from_secs(10);

/// A token that is cancelled when the process is asked to end. Whoever runs stops in order, and in
/// bounded time.
pub(crate) fn shutdown() -> Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    listen(None, move || token.cancel())?;
    Ok(shutdown)
}

/// What a command looks at that makes files: when the process is asked to end, it clears away what
/// it has not finished.
pub(crate) fn stop() -> Result<Stop> {
    let stop = Stop::default();
    let asked = stop.clone();
    listen(Some(CLEARING_TIMEOUT), move || asked.ask())?;
    Ok(stop)
}

/// Which signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Interrupt,
    Terminate,
    HangUp,
}

/// What follows from a signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    /// Stop in order.
    Stop,
    /// It is being stopped already.
    GoOn,
    /// End at once.
    EndNow,
}

/// What was asked so far.
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

/// The signals, from now on ours.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where it is ignored.
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

/// Calls `stop` at the first signal, on a thread that lives as long as the process: also a command
/// that waits for the disk is heard.
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
            () = too_long => return end_now("it takes too long to stop"),
        };
        match asking.handle(asked, Instant::now()) {
            Answer::Stop => {
                if is_at_terminal {
                    output::note("sealwire: stopping in order; Ctrl-C once more ends it at once");
                }
                stop();
            }
            Answer::GoOn => output::note("sealwire: it is being stopped in order already"),
            Answer::EndNow => return end_now("stopped without waiting, as asked"),
        }
    }
}

/// What was acknowledged is durable, engines end with us, and what a command leaves the next one
/// clears away.
fn end_now(why: &str) {
    output::note(&format!("sealwire: {why}"));
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .expect("a process may end itself");
}

/// Whether whoever started the process had it ignore SIGHUP. Linux tells; elsewhere it is taken as
/// not ignored.
fn ignores_hang_up() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, 1))
}

/// Whether a signal is in the set of those that are ignored, in the kernel's words.
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
