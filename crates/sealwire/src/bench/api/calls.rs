//! Many clients that each make one call after the other over a connection of their own. They share
//! one task's thread, so that the load takes little of the machine.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

/// The calls of a number of clients.
#[derive(Debug)]
pub(super) struct Calls {
    /// How long each took, sorted.
    pub(super) times: Vec<Duration>,
    pub(super) elapsed: Duration,
}

impl Calls {
    pub(super) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Has clients make requests for some time, each one of them after the other and again. Each answer
/// must have this status.
pub(super) fn make(
    url: &str,
    requests: &[String],
    status: &'static str,
    (clients, window): (usize, Duration),
) -> Result<Calls> {
    let address = url.strip_prefix("http://").context("the URL is not one of ours")?.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asking = JoinSet::new();
        let begin = Instant::now();
        for client in 0..clients {
            let (address, requests) = (address.clone(), requests.to_owned());
            asking.spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let mut times = Vec::new();
                let mut answer = Vec::new();
                for request in requests.iter().cycle().skip(client) {
                    if begin.elapsed() >= window {
                        break;
                    }
                    let asked = Instant::now();
                    stream.write_all(request.as_bytes()).await?;
                    read_answer(&mut stream, &mut answer).await?;
                    times.push(asked.elapsed());
                    let expected = format!("HTTP/1.1 {status}");
                    ensure!(
                        answer.starts_with(expected.as_bytes()),
                        "the answer is {}",
                        String::from_utf8_lossy(&answer)
                    );
                }
                Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(ended) = asking.join_next().await {
            times.extend(ended.context("a client panicked")??);
        }
        let elapsed = begin.elapsed();
        times.sort();
        ensure!(!times.is_empty(), "no call was answered");
        Ok(Calls { times, elapsed })
    })
}

/// Reads one answer, head and body.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    const LENGTH: &[u8] = b"content-length: ";
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let lines = answer.get(..head).unwrap_or_default().split(|byte| *byte == b'\n');
        let length = lines.filter_map(|line| line.strip_prefix(LENGTH)).next();
        let length = length.and_then(|length| str::from_utf8(length).ok()?.trim().parse().ok());
        let length: usize = length.ok_or(io::ErrorKind::InvalidData)?;
        if answer.len() >= head + 4 + length {
            return Ok(());
        }
    }
}
