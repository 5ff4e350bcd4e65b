//! What each sensor of a long run says that it did, held against what is sealed of it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use data_dir::DataDir;
use durable::disk::RealDisk;
use ledger::verify::verify_folder_with;
use model::{Envelope, SensorId, action, event::COMM_ERROR};
use serde::{Deserialize, Serialize};

use crate::bench::site::load::{data_dir, tally};

/// What the sensors do wrong. The simulator knows the outcome as well as the site.
pub(super) const FAULTS: &str = r#"
[[silence]]
sensors = "*HumiditySensor*"
share = 0.3
probability = 0.1
[[delay]]
sensors = "PressureSensor*"
by_ms = [20, 150]
[[delay]]
sensors = "AcousticSensor*"
share = 0.2
by_ms = [700, 900]
"#;

/// The sums of a run, and in how many sensors the two sides differ.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Exact {
    /// Polls that the sensors received.
    pub(super) polls: u64,
    /// Polls that they answered in time.
    pub(super) answers: u64,
    /// Polls that they left unanswered or answered too late.
    pub(super) misses: u64,
    /// Polls whose answer waited when the sensors stopped. The log has them as misses.
    pub(super) waiting: u64,
    /// Sensors of which the log has another number of answers, or of polls without one.
    pub(super) sensors_that_differ: u64,
}

/// What one sensor says that it did.
#[derive(Debug, Deserialize)]
struct Told {
    sensor: SensorId,
    polls: u64,
    answers: u64,
    silences: u64,
    late: u64,
}

impl Exact {
    /// Compares the two sides of a run that was stopped.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let sealed = sealed(folder)?;
        let mut exact = Self::default();
        let tally = fs::read_to_string(tally(folder)).context("the sensors left no tally")?;
        for line in tally.lines() {
            let told: Told = serde_json::from_str(line).context("a line of the tally")?;
            let (polls, misses) = (told.polls, told.silences + told.late);
            // Each poll has one number and one reading, so the first ones are those that it got.
            // Further ones came after the sensors had stopped.
            let of_sensor = sealed.get(&told.sensor).map(Vec::as_slice).unwrap_or_default();
            let got = of_sensor.iter().take(usize::try_from(polls)?);
            let answered = got.clone().filter(|(_poll, has_answer)| *has_answer).count() as u64;
            let differs = (got.len() as u64, answered) != (polls, told.answers);
            exact.polls += polls;
            exact.answers += told.answers;
            exact.misses += misses;
            exact.waiting += polls - told.answers - misses;
            exact.sensors_that_differ += u64::from(differs);
        }
        Ok(exact)
    }
}

/// The polls of each sensor that have a reading, in order, and whether the reading has an answer.
fn sealed(folder: &Path) -> Result<BTreeMap<SensorId, Vec<(u64, bool)>>> {
    let mut sealed: BTreeMap<SensorId, Vec<(u64, bool)>> = BTreeMap::new();
    let mut observer = |_leaf, envelope: Option<&[u8]>| {
        let Some(Ok(Envelope { event, .. })) = envelope.map(Envelope::parse) else { return };
        if event.action.as_deref() != Some(action::SENSOR_READING) {
            return;
        }
        let Some(detail) = &event.sealwire else { return };
        if let (Some(sensor), Some(poll)) = (detail.sensor, detail.poll) {
            let has_answer = event.status.as_deref() != Some(COMM_ERROR);
            sealed.entry(sensor).or_default().push((poll, has_answer));
        }
    };
    let ledger = DataDir::ledger_of(&data_dir(folder));
    verify_folder_with(&RealDisk, &ledger, None, &mut |_leaves| {}, &mut observer)?;
    sealed.values_mut().for_each(|polls| polls.sort_unstable());
    Ok(sealed)
}
