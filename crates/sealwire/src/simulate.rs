//! `sealwire simulate`: runs simulated sensors on existing servers.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, IsTerminal as _, Read as _, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use durable::{OutputError, Stop};
use model::Protocol;
use nats::Tls;
use serde::Serialize;
use simulator::{
    Credential, Faults, Live, SensorCounts, Tally, Topics, faults::file::FILE_BYTES_MAX,
    lateness::Lateness, live::SoFar, tally::Counts,
};

use crate::{
    cli::SimulateArguments,
    logging, open_files, output,
    sensor::{
        held,
        made::{Content, OfSensor},
    },
    signals,
};

/// Files that the process has open besides its connections.
const OTHER_FILES: u64 = 64;
/// Time between two lines about a running fleet, at a terminal.
const REWRITTEN_EVERY: Duration = Duration::from_secs(1);
/// The same elsewhere, where each line stays.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What a run was and what it sent, printed with `--json`.
#[derive(Debug, Serialize)]
struct Run<'a> {
    seed: u64,
    connections: u32,
    lateness_ms: Option<Lateness>,
    #[serde(flatten)]
    tally: &'a Tally,
}

/// A line of the file that `--tally` names.
#[derive(Debug, Serialize)]
struct Line {
    index: u32,
    sensor: String,
    alias: String,
    protocol: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

pub(crate) fn run(arguments: &SimulateArguments) -> Result<()> {
    logging::start();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let held = arguments.creds.as_deref().map(held::read_all).transpose()?.unwrap_or_default();
    let held = held.into_iter().map(credential).collect::<Result<Vec<_>>>()?;
    let (count, connections) = match held.as_slice() {
        [] => (arguments.count, arguments.connections.min(arguments.count)),
        held => {
            let sensors = held.iter().map(|credential| credential.sensors.len()).sum::<usize>();
            (u32::try_from(sensors)?, u32::try_from(held.len())?)
        }
    };
    // Each protocol has at least one.
    open_files::allow(u64::from(connections) + 1 + OTHER_FILES)?;
    let live = Arc::new(Live::default());
    let faults = arguments.faults.as_deref().map(read_faults).transpose()?.unwrap_or_default();
    let tls = arguments.ca.as_deref().map(read_authorities).transpose()?;
    let fleet = simulator::Config {
        mqtt_url: arguments.broker.clone(),
        mqtt_share: arguments.mqtt,
        connections,
        interval: arguments.interval.map(Duration::from_millis),
        answer_timeout: Duration::from_millis(arguments.answer_timeout),
        faults,
        credentials: held,
        tls,
        live: Arc::clone(&live),
        ..simulator::Config::new(arguments.nats.clone(), count, seed)
    };
    output::note(&format!(
        "simulating {} sensors on {} (--seed {seed}); press Ctrl-C to stop",
        count,
        servers(arguments)
    ));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let sensors = runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        tokio::select! {
            sensors = simulator::run(fleet, shutdown) => {
                sensors.context("the simulated sensors stopped")
            }
            never = tell(&live) => match never {},
        }
    })?;
    if io::stderr().is_terminal() {
        // What follows does not overwrite the line that tells what happened.
        output::note("");
    }
    if let Some(path) = &arguments.tally {
        // The run is over, so nothing but the disk can keep it from ending.
        let written = durable::write_output(path, &Stop::default(), |out| {
            write_tally(out, &sensors).map_err(|source| OutputError::new(path, source))
        });
        written.context("cannot write what each sensor sent")?;
    }
    let tally = Tally::of(&sensors);
    if arguments.json {
        let run = Run { seed, connections, lateness_ms: live.lateness(), tally: &tally };
        output::line(&serde_json::to_string(&run)?);
    } else {
        output::lines(&table(&tally));
        if let Some(Lateness { p50, p99, max }) = live.lateness() {
            output::line(&format!(
                "polls came late by up to: {p50} ms (half of them), {p99} ms (99 of 100), {max} ms"
            ));
        }
    }
    Ok(())
}

fn servers(arguments: &SimulateArguments) -> String {
    let SimulateArguments { nats, broker, mqtt, .. } = arguments;
    match mqtt {
        0.0 => nats.clone(),
        1.0 => broker.clone(),
        _ => format!("{nats} and {broker}"),
    }
}

