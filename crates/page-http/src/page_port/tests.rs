//! The page's port in front of a test host: which requests reach the host, and what clients
//! receive.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    http::{Method, request::Parts},
    response::IntoResponse as _,
};
use ledger::{Ledger, Writer};
use log_http::{LiveFeed, PublicLog, log_path};
use services::applications::Desk;
use tempfile::TempDir;
use tlog::{KeyName, Signer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};

use super::*;
use crate::{body::BODY_TIMEOUT, host::WorkloadName};

/// Records what the test host receives, and controls it.
#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    /// Calls in progress: the present number and the maximum.
    open: watch::Sender<usize>,
    most: AtomicUsize,
    heads: Mutex<Vec<Parts>>,
    /// Lets a call to `/slow` finish.
    go: Notify,
}

struct Port {
    address: SocketAddr,
    log_path: String,
    seen: Arc<Seen>,
    name: WorkloadName,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    _writer: Writer,
    _folder: TempDir,
}

/// Counts a call while it is in progress.
struct Open<'a>(&'a Seen);

impl<'a> Open<'a> {
    fn of(seen: &'a Seen) -> Self {
        seen.calls.fetch_add(1, Ordering::Relaxed);
        seen.open.send_modify(|open| *open += 1);
        seen.most.fetch_max(*seen.open.borrow(), Ordering::Relaxed);
        Self(seen)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

async fn host_answers(State(seen): State<Arc<Seen>>, request: Request) -> Response {
    let _open = Open::of(&seen);
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    seen.heads.lock().unwrap().push(head);
    let answer = |status: u16, body: Body| {
        let answer = Response::builder().status(status).header("content-type", "text/plain");
        answer.header("connection", "x-hop").header("x-hop", "1").body(body).unwrap()
    };
    match path.as_str() {
        "/slow" => {
            seen.go.notified().await;
            answer(200, "at last".into())
        }
        "/large" => answer(200, vec![b'x'; LARGE].into()),
        "/of-the-host" => StatusCode::NOT_FOUND.into_response(),
        "/trap" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "/echo" => answer(200, body),
        _ => answer(200, "here".into()),
    }
}

/// Larger than what the kernel buffers while the port does not read.
const LARGE: usize = 15 << 20;

impl Port {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::from_seed(KeyName::parse("plant").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(&folder.path().join("ledger"), signer).unwrap();
        let (seen, shutdown, mut tasks) =
            (Arc::new(Seen::default()), CancellationToken::new(), JoinSet::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host_address = listener.local_addr().unwrap();
        let router = Router::new().fallback(host_answers).with_state(Arc::clone(&seen));
        tasks.spawn(async { axum::serve(listener, router).await.unwrap() });
        let name = WorkloadName::random();
        let log_path = log_path(ledger.log_id());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = access::ApiTokens::load(access::path_in(folder.path())).unwrap();
        let (desk, _waiting) = Desk::new(ledger.clone(), tokens.clone(), String::new());
        let page = PagePort {
            listener: listener.into(),
            entrance: None,
            live: LiveFeed::new(ledger.clone(), shutdown.clone()).for_anyone(),
            log_path: log_path.clone(),
            log: PublicLog { ledger, witnessed: None }.router(),
            polling: Router::new(),
            events: Events::new(desk, tokens),
            host: Host::new(host_address, name.clone()),
            names: Vec::new(),
            served: None,
        };
        let serving = page.run(shutdown.clone());
        tasks.spawn(async { serving.await.unwrap() });
        Self { address, log_path, seen, name, shutdown, tasks, _writer: writer, _folder: folder }
    }

    /// Sends a request without changes.
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, line: &str, headers: &str) -> String {
        let request =
            format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        answer(&mut self.send(&request).await).await
    }

    fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::Relaxed)
    }

    async fn until_open(&self, calls: usize) {
        let mut open = self.seen.open.subscribe();
        open.wait_for(|open| *open == calls).await.unwrap();
    }
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What comes after the head of an answer.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("an answer has a head").1
}

#[track_caller]
fn assert_says(answer: &str, status: u16, words: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:.300}");
    assert!(answer.contains("application/problem+json"), "{answer:.300}");
    assert!(answer.contains(words), "{answer:.600}");
}

