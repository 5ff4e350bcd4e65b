//! One request: its id, its time, the URL of this port for its client, and what it holds.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use access::TokenDescription;
use axum::http::{HeaderMap, HeaderName, header};
use ledger::{AppendKey, Batch};
use model::{Event, Timestamp};
use pangea::{Attempts, RequestId, View};
use tokio::sync::OwnedSemaphorePermit;

use crate::config::PublicUrl;

const RETRIED_REQUEST_IDS: HeaderName = HeaderName::from_static("x-pangea-retried-request-ids");

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) began: Timestamp,
    /// The form in which the client's SDK needs envelopes.
    pub(crate) view: View,
    /// URL of this port for the client, without a slash at the end.
    pub(crate) base: String,
    /// The ids under which this request's events may be sealed. They keep a retry from sealing the
    /// events again.
    attempts: Attempts,
    held: Held,
}

/// What a call holds until there is memory for its answer. Work whose client has gone holds it
/// until the work ends. Clones hold the same permits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Memory of the request's body.
    body: Arc<OnceLock<OwnedSemaphorePermit>>,
    /// A place among the calls that make large answers.
    page: Arc<OnceLock<OwnedSemaphorePermit>>,
}

impl Call {
    /// Creates the call of a request with these headers, which begins now. Its client finds this
    /// port at `public_url` or, without one, at the host that the request names.
    pub(crate) fn begin(
        headers: &HeaderMap,
        is_encrypted: bool,
        public_url: Option<&PublicUrl>,
    ) -> Self {
        let text = |name: &HeaderName| -> &str {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let began = clock::now();
        let id = RequestId::new(began.unix_millis().unsigned_abs(), rand::random());
        let attempts = id.attempts(text(&RETRIED_REQUEST_IDS));
        let base = public_url.map_or_else(
            || {
                let scheme = if is_encrypted { "https" } else { "http" };
                format!("{scheme}://{}", text(&header::HOST))
            },
            |url| url.as_str().to_owned(),
        );
        let view = View::of(text(&header::USER_AGENT));
        Self { id, began, view, base, attempts, held: Held::default() }
    }

    /// The events of this request as one batch. A retry of the request seals nothing and gets the
    /// first receipt.
    pub(crate) fn batch(&self, token: &TokenDescription, events: Vec<Event>) -> Batch {
        let key = |id: &RequestId| {
            let key = format!("{} {id}", token.name.as_str());
            AppendKey::parse(&key).expect("a name and an id are shorter than a key may be")
        };
        let Attempts { first, others } = &self.attempts;
        let earlier_keys = others.iter().map(key).collect();
        Batch { events, key: Some(key(first)), earlier_keys, cursor: None }
    }

    /// The time that counts as "now" for this request and each retry of it.
    pub(crate) fn asked_at(&self) -> Timestamp {
        let first = self.attempts.first.unix_millis().and_then(|millis| i64::try_from(millis).ok());
        let first = first.map(|millis| Timestamp::from_unix_micros(millis.saturating_mul(1_000)));
        first.unwrap_or(self.began).min(self.began)
    }

    /// The time this long after the call began.
    pub(crate) fn after(&self, duration: Duration) -> Timestamp {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_unix_micros(self.began.unix_micros().saturating_add(micros))
    }

    /// What the call holds, for work that may outlive it.
    pub(crate) fn held(&self) -> Held {
        self.held.clone()
    }

    pub(crate) fn hold_body(&self, memory: OwnedSemaphorePermit) {
        self.held.body.get_or_init(|| memory);
    }

    pub(crate) fn hold_page(&self, place: OwnedSemaphorePermit) {
        self.held.page.get_or_init(|| place);
    }

    pub(crate) fn holds_page(&self) -> bool {
        self.held.page.get().is_some()
    }

    /// Releases what the call holds.
    pub(crate) fn release(&mut self) {
        drop(std::mem::take(&mut self.held));
    }
}
