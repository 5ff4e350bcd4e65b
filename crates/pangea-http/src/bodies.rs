//! Bodies of requests, and the memory that they share.
//!
//! A body takes memory for what has arrived of it, not for its announced length. So a client that
//! announces much and sends it slowly does not delay others. Incomplete bodies that fill the memory
//! together would wait for each other. So a body that waits too long is refused, and the others get
//! its memory.

use std::{pin::pin, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures::StreamExt as _;
use http_server::{Memory, PERMIT_BYTES};
use ledger::Batch;
use pangea::{Refusal, Status};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// Largest body with events in bytes: as much as one batch of the ledger.
pub(crate) const EVENTS_BODY_BYTES_MAX: usize = Batch::BYTES_MAX;
/// Bytes of all bodies together. A body is in memory about four times while it is sealed.
const BODIES_BYTES_MAX: usize = 2 * EVENTS_BODY_BYTES_MAX;
/// Time for a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The memory for bodies.
#[derive(Debug)]
pub(crate) struct Bodies(Memory);

impl Bodies {
    pub(crate) fn new() -> Self {
        Self(Memory::of(BODIES_BYTES_MAX))
    }

    /// Reads a body of at most `most` bytes whole. The permit holds its memory.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let announced = headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > most) {
            return Err(too_large(most));
        }
        timeout(BODY_TIMEOUT, self.gather(body, most)).await.unwrap_or_else(|_elapsed| {
            let words = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Refusal::plain(Status::RequestTimeout, words))
        })
    }

    async fn gather(
        &self,
        body: Body,
        most: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let mut parts = pin!(body.into_data_stream());
        let (mut gathered, mut held) = (Vec::new(), self.room(0).await?);
        while let Some(part) = parts.next().await {
            // The pause was too long, or the connection ended; in that case nobody receives this
            // answer.
            let part = part.map_err(|_error| {
                Refusal::plain(Status::RequestTimeout, "the body did not arrive in time")
            })?;
            let len = gathered.len() + part.len();
            if len > most {
                return Err(too_large(most));
            }
            held.merge(self.room(len.div_ceil(PERMIT_BYTES) - held.num_permits()).await?);
            gathered.extend_from_slice(&part);
        }
        Ok((gathered.into(), held))
    }

    async fn room(&self, permits: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        self.0.room(permits).await.ok_or_else(|| {
            let words = format!(
                "other requests are using the {BODIES_BYTES_MAX} bytes that the site has for bodies: try again shortly"
            );
            Refusal::plain(Status::ServiceNotAvailable, words)
        })
    }
}

fn too_large(most: usize) -> Refusal {
    let words = format!("the body is too large: at most {most} bytes are read");
    Refusal::plain(Status::PayloadTooLarge, words)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{future::join_all, stream};
    use http_server::ROOM_TIMEOUT;
    use tokio::{task::yield_now, time::Instant};

    use super::*;

    const MOST: usize = EVENTS_BODY_BYTES_MAX;
    const PART_BYTES: usize = 64 << 10;

    fn announced(bytes: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, bytes.into())])
    }

    /// Other bodies have their turn between two parts.
    fn parts(bytes: usize) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
        stream::iter((0..bytes).step_by(PART_BYTES)).then(move |begin| async move {
            yield_now().await;
            Ok(Bytes::from(vec![b'x'; PART_BYTES.min(bytes - begin)]))
        })
    }

    /// A complete body.
    fn whole(bytes: usize) -> Body {
        Body::from_stream(parts(bytes))
    }

    /// A body that stalls after these bytes.
    fn stuck(bytes: usize) -> Body {
        Body::from_stream(parts(bytes).chain(stream::pending()))
    }

    async fn read(bodies: &Bodies, headers: &HeaderMap, body: Body) -> Status {
        let read = bodies.read(headers, body, MOST).await;
        read.err().map_or(Status::Success, |refusal| refusal.status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_taken_whole_in_time_or_refused() {
        let bodies = Bodies::new();
        let nothing = HeaderMap::new();
        for (headers, body, expected) in [
            (announced(0), whole(0), Status::Success),
            (announced(MOST), whole(MOST), Status::Success),
            (announced(MOST + 1), whole(0), Status::PayloadTooLarge),
            // A length that was not announced is noticed too.
            (nothing.clone(), whole(MOST), Status::Success),
            (nothing.clone(), whole(MOST + 1), Status::PayloadTooLarge),
        ] {
            assert_eq!(read(&bodies, &headers, body).await, expected);
        }
        let begin = Instant::now();
        assert_eq!(read(&bodies, &nothing, stuck(1)).await, Status::RequestTimeout);
        assert!((BODY_TIMEOUT..2 * BODY_TIMEOUT).contains(&begin.elapsed()), "{begin:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_announces_much_and_sends_little_keeps_nobody_waiting() {
        let (bodies, headers, begin) = (Bodies::new(), announced(MOST), Instant::now());
        let slow = join_all((0..1_000).map(|_| read(&bodies, &headers, stuck(1))));
        let whole = read(&bodies, &headers, whole(MOST));
        tokio::select! {
            _ = slow => panic!("a body was read that did not come"),
            read = whole => assert_eq!(read, Status::Success),
        }
        assert!(begin.elapsed() < ROOM_TIMEOUT, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_fill_the_memory_do_not_wait_for_each_other() {
        let (bodies, nothing, begin) = (Bodies::new(), HeaderMap::new(), Instant::now());
        let read_all = join_all((0..8).map(|_| read(&bodies, &nothing, whole(MOST)))).await;
        let count = |status| read_all.iter().filter(|read| **read == status).count();
        assert!(count(Status::Success) >= BODIES_BYTES_MAX / MOST, "{read_all:?}");
        assert_eq!(count(Status::Success) + count(Status::ServiceNotAvailable), 8);
        assert!(begin.elapsed() < BODY_TIMEOUT, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_memory_is_told_so() {
        let (bodies, nothing) = (Bodies::new(), HeaderMap::new());
        let reading =
            (0..BODIES_BYTES_MAX / MOST).map(|_| bodies.read(&nothing, whole(MOST), MOST));
        let held = join_all(reading).await;
        assert_eq!(read(&bodies, &nothing, whole(1)).await, Status::ServiceNotAvailable);
        drop(held);
        assert_eq!(read(&bodies, &nothing, whole(1)).await, Status::Success);
    }
}
