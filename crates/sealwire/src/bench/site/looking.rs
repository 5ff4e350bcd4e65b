//! Looks for readings over the page's API, as a person's browser does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use model::Timestamp;
use serde_json::{Value, json};

/// Most readings of one answer: the most that the API gives.
const READINGS_MAX: u64 = 500;
/// Time between two looks at the newest reading. Looking all the time would be load.
const PERIOD: Duration = Duration::from_millis(100);

/// When readings could be found.
#[derive(Debug)]
pub(super) struct Found {
    /// From a reading's arrival at the site to the end of the first search that returned it,
    /// sorted.
    pub(super) times: Vec<Duration>,
    /// Readings that came in between two searches and were more than one answer holds.
    pub(super) unseen: u64,
}

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

    /// Answers in time that the site has had since its start.
    pub(super) fn answers(&self) -> Result<u64> {
        let url = format!("{}/api/site", self.url);
        let answer = body(http_client::get(&self.agent, &url).call()?)?;
        answer.pointer("/counters/answers").and_then(Value::as_u64).context("no counter of answers")
    }

    /// The newest readings that can be found, newest first.
    fn newest(&self, limit: u64) -> Result<Vec<Reading>> {
        let search = json!({ "action": "SENSOR_READING", "status": "SUCCESS", "limit": limit });
        let request = http_client::post(&self.agent, &format!("{}/api/logs", self.url));
        let request = request.header("content-type", "application/json");
        let answer = body(request.send(search.to_string())?)?;
        let events = answer.get("events").and_then(Value::as_array).context("no events")?;
        let reading = |event: &Value| {
            let leaf = event.get("leaf")?.as_u64()?;
            let at = event.pointer("/envelope/event/timestamp")?.as_str()?.parse().ok()?;
            Some(Reading { leaf, at })
        };
        events.iter().map(|event| reading(event).context("a reading without a time")).collect()
    }

    /// Searches without a pause, and notes when each reading is found first.
    pub(super) fn look_for_each(&self, window: Duration) -> Result<Found> {
        let mut newest = self.newest(1)?.first().map_or(0, |reading| reading.leaf);
        let mut found = Found { times: Vec::new(), unseen: 0 };
        let begin = Instant::now();
        let mut limit = READINGS_MAX / 10;
        while begin.elapsed() < window {
            let readings = self.newest(limit)?;
            let now = clock::now();
            let new = readings.iter().filter(|reading| reading.leaf > newest);
            let times = new.map(|reading| since(reading.at, now));
            let before = found.times.len();
            found.times.extend(times);
            if found.times.len() - before == readings.len() && newest > 0 && !readings.is_empty() {
                found.unseen += u64::from(limit == READINGS_MAX);
                limit = READINGS_MAX;
            }
            newest = readings.first().map_or(newest, |reading| reading.leaf.max(newest));
        }
        found.times.sort();
        Ok(found)
    }

    /// Searches now and then for the newest reading, and notes how old it is.
    pub(super) fn look_for_the_newest(&self, window: Duration) -> Result<Lag> {
        let newest = || -> Result<(Reading, Duration)> {
            let reading = self.newest(1)?.into_iter().next().context("no reading was found")?;
            let lag = since(reading.at, clock::now());
            Ok((reading, lag))
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

fn body(mut response: ureq::http::Response<ureq::Body>) -> Result<Value> {
    let text = response.body_mut().read_to_string()?;
    ensure!(response.status().is_success(), "the page answers {}: {text}", response.status());
    serde_json::from_str(&text).context("the page's answer is no JSON")
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    let micros = now.unix_micros().saturating_sub(earlier.unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
