//! What simulated sensors say that they sent, held against what a site sealed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
};

use engine::Authority;
use futures::StreamExt as _;
use model::{Answer, Protocol, Timestamp, action, event::SUCCESS};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use simulator::{Sensor, SensorSpec, sensor::Sender};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    house::{self, Kept},
    site::{Addresses, DEADLINE, Follower, Site, sealwire, until},
};

/// The seed of every run here.
const SEED: u64 = 7;
/// How long a sensor has to answer, in milliseconds: long, because tests share two cores.
const ANSWER_TIMEOUT: &str = "--answer-timeout=1500";
/// Faults whose outcome the simulator knows as well as the site.
const FAULTS: &str = r#"
    [[silence]]
    sensors = "*HumiditySensor*"
    probability = 0.3
    [[silence]]
    sensors = "MotionSensor*"
    share = 0.5
    from_s = 5
    [[delay]]
    sensors = "PressureSensor*"
    by_ms = [50, 200]
    [[delay]]
    sensors = "AcousticSensor*"
    by_ms = [1700, 1900]
    [[doubled_id]]
    sensors = "LevelSensor*"
    share = 0.5
    [[flood]]
    sensors = "SmokeSensor-S2"
    per_second = 200
    [[clock_jump]]
    sensors = "TempSensor*"
    by_s = -86400
    [[wrong]]
    sensors = "ChemicalSensor*"
    payload = "7.0pH"
    probability = 0.5
    [[reboot]]
    sensors = "VibrationSensor*"
    from_s = 4
    outage = { off_ms = 3000, spread_ms = 1000 }
"#;

/// `sealwire simulate` in a process of its own.
pub(crate) struct Fleet {
    child: Child,
    folder: TempDir,
}

/// What one sensor did, as the simulator tells.
#[derive(Debug, Deserialize)]
struct Told {
    index: u32,
    sensor: String,
    alias: String,
    protocol: String,
    polls: u64,
    answers: u64,
    silences: u64,
    late: u64,
    doubles: u64,
    floods: u64,
    unsent: u64,
    at_risk: u64,
}

