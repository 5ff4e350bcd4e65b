//! Looks for readings over the page's API, as a person's browser does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use model::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

/// Readings of one answer: more than come between two searches, as a rule.
const PAGE: usize = 50;
/// Time between two looks at the newest reading. Looking all the time would be load.
const PERIOD: Duration = Duration::from_millis(100);

/// How far the newest reading that could be found was behind.
#[derive(Debug)]
pub(super) struct Lag {
    /// The longest time from the arrival of the newest reading found to the end of the search.
    pub(super) longest: Duration,
    /// Leaf of the newest reading found at the begin, and at the end.
    pub(super) first_leaf: u64,
    pub(super) last_leaf: u64,
    pub(super) elapsed: Duration,
}

/// Asks the API of a page.
#[derive(Debug)]
pub(super) struct Page {
    agent: ureq::Agent,
    url: String,
}

/// What a site says of itself, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) followers: Vec<FollowerLag>,
    /// The shortest interval at which the site polls any sensor, if that is longer than a sensor
    /// asks for.
    pub(super) shortest_interval_ms: Option<u64>,
    counters: Counters,
}

#[derive(Debug, Deserialize)]
pub(super) struct FollowerLag {
    pub(super) name: String,
    lag_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Counters {
    answers: u64,
}

impl Status {
    /// Answers in time since the site's start.
    pub(super) const fn answers(&self) -> u64 {
        self.counters.answers
    }
}

impl FollowerLag {
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_millis(self.lag_ms).as_secs_f64()
    }
}

/// A reading, as a search returns it.
struct Reading {
    leaf: u64,
    /// When the site got it.
    at: Timestamp,
}

impl Page {
    pub(super) fn new(url: String) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, url }
    }

    /// What the site says of itself.
    pub(super) fn status(&self) -> Result<Status> {
        let url = format!("{}/api/site", self.url);
        let answer = answer_of(http_client::get(&self.agent, &url).call()?)?;
        serde_json::from_value(answer).context("the page's answer has another form")
    }

    /// Number of sensors that are online.
    pub(super) fn online(&self) -> Result<u64> {
        let url = format!("{}/api/sensors?limit=1", self.url);
        let answer = answer_of(http_client::get(&self.agent, &url).call()?)?;
        let online = answer.pointer("/totals/online").and_then(Value::as_u64);
        online.context("the page does not say how many sensors are online")
    }

    /// The newest readings that can be found, newest first, and the search's id.
    fn newest(&self, limit: usize) -> Result<(String, Vec<Reading>)> {
        let search = json!({ "action": "SENSOR_READING", "status": "SUCCESS", "limit": limit });
        self.ask("logs", &search)
    }

    fn ask(&self, question: &str, body: &Value) -> Result<(String, Vec<Reading>)> {
        let request = http_client::post(&self.agent, &format!("{}/api/{question}", self.url));
        let request = request.header("content-type", "application/json");
        let answer = answer_of(request.send(body.to_string())?)?;
        let events = answer.get("events").and_then(Value::as_array).context("no events")?;
        let reading = |event: &Value| {
            let leaf = event.get("leaf")?.as_u64()?;
            let at = event.pointer("/envelope/event/timestamp")?.as_str()?.parse().ok()?;
            Some(Reading { leaf, at })
        };
        let readings =
            events.iter().map(|event| reading(event).context("a reading without a time"));
        // Only a search has an id; its later pages go by the same one.
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((id, readings.collect::<Result<_>>()?))
    }

    /// Searches without a pause, and returns when each reading was found first: the times from its
    /// arrival at the site to the end of that search, sorted.
    pub(super) fn look_for_each(&self, window: Duration) -> Result<Vec<Duration>> {
        let (_, before) = self.newest(1)?;
        let mut newest = before.first().map_or(0, |reading| reading.leaf);
        let mut times = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < window {
            let (id, mut page) = self.newest(PAGE)?;
            let newest_before = newest;
            newest = page.first().map_or(newest, |reading| reading.leaf.max(newest));
            let mut offset = 0;
            loop {
                let now = clock::now();
                let new = page.iter().filter(|reading| reading.leaf > newest_before);
                times.extend(new.map(|reading| since(reading.at, now)));
                offset += page.len();
                // If all of a page are new, there may be more on the next.
                if page.len() < PAGE || page.last().is_none_or(|last| last.leaf <= newest_before) {
                    break;
                }
                let more = json!({ "id": id, "offset": offset, "limit": PAGE });
                (_, page) = self.ask("results", &more)?;
            }
        }
        times.sort();
        Ok(times)
    }

    /// Searches now and then for the newest reading, and notes how old it is.
    pub(super) fn look_for_the_newest(&self, window: Duration) -> Result<Lag> {
        let newest = || -> Result<(Reading, Duration)> {
            let (_, readings) = self.newest(PAGE)?;
            let now = clock::now();
            // An answer that may belong to an earlier poll is held back before it is sealed, so the
            // newest leaf is not always the newest arrival.
            let lag = readings.iter().map(|reading| since(reading.at, now)).min();
            let reading = readings.into_iter().next().context("no reading was found")?;
            Ok((reading, lag.context("no reading was found")?))
        };
        let begin = Instant::now();
        let (Reading { leaf: first_leaf, .. }, mut longest) = newest()?;
        let mut last_leaf = first_leaf;
        while begin.elapsed() < window {
            std::thread::park_timeout(PERIOD);
            let (reading, lag) = newest()?;
            (last_leaf, longest) = (reading.leaf, longest.max(lag));
        }
        Ok(Lag { longest, first_leaf, last_leaf, elapsed: begin.elapsed() })
    }
}

fn answer_of(mut response: ureq::http::Response<ureq::Body>) -> Result<Value> {
    let text = response.body_mut().read_to_string()?;
    ensure!(response.status().is_success(), "the page answers {}: {text}", response.status());
    serde_json::from_str(&text).context("the page's answer is no JSON")
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    let micros = now.unix_micros().saturating_sub(earlier.unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
