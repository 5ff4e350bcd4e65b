//! Answers the gateway's questions over NATS, from the index, the log and the poller's counters.
//!
//! A question names its log, or means the site's own. Each log answers from its own index.

mod failure;
mod listed;
mod mirrored;
mod refused;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use access::sensors::{Admits, SensorCredentials};
use async_nats::{Client, Message};
use engine::nats_server::PAYLOAD_BYTES_MAX;
use futures::StreamExt as _;
use index::{Page, Reader, Search, SearchError, Series, SeriesReading, channel_series};
use ledger::{AppendError, Ledger};
use model::{
    Envelope, LogId,
    event::SUCCESS,
    query::{
        self, Address, LogsQuery, MirrorSearchQuery, ProofQuery, QueryError, Question,
        ReadingsQuery, RefusalsQuery, Reply, ResultsQuery, SensorsQuery,
    },
    sensor_clock::{AnswerTimes, ClockQuality},
};
use poll::Counters;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::{Room, Service};

use crate::{
    cosigning::{WatchWitnessed, witnessed_leaves},
    fleet::{KeptFleet, Location, Totals},
    lag::Lag,
    progress::Progress,
    searching,
    site_clock::{self, SiteClock},
};
use failure::{
    Failure, internal, no_such_leaf, no_such_log, no_such_sensor, not_mirrored, was_erased,
};
use listed::Sensor;
pub use mirrored::MirrorQueries;
use mirrored::Mirrored;

/// Questions that are answered at the same time. Further ones wait.
const CONCURRENT_MAX: usize = 16;
/// Largest number of points in a sensor's sparkline.
const RECENT_MAX: u32 = 30;
/// How long a question waits until the index has what was sealed before it. A batch takes a few
/// milliseconds; if it takes longer, the answer covers what the index has.
const CATCH_UP_MAX: Duration = Duration::from_millis(50);
/// Leaves that may be missing in the index if a question is to wait for them. If there are more,
/// the site is under load, and its batches come less often than a question would wait.
const CATCH_UP_LEAVES_MAX: u64 = 1_000;
/// Bytes of envelopes or of values in one page. A page always has its first item, whatever its
/// size.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Answers the questions about some logs.
#[derive(Debug)]
pub struct Queries {
    /// Connection to the components that ask.
    pub client: Client,
    /// The logs.
    pub logs: Logs,
}

/// The logs that can be asked, each at most once.
#[derive(Clone, Debug)]
pub struct Logs {
    own: LogId,
    all: BTreeMap<LogId, Arc<LogQueries>>,
}

/// One log that can be asked; the fields are the sources of the answers.
#[derive(Debug)]
pub struct LogQueries {
    /// The log.
    pub ledger: Ledger,
    /// The index of this log.
    pub index: Reader,
    /// The list of this log's sensors.
    pub fleet: KeptFleet,
    /// Messages dropped because a subscription was full.
    pub dropped: Arc<AtomicU64>,
    /// The poller's counters.
    pub counters: watch::Receiver<Counters>,
    /// The newest checkpoint that satisfies the site's policy; `None` without a policy.
    pub witnessed: Option<WatchWitnessed>,
    /// Progress of the index.
    pub progress: Progress,
    /// How far those who follow the log are behind.
    pub lags: watch::Receiver<Vec<Lag>>,
    /// The mirror of the log, if there is one.
    pub mirror: Option<MirrorQueries>,
    /// The clock of the site's machine.
    pub clock: SiteClock,
    /// Name of the site.
    pub site_name: String,
    /// URL of the log port, for programs on this machine.
    pub log_url: String,
    /// Whom the log's site lets in as a device, and its credentials.
    pub door: (Admits, SensorCredentials),
}

impl Service for Queries {
    const NAME: &'static str = "answers to the page";
    /// The bus refuses the subscription.
    type Error = async_nats::SubscribeError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        let Self { client, logs } = self;
        let mut questions = client.subscribe(query::SUBJECT).await?;
        let room = Room::of(CONCURRENT_MAX);
        let mut answering = JoinSet::new();
        loop {
            let next = async { (room.place().await, questions.next().await) };
            let Some((permit, Some(question))) = shutdown.run_until_cancelled(next).await else {
                return Ok(());
            };
            answering.spawn(answer(client.clone(), logs.clone(), question, Arc::new(permit)));
            while answering.try_join_next().is_some() {}
        }
    }
}

