//! A site under load: started, measured, stopped, and its log read.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use data_dir::DataDir;
use durable::disk::RealDisk;
use ledger::verify::verify_folder_with;
use model::{Envelope, action, completeness::Completeness, event::SUCCESS};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use site::log_alone::LogAlone;

use super::{
    looking::{Lag, Page, Status},
    processes::Processes,
};
use crate::bench::ledger::Killed;

/// How long a site may take to start, and to stop.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long a fleet may take until it answers at its rate. A site that cannot take that much is
/// measured all the same.
const WARM_UP_MAX: Duration = Duration::from_secs(40);
/// Part of the rate at which the fleet counts as complete. Some sensors are faulty.
const COMPLETE: f64 = 0.97;
/// Pause between two looks at what is awaited.
const PAUSE: Duration = Duration::from_millis(50);

/// Sensors, and the interval at which each is polled, if not that of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) sensors: u32,
    pub(super) interval: Option<Duration>,
}

impl Load {
    /// Readings per second.
    pub(super) fn per_second(self) -> f64 {
        // The mean of the kinds' intervals is of no interest here: it is not awaited.
        let interval = self.interval.unwrap_or(Duration::from_secs(10));
        f64::from(self.sensors) / interval.as_secs_f64()
    }
}

/// A site and its load.
#[derive(Debug)]
pub(super) struct Run {
    site: Site,
    fleet: Killed,
    page: Page,
}

/// The site's own process.
#[derive(Debug)]
struct Site {
    process: Killed,
    program: PathBuf,
    folder: PathBuf,
    flags: Vec<&'static str>,
    addresses: Addresses,
}

/// What is in the log of a site that was stopped.
#[derive(Debug)]
pub(super) struct Sealed {
    completeness: Completeness,
    /// Leaves of readings that have a value, in order.
    readings: Vec<u64>,
    /// Polls that are declared missing.
    pub(super) missing: u64,
    /// Sensors whose heartbeats came so late that the site took them for lost.
    pub(super) unheard: u64,
    /// What the sensors sent.
    sent: Sent,
}

/// The part of the fleet's tally that is compared.
#[derive(Debug, Deserialize)]
struct Sent {
    answers: u64,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    http: String,
    log: String,
    nats: String,
    mqtt: String,
}

/// Where the site of a run has its data.
fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

impl Run {
    /// Starts a site and its fleet, and waits until the fleet answers at its rate.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        load: Load,
        flags: &[&'static str],
    ) -> Result<Self> {
        let any = ["http", "log", "nats", "mqtt"].map(|name| (name, 0)).into();
        let site = Site::start(program, folder, flags, &any)?;
        let mut simulate = Command::new(std::env::current_exe().context("cannot find myself")?);
        simulate.args(["simulate", "--json", "--seed=1", "--nats", &site.addresses.nats]);
        simulate.arg(format!("--count={}", load.sensors));
        if let Some(interval) = load.interval {
            simulate.arg(format!("--interval={}", interval.as_millis()));
        }
        let fleet = simulate.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let fleet = Killed(fleet.context("cannot start the simulated sensors")?);
        let page = Page::new(site.addresses.http.clone());
        let run = Self { site, fleet, page };
        run.warm_up(load)?;
        Ok(run)
    }

    fn warm_up(&self, load: Load) -> Result<()> {
        /// Time over which the rate is taken.
        const SPAN: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + WARM_UP_MAX;
        loop {
            let (before, begin) = (self.page.status()?.answers(), Instant::now());
            std::thread::park_timeout(SPAN);
            let rate =
                (self.page.status()?.answers() - before) as f64 / begin.elapsed().as_secs_f64();
            if rate >= COMPLETE * load.per_second() || Instant::now() > deadline {
                return Ok(());
            }
        }
    }

    pub(super) fn processes(&self) -> Result<Processes> {
        Processes::look(&[("sealwire", self.site.process.0.id()), ("simulate", self.fleet.0.id())])
    }

    /// What a window's readings cost.
    pub(super) fn cost(&self, window: Duration) -> Result<Cost> {
        let (before, answers) = (self.processes()?, self.page.status()?.answers());
        std::thread::park_timeout(window);
        let (after, readings) = (self.processes()?, self.page.status()?.answers() - answers);
        ensure!(readings > 0, "no sensor answered");
        Ok(Cost { before, after, readings })
    }

    pub(super) fn look_for_each(&self, window: Duration) -> Result<Vec<Duration>> {
        self.page.look_for_each(window)
    }

    pub(super) fn look_for_the_newest(&self, window: Duration) -> Result<Lag> {
        self.page.look_for_the_newest(window)
    }

    /// What the site says of itself on its page.
    pub(super) fn status(&self) -> Result<Status> {
        self.page.status()
    }

    /// Has the site make a checkpoint, as an operator does. Returns how long that took.
    pub(super) fn order(&self) -> Result<Duration> {
        let begin = Instant::now();
        let mut order = Command::new(&self.site.program);
        order.args(["log", "--data-dir"]).arg(data_dir(&self.site.folder)).arg("checkpoint");
        let status = order.stdout(Stdio::null()).status().context("cannot give an order")?;
        ensure!(status.success(), "the order ended with {status}");
        Ok(begin.elapsed())
    }

