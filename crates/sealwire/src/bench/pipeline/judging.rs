//! Has readings judged and events checked as a site does, through ledger, component and back.
//! Readings are made and appended in this process, beside the index.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ledger::{Batch, Ledger};
use model::{Envelope, Event, Heartbeat, Outcome, action, processing::ProcessorName};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::json;
use site::judging_alone::JudgingAlone;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{Bench, Figures};
use crate::{
    bench::{figures::percentile, load, machine::temporary},
    components, output,
};

/// Readings to seal and to judge as fast as possible; a tenth with `--quick`.
const READINGS: u64 = 600_000;
/// Sensors of these readings.
const SENSORS: u64 = 1_000;
/// One reading in so many is out of range, so that each sensor's range is left and entered again.
const OUT_OF_RANGE_EVERY: u64 = 50;
/// Readings a second while the time to a derived event is measured.
const PACED_PER_SECOND: [u64; 2] = [1_000, 5_000];
/// Time between two appends meanwhile.
const PACE: Duration = Duration::from_millis(10);
/// How long it is measured; a fifth with `--quick`.
const PACED: Duration = Duration::from_secs(30);
/// Processors beside `sensor-reader`, where three are measured side by side.
const PROCESSORS: [&str; 2] = ["double", "double-again"];
/// Events that an application hands in; a tenth with `--quick`.
const EVENTS: usize = 200_000;
/// Events of one submission.
const EVENTS_PER_SUBMISSION: usize = 100;
/// Submissions that wait for their receipts at the same time.
const SUBMISSIONS_AT_ONCE: usize = 64;
/// Name of the processor whose start is timed.
const STARTED: &str = "started";
/// The same as a site's default.
const CHECKPOINT_PERIOD: Duration = Duration::from_millis(500);

/// How much is measured.
struct Amounts {
    readings: u64,
    events: usize,
    paced: Duration,
}

impl Bench {
    pub(super) fn judging(&self, figures: &mut Figures) -> Result<()> {
        let amounts = if self.is_quick {
            Amounts { readings: READINGS / 10, events: EVENTS / 10, paced: PACED / 5 }
        } else {
            Amounts { readings: READINGS, events: EVENTS, paced: PACED }
        };
        let folder = temporary(&self.folder)?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        runtime.block_on(measure(folder.path(), &amounts, figures))
    }
}

async fn measure(folder: &Path, amounts: &Amounts, figures: &mut Figures) -> Result<()> {
    let Amounts { readings, events, paced } = *amounts;
    output::note(&format!("sealwire: sealing {readings} readings"));
    let (ledger, writer) = Ledger::open(&folder.join("alone"), load::signer())?;
    let begin = Instant::now();
    append(&ledger, &mut Readings::new()?, readings).await?;
    figures.ledger_alone_per_s = Some(readings as f64 / begin.elapsed().as_secs_f64());
    writer.close().await?;

    figures.backlog_per_s = Some(backlog(&folder.join("backlog"), readings).await?);
    figures.three_processors_per_s =
        Some(three_processors(&folder.join("three"), readings / 2).await?);
    figures.cold_start_ms = Some(cold_start(&folder.join("cold")).await?);

    output::note("sealwire: starting the engines");
    let judging = start(&folder.join("judged"), None).await?;
    let JudgingAlone { ledger, judged, .. } = &judging;
    let mut judged = judged.clone();
    let mut source = Readings::new()?;
    warm_up(&judging, &mut source).await?;

    output::note(&format!("sealwire: judging {readings} readings"));
    let begin = Instant::now();
    let last = append(ledger, &mut source, readings).await?;
    judged.wait_for(|judged| *judged > last).await?;
    figures.readings_per_s = Some(readings as f64 / begin.elapsed().as_secs_f64());

    let mut times = Vec::new();
    for per_second in PACED_PER_SECOND {
        output::note(&format!("sealwire: judging {per_second} a second"));
        times.push(paced_times(ledger, judged.clone(), &mut source, per_second, paced).await?);
    }
    let [at_1k, at_5k] = times.as_slice() else { unreachable!("one for each pace") };
    figures.derived_p50_ms_1k = Some(percentile(at_1k, 50));
    figures.derived_p99_ms_1k = Some(percentile(at_1k, 99));
    figures.derived_p50_ms_5k = Some(percentile(at_5k, 50));
    figures.derived_p99_ms_5k = Some(percentile(at_5k, 99));
    figures.events_per_s = Some(checked_events(&judging, events).await?);
    judging.stop().await?;
    Ok(())
}

