//! A site under load: started, measured, stopped, and its log read.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::Read as _,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use data_dir::DataDir;
use durable::disk::RealDisk;
use ledger::verify::verify_folder_with;
use model::{Envelope, Timestamp, action, completeness::Completeness, event::SUCCESS};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use simulator::lateness::Lateness;
use site::log_alone::LogAlone;

use super::{
    load::{Load, data_dir, tally},
    looking::{Lag, Page, Status},
    processes::{Processes, child_named},
};
use crate::bench::ledger::Killed;

/// How long a site may take to start, and to stop.
pub(in crate::bench) const DEADLINE: Duration = Duration::from_secs(120);
/// How long a fleet may take until it answers at its rate. A site that cannot take that much is
/// measured all the same.
pub(in crate::bench) const WARM_UP_MAX: Duration = Duration::from_secs(40);
/// How long a site may take until it has taken up the largest fleet: at the most new sensors a
/// minute that can be set, and as long again.
const TAKE_UP_MAX: Duration = Duration::from_secs(600);
/// Part of the rate at which the fleet counts as complete. Some sensors are faulty.
pub(in crate::bench) const COMPLETE: f64 = 0.97;
/// How long a site waits for the answers to the polls that it sent last: twice its timeout.
const ANSWERS_MAX: Duration = Duration::from_secs(1);
/// Ports of a site that has any that are free.
const ANY_PORTS: [(&str, u16); 4] = [("http", 0), ("log", 0), ("nats", 0), ("mqtt", 0)];
/// Pause between two looks at what is awaited.
const PAUSE: Duration = Duration::from_millis(50);

/// `sealwire simulate` in a process of its own.
#[derive(Debug)]
pub(in crate::bench) struct Fleet(Killed);

/// A site and its load.
#[derive(Debug)]
pub(in crate::bench) struct Run {
    site: Site,
    fleet: Fleet,
    page: Page,
}

/// The site's own process.
#[derive(Debug)]
pub(in crate::bench) struct Site {
    process: Killed,
    program: PathBuf,
    folder: PathBuf,
    flags: Vec<String>,
    addresses: Addresses,
}

/// What is in the log of a site that was stopped.
#[derive(Debug)]
pub(in crate::bench) struct Sealed {
    completeness: Completeness,
    /// Leaves of readings that have a value, in order.
    readings: Vec<u64>,
    /// When each of them was sealed.
    times: Vec<Timestamp>,
    /// Polls that are declared missing.
    pub(super) missing: u64,
    /// Sensors whose heartbeats came so late that the site took them for lost.
    pub(super) unheard: u64,
    /// What the sensors sent.
    sent: Sent,
}

/// The part of the fleet's tally that is compared.
#[derive(Debug, Deserialize)]
pub(in crate::bench) struct Sent {
    answers: u64,
    #[serde(rename = "lateness_ms")]
    pub(in crate::bench) lateness: Option<Lateness>,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    http: String,
    log: String,
    nats: String,
    mqtt: String,
}

impl Fleet {
    /// Starts a fleet on these servers, and tells it who it is. Its files are in this folder.
    pub(in crate::bench) fn start(
        folder: &Path,
        [nats, mqtt]: [&str; 2],
        load: Load,
        told: &[OsString],
    ) -> Result<Self> {
        let faults = folder.join("faults.toml");
        fs::write(&faults, load.faults).context("cannot write the faults of the sensors")?;
        let mut simulate = Command::new(std::env::current_exe().context("cannot find myself")?);
        simulate.args(["simulate", "--json", "--seed=1", "--nats", nats, "--broker", mqtt]);
        simulate.args(told);
        simulate.arg(format!("--mqtt={}", load.mqtt));
        simulate.arg("--faults").arg(faults).arg("--tally").arg(tally(folder));
        if let Some(interval) = load.interval {
            simulate.arg(format!("--interval={}", interval.as_millis()));
        }
        let fleet = simulate.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Ok(Self(Killed(fleet.context("cannot start the simulated sensors")?)))
    }

    /// Stops it. Returns what it sent.
    pub(in crate::bench) fn stop(mut self) -> Result<Sent> {
        let tally = stop(&mut self.0.0).context("the simulated sensors do not stop")?;
        serde_json::from_str(&tally).context("no tally was printed")
    }
}

/// Starts the site of a folder again, without its fleet, and stops it. Returns the time until it
/// has polled a sensor that it knows from its log.
pub(in crate::bench) fn start_again(
    program: &Path,
    folder: &Path,
    flags: &[&str],
) -> Result<Duration> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let agent = ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).build().into();
    let url = format!("http://{free}/metrics");
    // Until it listens, nobody answers.
    let polls = || metric(&agent, &url, "sealwire_polls_total").unwrap_or_default();
    let has_polled = || Ok(polls().filter(|polls| *polls > 0).map(drop));
    let mut ports = BTreeMap::from(ANY_PORTS);
    ports.insert("log", free.port());
    let flags: Vec<String> = flags.iter().copied().map(String::from).collect();
    let mut up = Site::up(program, folder, &flags, &ports);
    let begin = Instant::now();
    let mut site = Killed(up.spawn().context("cannot start the site again")?);
    until("a sensor is polled", has_polled)?;
    let elapsed = begin.elapsed();
    stop(&mut site.0).context("the site does not stop")?;
    Ok(elapsed)
}

