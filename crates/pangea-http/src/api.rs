//! Pangea's Secure Audit Log API v2 on the log port: who calls, what they ask, and what the `pangea` crate makes of it.
//!
//! Each request goes the same way: path and method, token, the token's first use of the day is sealed, body, work, answer. An answer is always JSON in
//! Pangea's frame with a header `x-request-id`; HTTP's status is derived from Pangea's in one place.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use access::{Scope, TokenDescription, TokenName};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::{any, get},
};
use http_server::Answers;
use index::Reader;
use ledger::{AppendError, AppendKey, Batch, Ledger, ReadError};
use model::{Envelope, Event, Timestamp, action};
use orders::operator::{Operator, config_id, token_event};
use pangea::{
    Attempts, Code, Fault, Refusal, RequestId, Schema, Status, View,
    answer::{self, Answer, Errors},
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use services::indexing::Indexed;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tracing::error;
use work::Room;

use crate::{
    admission::{Admission, Admitted, unauthorized},
    bodies::{Bodies, EVENTS_BODY_BYTES_MAX},
    bulk::Sealed,
    config,
    config::Config,
    export,
    export::{Export, FileOf},
    recent::Recent,
    saved,
    saved::Saved,
    search,
    trees::Trees,
};

/// Bytes of any other body: a search restricted to a thousand values of a hundred characters.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of all larger answers at once: those of as many of the largest pages as are made at once.
const ANSWERS_BYTES_MAX: usize = search::PAGES_AT_ONCE_MAX * search::PAGE_BYTES_MAX;
/// Pieces of work on the disk at once, of all requests; further ones wait. More than a disk does at once.
const WORK_AT_ONCE_MAX: usize = 64;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RETRIED_REQUEST_IDS: HeaderName = HeaderName::from_static("x-pangea-retried-request-ids");

/// What the API works on.
#[derive(Debug)]
pub struct Api {
    pub(crate) ledger: Ledger,
    pub(crate) index: Reader,
    pub(crate) indexed: watch::Receiver<Indexed>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) roots: config::Roots,
    public_url: Option<config::PublicUrl>,
    /// By which clients name the log.
    pub(crate) config_id: String,
    pub(crate) trees: Trees,
    pub(crate) admission: Admission,
    pub(crate) saved: Arc<Saved>,
    /// Files to download, by the secret in their address.
    pub(crate) files: Mutex<Recent<String, FileOf>>,
    pub(crate) answers: Answers,
    pub(crate) bodies: Bodies,
    pub(crate) pages: Room,
    pub(crate) working: Room,
    pub(crate) downloads: Arc<Semaphore>,
}

/// A request that was answered with 202. Only the token that made it may ask what it comes to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Promise {
    pub(crate) token: TokenName,
    /// A name can be given again once its token is revoked.
    pub(crate) token_created_at: Timestamp,
    pub(crate) of: Promised,
}

/// What it comes to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Promised {
    Sealed(Sealed),
    Export(Export),
}

impl Api {
    /// The API of a site's log.
    pub fn new(
        (ledger, operator): (Ledger, &Operator),
        (index, indexed): (Reader, watch::Receiver<Indexed>),
        config: Config,
        saved: Saved,
    ) -> Self {
        let saved = Arc::new(saved);
        let kept = Arc::clone(&saved);
        ledger.after_erasing(move || kept.forget_words());
        Self {
            admission: Admission::new(operator.tokens().clone(), config_id(&ledger)),
            config_id: config_id(&ledger),
            trees: Trees::new(ledger.clone()),
            ledger,
            index,
            indexed,
            schema: Arc::new(config.schema),
            roots: config.roots,
            public_url: config.public_url,
            saved,
            files: Mutex::new(Recent::new(export::FILES_BYTES_MAX)),
            answers: Answers::of(ANSWERS_BYTES_MAX),
            bodies: Bodies::new(),
            pages: Room::of(search::PAGES_AT_ONCE_MAX),
            working: Room::of(WORK_AT_ONCE_MAX),
            downloads: Arc::new(Semaphore::new(export::DOWNLOADS_AT_ONCE_MAX)),
        }
    }

