//! `sealwire bench site`: what a reading costs on its way from a sensor to whoever looks for it.
//!
//! A site runs with its engines, as `sealwire up` starts it, and `sealwire simulate` loads it from
//! another process. Processor time and memory of every process come from `/proc`. What was sealed
//! is what `verify --completeness` counts in the log afterwards.

pub(super) mod door;
pub(super) mod load;
mod looking;
mod processes;
pub(super) mod running;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use self::{load::Load, looking::Lag, running::Run};
use super::{
    figures::{percentile, table},
    machine::{self, temporary},
};
use crate::{
    cli::{SiteArguments, SitePart},
    output,
};

/// Flags of the site that is measured. Its defaults would refuse the load, and protect against
/// that, so the figures name these.
const FLAGS: [&str; 2] = ["--polls-per-second=100000", "--new-sensors-per-minute=20000"];
/// How long each figure is measured; a tenth with `--quick`.
const WINDOW: Duration = Duration::from_secs(20);
/// Sensors of a large site, and of a small one.
const MANY: u32 = 20_000;
const FEW: u32 = 40;
/// Readings per second that are tried, until everything is found in time.
const LADDER: [u32; 5] = [50_000, 40_000, 30_000, 20_000, 10_000];
/// Age of the newest reading that can be found, beyond which the index has fallen behind.
const LAG_MAX: Duration = Duration::from_secs(1);
/// How long a site must keep up.
const LONG: Duration = Duration::from_secs(300);
/// How many windows an overload lasts, and the time between two orders in it.
const OVERLOAD_WINDOWS: u32 = 3;
const ORDER_PERIOD: Duration = Duration::from_millis(500);
/// How often a site is killed under load.
const KILLS: u32 = 10;
/// Size of an envelope of the simulated sensors, about.
const ENVELOPE_BYTES: usize = 400;
/// Bare writes to time.
const BARE_WRITES: usize = 1_000;

/// The figures, printed with `--json`. A part that was not measured is `null`.
#[derive(Debug, Default, Serialize)]
struct Figures {
    cpu_s_per_million_1k: Option<f64>,
    cpu_s_per_million_20k: Option<f64>,
    found_per_s: Option<f64>,
    found_lag_max_s: Option<f64>,
    found_p50_ms: Option<f64>,
    found_p99_ms: Option<f64>,
    rss_kb_per_sensor_20k: Option<f64>,
    index_readings_per_s: Option<f64>,
    /// Of all processes of the site, the load left out.
    cpu_s_per_million_1k_with_engines: Option<f64>,
    cpu_s_per_million_20k_with_engines: Option<f64>,
    cpu_s_per_million_20k_of_the_load: Option<f64>,
    /// Readings per second that sensors offered where `found_per_s` was measured.
    offered_per_s: Option<f64>,
    /// Polls that the site declared missing there.
    missing: Option<u64>,
    rss_mb_40: Option<f64>,
    rss_mb_20k: Option<f64>,
    /// Readings per second over the long time, the lag of each follower of the log at its end, and
    /// polls that the site declared missing.
    long_per_s: Option<f64>,
    long_lag_s: BTreeMap<String, f64>,
    long_missing: Option<u64>,
    /// Readings per second of a site that is offered more than it can take.
    overload_per_s: Option<f64>,
    /// The longest time that an order of an operator took meanwhile, the command's start included.
    overload_order_max_ms: Option<f64>,
    /// Sensors that were taken for lost meanwhile, because their heartbeats were not heard in time.
    overload_heartbeats_missed: Option<u64>,
    /// Polls that the site declared missing meanwhile.
    overload_missing: Option<u64>,
    /// To what the site says that it stretched its shortest interval.
    overload_shortest_interval_ms: Option<u64>,
    /// How often the site was killed under load. Everything was accounted for afterwards.
    kills: Option<u32>,
    kills_readings: Option<usize>,
    kills_missing: Option<u64>,
    flags: Vec<&'static str>,
    #[serde(flatten)]
    bare: machine::Bare,
}

pub(crate) fn run(arguments: &SiteArguments) -> Result<()> {
    let scale = Scale { quick: arguments.measure.quick };
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("cannot find this program")?,
    };
    let bench = Bench { program, folder: arguments.measure.folder.clone(), scale };
    let mut figures = Figures { flags: FLAGS.to_vec(), ..Figures::default() };
    let folder = temporary(&bench.folder)?;
    figures.bare = machine::Bare::measure(folder.path(), ENVELOPE_BYTES, BARE_WRITES)?;
    drop(folder);
    let parts = &arguments.parts;
    let has = |part| parts.is_empty() || parts.contains(&part);
    if has(SitePart::Slow) {
        bench.slow(&mut figures)?;
    }
    if has(SitePart::Fast) {
        bench.fast(&mut figures)?;
    }
    if has(SitePart::Most) {
        bench.most(&mut figures)?;
    }
    if has(SitePart::Memory) {
        bench.memory(&mut figures)?;
    }
    if has(SitePart::Long) {
        bench.long(&mut figures)?;
    }
    if has(SitePart::Overload) {
        bench.overload(&mut figures)?;
    }
    if has(SitePart::Kills) {
        bench.kills(&mut figures)?;
    }
    if arguments.measure.json {
        output::line(&serde_json::to_string(&figures)?);
    } else {
        output::lines(&figures.table());
    }
    Ok(())
}

