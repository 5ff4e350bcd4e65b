//! An upgrade under load: how long nothing is judged, whether anything is lost, and how soon one
//! that cannot answer goes back.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use data_dir::{DataDir, RunFile};
use durable::disk::RealDisk;
use ledger::verify::verify_folder_with;
use model::{Envelope, Range, SensorId, Timestamp, action};
use registry::Image;
use serde::Deserialize;

use super::{
    Bench, Figures,
    hosts::{Cost, FAR_OUT, SWINGING},
};
use crate::{
    bench::{
        machine::temporary,
        site::{
            door::order,
            load::{Load, data_dir},
            running::Run,
        },
    },
    components, output,
};

/// Sensors, each polled once a second; a tenth with `--quick`.
const SENSORS: u32 = 1_000;
/// Time before the upgrade, and after it. By then everything is judged.
const AROUND: Duration = Duration::from_secs(5);
/// Opens the registry for whoever publishes.
const FLAGS: [&str; 1] = ["--registry-port=0"];
/// The component that is upgraded, and one that cannot answer its questions.
const READER: &str = "sensor-reader";
const ANOTHER: &str = "event-logger";

/// The part of `sealwire token create` that is needed.
#[derive(Deserialize)]
struct Made {
    token: String,
}

/// The part of an image's layout that is needed.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
}

impl Bench {
    pub(super) fn upgrade(&self, figures: &mut Figures) -> Result<()> {
        output::note("sealwire: upgrading a component under load");
        let sensors = if self.is_quick { SENSORS / 10 } else { SENSORS };
        let folder = temporary(&self.folder)?;
        let load = Load { faults: SWINGING, ..Load::new(sensors, Some(Duration::from_secs(1))) };
        let run = Run::start(&self.program, folder.path(), load, &FLAGS)?;
        let registry = Registry::of(&self.program, folder.path())?;
        let [good, bad] = [READER, ANOTHER].map(|name| registry.publish(folder.path(), name));
        std::thread::park_timeout(AROUND);
        let begin = clock::now();
        ensure!(self.deploy(folder.path(), &good?)?, "an upgrade that works did not stay");
        let end = clock::now();
        output::note("sealwire: deploying one that cannot answer");
        let deployed = Instant::now();
        ensure!(!self.deploy(folder.path(), &bad?)?, "one that cannot answer stays");
        figures.rollback_s = Some(deployed.elapsed().as_secs_f64());
        std::thread::park_timeout(AROUND);
        run.stop()?.check()?;
        let cost = Cost::during(begin..end, folder.path())?;
        figures.upgrade_gap_ms = Some(cost.gap.as_secs_f64() * 1e3);
        figures.upgrade_late_max_ms = Some(cost.late_max.as_secs_f64() * 1e3);
        figures.upgrade_lost = Some(lost(folder.path(), end)?);
        Ok(())
    }

    /// Deploys an image of the component. Returns whether it stays.
    fn deploy(&self, folder: &Path, image: &str) -> Result<bool> {
        let file = folder.join("plant.toml");
        fs::write(&file, format!("[component.{READER}]\nimage = \"{image}\"\n"))?;
        let mut deploy = Command::new(&self.program);
        deploy.args(["app", "deploy", "--reason=a measurement", "--data-dir"]);
        deploy.arg(data_dir(folder)).arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(deploy.status().context("cannot deploy")?.success())
    }
}

/// The registry of a site, and a token to publish there.
struct Registry {
    url: String,
    authorization: String,
}

impl Registry {
    fn of(program: &Path, folder: &Path) -> Result<Self> {
        let made = ["token", "create", "--name=bench", "--scope=publish", "--json"];
        let Made { token } = serde_json::from_str(&order(program, folder, &made)?)?;
        let addresses = RunFile::read(&data_dir(folder))?.addresses;
        let url = addresses.registry.context("the site opens no registry")?;
        Ok(Self { url, authorization: format!("Bearer {token}") })
    }