    /// The routes of the API.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/{*path}", any(answer))
            .route("/v2/{*path}", any(answer))
            .route("/request/{id}", any(answer))
            .route("/download/{secret}/{name}", get(export::download))
            .with_state(Arc::new(self))
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Endpoint<'a> {
    Log,
    LogBulk,
    LogAsync,
    LogStream,
    Request(&'a str),
    Search,
    Results,
    Root,
    Schema,
    Export,
    DownloadResults,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/v1/log" => Self::Log,
            "/v2/log" => Self::LogBulk,
            "/v2/log_async" => Self::LogAsync,
            "/v1/log_stream" => Self::LogStream,
            "/v1/search" => Self::Search,
            "/v1/results" => Self::Results,
            "/v1/root" => Self::Root,
            "/v1/schema" => Self::Schema,
            "/v1/export" => Self::Export,
            "/v1/download_results" => Self::DownloadResults,
            _ => Self::Request(path.strip_prefix("/request/")?),
        })
    }

    pub(crate) const fn method(self) -> Method {
        if matches!(self, Self::Request(_)) { Method::GET } else { Method::POST }
    }

    /// Whether the token's scope suffices. Whoever logged may ask what became of it, and whoever uses a log what its schema is.
    pub(crate) fn is_allowed(self, scope: &[Scope]) -> bool {
        match self {
            Self::Log | Self::LogBulk | Self::LogAsync | Self::LogStream => {
                scope.contains(&Scope::Write)
            }
            Self::Request(_) | Self::Schema => true,
            Self::Search | Self::Results | Self::Root | Self::Export | Self::DownloadResults => {
                scope.contains(&Scope::Read)
            }
        }
    }

    /// Whether what it does is done when it answers.
    pub(crate) const fn seals(self) -> bool {
        matches!(self, Self::Log | Self::LogBulk | Self::LogAsync | Self::LogStream)
    }

    pub(crate) const fn body_bytes_max(self) -> usize {
        match self {
            Self::LogBulk | Self::LogAsync | Self::LogStream => EVENTS_BODY_BYTES_MAX,
            // The contract's fields fit, even if every character comes escaped, in twelve bytes. Custom fields may have to come unescaped.
            Self::Log => Envelope::BYTES_MAX,
            _ => BODY_BYTES_MAX,
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) began: Timestamp,
    pub(crate) view: View,
    /// Where the client finds this port.
    pub(crate) base: String,
    /// The ids under which events may be sealed: a retry seals nothing again.
    pub(crate) attempts: Attempts,
    pub(crate) held: Held,
}

/// What a call holds until there is memory for its answer, or until its work has ended where nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The memory of the request's body.
    pub(crate) body: Arc<OnceLock<OwnedSemaphorePermit>>,
    /// A place among those that make large answers.
    pub(crate) page: Arc<OnceLock<OwnedSemaphorePermit>>,
}

impl Call {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| -> &str {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let began = clock::now();
        let id = RequestId::new(began.unix_millis().unsigned_abs(), rand::random());
        let attempts = id.attempts(text(&RETRIED_REQUEST_IDS));
        let base = format!("http://{}", text(&header::HOST));
        let view = View::of(text(&header::USER_AGENT));
        Self { id, began, view, base, attempts, held: Held::default() }
    }

    /// The events that this request is to seal, as one batch. A retry of it gets the first receipt, and seals nothing.
    pub(crate) fn batch(&self, token: &TokenDescription, events: Vec<Event>) -> Batch {
        let key = |id: &RequestId| {
            let key = format!("{} {id}", token.name.as_str());
            AppendKey::parse(&key).expect("a name and an id are shorter than a key may be")
        };
        let Attempts { first, others } = &self.attempts;
        let earlier_keys = others.iter().map(key).collect();
        Batch { events, key: Some(key(first)), earlier_keys, cursor: None }
    }

    /// What is "now" to this request and to each retry of it.
    pub(crate) fn asked_at(&self) -> Timestamp {
        let first = self.attempts.first.unix_millis().and_then(|millis| i64::try_from(millis).ok());
        let first = first.map(|millis| Timestamp::from_unix_micros(millis.saturating_mul(1_000)));
        first.unwrap_or(self.began).min(self.began)
    }
}

/// What is answered when nothing is wrong.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Of which request; the one that is answered, or the one that was asked about.
    pub(crate) of: RequestId,
    pub(crate) status: Status,
    pub(crate) summary: Cow<'static, str>,
    pub(crate) result: Box<RawValue>,
}

impl Reply {
    pub(crate) fn done(
        call: &Call,
        summary: impl Into<Cow<'static, str>>,
        result: &impl Serialize,
    ) -> Self {
        let result =
            to_raw_value(result).expect("results have only text keys and no floating point");
        Self { of: call.id.clone(), status: Status::Success, summary: summary.into(), result }
    }

