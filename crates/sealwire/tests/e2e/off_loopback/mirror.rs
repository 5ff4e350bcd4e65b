//! A site that mirrors its log to another one, through everything that can happen on the way.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ledger::LeafRanges;
use model::{Envelope, action};
use pangea::{client::Outgoing, recompute::fold};
use serde_json::{Value, json};
use tempfile::TempDir;
use tlog::Hash;

use super::Elsewhere;
use crate::{
    house,
    pangea::{Client, python, scripts, token},
    site::{Site, pause, port, until},
};

/// Name of the token with which the mirrored events come to the other site.
const MIRROR: &str = "mirror";

/// Makes a token for the mirror on the server, and returns the options of a site that uses it, for
/// the log that the server names.
fn options(server: &Site, url: &str, folder: &Path) -> Vec<String> {
    let made =
        token(server, &["create", "--name", MIRROR, "--scope", "write,read", "--actor", "ada"]);
    let file = folder.join("mirror-token");
    durable::write_secret(&file, made["token"].as_str().unwrap().as_bytes()).unwrap();
    let file = file.to_str().unwrap();
    let id = made["config_id"].as_str().unwrap();
    let named = ["--mirror-url", url, "--mirror-token-file", file, "--mirror-config-id", id];
    named.map(String::from).to_vec()
}