fn credential(content: Content) -> Result<Credential> {
    let Content { name, nkey_seed, mqtt_password, sensors, .. } = content;
    let seed = nkey_seed.parse().with_context(|| format!("the seed of the credential {name}"))?;
    let of = |sensor: OfSensor| {
        let OfSensor { alias, id, heartbeat_topic, poll_topic, read_topic, disconnect_topic } =
            sensor;
        let topics = Topics {
            heartbeat: heartbeat_topic,
            poll: poll_topic,
            read: read_topic,
            disconnect: disconnect_topic,
        };
        (String::from(alias), id, topics)
    };
    let sensors = sensors.into_iter().map(of).collect();
    Ok(Credential { name: name.into(), seed, password: mqtt_password, sensors })
}

fn read_authorities(path: &Path) -> Result<Tls> {
    let pem = read(path)?;
    Tls::of_authorities(pem.as_bytes())
        .with_context(|| format!("no authority can be taken from {}", output::quoted(path)))
}

/// Reads a small file of text.
fn read(path: &Path) -> Result<String> {
    let shown = output::quoted(path);
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {shown}"))?;
    ensure!(text.len() as u64 <= FILE_BYTES_MAX, "{shown} is larger than {FILE_BYTES_MAX} bytes");
    Ok(text)
}

fn read_faults(path: &Path) -> Result<Faults> {
    let shown = output::quoted(path);
    let text = read(path)?;
    text.parse().with_context(|| format!("the faults in {shown} are not understood"))
}

/// Tells again and again what the fleet has done: on one line at a terminal, and elsewhere on a
/// line of its own each time.
async fn tell(live: &Live) -> Infallible {
    let is_terminal = io::stderr().is_terminal();
    let (every, end) = if is_terminal { (REWRITTEN_EVERY, "\r") } else { (TOLD_EVERY, "\n") };
    let (mut before, mut since) = (SoFar::default(), Instant::now());
    loop {
        tokio::time::sleep(every).await;
        let (so_far, now) = (live.so_far(), Instant::now());
        let line = told(before, so_far, now.duration_since(since));
        (before, since) = (so_far, now);
        // Nobody may be looking.
        let _gone = write!(io::stderr().lock(), "{line}{end}");
    }
}

/// What a fleet has done, and how fast in the time since it had done `before`.
fn told(before: SoFar, so_far: SoFar, elapsed: Duration) -> String {
    let column = |name, before: u64, so_far: u64| {
        let per_second = (so_far - before) as f64 / elapsed.as_secs_f64();
        format!("{name} {so_far} ({per_second:.0}/s)")
    };
    let columns = [
        column("polls", before.polls, so_far.polls),
        column("answers", before.answers, so_far.answers),
        column("misses", before.misses, so_far.misses),
    ];
    // Wide enough to cover the line before.
    format!("{:<78}", columns.join("  "))
}

/// Writes a line for each sensor.
fn write_tally(out: &mut impl Write, sensors: &[SensorCounts]) -> io::Result<()> {
    for SensorCounts { index, id, alias, protocol, counts, .. } in sensors {
        let protocol = match protocol {
            Protocol::Nats => "nats",
            Protocol::Mqtt => "mqtt",
        };
        let (sensor, alias) = (id.to_string(), alias.clone());
        let line = Line { index: *index, sensor, alias, protocol, counts: *counts };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// What each kind sent, and the sum.
fn table(tally: &Tally) -> String {
    const COLUMNS: [&str; 10] = [
        "sensors",
        "heartbeats",
        "polls",
        "answers",
        "silences",
        "late",
        "doubles",
        "floods",
        "unsent",
        "at risk",
    ];
    let row = |name: &str, cells: [String; 10]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>11}")).collect();
        format!("{name:<15}{cells}\n")
    };
    let counts = |counts: &Counts| {
        let Counts {
            sensors,
            heartbeats,
            polls,
            answers,
            silences,
            late,
            doubles,
            floods,
            unsent,
            at_risk,
        } = counts;
        let counts =
            [sensors, heartbeats, polls, answers, silences, late, doubles, floods, unsent, at_risk];
        counts.map(u64::to_string)
    };
    let mut table = row("", COLUMNS.map(String::from));
    for (quantity, of_kind) in &tally.kinds {
        table.push_str(&row(quantity, counts(of_kind)));
    }
    table.push_str(&row("all", counts(&tally.all)));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_sums_and_how_fast_they_grow() {
        let before = SoFar { polls: 100, answers: 90, misses: 10 };
        let so_far = SoFar { polls: 300, answers: 270, misses: 15 };
        let line = told(before, so_far, Duration::from_secs(10));
        let expected = "polls 300 (20/s)  answers 270 (18/s)  misses 15 (0/s)";
        assert_eq!((line.trim_end(), line.len()), (expected, 78));
    }
}
