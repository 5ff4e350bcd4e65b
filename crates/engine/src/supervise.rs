//! Keeps one engine running, and stops it.
//!
//! An engine that ends without being asked to is started again after a back-off, for as long as the site runs: an operator who repairs what was wrong (a
//! full disk, a stolen port) need not also restart the site. Each outage is told as a [`Change`], so that it can be sealed.
//!
//! Invariant: no engine outlives us. Asked to stop, it gets SIGTERM and then SIGKILL; and where the kernel can do it, it is killed when we are, by way of
//! [`exec_bound_to_parent`].

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
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

/// Our own subcommand that becomes an engine, see [`exec_bound_to_parent`].
pub const RUN_ENGINE: &str = "run-engine";

/// How long an engine may take to stop when asked; then it is killed. Two of them one after the other fit the five seconds of the whole site.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before the first restart.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause between restarts.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// An engine that ran this long is not in a restart loop: the next pause is the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// An engine's log is set aside when it is larger than this at a start; the one set aside before is dropped.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name, for people.
    pub name: &'static str,
    /// The program file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables it gets beside ours.
    pub environment: Vec<(&'static str, &'static str)>,
    /// Where its output goes.
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
    child: Child,
    started_at: Instant,
}

impl Engine {
    /// Starts the engine.
    ///
    /// # Errors
    /// Its log cannot be written or its program cannot be started.
    pub fn start(start: Start) -> io::Result<Self> {
        let child = spawn(&start)?;
        info!(engine = start.name, pid = child.id(), "started");
        Ok(Self { start, child, started_at: Instant::now() })
    }

    /// How it ended, if it already has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!(
            "{} {}; its log is {}",
            self.start.name,
            describe(status),
            self.start.log.display()
        ))
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
            warn!(engine = name, reason, "ended by itself; starting it again");
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
                match spawn(&self.start) {
                    Ok(child) => {
                        self.child = child;
                        break;
                    }
                    Err(error) => warn!(engine = name, %error, "cannot be started; trying again"),
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

fn spawn(start: &Start) -> io::Result<Child> {
    let log = open_log(&start.log)?;
    Command::new(env::current_exe()?)
        .arg(RUN_ENGINE)
        .arg(std::process::id().to_string())
        .arg(&start.program)
        .args(&start.arguments)
        .envs(start.environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: Ctrl-C in the terminal is for us, and we stop the engines in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Becomes the engine, and has the kernel kill it when its parent, process `parent`, dies, however it dies.
///
/// # Errors
/// Returns only if the program cannot be started.
pub fn exec_bound_to_parent(
    parent: i32,
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
    Err(std::process::Command::new(program).args(arguments).exec())
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => String::from("ended"),
    }
}
