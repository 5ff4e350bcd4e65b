//! Answers that are on their way, and the memory that they share.
//!
//! A client that takes its answer slowly keeps it in our memory. Small ones are limited by the connections that there are; those that are not share a room.

use axum::body::{Body, Bytes};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    memory::{Memory, PERMIT_BYTES},
    search::{PAGE_BYTES_MAX, PAGES_AT_ONCE_MAX},
};

/// Bytes up to which an answer is small: as many as a head may have.
const SMALL_BYTES: usize = 64 << 10;
/// Bytes of all larger answers at once: those of as many of the largest pages as are made at once.
const ANSWERS_BYTES_MAX: usize = PAGES_AT_ONCE_MAX * PAGE_BYTES_MAX;

/// The memory for answers.
#[derive(Debug)]
pub(super) struct Answers(Memory);

/// An answer that is not sent yet.
struct Held {
    answer: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Answers {
    pub(super) fn new() -> Self {
        Self(Memory::of(ANSWERS_BYTES_MAX))
    }

    /// The answer as a body that holds its memory until it is sent or its client is gone; `None` where there is no room for it.
    pub(super) async fn body(&self, answer: Vec<u8>) -> Option<Body> {
        if answer.len() <= SMALL_BYTES {
            return Some(answer.into());
        }
        let permits = answer.len().min(ANSWERS_BYTES_MAX).div_ceil(PERMIT_BYTES);
        let permit = self.0.room(permits).await?;
        Some(Bytes::from_owner(Held { answer, _permit: permit }).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_answers_wait_for_each_other_and_small_ones_for_none() {
        let answers = Answers::new();
        let page = || vec![b'x'; ANSWERS_BYTES_MAX / 2];
        let mut held =
            vec![answers.body(page()).await.unwrap(), answers.body(page()).await.unwrap()];
        assert!(answers.body(vec![b'x'; SMALL_BYTES]).await.is_some());
        assert!(answers.body(vec![b'x'; SMALL_BYTES + 1]).await.is_none());
        // What was handed to the connection is held until that has sent it.
        let mut frames = held.pop().unwrap().into_data_stream();
        let sending = futures::StreamExt::next(&mut frames).await.unwrap().unwrap();
        drop(frames);
        assert!(answers.body(page()).await.is_none());
        drop(sending);
        assert!(answers.body(page()).await.is_some());
    }
}
