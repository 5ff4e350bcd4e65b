//! `sealwire bench api`: measures Pangea's API from outside, over a log with a year of readings.
//! One process serves, this one asks, and both share the machine.

mod calls;

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use data_dir::DataDir;
use ledger::Batch;
use model::{Event, Heartbeat, Outcome, Timestamp, action};
use orders::SiteLog;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use site::log_alone::LogAlone;

use super::{
    figures::percentile,
    ledger::{Killed, resident_mb},
    machine::temporary,
};
use crate::{
    cli::{ApiServeArguments, MeasureArguments},
    output,
};

/// Number of readings in the log; a tenth with `--quick`.
const READINGS: u64 = 10_000_000;
/// Number of sensors with equally many readings. One more sensor has as many as ten of them.
const SENSORS: u64 = 1_000;
/// Span of the readings' timestamps.
const YEAR_MICROS: u64 = 365 * 86_400 * 1_000_000;
/// Timestamp of the first reading: the start of 2025.
const BEGIN_MICROS: u64 = 1_735_689_600_000_000;
/// Number of programs that log at the same time, and for how long.
const LOGGING_CLIENTS: u64 = 4;
const LOGGING: Duration = Duration::from_secs(10);
/// Number of programs that log one event per call, each over a connection of its own.
const CALLING_CLIENTS: usize = 256;
/// Number of tokens that they share. A token may make a thousand requests a second.
const CALLING_TOKENS: usize = 64;
/// Searches of each kind to time.
const SEARCHES: u64 = 1_000;
/// Plots to time, and the most points of each.
const PLOTS: u64 = 50;
const POINTS_MAX: u32 = 1_000;

/// The figures, printed with `--json`.
#[derive(Debug, Serialize)]
struct Figures {
    log_events_per_s: f64,
    v1_events_per_s: f64,
    v1_p99_ms: f64,
    empty_requests_per_s: f64,
    search_p99_ms: f64,
    text_p99_ms: f64,
    plot_ms: f64,
    rebuild_events_per_s: f64,
    rss_mb: Option<f64>,
    search_p50_ms: f64,
    text_p50_ms: f64,
    events: u64,
}

/// What the serving process reports once the index has the whole log.
#[derive(Debug, Deserialize, Serialize)]
struct Serving {
    url: String,
    token: String,
    /// Tokens of the clients that make one call after the other.
    calling_tokens: Vec<String>,
    rebuild_events_per_s: f64,
    plot_ms: f64,
}

pub(crate) fn run(arguments: &MeasureArguments) -> Result<()> {
    let events = if arguments.quick { READINGS / 10 } else { READINGS };
    let folder = temporary(&arguments.folder)?;
    output::note(&format!("sealwire: writing a log of {events} readings"));
    fill(folder.path(), events)?;
    output::note("sealwire: indexing the log");
    let (serving, child) = serve(folder.path())?;
    output::note("sealwire: searching");
    let (search_p50_ms, search_p99_ms) = timed(&serving, restricted)?;
    let (text_p50_ms, text_p99_ms) = timed(&serving, text)?;
    output::note("sealwire: logging");
    let log_events_per_s = log(&serving)?;
    output::note("sealwire: logging one event per call");
    let requests: Vec<String> = serving.calling_tokens.iter().map(|it| one_event(it)).collect();
    let v1 = |clients| calls::make(&serving.url, &requests, "200", (clients, LOGGING));
    let (alone, together) = (v1(1)?, v1(CALLING_CLIENTS)?);
    // Without a token there is nothing to do but to say so.
    let empty = [request("/v1/log", "", "{}")];
    let empty = calls::make(&serving.url, &empty, "401", (CALLING_CLIENTS, LOGGING))?;
    let figures = Figures {
        log_events_per_s,
        v1_events_per_s: together.per_second(),
        v1_p99_ms: percentile(&alone.times, 99),
        empty_requests_per_s: empty.per_second(),
        search_p99_ms,
        text_p99_ms,
        plot_ms: serving.plot_ms,
        rebuild_events_per_s: serving.rebuild_events_per_s,
        rss_mb: resident_mb(child.0.id()),
        search_p50_ms,
        text_p50_ms,
        events,
    };
    if arguments.json {
        output::line(&serde_json::to_string(&figures)?);
    } else {
        output::lines(&figures.table());
    }
    Ok(())
}

