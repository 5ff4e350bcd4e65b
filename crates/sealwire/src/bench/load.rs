//! The process under load: fills a log, measures itself, prints the measurements on standard
//! output, and continues to append until it is killed.
//!
//! It is a separate process so that its memory is that of a log alone, and so that the bench can
//! kill it as a crash would.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ledger::{Batch, Ledger};
use model::{Event, SensorId, Timestamp, action, event::Detail};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use tlog::Signer;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::machine::BareLog;
use crate::cli::LedgerLoadArguments;

/// Size of an envelope in bytes.
pub(crate) const ENVELOPE_BYTES: usize = 300;
/// Number of tasks that append batches.
const BATCH_WRITERS: u64 = 4;
/// Number of tasks that append one event at a time.
const SINGLE_WRITERS: u64 = 256;
/// Proofs to time, each of a random leaf. As many before them warm up.
const PROOFS: usize = 20_000;
/// Appends of the lone writer to time, and as many bare writes.
const LONE_APPENDS: usize = 4_000;
/// Appends, and then bare writes, per turn. Taking turns lets both see the same disk.
const LONE_TURN: usize = 100;
/// The same as a site's default.
const CHECKPOINT_PERIOD: Duration = Duration::from_millis(500);

/// Measurements of the process under load.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) entries: u64,
    pub(crate) batch_entries_per_s: f64,
    pub(crate) single_entries_per_s: f64,
    pub(crate) lone_p50_us: f64,
    pub(crate) bare_p50_us: f64,
    pub(crate) proof_p50_us: f64,
    pub(crate) bytes_per_entry: f64,
    pub(crate) lone_bytes_per_entry: f64,
}

pub(crate) fn run(arguments: &LedgerLoadArguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(load(&arguments.folder, arguments.entries))
}

async fn load(folder: &Path, entries: u64) -> Result<()> {
    let log = folder.join("log");
    let (ledger, writer) = Ledger::open(&log, signer()).context("cannot create a log")?;
    let mut tasks = JoinSet::new();
    tasks.spawn(publish(ledger.clone()));

    let batch_entries_per_s = append_batches(&ledger, entries).await?;
    ledger.publish_checkpoint().await?;
    let bytes_per_entry = bytes_of(&log)? as f64 / ledger.size() as f64;
    let proof_p50_us = time_proofs(&ledger)?;
    let single_entries_per_s = append_singly(&ledger, entries / 50).await?;
    let bytes_before = bytes_of(&log)?;
    let (lone_p50_us, bare_p50_us) = append_alone(&ledger, folder).await?;
    let lone_bytes_per_entry = (bytes_of(&log)? - bytes_before) as f64 / LONE_APPENDS as f64;

    let measured = Measured {
        entries: ledger.size(),
        batch_entries_per_s,
        single_entries_per_s,
        lone_p50_us,
        bare_p50_us,
        proof_p50_us,
        bytes_per_entry,
        lone_bytes_per_entry,
    };
    {
        let mut stdout = io::stdout().lock();
        serde_json::to_writer(&mut stdout, &measured)?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
    }
    // Appends until another process kills this one.
    append_batches(&ledger, u64::MAX).await?;
    writer.close().await?;
    Ok(())
}

/// The key of a bench's log. The process under load and the one that opens the log afterwards both
/// use it.
pub(crate) fn signer() -> Signer {
    let name = "sealwire.test/bench".parse().expect("it is a key's name");
    Signer::from_seed(name, &[1; 32])
}

async fn publish(ledger: Ledger) {
    let mut period = tokio::time::interval(CHECKPOINT_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        if ledger.publish_checkpoint().await.is_err() {
            return;
        }
    }
}

/// Appends batches of the largest size from [`BATCH_WRITERS`] tasks. Returns entries per second.
async fn append_batches(ledger: &Ledger, entries: u64) -> Result<f64> {
    let batches = entries.div_ceil(Batch::EVENTS_MAX as u64).div_ceil(BATCH_WRITERS);
    append_from(ledger, BATCH_WRITERS, batches, Batch::EVENTS_MAX).await
}

