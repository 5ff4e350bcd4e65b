//! `/v2/log`, `/v2/log_async` and `/request/{id}`.
//!
//! What is answered with 202 is sealed already: sealing takes milliseconds. Only where it lies is remembered, and the answer is made when it is asked for.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use ledger::Receipt;
use pangea::{
    Refusal, Status,
    answer::{LoggedAll, Nothing},
    request::LogRequest,
};

use super::{Api, Call, Promised, Reply};
use crate::api_tokens::{TokenDescription, TokenName};

/// For how long the result of a request can be asked for, unless 65,536 others came since or the site was started again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(2 * 86_400);

/// Events that were sealed for a request.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    token: TokenName,
    receipt: Receipt,
    verbose: bool,
    at: model::Timestamp,
}

impl Api {
    /// `/v2/log`.
    pub(super) async fn log_bulk(
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
    pub(super) async fn log_async(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<Reply, Refusal> {
        let (receipt, verbose) = self.seal_bulk(call, token, body).await?;
        let sealed = Sealed { token: token.name.clone(), receipt, verbose, at: call.began };
        self.promised().insert(call.id.clone(), Promised::Sealed(sealed));
        Ok(Reply::accepted(call, call.id.clone()))
    }

    async fn seal_bulk(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        body: Bytes,
    ) -> Result<(Receipt, bool), Refusal> {
        let schema = Arc::clone(&self.schema);
        let parse = move |_: &Self| Ok(LogRequest::parse_bulk(&body, &schema)?);
        let request = self.blocking(parse).await?;
        let verbose = request.verbose;
        Ok((self.seal(call, token, request).await?, verbose))
    }

    /// `/request/{id}`: what a request came to that was answered with 202. Only the token that made it may ask.
    pub(super) async fn request(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        id: &str,
    ) -> Result<Reply, Refusal> {
        let unknown = || {
            let words = "there is no such request, or it is more than two days old, or the site was started again since";
            Refusal::plain(Status::NotFound, words)
        };
        let of = id.parse().map_err(|_| unknown())?;
        let promised = self.promised().get(&of).cloned().ok_or_else(unknown)?;
        let (owner, at) = match &promised {
            Promised::Sealed(sealed) => (&sealed.token, sealed.at),
            Promised::Export(export) => (&export.token, export.at),
        };
        let age = call.began.unix_micros().saturating_sub(at.unix_micros());
        if *owner != token.name || age > super::micros(REMEMBERED) {
            return Err(unknown());
        }
        let reply = match promised {
            Promised::Sealed(Sealed { receipt, verbose, .. }) => {
                let results = self.tell(call, receipt, verbose, None).await?;
                Reply::done(call, "Logged all events", &LoggedAll { results })
            }
            Promised::Export(_) => Reply::done(call, "The export can be downloaded", &Nothing {}),
        };
        Ok(Reply { of, ..reply })
    }
}
