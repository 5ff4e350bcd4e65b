//! Memory for answers that are being sent.
//!
//! A client that takes its answer slowly keeps it in the server's memory. The number of connections
//! limits small answers; larger ones share a limited amount of memory.

use axum::body::{Body, Bytes};
use tokio::sync::OwnedSemaphorePermit;

use crate::memory::{Memory, PERMIT_BYTES};

/// Size in bytes up to which an answer counts as small: the same as the largest head.
const SMALL_BYTES: usize = 64 << 10;

/// Memory for answers. Cheap to clone; all clones share the memory.
#[derive(Clone, Debug)]
pub struct Answers {
    memory: Memory,
    bytes_max: usize,
}

/// Memory reserved for one answer.
#[derive(Debug)]
pub struct AnswerRoom(Option<OwnedSemaphorePermit>);

/// An answer that is not sent completely.
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
    /// Memory of `bytes_max` bytes, which all larger answers share.
    pub fn of(bytes_max: usize) -> Self {
        Self { memory: Memory::of(bytes_max), bytes_max }
    }

    /// Reserves memory for an answer of `bytes` bytes. Returns `None` if other answers hold it for
    /// longer than [`ROOM_TIMEOUT`](crate::ROOM_TIMEOUT).
    pub async fn room(&self, bytes: usize) -> Option<AnswerRoom> {
        if bytes <= SMALL_BYTES {
            return Some(AnswerRoom(None));
        }
        let permits = bytes.min(self.bytes_max).div_ceil(PERMIT_BYTES);
        Some(AnswerRoom(Some(self.memory.room(permits).await?)))
    }

    /// Turns the answer into a body that holds its memory until it is sent or the client is gone.
    /// Returns `None` if there is no room. The caller must limit how many answers wait here.
    pub async fn body(&self, answer: Vec<u8>) -> Option<Body> {
        Some(self.room(answer.len()).await?.body(answer))
    }
}

impl AnswerRoom {
    /// Turns an answer into a body that holds this memory.
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
        // Memory that was handed to the connection stays reserved until the connection has sent it.
        let mut frames = held.pop().unwrap().into_data_stream();
        let sending = futures::StreamExt::next(&mut frames).await.unwrap().unwrap();
        drop(frames);
        assert!(answers.body(page()).await.is_none());
        drop(sending);
        assert!(answers.body(page()).await.is_some());
    }
}
