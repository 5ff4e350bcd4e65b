//! Limits on calls that make a large answer or work on the disk at the same time.

use pangea::Refusal;
use work::Room;

use crate::{call::Call, refusals::failed};

/// Number of large answers that are made at once. Further calls wait.
pub(crate) const PAGES_AT_ONCE_MAX: usize = 4;
/// Number of disk operations of all calls at once. Further ones wait. A disk does fewer at once.
const WORK_AT_ONCE_MAX: usize = 64;

/// Places for calls. Cheap to clone: the clones share the places.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    pages: Room,
    working: Room,
}

impl Rooms {
    pub(crate) fn new() -> Self {
        Self { pages: Room::of(PAGES_AT_ONCE_MAX), working: Room::of(WORK_AT_ONCE_MAX) }
    }

    /// Waits for a place among the calls that make large answers. The call then holds the place.
    /// Calls that log need no place: their answers are at most a few times as large as their
    /// bodies, which hold memory.
    pub(crate) async fn place_for_a_page(&self, call: &Call) {
        if !call.holds_page() {
            call.hold_page(self.pages.place().await);
        }
    }

    /// Runs blocking or long work on a thread for such work. What the call holds stays held until
    /// the work ends, whether or not its client waits.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let working = self.working.blocking(call.held(), work);
        working.await.unwrap_or_else(|panic| Err(failed(&panic)))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc, time::Duration};

    use axum::http::HeaderMap;
    use tokio::{task::yield_now, time::timeout};

    use super::*;

    /// Longer than any step takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn call() -> Call {
        Call::begin(&HeaderMap::new(), false, None)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_asks_and_hangs_up_frees_nothing_while_its_work_runs() {
        let rooms = Rooms::new();
        let (begun, has_begun) = mpsc::channel();
        let mut gates = Vec::new();
        for _search in 0..PAGES_AT_ONCE_MAX {
            let call = call();
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let begun = begun.clone();
            let search = async {
                rooms.place_for_a_page(&call).await;
                let find = move || {
                    begun.send(()).unwrap();
                    // An error says that the gate is open.
                    let _open = gate.recv();
                    Ok(())
                };
                rooms.blocking(&call, find).await
            };
            let (mut search, has_begun) = (pin!(search), &has_begun);
            // The client waits until its search is under way, and hangs up.
            let under_way = async {
                while has_begun.try_recv().is_err() {
                    yield_now().await;
                }
            };
            tokio::select! {
                _ = search.as_mut() => panic!("the search waits for its gate"),
                () = under_way => {}
            }
        }
        let call = call();
        let mut next = pin!(rooms.place_for_a_page(&call));
        assert!(
            futures::poll!(next.as_mut()).is_pending(),
            "a place is free while four searches run"
        );
        drop(gates);
        timeout(DEADLINE, next).await.unwrap();
    }
}