async fn answer(client: Client, logs: Logs, question: Message, place: Place) {
    let Some(reply_to) = question.reply else { return };
    let reply = match logs.reply(&question.subject, &question.payload, &place).await {
        Ok(json) => Reply::Ok(json),
        Err(failure) => Reply::Error(failure.for_the_caller()),
    };
    let mut body = serde_json::to_vec(&reply).expect("a reply has only text keys");
    if body.len() > PAYLOAD_BYTES_MAX {
        let words = format!(
            "the answer has {} bytes, but at most {PAYLOAD_BYTES_MAX} can be sent: ask for less",
            body.len()
        );
        let refusal = Reply::Error(QueryError::Unavailable(words));
        body = serde_json::to_vec(&refusal).expect("a reply has only text keys");
    }
    if let Err(error) = client.publish(reply_to, body.into()).await {
        warn!(%error, "cannot send an answer");
    }
}

/// A permit for one of the concurrent questions. Blocking work holds it until it ends.
type Place = Arc<OwnedSemaphorePermit>;

type Answer = Result<Box<RawValue>, Failure>;

impl Logs {
    /// The site's own log, and others beside it.
    pub fn new(own: LogQueries, others: impl IntoIterator<Item = LogQueries>) -> Self {
        let id = own.ledger.log_id();
        let all = std::iter::once(own).chain(others);
        Self { own: id, all: all.map(|log| (log.ledger.log_id(), Arc::new(log))).collect() }
    }

    async fn reply(&self, subject: &str, body: &[u8], place: &Place) -> Answer {
        let (log, question) = match Address::parse(subject).map_err(Failure::Query)? {
            Address::Logs => return self.list(),
            Address::Log { log, question } => (log, question),
        };
        let id = log.unwrap_or(self.own);
        let log = self.all.get(&id).cloned().ok_or_else(|| no_such_log(id))?;
        log.reply(question, body, place).await
    }

    /// The page of the own log's sensors that a question asks for.
    pub(crate) async fn sensors_of_own(&self, body: &[u8]) -> Result<Box<RawValue>, QueryError> {
        let log = self.all.get(&self.own).cloned();
        let log = log.ok_or_else(|| QueryError::Unavailable("the log is closed".to_owned()))?;
        let query: SensorsQuery = serde_json::from_slice(body).map_err(|error| {
            QueryError::Invalid(format!("the request is not understood: {error}"))
        })?;
        log.catch_up().await;
        let listed = work::blocking((), move || log.sensors(&query)).await;
        let listed = listed.unwrap_or_else(|panic: JoinError| Err(internal(panic)));
        listed.map_err(Failure::for_the_caller)
    }

    fn list(&self) -> Answer {
        let listed = |(id, log): (&LogId, &Arc<LogQueries>)| ListedLog {
            id: *id,
            origin: log.ledger.vkey().name().as_str().to_owned(),
            name: log.site_name.clone(),
            is_own: *id == self.own,
        };
        json(&ListedLogs { logs: self.all.iter().map(listed).collect() })
    }
}