/// The sizes of a run. With `--quick` it shows that everything works, and no more.
#[derive(Clone, Copy, Debug)]
struct Scale {
    quick: bool,
}

impl Scale {
    const fn sensors(self, sensors: u32) -> u32 {
        if self.quick { sensors.div_ceil(100) } else { sensors }
    }

    fn window(self) -> Duration {
        if self.quick { WINDOW / 10 } else { WINDOW }
    }

    /// A long time; a hundredth of it with `--quick`.
    fn long(self) -> Duration {
        if self.quick { LONG / 100 } else { LONG }
    }

    /// How often the site is killed.
    const fn kills(self) -> u32 {
        if self.quick { 2 } else { KILLS }
    }
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
    scale: Scale,
}

impl Bench {
    /// 1,000 readings per second: what each costs, and when it can be found.
    fn slow(&self, figures: &mut Figures) -> Result<()> {
        let sensors = self.scale.sensors(1_000);
        let load = Load::new(sensors, Some(Duration::from_secs(1)));
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: {} readings per second", load.per_second()));
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        let cost = run.cost(self.scale.window())?;
        output::note("sealwire: looking for each of them");
        let times = run.look_for_each(self.scale.window())?;
        let sealed = run.stop()?;
        sealed.check()?;
        ensure!(!times.is_empty(), "no reading was found");
        figures.cpu_s_per_million_1k = Some(cost.of("sealwire"));
        figures.cpu_s_per_million_1k_with_engines = Some(cost.of_site());
        figures.found_p50_ms = Some(percentile(&times, 50));
        figures.found_p99_ms = Some(percentile(&times, 99));
        Ok(())
    }

    /// 20,000 readings per second: what each costs.
    fn fast(&self, figures: &mut Figures) -> Result<()> {
        let sensors = self.scale.sensors(MANY);
        let load = Load::new(sensors, Some(Duration::from_secs(1)));
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: {} readings per second", load.per_second()));
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        let cost = run.cost(self.scale.window())?;
        run.stop()?.check()?;
        figures.cpu_s_per_million_20k = Some(cost.of("sealwire"));
        figures.cpu_s_per_million_20k_with_engines = Some(cost.of_site());
        figures.cpu_s_per_million_20k_of_the_load = Some(cost.of("simulate"));
        Ok(())
    }

    /// As many readings per second as can be found within a second, and how fast their index is
    /// made again.
    fn most(&self, figures: &mut Figures) -> Result<()> {
        let sensors = self.scale.sensors(MANY);
        for per_second in LADDER {
            let interval = Duration::from_secs_f64(f64::from(MANY) / f64::from(per_second));
            let load = Load::new(sensors, Some(interval));
            let folder = temporary(&self.folder)?;
            output::note(&format!("sealwire: {} readings per second", load.per_second()));
            let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
            let Lag { longest, first_leaf, last_leaf, elapsed } =
                run.look_for_the_newest(self.scale.window())?;
            let sealed = run.stop()?;
            sealed.check()?;
            let found = sealed.readings_between(first_leaf..last_leaf);
            figures.found_per_s = Some(found as f64 / elapsed.as_secs_f64());
            figures.found_lag_max_s = Some(longest.as_secs_f64());
            figures.offered_per_s = Some(load.per_second());
            figures.missing = Some(sealed.missing);
            if longest <= LAG_MAX {
                figures.index_readings_per_s = Some(sealed.index_again(folder.path())?);
                break;
            }
        }
        Ok(())
    }

    /// Resident memory with few sensors and with many, each at the interval of its kind.
    fn memory(&self, figures: &mut Figures) -> Result<()> {
        let many = self.scale.sensors(MANY);
        let mut kilobytes = [0.0; 2];
        for (sensors, kilobytes) in [FEW, many].into_iter().zip(&mut kilobytes) {
            let folder = temporary(&self.folder)?;
            output::note(&format!("sealwire: memory with {sensors} sensors"));
            let load = Load::new(sensors, None);
            let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
            std::thread::park_timeout(self.scale.window());
            *kilobytes = run.processes()?.resident_kilobytes("sealwire");
            run.stop()?.check()?;
        }
        let [few_kb, many_kb] = kilobytes;
        figures.rss_kb_per_sensor_20k = Some((many_kb - few_kb) / f64::from(many));
        figures.rss_mb_40 = Some(few_kb / 1_000.0);
        figures.rss_mb_20k = Some(many_kb / 1_000.0);
        Ok(())
    }

