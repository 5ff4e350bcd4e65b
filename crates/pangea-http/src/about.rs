//! `/v1/root` and `/v1/schema`: the log's root and schema.

use std::sync::Arc;

use pangea::{
    Code, Fault, Refusal, Status,
    answer::{RootResult, SchemaResult},
    request::{RootRequest, parse_schema},
};

use crate::{
    call::Call, refusals::unreadable, reply::Reply, rooms::Rooms, shown_log::ShownLog, trees::Trees,
};

/// Answers requests for the log's root and its schema.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) log: ShownLog,
    pub(crate) trees: Arc<Trees>,
    pub(crate) rooms: Rooms,
}

impl About {
    /// Answers `/v1/root`: the root of the published tree, or of another size that a checkpoint
    /// then covers.
    pub(crate) async fn root(&self, call: &Call, body: &[u8]) -> Result<Reply, Refusal> {
        let request = RootRequest::parse(body)?;
        self.log.check_config(request.config_id.as_deref())?;
        let ledger = &self.log.ledger;
        let published = || ledger.published().checkpoint.size.get();
        let size = request.tree_size.unwrap_or_else(published);
        if size > ledger.size() {
            let words = format!("the log has {} leaves", ledger.size());
            let fault = Fault::new(Code::IsTooBig, "/tree_size", words);
            return Err(Refusal::at(Status::TreeNotFound, fault));
        }
        self.log.cover(size).await?;
        let (trees, base) = (Arc::clone(&self.trees), call.base.clone());
        let root = move || trees.root(size, Some(&base)).map_err(unreadable);
        let data = self.rooms.blocking(call, root).await?;
        Ok(Reply::done(call, "The root of the log's tree", &RootResult { data }))
    }

    /// `/v1/schema`.
    pub(crate) fn schema(&self, call: &Call, body: &[u8]) -> Result<Reply, Refusal> {
        self.log.check_config(parse_schema(body)?.as_deref())?;
        Ok(Reply::done(call, "The log's schema", &SchemaResult::new(&self.log.schema)))
    }
}
