//! Orders about the credentials of devices.

use std::{sync::Arc, time::Duration};

use access::{
    Revocation,
    sensors::{
        Book, BookError, CredentialError, CredentialName, Key, NewCredential, Reporting, Sensor,
        SensorCredentials, Topics,
    },
};
use ledger::{AppendError, AppendKey, Batch, Ledger};
use model::{Event, Subject, Timestamp, action};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::order::{Done, event_by};

/// Changes the credentials of a site and seals each change. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    ledger: Ledger,
    stored: SensorCredentials,
    /// Allows one change at a time, so that what was checked still holds when the file is written.
    changing: Arc<Mutex<()>>,
}

/// The lock on the credentials, in a form that blocking work can hold.
type Changing = Arc<OwnedMutexGuard<()>>;

impl Credentials {
    pub(crate) fn new(ledger: Ledger, stored: SensorCredentials) -> Self {
        Self { ledger, stored, changing: Arc::default() }
    }

    pub(crate) const fn stored(&self) -> &SensorCredentials {
        &self.stored
    }

    /// Seals the events first: the log records a credential before it is valid.
    pub(crate) async fn add(
        &self,
        new: Vec<NewCredential>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Done, CredentialOrderError> {
        let lock = self.lock().await;
        let mut tried = self.stored.look(Book::clone);
        tried.add(new.clone()).map_err(CredentialOrderError::Refused)?;
        let mut events = Vec::new();
        for NewCredential { name, sensors, reporting, key } in &new {
            for (topic, what) in reporting.iter().flat_map(topics_of) {
                let words =
                    format!("credential {name} added with the key {}: it {what} {topic}", key.nkey);
                events.push(event(action::CREDENTIAL_ADDED, actor, name, words, now));
            }
            for Sensor { alias, id, topics } in sensors {
                let Topics { heartbeat, poll, read, disconnect } = topics;
                let disconnect = disconnect
                    .as_ref()
                    .map_or_else(String::new, |topic| format!(", disconnect {topic}"));
                let words = format!(
                    "credential {name} added for {alias} with the key {}: heartbeat {heartbeat}, \
                     poll {poll}, read {read}{disconnect}",
                    key.nkey
                );
                let mut event = event(action::CREDENTIAL_ADDED, actor, name, words, now);
                event.sealwire.get_or_insert_default().sensor = Some(*id);
                events.push(event);
            }
        }
        let mut leaf = 0;
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let batch = Batch::of(events.by_ref().take(Batch::EVENTS_MAX).collect());
            let receipt = self.ledger.append(batch).await?;
            leaf = receipt.first_leaf + receipt.leaves - 1;
        }
        let count = new.len();
        self.change(&lock, move |book| book.add(new)).await?;
        Ok(Done::AddCredentials { leaf, count })
    }

    /// Writes the file first: whatever fails afterwards, the credential is no longer valid. The
    /// event follows, at the next start if need be.
    pub(crate) async fn revoke(
        &self,
        name: CredentialName,
        revocation: Revocation,
    ) -> Result<Done, CredentialOrderError> {
        let lock = self.lock().await;
        // An earlier order revoked it but did not seal it. This order completes that one.
        let is_unsealed = |book: &Book| book.unsealed().iter().any(|(other, _)| *other == name);
        if !self.stored.look(is_unsealed) {
            let name = name.clone();
            self.change(&lock, move |book| book.revoke(&name, revocation)).await?;
        }
        let sealed = self.seal_revocations_under(&lock).await?;
        let leaf = sealed.into_iter().find_map(|(other, leaf)| (other == name).then_some(leaf));
        Ok(Done::RevokeCredential {
            leaf: leaf.expect("it was revoked above, under the same lock"),
        })
    }

    /// Seals the revocations that an earlier process or order left unsealed.
    pub(crate) async fn seal_revocations(&self) -> Result<(), CredentialOrderError> {
        let lock = self.lock().await;
        self.seal_revocations_under(&lock).await.map(drop)
    }

