//! The host for users' processors: what it may not do is refused, and what becomes of it costs
//! nobody else anything.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    attacks::credentials::order,
    house,
    mqtt::{Device, heartbeat},
    processors::{COMPONENT, Image, list},
    site::{Site, processes, until},
};

/// A sensor whose every second value is out of its range, and is doubled.
const SWINGING: &str = "0b5a6e0c-7777-4222-8333-944455566677";
/// A sensor whose values lead processors to mischief.
const HOSTILE: &str = "0b5a6e0c-7777-4222-8333-944455566688";
/// Milliseconds between two polls of each.
const EVERY_MS: u64 = 200;

/// What a processor that is the site's enemy would publish to.
const FORBIDDEN: [&str; 11] = [
    "runtime.host.a.workload.start",
    "runtime.operator.heartbeat.a",
    "sealwire.host.@site.order.a.workload.stop",
    "picow/0b5a6e0c-7777-4222-8333-944455566677/poll",
    "sealwire.process.neighbour",
    "sealwire.derive.sensors",
    "sealwire.events.check",
    "sealwire.query.own.site",
    "sealwire.reply.site-data.a.b",
    "_INBOX.a.b",
    "$JS.API.INFO",
];

/// A site with two processors, and two devices: one that swings, and one that gives the value for
/// each number.
struct Scene {
    site: Site,
    _devices: [Device; 2],
}

impl Scene {
    fn start(value: impl Fn(usize) -> String + Send + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let image = Image::of(fs::read(COMPONENT).unwrap());
        let digest = image.digest();
        let file = list(folder.path(), &[("double", &digest), ("neighbour", &digest)]);
        let site = Site::start_in(folder, &["--processors", &file, "--registry-port", "0"]);
        let mut beat = heartbeat(SWINGING, "Swinging", EVERY_MS);
        beat["range"] = json!([0, 50]);
        let swinging = Device::start(&site, beat, |number| {
            json!({ "value": if number % 2 == 0 { "60" } else { "20" }, "seq": number }).to_string()
        });
        image.publish(&site);
        for name in ["double", "neighbour"] {
            site.wait_for_event("DERIVED", |envelope| {
                envelope["event"]["actor"] == format!("processor/{name}")
            });
        }
        let beat = heartbeat(HOSTILE, "Hostile", EVERY_MS);
        let hostile = Device::start(&site, beat, move |number| {
            let value = value(usize::try_from(number).unwrap());
            json!({ "value": value, "seq": number }).to_string()
        });
        Self { site, _devices: [swinging, hostile] }
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> f64 {
        let (_, metrics) = self.site.get_log("/metrics", "127.0.0.1");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
    }

    /// The value of a metric of the component with this cursor.
    fn of(&self, name: &str, cursor: &str) -> f64 {
        self.metric(&format!("{name}{{cursor=\"{cursor}\"}}"))
    }

    /// Waits until `sensor-reader` and both processors derive from what is sealed from now on.
    fn all_go_on(&self) {
        let size = self.metric("sealwire_leaves");
        let is_new = |envelope: &Value| {
            envelope["sealwire"]["from_leaf"].as_f64().is_some_and(|leaf| leaf >= size)
        };
        for (action, actor) in [
            ("OUT_OF_RANGE", "sensor-reader"),
            ("DERIVED", "processor/double"),
            ("DERIVED", "processor/neighbour"),
        ] {
            self.site.wait_for_event(action, |envelope| {
                is_new(envelope) && (action != "DERIVED" || envelope["event"]["actor"] == actor)
            });
        }
    }

    /// Stops the site. Each derived event is in its log exactly once.
    fn end(mut self) {
        self.site.stop();
        let kept = house::open(&self.site.data_dir());
        kept.assert_derived_is_what_follows();
        kept.assert_processed_once("60");
    }
}

#[test]
fn what_a_processor_may_not_say_or_ask_is_refused_and_counted() {
    let scene = Scene::start(|number| {
        let how = if number % 2 == 0 { "publish" } else { "ask" };
        format!("{how} {}", FORBIDDEN[number % FORBIDDEN.len()])
    });
    for subject in FORBIDDEN {
        let refusal = format!("it may not publish to `{subject}`");
        until(&refusal, || {
            let refused = order(&scene.site, &["refused"]);
            let is_it = |line: &str| line.contains("a processor") && line.contains(&refusal);
            refused.lines().any(is_it).then_some(())
        });
    }
    assert!(scene.metric("sealwire_devices_refused_total") >= FORBIDDEN.len() as f64);
    scene.site.wait_for_event("DEVICES_REFUSED", |envelope| {
        envelope["event"]["message"].as_str().is_some_and(|words| words.contains("a processor"))
    });
    // Nobody noticed anything, and nothing ran that nobody wanted.
    scene.all_go_on();
    assert_eq!(scene.of("sealwire_pipeline_failures_total", "sensor-reader"), 0.0);
    // Processors are on their own host, and nothing else is.
    let data = scene.site.data_dir();
    let log = |folder: &str| fs::read_to_string(data.join(folder).join("wash-host.log")).unwrap();
    assert!(!log("wash").contains("processor-") && log("wash").contains("sensor-reader"));
    assert!(!log("guests").contains("sensor-reader") && log("guests").contains("processor-double"));
    scene.end();
}

#[test]
fn a_processor_that_hangs_or_eats_or_dies_with_its_host_costs_sensor_reader_nothing() {
    /// Longest time that a reading may wait for `sensor-reader` meanwhile, in seconds: about what
    /// one question costs that a component does not answer.
    const LAG_MAX: f64 = 3.0;
    let scene = Scene::start(|number| {
        String::from(match number {
            3 => "eat",
            5 => "hang",
            _ => "20",
        })
    });
    // The host for processors gives way to everything else.
    let of_process = |folder: &str, file: &str| {
        let process = scene.site.engine(folder).as_raw_nonzero();
        fs::read_to_string(format!("/proc/{process}/{file}")).unwrap()
    };
    let niceness = |folder: &str| {
        let stat = of_process(folder, "stat");
        let (_, stat) = stat.rsplit_once(") ").unwrap();
        stat.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(niceness("guests"), niceness("wash") + 10);
    assert_eq!(of_process("guests", "oom_score_adj").trim(), "500");

    until("both processors have failed on both values", || {
        let lag = scene.of("sealwire_cursor_lag_seconds", "pipeline");
        assert!(lag < LAG_MAX, "a reading has waited {lag} s");
        let not_judged = |name| scene.of("sealwire_pipeline_not_judged_total", name);
        let both = [not_judged(house::PROCESSOR), not_judged("processor/neighbour")];
        both.iter().all(|count| *count >= 2.0).then_some(())
    });
    assert_eq!(scene.of("sealwire_pipeline_failures_total", "sensor-reader"), 0.0);
    scene.all_go_on();

    // Their host dies, and dies again.
    for _ in 0..2 {
        scene.site.kill_engine("guests");
        until("their host is back", || {
            let all = processes(&scene.site.data_dir());
            all.iter().any(|(_, folder)| folder == "guests").then_some(())
        });
        scene.all_go_on();
    }
    scene.site.wait_for_event("ENGINE_UP", |envelope| {
        envelope["event"]["source"] == "wash host for processors"
    });
    assert_eq!(scene.of("sealwire_pipeline_failures_total", "sensor-reader"), 0.0);
    scene.end();
}
