//! Wires the API: builds a part for each concern, and takes each call to the part that answers it.
//!
//! Every call goes through the same steps: path and method, token, body, work, answer. The token's
//! first use of the day is sealed before the call has any effect.

use std::sync::Arc;

use access::TokenDescription;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method},
    response::Response,
    routing::{any, get},
};
use http_server::{Answers, Peer};
use index::Reader;
use ledger::{Batch, Ledger};
use model::action;
use orders::{Operator, token_event};
use pangea::{Refusal, Status};
use services::progress::Progress;
use tokio::time::Instant;

use crate::{
    about::About,
    admission::{Admission, Admitted, unauthorized},
    bodies::Bodies,
    bulk_logging::BulkLogging,
    call::Call,
    config::{Config, PublicUrl},
    downloads::{self, Downloads},
    endpoint::Endpoint,
    exporting::Exporting,
    finder::{Finder, PAGE_BYTES_MAX},
    logging::Logging,
    promises::Promises,
    refusals::not_sealed,
    reply::{Reply, respond},
    rooms::{PAGES_AT_ONCE_MAX, Rooms},
    saved::Saved,
    searching::Searching,
    shown_log::ShownLog,
    trees::Trees,
};

/// Bytes of all larger answers together: room for as many of the largest pages as are made at once.
const ANSWERS_BYTES_MAX: usize = PAGES_AT_ONCE_MAX * PAGE_BYTES_MAX;

/// Pangea's API of one site's log. Each part has only what it needs.
#[derive(Debug)]
pub struct Api {
    public_url: Option<PublicUrl>,
    ledger: Ledger,
    admission: Arc<Admission>,
    bodies: Bodies,
    answers: Answers,
    about: About,
    logging: Logging,
    bulk_logging: BulkLogging,
    searching: Arc<Searching>,
    exporting: Exporting,
    downloads: Arc<Downloads>,
}

impl Api {
    /// Creates the API of a site's log, with the operator's API tokens. Searches query the index,
    /// and wait until `progress` shows that it has caught up with the log. From then on, saved
    /// searches are forgotten whenever envelopes of the log are erased.
    pub fn new(
        (ledger, operator): (Ledger, &Operator),
        (index, progress): (Reader, Progress),
        Config { schema, roots, public_url, .. }: Config,
        Saved { searches, promises }: Saved,
    ) -> Self {
        let rooms = Rooms::new();
        let log = ShownLog::new(ledger.clone(), schema);
        let admission =
            Arc::new(Admission::new(operator.tokens().clone(), log.config_id().to_owned()));
        let trees = Arc::new(Trees::new(ledger.clone()));
        let promises = Promises { saved: promises, rooms: rooms.clone() };
        let logging = Logging {
            log: log.clone(),
            admission: Arc::clone(&admission),
            trees: Arc::clone(&trees),
            rooms: rooms.clone(),
        };
        let finder = Finder { log: log.clone(), index, trees: Arc::clone(&trees), roots };
        let searching = Arc::new(Searching::new(finder, progress, searches, rooms.clone()));
        let downloads = Arc::new(Downloads::new(log.clone(), Arc::clone(&admission)));
        Self {
            public_url,
            ledger,
            bodies: Bodies::new(),
            answers: Answers::of(ANSWERS_BYTES_MAX),
            about: About { log: log.clone(), trees, rooms },
            bulk_logging: BulkLogging { logging: logging.clone(), promises: promises.clone() },
            logging,
            exporting: Exporting {
                log,
                admission: Arc::clone(&admission),
                searching: Arc::clone(&searching),
                promises,
                downloads: Arc::clone(&downloads),
            },
            admission,
            searching,
            downloads,
        }
    }

    /// The routes of the API: `/v1/...`, `/v2/...`, `/request/...` and `/download/...`.
    pub fn router(self) -> Router {
        let downloads = Router::new()
            .route("/download/{secret}/{name}", get(downloads::download))
            .with_state(Arc::clone(&self.downloads));
        Router::new()
            .route("/v1/{*path}", any(answer))
            .route("/v2/{*path}", any(answer))
            .route("/request/{id}", any(answer))
            .with_state(Arc::new(self))
            .merge(downloads)
    }

