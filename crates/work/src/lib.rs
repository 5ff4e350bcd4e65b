//! Work that continues after its caller has gone, and the locks and permits that it holds.
//!
//! A future is dropped when its client hangs up, a time limit passes or a part of the program
//! stops. A thread that blocks for it runs on. If the dropped future held a lock or a permit, the
//! next caller gets it while the first piece of work is still running. So:
//!
//! - work that must be completed is a task of an [`Owner`], and the caller only waits for it;
//! - [`blocking`] takes what the work needs to hold, and releases it when the work ends;
//! - [`Room`] limits how many pieces of work block at once, whether or not anybody still waits.
//!
//! A [`Service`] is a part of a site that works for as long as the site does.
//!
//! Nothing else in the workspace starts a thread for blocking work: a lint refuses it.

mod service;
#[cfg(feature = "simulation")]
pub mod simulation;

use std::{future::Future, sync::Arc};

pub use service::Service;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{self, JoinError},
};
#[cfg(feature = "simulation")]
use tokio_util::either::Either;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// Owns tasks until they end. Cheap to clone: the clones own the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Owner(TaskTracker);

/// A token that keeps [`Owner::ended`] waiting until it is dropped.
pub type Kept = TaskTrackerToken;

impl Owner {
    /// Completes a piece of work. Dropping this future after its first poll ends the waiting, not
    /// the work, so `work` must take its locks itself.
    ///
    /// # Errors
    /// The work panicked, or the runtime shut down.
    pub async fn carry_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        #[cfg(feature = "simulation")]
        if simulation::is_on() {
            let done = simulation::carry_out(self.keep(), work).await;
            return Ok(done.expect("a simulation drops no order before its caller"));
        }
        self.0.spawn(work).await
    }

    /// A token for blocking work for which the owner must wait too: pass it to [`blocking`] to
    /// hold.
    pub fn keep(&self) -> Kept {
        self.0.token()
    }

    /// Whether someone waits for all work to end. Work that the next start can do should then stop
    /// early.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until all work has ended.
    pub async fn ended(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Runs blocking work on a thread of the runtime's blocking pool. It releases `held` (a lock's
/// guard, a permit, memory) when the work has ended, not when the future is dropped. The work
/// begins at once. The future yields an error if the work panicked, or if the runtime shut down
/// before the work began.
pub fn blocking<T: Send + 'static>(
    held: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, JoinError>> + Send + Unpin {
    let work = move || {
        let done = work();
        drop(held);
        done
    };
    #[cfg(feature = "simulation")]
    if simulation::is_on() {
        return Either::Left(simulation::wait(work));
    }
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let running = task::spawn_blocking(work);
    #[cfg(feature = "simulation")]
    let running = Either::Right(running);
    running
}

/// Limits how many pieces of blocking work run at once; further ones wait. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Room {
    /// A room with this number of places.
    #[must_use]
    pub fn of(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place.
    pub async fn place(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.0).acquire_owned().await.expect("nobody closes the semaphore")
    }

    /// As [`blocking`]. The work takes a place, which is free again when the work has ended.
    ///
    /// # Errors
    /// As [`blocking`].
    pub async fn blocking<T: Send + 'static>(
        &self,
        held: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let place = self.place().await;
        blocking((place, held), work).await
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc, time::Duration};

    use futures_poll::poll_once;
    use tokio::{sync::Mutex, time::timeout};

    use super::*;

    /// Longer than any step of a test takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// Polls a future without waiting for it.
    mod futures_poll {
        use std::{future::Future, pin::Pin, task::Context};

        pub(super) fn poll_once(future: Pin<&mut impl Future>) -> bool {
            future.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_held_is_released_when_the_work_ends_and_not_when_nobody_waits() {
        let lock = Arc::new(Mutex::new(()));
        let (open, gate) = mpsc::channel::<()>();
        let guard = Arc::clone(&lock).lock_owned().await;
        {
            let mut waiting = pin!(blocking(guard, move || gate.recv()));
            assert!(!poll_once(waiting.as_mut()));
        }
        assert!(lock.try_lock().is_err(), "the work runs without its lock");
        open.send(()).unwrap();
        drop(timeout(DEADLINE, lock.lock()).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_hangs_up_leaves_no_place_free_while_the_work_runs() {
        let room = Room::of(1);
        let (open, gate) = mpsc::channel::<()>();
        {
            let mut waiting = pin!(room.blocking((), move || gate.recv()));
            assert!(!poll_once(waiting.as_mut()));
        }
        for _client in 0..1_000 {
            let mut next = pin!(room.blocking((), || panic!("there is no place for this")));
            assert!(!poll_once(next.as_mut()));
        }
        open.send(()).unwrap();
        drop(timeout(DEADLINE, room.place()).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_is_carried_out_and_waited_for_whoever_asked() {
        let owner = Owner::default();
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = mpsc::channel();
        {
            let mut waiting = pin!(owner.carry_out(async move {
                gate.await.unwrap();
                done.send(()).unwrap();
            }));
            assert!(!poll_once(waiting.as_mut()));
        }
        let kept = owner.keep();
        let mut ended = pin!(owner.ended());
        assert!(!poll_once(ended.as_mut()) && owner.is_ending());
        drop(kept);
        assert!(!poll_once(ended.as_mut()), "a task of the owner's has not ended");
        open.send(()).unwrap();
        timeout(DEADLINE, ended).await.unwrap();
        is_done.try_recv().unwrap();
    }

    #[tokio::test]
    async fn blocking_work_that_is_held_is_waited_for_too() {
        let owner = Owner::default();
        let kept = owner.keep();
        let mut ended = pin!(owner.ended());
        assert!(!poll_once(ended.as_mut()));
        drop(kept);
        timeout(DEADLINE, ended).await.unwrap();
    }
}