impl LogQueries {
    async fn reply(self: Arc<Self>, question: Question, body: &[u8], place: &Place) -> Answer {
        match question {
            Question::Site => self.site(),
            Question::Sensors => {
                let query: SensorsQuery = parse(body)?;
                self.catch_up().await;
                blocking(place, move || self.sensors(&query)).await
            }
            Question::Readings => {
                let mut query: ReadingsQuery = parse(body)?;
                query.limit = query.limit.min(ReadingsQuery::LIMIT_MAX);
                self.catch_up().await;
                blocking(place, move || self.readings(&query)).await
            }
            Question::Search => {
                let query: LogsQuery = parse(body)?;
                let limit = query::events_limit(query.limit).map_err(Failure::Query)?;
                self.catch_up().await;
                blocking(place, move || {
                    let end = self.index.next_leaf().map_err(internal)?;
                    // A name that the index cannot look up counts as unknown here. The search
                    // itself reports the error.
                    let is_custom = |name: &str| self.index.has_field(name).unwrap_or(false);
                    let search = searching::search_of(query, is_custom, end, clock::now());
                    let search = search.map_err(Failure::Query)?;
                    let id = self.index.result_id(&search, clock::now()).map_err(internal)?;
                    page(&self.ledger, &self.index, id, &search, (0, limit))
                })
                .await
            }
            Question::Results => {
                let ResultsQuery { id, offset, limit } = parse(body)?;
                let limit = query::events_limit(limit).map_err(Failure::Query)?;
                blocking(place, move || {
                    let search = self.index.search_of(&id, clock::now()).map_err(internal)?;
                    let search = search.map_err(|error| {
                        Failure::Query(QueryError::Invalid(format!("`id`: {error}")))
                    })?;
                    page(&self.ledger, &self.index, id, &search, (offset, limit))
                })
                .await
            }
            Question::Proof => {
                let query: ProofQuery = parse(body)?;
                self.proof(query.leaf, place).await
            }
            Question::Refusals => {
                let query: RefusalsQuery = parse(body)?;
                json(&refused::Refused::of(&self.door.1, query))
            }
            Question::Mirror => match &self.mirror {
                Some(mirror) => json(&Mirrored::of(&mirror.progress.borrow(), self.ledger.size())),
                None => Err(not_mirrored()),
            },
            Question::MirrorSearch => {
                let query: MirrorSearchQuery = parse(body)?;
                let mirror = self.mirror.as_ref().ok_or_else(not_mirrored)?;
                json(&mirror.search(&query, Arc::clone(place)).await?)
            }
        }
    }

    /// Has the index take what is sealed now, and waits for it unless that is too much.
    async fn catch_up(&self) {
        let size = self.ledger.size();
        if size.saturating_sub(self.progress.now().next_leaf) <= CATCH_UP_LEAVES_MAX {
            self.progress.catch_up(size, CATCH_UP_MAX).await;
        } else {
            self.progress.want(size);
        }
    }

    fn site(&self) -> Answer {
        let counters = *self.counters.borrow();
        let dropped = self.dropped.load(Ordering::Relaxed);
        let passed_over = self.progress.now().passed_over;
        let others = [("dropped", dropped), ("passed_over", passed_over)];
        let vkey = self.ledger.vkey();
        let (admits, credentials) = &self.door;
        json(&Site {
            log: self.ledger.log_id(),
            name: &self.site_name,
            origin: vkey.name().as_str(),
            vkey: vkey.to_string(),
            log_url: &self.log_url,
            open: credentials.look(|book| admits.anyone(book)),
            mirrored: self.mirror.is_some(),
            refused_devices: credentials.refused_total(),
            version: env!("CARGO_PKG_VERSION"),
            leaves: self.ledger.size(),
            witnessed_leaves: witnessed_leaves(self.witnessed.as_ref()),
            followers: self.lags.borrow().iter().map(FollowerLag::of).collect(),
            shortest_interval_ms: counters.shortest_interval.map(|shortest| shortest.as_millis()),
            clock: self.clock.quality(),
            counters: counters.named().into_iter().chain(others).collect(),
        })
    }

    fn sensors(&self, query: &SensorsQuery) -> Answer {
        let fleet = self.fleet.read(&self.index).map_err(internal)?;
        let page = fleet.page(query, self.ledger.log_id()).map_err(Failure::Query)?;
        let sensors = self.index.sensors_of(&page.sensors, RECENT_MAX).map_err(internal)?;
        json(&Sensors {
            sensors: sensors.iter().map(|sensor| Sensor::of(sensor, clock::now())).collect(),
            next: page.next,
            found: page.found,
            totals: page.totals,
            locations: page.locations,
        })
    }

    fn readings(&self, query: &ReadingsQuery) -> Answer {
        if let Some(points) = query.points {
            return self.series(query, points);
        }
        let found = self.index.readings(query).map_err(internal)?;
        let mut readings = found.ok_or_else(|| no_such_sensor(query))?;
        let mut bytes = 0;
        let mut fits = |reading: &SeriesReading| {
            let of_channels = reading.channels.values().map(|channel| channel.value.len());
            bytes += reading.value.len() + of_channels.sum::<usize>();
            bytes <= PAGE_BYTES_MAX
        };
        let kept = readings
            .iter()
            .rev()
            .take(query.limit as usize)
            .take_while(|reading| fits(reading))
            .count();
        let beyond = readings.len() - kept;
        readings.drain(..beyond);
        let clock = self.clock_of(&readings)?;
        json(&Readings { sensor: query.sensor, truncated: beyond > 0, readings, clock })
    }

