//! A connection that is closed so that the client gets its answer.
//!
//! Whoever closes a socket while the client still sends makes the client's system drop what was not
//! read yet: the answer, often. So this end stops writing first, and then reads on into nothing
//! until the client is done too (RFC 9112, section 9.6), or silent, for [`LINGER`] at most.

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

/// How long a client may go on after its answer: the largest body that a port takes, 16 MiB, at 134
/// Mbit/s.
const LINGER: Duration = Duration::from_secs(1);
/// How long it may be silent meanwhile: whoever still sends is not, unless packets are lost.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);
/// Bytes that are dropped at a time. They lie on the stack: a connection that ends holds no buffer.
const DROPPED_BYTES: usize = 8 << 10;

/// A stream whose shutdown lingers.
pub(crate) struct Lingering {
    stream: TcpStream,
    /// Nobody lingers when the server stops.
    stop: CancellationToken,
    /// There since this end stopped writing.
    patience: Option<Patience>,
}

/// Until when a client is waited for.
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
        while !patience.is_over(context) {
            let mut dropped = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut dropped));
            if read.is_err() || dropped.filled().is_empty() {
                break;
            }
            patience.was_heard();
        }
        Poll::Ready(Ok(()))
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

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.silence.as_mut().poll(context).is_ready()
            || self.stopped.as_mut().poll(context).is_ready()
    }

    fn was_heard(&mut self) {
        let silence = self.ends.min(Instant::now() + SILENCE);
        self.silence.as_mut().reset(silence);
    }
}
