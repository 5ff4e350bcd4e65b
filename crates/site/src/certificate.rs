//! The certificate of the ports that other machines reach.

use tls::{Health, IdentityError, Keeping, Served, Source};
use tokio::sync::watch;

/// The certificate of a running site.
pub(crate) struct Certificate {
    /// Keeps it current. Taken when that service starts.
    pub(crate) keeping: Option<Keeping>,
    /// What the ports show.
    pub(crate) served: Served,
    /// How it is.
    pub(crate) health: watch::Receiver<Health>,
}

impl Certificate {
    pub(crate) fn begin(source: Source) -> Result<Self, IdentityError> {
        let (keeping, served, health) = Keeping::begin(source, clock::now())?;
        Ok(Self { keeping: Some(keeping), served, health })
    }

    /// Names in the certificate as they stand in a Host header.
    pub(crate) fn names(&self) -> Vec<String> {
        self.served.now().names().iter().map(tls::HostName::in_url).collect()
    }
}
