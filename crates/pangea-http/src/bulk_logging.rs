//! `/v2/log`, `/v2/log_async` and `/request/{id}`: many events at once, with an answer now or
//! later.
//!
//! A request is sealed before it is answered with 202, because sealing takes only milliseconds. The
//! leaves of its events are saved, and the result is made when the client asks for it.

use access::TokenDescription;
use axum::body::Bytes;
use ledger::Receipt;
use pangea::{
    Refusal, Status,
    answer::{LoggedAll, Nothing},
    request::LogRequest,
};

use crate::{call::Call, logging::Logging, promises::Promises, reply::Reply, saved::Promised};

/// Seals the events of a request, and answers at once or when the client asks.
#[derive(Debug)]
pub(crate) struct BulkLogging {
    pub(crate) logging: Logging,
    pub(crate) promises: Promises,
}

impl BulkLogging {
    /// `/v2/log`.
    pub(crate) async fn log(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let (receipt, verbose) = self.seal(call, token, body).await?;
        let results = self.logging.tell(call, receipt, verbose, None).await?;
        Ok(Reply::done(call, "Logged all events", &LoggedAll { results }))
    }

    /// `/v2/log_async`.
    pub(crate) async fn log_async(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let (receipt, verbose) = self.seal(call, token, body).await?;
        let Receipt { first_leaf, leaves } = receipt;
        let sealed = Promised::Sealed { first_leaf, leaves, verbose };
        self.promises.promise(call, token, sealed).await
    }

    async fn seal(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<(Receipt, bool), Refusal> {
        let request = self.logging.parse(call, body, LogRequest::parse_bulk).await?;
        let verbose = request.verbose;
        Ok((self.logging.seal(call, token, request).await?, verbose))
    }

    /// Answers `/request/{id}`: the result of a request that was answered with 202. Only the token
    /// that made the request may ask.
    pub(crate) async fn request(
        &self,
        call: &Call,
        token: &TokenDescription,
        id: &str,
    ) -> Result<Reply, Refusal> {
        let unknown = || {
            let words = "there is no such request of this token, or it is more than two days old";
            Refusal::plain(Status::NotFound, words)
        };
        let asked = id.parse().map_err(|_| unknown())?;
        let reply = match self.promises.promised(call, token, &asked).ok_or_else(unknown)? {
            Promised::Sealed { first_leaf, leaves, verbose } => {
                let receipt = Receipt { first_leaf, leaves };
                self.logging.rooms.place_for_a_page(call).await;
                let results = self.logging.tell(call, receipt, verbose, None).await?;
                Reply::done(call, "Logged all events", &LoggedAll { results })
            }
            Promised::Export(_) => Reply::done(call, "The export can be downloaded", &Nothing {}),
        };
        Ok(reply.of(asked))
    }
}
