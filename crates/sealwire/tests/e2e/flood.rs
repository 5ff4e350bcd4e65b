//! More clients than the log port accepts, and clients that keep it waiting. Every client is
//! answered, nothing else suffers, and memory stays limited.

use std::{io, net::SocketAddr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
    time::timeout,
};

use crate::{
    pangea::{Client, python, scripts},
    site::{DEADLINE, Follower, Memory, Site, pause, port, until},
};

/// Connections of the flood: ten times as many as the port accepts.
const FLOOD: usize = 10_000;
/// Connections that the port accepts at once. It refuses as many at once.
const TAKEN: usize = 1_024;
/// Connections of these that are left for others: the live feed, and connections that are just
/// ending.
const OTHERS: usize = 8;
/// Bytes of a head of nearly the maximum length.
const HEAD_BYTES: usize = 60 << 10;
/// Bytes of the largest body, and the memory that all bodies share.
const BODY_BYTES: usize = 16 << 20;
const BODIES_BYTES: usize = 32 << 20;
/// Usual limit on open files of a new process.
const USUAL_FILES: u64 = 1_024;

/// Allowed growth of the site's memory for connections: 32 KiB for each that is accepted or refused
/// at once.
const CONNECTIONS_BYTES_MAX: u64 = 2 * TAKEN as u64 * (32 << 10);
/// Allowed growth for bodies: each may be in a buffer of twice its length, and comes by an accepted
/// connection.
const BODIES_BYTES_MAX: u64 = CONNECTIONS_BYTES_MAX / 2 + 2 * BODIES_BYTES as u64;
/// Allowed growth for heads: 64 KiB for each accepted connection.
const HEADS_BYTES_MAX: u64 = CONNECTIONS_BYTES_MAX + TAKEN as u64 * (64 << 10);

#[test]
fn ten_thousand_clients_are_answered_and_memory_is_bounded() {
    allow_files(USUAL_FILES);
    let mut site = Site::start(&["--simulate", "4"]);
    allow_files(FLOOD as u64 + USUAL_FILES);
    let client = Client::new(&site, "flood", "write,read");
    let address = SocketAddr::from(([127, 0, 0, 1], port(&site.addresses.log)));
    let runtime = Runtime::new().unwrap();
    let log = || client.post("/v1/log", r#"{"event":{"message":"m"}}"#).0;

    let memory = site.memory();
    let answered = nobody_else_notices(&site, &client, address, &runtime);
    let count = |wanted: (u16, &str)| {
        answered.iter().filter(|(_, (status, word))| (*status, word.as_str()) == wanted).count()
    };
    let (served, refused) = (count((200, "Success")), count((503, "ServiceNotAvailable")));
    assert_eq!(served + refused, FLOOD, "everyone is answered");
    // There are more than fit at once only if all of this takes longer than a connection may be
    // idle.
    assert!((TAKEN - OTHERS..2 * TAKEN).contains(&served), "{served} are served");
    assert_grown_by(CONNECTIONS_BYTES_MAX, memory, &site);
    // The room that others left is used, too.
    let rest = runtime.block_on(connect_all(address, OTHERS, ""));
    client.run(&python(), &scripts().join("refused.py"), &[]);
    drop(rest);
    drop(answered);
    until("there is room again", || (log() == 200).then_some(()));

    let memory = site.memory();
    let large = head(&client, "/v2/log", BODY_BYTES);
    // A byte of the largest body, and then nothing.
    let slow = runtime.block_on(connect_all(address, TAKEN - OTHERS, &format!("{large}{{")));
    for _ in 0..10 {
        assert_eq!(log(), 200, "slow bodies keep others waiting");
    }
    drop(slow);
    let statuses = runtime.block_on(endless_bodies(address, &large));
    // Some found no memory. With the memory that they released, the others waited for the rest of
    // their bodies.
    assert!(statuses.contains(&503) && statuses.contains(&408), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 503 | 408)), "{statuses:?}");
    assert_eq!(log(), 200);
    assert_grown_by(BODIES_BYTES_MAX, memory, &site);

    let memory = site.memory();
    runtime.block_on(unfinished_heads(address));
    assert_grown_by(HEADS_BYTES_MAX, memory, &site);
    site.stop();
}

