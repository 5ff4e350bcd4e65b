//! `sealwire bench polling`: what a site polls, beside bare requests over the same client library.
//!
//! A site runs with its engines, as `sealwire up` starts it, and `sealwire simulate` answers from
//! another process. A poll counts once its answer is sealed. The bare run has the same
//! `nats-server`, simulator, subjects and schedule; its client throws the answers away.

mod bare;
mod exact;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::{
    bare::Bare,
    exact::{Exact, FAULTS},
};
use super::{
    figures::table,
    machine::{self, temporary},
    site::{
        door,
        load::{Door, Load},
        running::{COMPLETE, Run, start_again},
    },
};
use crate::{
    cli::{PollingArguments, PollingPart},
    output,
};

/// Flags of the site that is measured. Its defaults would refuse the load, and protect against
/// that, so the figures name these.
const FLAGS: [&str; 2] = ["--polls-per-second=100000", "--new-sensors-per-minute=20000"];
/// Longest time that the site holds an answer that may be one to an earlier poll: ten timeouts and
/// one, of half a second each.
const HELD_MAX: Duration = Duration::from_millis(5_500);
/// How long each figure is measured; a tenth with `--quick`.
const WINDOW: Duration = Duration::from_secs(20);
/// Sensors whose polls are counted.
const SENSORS: u32 = 20_000;
/// Polls per second that are offered over NATS, until they are answered and sealed.
const LADDER: [u32; 5] = [60_000, 45_000, 30_000, 20_000, 10_000];
/// The same over MQTT, whose gateway costs `nats-server` more.
const MQTT_LADDER: [u32; 4] = [30_000, 20_000, 10_000, 5_000];
/// Devices that get credentials, one each.
const CREDENTIALS: u32 = 10_000;
/// Polls per second while their lateness is measured, one a second for each sensor.
const PACED: u32 = 10_000;
/// Sensors of the largest site.
const FLEET: u32 = 100_000;
/// Connections of the largest fleet.
const FLEET_CONNECTIONS: u32 = 1_000;
/// How long each answer of [`PACED`] polls per second is held against the log.
const EXACT_PACED: Duration = Duration::from_secs(5 * 60);
/// The same for each answer of the largest fleet.
const EXACT_FLEET: Duration = Duration::from_secs(10 * 60);
/// Size of an envelope of the simulated sensors, about.
const ENVELOPE_BYTES: usize = 400;
/// Bare writes to time.
const BARE_WRITES: usize = 1_000;

/// The figures, printed with `--json`. A part that was not measured is `null`.
#[derive(Debug, Default, Serialize)]
struct Figures {
    polls_per_s: Option<f64>,
    bare_requests_per_s: Option<f64>,
    polls_over_bare: Option<f64>,
    mqtt_polls_per_s: Option<f64>,
    bare_mqtt_requests_per_s: Option<f64>,
    mqtt_polls_over_bare: Option<f64>,
    plain_polls_per_s: Option<f64>,
    tls_polls_per_s: Option<f64>,
    tls_polls_over_plain: Option<f64>,
    credentials_10k_s: Option<f64>,
    lateness_p99_ms: Option<usize>,
    lateness_p50_ms: Option<usize>,
    bare_lateness_p99_ms: Option<usize>,
    rss_mb_100k: Option<f64>,
    start_ms_100k: Option<f64>,
    exact_10k: Option<Exact>,
    exact_100k: Option<Exact>,
    flags: Vec<&'static str>,
    #[serde(flatten)]
    bare: machine::Bare,
}

pub(crate) fn run(arguments: &PollingArguments) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let folder = arguments.measure.folder.clone();
    let bench = Bench { program, folder, is_quick: arguments.measure.quick };
    let mut figures = Figures { flags: FLAGS.to_vec(), ..Figures::default() };
    let folder = temporary(&bench.folder)?;
    figures.bare = machine::Bare::measure(folder.path(), ENVELOPE_BYTES, BARE_WRITES)?;
    drop(folder);
    let parts = &arguments.parts;
    let has = |part| parts.is_empty() || parts.contains(&part);
    if has(PollingPart::Nats) {
        let [ours, theirs] = bench.most(&LADDER, 0.0)?;
        figures.polls_per_s = Some(ours);
        figures.bare_requests_per_s = Some(theirs);
        figures.polls_over_bare = Some(ours / theirs);
    }
    if has(PollingPart::Tls) {
        bench.secured(&mut figures)?;
    }
    if has(PollingPart::Credentials) {
        figures.credentials_10k_s = Some(bench.credentials()?.as_secs_f64());
    }
    if has(PollingPart::Mqtt) {
        let [ours, theirs] = bench.most(&MQTT_LADDER, 1.0)?;
        figures.mqtt_polls_per_s = Some(ours);
        figures.bare_mqtt_requests_per_s = Some(theirs);
        figures.mqtt_polls_over_bare = Some(ours / theirs);
    }
    if has(PollingPart::Lateness) {
        bench.lateness(&mut figures)?;
    }
    if has(PollingPart::Fleet) {
        bench.fleet(&mut figures)?;
    }
    if has(PollingPart::Exact) {
        let paced = Load::new(bench.scaled(PACED), Some(Duration::from_secs(1)));
        figures.exact_10k = Some(bench.exact(paced, EXACT_PACED)?);
        figures.exact_100k = Some(bench.exact(bench.largest(), EXACT_FLEET)?);
    }
    if arguments.measure.json {
        output::line(&serde_json::to_string(&figures)?);
    } else {
        output::lines(&figures.table());
    }
    Ok(())
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
    /// With `--quick` it shows that everything works, and no more.
    is_quick: bool,
}

