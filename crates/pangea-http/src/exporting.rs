//! `/v1/export` and `/v1/download_results`: give clients the addresses of files.
//!
//! The content of a file is determined here, so that a client learns at once what is not possible.
//! The file is written while it is sent.

use std::sync::Arc;

use access::TokenDescription;
use model::action;
use orders::token_event;
use pangea::{
    Code, Fault, Refusal, Status,
    request::{DownloadRequest, Downloaded, ExportRequest, Format},
};

use crate::{
    admission::Admission,
    call::Call,
    content::Content,
    downloads::Downloads,
    promises::Promises,
    refusals::not_sealed,
    reply::Reply,
    saved::{Export, Promised},
    searching::Searching,
    shown_log::ShownLog,
};

/// Answers requests for files.
#[derive(Debug)]
pub(crate) struct Exporting {
    pub(crate) log: ShownLog,
    pub(crate) admission: Arc<Admission>,
    pub(crate) searching: Arc<Searching>,
    pub(crate) promises: Promises,
    pub(crate) downloads: Arc<Downloads>,
}

impl Exporting {
    /// Answers `/v1/export`: prepares a span of the log for `/v1/download_results`.
    pub(crate) async fn export(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let ExportRequest { config_id, window, format } =
            ExportRequest::parse(body, &self.log.schema, call.asked_at())?;
        self.log.check_config(config_id.as_deref())?;
        let until = window.end.map_or_else(|| String::from("now"), |end| end.to_string());
        let words = format!("events exported, received from {} to {until}", window.start);
        self.seal(call, token, words).await?;
        let end_leaf = self.log.ledger.size();
        let export = Export { window, format, end_leaf };
        self.promises.promise(call, token, Promised::Export(export)).await
    }

    /// Answers `/v1/download_results`: the address of a file with the results of a search, or of an
    /// export.
    pub(crate) async fn download_results(
        &self,
        call: &Call,
        token: &TokenDescription,
        body: &[u8],
    ) -> Result<Reply, Refusal> {
        let DownloadRequest { config_id, of, format, asserted } =
            DownloadRequest::parse(body, &self.log.schema)?;
        self.log.check_config(config_id.as_deref())?;
        let (name, content, default) = match of {
            Downloaded::Search(id) => {
                let search = self.searching.saved(Some(&id), "/result_id", asserted.as_ref())?;
                let leaves = self.searching.found(call, search).await?;
                let words = format!("events of the search {id} downloaded");
                self.seal(call, token, words).await?;
                (id.to_string(), Content::Found(leaves.into()), Format::Csv)
            }
            Downloaded::Export(id) => {
                let Some(Promised::Export(export)) = self.promises.promised(call, token, &id)
                else {
                    let words = "there is no such export of this token, or it is more than two days old: export again";
                    let fault = Fault::new(Code::DoesNotExist, "/request_id", words);
                    return Err(Refusal::at(Status::NotFound, fault));
                };
                let format = export.format;
                (id.to_string(), Content::Export(export), format)
            }
        };
        let format = format.unwrap_or(default);
        let download = self.downloads.offer(call, token, &name, content, format);
        Ok(Reply::done(call, "The file is at its address", &download))
    }

    /// Seals the fact that events are exported, and the token that exports them.
    async fn seal(
        &self,
        call: &Call,
        token: &TokenDescription,
        words: String,
    ) -> Result<(), Refusal> {
        let name = token.name.as_str();
        let mut event = token_event(action::EVENTS_EXPORTED, name, &token.name, words, call.began);
        // A retry seals the same event. `received_at` has the time.
        event.timestamp = None;
        let _effect = self.admission.effect(token).await?;
        let batch = call.batch(token, vec![event]);
        self.log.ledger.append(batch).await.map(drop).map_err(not_sealed)
    }
}