async fn start(
    folder: &Path,
    processor: Option<(&[u8], &[ProcessorName])>,
) -> Result<JudgingAlone> {
    Ok(JudgingAlone::start(folder, &components::all(), processor, CHECKPOINT_PERIOD).await?)
}

/// Has some readings judged, so that the components are compiled and their instances warm.
async fn warm_up(judging: &JudgingAlone, source: &mut Readings) -> Result<()> {
    append(&judging.ledger, source, SENSORS).await?;
    let warm = judging.ledger.size();
    for judged in judging.processed.iter().chain([&judging.judged]) {
        judged.clone().wait_for(|judged| *judged >= warm).await?;
    }
    Ok(())
}

/// How many readings a second are judged that were sealed while nobody judged.
async fn backlog(folder: &Path, readings: u64) -> Result<f64> {
    output::note(&format!("sealwire: sealing {readings} readings that nobody judges"));
    let mut source = Readings::new()?;
    let count = Batch::EVENTS_MAX as u64;
    let batches = (0..readings / count).map(|_| source.take(count));
    JudgingAlone::seal_before(folder, batches).await?;
    output::note("sealwire: judging them");
    let judging = start(folder, None).await?;
    let mut judged = judging.judged.clone();
    // The first verdicts: from here on the host is ready, and the index has the log.
    let first = *judged.wait_for(|judged| *judged > 0).await?;
    let begin = Instant::now();
    judged.wait_for(|judged| *judged > readings).await?;
    let per_s = (readings - first) as f64 / begin.elapsed().as_secs_f64();
    judging.stop().await?;
    Ok(per_s)
}

/// How many readings a second `sensor-reader` and two processors handle beside each other, each of
/// them all.
async fn three_processors(folder: &Path, readings: u64) -> Result<f64> {
    let component = processor()?;
    let names = PROCESSORS.map(|name| name.parse().expect("a name of a processor"));
    output::note(&format!("sealwire: three processors on {readings} readings"));
    let judging = start(folder, Some((&component, &names))).await?;
    let mut source = Readings::new()?;
    warm_up(&judging, &mut source).await?;
    let begin = Instant::now();
    let last = append(&judging.ledger, &mut source, readings).await?;
    for judged in judging.processed.iter().chain([&judging.judged]) {
        judged.clone().wait_for(|judged| *judged > last).await?;
    }
    let per_s = readings as f64 / begin.elapsed().as_secs_f64();
    judging.stop().await?;
    Ok(per_s)
}

/// How long a further component takes from the decision to run it until it answers, in
/// milliseconds. The host has not seen it before.
async fn cold_start(folder: &Path) -> Result<f64> {
    output::note("sealwire: starting a component");
    let judging = start(folder, Some((&processor()?, &[]))).await?;
    let begin = Instant::now();
    judging.start_processor(&STARTED.parse().expect("a name of a processor")).await?;
    let elapsed = begin.elapsed();
    judging.stop().await?;
    Ok(elapsed.as_secs_f64() * 1e3)
}

fn processor() -> Result<Vec<u8>> {
    components::test_processor()
        .context("this binary has no processor to measure: build it with `cargo xtask build`")
}

/// How many events a second an application gets receipts for.
async fn checked_events(judging: &JudgingAlone, events: usize) -> Result<f64> {
    output::note(&format!("sealwire: {events} events of an application"));
    let submission = |number: usize| {
        let event = |place: usize| {
            json!({
                "action": "LOGIN", "actor": format!("user{place}"), "status": "SUCCESS",
                "message": format!("login {} of shift {number}", number * EVENTS_PER_SUBMISSION + place),
            })
        };
        let events: Vec<_> = (0..EVENTS_PER_SUBMISSION).map(event).collect();
        json!(events).to_string().into_bytes()
    };
    let JudgingAlone { desk, application, .. } = judging;
    let begin = Instant::now();
    let receipts = stream::iter((0..events / EVENTS_PER_SUBMISSION).map(submission))
        .map(async |submission| {
            let sealed = desk.submit(application, None, &submission).await?;
            anyhow::Ok(sealed.receipts.len())
        })
        .buffer_unordered(SUBMISSIONS_AT_ONCE)
        .try_fold(0, async |sum, receipts| Ok(sum + receipts))
        .await?;
    Ok(receipts as f64 / begin.elapsed().as_secs_f64())
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
    per_second: u64,
    paced: Duration,
) -> Result<Vec<Duration>> {
    let mut next = ledger.size();
    let mut size = ledger.watch_size();
    let loading = async {
        let mut ticks = interval(PACE);
        // What is late is made up for, so that the pace is kept.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let count = per_second * u64::try_from(PACE.as_millis())? / 1_000;
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