    /// What the newest of these readings say of their sensor's clock. The log says it, because the
    /// index has no times but those at which readings are shown.
    fn clock_of(&self, readings: &[SeriesReading]) -> Result<ClockQuality, Failure> {
        let answers = readings.iter().rev().filter(|reading| reading.status == SUCCESS);
        let mut times = Vec::new();
        for SeriesReading { leaf, .. } in answers.take(ClockQuality::ANSWERS_MAX) {
            // It may have been erased since the index was asked.
            let Some(envelope) = stored(&self.ledger, *leaf)? else { continue };
            let envelope = Envelope::parse(&envelope).map_err(internal)?;
            times.extend(AnswerTimes::of(&envelope.event));
        }
        times.reverse();
        Ok(ClockQuality::of(&times))
    }

    fn series(&self, query: &ReadingsQuery, points: u32) -> Answer {
        let of_channel = |channel: &String| channel_series(query.sensor, channel);
        let sensor = query.channel.as_ref().map_or(query.sensor, of_channel);
        let found = self.index.series(sensor, (query.from, query.to), points);
        let series = found.map_err(internal)?.ok_or_else(|| no_such_sensor(query))?;
        json(&SeriesOf { sensor: query.sensor, series })
    }

    /// Proves any durable leaf. If the newest checkpoint does not cover it yet, publishes another.
    async fn proof(self: Arc<Self>, leaf: u64, place: &Place) -> Answer {
        if leaf >= self.ledger.size() {
            return Err(no_such_leaf(leaf, self.ledger.size()));
        }
        if leaf >= self.ledger.published().checkpoint.size.get() {
            self.ledger.publish_checkpoint().await.map_err(|error: AppendError| internal(error))?;
        }
        blocking(place, move || {
            let stored = stored(&self.ledger, leaf)?.ok_or_else(|| was_erased(leaf))?;
            let envelope = String::from_utf8(stored).map_err(internal)?;
            let proof = self.ledger.prove(leaf).map_err(internal)?;
            let proof = proof.ok_or_else(|| no_such_leaf(leaf, self.ledger.size()))?.to_string();
            json(&Proof { leaf, envelope, proof })
        })
        .await
    }
}

/// One page of a search: `limit` events after the first `offset`. Events erased after the index was
/// queried are neither shown nor counted.
fn page(
    ledger: &Ledger,
    index: &Reader,
    id: String,
    search: &Search,
    (offset, limit): (u64, u32),
) -> Answer {
    let mut log = searching::Events::of(ledger);
    let found = index.search(search, offset, limit, &mut |leaf| log.read(leaf));
    let found = found.map_err(|error| match error {
        SearchError::TooBroad => Failure::Query(QueryError::Invalid(error.to_string())),
        error @ (SearchError::Index(_) | SearchError::Log(_)) => internal(error),
    })?;
    let Page { leaves, mut count, count_is_lower_bound } = found;
    let mut events = Vec::new();
    let mut bytes = 0;
    for leaf in leaves {
        let Some(envelope) = stored(ledger, leaf)? else {
            count = count.saturating_sub(1);
            continue;
        };
        bytes += envelope.len();
        if bytes > PAGE_BYTES_MAX && !events.is_empty() {
            break;
        }
        let envelope = serde_json::from_slice(&envelope).map_err(internal)?;
        events.push(SealedEvent { leaf, envelope });
    }
    json(&FoundPage { id, count, count_is_lower_bound, events })
}

/// The bytes of an envelope; `None` if it was erased.
fn stored(ledger: &Ledger, leaf: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut envelopes = ledger.envelopes(leaf, 1, usize::MAX).map_err(internal)?;
    let stored = envelopes.pop().ok_or_else(|| no_such_leaf(leaf, ledger.size()))?;
    Ok(stored.bytes)
}

async fn blocking(place: &Place, work: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    work::blocking(Arc::clone(place), work)
        .await
        .unwrap_or_else(|panic: JoinError| Err(internal(panic)))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::Query(QueryError::Invalid(error.to_string())))
}

fn json(answer: &impl Serialize) -> Answer {
    to_raw_value(answer).map_err(internal)
}

#[derive(Serialize)]
struct ListedLogs {
    logs: Vec<ListedLog>,
}

