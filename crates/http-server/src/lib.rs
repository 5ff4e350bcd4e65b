//! HTTP with a limit on everything a client can make us hold: connections, heads, bodies, and the time for each.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tracing::{debug, warn};

/// Connections at once: four times what the live feed takes.
const CONNECTIONS_MAX: usize = 1_024;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Time for a request's head, and for the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two parts of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a body: an order to erase in its longest form is a tenth of it.
const BODY_BYTES_MAX: usize = 256 << 10;
/// How long to wait before accepting again where the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a connection beyond the limit is told.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
    content-length: 137\r\nconnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"there are as many connections as are taken; try again later\"}\n";

/// Answers until `shutdown`; then answers under way are finished.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let router = router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            // It fits the socket's empty buffer; a client that has gone wants no answer.
            let _unheard = stream.try_write(NO_ROOM);
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, router, shutdown).await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // Answers are small and written whole.
    let _as_it_is = stream.set_nodelay(true);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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

/// Whether the next connection may be accepted at once: this one was given up before we took it.
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
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn start() -> (std::net::SocketAddr, JoinSet<()>, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/body", post(|body: String| async move { body.len().to_string() }));
        let shutdown = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, router, shutdown.clone()));
        (address, serving, shutdown)
    }

    async fn ask(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(stream).await
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        // A server that closes with bytes unread may reset the connection after its answer.
        let _reset = stream.read_to_string(&mut answer).await;
        answer
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_and_room_comes_back() {
        let (address, mut serving, shutdown) = start().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let refusal = answer(&mut TcpStream::connect(address).await.unwrap()).await;
        let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{refusal}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{refusal}");
        // Whoever holds a connection is answered all the same.
        assert!(ask(held.last_mut().unwrap(), GET).await.starts_with("HTTP/1.1 200 "));
        drop(held);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !ask(&mut TcpStream::connect(address).await.unwrap(), GET).await.contains("here") {
            assert!(tokio::time::Instant::now() < deadline, "room never came back");
        }
        shutdown.cancel();
        serving.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused() {
        let (address, _serving, _shutdown) = start().await;
        // The limit is on a buffer that grows in steps, so it is met somewhere behind it.
        let head =
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        let refusal = ask(&mut TcpStream::connect(address).await.unwrap(), &head).await;
        assert!(refusal.starts_with("HTTP/1.1 431 "), "{refusal}");
        let post = |bytes: usize| {
            let body = "x".repeat(bytes);
            format!(
                "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n{body}"
            )
        };
        for (bytes, status) in [(BODY_BYTES_MAX, "200"), (BODY_BYTES_MAX + 1, "413")] {
            let answer = ask(&mut TcpStream::connect(address).await.unwrap(), &post(bytes)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_too_slow_is_let_go() {
        let (address, _serving, _shutdown) = start().await;
        let begin = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n").await;
        assert!(begin.elapsed() >= HEAD_TIMEOUT, "{:?}", begin.elapsed());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head =
            "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\nslow";
        let refusal = ask(&mut stream, head).await;
        assert!(refusal.starts_with("HTTP/1.1 4"), "{refusal}");
    }
}
