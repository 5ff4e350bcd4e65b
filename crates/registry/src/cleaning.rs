//! Removes uploads that nobody continues, and content that no manifest needs.

use std::{convert::Infallible, sync::Arc};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

use crate::{limits::CLEAN_EVERY, publishing::Publishing};

/// Cleans the registry up.
#[derive(Debug)]
pub struct Cleaning(pub(crate) Publishing);

impl Service for Cleaning {
    const NAME: &'static str = "the registry's cleaning";
    /// What cannot be removed is in the site's own log.
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        while shutdown.run_until_cancelled(sleep(CLEAN_EVERY)).await.is_some() {
            self.0.clean(Instant::now()).await;
        }
        self.0.owner.ended().await;
        Ok(())
    }
}

impl Publishing {
    /// Removes what nobody needs at this time.
    pub(crate) async fn clean(&self, now: Instant) {
        let changing = self.store.change().await;
        let (store, uploads) = (Arc::clone(&self.store), Arc::clone(&self.uploads));
        let clean = move || {
            uploads.clean(&store, now);
            store.clean(&changing, now);
        };
        if let Err(panic) = work::blocking((), clean).await {
            warn!(%panic, "cannot clean the registry up");
        }
    }
}
