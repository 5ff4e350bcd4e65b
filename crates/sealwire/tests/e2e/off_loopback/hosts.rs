//! Hosts on other machines: three hosts are one lattice, whatever dies, and whoever is none of them
//! stays out.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

use async_nats::{Client, ConnectOptions};
use engine::{HostKind, Identity, OtherHost};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Elsewhere;
use crate::{
    attacks::credentials::order,
    house,
    mqtt::{Device, heartbeat},
    processors::{COMPONENT, Image, list},
    site::{Follower, Site, port, processes, sealwire, succeeds, until},
};

/// Milliseconds between two polls of the device.
const EVERY_MS: u64 = 200;
/// Id of a device whose every second value is out of range, so that there is always something to
/// judge.
const SWINGING: &str = "0b5a6e0c-7777-4222-8333-944455566677";

/// A host on another machine, until it is dropped.
struct Host {
    child: Child,
    folder: PathBuf,
}

impl Host {
    fn start(elsewhere: &Elsewhere, ticket: &Path) -> Self {
        let folder = ticket.with_extension("host");
        let data = folder.to_str().unwrap();
        let words = ["host", "run", ticket.to_str().unwrap(), "--data-dir", data];
        let mut command =
            elsewhere.command(&[&[env!("CARGO_BIN_EXE_sealwire")], &words[..]].concat());
        let output = fs::File::create(ticket.with_extension("output")).unwrap();
        command.stdout(Stdio::null()).stderr(output);
        Self { child: command.spawn().unwrap(), folder }
    }

    /// What it has printed.
    fn output(&self) -> String {
        fs::read_to_string(self.folder.with_extension("output")).unwrap()
    }

    /// Waits until it has said this so many times.
    #[track_caller]
    fn has_said(&self, words: &str, times: usize) {
        until(&format!("the host says {words:?} {times} times"), || {
            (self.output().matches(words).count() >= times).then_some(())
        });
    }

    /// Sends its engine a signal.
    fn signal(&self, signal: Signal) {
        let engines = processes(&self.folder);
        let [(engine, _)] = engines.as_slice() else { panic!("one engine: {engines:?}") };
        kill_process(Pid::from_raw(*engine).unwrap(), signal).unwrap();
    }

