//! A body that must be complete by a deadline, or a large one each part of it.
//!
//! The server also limits the time between two parts, but a client that sends a byte now and then
//! could stay within that limit for days.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// A body with a deadline for each part of this many bytes.
pub(crate) struct Deadline {
    body: Body,
    part_bytes: usize,
    time: Duration,
    /// Bytes of the present part that have arrived.
    arrived: usize,
    ends: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(crate) fn new(body: Body, part_bytes: usize, time: Duration) -> Self {
        Self { body, part_bytes, time, arrived: 0, ends: Box::pin(sleep(time)) }
    }
}

impl HttpBody for Deadline {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                self.arrived += frame.data_ref().map_or(0, Bytes::len);
                if self.arrived >= self.part_bytes {
                    self.arrived = 0;
                    let ends = Instant::now() + self.time;
                    self.ends.as_mut().reset(ends);
                }
            }
            return Poll::Ready(frame);
        }
        self.ends.as_mut().poll(context).map(|()| {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time");
            Some(Err(axum::Error::new(late)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use futures::stream;

    use super::*;

    const PART: usize = 1_000;
    const TIME: Duration = Duration::from_secs(90);

    /// Receives a body of pieces, each after a pause.
    async fn receive(pieces: usize, bytes: usize, pause: Duration) -> Result<usize, axum::Error> {
        let body = stream::unfold(0, move |number| async move {
            if number == pieces {
                return None;
            }
            sleep(pause).await;
            Some((Ok::<_, io::Error>(vec![0; bytes]), number + 1))
        });
        let body = Body::new(Deadline::new(Body::from_stream(body), PART, TIME));
        to_bytes(body, usize::MAX).await.map(|received| received.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_has_time_for_each_of_its_parts() {
        let minute = Duration::from_secs(60);
        assert_eq!(receive(10, PART, minute).await.unwrap(), 10 * PART);
        assert!(receive(10, PART / 2 - 1, minute).await.is_err(), "it comes too slowly");
        assert!(receive(1, PART, 2 * minute).await.is_err(), "the first part is late");
    }
}
