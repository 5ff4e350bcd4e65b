//! A connection that closes in a way that lets the client receive its whole answer.
//!
//! If a server closes a socket while the client still sends, the client's system may discard data
//! that the client has not read, often the answer. So this end first stops writing. It then reads
//! and discards until the client closes too (RFC 9112, section 9.6) or falls silent, for at most
//! [`LINGER`].

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Time that a client has to finish sending after its answer: enough for the largest body of any
/// port, 16 MiB, at 27 Mbit/s.
const LINGER: Duration = Duration::from_secs(5);
/// Silence after which the client counts as done. A client that still sends is not silent for so
/// long, unless packets are lost.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);
/// Bytes discarded at a time: where each read takes 5 ms, the largest body takes half of
/// [`LINGER`]. They are on the stack, so a connection that is ending holds no buffer.
const DROPPED_BYTES: usize = 32 << 10;

/// A stream whose shutdown lingers.
pub(crate) struct Lingering {
    stream: TcpStream,
    /// When the server stops, no connection lingers.
    stop: CancellationToken,
    /// Set once this end has stopped writing.
    patience: Option<Patience>,
}

/// How long to wait for a client.
struct Patience {
    ends: Instant,
    silence: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Lingering {
    pub(crate) const fn new(stream: TcpStream, stop: CancellationToken) -> Self {
        Self { stream, stop, patience: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, stop, patience } = &mut *self;
        if patience.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let patience = patience.get_or_insert_with(|| Patience::new(stop.clone()));
        let mut dropped = [0; DROPPED_BYTES];
        loop {
            let mut dropped = ReadBuf::new(&mut dropped);
            // What came is read before the silence is looked at. A server that had no turn for a
            // while does not take its own absence for the client's silence.
            match Pin::new(&mut *stream).poll_read(context, &mut dropped) {
                Poll::Ready(Ok(()))
                    if !dropped.filled().is_empty()
                        && !patience.is_exhausted()
                        && !stop.is_cancelled() =>
                {
                    patience.was_heard();
                }
                Poll::Pending => {
                    ready!(patience.poll_end(context));
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Patience {
    fn new(stop: CancellationToken) -> Self {
        Self {
            ends: Instant::now() + LINGER,
            silence: Box::pin(sleep(SILENCE)),
            stopped: Box::pin(stop.cancelled_owned()),
        }
    }

    /// Whether even a client that still sends has had its time.
    fn is_exhausted(&self) -> bool {
        Instant::now() >= self.ends
    }

    /// Ends once the client has been silent for [`SILENCE`], or the server stops.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        self.silence.as_mut().poll(context)
    }

    fn was_heard(&mut self) {
        let silence = self.ends.min(Instant::now() + SILENCE);
        self.silence.as_mut().reset(silence);
    }
}