    /// Asks it to stop, and checks that nothing of it is left.
    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = until("the host stops", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.output());
        assert_eq!(processes(&self.folder), vec![]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A site with two machines beside it.
struct Plant {
    site: Site,
    machines: [Elsewhere; 2],
    tickets: PathBuf,
}

impl Plant {
    /// # Errors
    /// This account or system has no network namespaces; the text says so.
    fn start() -> Result<Self, String> {
        Self::start_in(TempDir::new().unwrap(), &[])
    }

    /// The same in this folder, with further arguments for the site.
    fn start_in(folder: TempDir, arguments: &[&str]) -> Result<Self, String> {
        let machines = [Elsewhere::new()?, Elsewhere::new()?];
        let data_dir = folder.path().join("data");
        let [first, second] = &machines;
        nothing_is_opened_without_protection(&data_dir, &first.here);
        first.certify(&data_dir, &[&second.here]);
        let any = ["--hosts-listen=0.0.0.0", "--registry-listen=0.0.0.0"];
        let ports = ["--hosts-port=0", "--registry-port=0", "--simulate=8"];
        let tickets = folder.path().join("tickets");
        fs::create_dir(&tickets).unwrap();
        let site = Site::start_in(folder, &[&any[..], &ports, arguments].concat());
        Ok(Self { site, machines, tickets })
    }

    /// Adds a host, and returns the file that it needs.
    fn add(&self, name: &str, machine: usize) -> PathBuf {
        self.add_with(name, machine, &[])
    }

    /// The same with further arguments.
    fn add_with(&self, name: &str, machine: usize, arguments: &[&str]) -> PathBuf {
        let file = self.tickets.join(format!("{name}.json"));
        let output = ["--output", file.to_str().unwrap()];
        let reach = ["--reach", &self.machines[machine].here];
        let said = self.host(&[&["add", name], &output[..], &reach, arguments].concat());
        assert!(said.contains("sealwire host run"), "{said}");
        let ticket: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for secret in secrets(&ticket) {
            assert!(!said.contains(&secret));
        }
        file
    }

    /// Runs the host of a file that was added for this machine.
    fn run(&self, machine: usize, ticket: &Path) -> Host {
        Host::start(&self.machines[machine], ticket)
    }

    /// A command about hosts, at the site.
    fn host(&self, words: &[&str]) -> String {
        let data = self.site.data_dir();
        succeeds(&[&["host"], words, &["--data-dir", data.to_str().unwrap()]].concat())
    }

    /// Address of the hosts' server, as this machine reaches it.
    fn server(&self) -> String {
        format!("127.0.0.1:{}", port(self.site.addresses.hosts.as_ref().unwrap()))
    }

    #[track_caller]
    fn has_refused(&self, who: &str, why: &str) {
        until(&format!("{who} is refused: {why}"), || {
            let refused = order(&self.site, &["refused"]);
            let is_it = |line: &str| line.contains(who) && line.contains(why);
            refused.lines().any(is_it).then_some(())
        });
    }
}

fn secrets(ticket: &Value) -> Vec<String> {
    let secrets = [&ticket["control"]["key"], &ticket["data"]["key"], &ticket["registry_token"]];
    secrets.map(|secret| secret.as_str().unwrap().to_owned()).to_vec()
}

fn nothing_is_opened_without_protection(data_dir: &Path, here: &str) {
    let (data, listen) = (data_dir.to_str().unwrap(), ["--hosts-listen", here]);
    let refusal = |more: &[&str]| {
        let (code, _, said) = sealwire(&[&["up", "--data-dir", data], &listen[..], more].concat());
        assert_eq!(code, Some(1), "{said}");
        said
    };
    assert!(refusal(&[]).contains("hosts-listen needs hosts-port"));
    let plain = refusal(&["--hosts-port=0"]);
    assert!(plain.contains("hosts cannot listen") && plain.contains("sealwire ca init"), "{plain}");
}

#[test]
fn three_hosts_on_three_machines_judge_as_one_whoever_dies() {
    let mut plant = match Plant::start() {
        Ok(plant) => plant,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut beat = heartbeat(SWINGING, "Swinging", EVERY_MS);
    beat["range"] = json!([0, 10]);
    let device = Device::start(&plant.site, beat, |number| {
        json!({ "value": (number % 2) * 20, "seq": number }).to_string()
    });
    let follower = Follower::start(&plant.site);
    let tickets = [plant.add("hall-1", 0), plant.add("hall-2", 1)];
    let [mut first, mut second] = [0, 1].map(|number| plant.run(number, &tickets[number]));
    first.has_said("the site starts a workload here", 2);
    second.has_said("the site starts a workload here", 2);
    follower.wait_for_more("OUT_OF_RANGE", 3);

    // The site's own host freezes: the others judge.
    let own = plant.site.engine("wash");
    kill_process(own, Signal::STOP).unwrap();
    follower.wait_for_more("OUT_OF_RANGE", 10);
    // One of them dies, and the other freezes once that one is back.
    second.signal(Signal::KILL);
    follower.wait_for_more("OUT_OF_RANGE", 10);
    second.has_said("wash host runs again", 1);
    second.has_said("the site starts a workload here", 4);
    first.signal(Signal::STOP);
    follower.wait_for_more("OUT_OF_RANGE", 10);
    kill_process(own, Signal::CONT).unwrap();
    first.signal(Signal::CONT);
    follower.wait_for_more("OUT_OF_RANGE", 3);

    // One is cut off, and comes back by itself.
    plant.machines[0].cut();
    follower.wait_for_more("OUT_OF_RANGE", 10);
    plant.machines[0].mend();

    // Their server dies: readings are sealed, and judged when it is back.
    plant.site.kill_engine("hosts");
    follower.wait_for_more("SENSOR_READING", 10);
    follower.wait_for_more("OUT_OF_RANGE", 3);

    // The site dies. The hosts look for it, and are given work again.
    let told = follower.seen();
    plant.site.kill();
    plant.site.start_again();
    let follower = Follower::start(&plant.site);
    let own = plant.site.engine("wash");
    kill_process(own, Signal::STOP).unwrap();
    follower.wait_for_more("OUT_OF_RANGE", 10);
    kill_process(own, Signal::CONT).unwrap();

    first.stop();
    second.stop();
    follower.wait_for_more("OUT_OF_RANGE", 3);
    drop(device);
    plant.site.stop();
    let kept = house::open(&plant.site.data_dir());
    kept.assert_holds(&told);
    kept.assert_derived_is_what_follows();
    let added = kept.envelopes.iter().filter(|it| it.event.action.as_deref() == Some("HOST_ADDED"));
    assert_eq!(added.count(), 2);
    // Nothing secret is in the log.
    let log: String = kept.envelopes.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
    for ticket in tickets {
        let ticket: Value = serde_json::from_slice(&fs::read(ticket).unwrap()).unwrap();
        assert!(!secrets(&ticket).iter().any(|secret| log.contains(secret)));
    }
}

#[test]
fn whoever_is_no_host_of_the_site_stays_out() {
    let plant = match Plant::start() {
        Ok(plant) => plant,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let ticket = plant.add("hall-1", 0);
    let of_other = plant.add("hall-2", 1);
    let data = plant.site.data_dir();
    let file = plant.tickets.join("again.json");
    let again = ["host", "add", "hall-1", "--output", file.to_str().unwrap()];
    let (code, _, said) = sealwire(&[&again[..], &["--data-dir", data.to_str().unwrap()]].concat());
    assert!(code == Some(1) && said.contains("there already is a host hall-1"), "{said}");
    assert!(!file.exists());
    let host = plant.run(0, &ticket);
    host.has_said("the site starts a workload here", 2);

    let ids = ids(&data);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let [one, other] = [&ticket, &of_other].map(|file| Shown::of(file, "control"));
        one.keeps_to_its_own(&plant, "hall-1").await;
        // A certificate that a host makes, for itself or with its own as authority, is none.
        let [user, _] = OtherHost::users(HostKind::Site, &ids["hall-2"]);
        let forged = Identity::alone("forged", &user).unwrap();
        one.with(&forged.certificate_pem(), &forged.key_pem()).is_kept_out(&plant, "forged").await;
        let (certificate, key) = one.shown.clone();
        let chain = [forged.certificate_pem(), certificate].concat();
        one.with(&chain, &forged.key_pem()).is_kept_out(&plant, "forged").await;
        one.with(&forged.certificate_pem(), &key).is_no_pair(&plant).await;

        // Who has the one host's file and names the other's user is the one.
        let named = one.connect(&plant, Some(&user)).await.unwrap();
        let heard = Arc::clone(&named.refusals);
        let subject = "sealwire.host.hall-2.heartbeat.1";
        named.client.publish(subject, "{}".into()).await.unwrap();
        named.client.flush().await.unwrap();
        until("it is refused", || heard.lock().unwrap().first().map(|_| ()));
        plant.has_refused("host hall-1", subject);

        // A removed host loses its connections, and does not come back.
        let removed = other.connect(&plant, None).await.unwrap();
        plant.host(&["remove", "hall-2"]);
        until("it is cut off", || {
            use async_nats::connection::State;
            (removed.client.connection_state() != State::Connected).then_some(())
        });
        other.is_kept_out(&plant, "hall-2").await;
    });
    assert!(plant.host(&["list"]).contains("hall-1") && !plant.host(&["list"]).contains("hall-2"));
    // Its token went with it, and a later host of its name is another one.
    let ticket: Value = serde_json::from_slice(&fs::read(&of_other).unwrap()).unwrap();
    let login = format!("host:{}", ticket["registry_token"].as_str().unwrap());
    let registry = format!("{}/v2/", ticket["registry"].as_str().unwrap());
    let ca = data.join("tls/ca.pem");
    let machine = &plant.machines[1];
    let answer = machine.curl(ca.to_str().unwrap(), &["--user", &login, &registry]);
    assert_eq!(answer.0, 401, "{answer:?}");
    fs::remove_file(of_other).unwrap();
    plant.add("hall-2", 1);
    assert_ne!(self::ids(&data)["hall-2"], ids["hall-2"]);
}

/// The ids of the site's hosts, by name.
fn ids(data_dir: &Path) -> BTreeMap<String, String> {
    let stored = fs::read(data_dir.join("host-credentials")).unwrap();
    let stored: Vec<Value> = serde_json::from_slice(&stored).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    stored.iter().map(|it| (text(&it["host"]["name"]), text(&it["host"]["id"]))).collect()
}

#[test]
fn processors_run_on_hosts_for_them_alone_which_may_nothing_else() {
    let folder = TempDir::new().unwrap();
    let image = Image::of(fs::read(COMPONENT).unwrap());
    let file = list(folder.path(), &[("double", &image.digest())]);
    // Simulated sensors have large values, too.
    let filter = format!("[processor.filter]\nsensors = [\"{SWINGING}\"]\n");
    fs::write(&file, [fs::read_to_string(&file).unwrap(), filter].concat()).unwrap();
    let mut plant = match Plant::start_in(folder, &["--processors", &file]) {
        Ok(plant) => plant,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    image.publish(&plant.site);
    let device = Device::start(&plant.site, heartbeat(SWINGING, "Swinging", EVERY_MS), |number| {
        json!({ "value": "60", "seq": number }).to_string()
    });
    let follower = Follower::start(&plant.site);
    follower.wait_for_more("DERIVED", 3);
    let tickets = [plant.add("hall-1", 0), plant.add_with("hall-2", 1, &["--guests"])];
    let [mut first, mut second] = [0, 1].map(|number| plant.run(number, &tickets[number]));
    first.has_said("the site starts a workload here", 2);
    second.has_said("the site starts a workload here", 1);
    let listed = plant.host(&["list"]);
    let runs = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(runs("hall-1").contains("components") && runs("hall-2").contains("processors"));

    // The site's own host for processors freezes: the other one goes on.
    let own = plant.site.engine("guests");
    kill_process(own, Signal::STOP).unwrap();
    follower.wait_for_more("DERIVED", 10);
    kill_process(own, Signal::CONT).unwrap();

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let [one, guests] = [0, 1].map(|number| Shown::of(&tickets[number], "data"));
        let said = ["sealwire.process.double", "sealwire.reply.site-guests.a.b"];
        let heard = ["sealwire.process.double", "sealwire.process.*"];
        one.is_refused(&plant, "host hall-1", &said, &heard).await;
        let said = [
            "sealwire.process.double",
            "sealwire.derive.sensors",
            "sealwire.query.own.site",
            "sealwire.reply.site-data.a.b",
            "runtime.operator.heartbeat.1",
            "_INBOX.a.b",
        ];
        let heard = ["sealwire.derive.sensors", "sealwire.reply.>", "runtime.host.>", "_R_.>"];
        guests.is_refused(&plant, "a processor on host hall-2", &said, &heard).await;
    });

    first.stop();
    second.stop();
    let log = |host: &Host| fs::read_to_string(host.folder.join("wash/wash-host.log")).unwrap();
    assert!(log(&first).contains("sensor-reader") && !log(&first).contains("processor-double"));
    assert!(log(&second).contains("processor-double") && !log(&second).contains("sensor-reader"));
    follower.wait_for_more("DERIVED", 3);
    drop(device);
    plant.site.stop();
    house::open(&plant.site.data_dir()).assert_processed_once("60");
}

/// What somebody shows who has a host's file, or says so.
struct Shown {
    server_ca: PathBuf,
    shown: (String, String),
    folder: PathBuf,
}

/// A connection to the hosts' server, and what the server refused it.
struct Connected {
    client: Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Shown {
    /// The certificate for `plane` in this file: `control` or `data`.
    fn of(file: &Path, plane: &str) -> Self {
        let ticket: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let folder = file.with_extension("shown");
        fs::create_dir(&folder).unwrap();
        let server_ca = folder.join("ca.pem");
        fs::write(&server_ca, text(&ticket["server_ca"])).unwrap();
        let shown = &ticket[plane];
        Self { server_ca, shown: (text(&shown["certificate"]), text(&shown["key"])), folder }
    }

    /// The same with another certificate and key.
    fn with(&self, certificate: &str, key: &str) -> Self {
        Self {
            server_ca: self.server_ca.clone(),
            shown: (certificate.to_owned(), key.to_owned()),
            folder: self.folder.clone(),
        }
    }

    async fn connect(
        &self,
        plant: &Plant,
        user: Option<&str>,
    ) -> Result<Connected, async_nats::ConnectError> {
        let [certificate, key] = ["pem", "key"]
            .map(|kind| self.folder.join(format!("{:x}.{kind}", rand::random::<u64>())));
        fs::write(&certificate, &self.shown.0).unwrap();
        fs::write(&key, &self.shown.1).unwrap();
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&refusals);
        let options = match user {
            Some(user) => ConnectOptions::with_user_and_password(user.to_owned(), String::new()),
            None => ConnectOptions::new(),
        };
        let client = options
            .add_root_certificates(self.server_ca.clone())
            .add_client_certificate(certificate, key)
            .require_tls(true)
            .event_callback(move |event| {
                if let async_nats::Event::ServerError(error) = event {
                    told.lock().unwrap().push(error.to_string());
                }
                async {}
            })
            .connect(plant.server())
            .await?;
        Ok(Connected { client, refusals })
    }

