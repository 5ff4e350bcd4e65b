//! Keeps one engine running, and stops it.
//!
//! An engine that ends without being asked to is started again after a back-off, for as long as the
//! site runs: an operator who repairs what was wrong (a full disk, a stolen port) need not also
//! restart the site. Each outage is told as a [`Change`], so that it can be sealed.
//!
//! Each start is a start of our own program first, which closes the engine in (see [`sandbox`]) and
//! then becomes it. It is found by way of the kernel, not by its path: the file there may have been
//! replaced by a newer one since.
//!
//! Invariant: no engine outlives us. Asked to stop, it gets SIGTERM and then SIGKILL; and where the
//! kernel can do it, it is killed when we are, by way of [`exec_bound_to_parent`].

use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::{
    fs::Mode,
    process::{Pid, Signal, kill_process},
};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{environment, log::Log, sandbox};

/// Our own subcommand that becomes an engine, see [`exec_bound_to_parent`].
pub const RUN_ENGINE: &str = "run-engine";

/// How long an engine may take to stop when asked; then it is killed. Two of them one after the
/// other fit the five seconds of the whole site.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before the first restart.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause between restarts.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// An engine that ran this long is not in a restart loop: the next pause is the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// Our own program, whatever is at its path by now.
#[cfg(target_os = "linux")]
const OURSELVES: &str = "/proc/self/exe";

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name, for people.
    pub name: &'static str,
    /// The program file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables it gets beside what every engine gets.
    pub environment: Vec<(&'static str, &'static str)>,
    /// All that it may write, and where it finds a home. What lies beside it cannot be seen.
    pub folder: PathBuf,
    /// Where what it says is kept.
    pub log: PathBuf,
}

/// An outage of an engine begins or ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// It ended without being asked to.
    Down {
        /// Which engine.
        name: &'static str,
        /// How it ended.
        reason: String,
    },
    /// It was started again.
    Up {
        /// Which engine.
        name: &'static str,
        /// How long it was away.
        outage: Duration,
    },
}

/// An engine that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Engine {
    start: Start,
    log: Log,
    child: Child,
    started_at: Instant,
}

impl Engine {
    /// Starts the engine.
    ///
    /// # Errors
    /// Its folder cannot be written or its program cannot be started.
    pub fn start(start: Start) -> io::Result<Self> {
        environment::prepare(&start.folder)?;
        let log = Log::new(start.log.clone());
        let child = spawn(&start, &log)?;
        info!(engine = start.name, pid = child.id(), "started");
        Ok(Self { start, log, child, started_at: Instant::now() })
    }

    /// What it says.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// How it ended, if it already has, and its last words.
    pub async fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        self.log.last_words().await;
        let (name, program) = (self.start.name, self.start.program.display());
        Some(format!("{name} ({program}) {}; {}", describe(status), self.log.ending()))
    }

    /// Keeps the engine running until `shutdown`, then stops it. Each change goes to `changes`.
    pub async fn supervise(mut self, changes: mpsc::Sender<Change>, shutdown: CancellationToken) {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let ended = tokio::select! {
                ended = self.child.wait() => ended,
                () = shutdown.cancelled() => return self.stop().await,
            };
            let name = self.start.name;
            let reason = ended.map_or_else(|error| error.to_string(), describe);
            self.log.last_words().await;
            let ending = self.log.ending();
            warn!(engine = name, reason, "ended by itself; starting it again; {ending}");
            let down_since = Instant::now();
            if down_since.duration_since(self.started_at) > STABLE_AFTER {
                back_off = BACK_OFF_MIN;
            }
            // Whoever takes the changes is gone only when the site stops.
            let _stopping = changes.send(Change::Down { name, reason }).await;
            loop {
                if shutdown.run_until_cancelled(sleep(back_off)).await.is_none() {
                    return;
                }
                back_off = (back_off * 2).min(BACK_OFF_MAX);
                match spawn(&self.start, &self.log) {
                    Ok(child) => {
                        self.child = child;
                        break;
                    }
                    Err(error) => {
                        let program = self.start.program.display();
                        warn!(engine = name, %program, %error, "cannot be started; trying again");
                    }
                }
            }
            self.started_at = Instant::now();
            info!(engine = name, pid = self.child.id(), "started again");
            let _stopping = changes.send(Change::Up { name, outage: down_since.elapsed() }).await;
        }
    }

    async fn stop(mut self) {
        let name = self.start.name;
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // It may have ended in this moment; then there is nothing to stop.
            let _ended = kill_process(pid, Signal::TERM);
        }
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(_ended) => info!(engine = name, "stopped"),
            Err(_elapsed) => {
                warn!(engine = name, "did not stop when asked; killing it");
                let _ended = self.child.kill().await;
            }
        }
    }
}

fn spawn(start: &Start, log: &Log) -> io::Result<Child> {
    let said = log.open()?;
    #[cfg(target_os = "linux")]
    let ourselves = OURSELVES;
    #[cfg(not(target_os = "linux"))]
    let ourselves = std::env::current_exe()?;
    Command::new(ourselves)
        .arg0("sealwire")
        .arg(RUN_ENGINE)
        .arg(std::process::id().to_string())
        .arg(&start.folder)
        .arg(std::path::absolute(&start.program)?)
        .args(&start.arguments)
        .env_clear()
        .envs(environment::of(&start.folder))
        .envs(start.environment.iter().copied())
        .current_dir(&start.folder)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        // A group of its own: Ctrl-C in the terminal is for us, and we stop the engines in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Becomes the engine, which sees nothing but `folder` and the system's files, and has the kernel
/// kill it when its parent, process `parent`, dies, however it dies.
///
/// # Errors
/// Returns only if the program cannot be started.
pub fn exec_bound_to_parent(
    parent: i32,
    folder: &Path,
    program: &Path,
    arguments: &[OsString],
) -> io::Result<Infallible> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the kernel knew of the wish.
        if rustix::process::getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
            return Err(io::Error::other("the site that started this engine is gone"));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _no_such_signal_here = parent;
    // What the engine writes is its owner's alone, as everything in the data directory.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    sandbox::enter(folder, program).map_err(io::Error::other)?;
    Err(std::process::Command::new(program).args(arguments).exec())
}

fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => String::from("ended"),
    }
}