/// Runs the serving process: serves until its standard input ends.
pub(crate) fn serve_until_killed(arguments: &ApiServeArguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let begin = Instant::now();
        let log = LogAlone::start(&arguments.folder).await?;
        let events = log.indexed().await.context("cannot index the log")?;
        let rebuild_events_per_s = events as f64 / begin.elapsed().as_secs_f64();
        let plot_ms = plot(&log)?;
        let mut calling_tokens = Vec::new();
        while calling_tokens.len() < CALLING_TOKENS {
            calling_tokens.push(log.another_token().await?);
        }
        let serving = Serving {
            url: log.url.clone(),
            token: log.token.clone(),
            calling_tokens,
            rebuild_events_per_s,
            plot_ms,
        };
        output::line(&serde_json::to_string(&serving)?);
        std::future::pending::<()>().await;
        log.stop().await.context("cannot close the log")
    })
}

/// Time of the slowest of [`PLOTS`] plots, each of one sensor over a year, in milliseconds.
fn plot(log: &LogAlone) -> Result<f64> {
    let mut slowest = Duration::ZERO;
    for number in 0..PLOTS {
        let sensor = heartbeat(number * 17 % SENSORS)?.id;
        let begin = Instant::now();
        log.index.series(sensor, (None, None), POINTS_MAX)?.context("a sensor is not indexed")?;
        slowest = slowest.max(begin.elapsed());
    }
    Ok(slowest.as_secs_f64() * 1e3)
}

fn serve(folder: &Path) -> Result<(Serving, Killed)> {
    let (child, line) = Killed::start(&["api-serve".as_ref(), folder.as_ref()])?;
    let serving = serde_json::from_str(&line).context("the process that serves the log failed")?;
    Ok((serving, child))
}

/// Fills the log of a new site with a year of readings.
fn fill(folder: &Path, events: u64) -> Result<()> {
    let data_dir = DataDir::open(folder, None)?;
    let SiteLog { ledger, writer, operator: _ } = SiteLog::open(&data_dir, None)?;
    let heartbeats = (0..SENSORS).map(heartbeat).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let at = |number: u64| {
        let micros = BEGIN_MICROS + number * (YEAR_MICROS / events);
        Timestamp::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    };
    runtime.block_on(async {
        let discovered = |heartbeat| Event::sighting(action::SENSOR_DISCOVERED, heartbeat, at(0));
        ledger.append(Batch::of(heartbeats.iter().map(discovered).collect())).await?;
        let mut random = SmallRng::seed_from_u64(4);
        let mut number = 0;
        while number < events {
            let batch = (number..events).take(Batch::EVENTS_MAX).filter_map(|number| {
                let heartbeat = heartbeats.get(usize::try_from(number % SENSORS).ok()?)?;
                let value = format!("{:.2}", random.random_range(0.0..50.0));
                let outcome = if number % 97 == 0 {
                    Outcome::CommError
                } else {
                    Outcome::of(value.as_bytes())
                };
                Some(Event::reading(heartbeat, number / SENSORS + 1, outcome, at(number)))
            });
            let batch: Vec<Event> = batch.collect();
            number += batch.len() as u64;
            ledger.append(Batch::of(batch)).await?;
        }
        writer.close().await?;
        anyhow::Ok(())
    })
}

fn heartbeat(number: u64) -> Result<Heartbeat> {
    let id = uuid(number);
    let text = json!({
        "alias": format!("Sensor{number}"), "id": id, "location": format!("Hall {}", number % 40), "poll_interval": 1_000,
        "poll_topic": format!("s{number}.poll"), "read_topic": format!("s{number}.read"), "unit": "bar",
    });
    Heartbeat::parse(text.to_string().as_bytes()).context("the heartbeat is wrong")
}

fn uuid(number: u64) -> String {
    format!("a3b3c3d3-e3f3-4aaa-8bbb-{number:012x}")
}

/// A search restricted to whole values, as a program searches for its own events.
fn restricted(number: u64) -> Value {
    let sensor = number * 31 % SENSORS;
    let source = format!("Hall {}.Sensor{sensor}", sensor % 40);
    match number % 3 {
        0 => json!({ "search_restriction": { "source": [source] } }),
        1 => json!({ "search_restriction": { "source": [source], "status": ["COMM_ERROR"] } }),
        _ => {
            json!({ "search_restriction": { "action": ["SENSOR_READING"], "status": ["COMM_ERROR"] } })
        }
    }
}

/// A search for words.
fn text(number: u64) -> Value {
    let value = format!("{}.{:02}", number % 50, number * 7 % 100);
    let query = match number % 4 {
        0 => value,
        1 => format!("Sensor{} {value}", number * 31 % SENSORS),
        2 => format!("\"Hall {}.Sensor\" new:{value}", number % 40),
        _ => String::from("nowhere to be found"),
    };
    json!({ "query": query })
}

