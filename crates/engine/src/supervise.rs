//! Keeps one engine running, and stops it.
//!
//! If an engine ends without a request, this module restarts it after a back-off, for as long as
//! the site runs. So an operator who repairs the cause (a full disk, a stolen port) need not
//! restart the site as well. It reports each outage as a [`Change`], so that the site can seal it.
//!
//! Each start first runs our own program, which confines itself (see [`sandbox`]) and then becomes
//! the engine. It is started through the kernel, not by its path, because a newer version may have
//! replaced the file.
//!
//! Invariant: no engine outlives this process. A stop sends SIGTERM and then SIGKILL. If the kernel
//! supports it, [`exec_bound_to_parent`] makes the kernel kill the engine when this process dies.

use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::Mode,
    process::{Pid, Signal, kill_process},
};
use tokio::{
    process::{Child, Command},
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{environment, log::Log, sandbox};

/// Our own subcommand that becomes an engine; see [`exec_bound_to_parent`].
pub const RUN_ENGINE: &str = "run-engine";
/// The option of that subcommand for an engine that [gives way](Start::gives_way).
const GIVES_WAY: &str = "--gives-way";
/// How much nicer such an engine is: it gets a tenth of the time that another process gets.
const NICER_BY: i32 = 10;
/// How much more willingly the kernel ends such an engine when memory is short, of 1,000: before
/// anything of the same size, and before a site that uses half of the machine's memory.
const OOM_SCORE: &str = "500";

/// Time that an engine has to stop after SIGTERM, before SIGKILL. Two engines in a row fit the five
/// seconds of the whole site.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before the first restart.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause between restarts.
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// Running time after which an engine is not in a restart loop. The next pause is then the shortest
/// again.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// Our own program, even if a newer version has replaced the file at its path.
#[cfg(target_os = "linux")]
const OURSELVES: &str = "/proc/self/exe";

/// How to start an engine.
#[derive(Clone, Debug)]
pub struct Start {
    /// Name of the engine, as people see it.
    pub name: &'static str,
    /// Path of the program file.
    pub program: PathBuf,
    /// Arguments of the program.
    pub arguments: Vec<OsString>,
    /// Environment variables, in addition to those of every engine.
    pub environment: Vec<(&'static str, &'static str)>,
    /// Folder of the engine: the only one in which it may write, and its home. It cannot see
    /// anything beside it.
    pub folder: PathBuf,
    /// Path of the file for its output.
    pub log: PathBuf,
    /// Whether it gives way to the site and the other engines where processors or memory are short.
    pub gives_way: bool,
}

/// The start or the end of an engine's outage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// The engine ended without a request.
    Down {
        /// Name of the engine.
        name: &'static str,
        /// The exit code, or the signal that killed it.
        reason: String,
    },
    /// The engine was restarted.
    Up {
        /// Name of the engine.
        name: &'static str,
        /// Duration of the outage.
        outage: Duration,
    },
}

/// A running engine. Dropping it kills the engine.
#[derive(Debug)]
pub struct Engine {
    start: Start,
    log: Log,
    child: Child,
    started_at: Instant,
    reload: Reload,
}

/// Has an engine read its files again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reload(Arc<Notify>);

impl Reload {
    /// Has the engine read its files again. One that is being restarted reads them anyway.
    pub fn ask(&self) {
        self.0.notify_one();
    }
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
        Ok(Self { start, log, child, started_at: Instant::now(), reload: Reload::default() })
    }

    /// Has the engine read its files again while it is supervised. It must be one that does so on
    /// SIGHUP.
    #[must_use]
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// The output of the engine.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// How the engine ended, with its last output; `None` while it runs.
    pub async fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        self.log.last_words().await;
        let (name, program) = (self.start.name, self.start.program.display());
        Some(format!("{name} ({program}) {}; {}", describe(status), self.log.ending()))
    }

    /// Keeps the engine running until `shutdown`, then stops it. Sends each outage to `changes`.
    pub async fn supervise(mut self, changes: mpsc::Sender<Change>, shutdown: CancellationToken) {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let ended = tokio::select! {
                ended = self.child.wait() => ended,
                () = self.reload.0.notified() => {
                    // If the engine was just started and does not know the signal yet, it ends, and
                    // its next start reads the files.
                    info!(engine = self.start.name, "reads its files again");
                    self.signal(Signal::HUP);
                    continue;
                }
                () = shutdown.cancelled() => return self.stop().await,
            };
            let name = self.start.name;
            let reason = ended.map_or_else(|error| error.to_string(), describe);
            self.log.last_words().await;
            let ending = self.log.ending();
            warn!(engine = name, reason, "ended unexpectedly; starting it again; {ending}");
            let down_since = Instant::now();
            if down_since.duration_since(self.started_at) > STABLE_AFTER {
                back_off = BACK_OFF_MIN;
            }
            // The receiver is gone only when the site stops.
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
                        warn!(engine = name, %program, %error, "cannot start it; trying again");
                    }
                }
            }
            self.started_at = Instant::now();
            info!(engine = name, pid = self.child.id(), "started again");
            let _stopping = changes.send(Change::Up { name, outage: down_since.elapsed() }).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // The engine may have ended at this moment. Then there is nobody to ask.
            let _ended = kill_process(pid, signal);
        }
    }

    async fn stop(mut self) {
        let name = self.start.name;
        self.signal(Signal::TERM);
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(_ended) => info!(engine = name, "stopped"),
            Err(_elapsed) => {
                warn!(engine = name, "did not stop in time; killing it");
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
        .args(start.gives_way.then_some(GIVES_WAY))
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
        // The engine gets a process group of its own: Ctrl-C in the terminal is for us, and we stop
        // the engines in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Becomes the engine. It sees only `folder` and the system's files, and the kernel kills it when
/// the process `parent` dies, in any way.
///
/// # Errors
/// Returns only if the program cannot be started.
pub fn exec_bound_to_parent(
    parent: i32,
    gives_way: bool,
    folder: &Path,
    program: &Path,
    arguments: &[OsString],
) -> io::Result<Infallible> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the kernel knew of this request.
        if rustix::process::getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) {
            return Err(io::Error::other("the site that started this engine is gone"));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _no_such_signal_here = parent;
    if gives_way {
        rustix::process::nice(NICER_BY)?;
        // Only Linux has this file.
        let _as_willingly_as_others = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    }
    // Only the owner can access the files that the engine creates, as everything in the data
    // directory.
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
