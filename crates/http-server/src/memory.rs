//! Memory that bodies or answers share.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Time for memory to come free: ten times what the largest body is sealed in, or the largest page
/// sent to a client on the same network.
pub const ROOM_TIMEOUT: Duration = Duration::from_secs(2);
/// What lets several share the bytes: permits are of so many.
pub const PERMIT_BYTES: usize = 1 << 10;

/// So many bytes. Whoever holds a permit holds its part of them.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

impl Memory {
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / PERMIT_BYTES)))
    }

    /// `None` where others hold it for longer than one waits.
    pub async fn room(&self, permits: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(permits).expect("bodies and answers are shorter");
        let room = Arc::clone(&self.0).acquire_many_owned(permits);
        Some(timeout(ROOM_TIMEOUT, room).await.ok()?.expect("nobody closes the semaphore"))
    }
}
