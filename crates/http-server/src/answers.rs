//! Answers that are on their way, and the memory that they share.
//!
//! A client that takes its answer slowly keeps it in our memory. Small ones are limited by the
//! connections that there are; those that are not share a room.

use axum::body::{Body, Bytes};
use tokio::sync::OwnedSemaphorePermit;

use crate::memory::{Memory, PERMIT_BYTES};

/// Bytes up to which an answer is small: as many as a head may have.
const SMALL_BYTES: usize = 64 << 10;

/// The memory for answers. Cheap to clone: the clones share it.
#[derive(Clone, Debug)]
pub struct Answers {
    memory: Memory,
    bytes_max: usize,
}

/// AnswerRoom for one answer.
#[derive(Debug)]
pub struct AnswerRoom(Option<OwnedSemaphorePermit>);

/// An answer that is not sent yet.
struct Held<B> {
    answer: B,
    _permit: OwnedSemaphorePermit,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        self.answer.as_ref()
    }
}

impl Answers {
    /// Memory of so many bytes, which all answers share that are not small.
    pub fn of(bytes_max: usize) -> Self {
        Self { memory: Memory::of(bytes_max), bytes_max }
    }

    /// AnswerRoom for an answer of so many bytes; `None` where others hold it for too long.
    pub async fn room(&self, bytes: usize) -> Option<AnswerRoom> {
        if bytes <= SMALL_BYTES {
            return Some(AnswerRoom(None));
        }
        let permits = bytes.min(self.bytes_max).div_ceil(PERMIT_BYTES);
        Some(AnswerRoom(Some(self.memory.room(permits).await?)))
    }

    /// The answer as a body that holds its memory until it is sent or its client is gone; `None`
    /// where there is no room for it. Until then it is the caller's to bound how many answers wait.
    pub async fn body(&self, answer: Vec<u8>) -> Option<Body> {
        Some(self.room(answer.len()).await?.body(answer))
    }
}

impl AnswerRoom {
    /// The answer for which this is the room.
    pub fn body(self, answer: impl AsRef<[u8]> + Into<Body> + Send + 'static) -> Body {
        match self.0 {
            None => answer.into(),
            Some(permit) => Bytes::from_owner(Held { answer, _permit: permit }).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_answers_wait_for_each_other_and_small_ones_for_none() {
        const BYTES_MAX: usize = 64 << 20;
        let answers = Answers::of(BYTES_MAX);
        let page = || vec![b'x'; BYTES_MAX / 2];
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