    /// That the request's answer is to be asked for.
    pub(crate) fn accepted(call: &Call) -> Self {
        let accepted = answer::Accepted {
            location: format!("{}/request/{}", call.base, call.id),
            retry_counter: 0,
            ttl_mins: saved::LIFETIME.as_secs() / 60,
        };
        let summary = "Taken: ask for the result at its location";
        Self { status: Status::Accepted, ..Self::done(call, summary, &accepted) }
    }
}

pub(crate) async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let mut call = Call::of(request.headers());
    if let Some(url) = &api.public_url {
        url.as_str().clone_into(&mut call.base);
    }
    let allow = Endpoint::of(request.uri().path()).map_or(Method::POST, Endpoint::method);
    let outcome = handle(&api, &call, request).await;
    let (head, json) = respond(&call, outcome, &allow).into_parts();
    let body = api.answers.body(json).await;
    drop(std::mem::take(&mut call.held));
    if let Some(body) = body {
        return Response::from_parts(head, body);
    }
    // What was sealed is sealed: a retry gets its answer.
    let words = "other clients take their answers slowly, and there is no room for this one: try again in a moment";
    let refusal = Refusal::plain(Status::ServiceNotAvailable, words);
    respond(&call, Err(refusal), &allow).map(Body::from)
}

pub(crate) async fn handle(
    api: &Arc<Api>,
    call: &Call,
    request: Request,
) -> Result<Reply, Refusal> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let endpoint = Endpoint::of(path).ok_or_else(|| {
        Refusal::plain(Status::NotFound, "there is no such endpoint: docs/pangea.md lists them")
    })?;
    if parts.method != endpoint.method() {
        let words = format!("this path takes {}", endpoint.method());
        return Err(Refusal::plain(Status::MethodNotAllowed, words));
    }
    let token = admit(api, call, endpoint, &parts.headers).await?;
    let (body, held) = api.bodies.read(&parts.headers, body, endpoint.body_bytes_max()).await?;
    call.held.body.get_or_init(|| held);
    let reply = match endpoint {
        Endpoint::Log => api.log_one(call, &token, body).await,
        Endpoint::LogBulk => api.log_bulk(call, &token, body).await,
        Endpoint::LogAsync => api.log_async(call, &token, body).await,
        Endpoint::LogStream => api.log_stream(call, &token, body).await,
        Endpoint::Request(id) => api.request(call, &token, id).await,
        Endpoint::Search => api.search(call, &body).await,
        Endpoint::Results => api.results(call, &body).await,
        Endpoint::Root => api.root(call, &body).await,
        Endpoint::Schema => {
            api.check_config(pangea::request::parse_schema(&body)?.as_deref())?;
            Ok(Reply::done(call, "The log's schema", &answer::SchemaResult::new(&api.schema)))
        }
        Endpoint::Export => api.export(call, &token, &body).await,
        Endpoint::DownloadResults => api.download_results(call, &token, &body).await,
    }?;
    // What was sealed stays sealed. What was read is told only while the token still stands.
    if endpoint.seals() || api.admission.stands(&token) { Ok(reply) } else { Err(unauthorized()) }
}

/// Lets a caller in. That a token is used is sealed before anything is done with it: once a day, and after each start of the site.
async fn admit(
    api: &Api,
    call: &Call,
    endpoint: Endpoint<'_>,
    headers: &HeaderMap,
) -> Result<TokenDescription, Refusal> {
    let allows = |token: &TokenDescription| endpoint.is_allowed(&token.scope);
    let Admitted { token, is_first_of_day } =
        api.admission.admit(headers, allows, (call.began, Instant::now()))?;
    if is_first_of_day {
        let words = format!("token {} is used", token.name.as_str());
        let name = token.name.as_str();
        let event = token_event(action::TOKEN_USED, name, &token.name, words, call.began);
        api.ledger.append(Batch::of(vec![event])).await.map_err(not_sealed)?;
        api.admission.told(&token, call.began);
    }
    Ok(token)
}

impl Api {
    /// Holds the log that a request names against the one there is.
    pub(crate) fn check_config(&self, named: Option<&str>) -> Result<(), Refusal> {
        match named {
            Some(named) if named != self.config_id => {
                let words = format!("there is no such log: this site's is {}", self.config_id);
                Err(Fault::new(Code::ConfigNotExist, "/config_id", words).into())
            }
            _ => Ok(()),
        }
    }

