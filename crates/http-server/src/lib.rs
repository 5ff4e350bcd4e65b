//! An HTTP server that limits everything a client can make it hold: connections, heads, bodies, and
//! the time for each.
//!
//! A client for which there is no room gets an answer that explains this, and always receives all
//! of it: see [`lingering`].

mod answers;
mod deadline;
mod handshakes;
mod lingering;
mod memory;
mod names;
mod problem;

pub use answers::{AnswerRoom, Answers};
pub use memory::{Memory, PERMIT_BYTES, ROOM_TIMEOUT};
pub use names::{MACHINE_NAMES, is_this_machine, is_under};
pub use problem::problem;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, Request},
    middleware::map_request,
    response::Response,
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tracing::{debug, warn};

use self::{
    deadline::Deadline,
    handshakes::{HANDSHAKES_MAX, Handshakes},
    lingering::Lingering,
};

/// How many connections a port has at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Connections that are served.
    pub connections: usize,
    /// Connections that receive the refusal [`NO_ROOM`]. While this many exist, the server accepts
    /// no other. Each lasts until its client has read the answer and closed, or was silent for 200
    /// ms. With the number in [`Places::MANY`], ten thousand clients that do not close are all
    /// answered within two seconds.
    pub refusals: usize,
}

impl Places {
    /// For a port that many programs use: four times the connections that the live feed takes.
    pub const MANY: Self = Self { connections: 1_024, refusals: 1_024 };

    /// Most files that a port without TLS has open: its connections, the one that waits for a
    /// place, and the listener.
    #[must_use]
    pub const fn plain_files_max(self) -> u64 {
        (self.connections + self.refusals + 2) as u64
    }

    /// Most files that a port has open: also handshakes, with the one for which another gives way.
    #[must_use]
    pub const fn files_max(self) -> u64 {
        self.plain_files_max() + (HANDSHAKES_MAX + 1) as u64
    }
}

/// Where clients connect.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// A port on which everything is encrypted.
    pub fn with_tls(tcp: TcpListener, tls: Arc<ServerConfig>) -> Self {
        Self { tcp, tls: Some(tls.into()) }
    }
}

impl From<TcpListener> for Listener {
    /// A port without encryption.
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_tls = self.tls.is_some();
        formatter.debug_struct("Listener").field("tcp", &self.tcp).field("tls", &is_tls).finish()
    }
}

/// The client of a request, which the request carries as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Address of the client.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
}

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Time for a request's head, and for the next one on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time between two parts of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a whole body of at most [`BODY_BYTES_MAX`], and for each part of this size of a larger
/// one, whatever the service does with it. Services with a narrower bound set a shorter time:
/// Pangea's API allows a minute for 16 MiB.
const WHOLE_BODY_TIMEOUT: Duration = Duration::from_secs(90);
/// Largest body in bytes, unless a service reads its bodies piece by piece. The longest order to
/// erase is a tenth of this.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Time in which a client must take a further part of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before the next `accept` when the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The refusal for a client for which there is no room.
pub const NO_ROOM: &str = "the server has its maximum number of connections: try again shortly";

/// Serves until `shutdown`, then completes the answers under way. `no_room` returns [`NO_ROOM`] in
/// the form that the port's clients read.
pub async fn serve(
    places: Places,
    listener: impl Into<Listener>,
    router: Router,
    no_room: fn() -> Response,
    shutdown: CancellationToken,
) {
    let Listener { tcp, tls } = listener.into();
    let router = router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_request(async |request: Request| {
            request.map(|body| Body::new(Deadline::new(body, BODY_BYTES_MAX, WHOLE_BODY_TIMEOUT)))
        }))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT));
    let port = Port { room: Room::new(places), router, no_room, shutdown };
    let handshakes = Handshakes::default();
    let mut connections = JoinSet::new();
    while let Some(accepted) = port.shutdown.run_until_cancelled(tcp.accept()).await {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small and written whole, so Nagle's algorithm would only delay them.
        let _as_it_is = stream.set_nodelay(true);
        let stream = Lingering::new(stream, port.shutdown.clone());
        let peer = Peer { address, is_encrypted: tls.is_some() };
        let port = port.clone();
        match tls.clone() {
            Some(tls) => {
                let handshake = handshakes.begin(address.ip());
                connections.spawn(async move {
                    let step = port.shutdown.run_until_cancelled(async {
                        let stream = handshake.step(tls.accept(stream)).await?.ok()?;
                        Some((stream, handshake.step(port.room.place()).await?))
                    });
                    let Some(Some((stream, place))) = step.await else { return };
                    drop(handshake);
                    port.hold(place, stream, peer).await;
                });
            }
            None => {
                let place = port.shutdown.run_until_cancelled(port.room.place()).await;
                let Some(place) = place else { break };
                connections.spawn(port.hold(place, stream, peer));
            }
        }
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
}

