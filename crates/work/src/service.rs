//! What works for as long as its site does.

use std::{error::Error, future::Future};

use tokio_util::sync::CancellationToken;

/// A part of a site that works until it is asked to stop.
pub trait Service: Send + 'static {
    /// What people call it where it fails.
    const NAME: &'static str;

    /// Why it fails.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Works until `shutdown`. Dropping this future cuts the service off where it waits.
    ///
    /// # Errors
    /// It cannot go on. The site stops then.
    fn run(
        self,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