impl Bench {
    /// The most polls a second whose answers are sealed, and the most bare requests.
    fn most(&self, ladder: &[u32], mqtt: f64) -> Result<[f64; 2]> {
        let ours = self.climb(ladder, |load| self.sealed_per_s(Load { mqtt, ..load }))?;
        let theirs = self.climb(ladder, |load| {
            let load = Load { mqtt, ..load };
            let folder = temporary(&self.folder)?;
            output::note(&format!("sealwire: {} bare requests per second", load.per_second()));
            Ok(Bare::measure(folder.path(), load, self.window())?.answers_per_s)
        })?;
        Ok([ours, theirs])
    }

    /// Offers less and less until all of it is answered. Returns the most that was.
    fn climb(&self, ladder: &[u32], measure: impl Fn(Load) -> Result<f64>) -> Result<f64> {
        // A quick run sees that a step works, not how much a site bears. It is short, so it takes
        // the step with the shortest interval.
        let ladder = if self.is_quick { ladder.get(..1) } else { Some(ladder) };
        let ladder = ladder.unwrap_or_default();
        let mut most: f64 = 0.0;
        for per_second in ladder {
            let interval = Duration::from_secs_f64(f64::from(SENSORS) / f64::from(*per_second));
            let sensors = self.scaled(SENSORS);
            let load = Load::new(sensors, Some(interval));
            let answered = measure(load)?;
            most = most.max(answered);
            if answered >= COMPLETE * load.per_second() {
                break;
            }
        }
        Ok(most)
    }

    /// The most polls a second of sensors with credentials, without TLS and with it.
    fn secured(&self, figures: &mut Figures) -> Result<()> {
        let most = |door| self.climb(&LADDER, |load| self.sealed_per_s(Load { door, ..load }));
        let (plain, tls) = (most(Door::Credentials)?, most(Door::Tls)?);
        figures.plain_polls_per_s = Some(plain);
        figures.tls_polls_per_s = Some(tls);
        figures.tls_polls_over_plain = Some(tls / plain);
        Ok(())
    }

    /// Time until a site that runs lets so many new devices in.
    fn credentials(&self) -> Result<Duration> {
        let (folder, load) = (temporary(&self.folder)?, Load::new(1, None));
        output::note("sealwire: credentials");
        let run = Run::start_with_all(&self.program, folder.path(), load, &FLAGS)?;
        let rows = (0..self.scaled(CREDENTIALS)).map(|sensor| format!("Sensor-{sensor}\n"));
        let (time, _credentials) = door::add(&self.program, folder.path(), "alias", rows)?;
        run.stop()?.check()?;
        Ok(time)
    }

    /// Answers a second that are sealed.
    fn sealed_per_s(&self, load: Load) -> Result<f64> {
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: {} polls per second", load.per_second()));
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        let begin = clock::now();
        std::thread::park_timeout(self.window());
        let end = clock::now();
        let sealed = run.stop()?;
        sealed.check()?;
        let micros = (end.unix_micros() - begin.unix_micros()) as f64;
        Ok(sealed.readings_during(begin..end) as f64 * 1e6 / micros)
    }