/// What every connection of a port needs.
#[derive(Clone)]
struct Port {
    room: Room,
    router: Router,
    no_room: fn() -> Response,
    shutdown: CancellationToken,
}

impl Port {
    async fn hold<S>(self, place: Place, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match place {
            Place::Served(permit) => {
                connection(stream, peer, self.router, self.shutdown).await;
                drop(permit);
            }
            Place::Refused(permit) => {
                // If the client has gone, nobody needs the refusal.
                let _unheard = refuse(stream, (self.no_room)()).await;
                drop(permit);
            }
        }
    }
}

/// The free places of a port.
#[derive(Clone)]
struct Room {
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// The place of a connection.
enum Place {
    Served(OwnedSemaphorePermit),
    Refused(OwnedSemaphorePermit),
}

impl Room {
    fn new(Places { connections, refusals }: Places) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { connections: places(connections), refusals: places(refusals) }
    }

    /// Waits for a place. The connection is refused only if no other place is free.
    async fn place(&self) -> Place {
        let never = "nobody closes the semaphore";
        tokio::select! {
            biased;
            permit = Arc::clone(&self.connections).acquire_owned() => Place::Served(permit.expect(never)),
            permit = Arc::clone(&self.refusals).acquire_owned() => Place::Refused(permit.expect(never)),
        }
    }
}

async fn connection<S>(stream: S, peer: Peer, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(ANSWER_TIMEOUT));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

