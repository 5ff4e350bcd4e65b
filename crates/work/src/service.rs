//! Parts of a site that work for as long as the site does.

use std::{error::Error, future::Future};

use tokio_util::sync::CancellationToken;

/// A part of a site that works until it is asked to stop.
pub trait Service: Send + 'static {
    /// Name of the service in messages about its failure.
    const NAME: &'static str;

    /// Why the service failed.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Works until `shutdown` is cancelled. Dropping this future ends the service at its current
    /// await point.
    ///
    /// # Errors
    /// The service cannot continue. The site then stops.
    fn run(
        self,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
