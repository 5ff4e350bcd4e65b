//! Debian's mosquitto: a device of `mosquitto_sub` and `mosquitto_pub`, and a broker that bridges
//! what is published on its own machine.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use super::{Plant, Sensor};
use crate::{attacks::credentials::member, site::until};

/// User and password.
pub(super) type Shown<'a> = Option<(&'a str, &'a str)>;

/// Where the site is, and what the client shows: the arguments of mosquitto's clients.
pub(super) fn arguments(plant: &Plant, shown: Shown<'_>) -> Vec<String> {
    let (port, ca) = (plant.mqtt_port().to_string(), plant.ca.to_str().unwrap());
    let mut words = vec!["-h", &plant.elsewhere.here, "-p", &port, "--cafile", ca];
    if let Some((user, password)) = shown {
        words.extend(["-u", user, "-P", password]);
    }
    words.into_iter().map(String::from).collect()
}

/// Where the broker listens, on the other machine alone.
const LOCAL: [&str; 4] = ["-h", "127.0.0.1", "-p", "1883"];

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A device: one process hears its polls, and two publish its answers and its heartbeats.
pub(super) struct Pair {
    _processes: [Running; 3],
}

impl Pair {
    /// The device of a credential, over TLS.
    ///
    /// # Errors
    /// What is not on this machine.
    pub(super) fn of_credential(plant: &Plant, name: &str) -> Result<Self, &'static str> {
        are_installed()?;
        let file = plant.file(name);
        let site = arguments(plant, Some((name, &member(&file, "mqtt_password"))));
        let site: Vec<&str> = site.iter().map(String::as_str).collect();
        Ok(Self::start(plant, &site, Sensor::of(&file).remove(0)))
    }

    fn start(plant: &Plant, broker: &[&str], sensor: Sensor) -> Self {
        let start = |program: &str, topic: &str, more: &[&str]| {
            let mut command = plant.runs(&[&[program], broker, &["-t", topic], more].concat());
            Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
        };
        let mut hears = start("mosquitto_sub", &sensor.poll_topic, &[]);
        let mut answers = start("mosquitto_pub", &sensor.read_topic, &["-l"]);
        let mut beats = start("mosquitto_pub", &sensor.heartbeat_topic, &["-l"]);
        let polls = BufReader::new(hears.0.stdout.take().unwrap());
        let (mut answer, mut beat) = (stdin(&mut answers), stdin(&mut beats));
        // Whoever ended a process ended the device.
        let _ended = writeln!(beat, "{}", sensor.heartbeat);
        std::thread::spawn(move || {
            for (number, poll) in (1..).zip(polls.lines().map_while(Result::ok)) {
                assert_eq!(poll, "poll");
                let _ended = writeln!(answer, "{}", Sensor::answer(number));
                if Sensor::beats_with(number) {
                    let _ended = writeln!(beat, "{}", sensor.heartbeat);
                }
            }
        });
        Self { _processes: [hears, answers, beats] }
    }
}

fn stdin(process: &mut Running) -> ChildStdin {
    process.0.stdin.take().unwrap()
}

/// Whether Debian's package `mosquitto-clients` is there.
pub(super) fn are_installed() -> Result<(), &'static str> {
    let is_installed = |program| Command::new(program).arg("--help").output().is_ok();
    let are = ["mosquitto_sub", "mosquitto_pub"].into_iter().all(is_installed);
    are.then_some(()).ok_or("mosquitto_sub and mosquitto_pub are not on this machine")
}

/// A broker on the other machine that passes on what a credential covers, and a device at it for
/// each of the sensors.
pub(super) struct Bridge {
    _broker: Running,
    _devices: Vec<Pair>,
}

impl Bridge {
    /// The bridge of a credential.
    ///
    /// # Errors
    /// What is not on this machine.
    pub(super) fn start(plant: &Plant, name: &str) -> Result<Self, &'static str> {
        are_installed()?;
        let broker = std::env::var_os("MOSQUITTO").map(PathBuf::from);
        let broker = broker.ok_or("MOSQUITTO names no mosquitto that could bridge")?;
        let file = plant.file(name);
        let sensors = Sensor::of(&file);
        let topics = sensors.iter().map(|sensor| {
            let Sensor { heartbeat_topic, poll_topic, read_topic, .. } = sensor;
            format!(
                "topic {heartbeat_topic} out 1\ntopic {read_topic} out 1\ntopic {poll_topic} in 1\n"
            )
        });
        let configuration = format!(
            "user root\nlog_dest none\nlistener 1883 127.0.0.1\nallow_anonymous true\npersistence false\n\
             connection site\naddress {}:{}\nbridge_cafile {}\n\
             bridge_protocol_version mqttv311\ncleansession true\nnotifications false\n\
             try_private false\nremote_clientid {name}\nremote_username {}\nremote_password {}\n{}",
            plant.elsewhere.here,
            plant.mqtt_port(),
            plant.ca.display(),
            member(&file, "mqtt_user"),
            member(&file, "mqtt_password"),
            topics.collect::<String>(),
        );
        let path = plant.credentials.join("mosquitto.conf");
        fs::write(&path, configuration).unwrap();
        let words = [broker.to_str().unwrap(), "-c", path.to_str().unwrap()];
        let broker = Running(plant.runs(&words).spawn().unwrap());
        until("the broker listens", || {
            let ask = [&["mosquitto_pub"], &LOCAL[..], &["-t", "x", "-m", "x"]].concat();
            plant.elsewhere.run(&ask).status.success().then_some(())
        });
        let devices = sensors.into_iter().map(|sensor| Pair::start(plant, &LOCAL, sensor));
        Ok(Self { _broker: broker, _devices: devices.collect() })
    }
}
