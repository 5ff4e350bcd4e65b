//! Starts a site, queries it, and ends it in every way.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test fails. Generous: several sites start at once on two
/// cores.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Time in which the site promises to stop, with a margin for a busy machine.
const STOP_DEADLINE: Duration = Duration::from_secs(5 + 5);

/// A running site. Dropping it kills it, and its engines with it.
pub(crate) struct Site {
    folder: TempDir,
    /// The program and arguments that start the site, before its own command line; empty without
    /// one.
    pub(crate) launcher: Vec<String>,
    arguments: Vec<String>,
    child: Child,
    pub(crate) addresses: Addresses,
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: u64,
    /// Peak resident memory of a process.
    pub(crate) peak_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) log: String,
    pub(crate) nats: String,
    pub(crate) mqtt: String,
    #[serde(default)]
    pub(crate) registry: Option<String>,
    #[serde(default)]
    pub(crate) leaf: Option<String>,
    #[serde(default)]
    pub(crate) hosts: Option<String>,
    pub(crate) vkey: String,
}

impl Site {
    /// Starts a new site on free ports and waits until everything answers.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), arguments)
    }

    /// Starts a site with the data directory `data` in this folder, which may exist.
    pub(crate) fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        Self::start_by(&[], folder, arguments)
    }

    /// The same, started by another program, with this beginning of the command line.
    pub(crate) fn start_by(launcher: &[&str], folder: TempDir, arguments: &[&str]) -> Self {
        let launcher: Vec<String> = launcher.iter().copied().map(String::from).collect();
        let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
        let ports =
            ["--http-port=0", "--log-port=0", "--nats-port=0", "--mqtt-port=0"].map(String::from);
        let child = spawn(&launcher, folder.path(), arguments.iter().chain(&ports));
        let mut site = Self {
            launcher,
            addresses: Addresses {
                http: String::new(),
                log: String::new(),
                nats: String::new(),
                mqtt: String::new(),
                registry: None,
                leaf: None,
                hosts: None,
                vkey: String::new(),
            },
            folder,
            arguments,
            child,
        };
        site.wait_until_ready();
        site
    }

    /// Starts the site again in the same folder and on the same ports, after it was killed or
    /// stopped.
    pub(crate) fn start_again(&mut self) {
        let Addresses { http, log, nats, mqtt, registry, leaf, hosts, .. } = &self.addresses;
        let named = [("registry", registry), ("leaf", leaf), ("hosts", hosts)];
        let named = named.into_iter().filter_map(|(name, it)| Some((name, it.as_ref()?)));
        let ports: Vec<String> = [("http", http), ("log", log), ("nats", nats), ("mqtt", mqtt)]
            .into_iter()
            .chain(named)
            .map(|(name, address)| format!("--{name}-port={}", port(address)))
            .collect();
        self.child = spawn(&self.launcher, self.folder.path(), self.arguments.iter().chain(&ports));
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let file = self.folder.path().join("ready");
        let text = until("the site is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the site ended with {status}: {}", self.output());
            }
            fs::read(&file).ok()
        });
        fs::remove_file(&file).unwrap();
        self.addresses = serde_json::from_slice(&text).unwrap();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Resident memory of the site's own process.
    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes_of = |name: &str| {
            let kib = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
            kib.unwrap().trim().parse::<u64>().unwrap() << 10
        };
        Memory { bytes: bytes_of("VmRSS:"), peak_bytes: bytes_of("VmHWM:") }
    }

    /// Number of open files of the site's own process.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// What the site has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Ends the site as a power cut would, engines and all.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.assert_no_process_left("being killed");
    }

    /// Sends the site a signal.
    pub(crate) fn ask(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks the site to stop, and checks its promises.
    pub(crate) fn stop(&mut self) {
        self.ask(Signal::TERM);
        self.assert_stops();
    }

    /// Checks the promises of a site that was asked to stop.
    pub(crate) fn assert_stops(&mut self) {
        let asked = Instant::now();
        let status = until("the site stops", || self.child.try_wait().unwrap());
        assert!(asked.elapsed() < STOP_DEADLINE, "stopping took {:?}", asked.elapsed());
        assert!(status.success(), "the site ended with {status}: {}", self.output());
        self.assert_no_process_left("stopping");
    }

    fn assert_no_process_left(&self, after: &str) {
        // The kernel needs a moment to remove them.
        until(&format!("no engine is left after {after}"), || {
            processes(&self.data_dir()).is_empty().then_some(())
        });
    }

    /// Kills one engine of the site; `folder` is its folder's name: `nats`, `hosts` or `wash`.
    pub(crate) fn kill_engine(&self, folder: &str) {
        kill_process(self.engine(folder), Signal::KILL).unwrap();
    }

    /// The process of one engine of the site, by its folder's name.
    pub(crate) fn engine(&self, folder: &str) -> Pid {
        let all = processes(&self.data_dir());
        let found = all.iter().find(|(_, engine)| engine == folder);
        let (pid, _) = found.unwrap_or_else(|| panic!("no {folder} in {all:?}"));
        Pid::from_raw(*pid).unwrap()
    }

    /// Value of an option with which an engine of the site was started; `name` is the program's
    /// name.
    pub(crate) fn engine_argument(&self, name: &str, option: &str) -> String {
        let all = processes(&self.data_dir());
        let (pid, _) = all.iter().find(|(_, program)| program == name).unwrap();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let command = String::from_utf8(command).unwrap();
        let mut words = command.split('\0').skip_while(|word| *word != option);
        words.nth(1).unwrap_or_else(|| panic!("{name} has no {option}: {command}")).to_owned()
    }

    /// `GET` on the page port, as soon as the gateway answers: status and JSON.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.addresses.http);
        until("the gateway answers", || answer(agent().get(&url).call()))
    }

    /// Address of the live feed from a leaf on.
    pub(crate) fn live_from(&self, leaf: u64) -> String {
        format!("{}/live?from={leaf}&token={}", self.addresses.log, self.access_token())
    }

    /// The access token.
    pub(crate) fn access_token(&self) -> String {
        fs::read_to_string(self.data_dir().join("access-token")).unwrap().trim().to_owned()
    }

    /// `GET` on the log port under a host name: status and text.
    pub(crate) fn get_log(&self, path: &str, host: &str) -> (u16, String) {
        let request = agent().get(format!("{}{path}", self.addresses.log)).header("host", host);
        let mut response = request.call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// `POST` on the page port, as soon as the gateway answers.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.addresses.http);
        until("the gateway answers", || answer(agent().post(&url).send(body)))
    }

    /// Events of one action, newest first.
    pub(crate) fn events(&self, action: &str) -> Vec<Value> {
        let (_, mut page) =
            self.post("/api/logs", &format!(r#"{{"action":"{action}","limit":500}}"#));
        serde_json::from_value(page["events"].take()).unwrap()
    }

    /// Waits for an event of this action whose envelope is as wanted.
    pub(crate) fn wait_for_event(&self, action: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{action} is sealed"), || {
            self.events(action).into_iter().find(|event| wanted(&event["envelope"]))
        })
    }

    pub(crate) fn sensors(&self) -> Vec<Value> {
        let (_, mut answer) = self.get("/api/sensors");
        serde_json::from_value(answer["sensors"].take()).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn spawn<'a>(
    launcher: &[String],
    folder: &Path,
    arguments: impl Iterator<Item = &'a String>,
) -> Child {
    let output = fs::File::options().create(true).append(true).open(folder.join("output")).unwrap();
    let sealwire = String::from(env!("CARGO_BIN_EXE_sealwire"));
    let mut words = launcher.iter().chain(std::iter::once(&sealwire));
    Command::new(words.next().unwrap())
        .args(words)
        .arg("up")
        .arg("--data-dir")
        .arg(folder.join("data"))
        .arg("--ready-file")
        .arg(folder.join("ready"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap()
}

/// `sealwire verify`: its exit code, and what was printed.
pub(crate) fn verify(log: &str) -> (Option<i32>, String) {
    let (code, printed, _errors) = sealwire(&["verify", log]);
    (code, printed)
}

/// Any command of `sealwire`: its exit code, and what it printed as its result and as errors.
pub(crate) fn sealwire(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    // Started like a service or a job: only the kernel tells who runs it.
    command.args(arguments).env_remove("USER").env_remove("LOGNAME");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs a command that succeeds; what it printed.
#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let (code, printed, said) = sealwire(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {printed}{said}");
    printed
}

/// Process id and folder of every engine in the site's folder.
pub(crate) fn processes(data_dir: &Path) -> Vec<(i32, String)> {
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // Each engine's working directory is its own folder; a site's is another.
        let works_in = fs::read_link(entry.path().join("cwd")).ok()?;
        let below = works_in.strip_prefix(data_dir).ok()?;
        let folder = below.components().next()?.as_os_str().to_str()?.to_owned();
        Some((pid, folder))
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| process(entry.ok()?)).collect()
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain until {what}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks at a condition that has a deadline"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

pub(crate) fn port(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into()
}

/// Status and JSON; `None` while nothing answers, the host has no gateway yet, or the gateway has
/// no site.
fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<(u16, Value)> {
    let mut response = result.ok()?;
    let status = response.status().as_u16();
    let json = response.body_mut().read_json().ok()?;
    (!matches!(status, 502 | 503)).then_some((status, json))
}

/// Follows a site's live feed, and keeps every leaf that the feed sends. These leaves are
/// acknowledged.
pub(crate) struct Follower {
    log: String,
    seen: Arc<Mutex<Vec<(u64, Value)>>>,
    _reading: JoinHandle<()>,
}

impl Follower {
    /// Follows from the first leaf on until the site goes away.
    pub(crate) fn start(site: &Site) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (told, url) = (Arc::clone(&seen), site.live_from(0));
        let reading = std::thread::spawn(move || {
            let Ok(response) = ureq::get(&url).call() else { return };
            for line in BufReader::new(response.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                let Some(data) = line.strip_prefix("data: ") else { continue };
                let mut sealed: Value = serde_json::from_str(data).unwrap();
                // The other kind of data reports missed leaves.
                if let Some(leaf) = sealed["leaf"].as_u64() {
                    told.lock().unwrap().push((leaf, sealed["envelope"].take()));
                }
            }
        });
        Self { log: site.addresses.log.clone(), seen, _reading: reading }
    }

    /// The leaves so far.
    pub(crate) fn seen(&self) -> Vec<(u64, Value)> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for this many further leaves of this action, beyond those that are sealed now.
    pub(crate) fn wait_for_more(&self, action: &str, count: usize) {
        self.wait_for_new(&format!("{count} more of {action}"), count, |event| {
            event["action"] == action
        });
    }

    /// The same for readings that have a value.
    pub(crate) fn wait_for_more_values(&self, count: usize) {
        self.wait_for_new(&format!("{count} more values"), count, |event| {
            event["status"] == "SUCCESS"
        });
    }

    fn wait_for_new(&self, what: &str, count: usize, wanted: impl Fn(&Value) -> bool) {
        let size = self.leaves_sealed();
        let is_new = |(leaf, envelope): &(u64, Value)| *leaf >= size && wanted(&envelope["event"]);
        until(&format!("{what} are sealed"), || {
            (self.seen().iter().filter(|told| is_new(told)).count() >= count).then_some(())
        });
    }

    fn leaves_sealed(&self) -> u64 {
        let metrics = ureq::get(format!("{}/metrics", self.log)).call().unwrap();
        let metrics = metrics.into_body().read_to_string().unwrap();
        let leaves = metrics.lines().find_map(|line| line.strip_prefix("sealwire_leaves "));
        leaves.unwrap().parse().unwrap()
    }
}
