//! Watches the machine's clock, asks whether a time server sets it, and seals what it finds.

use std::{convert::Infallible, io, process::Stdio, time::Duration};

use clock::{Source, Step, Synchronised};
use model::{Event, action};
use tokio::{
    io::AsyncReadExt as _,
    process::Command,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use work::Service;

use crate::{
    sealing::ToSeal,
    site_clock::{Quality, SiteClock},
};

/// Time between two looks at the clock.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between two questions whether the clock is synchronised; after a step it is asked at once.
/// A daemon sees each minute or more rarely what its server says.
const ASK_PERIOD: Duration = Duration::from_secs(60);
/// Time that one program has for its answer, which comes over a local socket.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest answer that is read. A sound one has 200 bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// Least time between two events about steps. Those that come faster are sealed as one.
const STEP_EVENTS_PERIOD: Duration = Duration::from_secs(10);

/// Looks at the clock each second, asks whether it is synchronised each minute, and seals changes.
#[derive(Debug)]
pub struct Timekeeping {
    /// The clock.
    pub clock: SiteClock,
    /// Seals the events. It does not keep the queue open.
    pub events: mpsc::WeakSender<ToSeal>,
}

impl Service for Timekeeping {
    const NAME: &'static str = "the watch over the clock";
    /// Whatever the clock does, the watch goes on.
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut asked, mut told_step): (Option<Instant>, Option<Instant>) = (None, None);
        let mut is_told = false;
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let stepped = self.clock.unsealed();
            let is_due =
                |last: Option<Instant>, period| last.is_none_or(|at| at.elapsed() >= period);
            if let Some(step) = stepped.filter(|_| is_due(told_step, STEP_EVENTS_PERIOD))
                && self.seal(stepped_event(step))
            {
                told_step = Some(Instant::now());
                self.clock.sealed();
                asked = None;
            }
            if !is_due(asked, ASK_PERIOD) {
                continue;
            }
            let Some(answer) = shutdown.run_until_cancelled(ask_all()).await else { break };
            asked = Some(Instant::now());
            is_told &= !self.clock.learn(answer);
            // If the queue is full, the next answer is sealed.
            is_told = is_told || self.seal(quality_event(self.clock.quality()));
        }
        Ok(())
    }
}

impl Timekeeping {
    /// Whether the event is on its way.
    fn seal(&self, event: Event) -> bool {
        self.events.upgrade().is_some_and(|events| events.try_send(event.into()).is_ok())
    }
}

fn stepped_event(Step { from, to, is_believed }: Step) -> Event {
    let (by, way) = if to < from { (from.since(to), "back") } else { (to.since(from), "ahead") };
    let mut message = format!("the machine's clock went {way} by {:.3} s", by.as_secs_f64());
    if !is_believed {
        message.push_str(
            ", which is not believed: events also carry the site's own time until it is right",
        );
    }
    let mut event = Event::site(action::CLOCK_STEPPED, "clock", message, clock::now());
    event.old = Some(from.to_string());
    event.new = Some(to.to_string());
    event
}

fn quality_event(quality: Quality) -> Event {
    let Quality { synchronised, offset_ms, source, .. } = quality;
    let (state, message) = match (synchronised, source) {
        (Some(true), Some(source)) => {
            let offset = offset_ms.map(|offset| format!(", {offset:+.3} ms off"));
            let offset = offset.unwrap_or_default();
            ("synchronised", format!("{source}: the machine's clock is synchronised{offset}"))
        }
        (Some(false), Some(source)) => {
            ("not synchronised", format!("{source}: the machine's clock is not synchronised"))
        }
        _ => (
            "unknown",
            String::from(
                "nobody says whether the machine's clock is synchronised: neither chronyc nor \
                 timedatectl answers",
            ),
        ),
    };
    let mut event = Event::site(action::CLOCK_QUALITY, "clock", message, clock::now());
    event.new = Some(String::from(state));
    event
}

/// Asks the programs that may know, until one does.
async fn ask_all() -> Synchronised {
    for source in Source::ALL {
        if let Some(answer) = ask(source, source.program()).await {
            return answer;
        }
    }
    Synchronised::default()
}

/// Asks one program; `None` if it is not there, fails, or says nothing of the clock in time.
async fn ask(source: Source, program: &str) -> Option<Synchronised> {
    let answer = timeout(ANSWER_MAX, output(source, program)).await;
    let answer = answer.ok()?.inspect_err(|error| debug!(program, %error, "is not asked")).ok()?;
    source.read(&answer)
}

async fn output(source: Source, program: &str) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(source.arguments())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut answer = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    }
    let status = child.wait().await?;
    if status.success() { Ok(answer) } else { Err(io::Error::other(status.to_string())) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use model::Timestamp;

    use super::*;

    async fn say(script: &str) -> Option<Synchronised> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("timedatectl");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        ask(Source::Timedatectl, program.to_str().unwrap()).await
    }

    #[tokio::test]
    async fn a_program_is_asked_and_need_not_answer() {
        let yes =
            say(r#"[ "$1 $2" = "show --property=NTPSynchronized" ] && echo NTPSynchronized=yes"#);
        assert_eq!(yes.await.unwrap().is_synchronised, Some(true));
        assert_eq!(say("echo NTPSynchronized=yes; exit 1").await, None, "it failed");
        assert_eq!(say("exec yes").await, None, "it says too much");
        assert_eq!(say("exec sleep 1000").await, None, "it hangs");
        assert_eq!(ask(Source::Chronyc, "/there/is/no/chronyc").await, None);
    }

    #[test]
    fn what_is_sealed_says_what_the_clock_did() {
        let at = |micros| Timestamp::from_unix_micros(1_800_000_000_000_000 + micros);
        let step = Step { from: at(0), to: at(-3_600_500_000), is_believed: true };
        let event = stepped_event(step);
        assert_eq!(event.message, "the machine's clock went back by 3600.500 s");
        assert_eq!((event.old, event.new), (Some(at(0).to_string()), Some(step.to.to_string())));
        let far = stepped_event(Step {
            to: at(i64::from(u32::MAX) * 1_000_000),
            is_believed: false,
            ..step
        });
        assert!(far.message.contains("ahead by 4294967295.000 s, which is not believed"));
        let quality = Quality {
            synchronised: Some(true),
            offset_ms: Some(-0.012),
            source: Some("chronyc"),
            since: at(0),
            believed: true,
            steps: 0,
        };
        let event = quality_event(quality);
        assert_eq!(event.message, "chronyc: the machine's clock is synchronised, -0.012 ms off");
        assert_eq!(event.new.as_deref(), Some("synchronised"));
        let unknown = quality_event(Quality { synchronised: None, source: None, ..quality });
        assert_eq!(unknown.new.as_deref(), Some("unknown"));
    }
}
