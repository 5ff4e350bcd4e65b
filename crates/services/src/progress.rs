//! How far the index is, and how those who ask it have it catch up.
//!
//! A batch of the index costs nearly the same for one leaf as for a hundred. So while nobody asks,
//! indexing lets leaves gather. Whoever asks says which leaves the answer must know, and indexing
//! then takes them at once. Who asks now often asks again soon, so indexing follows the log closely
//! for a moment, and the next question finds everything there.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How long indexing follows the log closely after a question. The page and programs that poll for
/// news ask more often.
const CLOSELY: Duration = Duration::from_millis(100);

/// Progress of the index.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Indexed {
    /// The first leaf that has not been applied.
    pub next_leaf: u64,
    /// Number of leaves that the index could not take.
    pub passed_over: u64,
}

/// Where indexing reports its progress, and hears who waits for it.
#[derive(Debug)]
pub struct Reports {
    indexed: watch::Sender<Indexed>,
    wanted: watch::Receiver<Wanted>,
}

/// What the index has, for those who ask it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress {
    indexed: watch::Receiver<Indexed>,
    wanted: watch::Sender<Wanted>,
}

/// What those who ask need.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Somebody waits for the leaves before this one.
    size: u64,
    /// Until then, leaves are wanted as soon as they are sealed.
    closely_until: Instant,
}

/// Both ends for one index.
#[must_use]
pub fn progress() -> (Reports, Progress) {
    let (report, indexed) = watch::channel(Indexed::default());
    let (want, wanted) = watch::channel(Wanted { size: 0, closely_until: Instant::now() });
    (Reports { indexed: report, wanted }, Progress { indexed, wanted: want })
}

impl Reports {
    pub(crate) fn send(&self, indexed: Indexed) {
        self.indexed.send_replace(indexed);
    }

    /// Waits until somebody wants the leaf `next_leaf`, which is sealed. Cancel-safe.
    pub(crate) async fn wanted(&mut self, next_leaf: u64) {
        let is_wanted =
            |wanted: &Wanted| wanted.size > next_leaf || wanted.closely_until > Instant::now();
        if self.wanted.wait_for(is_wanted).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

impl Progress {
    /// The last report.
    #[must_use]
    pub fn now(&self) -> Indexed {
        *self.indexed.borrow()
    }

    /// A channel with the newest report.
    #[cfg(test)]
    pub(crate) fn watch(&self) -> watch::Receiver<Indexed> {
        self.indexed.clone()
    }

    /// Has the index take the leaves before `size`, and waits for that, but not longer than
    /// `at_most`. Returns the first leaf that the index does not have.
    pub async fn catch_up(&self, size: u64, at_most: Duration) -> u64 {
        // Whether or not the index has caught up, the answer covers what it has then.
        let _late = timeout(at_most, self.caught_up(size)).await;
        self.now().next_leaf
    }

    /// Has the index take the leaves before `size`, without waiting for that.
    pub fn want(&self, size: u64) {
        self.wanted.send_modify(|wanted| {
            wanted.size = wanted.size.max(size);
            wanted.closely_until = Instant::now() + CLOSELY;
        });
    }

    /// Has the index take the leaves before `size`, and waits for that. Returns the report that
    /// says so, or `None` if indexing has ended.
    pub async fn caught_up(&self, size: u64) -> Option<Indexed> {
        self.want(size);
        let mut indexed = self.indexed.clone();
        indexed.wait_for(|indexed| indexed.next_leaf >= size).await.ok().map(|indexed| *indexed)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn who_asks_is_heard_and_waits_until_the_index_has_caught_up() {
        let (mut reports, progress) = progress();
        assert!(reports.wanted(0).now_or_never().is_none(), "nobody has asked");
        let mut asking = Box::pin(progress.catch_up(5, LONG));
        assert!(asking.as_mut().now_or_never().is_none());
        tokio::time::advance(CLOSELY).await;
        assert!(reports.wanted(4).now_or_never().is_some());
        assert!(reports.wanted(5).now_or_never().is_none(), "more was not asked for");
        // Somebody who knew less does not take that back.
        assert!(progress.catch_up(0, LONG).now_or_never().is_some());
        assert!(reports.wanted(4).now_or_never().is_some());
        reports.send(Indexed { next_leaf: 3, passed_over: 0 });
        assert!(asking.as_mut().now_or_never().is_none());
        reports.send(Indexed { next_leaf: 7, passed_over: 1 });
        assert_eq!(asking.await, 7);
        assert_eq!(progress.catch_up(6, LONG).now_or_never(), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sealed_soon_after_a_question_is_wanted() {
        let (mut reports, progress) = progress();
        reports.send(Indexed { next_leaf: 7, passed_over: 0 });
        assert_eq!(progress.catch_up(7, LONG).now_or_never(), Some(7), "nothing is missing");
        assert!(reports.wanted(7).now_or_never().is_some());
        tokio::time::advance(CLOSELY).await;
        assert!(reports.wanted(7).now_or_never().is_none(), "the question was long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_does_not_wait_for_ever() {
        let (reports, progress) = progress();
        reports.send(Indexed { next_leaf: 3, passed_over: 0 });
        assert_eq!(progress.catch_up(5, LONG).await, 3, "indexing is late");
        drop(reports);
        assert_eq!(progress.catch_up(5, LONG).now_or_never(), Some(3), "indexing has ended");
    }
}
