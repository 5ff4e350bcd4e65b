//! Orders about hosts on other machines: adding and removing them.
//!
//! A new host gets two certificates, one for control and one for data, and an API token with which
//! it pulls images. The site keeps the certificates and the token's hash; what is secret goes to
//! whoever gave the order, once.

use std::{path::PathBuf, sync::Arc};

use access::{
    ApiTokenError, Host, HostError, Hosts, Revocation, Scope, TokenDescription,
    sensors::CredentialName, token_of_host,
};
use engine::{Authority, HostKind, Identity, OtherHost, ca::CredentialError};
use ledger::{AppendError, AppendKey, Batch};
use model::{Event, Timestamp, action};
use tlog::Hash;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    order::{HostIdentity, HostSecrets, event_by},
    tokens::{TokenOrderError, TokenOrders},
};

/// Random bytes of a host's id, which tells it from an earlier host of its name.
const ID_BYTES: usize = 8;

/// Adds hosts on other machines and removes them, and seals each change. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct HostOrders {
    tokens: TokenOrders,
    stored: Hosts,
    /// File of the key of the authority that all of them know. It is made with the first of them.
    authority_key: PathBuf,
    /// Allows one change at a time, so that what was checked still holds when the file is written.
    changing: Arc<Mutex<()>>,
}

/// The lock on the hosts, in a form that blocking work can hold.
type Changing = Arc<OwnedMutexGuard<()>>;

impl HostOrders {
    pub(crate) fn new(tokens: TokenOrders, stored: Hosts, authority_key: PathBuf) -> Self {
        Self { tokens, stored, authority_key, changing: Arc::default() }
    }

    pub(crate) const fn stored(&self) -> &Hosts {
        &self.stored
    }

    /// Adds a host, whose components may hand in events if it `writes`. Returns the leaf of the
    /// event that records it, and what the host needs. Seals the event first: the log records a
    /// host before it is let in.
    pub(crate) async fn add(
        &self,
        (name, kind, writes): (CredentialName, HostKind, bool),
        actor: &str,
        now: Timestamp,
    ) -> Result<(u64, HostSecrets), HostOrderError> {
        let lock = self.lock().await;
        self.seal_removals_under(&lock).await?;
        self.stored.check_new(&name)?;
        let id = hex::encode(rand::random::<[u8; ID_BYTES]>());
        let (key_file, holder, user) = (self.authority_key.clone(), name.clone(), id.clone());
        let made = work::blocking(Arc::clone(&lock), move || {
            let authority = Authority::kept(&key_file)?;
            let holder = holder.as_str();
            let [control, data] = OtherHost::users(kind, &user);
            let control = Identity::alone(holder, &control)?;
            let data = Identity::alone(holder, &data)?;
            Ok::<_, CredentialError>((authority.pem(), control, data))
        });
        let (server_ca, control, data) = made.await.map_err(HostOrderError::Panicked)??;

        let token = TokenDescription {
            name: token_of_host(&name),
            scope: if writes { vec![Scope::Pull, Scope::Write] } else { vec![Scope::Pull] },
            log: None,
            nkey: None,
            created_at: now,
        };
        let (_leaf, registry_token) = self.tokens.create(token, actor).await?;
        let sha256 =
            |identity: &Identity| hex::encode(Hash::sha256(identity.certificate_der()).as_bytes());
        let guests = kind == HostKind::Guests;
        let words = format!(
            "host {name} added{}: its certificates have the SHA-256 {} for control and {} for data",
            match (guests, writes) {
                (true, _) => " for users' processors",
                (false, true) => ", whose components may hand in events",
                (false, false) => "",
            },
            sha256(&control),
            sha256(&data)
        );
        let event = event(action::HOST_ADDED, actor, &name, words, now);
        let host = Host {
            name: name.clone(),
            id,
            guests,
            certificates_pem: [control.certificate_pem(), data.certificate_pem()].concat(),
            added_at: now,
        };
        let added = async {
            let receipt = self.tokens.ledger.append(Batch::of(vec![event])).await?;
            self.change(&lock, move |hosts| hosts.add(host)).await?;
            Ok::<_, HostOrderError>(receipt.first_leaf)
        };
        let leaf = match added.await {
            Ok(leaf) => leaf,
            Err(error) => {
                // Nobody has the token. If it stays, `sealwire token revoke` revokes it.
                let revocation = Revocation { actor: actor.to_owned(), at: now };
                let _stays = self.tokens.revoke(token_of_host(&name), revocation).await;
                return Err(error);
            }
        };
        let identity =
            |of: &Identity| HostIdentity { certificate: of.certificate_pem(), key: of.key_pem() };
        let (control, data) = (identity(&control), identity(&data));
        Ok((leaf, HostSecrets { server_ca, control, data, registry_token }))
    }