#[derive(Serialize)]
struct ListedLog {
    id: LogId,
    origin: String,
    name: String,
    /// Whether addresses without a log mean this one.
    is_own: bool,
}

#[derive(Serialize)]
struct Site<'a> {
    log: LogId,
    name: &'a str,
    origin: &'a str,
    vkey: String,
    log_url: &'a str,
    open: bool,
    /// The log is mirrored.
    mirrored: bool,
    /// How often devices were refused since the site started.
    refused_devices: u64,
    version: &'a str,
    leaves: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    witnessed_leaves: Option<u64>,
    followers: Vec<FollowerLag>,
    shortest_interval_ms: Option<u128>,
    clock: site_clock::Quality,
    counters: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
struct FollowerLag {
    name: String,
    lag_leaves: u64,
    lag_ms: u128,
    late: bool,
}

impl FollowerLag {
    fn of(lag: &Lag) -> Self {
        Self {
            name: lag.follower.name().to_owned(),
            lag_leaves: lag.leaves,
            lag_ms: lag.waited.as_millis(),
            late: lag.is_late,
        }
    }
}

#[derive(Serialize)]
struct Sensors<'a> {
    sensors: Vec<Sensor<'a>>,
    next: Option<String>,
    found: usize,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    locations: Option<Vec<Location<'a>>>,
}

#[derive(Serialize)]
struct Readings {
    sensor: model::SensorId,
    truncated: bool,
    readings: Vec<SeriesReading>,
    clock: ClockQuality,
}

#[derive(Serialize)]
struct SeriesOf {
    sensor: model::SensorId,
    #[serde(flatten)]
    series: Series,
}

#[derive(Serialize)]
struct FoundPage {
    id: String,
    count: u64,
    count_is_lower_bound: bool,
    events: Vec<SealedEvent>,
}

#[derive(Serialize)]
struct SealedEvent {
    leaf: u64,
    envelope: Box<RawValue>,
}

#[derive(Serialize)]
struct Proof {
    leaf: u64,
    envelope: String,
    proof: String,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ledger::{Batch, Erasure, Writer};
    use model::{Event, Given, Heartbeat, Outcome, Timestamp, action};
    use serde_json::{Value, json};
    use tlog::{KeyName, Signer};
    use tokio::time::timeout;

    use super::*;
    use crate::{
        indexing,
        progress::{Indexed, progress},
    };