    /// 5,000 readings per second for a long time: how far behind each follower is in the end.
    fn long(&self, figures: &mut Figures) -> Result<()> {
        let sensors = self.scale.sensors(MANY);
        let load = Load::new(sensors, Some(Duration::from_secs(4)));
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: {} readings per second, long", load.per_second()));
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        let begin = Instant::now();
        let before = run.status()?.answers();
        std::thread::park_timeout(self.scale.long());
        let status = run.status()?;
        let answers = status.answers() - before;
        figures.long_per_s = Some(answers as f64 / begin.elapsed().as_secs_f64());
        figures.long_lag_s =
            status.followers.iter().map(|lag| (lag.name.clone(), lag.seconds())).collect();
        let sealed = run.stop()?;
        sealed.check()?;
        figures.long_missing = Some(sealed.missing);
        Ok(())
    }

    /// 40,000 readings per second, which is more than this machine can take beside the load: how
    /// long orders take meanwhile, and what the site says.
    fn overload(&self, figures: &mut Figures) -> Result<()> {
        let sensors = self.scale.sensors(MANY);
        let load = Load::new(sensors, Some(Duration::from_millis(500)));
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: {} readings per second offered", load.per_second()));
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        let begin = Instant::now();
        let before = run.status()?.answers();
        let mut slowest = Duration::ZERO;
        let mut shortest = None;
        while begin.elapsed() < OVERLOAD_WINDOWS * self.scale.window() {
            slowest = slowest.max(run.order()?);
            shortest = shortest.max(run.status()?.shortest_interval_ms);
            std::thread::park_timeout(ORDER_PERIOD);
        }
        let answers = run.status()?.answers() - before;
        figures.overload_per_s = Some(answers as f64 / begin.elapsed().as_secs_f64());
        figures.overload_order_max_ms = Some(slowest.as_secs_f64() * 1e3);
        figures.overload_shortest_interval_ms = shortest;
        let sealed = run.stop()?;
        sealed.check()?;
        figures.overload_missing = Some(sealed.missing);
        figures.overload_heartbeats_missed = Some(sealed.unheard);
        Ok(())
    }

    /// 20,000 readings per second, and a kill now and then. In the end everything is accounted for.
    fn kills(&self, figures: &mut Figures) -> Result<()> {
        let sensors = self.scale.sensors(MANY);
        let load = Load::new(sensors, Some(Duration::from_secs(1)));
        let folder = temporary(&self.folder)?;
        output::note(&format!("sealwire: {} readings per second, and kills", load.per_second()));
        let mut run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        for _ in 0..self.scale.kills() {
            std::thread::park_timeout(self.scale.window() / 4);
            run.kill()?;
        }
        std::thread::park_timeout(self.scale.window() / 4);
        let sealed = run.stop()?;
        sealed.check()?;
        figures.kills = Some(self.scale.kills());
        figures.kills_readings = Some(sealed.readings());
        figures.kills_missing = Some(sealed.missing);
        Ok(())
    }
}

impl Figures {
    /// The figures as a table for people, each beside its target.
    fn table(&self) -> String {
        let long_lag_s = self.long_lag_s.values().copied().reduce(f64::max);
        let whole = |number: Option<u64>| number.map(|number| number as f64);
        let rows = [
            ("CPU seconds per million readings, 1,000/s", self.cpu_s_per_million_1k, "at most 60"),
            ("  with the engines", self.cpu_s_per_million_1k_with_engines, ""),
            ("the same at 20,000/s", self.cpu_s_per_million_20k, "at most 25"),
            ("  with the engines", self.cpu_s_per_million_20k_with_engines, ""),
            ("  of the load", self.cpu_s_per_million_20k_of_the_load, ""),
            ("readings found per second", self.found_per_s, "at least 50,000"),
            ("  of those that were offered", self.offered_per_s, ""),
            ("  age of the newest one found, most, s", self.found_lag_max_s, "at most 1"),
            ("found after, at 1,000/s, p50, ms", self.found_p50_ms, "at most 15"),
            ("  p99, ms", self.found_p99_ms, "at most 50"),
            ("memory per sensor of 20,000, KB", self.rss_kb_per_sensor_20k, "at most 2"),
            ("  with 40 sensors, MB", self.rss_mb_40, ""),
            ("  with 20,000 sensors, MB", self.rss_mb_20k, ""),
            ("index made again, readings per second", self.index_readings_per_s, ""),
            ("5,000 readings/s for five minutes, per second", self.long_per_s, ""),
            ("  lag of the slowest follower at the end, s", long_lag_s, "under 2"),
            ("  polls declared missing", whole(self.long_missing), ""),
            ("readings/s when 40,000 are offered", self.overload_per_s, ""),
            ("  longest order, ms", self.overload_order_max_ms, ""),
            ("  sensors whose heartbeats were missed", whole(self.overload_heartbeats_missed), "0"),
            ("  polls declared missing", whole(self.overload_missing), ""),
            ("  shortest interval, ms", whole(self.overload_shortest_interval_ms), ""),
            ("kills under load, all accounted for", self.kills.map(f64::from), "10"),
            ("  polls declared missing", whole(self.kills_missing), ""),
        ];
        table(rows.into_iter().chain(self.bare.rows()), 1, &self.flags)
    }
}
