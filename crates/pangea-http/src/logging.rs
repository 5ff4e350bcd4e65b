//! `/v1/log` and `/v1/log_stream`: seal events and return the result.

use std::sync::Arc;

use access::TokenDescription;
use axum::body::Bytes;
use ledger::{Receipt, StoredEnvelope};
use model::Event;
use pangea::{
    Fault, Refusal, Schema, Status,
    answer::{Logged, Nothing},
    request::{LogRequest, parse_stream},
};
use tlog::Hash;

use crate::{
    admission::Admission,
    call::Call,
    refusals::{not_sealed, unreadable},
    reply::Reply,
    rooms::Rooms,
    shown_log::ShownLog,
    trees::{self, Trees},
};

/// Seals events of clients. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Logging {
    pub(crate) log: ShownLog,
    pub(crate) admission: Arc<Admission>,
    pub(crate) trees: Arc<Trees>,
    pub(crate) rooms: Rooms,
}

impl Logging {
    /// `/v1/log`.
    pub(crate) async fn log(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let request = LogRequest::parse_one(body, &self.log.schema)?;
        let (verbose, prev_root) = (request.verbose, request.prev_root);
        let receipt = self.seal(call, token, request).await?;
        let mut logged = self.tell(call, receipt, verbose, prev_root).await?;
        let logged = logged.pop().ok_or_else(|| {
            Refusal::plain(Status::InternalError, "the log lacks a leaf that it has just sealed")
        })?;
        Ok(Reply::done(call, "Logged 1 event", &logged))
    }

    /// `/v1/log_stream`.
    pub(crate) async fn log_stream(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let request = self.parse(call, body, parse_stream).await?;
        if request.items.is_empty() {
            self.log.check_config(request.config_id.as_deref())?;
        } else {
            self.seal(call, token, request).await?;
        }
        Ok(Reply::done(call, "Logged the stream's records", &Nothing {}))
    }

    /// Parses a body of many events.
    pub(crate) async fn parse(
        &self,
        call: &Call,
        body: Bytes,
        parse: fn(&[u8], &Schema) -> Result<LogRequest, Fault>,
    ) -> Result<LogRequest, Refusal> {
        let schema = Arc::clone(&self.log.schema);
        self.rooms.blocking(call, move || Ok(parse(&body, &schema)?)).await
    }

    /// Seals a request's events. A retry of the same request seals nothing and gets the first
    /// receipt.
    pub(crate) async fn seal(
        &self,
        call: &Call,
        token: &TokenDescription,
        request: LogRequest,
    ) -> Result<Receipt, Refusal> {
        self.log.check_config(request.config_id.as_deref())?;
        let in_its_name = |item| {
            let mut event = Event::from(item);
            event.token = Some(token.name.as_str().to_owned());
            event
        };
        let events = request.items.into_iter().map(in_its_name).collect();
        let _effect = self.admission.effect(token).await?;
        self.log.ledger.append(call.batch(token, events)).await.map_err(not_sealed)
    }

    /// The answer about sealed events: their hashes and, with `verbose`, their envelopes and proofs
    /// under the present tree.
    pub(crate) async fn tell(
        &self,
        call: &Call,
        receipt: Receipt,
        verbose: bool,
        prev_root: Option<Hash>,
    ) -> Result<Vec<Logged>, Refusal> {
        let view = call.view;
        let Receipt { first_leaf, leaves } = receipt;
        let count = usize::try_from(leaves).unwrap_or(usize::MAX);
        let (log, trees) = (self.log.clone(), Arc::clone(&self.trees));
        let tell = move || {
            let entries = log.ledger.entries(first_leaf, count).map_err(unreadable)?;
            let hashes = entries.iter().map(trees::hex);
            if !verbose {
                let only_hash = |hash| Logged { hash: Some(hash), ..Logged::default() };
                return Ok(hashes.map(only_hash).collect());
            }
            let size = log.ledger.size();
            let root = trees.issue(size).map_err(unreadable)?;
            let old = prev_root.and_then(|root| trees.size_of(&root));
            let consistency = match old {
                Some(old) => trees.consistency(old, size).map_err(unreadable)?,
                None => None,
            };
            let mut prove = trees.prover(size);
            // The batch fitted into memory when it was sealed, so it fits now.
            let stored = log.ledger.envelopes(first_leaf, count, usize::MAX).map_err(unreadable)?;
            let tell = |(stored, hash): (StoredEnvelope, String)| {
                // In a retry, the envelope may already be erased.
                let shown = stored.bytes.and_then(|bytes| view.show(&bytes, &log.schema));
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
        };
        self.rooms.blocking(call, tell).await
    }
}
