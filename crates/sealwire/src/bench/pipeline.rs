//! `sealwire bench pipeline`: has readings judged as a site does, through ledger, component and
//! back, with real engines. Readings are made and appended in this process, beside the index.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use ledger::{Batch, Ledger};
use model::{Envelope, Event, Heartbeat, Outcome, action};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Serialize;
use serde_json::json;
use site::judging_alone::JudgingAlone;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    figures::percentile,
    ledger::resident_mb,
    load::{self, ENVELOPE_BYTES},
    machine::{self, temporary},
};
use crate::{cli::MeasureArguments, components, output};

/// Readings to seal and to judge as fast as possible; a tenth with `--quick`.
const READINGS: u64 = 600_000;
/// Sensors of these readings.
const SENSORS: u64 = 1_000;
/// One reading in so many is out of range, so that each sensor's range is left and entered again.
const OUT_OF_RANGE_EVERY: u64 = 50;
/// Readings a second while the time to a derived event is measured.
const PACED_PER_SECOND: u64 = 5_000;
/// Time between two appends meanwhile.
const PACE: Duration = Duration::from_millis(10);
/// How long it is measured; a fifth with `--quick`.
const PACED: Duration = Duration::from_secs(30);
/// Bare writes with fdatasync to time.
const BARE_WRITES: usize = 2_000;
/// The same as a site's default.
const CHECKPOINT_PERIOD: Duration = Duration::from_millis(500);

/// The figures, printed with `--json`. Those of the bare machine have `bare` in their names.
#[derive(Debug, Serialize)]
struct Figures {
    readings_per_s: f64,
    ledger_alone_per_s: f64,
    derived_p50_ms_5k: f64,
    derived_p99_ms_5k: f64,
    host_rss_mb: Option<f64>,
    readings: u64,
    derived: u64,
    derived_5k: usize,
    #[serde(flatten)]
    bare: machine::Bare,
}

pub(crate) fn run(arguments: &MeasureArguments) -> Result<()> {
    let (readings, paced) =
        if arguments.quick { (READINGS / 10, PACED / 5) } else { (READINGS, PACED) };
    let folder = temporary(&arguments.folder)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let figures = runtime.block_on(measure(folder.path(), readings, paced))?;
    if arguments.json {
        output::line(&serde_json::to_string(&figures)?);
    } else {
        output::lines(&figures.table());
    }
    Ok(())
}

async fn measure(folder: &Path, readings: u64, paced: Duration) -> Result<Figures> {
    output::note("sealwire: the bare machine");
    let bare = machine::Bare::measure(folder, ENVELOPE_BYTES, BARE_WRITES)?;

    output::note(&format!("sealwire: sealing {readings} readings"));
    let (ledger, writer) = Ledger::open(&folder.join("alone"), load::signer())?;
    let begin = Instant::now();
    append(&ledger, &mut Readings::new()?, readings).await?;
    let ledger_alone_per_s = readings as f64 / begin.elapsed().as_secs_f64();
    writer.close().await?;

    output::note("sealwire: starting the engines");
    let judging =
        JudgingAlone::start(&folder.join("judged"), &components::all(), CHECKPOINT_PERIOD).await?;
    let JudgingAlone { ledger, judged, .. } = &judging;
    let mut judged = judged.clone();
    let mut source = Readings::new()?;
    // The component is compiled and its instances are warm.
    append(ledger, &mut source, SENSORS).await?;
    let warm = ledger.size();
    judged.wait_for(|judged| *judged >= warm).await?;

    output::note(&format!("sealwire: judging {readings} readings"));
    let begin = Instant::now();
    let last = append(ledger, &mut source, readings).await?;
    judged.wait_for(|judged| *judged > last).await?;
    let readings_per_s = readings as f64 / begin.elapsed().as_secs_f64();
    let derived = ledger.size() - warm - readings;

    output::note(&format!("sealwire: judging {PACED_PER_SECOND} a second"));
    let times = paced_times(ledger, judged, &mut source, paced).await?;
    let host_rss_mb = child_named("wash").and_then(resident_mb);
    judging.stop().await?;
    Ok(Figures {
        readings_per_s,
        ledger_alone_per_s,
        derived_p50_ms_5k: percentile(&times, 50),
        derived_p99_ms_5k: percentile(&times, 99),
        host_rss_mb,
        readings,
        derived,
        derived_5k: times.len(),
        bare,
    })
}

/// Appends so many readings, in batches as large as those of a site. Returns the last leaf.
async fn append(ledger: &Ledger, source: &mut Readings, readings: u64) -> Result<u64> {
    let mut last = 0;
    let mut left = readings;
    while left > 0 {
        let count = left.min(Batch::EVENTS_MAX as u64);
        let receipt = ledger.append(Batch::of(source.take(count))).await?;
        last = receipt.first_leaf + receipt.leaves - 1;
        left -= count;
    }
    Ok(last)
}

