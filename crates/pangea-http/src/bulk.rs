//! `/v2/log`, `/v2/log_async` and `/request/{id}`.
//!
//! What is answered with 202 is sealed already: sealing takes milliseconds. Only where it lies is saved, and the answer is made when it is asked for.

use std::sync::Arc;

use access::TokenDescription;
use axum::body::Bytes;
use ledger::Receipt;
use pangea::{
    Refusal, Status,
    answer::{LoggedAll, Nothing},
    request::LogRequest,
};
use serde::{Deserialize, Serialize};

use crate::api::{Api, Call, Promised, Reply};

/// Events that were sealed for a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Sealed {
    pub(crate) first_leaf: u64,
    pub(crate) leaves: u64,
    pub(crate) verbose: bool,
}

impl Api {
    /// `/v2/log`.
    pub(crate) async fn log_bulk(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let (receipt, verbose) = self.seal_bulk(call, token, body).await?;
        let results = self.tell(call, receipt, verbose, None).await?;
        Ok(Reply::done(call, "Logged all events", &LoggedAll { results }))
    }

    /// `/v2/log_async`.
    pub(crate) async fn log_async(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let (receipt, verbose) = self.seal_bulk(call, token, body).await?;
        let Receipt { first_leaf, leaves } = receipt;
        let sealed = Sealed { first_leaf, leaves, verbose };
        self.promise(call, token, Promised::Sealed(sealed)).await
    }

    async fn seal_bulk(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<(Receipt, bool), Refusal> {
        let schema = Arc::clone(&self.schema);
        let parse = move |_: &Self| Ok(LogRequest::parse_bulk(&body, &schema)?);
        let request = self.blocking(call, parse).await?;
        let verbose = request.verbose;
        Ok((self.seal(call, token, request).await?, verbose))
    }

    /// `/request/{id}`: what a request came to that was answered with 202. Only the token that made it may ask.
    pub(crate) async fn request(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        id: &str,
    ) -> Result<Reply, Refusal> {
        let unknown = || {
            let words = "this token made no such request, or it is more than two days old";
            Refusal::plain(Status::NotFound, words)
        };
        let of = id.parse().map_err(|_| unknown())?;
        let reply = match self.promised(call, token, &of).ok_or_else(unknown)? {
            Promised::Sealed(Sealed { first_leaf, leaves, verbose }) => {
                let receipt = Receipt { first_leaf, leaves };
                self.place_for_a_page(call).await;
                let results = self.tell(call, receipt, verbose, None).await?;
                Reply::done(call, "Logged all events", &LoggedAll { results })
            }
            Promised::Export(_) => Reply::done(call, "The export can be downloaded", &Nothing {}),
        };
        Ok(Reply { of, ..reply })
    }
}