/// Answers before the client has sent a request, whatever it would be, and closes.
async fn refuse(mut stream: impl AsyncWrite + Unpin, answer: Response) -> io::Result<()> {
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let length = body.len();
    bytes.extend(format!("content-length: {length}\r\nconnection: close\r\n\r\n").as_bytes());
    bytes.extend(body);
    // The answer fits the socket's empty buffer, so this waits for no client.
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// Whether the error concerns only this connection, which its client gave up before we accepted it.
/// The server may then accept the next one at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{
        http::StatusCode,
        response::IntoResponse as _,
        routing::{get, post},
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::Instant,
    };

    use super::{lingering::SILENCE, *};

    /// Places of the server under test.
    const CONNECTIONS: usize = 3;
    const REFUSALS: usize = 2;

    async fn start() -> (SocketAddr, JoinSet<()>, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/large", get(|| async { "x".repeat(LARGE) }))
            .route("/body", post(|body: String| async move { body.len().to_string() }));
        let shutdown = CancellationToken::new();
        let no_room = || (StatusCode::SERVICE_UNAVAILABLE, NO_ROOM).into_response();
        let places = Places { connections: CONNECTIONS, refusals: REFUSALS };
        let mut serving = JoinSet::new();
        serving.spawn(serve(places, listener, router, no_room, shutdown.clone()));
        (address, serving, shutdown)
    }

    async fn connect(address: SocketAddr) -> TcpStream {
        TcpStream::connect(address).await.unwrap()
    }

    async fn ask(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(stream).await
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[track_caller]
    fn assert_says_that_there_is_no_room(refusal: &str) {
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refusal}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{refusal}");
        assert_eq!(body, NO_ROOM);
    }

    fn post_of(bytes: usize) -> String {
        let body = "x".repeat(bytes);
        format!(
            "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n{body}"
        )
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    /// More bytes than the kernel buffers before the server reads.
    const LARGE: usize = 16 << 20;

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_and_room_comes_back() {
        let (address, mut serving, shutdown) = start().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(connect(address).await);
        }
        for request in ["", GET] {
            assert_says_that_there_is_no_room(&ask(&mut connect(address).await, request).await);
        }
        // A client that already holds a connection is still answered.
        assert!(ask(held.last_mut().unwrap(), GET).await.starts_with("HTTP/1.1 200 "));
        drop(held);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ask(&mut connect(address).await, GET).await.contains("here") {
            assert!(Instant::now() < deadline, "room never came back");
        }
        shutdown.cancel();
        serving.join_next().await.unwrap().unwrap();
    }

    /// The server reads for some seconds at most, so this client must be as fast as most are.
    #[tokio::test]
    async fn who_sends_much_before_it_reads_is_told_so_too() {
        let (address, _serving, _shutdown) = start().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            held.push(connect(address).await);
        }
        let refusal = ask(&mut connect(address).await, &post_of(LARGE)).await;
        assert_says_that_there_is_no_room(&refusal);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_after_a_refusal_keeps_others_waiting_for_a_moment_only() {
        let (address, mut serving, shutdown) = start().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS + REFUSALS {
            held.push(connect(address).await);
        }
        let begin = Instant::now();
        assert_says_that_there_is_no_room(&answer(&mut connect(address).await).await);
        assert!((SILENCE..HEAD_TIMEOUT).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        let begin = Instant::now();
        held.push(connect(address).await);
        shutdown.cancel();
        serving.join_next().await.unwrap().unwrap();
        assert!(begin.elapsed() < SILENCE, "the server lingers when it stops");
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused() {
        let (address, _serving, _shutdown) = start().await;
        // The limit applies to a buffer that grows in steps, so the server meets it somewhat later.
        let head =
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        let refusal = ask(&mut connect(address).await, &head).await;
        assert!(refusal.starts_with("HTTP/1.1 431 "), "{refusal}");
        // A client that sends everything before it reads gets the answer too.
        for (bytes, status) in
            [(BODY_BYTES_MAX, "200"), (BODY_BYTES_MAX + 1, "413"), (LARGE, "413")]
        {
            let answer = ask(&mut connect(address).await, &post_of(bytes)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_the_answer_is_let_go() {
        let (address, mut serving, shutdown) = start().await;
        let begin = Instant::now();
        let mut stream = connect(address).await;
        stream.write_all(GET.replace("/ ", "/large ").as_bytes()).await.unwrap();
        stream.peek(&mut [0]).await.unwrap();
        shutdown.cancel();
        serving.join_next().await.unwrap().unwrap();
        assert!(begin.elapsed() >= ANSWER_TIMEOUT, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_too_slow_is_let_go() {
        let (address, _serving, _shutdown) = start().await;
        let begin = Instant::now();
        ask(&mut connect(address).await, "GET / HTTP/1.1\r\nhost: x\r\n").await;
        assert!(begin.elapsed() >= HEAD_TIMEOUT, "{:?}", begin.elapsed());
        let head =
            "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\nslow";
        let refusal = ask(&mut connect(address).await, head).await;
        assert!(refusal.starts_with("HTTP/1.1 4"), "{refusal}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_is_let_go_too() {
        let (address, _serving, _shutdown) = start().await;
        let begin = Instant::now();
        let mut stream = connect(address).await;
        let length = BODY_BYTES_MAX;
        let head = format!(
            "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        let trickle = async {
            // Each pause is short enough, but the body never ends.
            while writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(BODY_TIMEOUT / 2).await;
            }
            std::future::pending::<()>().await;
        };
        let mut refusal = String::new();
        tokio::select! {
            read = reading.read_to_string(&mut refusal) => drop(read.unwrap()),
            () = trickle => unreachable!("it goes on for as long as it is let"),
        }
        assert!(refusal.starts_with("HTTP/1.1 4"), "{refusal}");
        let elapsed = begin.elapsed();
        assert!((WHOLE_BODY_TIMEOUT..WHOLE_BODY_TIMEOUT * 2).contains(&elapsed), "{elapsed:?}");
    }
}
