//! Orders about API tokens.

use std::sync::Arc;

use access::{ApiTokenError, ApiTokens, Revocation, TokenDescription, TokenName};
use ledger::{AppendError, AppendKey, Batch, Ledger};
use model::{Event, Timestamp, action};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::order::event_by;

/// Changes the tokens of a site and seals each change. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TokenOrders {
    pub(crate) ledger: Ledger,
    stored: ApiTokens,
    /// Allows one change at a time, so that what was checked still holds when the file is written.
    changing: Arc<Mutex<()>>,
}

/// The lock on the tokens, in a form that blocking work can hold.
type Changing = Arc<OwnedMutexGuard<()>>;

impl TokenOrders {
    pub(crate) fn new(ledger: Ledger, stored: ApiTokens) -> Self {
        Self { ledger, stored, changing: Arc::default() }
    }

    pub(crate) const fn stored(&self) -> &ApiTokens {
        &self.stored
    }

    /// Creates a token. Returns the leaf of the event that records it, and the secret. Seals the
    /// event first: the log records a token before the token is valid.
    pub(crate) async fn create(
        &self,
        description: TokenDescription,
        actor: &str,
    ) -> Result<(u64, String), TokenOrderError> {
        let one_at_a_time = self.lock().await;
        self.seal_revocations_under(&one_at_a_time).await?;
        self.stored.check_new(&description)?;
        let TokenDescription { name, scope, nkey, created_at, .. } = &description;
        let scopes: Vec<String> = scope.iter().map(ToString::to_string).collect();
        let on_the_bus = nkey.as_ref().map(|nkey| format!(", on the message bus with {nkey}"));
        let words = format!(
            "token {} created, for {}{}",
            name.as_str(),
            scopes.join(" and "),
            on_the_bus.unwrap_or_default()
        );
        let event = token_event(action::TOKEN_CREATED, actor, name, words, *created_at);
        let receipt = self.ledger.append(Batch::of(vec![event])).await?;
        let secret = ApiTokens::new_secret();
        let shown = secret.clone();
        let add = move |tokens: &ApiTokens| tokens.add(description, &shown);
        self.change(&one_at_a_time, add).await?;
        Ok((receipt.first_leaf, secret))
    }

    /// Revokes a token. Returns the leaf of the event that records it. Writes the file first:
    /// whatever fails afterwards, the token is no longer valid. The event follows, at the next
    /// start if need be.
    pub(crate) async fn revoke(
        &self,
        name: TokenName,
        revocation: Revocation,
    ) -> Result<u64, TokenOrderError> {
        let one_at_a_time = self.lock().await;
        let is_it = |(token, _): &(TokenDescription, Revocation)| token.name == name;
        // An earlier order revoked the token but did not seal it. This order completes that one.
        if !self.stored.revoked().iter().any(is_it) {
            let name = name.clone();
            // Events that were sealed under the token precede the event that records its
            // revocation.
            let no_effects = self.stored.no_effects(&name).await;
            let revoke = move |tokens: &ApiTokens| {
                let revoked = tokens.revoke(&name, revocation);
                drop(no_effects);
                revoked
            };
            self.change(&one_at_a_time, revoke).await?;
        }
        let sealed = self.seal_revocations_under(&one_at_a_time).await?;
        let leaf = sealed.into_iter().find_map(|(token, leaf)| (token == name).then_some(leaf));
        Ok(leaf.expect("it was revoked above, under the same lock"))
    }

    /// Seals the revocations that an earlier process or order left unsealed.
    pub(crate) async fn seal_revocations(&self) -> Result<(), TokenOrderError> {
        let lock = self.lock().await;
        self.seal_revocations_under(&lock).await.map(drop)
    }

    /// Returns the names of the tokens, each with the leaf that records its revocation.
    async fn seal_revocations_under(
        &self,
        lock: &Changing,
    ) -> Result<Vec<(TokenName, u64)>, TokenOrderError> {
        let mut sealed = Vec::new();
        for (token, Revocation { actor, at }) in self.stored.revoked() {
            let name = token.name.as_str();
            let words = format!("token {name} revoked");
            let event = token_event(action::TOKEN_REVOKED, &actor, &token.name, words, at);
            // The key makes this append idempotent: a retry seals nothing twice, even if the file
            // could not be written after the first append.
            let key = format!("revoke {name} {}", token.created_at);
            let key = AppendKey::parse(&key).expect("a name and a moment are shorter");
            let batch = Batch { key: Some(key), ..Batch::of(vec![event]) };
            let receipt = self.ledger.append(batch).await?;
            sealed.push((token.name.clone(), receipt.first_leaf));
            self.change(lock, move |tokens| tokens.forget(&token)).await?;
        }
        Ok(sealed)
    }

    async fn lock(&self) -> Changing {
        Arc::new(Arc::clone(&self.changing).lock_owned().await)
    }

    /// Changes the tokens and writes their file, on a blocking thread.
    async fn change(
        &self,
        lock: &Changing,
        change: impl FnOnce(&ApiTokens) -> Result<(), ApiTokenError> + Send + 'static,
    ) -> Result<(), TokenOrderError> {
        let tokens = self.stored.clone();
        let changed = work::blocking(Arc::clone(lock), move || change(&tokens)).await;
        Ok(changed.map_err(TokenOrderError::Panicked)??)
    }
}

/// An event about a token, or about an act under it.
pub fn token_event(
    action: &str,
    actor: &str,
    name: &TokenName,
    words: String,
    at: Timestamp,
) -> Event {
    let mut event = event_by(actor, action, "api-tokens", words, at);
    event.target = Some(name.as_str().to_owned());
    event
}

/// Why an order about tokens was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum TokenOrderError {
    /// The order itself cannot be carried out, or the tokens' file cannot be written.
    #[error(transparent)]
    Token(#[from] ApiTokenError),
    /// The event that records the order cannot be sealed.
    #[error("cannot seal the event that records the order")]
    Append(#[from] AppendError),
    /// A bug in this program.
    #[error("changing the tokens panicked")]
    Panicked(#[source] tokio::task::JoinError),
}
