//! Memory that bodies or answers share.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Time to wait for free memory: ten times what sealing the largest body takes, or sending the
/// largest page to a client on the same network.
pub const ROOM_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes per permit. Several holders can share the memory in these units.
pub const PERMIT_BYTES: usize = 1 << 10;

/// A limited amount of memory. A permit reserves [`PERMIT_BYTES`] of it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

impl Memory {
    /// Memory of `bytes` bytes, rounded down to whole permits.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / PERMIT_BYTES)))
    }

    /// Reserves memory. Returns `None` if others hold it for longer than [`ROOM_TIMEOUT`].
    pub async fn room(&self, permits: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(permits).expect("bodies and answers are shorter");
        let room = Arc::clone(&self.0).acquire_many_owned(permits);
        Some(timeout(ROOM_TIMEOUT, room).await.ok()?.expect("nobody closes the semaphore"))
    }
}