#[track_caller]
fn assert_grown_by(bytes_max: u64, before: Memory, site: &Site) {
    let grown = site.memory().peak_bytes - before.bytes;
    assert!(grown <= bytes_max, "memory grew by {grown} bytes from {before:?}");
}

/// Clients with a connection, the page and the sensors continue while the flood is answered.
fn nobody_else_notices(
    site: &Site,
    client: &Client<'_>,
    address: SocketAddr,
    runtime: &Runtime,
) -> Vec<(TcpStream, (u16, String))> {
    let follower = Follower::start(site);
    let request = format!("{}{{}}", head(client, "/v1/root", 2));
    let mut held = runtime.block_on(TcpStream::connect(address)).unwrap();
    follower.wait_for_more_values(1);
    let told = follower.seen().len();
    let flooding = runtime.spawn(flood(address, request.clone()));
    while !flooding.is_finished() {
        let (status, answer) = runtime.block_on(exchange(&mut held, &request)).unwrap();
        assert_eq!(status, 200, "{answer}");
        assert_eq!(site.get("/api/site").0, 200);
        assert!(site.open_files() <= usize::try_from(site::FILES_MAX).unwrap());
        pause();
    }
    until("sensors are read while everyone is there", || {
        (follower.seen().len() > told).then_some(())
    });
    runtime.block_on(flooding).unwrap()
}

/// Raises the limit on open files of this process, if it is lower. Tests run side by side, so none
/// may take away what another needs.
pub(crate) fn allow_at_least(files: u64) {
    if getrlimit(Resource::Nofile).current.is_some_and(|current| current < files) {
        allow_files(files);
    }
}

/// Raises or lowers the limit on open files of this process and of the processes that it starts.
fn allow_files(files: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(
        maximum.is_none_or(|maximum| maximum >= files),
        "this test needs {files} open files and may have {maximum:?}: raise the hard limit, `ulimit -Hn`"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
}

fn head(client: &Client<'_>, path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\n\r\n",
        client.token
    )
}

/// Every client connects, asks, is answered, and stays until all are answered.
async fn flood(address: SocketAddr, request: String) -> Vec<(TcpStream, (u16, String))> {
    let mut asking = JoinSet::new();
    for _ in 0..FLOOD {
        let request = request.clone();
        asking.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let (status, answer) = exchange(&mut stream, &request).await.unwrap();
            (stream, (status, answer["status"].as_str().unwrap().to_owned()))
        });
    }
    timeout(DEADLINE, asking.join_all()).await.expect("everyone is answered in time")
}

/// Asks, and reads one complete answer. The connection stays open.
async fn exchange(stream: &mut TcpStream, request: &str) -> io::Result<(u16, Value)> {
    stream.write_all(request.as_bytes()).await?;
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> io::Result<(u16, Value)> {
    let mut bytes = Vec::new();
    loop {
        let text = std::str::from_utf8(&bytes).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return Ok((head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap()));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// This many clients, each of which sends these bytes and no more.
async fn connect_all(address: SocketAddr, clients: usize, sent: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..clients {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// As many clients as are accepted send incomplete heads, and then the rest.
async fn unfinished_heads(address: SocketAddr) {
    let words = "x".repeat(HEAD_BYTES);
    let head = format!("GET /v1/root HTTP/1.1\r\nhost: localhost\r\nx-words: {words}");
    for stream in &mut connect_all(address, TAKEN - OTHERS, &head).await {
        let (status, answer) = exchange(stream, "\r\n\r\n").await.unwrap();
        assert_eq!((status, &answer["status"]), (405, &json!("MethodNotAllowed")), "{answer}");
    }
}

/// Clients send incomplete bodies of a mebibyte each, together three times as much as all bodies
/// may take. Returns the statuses of their answers.
async fn endless_bodies(address: SocketAddr, head: &str) -> Vec<u16> {
    const SENT_BYTES: usize = 1 << 20;
    let mut sending = JoinSet::new();
    for _ in 0..3 * BODIES_BYTES / SENT_BYTES {
        let request = format!("{head}{}", " ".repeat(SENT_BYTES));
        sending.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            exchange(&mut stream, &request).await.unwrap().0
        });
    }
    timeout(DEADLINE, sending.join_all()).await.expect("everyone is answered in time")
}