    /// Answers with 202, once the promise is where a start finds it. A retry of the request is promised the same under an id of its own.
    pub(crate) async fn promise(
        self: &Arc<Self>,
        call: &Call,
        token: &TokenDescription,
        of: Promised,
    ) -> Result<Reply, Refusal> {
        let (name, token_created_at) = (token.name.clone(), token.created_at);
        let promise = Promise { token: name, token_created_at, of };
        let (id, expires_at) = (call.id.clone(), after(call.began, saved::LIFETIME));
        let save = move |api: &Self| api.saved.promises.save(&id, promise, expires_at);
        self.blocking(call, move |api| save(api).map_err(|error| failed(&error))).await?;
        Ok(Reply::accepted(call))
    }

    /// What a token was promised under this id.
    pub(crate) fn promised(
        &self,
        call: &Call,
        token: &TokenDescription,
        id: &RequestId,
    ) -> Option<Promised> {
        let promise = self.saved.promises.get(id, call.began)?;
        let is_its = promise.token == token.name && promise.token_created_at == token.created_at;
        is_its.then_some(promise.of)
    }

    /// Waits for a place among those that make large answers, whatever they were asked: what is answered to events is no larger than a few of their bodies,
    /// which hold memory.
    pub(crate) async fn place_for_a_page(&self, call: &Call) {
        if call.held.page.get().is_none() {
            let place = self.pages.place().await;
            call.held.page.get_or_init(|| place);
        }
    }

    /// Does what blocks on the disk or takes long, where that may. What the call holds is held until the work has ended, whether or not its client waits.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: &Call,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let api = Arc::clone(self);
        let working = self.working.blocking(call.held.clone(), move || work(&api));
        working.await.unwrap_or_else(|panic| Err(failed(&panic)))
    }
}

pub(crate) fn after(moment: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(moment.unix_micros().saturating_add(micros))
}

/// Something failed that is ours.
pub(crate) fn failed(failure: &dyn std::error::Error) -> Refusal {
    error!(%failure, source = failure.source(), "a request to Pangea's API failed");
    Refusal::plain(Status::InternalError, "the site could not do this; its own log says why")
}

pub(crate) fn unreadable(failure: ReadError) -> Refusal {
    failed(&failure)
}

/// Why a batch was not sealed, for whoever sent it.
pub(crate) fn not_sealed(error: AppendError) -> Refusal {
    match error {
        AppendError::TooLarge { .. } | AppendError::BatchTooLarge { .. } => {
            Refusal::plain(Status::PayloadTooLarge, error.to_string())
        }
        AppendError::KeyReused { .. } => {
            let words = "a request of this id sealed other events: a retry sends the same body";
            Fault::new(Code::InvalidConst, "", words).into()
        }
        // Nothing was sealed, or the same request will find out: its key is in the log.
        AppendError::Write(_) | AppendError::Stopped => {
            error!(%error, "events of a client are not sealed");
            let words = "the log takes nothing at the moment: try again";
            Refusal::plain(Status::ServiceNotAvailable, words)
        }
        // Requests are checked when they are read.
        AppendError::TooMany { .. } | AppendError::Reserved { .. } | AppendError::LogEvent(_) => {
            failed(&error)
        }
    }
}

/// What a client is told for whom the port has no room. Its request is not read, so it gets Pangea's frame whatever it is: who is to parse this is an SDK.
pub fn no_room() -> Response {
    let refusal = Refusal::plain(Status::ServiceNotAvailable, http_server::NO_ROOM);
    respond(&Call::of(&HeaderMap::new()), Err(refusal), &Method::POST).map(Body::from)
}