    /// Kills the site, starts it again, and waits until sensors answer.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.site.kill_and_start()?;
        until("sensors answer", || Ok((self.page.status()?.answers() > 0).then_some(())))
    }

    /// Stops the fleet, then the site, and reads what is sealed.
    pub(super) fn stop(mut self) -> Result<Sealed> {
        let tally = stop(&mut self.fleet.0).context("the simulated sensors do not stop")?;
        stop(&mut self.site.process.0).context("the site does not stop")?;
        let sent = serde_json::from_str(&tally).context("no tally was printed")?;
        Sealed::read(&self.site.folder, sent)
    }
}

impl Site {
    /// Starts a site, and waits until it is ready. `ports` has a port for each name, 0 for any.
    fn start(
        program: &Path,
        folder: &Path,
        flags: &[&'static str],
        ports: &BTreeMap<&str, u16>,
    ) -> Result<Self> {
        let ready_file = folder.join("ready");
        let mut up = Command::new(program);
        up.arg("up").arg("--data-dir").arg(data_dir(folder)).arg("--ready-file").arg(&ready_file);
        up.args(ports.iter().map(|(name, port)| format!("--{name}-port={port}"))).args(flags);
        let process = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut process = Killed(process.context("cannot start the site")?);
        let ready = until("the site is ready", || {
            if let Some(status) = process.0.try_wait()? {
                bail!("the site ended with {status}");
            }
            Ok(fs::read(&ready_file).ok())
        })?;
        fs::remove_file(&ready_file)?;
        let addresses = serde_json::from_slice(&ready)?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { process, program, folder, flags: flags.to_vec(), addresses })
    }

    /// Kills the site as a crash would, and starts it again at the same addresses.
    fn kill_and_start(&mut self) -> Result<()> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        let ports = self.addresses.ports()?;
        *self = Self::start(&self.program, &self.folder, &self.flags, &ports)?;
        Ok(())
    }
}

impl Addresses {
    fn ports(&self) -> Result<BTreeMap<&'static str, u16>> {
        let Self { http, log, nats, mqtt } = self;
        [("http", http), ("log", log), ("nats", nats), ("mqtt", mqtt)]
            .into_iter()
            .map(|(name, url)| {
                let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
                Ok((name, port.with_context(|| format!("`{url}` has no port"))?))
            })
            .collect()
    }
}

/// Processor time per million readings of a window, by program.
#[derive(Debug)]
pub(super) struct Cost {
    before: Processes,
    after: Processes,
    readings: u64,
}

impl Cost {
    pub(super) fn of(&self, program: &str) -> f64 {
        let spent = self.after.cpu(program).saturating_sub(self.before.cpu(program));
        spent.as_secs_f64() * 1e6 / self.readings as f64
    }

    pub(super) fn of_site(&self) -> f64 {
        ["sealwire", "nats-server", "wash"].iter().map(|program| self.of(program)).sum()
    }
}

/// Asks a process to stop, and returns what it printed.
fn stop(child: &mut Child) -> Result<String> {
    kill_process(Pid::from_child(child), Signal::TERM)?;
    let mut printed = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut printed)?;
    }
    let status = until("a process has ended", || Ok(child.try_wait()?))?;
    ensure!(status.success(), "it ended with {status}");
    Ok(printed)
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {} s", DEADLINE.as_secs());
        std::thread::park_timeout(PAUSE);
    }
}

impl Sealed {
    fn read(folder: &Path, sent: Sent) -> Result<Self> {
        let mut completeness = Completeness::of_log();
        let mut readings = Vec::new();
        let mut unheard = 0;
        let mut observer = |leaf, envelope: Option<&[u8]>| {
            let Some(Ok(Envelope { event, .. })) = envelope.map(Envelope::parse) else { return };
            completeness.take(leaf, &event);
            match event.action.as_deref() {
                Some(action::SENSOR_READING) if event.status.as_deref() == Some(SUCCESS) => {
                    readings.push(leaf);
                }
                Some(action::HEARTBEAT_MISSED) => unheard += 1,
                _ => {}
            }
        };
        let ledger = DataDir::ledger_of(&data_dir(folder));
        verify_folder_with(&RealDisk, &ledger, None, &mut |_leaves| {}, &mut observer)?;
        let missing = completeness.accounts().map(|(_, account)| account.missing()).sum();
        Ok(Self { completeness, readings, missing, unheard, sent })
    }

    /// Nothing may be lost in silence: every poll is accounted for, and no more readings are sealed
    /// than were sent.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.completeness.is_complete(), "polls are not accounted for");
        let (sealed, sent) = (self.readings.len() as u64, self.sent.answers);
        ensure!(sealed <= sent, "{sealed} readings are sealed of {sent} that were sent");
        Ok(())
    }

    pub(super) const fn readings(&self) -> usize {
        self.readings.len()
    }

    /// Number of readings from the first leaf on and before the last.
    pub(super) fn readings_between(&self, leaves: Range<u64>) -> u64 {
        let before = |leaf| self.readings.partition_point(|reading| *reading < leaf);
        before(leaves.end).saturating_sub(before(leaves.start)) as u64
    }

    /// Makes the index of the log again. Returns readings per second.
    pub(super) fn index_again(&self, folder: &Path) -> Result<f64> {
        let data_dir = data_dir(folder);
        fs::remove_file(data_dir.join("index.sqlite")).context("there is no index")?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        runtime.block_on(async {
            let begin = Instant::now();
            let log = LogAlone::start(&data_dir).await?;
            log.indexed().await.context("the log cannot be indexed")?;
            let elapsed = begin.elapsed();
            log.stop().await.context("the log could not be closed")?;
            Ok(self.readings.len() as f64 / elapsed.as_secs_f64())
        })
    }
}