    async fn handle(&self, call: &Call, request: Request) -> Result<Reply, Refusal> {
        let (parts, body) = request.into_parts();
        let endpoint = Endpoint::of(parts.uri.path()).ok_or_else(|| {
            Refusal::plain(Status::NotFound, "there is no such endpoint: docs/pangea.md lists them")
        })?;
        if parts.method != endpoint.method() {
            let words = format!("this path supports only {}", endpoint.method());
            return Err(Refusal::plain(Status::MethodNotAllowed, words));
        }
        let token = self.admit(call, endpoint, &parts.headers).await?;
        let (body, memory) =
            self.bodies.read(&parts.headers, body, endpoint.body_bytes_max()).await?;
        call.hold_body(memory);
        let reply = match endpoint {
            Endpoint::Log => self.logging.log(call, &token, &body).await,
            Endpoint::LogBulk => self.bulk_logging.log(call, &token, body).await,
            Endpoint::LogAsync => self.bulk_logging.log_async(call, &token, body).await,
            Endpoint::LogStream => self.logging.log_stream(call, &token, body).await,
            Endpoint::Request(id) => self.bulk_logging.request(call, &token, id).await,
            Endpoint::Search => self.searching.search(call, &body).await,
            Endpoint::Results => self.searching.results(call, &body).await,
            Endpoint::Root => self.about.root(call, &body).await,
            Endpoint::Schema => self.about.schema(call, &body),
            Endpoint::Export => self.exporting.export(call, &token, &body).await,
            Endpoint::DownloadResults => self.exporting.download_results(call, &token, &body).await,
        }?;
        // What was sealed stays sealed. What was read is returned only while the token is still
        // valid.
        let is_told = endpoint.seals() || self.admission.stands(&token);
        if is_told { Ok(reply) } else { Err(unauthorized()) }
    }

    /// Admits a caller. The use of a token is sealed before the call has any effect: once a day,
    /// and after each start of the site.
    async fn admit(
        &self,
        call: &Call,
        endpoint: Endpoint<'_>,
        headers: &HeaderMap,
    ) -> Result<TokenDescription, Refusal> {
        let allows = |token: &TokenDescription| endpoint.is_allowed(&token.scope);
        let Admitted { token, is_first_of_day } =
            self.admission.admit(headers, allows, (call.began, Instant::now()))?;
        if is_first_of_day {
            let words = format!("token {} was used", token.name.as_str());
            let name = token.name.as_str();
            let event = token_event(action::TOKEN_USED, name, &token.name, words, call.began);
            self.ledger.append(Batch::of(vec![event])).await.map_err(not_sealed)?;
            self.admission.told(&token, call.began);
        }
        Ok(token)
    }
}

async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let peer = request.extensions().get::<Peer>();
    let is_encrypted = peer.is_some_and(|peer| peer.is_encrypted);
    let mut call = Call::begin(request.headers(), is_encrypted, api.public_url.as_ref());
    let allow = Endpoint::of(request.uri().path()).map_or(Method::POST, Endpoint::method);
    let outcome = api.handle(&call, request).await;
    let (head, json) = respond(&call, outcome, &allow).into_parts();
    let body = api.answers.body(json).await;
    call.release();
    if let Some(body) = body {
        return Response::from_parts(head, body);
    }
    // The events are sealed, so a retry gets the answer.
    let words = "other clients are reading their answers slowly, so there is no room for this one: try again shortly";
    let refusal = Refusal::plain(Status::ServiceNotAvailable, words);
    respond(&call, Err(refusal), &allow).map(Body::from)
}

#[cfg(test)]
mod tests {
    use data_dir::DataDir;
    use model::Event;
    use orders::SiteLog;
    use pangea::{ResultId, request::SearchRequest};
    use services::{indexing, progress::progress};

    use super::*;
    use crate::saved::{self, SavedSearch};

    #[tokio::test(flavor = "multi_thread")]
    async fn words_of_searches_are_forgotten_when_envelopes_are_erased() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path(), Some("plant")).unwrap();
        let SiteLog { ledger, writer, operator } = SiteLog::open(&data_dir, None).unwrap();
        indexing::catch_up(&data_dir.index(), &ledger).unwrap();
        let index = Reader::open(&data_dir.index()).unwrap();
        let (_reports, progress) = progress();
        let config = Config::load(&data_dir.pangea()).unwrap();
        let saved = Saved::open(data_dir.path()).unwrap();
        let searches = Arc::clone(&saved.searches);
        let call = Call::begin(&HeaderMap::new(), false, None);
        let now = call.began;
        let event = Event { message: String::from("PIN 4711"), ..Event::default() };
        let leaf = ledger.append(Batch::of(vec![event])).await.unwrap().first_leaf;

        let request = SearchRequest::parse(br#"{"query":"4711"}"#, &config.schema, now);
        let search = request.unwrap().search;
        let id = ResultId::new(1, [1; 14]);
        let _api = Api::new((ledger.clone(), &operator), (index, progress), config, saved);
        let search = SavedSearch { search, end_leaf: leaf + 1, verbose: false };
        searches.save(&id, search, call.after(saved::LIFETIME)).unwrap();
        let file = || std::fs::read_to_string(folder.path().join("pangea-searches")).unwrap();
        assert!(file().contains("4711"));
        let (actor, reason) = (String::from("tester"), String::from("a test"));
        let leaves = leaf.to_string().parse().unwrap();
        ledger.erase(ledger::Erasure { leaves, actor, reason }, now).await.unwrap();
        assert_eq!(file(), "");
        assert!(searches.get(&id, now).is_none());
        writer.close().await.unwrap();
    }
}