/// A figure of the site's `/metrics`.
fn metric(site: &Site, name: &str) -> Option<u64> {
    let host = site.addresses.log.strip_prefix("http://").unwrap();
    let (_, text) = site.get_log("/metrics", host);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// Waits until the mirror has handled everything that the log has now.
fn wait_until_mirrored(site: &Site) -> u64 {
    let leaves = until("the log has a size", || metric(site, "sealwire_leaves"));
    until("the log is mirrored", || {
        metric(site, "sealwire_mirror_leaves").filter(|mirrored| *mirrored >= leaves)
    });
    leaves
}

/// What is sent of an envelope; `None` if it is the mirror's own.
fn sent(envelope: &Envelope) -> Option<Value> {
    let own = [action::MIRRORED, action::MIRROR_REFUSED];
    if envelope.event.action.as_deref().is_some_and(|action| own.contains(&action)) {
        return None;
    }
    let body = pangea::client::bulk_request(None, &[Outgoing::of(envelope.clone())]);
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    Some(body["events"][0]["event"].take())
}

/// Compares both logs of stopped sites: the server has the first `leaves` events of the mirrored
/// one, each once and in order, except for those that `is_refused`; and what is sealed about them
/// is what the server has. Returns how many events the server has.
fn assert_mirrored(
    from: &Site,
    to: &Site,
    leaves: u64,
    is_refused: impl Fn(&Envelope) -> bool,
) -> usize {
    let (from_folder, from, to) =
        (from.data_dir(), house::open(&from.data_dir()), house::open(&to.data_dir()));
    let arrived: Vec<&Envelope> =
        to.envelopes.iter().filter(|it| it.event.token.as_deref() == Some(MIRROR)).collect();
    let numbered = || from.envelopes.iter().zip(0_u64..);
    let expected: Vec<(u64, Value)> = numbered()
        .filter(|(envelope, _)| !is_refused(envelope))
        .filter_map(|(envelope, leaf)| Some((leaf, sent(envelope)?)))
        .collect();
    for (arrived, (leaf, expected)) in arrived.iter().zip(&expected) {
        assert_eq!(&serde_json::to_value(&arrived.event).unwrap(), expected, "leaf {leaf}");
    }
    let due = expected.iter().filter(|(leaf, _)| *leaf < leaves).count();
    assert!((due..=expected.len()).contains(&arrived.len()), "{due}, {}", arrived.len());

    let (mut hashes, mut cursor) = (Vec::new(), 0);
    for (envelope, _) in numbered() {
        let Some(action @ (action::MIRRORED | action::MIRROR_REFUSED)) =
            envelope.event.action.as_deref()
        else {
            continue;
        };
        let detail = envelope.event.sealwire.as_ref().unwrap();
        let ranges: LeafRanges = detail.mirrored.as_ref().unwrap().parse().unwrap();
        assert!(ranges.leaves().next() >= Some(cursor), "{envelope:?}");
        cursor = detail.mirrored_to.unwrap();
        assert!(ranges.end() <= cursor);
        if action == action::MIRROR_REFUSED {
            let leaf = usize::try_from(ranges.leaves().next().unwrap()).unwrap();
            assert!(is_refused(&from.envelopes[leaf]), "{envelope:?}");
            continue;
        }
        let first = ranges.leaves().next().unwrap();
        let file = format!("mirror/{:06}/{first:012}.json.zst", first / 1_000_000);
        let file = std::fs::read(from_folder.join(file)).unwrap();
        let answers = detail.answers.as_deref().unwrap();
        assert_eq!(answers, hex::encode(Hash::sha256(&file).as_bytes()), "{first}");
        let json = zstd::bulk::decompress(&file, 64 << 20).unwrap();
        let answers: Value = serde_json::from_slice(&json).unwrap();
        let shown = answers["events"].as_array().unwrap();
        assert!(shown.iter().map(|it| it["leaf"].as_u64().unwrap()).eq(ranges.leaves()));
        for shown in shown {
            let hash = shown["hash"].as_str().unwrap();
            let root = detail.cloud_root.as_deref().unwrap();
            assert_eq!((shown["root"].as_str(), shown.get("altered")), (Some(root), None));
            let bytes = hex::decode(hash).unwrap().try_into().unwrap();
            let proof = shown["membership_proof"].as_str().unwrap_or_default();
            let reached = fold(Hash::from_bytes(bytes), proof).unwrap();
            assert_eq!(hex::encode(reached.as_bytes()), root);
            hashes.push(hash.to_owned());
        }
    }
    // What was sealed is of what the server has, all of it up to the end that nobody answered for.
    let own = arrived.iter().map(|it| hex::encode(Hash::sha256(&it.canonical()).as_bytes()));
    assert!(own.take(hashes.len()).eq(hashes.iter().cloned()));
    assert!(hashes.len() >= due, "{} of {due}", hashes.len());
    arrived.len()
}

/// The token is in its own file, and in no log, metric or answer.
fn assert_token_is_nowhere(site: &Site) {
    let folder = site.data_dir();
    let token = std::fs::read_to_string(folder.with_file_name("mirror-token")).unwrap();
    let host = site.addresses.log.strip_prefix("http://").unwrap();
    let mut said = vec![
        site.output(),
        site.get_log("/metrics", host).1,
        site.get("/api/mirror").1.to_string(),
        site.get("/api/site").1.to_string(),
    ];
    for log in ["wash/wash-host.log", "hosts/nats-server.log", "hosts/nats-server.conf"] {
        said.push(String::from_utf8_lossy(&std::fs::read(folder.join(log)).unwrap()).into_owned());
    }
    for said in said {
        assert!(!said.is_empty() && !said.contains(token.trim()), "{said}");
    }
}

fn is_of_the_log(envelope: &Envelope) -> bool {
    let action = envelope.event.action.as_deref();
    action.is_some_and(|action| action::OF_THE_LOG.contains(&action))
}

#[test]
fn a_log_is_mirrored_to_another_machine_whatever_is_cut_or_killed() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let (folder, other_folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let there = elsewhere.there.as_str();
    let ca = elsewhere.certify(&other_folder.path().join("data"), &[there]);
    let mut server = Site::start_by(
        &["ip", "netns", "exec", &elsewhere.name],
        other_folder,
        &["--log-listen", there],
    );
    let url = format!("https://{there}:{}", port(&server.addresses.log));
    let mut options = options(&server, &url, folder.path());
    options.extend(["--simulate", "5", "--mirror-ca", &ca].map(String::from));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut site = Site::start_in(folder, &options);
    wait_until_mirrored(&site);
    assert_eq!(site.get("/api/site").1["mirrored"], true);
    let search = json!({ "query": "action:SENSOR_DISCOVERED", "limit": 3 });
    let (status, found) = site.post("/api/mirror/search", &search.to_string());
    assert_eq!((status, &found["count"]), (200, &json!(5)), "{found}");
    let events = found["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "{found}");
    for event in events {
        assert_eq!(event["proved"], true, "{event}");
        assert_eq!(event["envelope"]["event"]["action"], "SENSOR_DISCOVERED", "{event}");
    }

    // The line is cut, and so is everything that was under way.
    let link = |state: &str| {
        let words = ["link", "set", &format!("{}a", elsewhere.name), state];
        assert!(Command::new("ip").args(words).status().unwrap().success());
    };
    link("down");
    until("the mirror says that it is stuck", || {
        metric(&site, "sealwire_mirror_stuck").filter(|stuck| *stuck == 1)
    });
    let before = metric(&site, "sealwire_leaves").unwrap();
    until("the site seals on", || {
        metric(&site, "sealwire_leaves").filter(|leaves| *leaves > before + 20)
    });
    link("up");
    wait_until_mirrored(&site);

    for _ in 0..2 {
        site.kill();
        site.start_again();
        wait_until_mirrored(&site);
        server.kill();
        site.kill_engine("wash");
        server.start_again();
        wait_until_mirrored(&site);
    }
    let leaves = wait_until_mirrored(&site);
    the_official_sdks_verify_what_arrived(&elsewhere, &url, &ca, &site);
    site.stop();
    server.stop();
    let arrived = assert_mirrored(&site, &server, leaves, is_of_the_log);
    assert!(arrived > 50, "{arrived}");
}

fn the_official_sdks_verify_what_arrived(elsewhere: &Elsewhere, url: &str, ca: &str, site: &Site) {
    let token = site.data_dir().with_file_name("mirror-token");
    let token = std::fs::read_to_string(token).unwrap();
    for (program, script, believes) in [
        (python().as_str(), "mirrored.py", "REQUESTS_CA_BUNDLE"),
        ("node", "node/mirrored.mjs", "NODE_EXTRA_CA_CERTS"),
    ] {
        let script = scripts().join(script);
        let words = [program, script.to_str().unwrap(), url, token.trim(), "50"];
        let said = elsewhere.command(&words).env(believes, ca).output().unwrap();
        assert!(said.status.success(), "{program}: {}", String::from_utf8_lossy(&said.stderr));
    }
}

/// What a bad server does with a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It passes it on, and the answer back.
    Passed,
    /// It passes it on, and sends half of the answer.
    HalfAnswered,
    /// It passes it on and says nothing.
    Unanswered,
    Overloaded,
    Broken,
}

/// A server in front of a site that spoils most of what passes. It takes no event with the word
/// `poison`, and does not say which one it means.
struct BadServer {
    url: String,
    requests: Arc<AtomicUsize>,
    _stop: Stop,
}

/// Ends the thread that accepts connections.
struct Stop(std::net::SocketAddr, Arc<Mutex<bool>>);

impl Drop for Stop {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = true;
        let _woken = TcpStream::connect(self.0);
    }
}