#[tokio::test]
async fn a_request_is_taken_whole_before_the_host_hears_of_it() {
    let port = Port::start().await;
    let host = "host: localhost\r\nconnection: close";
    let too_large = BODY_BYTES_MAX + 1;
    let chunk = format!("{too_large:x}\r\n{}\r\n", "x".repeat(too_large));
    let unfinished = [
        format!("POST /echo HTTP/1.1\r\n{host}\r\ncontent-length: 100\r\n\r\nx"),
        format!("POST /echo HTTP/1.1\r\n{host}\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"),
        // Components read no body of these requests, but would stay as long.
        format!("GET / HTTP/1.1\r\n{host}\r\ncontent-length: 100\r\n\r\nx"),
        format!("PUT /x HTTP/1.1\r\n{host}\r\ntransfer-encoding: chunked\r\n\r\n"),
    ];
    let mut held = Vec::new();
    for request in unfinished.iter().cycle().take(4 * host::CALLS_MAX) {
        held.push(port.send(request).await);
    }
    for too_large in [
        format!("POST /echo HTTP/1.1\r\n{host}\r\ncontent-length: {too_large}\r\n\r\n"),
        format!("POST /echo HTTP/1.1\r\n{host}\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"),
    ] {
        assert_says(&answer(&mut port.send(&too_large).await).await, 413, "65536 bytes");
    }
    assert_eq!(port.calls(), 0, "the host heard of an unfinished request");
    // Other clients are answered as usual.
    let body = "x".repeat(BODY_BYTES_MAX);
    let whole =
        format!("POST /echo HTTP/1.1\r\n{host}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    assert!(answer(&mut port.send(&whole).await).await.ends_with(&body));
    assert_eq!(port.calls(), 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let port = Port::start().await;
    let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let begin = Instant::now();
    let slow = answer(&mut port.send(&format!("{head}content-length: 9\r\n\r\nslow")).await).await;
    assert!(begin.elapsed() >= BODY_TIMEOUT, "{:?}", begin.elapsed());
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");

    // Single bytes from time to time do not keep the port waiting either.
    let begin = Instant::now();
    let mut stream = port.send(&format!("{head}content-length: 1000\r\n\r\n")).await;
    let (mut reading, mut writing) = stream.split();
    let trickle = async {
        while writing.write_all(b"x").await.is_ok() {
            sleep(BODY_TIMEOUT / 4).await;
        }
        std::future::pending::<()>().await;
    };
    let mut slow = String::new();
    tokio::select! {
        read = reading.read_to_string(&mut slow) => drop(read.unwrap()),
        () = trickle => unreachable!("it goes on for as long as it is let"),
    }
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    let elapsed = begin.elapsed();
    assert!((BODY_TIMEOUT..BODY_TIMEOUT * 2).contains(&elapsed), "{elapsed:?}");
    assert_eq!(port.calls(), 0);
}

#[tokio::test]
async fn whoever_asks_and_hangs_up_takes_no_more_places_than_whoever_waits() {
    let mut port = Port::start().await;
    let request = "GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for round in 1..=2 {
        let mut asked = Vec::new();
        for _ in 0..host::CALLS_MAX {
            asked.push(port.send(request).await);
        }
        port.until_open(host::CALLS_MAX).await;
        drop(asked);
        if round == 2 {
            // The host still works on their requests, so other clients find no place.
            let refused = port.ask("GET /", "").await;
            assert_says(&refused, 503, "maximum of");
        }
        assert_eq!(port.calls(), round * host::CALLS_MAX);
        port.seen.go.notify_waiters();
        port.until_open(0).await;
    }
    assert_eq!(port.seen.most.load(Ordering::Relaxed), host::CALLS_MAX);
    assert!(port.ask("GET /", "").await.ends_with("here"));
    // The port stops once all calls have ended.
    port.shutdown.cancel();
    port.tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn whoever_does_not_take_the_answer_holds_memory_and_no_place() {
    let port = Port::start().await;
    let request = "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut held = Vec::new();
    // As many as there is memory for.
    for _ in 0..4 {
        let stream = port.send(request).await;
        stream.peek(&mut [0]).await.unwrap();
        held.push(stream);
    }
    port.until_open(0).await;
    assert_says(&port.ask("GET /large", "").await, 503, "reading their answers slowly");
    // Small answers need none of this memory.
    assert!(port.ask("GET /", "").await.ends_with("here"));
    drop(held);
    let mut large = port.ask("GET /large", "").await;
    while large.starts_with("HTTP/1.1 503 ") {
        large = port.ask("GET /large", "").await;
    }
    assert!(large.len() > LARGE);
}

#[tokio::test]
async fn a_host_that_cannot_answer_is_said_to() {
    let mut port = Port::start().await;
    assert_says(&port.ask("GET /of-the-host", "").await, 503, "are not running yet");
    assert_says(&port.ask("GET /trap", "").await, 502, "failed");
    assert_says(&port.ask("GET /slow", "").await, 504, "within 10 s");
    port.until_open(0).await;
    port.tasks.abort_all();
    while port.tasks.join_next().await.is_some() {}
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let host = Host::new(nobody, WorkloadName::random());
    let (head, ()) = Request::builder().uri("/").body(()).unwrap().into_parts();
    let away = host.call(&head, Bytes::new()).await.unwrap_err();
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn nothing_reaches_the_components_but_what_they_read() {
    let port = Port::start().await;
    let headers = "cookie: session=1\r\nauthorization: Bearer secret\r\nif-none-match: \"a\"\r\n\
                   content-type: text/plain\r\nx-forwarded-for: 1.2.3.4\r\ntraceparent: 00-1-2-3\r\n\
                   connection: x-own\r\nx-own: 1\r\n";
    let answered = port.ask("GET /a?b=c%20d", headers).await;
    let (method, uri, told) = {
        let heads = port.seen.heads.lock().unwrap();
        let Parts { method, uri, headers, .. } = heads.last().unwrap().clone();
        (method, uri, headers)
    };
    assert_eq!((method, uri.to_string().as_str()), (Method::GET, "/a?b=c%20d"));
    let mut names: Vec<_> = told.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "host", "if-none-match"]);
    // Requests to the host carry a secret name.
    assert_eq!(told["host"], port.name.as_str());
    assert!(!format!("{:?}", port.name).contains(port.name.as_str()));
    // Hop-by-hop headers of the host's answer are removed.
    assert!(!answered.contains("x-hop") && answered.contains("content-type: text/plain"));
}

#[tokio::test]
async fn strangers_are_turned_away_before_the_host_hears_of_them() {
    let port = Port::start().await;
    let rebound = "GET /api/site HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let refusal = answer(&mut port.send(rebound).await).await;
    assert_says(&refusal, 421, "--page-host evil.example");
    for line in ["GET /live", "GET /api/site", "GET /log/checkpoint", "POST /api/logs"] {
        let refusal = port.ask(line, "sec-fetch-site: cross-site\r\n").await;
        assert_says(&refusal, 403, "another web site");
        let refusal = port.ask(line, "origin: http://localhost:3000\r\n").await;
        assert_says(&refusal, 403, "another web site");
    }
    assert_eq!(port.calls(), 0);
}

#[tokio::test]
async fn feed_and_log_are_on_the_pages_own_origin_without_a_token() {
    let port = Port::start().await;
    let mut feed = port.send("GET /live?from=0 HTTP/1.1\r\nhost: localhost:9000\r\n\r\n").await;
    let mut begin = String::new();
    while !begin.contains("LOG_CREATED") {
        let mut bytes = [0; 4_096];
        let read = feed.read(&mut bytes).await.unwrap();
        assert!(read > 0, "the feed ended: {begin}");
        begin.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    assert!(begin.contains("text/event-stream") && begin.contains("x-accel-buffering: no"));
    assert_says(&port.ask("GET /live?from=x", "").await, 400, "`from`");
    let vkey = port.ask("GET /log/vkey", "").await;
    assert!(vkey.starts_with("HTTP/1.1 200 ") && vkey.contains("plant+"), "{vkey}");
    assert_says(&port.ask("GET /log/envelopes", "").await, 404, "/log/checkpoint");
    let (own, other) = (&port.log_path, format!("/logs/{}", "0".repeat(64)));
    assert_eq!(body(&port.ask(&format!("GET {own}/vkey"), "").await), body(&vkey));
    assert_says(&port.ask(&format!("GET {own}/live?from=x"), "").await, 400, "`from`");
    for path in ["vkey", "live", ""] {
        let refusal = port.ask(&format!("GET {other}/{path}"), "").await;
        assert_says(&refusal, 404, "no such log");
    }
    assert_eq!(port.calls(), 0);
    let Port { shutdown, mut tasks, .. } = port;
    // The feed ends when the site stops.
    shutdown.cancel();
    let ended = timeout(Duration::from_secs(60), tasks.join_next()).await;
    ended.expect("the port stops while a feed is open").unwrap().unwrap();
}