    /// A log with one event of this message, and its index, that can be asked.
    async fn log_with(folder: &Path, message: &str) -> (LogQueries, Writer) {
        let signer = Signer::from_seed(KeyName::parse(message).unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(&folder.join(message), signer).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let event = Event::site("TEST", "test", message.to_owned(), at);
        ledger.append(Batch::of(vec![event])).await.unwrap();
        let index_file = folder.join(format!("{message}.sqlite"));
        indexing::catch_up(&index_file, &ledger).unwrap();
        let log = LogQueries {
            ledger,
            index: Reader::open(&index_file).unwrap(),
            fleet: KeptFleet::default(),
            dropped: Arc::default(),
            counters: watch::Sender::new(Counters::default()).subscribe(),
            witnessed: None,
            progress: progress().1,
            lags: watch::Sender::new(Vec::new()).subscribe(),
            mirror: None,
            clock: SiteClock::start(None),
            site_name: message.to_owned(),
            log_url: String::new(),
            door: (
                Admits::AnyoneAtFirst,
                SensorCredentials::load(folder.join("sensor-credentials")).unwrap(),
            ),
        };
        (log, writer)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_log_answers_for_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (own, own_writer) = log_with(folder.path(), "own").await;
        let (other, other_writer) = log_with(folder.path(), "other").await;
        let ids = [own.ledger.log_id(), other.ledger.log_id()];
        let logs = Logs::new(own, [other]);
        let place = Arc::new(Room::of(1).place().await);
        let ask = async |log, question, body: Value| -> Result<Value, String> {
            let address = Address::Log { log, question };
            let (subject, body) = (address.to_string(), body.to_string());
            match logs.reply(&subject, body.as_bytes(), &place).await {
                Ok(answer) => Ok(serde_json::from_str(answer.get()).unwrap()),
                Err(Failure::Query(error)) => Err(error.to_string()),
                Err(Failure::Internal(failure)) => panic!("{failure}"),
            }
        };
        let search = json!({ "action": "TEST" });
        for (log, name) in [(None, "own"), (Some(ids[0]), "own"), (Some(ids[1]), "other")] {
            let site = ask(log, Question::Site, Value::Null).await.unwrap();
            let id = log.unwrap_or(ids[0]);
            assert_eq!((&site["log"], &site["name"]), (&json!(id), &json!(name)));
            let found = ask(log, Question::Search, search.clone()).await.unwrap();
            let events = found["events"].as_array().unwrap();
            assert_eq!(events.len(), 1);
            assert_eq!(events[0]["envelope"]["event"]["message"], json!(name));
        }
        // The page of one log's search is not a page of another log's.
        let found = ask(Some(ids[1]), Question::Search, search).await.unwrap();
        let page = json!({ "id": found["id"] });
        assert!(ask(Some(ids[1]), Question::Results, page.clone()).await.is_ok());
        let refusal = ask(None, Question::Results, page).await.unwrap_err();
        assert!(refusal.contains("not from a search of this log"), "{refusal}");

        let third = LogId::from_sha256([3; LogId::LEN]);
        let refusal = ask(Some(third), Question::Sensors, Value::Null).await.unwrap_err();
        assert!(refusal.contains(&format!("there is no log {third} here")), "{refusal}");
        let Ok(listed) = logs.reply(&Address::Logs.to_string(), b"null", &place).await else {
            panic!("the logs are listed")
        };
        let listed: Value = serde_json::from_str(listed.get()).unwrap();
        let listed = listed["logs"].as_array().unwrap();
        let own_of =
            |id: LogId| listed.iter().find(|log| log["id"] == json!(id)).map(|log| &log["is_own"]);
        assert_eq!(
            (listed.len(), own_of(ids[0]), own_of(ids[1])),
            (2, Some(&json!(true)), Some(&json!(false)))
        );
        own_writer.close().await.unwrap();
        other_writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_to_the_index_has_it_catch_up_first() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, writer) = log_with(folder.path(), "own").await;
        let (mut reports, progress) = progress();
        log.progress = progress;
        let log = Arc::new(log);
        let place = Arc::new(Room::of(1).place().await);
        let readings = br#"{"sensor":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","limit":1}"#.as_slice();
        let questions = [
            (Question::Search, b"{}".as_slice()),
            (Question::Sensors, b"{}"),
            (Question::Readings, readings),
        ];
        for (question, body) in questions {
            let at = Timestamp::from_unix_micros(0);
            let event = Event::site("TEST", "test", String::new(), at);
            let leaf = log.ledger.append(Batch::of(vec![event])).await.unwrap().first_leaf;
            reports.send(Indexed { next_leaf: leaf, passed_over: 0 });
            let indexing = async {
                reports.wanted(leaf).await;
                reports.send(Indexed { next_leaf: leaf + 1, passed_over: 0 });
            };
            let asking = Arc::clone(&log).reply(question, body, &place);
            let both = futures::future::join(asking, indexing);
            let _answer = timeout(Duration::from_secs(60), both).await.unwrap();
        }
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_channel_answers_for_itself_and_a_clock_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (log, writer) = log_with(folder.path(), "own").await;
        let heartbeat = br#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,
            "poll_topic":"p","read_topic":"r","channels":[{"name":"t","unit":"K","scale":-2,"range":[0,50]},
            {"name":"door","kind":"enum","options":["open"]},{"name":"later"}]}"#;
        let heartbeat = Heartbeat::parse(heartbeat).unwrap();
        let at =
            |second: i64| Timestamp::from_unix_micros(1_800_000_000_000_000 + second * 1_000_000);
        let answers = [
            r#"{"values":{"t":2350,"door":"open"},"time":"2027-01-15T09:00:00Z"}"#,
            "?",
            r#"{"values":{"t":9999,"other":true},"time":"2027-01-15T09:00:02Z"}"#,
        ];
        let mut events = vec![Event::sighting(action::SENSOR_DISCOVERED, &heartbeat, at(0))];
        events.extend((0..).zip(answers).map(|(second, answer)| {
            let number = u64::try_from(second).unwrap() + 1;
            Event::reading(&heartbeat, number, Outcome::of(answer.as_bytes()), at(second))
        }));
        let order = r#"{"order":"calibrate","gain":"0.5","offset":"0","channel":"t","from":"2027-01-15T08:00:01Z"}"#;
        let (order, by) = (serde_json::from_str(order).unwrap(), "ada".to_owned());
        let given = Given { order, by, at: at(9), reason: String::new() };
        events.push(Event::sensor_ordered(&heartbeat, &given));
        log.ledger.append(Batch::of(events)).await.unwrap();
        indexing::catch_up(&folder.path().join("own.sqlite"), &log.ledger).unwrap();
        let log = Arc::new(log);
        let place = Arc::new(Room::of(1).place().await);
        let ask = async |question, body: Value| -> Result<Value, String> {
            match Arc::clone(&log).reply(question, body.to_string().as_bytes(), &place).await {
                Ok(answer) => Ok(serde_json::from_str(answer.get()).unwrap()),
                Err(Failure::Query(error)) => Err(error.to_string()),
                Err(Failure::Internal(failure)) => panic!("{failure}"),
            }
        };
        let sensors = ask(Question::Sensors, json!({})).await.unwrap();
        let channels = sensors["sensors"][0]["channels"].as_array().unwrap();
        let last = ["value", "calibrated", "unit"];
        let told = channels
            .iter()
            .map(|of| ([&of["name"], &of["standing"]], last.map(|name| &of["last"][name])));
        let none = Value::Null;
        let expected = [
            ([&json!("t"), &json!("inside")], [&json!("99.99"), &json!(49.995), &json!("K")]),
            ([&json!("door"), &none], [&json!("open"), &none, &none]),
            ([&json!("later"), &none], [&none, &none, &none]),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);