/// Appends readings at a steady pace. Returns the times from before the append of a reading to
/// when the event derived from it is read.
async fn paced_times(
    ledger: &Ledger,
    mut judged: watch::Receiver<u64>,
    source: &mut Readings,
    paced: Duration,
) -> Result<Vec<Duration>> {
    let mut next = ledger.size();
    let mut size = ledger.watch_size();
    let loading = async {
        let mut ticks = interval(PACE);
        // What is late is made up for, so that the pace is kept.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let count = PACED_PER_SECOND * u64::try_from(PACE.as_millis())? / 1_000;
        let mut appended = BTreeMap::new();
        let begin = Instant::now();
        while begin.elapsed() < paced {
            ticks.tick().await;
            let before = Instant::now();
            let last = append(ledger, source, count).await?;
            appended.insert(last, before);
        }
        if let Some((last, _)) = appended.last_key_value() {
            judged.wait_for(|judged| judged > last).await?;
        }
        anyhow::Ok(appended)
    };
    let mut loading = std::pin::pin!(loading);
    let mut seen = Vec::new();
    let appended = loop {
        tokio::select! {
            appended = &mut loading => break appended?,
            // What the wait returns locks the size, so it does not outlive the wait.
            _grown = async { size.wait_for(|size| *size > next).await.is_ok() } => {
                look(ledger, &mut next, &mut seen)?;
            }
        }
    };
    while next < ledger.size() {
        look(ledger, &mut next, &mut seen)?;
    }
    let time = |(from_leaf, seen_at): (u64, Instant)| {
        let (_, appended_at) = appended.range(from_leaf..).next()?;
        Some(seen_at - *appended_at)
    };
    let mut times: Vec<Duration> = seen.into_iter().filter_map(time).collect();
    times.sort_unstable();
    Ok(times)
}

/// Reads further leaves, and notes now for each derived event the leaf that it is about.
fn look(ledger: &Ledger, next: &mut u64, seen: &mut Vec<(u64, Instant)>) -> Result<()> {
    let stored = ledger.envelopes(*next, Batch::EVENTS_MAX, usize::MAX)?;
    let now = Instant::now();
    for bytes in stored.iter().filter_map(|stored| stored.bytes.as_deref()) {
        *next += 1;
        if Envelope::has_action(bytes, action::SENSOR_READING) {
            continue;
        }
        let detail = Envelope::parse(bytes)?.event.sealwire;
        seen.extend(detail.and_then(|detail| detail.from_leaf).map(|from_leaf| (from_leaf, now)));
    }
    Ok(())
}

/// Readings of [`SENSORS`] sensors in turn, most of them within their range.
struct Readings {
    heartbeats: Vec<Heartbeat>,
    random: SmallRng,
    number: u64,
}

impl Readings {
    fn new() -> Result<Self> {
        let heartbeats = (0..SENSORS).map(heartbeat).collect::<Result<_>>()?;
        Ok(Self { heartbeats, random: SmallRng::seed_from_u64(5), number: 0 })
    }

    fn take(&mut self, count: u64) -> Vec<Event> {
        let now = clock::now();
        let reading = |number: u64| {
            let place = usize::try_from(number % SENSORS).ok()?;
            let heartbeat = self.heartbeats.get(place)?;
            let is_out = self.random.random_range(0..OUT_OF_RANGE_EVERY) == 0;
            let value = self.random.random_range(0.0..50.0) + if is_out { 50.5 } else { 0.0 };
            let outcome = Outcome::of(format!("{value:.2}").as_bytes());
            Some(Event::reading(heartbeat, number / SENSORS + 1, outcome, now))
        };
        let events = (self.number..self.number + count).filter_map(reading).collect();
        self.number += count;
        events
    }
}

fn heartbeat(number: u64) -> Result<Heartbeat> {
    let text = json!({
        "alias": format!("Sensor{number}"), "id": format!("a3b3c3d3-e3f3-4aaa-8bbb-{number:012x}"),
        "location": format!("Hall {}", number % 40), "poll_interval": 1_000,
        "poll_topic": format!("s{number}.poll"), "read_topic": format!("s{number}.read"),
        "unit": "bar", "range": [0, 50],
    });
    Heartbeat::parse(text.to_string().as_bytes()).context("the heartbeat is wrong")
}

/// The process of this name that this process started; `None` where there is no `/proc`.
fn child_named(name: &str) -> Option<u32> {
    let ours = format!(" {} ", std::process::id());
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The number, the name in parentheses, the state, and the parent's number.
        let (before, after) = stat.rsplit_once(')')?;
        let is_it = before.split_once('(')?.1 == name && after.get(2..)?.starts_with(&ours);
        is_it.then_some(id)
    })
}

impl Figures {
    /// The figures as a table for people, each beside its target.
    fn table(&self) -> String {
        let rss =
            self.host_rss_mb.map_or_else(|| String::from("unknown"), |mb| format!("{mb:.0} MB"));
        let rows = [
            ("readings judged", format!("{:.0}/s", self.readings_per_s), "30,000/s"),
            ("the ledger alone", format!("{:.0}/s", self.ledger_alone_per_s), ""),
            ("derived event at 5,000/s, p50", format!("{:.0} ms", self.derived_p50_ms_5k), "50 ms"),
            ("the same, p99", format!("{:.0} ms", self.derived_p99_ms_5k), ""),
            ("memory of the host at most", rss, ""),
            (
                "this machine: write and fdatasync, p50",
                format!("{:.0} us", self.bare.bare_write_fdatasync_p50_us),
                "",
            ),
            (
                "  SHA-256 of an envelope",
                format!("{:.0}/s on one core", self.bare.bare_sha256_per_s),
                "",
            ),
        ];
        let mut table = format!(
            "{} readings, {} derived events\n{:<40}{:>24}{:>14}\n",
            self.readings, self.derived, "", "here", "aim"
        );
        for (what, here, aim) in rows {
            table.push_str(&format!("{what:<40}{here:>24}{aim:>14}\n"));
        }
        table
    }
}