/// Starts a site by another program, which gets the site's command as its last arguments. Returns
/// the time until everything answers.
pub(in crate::bench) fn start_within(
    by: &[&str],
    program: &Path,
    folder: &Path,
) -> Result<Duration> {
    let up = Site::up(program, folder, &[], &ANY_PORTS.into());
    let mut words = by.iter().map(OsStr::new).chain([up.get_program()]).chain(up.get_args());
    let mut command = Command::new(words.next().context("no program is named")?);
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let (mut process, _addresses) = Site::spawn(command, folder)?;
    let elapsed = begin.elapsed();
    stop(&mut process.0).context("the site does not stop")?;
    Ok(elapsed)
}

/// A figure of a site's `/metrics`.
fn metric(agent: &ureq::Agent, url: &str, name: &str) -> Result<Option<u64>> {
    let metrics = http_client::get(agent, url).call()?.body_mut().read_to_string()?;
    let figure = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(figure.map(str::parse).transpose()?)
}

impl Run {
    /// Starts a site and its fleet, and waits until the fleet answers at its rate.
    pub(in crate::bench) fn start(
        program: &Path,
        folder: &Path,
        load: Load,
        flags: &[&str],
    ) -> Result<Self> {
        let mut run = Self::begin(program, folder, load, flags)?;
        // What a site cannot take is measured, too.
        let _has_all = run.warm_up(load, WARM_UP_MAX)?;
        Ok(run)
    }

    /// Starts a site and its fleet, and waits until the whole fleet answers, however long it takes
    /// to let that many sensors in.
    pub(in crate::bench) fn start_with_all(
        program: &Path,
        folder: &Path,
        load: Load,
        flags: &[&str],
    ) -> Result<Self> {
        let mut run = Self::begin(program, folder, load, flags)?;
        let has_all = run.warm_up(load, TAKE_UP_MAX)?;
        ensure!(has_all, "the site does not take up every sensor in time");
        Ok(run)
    }

    fn begin(program: &Path, folder: &Path, load: Load, flags: &[&str]) -> Result<Self> {
        let mut flags: Vec<String> = flags.iter().copied().map(String::from).collect();
        flags.extend(load.door.prepare(program, folder)?);
        let site = Site::start(program, folder, &flags, &ANY_PORTS.into())?;
        let Addresses { http, nats, mqtt, .. } = &site.addresses;
        let told = load.door.let_in(program, folder, load)?;
        let fleet = Fleet::start(folder, [nats, mqtt], load, &told)?;
        let page = Page::new(http.clone());
        Ok(Self { site, fleet, page })
    }

    /// Waits until the whole fleet answers at its rate. Returns whether it did in this time.
    ///
    /// New sensors are polled soon after their first heartbeat, so the rate alone says little.
    fn warm_up(&mut self, load: Load, time_max: Duration) -> Result<bool> {
        /// Time over which the rate is taken.
        const SPAN: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + time_max;
        // Sensors with faults leave as many polls unanswered as their faults say.
        let wanted = if load.faults.is_empty() { COMPLETE * load.per_second() } else { 0.0 };
        loop {
            if let Some(status) = self.fleet.0.0.try_wait()? {
                bail!("the simulated sensors ended with {status}");
            }
            let (before, begin) = (self.page.status()?.answers(), Instant::now());
            std::thread::park_timeout(SPAN);
            let rate =
                (self.page.status()?.answers() - before) as f64 / begin.elapsed().as_secs_f64();
            let has_all = rate >= wanted && self.page.online()? >= u64::from(load.sensors);
            if has_all || Instant::now() > deadline {
                return Ok(has_all);
            }
        }
    }

    pub(in crate::bench) fn processes(&self) -> Result<Processes> {
        let (site, fleet) = (self.site.process.0.id(), self.fleet.0.0.id());
        Processes::look(&[("sealwire", site), ("simulate", fleet)])
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

    /// Kills the site's own host.
    pub(in crate::bench) fn kill_host(&self) -> Result<()> {
        let host = Pid::from_raw(self.site.host()?.cast_signed());
        Ok(kill_process(host.context("the host has no number")?, Signal::KILL)?)
    }

    /// Stops the fleet, then the site, and reads what is sealed.
    pub(in crate::bench) fn stop(self) -> Result<Sealed> {
        self.stop_after(ANSWERS_MAX)
    }

    /// The same, and gives the site this time for the last answers. It then gives up the polls that
    /// it has sent, and the answers of which it does not know yet whose they are.
    pub(in crate::bench) fn stop_after(mut self, answers_max: Duration) -> Result<Sealed> {
        let sent = self.fleet.stop()?;
        std::thread::park_timeout(answers_max);
        stop(&mut self.site.process.0).context("the site does not stop")?;
        Sealed::read(&self.site.folder, sent)
    }
}

impl Site {
    /// Starts a site at any ports, and waits until it is ready.
    pub(in crate::bench) fn start_anywhere(
        program: &Path,
        folder: &Path,
        flags: &[String],
    ) -> Result<Self> {
        Self::start(program, folder, flags, &ANY_PORTS.into())
    }

