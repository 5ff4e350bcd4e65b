//! Reads the certificate's files again while the site runs, and renews what its own authority made.
//!
//! The content of the files is compared, not their times: programs such as certbot replace symbolic
//! links. Files that cannot be used leave the identity as it was, and the site says so until they
//! can.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model::{Timestamp, error_chain};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use work::Service;

use crate::{
    authority::{Authority, AuthorityError, own_identity},
    identity::{Identity, IdentityError},
    served::Served,
};

/// Time between two looks at the files.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Time before the end of a certificate at which the site renews its own, and warns of another:
/// certbot renews at a third of 90 days.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Time after which the same warning is repeated.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// Where the identity comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The site's own authority, in this data directory.
    Own {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// Files of another authority.
    Named {
        /// Path of the certificate chain.
        certificate: PathBuf,
        /// Path of the key.
        key: PathBuf,
    },
}

/// How the identity is.
#[derive(Clone, Debug)]
pub struct Health {
    /// End of its validity.
    pub not_after: Timestamp,
    /// Why it cannot be replaced, if it should be.
    pub failure: Option<String>,
}

/// Keeps the identity current.
#[derive(Debug)]
pub struct Keeping {
    source: Source,
    tell: watch::Sender<Arc<Identity>>,
    health: watch::Sender<Health>,
    /// When a warning was last given, and its words.
    warned: Option<(Instant, String)>,
}

impl Source {
    /// What the operator names or else the site's own authority made; `None` without either.
    #[must_use]
    pub fn find(data_dir: &Path, named: Option<(PathBuf, PathBuf)>) -> Option<Self> {
        if let Some((certificate, key)) = named {
            return Some(Self::Named { certificate, key });
        }
        own_identity(data_dir).map(|_path| Self::Own { data_dir: data_dir.to_owned() })
    }

    fn read(&self) -> Result<Identity, IdentityError> {
        match self {
            Self::Own { data_dir } => {
                let path = own_identity(data_dir).unwrap_or_else(|| data_dir.join("tls/site.pem"));
                Identity::read(&path, &path)
            }
            Self::Named { certificate, key } => Identity::read(certificate, key),
        }
    }

    /// The identity as it should be now. Renews the site's own if its end is near.
    fn current(&self, now: Timestamp) -> Result<Identity, AuthorityError> {
        let identity = self.read()?;
        match self {
            Self::Own { data_dir } if ends_soon(&identity, now) => {
                Authority::open(data_dir)?.renew(now)
            }
            _ => Ok(identity),
        }
    }
}

impl Keeping {
    /// Reads the identity for the first time.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn begin(
        source: Source,
        now: Timestamp,
    ) -> Result<(Self, Served, watch::Receiver<Health>), IdentityError> {
        let identity = source.current(now).or_else(|_| source.read())?;
        let (health, healthy) = watch::channel(Health::of(&identity));
        let (tell, served) = watch::channel(Arc::new(identity));
        Ok((Self { source, tell, health, warned: None }, Served(served), healthy))
    }

    fn take(&mut self, read: Result<Identity, AuthorityError>, now: Timestamp) {
        let failure = match read {
            Ok(identity) => {
                if identity.pem() != self.tell.borrow().pem() {
                    info!(not_after = %identity.validity().1, "serving another certificate");
                    self.tell.send_replace(Arc::new(identity));
                }
                None
            }
            Err(error) => Some(error_chain(&error)),
        };
        let identity = Arc::clone(&self.tell.borrow());
        let warning = match &failure {
            Some(failure) => Some(format!("the certificate stays as it is: {failure}")),
            None if ends_soon(&identity, now) => {
                Some(format!("the certificate ends at {}: renew it", identity.validity().1))
            }
            None => None,
        };
        let health = Health { failure, ..Health::of(&identity) };
        self.health.send_replace(health);
        self.warn(warning);
    }

    fn warn(&mut self, warning: Option<String>) {
        let Some(words) = warning else {
            self.warned = None;
            return;
        };
        let is_said = self
            .warned
            .as_ref()
            .is_some_and(|(at, said)| *said == words && at.elapsed() < WARN_AGAIN_AFTER);
        if !is_said {
            warn!("{words}");
            self.warned = Some((Instant::now(), words));
        }
    }
}