/// Median and 99th percentile of the time of a search, in milliseconds, including the first page
/// with its proofs.
fn timed(serving: &Serving, search: fn(u64) -> Value) -> Result<(f64, f64)> {
    let client = Client::of(serving);
    let mut times = Vec::new();
    for number in 0..SEARCHES {
        let body = search(number).to_string();
        let begin = Instant::now();
        client.post("/v1/search", &body)?;
        times.push(begin.elapsed());
    }
    times.sort();
    Ok((percentile(&times, 50), percentile(&times, 99)))
}

/// A request to log one event, as a program's client sends it.
fn one_event(token: &str) -> String {
    let event = json!({ "event": {
        "action": "set_point_changed", "actor": "operator", "message": "set point of valve 7 changed",
        "new": "7.25", "old": "7.5", "source": "hall 1", "status": "success", "target": "valve 7",
    } });
    let token = format!("authorization: Bearer {token}\r\n");
    request("/v1/log", &token, &event.to_string())
}

fn request(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Sealed events per second while several programs log a thousand events per call.
fn log(serving: &Serving) -> Result<f64> {
    let logged = AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..LOGGING_CLIENTS)
            .map(|client| {
                let logged = &logged;
                scope.spawn(move || {
                    let body = bulk(client);
                    let client = Client::of(serving);
                    while begin.elapsed() < LOGGING {
                        client.post("/v2/log", &body)?;
                        logged.fetch_add(Batch::EVENTS_MAX as u64, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| {
            client.join().map_err(|_panic| anyhow::anyhow!("a client panicked"))?
        })
    })?;
    Ok(logged.into_inner() as f64 / begin.elapsed().as_secs_f64())
}

fn bulk(client: u64) -> String {
    let event = |number: usize| {
        json!({ "event": {
            "action": "set_point_changed", "actor": format!("operator {client}"), "message": format!("set point of valve {number} changed"),
            "new": format!("{number}.25"), "old": format!("{number}.5"), "source": format!("hall {client}"), "status": "success",
            "target": format!("valve {number}"), "timestamp": "2026-11-25T09:00:00.123456Z",
        } })
    };
    json!({ "events": (0..Batch::EVENTS_MAX).map(event).collect::<Vec<_>>() }).to_string()
}

/// A client that keeps its connection, as the SDKs do.
struct Client<'a> {
    agent: ureq::Agent,
    serving: &'a Serving,
}

impl<'a> Client<'a> {
    fn of(serving: &'a Serving) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, serving }
    }

    fn post(&self, path: &str, body: &str) -> Result<()> {
        let request = http_client::post(&self.agent, &format!("{}{path}", self.serving.url));
        let request = request.header("authorization", format!("Bearer {}", self.serving.token));
        let mut response = request.header("content-type", "application/json").send(body)?;
        let answer = response.body_mut().read_to_vec()?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "{path} answers {status}: {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }
}

impl Figures {
    /// The figures as a table for people, each beside its target.
    fn table(&self) -> String {
        let rss = self.rss_mb.map_or_else(|| String::from("unknown"), |mb| format!("{mb:.0} MB"));
        let rows = [
            (
                "sealed by /v2/log, 1,000 a call",
                format!("{:.0}/s", self.log_events_per_s),
                "40,000/s",
            ),
            (
                "sealed by /v1/log, 256 clients",
                format!("{:.0}/s", self.v1_events_per_s),
                "20,000/s",
            ),
            ("  one client, p99", format!("{:.1} ms", self.v1_p99_ms), ""),
            (
                "  refused without a token, 256 clients",
                format!("{:.0}/s", self.empty_requests_per_s),
                "",
            ),
            ("restricted search, p99", format!("{:.1} ms", self.search_p99_ms), "50 ms"),
            ("search for words, p99", format!("{:.1} ms", self.text_p99_ms), "200 ms"),
            ("plot of a sensor's year, slowest", format!("{:.1} ms", self.plot_ms), "50 ms"),
            ("index rebuilt", format!("{:.0}/s", self.rebuild_events_per_s), "100,000/s"),
            ("peak memory", rss, "250 MB"),
        ];
        let mut table = format!("{} events\n{:<36}{:>14}{:>14}\n", self.events, "", "here", "aim");
        for (what, here, aim) in rows {
            table.push_str(&format!("{what:<36}{here:>14}{aim:>14}\n"));
        }
        table
    }
}
