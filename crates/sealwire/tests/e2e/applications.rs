//! Events that applications hand in over NATS: with receipts, once in the log whatever is killed,
//! and under nobody else's name.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tlog::Hash;

use crate::{
    attacks::credentials::order,
    house,
    pangea::{python, token},
    site::{Site, port, sealwire, until, verify},
};

/// Logins in one submission.
const EACH: usize = 100;

/// An application of `application.py`, in a process of its own.
struct Application {
    child: Child,
    orders: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
    /// How much of it was looked at.
    heard: usize,
    name: String,
}

/// Makes a token for an application of this name, and writes its seed to a file.
fn seed_of(site: &Site, name: &str) -> PathBuf {
    let made = token(site, &["create", "--name", name, "--scope", "write", "--nats"]);
    let file = site.data_dir().with_file_name(format!("{name}.nk"));
    fs::write(&file, made["nkey_seed"].as_str().unwrap()).unwrap();
    file
}

impl Application {
    fn start(site: &Site, name: &str) -> Self {
        let seed = seed_of(site, name);
        Self::with(site, name, &seed)
    }

    /// An application of this name with the seed in a file. Waits until it is let in or gives up.
    fn with(site: &Site, name: &str, seed: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/application.py");
        let nats = port(&site.addresses.nats).to_string();
        let mut command = Command::new(python());
        command.args([script, "127.0.0.1", &nats, name]).arg(seed);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stdout.take().unwrap());
        let told = Arc::clone(&said);
        std::thread::spawn(move || {
            let read = |line: String| serde_json::from_str(&line).unwrap();
            lines.lines().map_while(Result::ok).for_each(|it| told.lock().unwrap().push(read(it)));
        });
        let orders = child.stdin.take().unwrap();
        let mut application = Self { child, orders, said, heard: 0, name: name.to_owned() };
        application
            .says("it is let in or not", |it| it["connected"] == true || it["refused"].is_string());
        application
    }

    fn is_in(&self) -> bool {
        self.said.lock().unwrap().iter().any(|it| it["connected"] == true)
    }

    fn order(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Waits until it says something of this kind, after what was looked at before.
    #[track_caller]
    fn says(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let (at, found) = until(what, || {
            let said = self.said.lock().unwrap();
            let at = said.iter().skip(self.heard).position(&is_it)?;
            Some((self.heard + at, said[self.heard + at].clone()))
        });
        self.heard = at + 1;
        found
    }

    /// Hands in a submission under its own name, and returns the answer.
    #[track_caller]
    fn hands_in(&mut self, submission: &str, key: Option<&str>) -> Value {
        let subject = format!("events.{}.test", self.name);
        self.order(&json!({ "request": subject, "payload": submission, "key": key }));
        self.says("an answer", |it| it["answer"].is_object())["answer"].take()
    }

    /// Does something that the server refuses, with these words.
    #[track_caller]
    fn is_refused(&mut self, order: &Value, words: &str) {
        self.order(order);
        self.says(&format!("it is told {words}"), |it| {
            it["told"].as_str().is_some_and(|told| told.contains(&words.to_lowercase()))
        });
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The envelope of a leaf under the checkpoint that covers it, and its commitment.
#[track_caller]
fn sealed(site: &Site, leaf: &Value) -> (Value, String) {
    let (_, proof) = until("a checkpoint covers the leaf", || {
        Some(site.get(&format!("/api/proof/{leaf}"))).filter(|(status, _)| *status == 200)
    });
    let envelope = proof["envelope"].as_str().unwrap();
    let commitment = data_encoding::HEXLOWER.encode(Hash::sha256(envelope.as_bytes()).as_bytes());
    (serde_json::from_str(envelope).unwrap(), commitment)
}

#[test]
fn events_are_sealed_once_under_their_applications_name_and_answered_with_receipts() {
    let mut site = Site::start(&[]);
    let mut shop = Application::start(&site, "shop");
    assert!(shop.is_in(), "{:?}", shop.said);
    let login = r#"{"action":"login","actor":"ada","message":"ada logged in"}"#;
    let first = shop.hands_in(login, Some("login 1"));
    let receipt = &first["receipts"][0];
    assert_eq!(first["receipts"].as_array().unwrap().len(), 1, "{first}");
    assert_eq!(first["size"], receipt["leaf"].as_u64().unwrap() + 1);
    let (envelope, commitment) = sealed(&site, &receipt["leaf"]);
    assert_eq!(envelope["event"], serde_json::from_str::<Value>(login).unwrap());
    assert_eq!((&envelope["token"], envelope.get("sealwire")), (&"shop".into(), None));
    assert_eq!(receipt["commitment"], commitment);
    let origin = site.addresses.vkey.split('+').next().unwrap();
    assert_eq!(first["origin"], origin);
    let used = site.wait_for_event("TOKEN_USED", |it| it["event"]["target"] == "shop");
    assert!(used["leaf"].as_u64() < receipt["leaf"].as_u64());

    // A retry seals nothing; other events under the key are refused.
    assert_eq!(shop.hands_in(login, Some("login 1")), first);
    let other = shop.hands_in(r#"{"message":"bob logged in"}"#, Some("login 1"));
    assert_eq!(other["status"], 409, "{other}");
    let again = shop.hands_in(login, None);
    assert_ne!(again["receipts"][0]["leaf"], receipt["leaf"], "without a key it is another event");

    // A fault is told with its place, and nothing of the array is sealed.
    for (submission, status, event, place) in [
        (r#"[{"message":"a"},{"message":7}]"#, 400, json!(1), json!("/message")),
        (r#"[{"message":"a"},{"message":"b","colour":"x"}]"#, 400, json!(1), json!("/colour")),
        (r#"{"message":"a","action":"KEY_ROTATED"}"#, 400, json!(0), json!("/action")),
        ("[]", 400, Value::Null, json!("")),
        ("{", 400, Value::Null, Value::Null),
        (&format!(r#"{{"message":"{}"}}"#, "x".repeat(1 << 20)), 413, Value::Null, Value::Null),
    ] {
        let refused = shop.hands_in(submission, None);
        let begin: String = submission.chars().take(60).collect();
        assert_eq!(refused["status"], status, "{begin}: {refused}");
        assert_eq!((&refused["event"], &refused["place"]), (&event, &place), "{begin}: {refused}");
    }
    let next = shop.hands_in(r#"[{"message":"a"},{"message":"b"}]"#, Some("two"));
    let leaves = |answer: &Value| -> Vec<u64> {
        let receipts = answer["receipts"].as_array().unwrap().iter();
        receipts.map(|receipt| receipt["leaf"].as_u64().unwrap()).collect()
    };
    let after = leaves(&again)[0];
    assert_eq!(leaves(&next), [after + 1, after + 2], "nothing was sealed in between");
    // Who wants no answer is heard as well.
    let quiet =
        json!({ "publish": "events.shop.a.b", "payload": r#"{"action":"quiet","message":"m"}"# });
    shop.order(&quiet);
    site.wait_for_event("quiet", |it| it["token"] == "shop");

    // Once its token is revoked, it loses its connection at once, and gets none again.
    let seed = site.data_dir().with_file_name("shop.nk");
    token(&site, &["revoke", "shop"]);
    shop.says("the connection ends", |it| it["closed"] == true);
    assert!(!Application::with(&site, "shop", &seed).is_in());
    site.stop();
    let (code, printed) = verify(site.data_dir().to_str().unwrap());
    assert_eq!(code, Some(0), "{printed}");
}

#[test]
fn nobody_hands_in_events_under_another_name() {
    let mut site = Site::start(&[]);
    let mut shop = Application::start(&site, "shop");
    // Its name begins with the other's.
    let mut other = Application::start(&site, "shop-2");
    let event = r#"{"action":"forged","message":"m"}"#;
    for subject in
        ["events.shop.x", "events.shop", "events.*.x", "events.>", "sealwire.events.check"]
    {
        let words = format!("permissions violation for publish to \"{subject}\"");
        other.is_refused(&json!({ "publish": subject, "payload": event }), &words);
    }
    for subject in ["events.>", "events.shop-2.>", "_INBOX.shop.>", "_INBOX.>", ">", "$SYS.>"] {
        let words = format!("permissions violation for subscription to \"{subject}\"");
        other.is_refused(&json!({ "hear": subject }), &words);
    }
    // An answer at a subject of another application would look like one of its own.
    shop.order(&json!({ "hear": "_INBOX.shop.wait" }));
    shop.says("it hears", |it| it["hears"] == true);
    let reply = "_INBOX.shop.wait";
    other.order(&json!({ "publish": "events.shop-2.x", "payload": event, "reply": reply }));
    let why = "it asks for an answer at a subject that is not its own";
    until("the site counts it", || order(&site, &["refused"]).contains(why).then_some(()));
    // A device without a credential is in another account, and so is one with a seed that nobody
    // knows.
    let stranger = site.data_dir().with_file_name("stranger.nk");
    let seed = nats::nkey::Seed::from_bytes(nats::nkey::Kind::User, &[7; 32]);
    fs::write(&stranger, seed.secret()).unwrap();
    assert!(!Application::with(&site, "shop", &stranger).is_in());
    let marker = other.hands_in(r#"{"action":"own","message":"m"}"#, None);
    assert!(marker["receipts"].is_array(), "{marker}");
    site.wait_for_event("own", |it| it["token"] == "shop-2");
    assert_eq!(site.events("forged"), Vec::<Value>::new());

    for (name, scope, words) in [
        ("a.b", "write", "cannot use the message bus"),
        ("reader", "read", "needs the scope `write`"),
    ] {
        let data_dir = site.data_dir();
        let common = ["token", "--data-dir", data_dir.to_str().unwrap(), "create", "--nats"];
        let (code, _, said) =
            sealwire(&[&common, ["--name", name, "--scope", scope].as_slice()].concat());
        assert!(code == Some(1) && said.contains(words), "{said}");
    }
    site.stop();
}

/// `POST /api/events` with these headers: status and JSON.
fn posts(site: &Site, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.post(format!("{}/api/events", site.addresses.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}

#[test]
fn events_over_http_need_a_token_that_may_write_and_share_keys_with_nats() {
    let mut site = Site::start(&[]);
    let shop = token(&site, &["create", "--name", "shop", "--scope", "write", "--nats"]);
    let reader = token(&site, &["create", "--name", "reader", "--scope", "read"]);
    let seed = site.data_dir().with_file_name("shop.nk");
    fs::write(&seed, shop["nkey_seed"].as_str().unwrap()).unwrap();
    let [own, other] =
        [&shop, &reader].map(|it| format!("Bearer {}", it["token"].as_str().unwrap()));
    let by = [("authorization", own.as_str()), ("idempotency-key", "login 1")];
    let login =
        r#"[{"action":"login","message":"ada logged in"},{"action":"login","message":"bob"}]"#;

    let (status, first) = posts(&site, &by, login);
    assert_eq!(status, 200, "{first}");
    for receipt in first["receipts"].as_array().unwrap() {
        let (envelope, commitment) = sealed(&site, &receipt["leaf"]);
        assert_eq!(
            (&envelope["token"], &receipt["commitment"]),
            (&"shop".into(), &commitment.into())
        );
    }
    assert_eq!(posts(&site, &by, login), (200, first.clone()), "a retry");
    let mut nats = Application::with(&site, "shop", &seed);
    assert_eq!(nats.hands_in(login, Some("login 1")), first, "a retry by another way");

    let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(1 << 20));
    let long = format!(r#"{{"message":"m","new":"{}"}}"#, "x".repeat(32_766));
    let many = format!("[{}]", vec![long; 20].join(","));
    for (headers, body, status) in [
        (&by[..], r#"{"message":"another"}"#, 409),
        (&by[..1], r#"[{"message":"a"},{"message":7}]"#, 400),
        (&by[..1], "{", 400),
        (&by[..1], &large, 413),
        (&by[..1], &many, 200),
        (&[("authorization", other.as_str())], login, 401),
        (&[("authorization", "Bearer pts_x")], login, 401),
        // Whoever guesses how the gateway is told.
        (&[("sealwire-ticket", "00000000000000000000000000000000")], login, 401),
        (&[], login, 401),
    ] {
        let (given, answer) = posts(&site, headers, body);
        assert_eq!(given, status, "{headers:?}: {answer}");
        if status != 200 {
            assert_eq!(answer["status"], status, "{answer}");
            assert!(answer["detail"].is_string(), "{answer}");
        }
    }
    let fault = posts(&site, &by[..1], r#"[{"message":"a"},{"message":7}]"#).1;
    assert_eq!((&fault["event"], &fault["place"]), (&json!(1), &json!("/message")));
    assert_eq!(site.events("login").len(), 2);
    site.stop();
}

/// An application hands in so many logins while the host of its component is killed so often. Each
/// receipt's leaf holds its login, and each login is in the log once.
fn logins_are_sealed_once(logins: usize, kills: usize) {
    let mut site = Site::start(&[]);
    let mut shop = Application::start(&site, "shop");
    shop.order(&json!({ "logins": logins, "each": EACH, "at_once": 4 }));
    let answered = |shop: &Application| {
        let said = shop.said.lock().unwrap();
        said.iter().filter(|it| it["receipts"].is_array()).count()
    };
    for kill in 1..=kills {
        let due = kill * (logins / EACH) / (kills + 1);
        until("more logins are sealed", || (answered(&shop) >= due).then_some(()));
        let up = || {
            let of_host = |it: &&Value| it["envelope"]["event"]["source"] == "wash host";
            site.events("ENGINE_UP").iter().filter(of_host).count()
        };
        site.kill_engine("wash");
        until("the host runs again", || (up() >= kill).then_some(()));
    }
    shop.says("all logins have receipts", |it| it["done"] == logins);
    let mut receipts = BTreeMap::new();
    for said in shop.said.lock().unwrap().iter().filter(|it| it["receipts"].is_array()) {
        let first = usize::try_from(said["first"].as_u64().unwrap()).unwrap();
        let of = said["receipts"].as_array().unwrap();
        assert_eq!(of.len(), EACH);
        for (login, receipt) in (first..).zip(of) {
            let leaf = receipt["leaf"].as_u64().unwrap();
            assert!(leaf < said["size"].as_u64().unwrap());
            let commitment = receipt["commitment"].as_str().unwrap().to_owned();
            assert!(receipts.insert(login, (leaf, commitment)).is_none());
        }
    }
    assert!(receipts.keys().copied().eq(0..logins), "{} receipts", receipts.len());
    drop(shop);
    site.stop();

    // This verifies the log from its commitments up to the checkpoint.
    let kept = house::open(&site.data_dir());
    for (login, (leaf, commitment)) in &receipts {
        let envelope = &kept.envelopes[usize::try_from(*leaf).unwrap()];
        let json = serde_json::to_vec(envelope).unwrap();
        let entry = data_encoding::HEXLOWER.encode(Hash::sha256(&json).as_bytes());
        assert_eq!(entry, *commitment, "leaf {leaf}");
        assert_eq!(envelope.event.actor.as_deref(), Some(&*format!("user-{login}")));
        assert_eq!(envelope.event.token.as_deref(), Some("shop"));
    }
    let is_login = |it: &&model::Envelope| it.event.action.as_deref() == Some("login");
    assert_eq!(kept.envelopes.iter().filter(is_login).count(), logins, "none is there twice");
}

#[test]
fn logins_are_sealed_once_while_the_host_is_killed() {
    logins_are_sealed_once(5_000, 3);
}

#[test]
#[ignore = "takes minutes; name it with `--ignored` to run it"]
fn a_hundred_thousand_logins_are_sealed_once_while_the_host_is_killed_ten_times() {
    logins_are_sealed_once(100_000, 10);
}

#[test]
fn nats_own_command_hands_in_an_event() {
    let Some(cli) = std::env::var_os("NATS_CLI") else {
        eprintln!("skipped: NATS_CLI names no `nats`; `cargo xtask test` builds it where Go is");
        return;
    };
    let mut site = Site::start(&[]);
    let seed = seed_of(&site, "deploy");
    // Whatever this account has chosen for itself does not count.
    let home = site.data_dir().with_file_name("home");
    let ask = || -> Value {
        let server = site.addresses.nats.clone();
        let mut command = Command::new(&cli);
        command.args(["request", "--raw", "--no-templates", "--timeout=60s", "--server", &server]);
        command.arg("--nkey").arg(&seed).args(["--inbox-prefix", "_INBOX.deploy"]);
        command.args(["-H", "Nats-Msg-Id:release 7", "events.deploy.release"]);
        command.arg(r#"{"action":"deploy","message":"release 7 is live"}"#);
        let output = command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let answer = ask();
    assert!(answer["receipts"][0]["commitment"].is_string(), "{answer}");
    assert_eq!(ask(), answer, "a retry gets the first receipt");
    site.wait_for_event("deploy", |it| it["token"] == "deploy");
    site.stop();
}