    /// Publishes a component of this program under another version, and so another digest.
    fn publish(&self, folder: &Path, name: &str) -> Result<String> {
        let mut all = components::all().into_iter();
        let (_, bytes) = all.find(|(known, _)| known == name).with_context(|| {
            format!("this binary has no {name}: build it with `cargo xtask build`")
        })?;
        let layout = folder.join(name);
        registry::write_layout(&layout, &[Image::new(name, "0.0.0", &bytes)])?;
        let index: Index = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
        let Manifest { digest } = index.manifests.into_iter().next().context("no manifest")?;
        let repository = format!("{}/v2/bench/{name}", self.url);
        for blob in fs::read_dir(layout.join("blobs/sha256"))? {
            let blob = blob?;
            let hex = blob.file_name().into_string().ok().context("no digest")?;
            if !digest.ends_with(&hex) {
                let url = format!("{repository}/blobs/uploads/?digest=sha256:{hex}");
                let sent = ureq::post(&url).header("authorization", &self.authorization);
                sent.send(&fs::read(blob.path())?[..])?;
            }
        }
        let hex = digest.trim_start_matches("sha256:");
        let manifest = fs::read(layout.join("blobs/sha256").join(hex))?;
        let put = ureq::put(format!("{repository}/manifests/{digest}"));
        let put = put.header("authorization", &self.authorization);
        put.content_type("application/vnd.oci.image.manifest.v1+json").send(&manifest[..])?;
        Ok(format!("bench/{name}@{digest}"))
    }
}

/// Whether a value outside of this range is reported without a delay.
fn is_judged_at_once(range: &str) -> bool {
    range.parse::<Range>().is_ok_and(|range| range.delay().is_zero())
}

/// How many verdicts are missing, wrong or there twice, of readings until then: after one far out
/// of range its sensor is out of range, by the events that name this leaf or one before.
fn lost(folder: &Path, until: Timestamp) -> Result<u64> {
    let mut readings: Vec<(u64, SensorId)> = Vec::new();
    let mut derived: BTreeMap<u64, (SensorId, Vec<String>)> = BTreeMap::new();
    let mut observer = |leaf, envelope: Option<&[u8]>| {
        let Some(Ok(Envelope { event, received_at, .. })) = envelope.map(Envelope::parse) else {
            return;
        };
        let (Some(action), Some(detail)) = (event.action, event.sealwire) else { return };
        let Some(sensor) = detail.sensor else { return };
        if let Some(from) = detail.from_leaf {
            derived.entry(from).or_insert((sensor, Vec::new())).1.push(action);
        } else if action == action::SENSOR_READING
            && received_at < until
            && event.new.as_deref() == Some(FAR_OUT)
            && detail.range.as_deref().is_some_and(is_judged_at_once)
        {
            readings.push((leaf, sensor));
        }
    };
    let ledger = DataDir::ledger_of(&data_dir(folder));
    verify_folder_with(&RealDisk, &ledger, None, &mut |_leaves| {}, &mut observer)?;
    ensure!(!readings.is_empty(), "no reading was out of range");
    let mut lost = 0;
    let mut is_out: BTreeMap<SensorId, bool> = BTreeMap::new();
    let mut events = derived.iter().peekable();
    for (leaf, sensor) in readings {
        while let Some((_, (of, actions))) = events.next_if(|(from, _)| **from <= leaf) {
            for action in actions {
                let now = match action.as_str() {
                    action::OUT_OF_RANGE => true,
                    action::BACK_IN_RANGE => false,
                    action::NOT_JUDGED => {
                        lost += 1;
                        continue;
                    }
                    _ => continue,
                };
                // Each is reported once.
                lost += u64::from(is_out.insert(*of, now) == Some(now));
            }
        }
        lost += u64::from(is_out.get(&sensor) != Some(&true));
    }
    Ok(lost)
}
