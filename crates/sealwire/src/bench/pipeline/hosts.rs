//! A host is killed under load: how long nothing is judged, with a second host and without.

use std::{
    fs::File,
    ops::Range,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use data_dir::DataDir;
use durable::disk::RealDisk;
use ledger::verify::verify_folder_with;
use model::{Envelope, Timestamp, action};
use serde::Deserialize;

use super::{Bench, Figures};
use crate::{
    bench::{
        ledger::Killed,
        machine::temporary,
        site::{
            door::order,
            load::{Load, data_dir},
            running::{Run, until},
        },
    },
    output,
};

/// Sensors, each polled once a second.
const SENSORS: u32 = 1_000;
/// About half of their values are far out of range, so half of the readings lead to an event: the
/// range is left, or the sensor is back in it.
pub(super) const SWINGING: &str = "[[wrong]]\npayload = \"1000000\"\nprobability = 0.5\n";
/// The value that is far out of range.
pub(super) const FAR_OUT: &str = "1000000";
/// How often the host is killed; once with `--quick`.
const KILLS: u32 = 5;
/// Time before the first kill, and after each. By then the host has long been replaced.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(12);
/// Opens the ports that a second host on the same machine needs.
const FOR_ANOTHER: [&str; 2] = ["--hosts-port=0", "--registry-port=0"];

/// The part of `sealwire app status` that is awaited.
#[derive(Deserialize)]
struct Status {
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    hosts: Vec<String>,
}

/// What killed hosts and upgrades cost.
pub(super) struct Cost {
    /// The longest time in which nothing was judged.
    pub(super) gap: Duration,
    /// The longest time from a reading to the event that follows from it.
    pub(super) late_max: Duration,
}

impl Bench {
    pub(super) fn hosts(&self, figures: &mut Figures) -> Result<()> {
        output::note("sealwire: killing one of two hosts, again and again");
        let Cost { gap, late_max } = self.kill(true)?;
        figures.host_kill_gap_ms = Some(gap.as_secs_f64() * 1e3);
        figures.host_kill_late_max_ms = Some(late_max.as_secs_f64() * 1e3);
        output::note("sealwire: killing the only host, again and again");
        figures.host_replace_s = Some(self.kill(false)?.gap.as_secs_f64());
        Ok(())
    }

    /// What the worst of several kills costs.
    fn kill(&self, has_another: bool) -> Result<Cost> {
        let (sensors, kills) = if self.is_quick { (SENSORS / 10, 1) } else { (SENSORS, KILLS) };
        let folder = temporary(&self.folder)?;
        let load = Load { faults: SWINGING, ..Load::new(sensors, Some(Duration::from_secs(1))) };
        let flags = if has_another { &FOR_ANOTHER[..] } else { &[] };
        let run = Run::start(&self.program, folder.path(), load, flags)?;
        let another =
            has_another.then(|| start_another(&self.program, folder.path())).transpose()?;
        std::thread::park_timeout(BEFORE);
        let first_kill = clock::now();
        for _ in 0..kills {
            run.kill_host()?;
            std::thread::park_timeout(AFTER);
        }
        drop(another);
        run.stop()?.check()?;
        Cost::during(first_kill..clock::now(), folder.path())
    }
}

/// Starts a second host, and waits until it judges, too.
fn start_another(program: &Path, folder: &Path) -> Result<Killed> {
    let ticket = folder.join("another.json");
    let path = ticket.to_str().context("the folder's name is not UTF-8")?;
    order(program, folder, &["host", "add", "another", "--output", path])?;
    let mut host = Command::new(program);
    host.args(["host", "run", path, "--data-dir"]).arg(folder.join("another"));
    host.stdout(Stdio::null()).stderr(File::create(folder.join("another.log"))?);
    let host = Killed(host.spawn().context("cannot start the second host")?);
    until("two hosts judge", || {
        let status = order(program, folder, &["app", "status", "--json"])?;
        let Status { components } = serde_json::from_str(&status)?;
        let reader = components.iter().find(|component| component.name == "sensor-reader");
        let hosts = reader.map_or(0, |reader| reader.hosts.len());
        Ok((hosts == 2).then_some(()))
    })?;
    Ok(host)
}

impl Cost {
    /// Reads from the log what followed from readings in a time, and when.
    pub(super) fn during(time: Range<Timestamp>, folder: &Path) -> Result<Self> {
        let mut sealed_at = Vec::new();
        let mut derived = Vec::new();
        let mut observer = |_leaf, envelope: Option<&[u8]>| {
            let Some(Ok(Envelope { event, received_at, .. })) = envelope.map(Envelope::parse)
            else {
                sealed_at.push(None);
                return;
            };
            sealed_at.push(Some(received_at));
            if event.action.as_deref() == Some(action::SENSOR_READING) {
                return;
            }
            let from = event.sealwire.and_then(|detail| detail.from_leaf);
            derived.extend(from.map(|from| (from, received_at)));
        };
        let ledger = DataDir::ledger_of(&data_dir(folder));
        verify_folder_with(&RealDisk, &ledger, None, &mut |_leaves| {}, &mut observer)?;
        let first = derived.partition_point(|(_, at)| *at < time.start).saturating_sub(1);
        let end = derived.partition_point(|(_, at)| *at < time.end);
        let around = derived.get(first..end).unwrap_or_default();
        ensure!(around.len() > 1, "nothing was judged meanwhile");
        let gaps = around.iter().zip(around.iter().skip(1));
        let gap = gaps.map(|((_, before), (_, after))| between(*before, *after)).max();
        let late = |(from, at): &(u64, Timestamp)| {
            let read_at = (*sealed_at.get(usize::try_from(*from).ok()?)?)?;
            Some(between(read_at, *at))
        };
        let late_max = around.iter().filter_map(late).max();
        Ok(Self { gap: gap.unwrap_or_default(), late_max: late_max.unwrap_or_default() })
    }
}

fn between(before: Timestamp, after: Timestamp) -> Duration {
    let micros = after.unix_micros().saturating_sub(before.unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
