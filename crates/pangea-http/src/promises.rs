//! Requests that are answered with 202. What each request was promised is saved, and its token may
//! ask for it.

use std::sync::Arc;

use access::TokenDescription;
use pangea::{Refusal, RequestId};

use crate::{
    call::Call,
    refusals::failed,
    reply::Reply,
    rooms::Rooms,
    saved::{self, Promise, Promised, SavedPromises},
};

/// Makes promises and finds them. Cheap to clone: the clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Promises {
    pub(crate) saved: Arc<SavedPromises>,
    pub(crate) rooms: Rooms,
}

impl Promises {
    /// Answers with 202, after the promise is saved for a later start. A retry of the request gets
    /// the same promise under its own id.
    pub(crate) async fn promise(
        &self,
        call: &Call,
        token: &TokenDescription,
        of: Promised,
    ) -> Result<Reply, Refusal> {
        let (name, token_created_at) = (token.name.clone(), token.created_at);
        let promise = Promise { token: name, token_created_at, of };
        let (id, expires_at) = (call.id.clone(), call.after(saved::LIFETIME));
        let saved = Arc::clone(&self.saved);
        let save = move || saved.save(&id, promise, expires_at).map_err(|error| failed(&error));
        self.rooms.blocking(call, save).await?;
        Ok(Reply::accepted(call))
    }

    /// The promise to this token under this id.
    pub(crate) fn promised(
        &self,
        call: &Call,
        token: &TokenDescription,
        id: &RequestId,
    ) -> Option<Promised> {
        let promise = self.saved.get(id, call.began)?;
        let is_its = promise.token == token.name && promise.token_created_at == token.created_at;
        is_its.then_some(promise.of)
    }
}