/// Appends one event at a time from [`SINGLE_WRITERS`] tasks. Returns entries per second.
async fn append_singly(ledger: &Ledger, entries: u64) -> Result<f64> {
    append_from(ledger, SINGLE_WRITERS, entries.div_ceil(SINGLE_WRITERS), 1).await
}

async fn append_from(ledger: &Ledger, writers: u64, batches: u64, events: usize) -> Result<f64> {
    let begin = Instant::now();
    let before = ledger.size();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let mut readings = Readings::new(writer);
            for _ in 0..batches {
                ledger.append(Batch::of(readings.by_ref().take(events).collect())).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a writer panicked")??;
    }
    Ok((ledger.size() - before) as f64 / begin.elapsed().as_secs_f64())
}

/// Appends one event at a time from one task, with bare writes of as many bytes in between. Returns
/// the median of each in microseconds.
async fn append_alone(ledger: &Ledger, folder: &Path) -> Result<(f64, f64)> {
    /// Approximate size in bytes of a commit group with one such event.
    const GROUP_BYTES: usize = 220;
    let mut bare =
        BareLog::create(folder, GROUP_BYTES).context("cannot write a file beside the log")?;
    let mut readings = Readings::new(0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() < LONE_APPENDS {
        for reading in readings.by_ref().take(LONE_TURN) {
            let begin = Instant::now();
            ledger.append(Batch::of(vec![reading])).await?;
            ours.push(begin.elapsed());
        }
        for _ in 0..LONE_TURN {
            theirs.push(bare.append()?);
        }
    }
    Ok((median_us(&mut ours), median_us(&mut theirs)))
}

/// Makes inclusion proofs of random leaves. Returns the median time in microseconds.
fn time_proofs(ledger: &Ledger) -> Result<f64> {
    let size = ledger.published().checkpoint.size.get();
    let mut random = SmallRng::seed_from_u64(1);
    let mut times = Vec::with_capacity(2 * PROOFS);
    for _ in 0..2 * PROOFS {
        let leaf = random.random_range(0..size);
        let begin = Instant::now();
        let proof = ledger.prove(leaf)?;
        times.push(begin.elapsed());
        proof.with_context(|| format!("there is no proof of leaf {leaf}"))?;
    }
    let warm = times.get_mut(PROOFS..).unwrap_or_default();
    Ok(median_us(warm))
}

fn median_us(times: &mut [Duration]) -> f64 {
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    median.as_secs_f64() * 1e6
}

/// Size in bytes of all files in a folder.
fn bytes_of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Generates readings of 40 sensors in turn, with envelopes of [`ENVELOPE_BYTES`].
struct Readings {
    random: SmallRng,
    micros: i64,
    count: usize,
}

impl Readings {
    const SENSORS: usize = 40;

    fn new(writer: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(writer), micros: 1_795_600_000_000_000, count: 0 }
    }
}

impl Iterator for Readings {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let number = self.count % Self::SENSORS;
        self.count += 1;
        self.micros += self.random.random_range(1_000..100_000);
        let value = format!("{:.2}", self.random.random_range(10.0..99.0));
        let id = [u8::try_from(number).expect("there are 40"); 16];
        Some(Event {
            action: Some(action::SENSOR_READING.to_owned()),
            message: format!("T{number:03} = {value}"),
            new: Some(value),
            sealwire: Some(Detail { sensor: Some(SensorId::from_bytes(id)), ..Detail::default() }),
            source: Some(format!("T{number:03}")),
            status: Some(String::from("SUCCESS")),
            timestamp: Some(Timestamp::from_unix_micros(self.micros).to_string()),
            ..Event::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use model::EventJson;

    use super::*;

    #[test]
    fn readings_have_the_size_that_is_promised() {
        for event in Readings::new(7).take(100) {
            assert_eq!(EventJson::of(&event).envelope_len(), ENVELOPE_BYTES);
        }
    }
}
