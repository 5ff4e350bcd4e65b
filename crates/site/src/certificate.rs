//! The certificate of the ports that other machines reach.

use std::{convert::Infallible, io, path::PathBuf, time::Duration};

use engine::{Reload, nats_server};
use tls::{Health, IdentityError, Keeping, Served, Source};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

/// Time until another attempt to write the certificate for the devices' server.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(5);

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
}

/// Gives the devices' server each certificate that follows the first. The server closes the
/// connections of devices when it takes one, and they come again.
pub(crate) struct DevicesCertificate {
    pub(crate) served: Served,
    /// The server's own folder.
    pub(crate) folder: PathBuf,
    pub(crate) reload: Reload,
}

impl Service for DevicesCertificate {
    const NAME: &'static str = "the certificate for devices";
    type Error = Infallible;

    async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let keep = async {
            while self.served.changed().await {
                while let Err(error) = self.write().await {
                    warn!(%error, "cannot give nats-server the new certificate; trying again");
                    sleep(WRITE_AGAIN_AFTER).await;
                }
                self.reload.ask();
            }
            // The one that reads the files has ended, and the site ends with it.
            std::future::pending().await
        };
        let _stopped: Option<Infallible> = shutdown.run_until_cancelled(keep).await;
        Ok(())
    }
}

impl DevicesCertificate {
    async fn write(&self) -> io::Result<()> {
        let (folder, identity) = (self.folder.clone(), self.served.now());
        let write = move || nats_server::replace_certificate(&folder, identity.pem());
        work::blocking((), write).await.map_err(io::Error::other)?
    }
}