    async fn seal_revocations_under(
        &self,
        lock: &Changing,
    ) -> Result<Vec<(CredentialName, u64)>, CredentialOrderError> {
        let mut sealed = Vec::new();
        for (name, Revocation { actor, at }) in self.stored.look(Book::unsealed) {
            let words = format!("credential {name} revoked");
            let event = event(action::CREDENTIAL_REVOKED, &actor, &name, words, at);
            // A retry seals nothing twice.
            let key = format!("revoke credential {name} {at}");
            let key = AppendKey::parse(&key).expect("a name and a moment are shorter");
            let batch = Batch { key: Some(key), ..Batch::of(vec![event]) };
            let receipt = self.ledger.append(batch).await?;
            sealed.push((name.clone(), receipt.first_leaf));
            let note = move |book: &mut Book| {
                book.sealed(&name);
                Ok(())
            };
            self.change(lock, note).await?;
        }
        Ok(sealed)
    }

    /// Seals the event first, as for a new credential.
    pub(crate) async fn rotate(
        &self,
        name: CredentialName,
        key: Key,
        overlap: Option<Duration>,
        (actor, now): (&str, Timestamp),
    ) -> Result<Done, CredentialOrderError> {
        let lock = self.lock().await;
        let mut tried = self.stored.look(Book::clone);
        tried.rotate(&name, key.clone(), overlap, now).map_err(CredentialOrderError::Refused)?;
        let until = overlap.map_or_else(
            || String::from("until the new one is used"),
            |overlap| format!("for {} s", overlap.as_secs()),
        );
        let words =
            format!("credential {name} rotated to the key {}: the old one stays {until}", key.nkey);
        let event = event(action::CREDENTIAL_ROTATED, actor, &name, words, now);
        let receipt = self.ledger.append(Batch::of(vec![event])).await?;
        self.change(&lock, move |book| book.rotate(&name, key, overlap, now)).await?;
        Ok(Done::RotateCredential { leaf: receipt.first_leaf })
    }

    async fn lock(&self) -> Changing {
        Arc::new(Arc::clone(&self.changing).lock_owned().await)
    }

    /// Changes the credentials and writes their file, on a blocking thread.
    async fn change(
        &self,
        lock: &Changing,
        change: impl FnOnce(&mut Book) -> Result<(), BookError> + Send + 'static,
    ) -> Result<(), CredentialOrderError> {
        let stored = self.stored.clone();
        let changed = work::blocking(Arc::clone(lock), move || stored.change(change)).await;
        match changed.map_err(CredentialOrderError::Panicked)? {
            Err(CredentialError::Book(refused)) => Err(CredentialOrderError::Refused(refused)),
            changed => Ok(changed?),
        }
    }
}

/// The topics of a device that reports by itself, and what it does there.
fn topics_of(reporting: &Reporting) -> impl Iterator<Item = (&Subject, &'static str)> {
    let Reporting { reports, hears } = reporting;
    let reports = reports.iter().map(|topic| (topic, "reports on"));
    reports.chain(hears.iter().map(|topic| (topic, "hears")))
}

fn event(action: &str, actor: &str, name: &CredentialName, words: String, at: Timestamp) -> Event {
    let mut event = event_by(actor, action, "credentials", words, at);
    event.target = Some(name.to_string());
    event
}

/// Why an order about credentials was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CredentialOrderError {
    /// The order itself cannot be carried out.
    #[error(transparent)]
    Refused(BookError),
    /// The credentials' file cannot be written.
    #[error(transparent)]
    Stored(#[from] CredentialError),
    /// The event that records the order cannot be sealed.
    #[error("cannot seal the event that records the order")]
    Append(#[from] AppendError),
    /// A bug in this program.
    #[error("changing the credentials panicked")]
    Panicked(#[source] tokio::task::JoinError),
}