    /// The process of its own host.
    pub(in crate::bench) fn host(&self) -> Result<u32> {
        child_named(self.process.0.id(), "wash").context("the site has no host")
    }

    /// Address of its log.
    pub(in crate::bench) fn log(&self) -> &str {
        &self.addresses.log
    }

    /// A figure of its `/metrics`.
    pub(in crate::bench) fn metric(&self, name: &str) -> Result<Option<u64>> {
        let agent = ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).build().into();
        metric(&agent, &format!("{}/metrics", self.addresses.log), name)
    }

    pub(in crate::bench) fn stop(mut self) -> Result<()> {
        stop(&mut self.process.0).context("the site does not stop")?;
        Ok(())
    }

    /// Starts a site, and waits until it is ready. `ports` has a port for each name, 0 for any.
    fn start(
        program: &Path,
        folder: &Path,
        flags: &[String],
        ports: &BTreeMap<&str, u16>,
    ) -> Result<Self> {
        let (process, addresses) = Self::spawn(Self::up(program, folder, flags, ports), folder)?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { process, program, folder, flags: flags.to_vec(), addresses })
    }

    /// Runs the command that starts a site, and waits until it is ready.
    fn spawn(mut up: Command, folder: &Path) -> Result<(Killed, Addresses)> {
        let ready_file = folder.join("ready");
        let process = up.arg("--ready-file").arg(&ready_file).spawn();
        let mut process = Killed(process.context("cannot start the site")?);
        let ready = until("the site is ready", || {
            if let Some(status) = process.0.try_wait()? {
                bail!("the site ended with {status}");
            }
            Ok(fs::read(&ready_file).ok())
        })?;
        fs::remove_file(&ready_file)?;
        Ok((process, serde_json::from_slice(&ready)?))
    }

    fn up(program: &Path, folder: &Path, flags: &[String], ports: &BTreeMap<&str, u16>) -> Command {
        let mut up = Command::new(program);
        up.arg("up").arg("--data-dir").arg(data_dir(folder));
        up.args(ports.iter().map(|(name, port)| format!("--{name}-port={port}"))).args(flags);
        up.stdout(Stdio::null()).stderr(Stdio::null());
        up
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

pub(in crate::bench) fn until<T>(
    what: &str,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
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
        let (mut readings, mut times) = (Vec::new(), Vec::new());
        let mut unheard = 0;
        let mut observer = |leaf, envelope: Option<&[u8]>| {
            let Some(Ok(Envelope { event, received_at, .. })) = envelope.map(Envelope::parse)
            else {
                return;
            };
            completeness.take(leaf, &event);
            match event.action.as_deref() {
                Some(action::SENSOR_READING) if event.status.as_deref() == Some(SUCCESS) => {
                    readings.push(leaf);
                    times.push(received_at);
                }
                Some(action::HEARTBEAT_MISSED) => unheard += 1,
                _ => {}
            }
        };
        let ledger = DataDir::ledger_of(&data_dir(folder));
        verify_folder_with(&RealDisk, &ledger, None, &mut |_leaves| {}, &mut observer)?;
        let missing = completeness.accounts().map(|(_, account)| account.missing()).sum();
        Ok(Self { completeness, readings, times, missing, unheard, sent })
    }

    /// Nothing may be lost in silence: every poll is accounted for, and no more readings are sealed
    /// than were sent.
    pub(in crate::bench) fn check(&self) -> Result<()> {
        ensure!(self.completeness.is_complete(), "polls are not accounted for");
        let (sealed, sent) = (self.readings.len() as u64, self.sent.answers);
        ensure!(sealed <= sent, "{sealed} readings are sealed of {sent} that were sent");
        Ok(())
    }

    pub(super) const fn readings(&self) -> usize {
        self.readings.len()
    }

    /// How late the sensors were polled.
    pub(in crate::bench) const fn lateness(&self) -> Option<Lateness> {
        self.sent.lateness
    }

    /// Number of readings that were sealed in this time.
    pub(in crate::bench) fn readings_during(&self, time: Range<Timestamp>) -> u64 {
        self.times.iter().filter(|sealed| time.contains(sealed)).count() as u64
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