impl Service for Keeping {
    const NAME: &'static str = "the certificate";
    type Error = Infallible;

    async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        while shutdown.run_until_cancelled(sleep(LOOK_AGAIN_AFTER)).await.is_some() {
            let (source, now) = (self.source.clone(), clock::now());
            // If reading panics, the next look finds the same.
            if let Ok(read) = work::blocking((), move || source.current(now)).await {
                self.take(read, now);
            }
        }
        Ok(())
    }
}

impl Health {
    fn of(identity: &Identity) -> Self {
        Self { not_after: identity.validity().1, failure: None }
    }
}

fn ends_soon(identity: &Identity, now: Timestamp) -> bool {
    let before = i64::try_from(RENEW_BEFORE.as_micros()).unwrap_or(i64::MAX);
    now.unix_micros().saturating_add(before) > identity.validity().1.unix_micros()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clock::built;

    use super::*;

    const DAY: i64 = 24 * 3_600 * 1_000_000;

    fn days_on(days: i64) -> Timestamp {
        Timestamp::from_unix_micros(built().unix_micros() + days * DAY)
    }

    #[test]
    fn its_own_certificate_is_renewed_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "plant").unwrap();
        authority.issue(&["plant.example".parse().unwrap()], built()).unwrap();
        let source = Source::find(folder.path(), None).unwrap();
        let (mut keeping, served, health) = Keeping::begin(source.clone(), built()).unwrap();
        let first = served.now();
        for (days, is_renewed) in [(0, false), (366, false), (368, true)] {
            let now = days_on(days);
            keeping.take(source.current(now), now);
            assert_eq!(served.now().pem() != first.pem(), is_renewed, "{days}");
        }
        // Without the authority's key the site keeps what it has, and says so.
        fs::remove_file(folder.path().join("tls/ca.key")).unwrap();
        let second = served.now();
        keeping.take(source.current(days_on(900)), days_on(900));
        assert_eq!(served.now().pem(), second.pem());
        assert!(health.borrow().failure.as_ref().unwrap().contains("ca.key"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_file_leaves_the_old_certificate_and_a_whole_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "plant").unwrap();
        let issue = || authority.issue(&["plant.example".parse().unwrap()], built()).unwrap();
        let (certificate, key) = (folder.path().join("chain"), folder.path().join("key"));
        let put = |name: &Path, identity: &Identity| {
            // As certbot does it: another file, and a link that is replaced.
            let made = folder.path().join(format!("{:016x}", rand_of(identity)));
            durable::write_secret(&made, identity.pem()).unwrap();
            let _first = fs::remove_file(name);
            std::os::unix::fs::symlink(&made, name).unwrap();
        };
        let first = issue();
        put(&certificate, &first);
        put(&key, &first);
        let named = Some((certificate.clone(), key.clone()));
        let source = Source::find(folder.path(), named).unwrap();
        let (keeping, mut served, mut health) = Keeping::begin(source, built()).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::task::LocalSet::new();
        let (stopping, old) = (stop.clone(), served.now());
        running.spawn_local(async move { keeping.run(stopping).await });
        running
            .run_until(async {
                let second = issue();
                put(&certificate, &second);
                health.wait_for(|health| health.failure.is_some()).await.unwrap();
                assert_eq!(served.now().pem(), old.pem(), "certificate and key are of two");
                put(&key, &second);
                assert!(served.changed().await);
                assert_ne!(served.now().pem(), old.pem());
                health.wait_for(|health| health.failure.is_none()).await.unwrap();
                stop.cancel();
            })
            .await;
        running.await;
    }

    fn rand_of(identity: &Identity) -> u64 {
        identity.pem().iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(*byte))
    }
}