impl BadServer {
    fn start(address: &str, behind: u16) -> Self {
        const FATES: [Fate; 9] = [
            Fate::Overloaded,
            Fate::Broken,
            Fate::HalfAnswered,
            Fate::Passed,
            Fate::Unanswered,
            Fate::Passed,
            Fate::HalfAnswered,
            Fate::Passed,
            Fate::Passed,
        ];
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(false)));
        let (counted, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if *stopped.lock().unwrap() {
                    return;
                }
                let fate = FATES[counted.fetch_add(1, Ordering::Relaxed) % FATES.len()];
                // A client that goes away is no fault of this server's.
                let _gone = serve(&stream.unwrap(), fate, behind);
            }
        });
        Self { url: format!("http://{address}"), requests, _stop: Stop(address, stop) }
    }
}

/// Answers one request and closes the connection.
fn serve(stream: &TcpStream, fate: Fate, behind: u16) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let begin = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
        let line = head[begin..].to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        if line.starts_with("host:") {
            head.truncate(begin);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let refuse = |status: &str, headers: &str, body: &Value| {
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n"
        );
        let mut stream = stream;
        stream.write_all(format!("{head}{body}").as_bytes())
    };
    if String::from_utf8_lossy(&body).contains("poison") {
        let answer = json!({"status": "ValidationError", "summary": "it is not to my taste"});
        return refuse("400 Bad Request", "", &answer);
    }
    match fate {
        Fate::Overloaded => {
            let answer = json!({"status": "TooManyRequests"});
            return refuse("429 Too Many Requests", "retry-after: 1\r\n", &answer);
        }
        Fate::Broken => return refuse("500 Internal Server Error", "", &json!("broken")),
        Fate::Passed | Fate::HalfAnswered | Fate::Unanswered => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", behind))?;
    let head = head.trim_end();
    let head = format!("{head}\r\nhost: localhost:{behind}\r\nconnection: close\r\n\r\n");
    server.write_all(head.as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let mut stream = stream;
    match fate {
        Fate::Unanswered => Ok(()),
        Fate::HalfAnswered => stream.write_all(&answer[..answer.len() / 2]),
        _ => stream.write_all(&answer),
    }
}

#[test]
fn a_server_that_refuses_breaks_and_answers_by_halves_has_everything_once() {
    let elsewhere = match Elsewhere::new() {
        Ok(elsewhere) => elsewhere,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let mut server = Site::start(&[]);
    let bad = BadServer::start(&elsewhere.here, port(&server.addresses.log));
    let folder = TempDir::new().unwrap();
    let mut options = options(&server, &bad.url, folder.path());
    options.extend(["--simulate", "3"].map(String::from));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut site = Site::start_in(folder, &options);
    {
        let program = Client::new(&site, "scada", "write");
        for round in 0..30 {
            let word = if round % 7 == 3 { "poison" } else { "water" };
            let events: Vec<Value> = (0..40)
                .map(|at| match (at, word) {
                    (17, word) => json!({"event": {"message": format!("{round} {word}")}}),
                    _ => json!({"event": {"message": format!("{round} {at}"), "actor": "scada"}}),
                })
                .collect();
            program.ask("/v2/log", &json!({ "events": events }));
        }
    }
    let began = Instant::now();
    while bad.requests.load(Ordering::Relaxed) < 20 && began.elapsed() < Duration::from_secs(60) {
        pause();
    }
    site.kill();
    site.start_again();
    let leaves = wait_until_mirrored(&site);
    assert_token_is_nowhere(&site);
    let (_, shown) = site.get("/api/mirror");
    assert_eq!((&shown["server"], &shown["parked"]), (&json!(bad.url), &json!(1 + 4)), "{shown}");
    assert!(shown["newest_parked"][0]["reason"].as_str().unwrap().contains("not to my taste"));
    // The genesis entry, which the server does not take from a program, and four poisoned events.
    assert_eq!(metric(&site, "sealwire_mirror_parked_leaves"), Some(1 + 4));
    site.stop();
    server.stop();
    let is_poison = |envelope: &Envelope| envelope.event.message.ends_with("poison");
    let arrived = assert_mirrored(&site, &server, leaves, |envelope| {
        is_of_the_log(envelope) || is_poison(envelope)
    });
    assert!(arrived > 30 * 40, "{arrived}");
    let kept = house::open(&site.data_dir());
    let reason = kept
        .envelopes
        .iter()
        .find(|it| {
            it.event.action.as_deref() == Some(action::MIRROR_REFUSED)
                && it.event.message.contains("not to my taste")
        })
        .unwrap();
    assert!(reason.event.message.contains(&bad.url), "{reason:?}");
}