    /// Removes a host. Returns the leaf of the event that records it. Writes the file first:
    /// whatever fails afterwards, the host is no longer let in. The events follow, at the next
    /// start if need be.
    pub(crate) async fn remove(
        &self,
        name: CredentialName,
        removal: Revocation,
    ) -> Result<u64, HostOrderError> {
        let lock = self.lock().await;
        // An earlier order removed it but did not seal it. This order completes that one.
        if !self.stored.removed().iter().any(|(host, _)| host.name == name) {
            let name = name.clone();
            self.change(&lock, move |hosts| hosts.remove(&name, removal)).await?;
        }
        let sealed = self.seal_removals_under(&lock).await?;
        let leaf = sealed.into_iter().find_map(|(host, leaf)| (host.name == name).then_some(leaf));
        Ok(leaf.expect("it was removed above, under the same lock"))
    }

    /// Completes and seals the removals that an earlier process or order left so.
    pub(crate) async fn seal_removals(&self) -> Result<(), HostOrderError> {
        let lock = self.lock().await;
        self.seal_removals_under(&lock).await.map(drop)
    }

    async fn seal_removals_under(
        &self,
        lock: &Changing,
    ) -> Result<Vec<(Host, u64)>, HostOrderError> {
        let mut sealed = Vec::new();
        for (host, removal) in self.stored.removed() {
            match self.tokens.revoke(token_of_host(&host.name), removal.clone()).await {
                // An operator may have revoked it before.
                Ok(_) | Err(TokenOrderError::Token(ApiTokenError::Unknown { .. })) => {}
                Err(error) => return Err(error.into()),
            }
            let Revocation { actor, at } = removal;
            let words = format!("host {} removed", host.name);
            let event = event(action::HOST_REMOVED, &actor, &host.name, words, at);
            // A retry seals nothing twice.
            let key = AppendKey::parse(&format!("remove host {} {}", host.name, host.id));
            let key = key.expect("a name and an id are shorter");
            let batch = Batch { key: Some(key), ..Batch::of(vec![event]) };
            let receipt = self.tokens.ledger.append(batch).await?;
            sealed.push((host.clone(), receipt.first_leaf));
            self.change(lock, move |hosts| hosts.forget(&host)).await?;
        }
        Ok(sealed)
    }

    async fn lock(&self) -> Changing {
        Arc::new(Arc::clone(&self.changing).lock_owned().await)
    }

    /// Changes the hosts and writes their file, on a blocking thread.
    async fn change(
        &self,
        lock: &Changing,
        change: impl FnOnce(&Hosts) -> Result<(), HostError> + Send + 'static,
    ) -> Result<(), HostOrderError> {
        let hosts = self.stored.clone();
        let changed = work::blocking(Arc::clone(lock), move || change(&hosts)).await;
        Ok(changed.map_err(HostOrderError::Panicked)??)
    }
}

fn event(action: &str, actor: &str, name: &CredentialName, words: String, at: Timestamp) -> Event {
    let mut event = event_by(actor, action, "hosts", words, at);
    event.target = Some(name.to_string());
    event
}

/// Why an order about hosts was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HostOrderError {
    /// The order itself cannot be carried out, or the hosts' file cannot be written.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The host's certificates cannot be made.
    #[error("cannot make the host's certificates")]
    Identity(#[from] CredentialError),
    /// The token with which it pulls images cannot be made or revoked.
    #[error("cannot make or revoke the host's token")]
    Token(#[from] TokenOrderError),
    /// The event that records the order cannot be sealed.
    #[error("cannot seal the event that records the order")]
    Append(#[from] AppendError),
    /// A bug in this program.
    #[error("changing the hosts panicked")]
    Panicked(#[source] tokio::task::JoinError),
}
