//! `/v1/log`, `/v1/log_stream`, `/v1/root`: events are sealed, and clients are told under which root.

use std::sync::Arc;

use access::TokenDescription;
use axum::body::Bytes;
use ledger::Receipt;
use model::Event;
use pangea::{
    Code, Fault, Refusal, Status,
    answer::{Logged, Nothing, RootResult},
    request::{LogRequest, RootRequest, parse_stream},
};
use tlog::Hash;

use crate::{
    api::{Api, Call, Reply, not_sealed, unreadable},
    trees,
};

impl Api {
    /// `/v1/log`.
    pub(crate) async fn log_one(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let request = LogRequest::parse_one(&body, &self.schema)?;
        let (verbose, prev_root) = (request.verbose, request.prev_root);
        let receipt = self.seal(call, token, request).await?;
        let mut logged = self.tell(call, receipt, verbose, prev_root).await?;
        let logged = logged.pop().ok_or_else(|| {
            Refusal::plain(Status::InternalError, "the log has no leaf where it sealed one")
        })?;
        Ok(Reply::done(call, "Logged 1 event", &logged))
    }

    /// `/v1/log_stream`.
    pub(crate) async fn log_stream(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let schema = Arc::clone(&self.schema);
        let request = self.blocking(call, move |_| Ok(parse_stream(&body, &schema)?)).await?;
        if request.items.is_empty() {
            self.check_config(request.config_id.as_deref())?;
        } else {
            self.seal(call, token, request).await?;
        }
        Ok(Reply::done(call, "Logged the stream's records", &Nothing {}))
    }

    /// Seals a request's events. A retry of the same request seals nothing, and gets the first receipt.
    pub(crate) async fn seal(
        &self,
        call: &Call,
        token: &TokenDescription,
        request: LogRequest,
    ) -> Result<Receipt, Refusal> {
        self.check_config(request.config_id.as_deref())?;
        let in_its_name = |item| {
            let mut event = Event::from(item);
            event.token = Some(token.name.as_str().to_owned());
            event
        };
        let events = request.items.into_iter().map(in_its_name).collect();
        let _effect = self.admission.effect(token).await?;
        self.ledger.append(call.batch(token, events)).await.map_err(not_sealed)
    }

    /// What is said of sealed events: their hashes; envelopes and proofs only if they are wanted. They are proved under the tree as it is now.
    pub(crate) async fn tell(
        self: &Arc<Self>,
        call: &Call,
        receipt: Receipt,
        verbose: bool,
        prev_root: Option<Hash>,
    ) -> Result<Vec<Logged>, Refusal> {
        let view = call.view;
        let Receipt { first_leaf, leaves } = receipt;
        let count = usize::try_from(leaves).unwrap_or(usize::MAX);
        self.blocking(call, move |api| {
            let entries = api.ledger.entries(first_leaf, count).map_err(unreadable)?;
            let hashes = entries.iter().map(trees::hex);
            if !verbose {
                let only_hash = |hash| Logged { hash: Some(hash), ..Logged::default() };
                return Ok(hashes.map(only_hash).collect());
            }
            let size = api.ledger.size();
            let root = api.trees.issue(size).map_err(unreadable)?;
            let old = prev_root.and_then(|root| api.trees.size_of(&root));
            let consistency = match old {
                Some(old) => api.trees.consistency(old, size).map_err(unreadable)?,
                None => None,
            };
            let mut prove = api.trees.prover(size);
            // One batch was sealed at once, so it can be held at once.
            let stored = api.ledger.envelopes(first_leaf, count, usize::MAX).map_err(unreadable)?;
            let tell = |(stored, hash): (ledger::StoredEnvelope, String)| {
                // It may be erased already, where this is a retry.
                let shown = stored.bytes.and_then(|bytes| view.show(&bytes, &api.schema));
                let is_verifiable = shown.as_ref().is_some_and(|shown| shown.is_verifiable);
                let envelope = shown.map(|shown| shown.envelope);
                if !is_verifiable {
                    return Ok(Logged { envelope, ..Logged::default() });
                }
                Ok(Logged {
                    consistency_proof: consistency.clone(),
                    envelope,
                    hash: Some(hash),
                    membership_proof: prove(stored.leaf).map_err(unreadable)?,
                    unpublished_root: Some(root.clone()),
                })
            };
            stored.into_iter().zip(hashes).map(tell).collect()
        })
        .await
    }

    /// `/v1/root`.
    pub(crate) async fn root(self: &Arc<Self>, call: &Call, body: &[u8]) -> Result<Reply, Refusal> {
        let request = RootRequest::parse(body)?;
        self.check_config(request.config_id.as_deref())?;
        let size = match request.tree_size {
            None => self.ledger.published().checkpoint.size.get(),
            Some(size) => size,
        };
        if size > self.ledger.size() {
            let words = format!("the log has {} leaves", self.ledger.size());
            let fault = Fault::new(Code::IsTooBig, "/tree_size", words);
            return Err(Refusal::at(Status::TreeNotFound, fault));
        }
        self.cover(size).await?;
        let base = call.base.clone();
        let data = self
            .blocking(call, move |api| api.trees.root(size, Some(&base)).map_err(unreadable))
            .await?;
        Ok(Reply::done(call, "The root of the log's tree", &RootResult { data }))
    }

    /// Has a checkpoint cover the first `size` leaves.
    pub(crate) async fn cover(&self, size: u64) -> Result<u64, Refusal> {
        let mut published = self.ledger.published();
        if published.checkpoint.size.get() < size {
            published = self.ledger.publish_checkpoint().await.map_err(not_sealed)?;
        }
        Ok(published.checkpoint.size.get())
    }
}