    /// How late polls are at a steady pace, and bare requests.
    fn lateness(&self, figures: &mut Figures) -> Result<()> {
        // A quick run is over before a sensor that is polled once a second has settled.
        let interval = Duration::from_millis(if self.is_quick { 100 } else { 1_000 });
        let load = Load::new(self.scaled(PACED), Some(interval));
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: lateness at {} polls per second", load.per_second()));
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        std::thread::park_timeout(self.window());
        let sealed = run.stop()?;
        sealed.check()?;
        let lateness = sealed.lateness().context("no sensor was polled often enough")?;
        figures.lateness_p99_ms = Some(lateness.p99);
        figures.lateness_p50_ms = Some(lateness.p50);
        let folder = temporary(&self.folder)?;
        let bare = Bare::measure(folder.path(), load, self.window())?;
        figures.bare_lateness_p99_ms = bare.lateness.map(|lateness| lateness.p99);
        Ok(())
    }

    /// The largest site: its memory, and the time until it polls again after a restart.
    fn fleet(&self, figures: &mut Figures) -> Result<()> {
        let load = self.largest();
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: a site with {} sensors", load.sensors));
        let run = Run::start_with_all(&self.program, folder.path(), load, &FLAGS)?;
        std::thread::park_timeout(self.window());
        figures.rss_mb_100k = Some(run.processes()?.resident_kilobytes("sealwire") / 1_000.0);
        run.stop()?.check()?;
        output::note("sealwire: starting it again");
        let until_polls = start_again(&self.program, folder.path(), &FLAGS)?;
        figures.start_ms_100k = Some(until_polls.as_secs_f64() * 1e3);
        Ok(())
    }

    /// Holds what each sensor says that it did against what is sealed of it.
    fn exact(&self, load: Load, window: Duration) -> Result<Exact> {
        let load = Load { faults: FAULTS, ..load };
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: each answer of {} sensors", load.sensors));
        let run = Run::start_with_all(&self.program, folder.path(), load, &FLAGS)?;
        std::thread::park_timeout(if self.is_quick { window / 60 } else { window });
        run.stop_after(HELD_MAX)?.check()?;
        Exact::of(folder.path())
    }

    /// The largest fleet.
    fn largest(&self) -> Load {
        let connections = self.scaled(FLEET_CONNECTIONS);
        let interval = Duration::from_secs(if self.is_quick { 1 } else { 30 });
        Load { connections, ..Load::new(self.scaled(FLEET), Some(interval)) }
    }

    const fn scaled(&self, count: u32) -> u32 {
        if self.is_quick { count.div_ceil(100) } else { count }
    }

    fn window(&self) -> Duration {
        if self.is_quick { WINDOW / 10 } else { WINDOW }
    }
}

impl Figures {
    /// The figures as a table for people, each beside its target.
    fn table(&self) -> String {
        let millis = |millis: Option<usize>| millis.map(|millis| millis as f64);
        let answers = |exact: Option<Exact>| exact.map(|exact| exact.answers as f64);
        let misses = |exact: Option<Exact>| exact.map(|exact| exact.misses as f64);
        let differ = |exact: Option<Exact>| exact.map(|exact| exact.sensors_that_differ as f64);
        let rows = [
            ("polls answered and sealed per second", self.polls_per_s, ""),
            ("bare requests answered per second", self.bare_requests_per_s, ""),
            ("  polls over bare requests", self.polls_over_bare, "at least 0.8"),
            ("polls of sensors with credentials", self.plain_polls_per_s, ""),
            ("  the same with TLS", self.tls_polls_per_s, ""),
            ("  polls with TLS over those without", self.tls_polls_over_plain, ""),
            ("10,000 new credentials, s", self.credentials_10k_s, "at most 5"),
            ("polls over MQTT, answered and sealed per second", self.mqtt_polls_per_s, ""),
            ("bare requests over MQTT", self.bare_mqtt_requests_per_s, ""),
            ("  polls over bare requests", self.mqtt_polls_over_bare, ""),
            ("lateness at 10,000 polls/s, p99, ms", millis(self.lateness_p99_ms), "at most 20"),
            ("  p50, ms", millis(self.lateness_p50_ms), ""),
            ("  of bare requests, p99, ms", millis(self.bare_lateness_p99_ms), ""),
            ("memory with 100,000 sensors, MB", self.rss_mb_100k, "at most 150"),
            ("their first poll after a restart, ms", self.start_ms_100k, "at most 3,000"),
            ("10,000 sensors for 5 minutes: answers", answers(self.exact_10k), ""),
            ("  misses", misses(self.exact_10k), ""),
            ("  sensors of which the log says otherwise", differ(self.exact_10k), "0"),
            ("100,000 sensors for 10 minutes: answers", answers(self.exact_100k), ""),
            ("  misses", misses(self.exact_100k), ""),
            ("  sensors of which the log says otherwise", differ(self.exact_100k), "0"),
        ];
        table(rows.into_iter().chain(self.bare.rows()), 2, &self.flags)
    }
}