    /// The server does not let it in, and the site says so.
    async fn is_kept_out(&self, plant: &Plant, name: &str) {
        // With TLS 1.3 the client may believe for a moment that it is in.
        if let Ok(Connected { client, .. }) = self.connect(plant, None).await {
            assert!(client.flush().await.is_err(), "{name} is let in");
        }
        plant.has_refused("a host at 127.0.0.1", &format!("CN={name} "));
    }

    /// The client itself sees that key and certificate are of two.
    async fn is_no_pair(&self, plant: &Plant) {
        assert!(self.connect(plant, None).await.is_err());
    }

    /// The host of this name hears its own orders alone, and speaks in its own name alone.
    async fn keeps_to_its_own(&self, plant: &Plant, name: &str) {
        let said = [
            "sealwire.host.hall-2.heartbeat.1",
            "sealwire.host.hall-2.order.1.workload.stop",
            "runtime.host.1.workload.stop",
            "sealwire.reply.site-control.1",
            "sealwire.query.own.site",
            "sealwire.derive.sensors",
        ];
        let heard = ["sealwire.>", "sealwire.derive.sensors", "_INBOX.>", "_R_.>", ">"];
        self.is_refused(plant, &format!("host {name}"), &said, &heard).await;
    }

    /// It may neither publish to the one subjects nor hear the others, and the site says who tried.
    async fn is_refused(&self, plant: &Plant, who: &str, said: &[&str], heard: &[&str]) {
        let Connected { client, refusals } = self.connect(plant, None).await.unwrap();
        for said in said {
            refusals.lock().unwrap().clear();
            client.publish((*said).to_owned(), "{}".into()).await.unwrap();
            client.flush().await.unwrap();
            until(&format!("{said} is refused"), || {
                refusals.lock().unwrap().iter().any(|told| told.contains(said)).then_some(())
            });
        }
        for heard in heard {
            refusals.lock().unwrap().clear();
            let _subscriber = client.subscribe((*heard).to_owned()).await.unwrap();
            client.flush().await.unwrap();
            until(&format!("{heard} is refused"), || {
                refusals.lock().unwrap().iter().any(|told| told.contains(heard)).then_some(())
            });
        }
        let tried = said.iter().map(|it| format!("it may not publish to `{it}`"));
        for tried in tried.chain(heard.iter().map(|it| format!("it may not hear `{it}`"))) {
            plant.has_refused(who, &tried);
        }
    }
}