impl Fleet {
    /// Starts sensors of a site that are polled every two seconds, with these faults.
    pub(crate) fn start(site: &Site, count: u32, mqtt: &str, faults: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("faults.toml");
        fs::write(&file, faults).unwrap();
        let (count, file) = (count.to_string(), file.to_str().unwrap().to_owned());
        let Addresses { nats, mqtt: broker, .. } = &site.addresses;
        let arguments = ["--interval=2000", ANSWER_TIMEOUT, "--count", &count, "--mqtt", mqtt];
        let servers = ["--faults", &file, "--nats", nats, "--broker", broker];
        Self::start_in(folder, &[arguments, servers].concat())
    }

    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sealwire"))
            .args(["simulate", "--json", "--connections=20"])
            .arg(format!("--seed={SEED}"))
            .arg("--tally")
            .arg(folder.path().join("tally"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Stops it. Returns what each sensor did, after checking that the sums are those of the whole.
    fn stop(mut self) -> Vec<Told> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = until("the fleet stops", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
        let tally = fs::read_to_string(self.folder.path().join("tally")).unwrap();
        let told: Vec<Told> =
            tally.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let whole: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(whole["polls"], told.iter().map(|told| told.polls).sum::<u64>());
        assert_eq!(whole["answers"], told.iter().map(|told| told.answers).sum::<u64>());
        told
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A sealed reading.
#[derive(Debug)]
struct Reading {
    poll: u64,
    /// `None` if it has none that can be read.
    value: Option<String>,
    has_answer: bool,
    seq: Option<u64>,
    /// How far the sensor's clock is ahead of the site's, in seconds.
    clock_ahead_s: Option<i64>,
}

/// The readings of each sensor, by the numbers of their polls.
fn readings(kept: &Kept) -> BTreeMap<String, Vec<Reading>> {
    let mut readings: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for envelope in &kept.envelopes {
        let event = &envelope.event;
        if event.action.as_deref() != Some(action::SENSOR_READING) {
            continue;
        }
        let detail = event.sealwire.as_ref().unwrap();
        let status = event.status.as_deref().unwrap();
        let sealed: Timestamp = event.timestamp.as_ref().unwrap().parse().unwrap();
        let ahead = |time: Timestamp| (time.unix_micros() - sealed.unix_micros()) / 1_000_000;
        readings.entry(detail.sensor.unwrap().to_string()).or_default().push(Reading {
            poll: detail.poll.unwrap(),
            value: event.new.clone().filter(|_| status == SUCCESS),
            has_answer: status != "COMM_ERROR",
            seq: detail.seq,
            clock_ahead_s: detail.sensor_time.map(ahead),
        });
    }
    readings.values_mut().for_each(|of| of.sort_unstable_by_key(|reading| reading.poll));
    readings
}

/// The value that a sensor without a fault of its values sends at its poll of this number.
fn value(told: &Told, poll: u64) -> String {
    let protocol = if told.protocol == "mqtt" { Protocol::Mqtt } else { Protocol::Nats };
    let sensor = Sensor::new(SensorSpec::at(told.index), SEED, protocol);
    let payload =
        sensor.answer(sensor.value(Sender::Sensor, poll), poll, Timestamp::from_unix_micros(0));
    Answer::parse(&payload).unwrap().value
}

/// What the sensors did whose alias contains this.
fn of<'a>(told: &'a [Told], alias: &'static str) -> impl Iterator<Item = &'a Told> {
    told.iter().filter(move |told| told.alias.contains(alias))
}

/// Waits until so many readings of each sensor are sealed, of those that count.
fn wait_for_readings(
    follower: &Follower,
    told: &[Told],
    counts: impl Fn(&Value) -> bool,
    wanted: impl Fn(&Told) -> u64,
) {
    until("the last readings are sealed", || {
        let mut sealed: BTreeMap<String, u64> = BTreeMap::new();
        for (_, envelope) in follower.seen() {
            let event = &envelope["event"];
            if event["action"] == action::SENSOR_READING && counts(&event["status"]) {
                let sensor = envelope["sealwire"]["sensor"].as_str().unwrap().to_owned();
                *sealed.entry(sensor).or_default() += 1;
            }
        }
        let is_there =
            |told: &Told| sealed.get(&told.sensor).copied().unwrap_or_default() >= wanted(told);
        told.iter().all(is_there).then_some(())
    });
}

#[test]
fn each_answer_is_sealed_once_and_each_miss_is_one_of_the_simulators() {
    let mut site = Site::start(&[ANSWER_TIMEOUT]);
    let follower = Follower::start(&site);
    let fleet = Fleet::start(&site, 300, "0.3", FAULTS);
    follower.wait_for_more(action::SENSOR_READING, 1_800);
    let told = fleet.stop();
    assert_eq!(told.len(), 300);
    wait_for_readings(&follower, &told, |_status| true, |told| told.polls);
    site.stop();
    let kept = house::open(&site.data_dir());
    kept.assert_derived_is_what_follows();

    let readings = readings(&kept);
    for told in &told {
        assert_eq!(told.unsent, 0, "{told:?}");
        let of_sensor = &readings[&told.sensor];
        // Each poll has one number and one reading, so the first ones are those that it got.
        let got = &of_sensor[..usize::try_from(told.polls).unwrap()];
        let answered = got.iter().filter(|reading| reading.has_answer).count() as u64;
        if told.floods > 0 {
            assert_eq!(answered, told.polls, "a flood answers each poll: {told:?}");
            continue;
        }
        assert_eq!(answered, told.answers, "{told:?} {got:?}");
        for (poll, reading) in (1..).zip(got) {
            if let Some(sealed) = &reading.value {
                assert_eq!(*sealed, value(told, poll), "poll {poll} of {told:?}: {got:?}");
            }
        }
    }
    let of = |alias| of(&told, alias);
    let misses = |alias| of(alias).map(|told| told.silences + told.late).sum::<u64>();
    let polls = |alias| of(alias).map(|told| told.polls).sum::<u64>();
    for alias in ["HumiditySensor", "MotionSensor", "VibrationSensor"] {
        assert!((1..polls(alias)).contains(&misses(alias)), "{alias}: {}", misses(alias));
    }
    assert!(of("AcousticSensor").all(|told| told.answers == 0), "they are always too late");
    assert!(misses("AcousticSensor") > 0);
    assert_eq!(misses("PressureSensor"), 0, "they are slow and in time");
    assert!(of("LevelSensor").any(|told| told.doubles > 0));
    assert_eq!(of("").filter(|told| told.protocol == "mqtt").count(), 90);
    let garbled = |reading: &&Reading| reading.has_answer && reading.value.is_none();
    let garbled = of("ChemicalSensor").flat_map(|told| &readings[&told.sensor]).filter(garbled);
    assert!(garbled.count() > 0);
    let clocks = of("TempSensor02").flat_map(|told| &readings[&told.sensor]);
    let ahead: Vec<i64> = clocks.filter_map(|reading| reading.clock_ahead_s).collect();
    assert!(
        !ahead.is_empty() && ahead.iter().all(|it| (-86_460..-86_340).contains(it)),
        "{ahead:?}"
    );
}

#[test]
fn no_answer_is_sealed_twice_when_the_server_restarts() {
    let mut site = Site::start(&[ANSWER_TIMEOUT]);
    let follower = Follower::start(&site);
    let fleet = Fleet::start(&site, 200, "0.5", FAULTS);
    follower.wait_for_more_values(400);
    site.kill_engine("nats");
    follower.wait_for_more_values(800);
    let told = fleet.stop();
    let certain = |told: &Told| told.answers - told.at_risk;
    wait_for_readings(&follower, &told, |status| status != "COMM_ERROR", certain);
    site.stop();
    let kept = house::open(&site.data_dir());
    assert_no_answer_is_there_twice(&kept, &told, |told| told.alias.starts_with("VibrationSensor"));
    assert!(told.iter().any(|told| told.at_risk > 0), "the connections broke");
    kept.assert_no_poll_is_unaccounted_for(told.first().unwrap().sensor.parse().unwrap(), &[]);
}

/// A storm that is never over: half of the kinds of sensors are off for a second every three, the
/// others answer or do not.
const STORM: &str = r#"
    [[reboot]]
    sensors = "*HumiditySensor*"
    outage = { off_ms = 1000, spread_ms = 500, every_s = 3 }
    [[reboot]]
    sensors = "TempSensor*"
    outage = { off_ms = 1000, spread_ms = 500, every_s = 3 }
    [[reboot]]
    sensors = "PressureSensor*"
    outage = { off_ms = 1000, every_s = 3 }
    [[reboot]]
    sensors = "VibrationSensor*"
    outage = { off_ms = 2000, spread_ms = 1000, every_s = 4 }
    [[silence]]
    share = 0.3
    probability = 0.2
"#;

#[test]
fn no_answer_is_sealed_twice_or_forgotten_whatever_restarts_in_a_storm_of_reboots() {
    let mut site = Site::start(&[ANSWER_TIMEOUT]);
    let mut follower = Follower::start(&site);
    let fleet = Fleet::start(&site, 200, "0.5", STORM);
    follower.wait_for_more_values(400);
    let mut seen = Vec::new();
    // The server; the site, whose engines end with it; and the site while it starts the server.
    for (server, whole) in [(true, false), (false, true), (true, true)] {
        if server {
            site.kill_engine("nats");
        }
        if whole {
            site.kill();
            seen.extend(follower.seen());
            site.start_again();
            follower = Follower::start(&site);
        }
        follower.wait_for_more_values(600);
    }
    let told = fleet.stop();
    seen.extend(follower.seen());
    site.stop();
    let kept = house::open(&site.data_dir());
    kept.assert_holds(&seen);
    let reboots = ["HumiditySensor", "TempSensor", "PressureSensor", "VibrationSensor"];
    assert_no_answer_is_there_twice(&kept, &told, |told| {
        reboots.iter().any(|kind| told.alias.contains(kind))
    });
    let sensor = told.first().unwrap().sensor.parse().unwrap();
    // Whether one of its polls fell due while the site was down is left to chance.
    kept.assert_no_poll_is_unaccounted_for(sensor, &[]);
    kept.assert_derived_is_what_follows();
}

/// No sensor has more answers in the log than it sent. No answer of one that keeps its own count is
/// there twice, and each has the value that the sensor sent.
#[track_caller]
fn assert_no_answer_is_there_twice(kept: &Kept, told: &[Told], reboots: impl Fn(&Told) -> bool) {
    let readings = readings(kept);
    let mut counted = 0;
    for told in told.iter().filter(|told| told.floods == 0) {
        let of_sensor = &readings[&told.sensor];
        let sealed = of_sensor.iter().filter(|reading| reading.has_answer).count() as u64;
        assert!(sealed <= told.answers, "{sealed} of {told:?}");
        // Its own count begins anew.
        if reboots(told) {
            continue;
        }
        let mut seen = BTreeSet::new();
        for reading in of_sensor {
            let (Some(seq), Some(sealed)) = (reading.seq, &reading.value) else { continue };
            assert!(seen.insert(seq), "{seq} of {told:?} is there twice");
            assert_eq!(*sealed, value(told, seq), "{seq} of {told:?}");
        }
        counted += seen.len();
    }
    assert!(counted > 0, "some sensors keep their count");
}

/// What the sensors whose alias begins so do with their time, and the flag that says so.
const WRONG_TIMES: [(&str, &str); 4] = [
    ("ChemicalSensor", r#""0000-01-01T00:00:00Z""#),
    ("MotionSensor", r#""2026-06-30T23:59:60Z""#),
    ("AcousticSensor", r#""2026-06-30T23:59:59""#),
    ("SmokeSensor", "1795953600000000000"),
];

#[test]
fn no_clock_of_a_sensor_moves_a_point_and_each_is_told() {
    let began = clock::now();
    let now_s = began.unix_micros() / 1_000_000;
    // Into the year after NTP's seconds start again, the day on which 32-bit seconds end, and 1995.
    let (ntp, unix, early) = (2_086_000_000 - now_s, 2_147_500_000 - now_s, -1_000_000_000);
    let mut faults = format!(
        r#"
        [[clock_jump]]
        sensors = "PressureSensor*"
        by_s = {ntp}
        [[clock_jump]]
        sensors = "VibrationSensor*"
        by_s = {unix}
        [[clock_jump]]
        sensors = "FlowSensor*"
        by_s = {early}
        [[clock_jump]]
        sensors = "LevelSensor*"
        by_s = -3600
        from_s = 6
        "#
    );
    for (alias, time) in WRONG_TIMES {
        faults.push_str(&format!(
            "[[wrong]]\nsensors = \"{alias}*\"\npayload = '{{\"value\":1,\"time\":{time}}}'\n"
        ));
    }
    let site = Site::start(&[ANSWER_TIMEOUT]);
    let follower = Follower::start(&site);
    let fleet = Fleet::start(&site, 15, "0.3", &faults);
    let expected = [
        ("PressureSensor", "ntp_era"),
        ("VibrationSensor", "unix_32_bit"),
        ("FlowSensor", "too_early"),
        ("LevelSensor", "clock_back"),
        ("ChemicalSensor", "year_out_of_range"),
        ("MotionSensor", "leap_second"),
        ("AcousticSensor", "no_zone"),
        ("SmokeSensor", "not_a_time"),
    ];
    let flags = |alias: &str| {
        let seen = follower.seen();
        let of_sensor = seen.into_iter().map(|(_, envelope)| envelope).filter(|envelope| {
            let source = envelope["event"]["source"].as_str().unwrap_or_default();
            envelope["event"]["status"] == SUCCESS && source.contains(&format!(".{alias}"))
        });
        of_sensor.map(|envelope| envelope["sealwire"]["flags"].clone()).collect::<Vec<Value>>()
    };
    until("each wrong clock is flagged", || {
        let is_told = |(alias, flag): &(&str, &str)| flags(alias).iter().any(|told| told == flag);
        expected.iter().all(is_told).then_some(())
    });
    for (alias, flag) in expected {
        let told = flags(alias);
        let count = told.iter().filter(|told| *told == flag).count();
        let wanted = if flag == "clock_back" { 1 } else { told.len() };
        assert_eq!(count, wanted, "{alias}: {told:?}");
    }

    // Every point is where the site received it, and the answer says how far each clock is off.
    let sensors = site.sensors();
    for (alias, ahead_s) in [
        ("PressureSensor", Some(ntp)),
        ("VibrationSensor", Some(unix)),
        ("FlowSensor", Some(early)),
        ("ChemicalSensor", None),
        ("RotationalSensor", None), // it names no time
    ] {
        let is_it = |sensor: &&Value| sensor["alias"].as_str().unwrap().contains(alias);
        let id = sensors.iter().find(is_it).unwrap()["id"].as_str().unwrap().to_owned();
        let (status, answer) = site.get(&format!("/api/sensors/{id}/readings?limit=5"));
        assert_eq!(status, 200, "{answer}");
        let now = clock::now();
        for reading in answer["readings"].as_array().unwrap() {
            let at: Timestamp = reading["timestamp"].as_str().unwrap().parse().unwrap();
            assert!((began..=now).contains(&at), "{alias}: {reading}");
        }
        let offset_s = answer["clock"]["offset_ms"].as_i64().map(|millis| millis / 1_000);
        let is_right = match (offset_s, ahead_s) {
            (Some(offset), Some(ahead)) => (offset - ahead).abs() < 60,
            (offset, ahead) => offset == ahead,
        };
        assert!(is_right, "{alias}: {answer}");
    }

    // The site's own clock.
    let quality = site.wait_for_event(action::CLOCK_QUALITY, |_| true);
    let said = quality["envelope"]["event"]["new"].as_str().unwrap();
    assert!(["synchronised", "not synchronised", "unknown"].contains(&said), "{quality}");
    let (_, answer) = site.get("/api/site");
    let clock = &answer["clock"];
    assert_eq!((&clock["believed"], &clock["steps"]), (&Value::Bool(true), &0.into()), "{answer}");
    let (_, metrics) = site.get_log("/metrics", "localhost");
    assert!(metrics.lines().any(|line| line == "sealwire_clock_believed 1"), "{metrics}");
    drop(fleet);
}

#[test]
fn a_will_is_sealed_as_a_farewell() {
    let site = Site::start(&[]);
    let will = "[[will]]\nfrom_s = 3\noutage = { off_ms = 2000 }";
    let fleet = Fleet::start(&site, 4, "1", will);
    site.wait_for_event(action::SENSOR_DISCONNECTED, |_| true);
    site.wait_for_event(action::HEARTBEAT_RESUMED, |_| true);
    let told = fleet.stop();
    assert!(told.iter().any(|told| told.at_risk > 0), "{told:?}");
}

#[test]
fn faults_that_are_not_understood_are_named() {
    let folder = TempDir::new().unwrap();
    let faults = folder.path().join("faults.toml");
    fs::write(&faults, "[[stuck]]\nshare = 0.5\nshre = 1").unwrap();
    let (code, printed, said) = sealwire(&["simulate", "--faults", faults.to_str().unwrap()]);
    assert_eq!((code, printed.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("line 3") && said.contains("shre"), "{said}");
}

/// A `nats-server` that speaks TLS and nothing else, for NATS and MQTT.
struct Secured {
    child: Child,
    folder: TempDir,
    nats: String,
    broker: String,
}

impl Secured {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new().unwrap();
        let identity = authority.server(vec![Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let (nats, mqtt) = (free(), free());
        let tls = "tls { cert_file: server.pem, key_file: server.key }";
        let configuration = format!(
            "server_name: secured\nlisten: \"{nats}\"\n{tls}\njetstream {{ store_dir: js }}\n\
             mqtt {{ listen: \"{mqtt}\", {tls} }}\n"
        );
        for (name, content) in [
            ("ca.pem", authority.pem()),
            ("other.pem", Authority::new().unwrap().pem()),
            ("server.pem", identity.certificate_pem()),
            ("server.key", identity.key_pem()),
            ("nats.conf", configuration),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let program = engine::find(&engine::release::NATS_SERVER, &|_line| {}).unwrap();
        let child = Command::new(program)
            .args(["--config", "nats.conf"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (nats, broker) = (format!("nats://{nats}"), format!("mqtt://{mqtt}"));
        Self { child, folder, nats, broker }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn a_fleet_speaks_tls_to_servers_of_an_authority_that_it_knows() {
    let server = Secured::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = || {
        let options = async_nats::ConnectOptions::new().require_tls(true);
        options.add_root_certificates(server.path("ca.pem").into())
    };
    // The poller of this test is another client than the one that is tested.
    let client = until("the server answers", || {
        runtime.block_on(async_nats::connect_with_options(&server.nats, options())).ok()
    });
    let (mut heartbeats, mut answers) = runtime.block_on(async {
        let heartbeats = client.subscribe("sim.heartbeat").await.unwrap();
        let answers = client.subscribe("sim.read.*").await.unwrap();
        client.flush().await.unwrap();
        (heartbeats, answers)
    });
    let ca = server.path("ca.pem");
    let arguments = ["--count=4", "--mqtt=0.5", "--ca", &ca, "--nats", &server.nats, "--broker"];
    let arguments = [&arguments[..], &[server.broker.as_str()]].concat();
    let fleet = Fleet::start_in(TempDir::new().unwrap(), &arguments);
    runtime.block_on(async {
        for _ in 0..4 {
            let heartbeat = timeout(DEADLINE, heartbeats.next()).await.unwrap().unwrap();
            let heartbeat: Value = serde_json::from_slice(&heartbeat.payload).unwrap();
            let topic = heartbeat["poll_topic"].as_str().unwrap().replace('/', ".");
            client.publish(topic, "poll".into()).await.unwrap();
            timeout(DEADLINE, answers.next()).await.unwrap().unwrap();
        }
    });
    let told = fleet.stop();
    let protocols: Vec<&str> = told.iter().map(|told| told.protocol.as_str()).collect();
    assert_eq!(protocols, ["nats", "mqtt", "nats", "mqtt"]);
    assert!(told.iter().all(|told| told.answers == 1), "{told:?}");

    let refused = |arguments: &[&str]| {
        let servers = ["--nats", &server.nats, "--broker", &server.broker];
        let (code, _printed, said) = sealwire(&[&["simulate"], &servers[..], arguments].concat());
        assert_eq!(code, Some(1), "{said}");
        said
    };
    for mqtt in ["--mqtt=0", "--mqtt=1"] {
        let said = refused(&[mqtt, "--ca", &server.path("other.pem")]);
        assert!(said.contains("invalid peer certificate"), "{mqtt}: {said}");
    }
    let said = refused(&[]);
    assert!(said.contains("wants TLS"), "{said}");
    let said = refused(&["--ca", &server.path("nats.conf")]);
    assert!(said.contains("there is no certificate"), "{said}");
}