        let of = |channel: &str, more: Value| {
            let mut query = json!({"sensor": heartbeat.id, "channel": channel, "limit": 9});
            query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ask(Question::Readings, query)
        };
        let answer = of("t", json!({})).await.unwrap();
        let values: Vec<&Value> = answer["readings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reading| &reading["value"])
            .collect();
        assert_eq!(values, ["23.50", "N/A", "99.99"]);
        // The sensor is an hour ahead; the second answer named no time.
        let clock = json!({"answers": 2, "offset_ms": 3_600_000, "spread_ms": 0});
        assert_eq!(answer["clock"], clock);
        let door = of("door", json!({"points": 5})).await.unwrap();
        assert_eq!(door["readings"].as_array().unwrap().len(), 1);
        let refusal = of("later", json!({})).await.unwrap_err();
        assert!(refusal.contains("with a reading of the channel `later`"), "{refusal}");
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_comes_without_what_was_erased_since_the_index_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let index_file = folder.path().join("index.sqlite");
        let signer = Signer::from_seed(KeyName::parse("plant").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(&folder.path().join("ledger"), signer).unwrap();
        let at = Timestamp::from_unix_micros(0);
        let event = |number: u32| Event::site("TEST", "test", format!("event {number}"), at);
        ledger.append(Batch::of((0..4).map(event).collect())).await.unwrap();
        indexing::catch_up(&index_file, &ledger).unwrap();
        let index = Reader::open(&index_file).unwrap();
        let messages = |search: &Search, places| {
            let Ok(page) = page(&ledger, &index, "id".to_owned(), search, places) else {
                panic!("there is a page")
            };
            let page: Value = serde_json::from_str(page.get()).unwrap();
            let events = page["events"].as_array().unwrap().iter();
            let messages = events.map(|event| event["envelope"]["event"]["message"].clone());
            (page["count"].clone(), Value::Array(messages.collect()))
        };
        let action = BTreeMap::from([(index::Field::Action, vec!["TEST".to_owned()])]);
        let search = Search { restriction: action, ..Search::default() };
        let before = (json!(4), json!(["event 3", "event 2"]));
        assert_eq!(messages(&search, (0, 2)), before);
        let (actor, reason) = ("tester".to_owned(), "a test".to_owned());
        let erasure = Erasure { leaves: "3".parse().unwrap(), actor, reason };
        ledger.erase(erasure, at).await.unwrap();
        assert_eq!(messages(&search, (0, 2)), (json!(3), json!(["event 3"])));
        indexing::catch_up(&index_file, &ledger).unwrap();
        assert_eq!(messages(&search, (0, 2)), (json!(3), json!(["event 3", "event 1"])));
        writer.close().await.unwrap();
    }
}