pub(crate) fn respond(
    call: &Call,
    outcome: Result<Reply, Refusal>,
    allow: &Method,
) -> Response<Vec<u8>> {
    let times = (call.began, clock::now());
    let (status, http, json) = match outcome {
        Ok(Reply { of, status, summary, result }) => (
            status,
            http_status(status, false),
            Answer::new(&of, times, status, summary, result).to_json(),
        ),
        Err(refusal) => {
            let (status, summary) = (refusal.status, refusal.summary.clone());
            let http = http_status(status, !refusal.errors.is_empty());
            let errors = Errors::from(refusal);
            (status, http, Answer::new(&call.id, times, status, summary, errors).to_json())
        }
    };
    let mut response = Response::new(json);
    *response.status_mut() = http;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let id = HeaderValue::from_str(call.id.as_str()).expect("an id is ASCII");
    headers.insert(REQUEST_ID, id);
    match status {
        Status::MethodNotAllowed => {
            let allow = HeaderValue::from_str(allow.as_str()).expect("a method is a token");
            headers.insert(header::ALLOW, allow);
        }
        Status::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Status::TooManyRequests | Status::ServiceNotAvailable => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

/// HTTP's status for Pangea's. What is said of a part of the request is 400, whatever it is.
pub(crate) const fn http_status(status: Status, is_about_a_part: bool) -> StatusCode {
    match status {
        Status::Success => StatusCode::OK,
        Status::Accepted => StatusCode::ACCEPTED,
        Status::Unauthorized => StatusCode::UNAUTHORIZED,
        Status::Forbidden => StatusCode::FORBIDDEN,
        Status::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Status::NotFound if !is_about_a_part => StatusCode::NOT_FOUND,
        Status::NotFound | Status::ValidationError | Status::BadOffset | Status::TreeNotFound => {
            StatusCode::BAD_REQUEST
        }
        Status::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Status::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Status::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Status::ServiceNotAvailable => StatusCode::SERVICE_UNAVAILABLE,
        Status::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, pin::pin, sync::mpsc, time::Duration};

    use data_dir::DataDir;
    use ledger::Writer;
    use orders::SiteLog;
    use services::indexing;
    use tokio::time::timeout;

    use super::*;

    /// Longer than any step takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// A log in this folder, and its API.
    fn site(folder: &Path) -> (Ledger, Writer, Arc<Api>) {
        let data_dir = DataDir::open(folder, Some("plant")).unwrap();
        let SiteLog { ledger, writer, operator } = SiteLog::open(&data_dir, None).unwrap();
        indexing::catch_up(&data_dir.index(), &ledger).unwrap();
        let index = Reader::open(&data_dir.index()).unwrap();
        let (_indexed, watch) = watch::channel(Indexed::default());
        let config = Config::load(&data_dir.pangea()).unwrap();
        let saved = Saved::open(data_dir.path()).unwrap();
        let api = Api::new((ledger.clone(), &operator), (index, watch), config, saved);
        (ledger, writer, Arc::new(api))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_asks_and_hangs_up_frees_nothing_while_its_work_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (_ledger, writer, api) = site(folder.path());

        let (begun, has_begun) = mpsc::channel();
        let mut gates = Vec::new();
        for _search in 0..search::PAGES_AT_ONCE_MAX {
            let call = Call::of(&HeaderMap::new());
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let begun = begun.clone();
            let search = async {
                api.place_for_a_page(&call).await;
                let find = move |_: &Api| {
                    begun.send(()).unwrap();
                    // An error says that the gate is open.
                    let _open = gate.recv();
                    Ok(())
                };
                api.blocking(&call, find).await
            };
            let (mut search, has_begun) = (pin!(search), &has_begun);
            // The client waits until its search is under way, and is gone.
            let under_way = async {
                while has_begun.try_recv().is_err() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = search.as_mut() => panic!("the search waits for its gate"),
                () = under_way => {}
            }
        }
        let call = Call::of(&HeaderMap::new());
        let mut next = pin!(api.place_for_a_page(&call));
        assert!(
            futures::poll!(next.as_mut()).is_pending(),
            "a place is free while four searches run"
        );
        drop(gates);
        timeout(DEADLINE, next).await.unwrap();
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn words_of_searches_are_forgotten_when_envelopes_are_erased() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, writer, api) = site(folder.path());
        let now = clock::now();
        let event = Event { message: String::from("PIN 4711"), ..Event::default() };
        let leaf = ledger.append(Batch::of(vec![event])).await.unwrap().first_leaf;

        let request =
            pangea::request::SearchRequest::parse(br#"{"query":"4711"}"#, &api.schema, now);
        let search = request.unwrap().search;
        let id = pangea::ResultId::new(1, [1; 14]);
        let search = search::SavedSearch { search, end_leaf: leaf + 1, verbose: false };
        let later = after(now, saved::LIFETIME);
        api.saved.searches.save(&id, search, later).unwrap();
        let file = || std::fs::read_to_string(folder.path().join("pangea-searches")).unwrap();
        assert!(file().contains("4711"));
        let (actor, reason) = (String::from("tester"), String::from("a test"));
        let leaves = leaf.to_string().parse().unwrap();
        ledger.erase(ledger::Erasure { leaves, actor, reason }, now).await.unwrap();
        assert_eq!(file(), "");
        assert!(api.saved.searches.get(&id, now).is_none());
        writer.close().await.unwrap();
    }
}
