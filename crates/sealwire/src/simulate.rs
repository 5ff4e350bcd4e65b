//! `sealwire simulate`: runs simulated sensors on an existing message bus.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use simulator::{Tally, tally::Counts};

use crate::{cli::SimulateArguments, logging, open_files, output, signals};

/// Files that the process has open besides its connections.
const OTHER_FILES: u64 = 64;

/// What a run was and what it sent, printed with `--json`.
#[derive(Debug, Serialize)]
struct Run<'a> {
    seed: u64,
    connections: u32,
    #[serde(flatten)]
    tally: &'a Tally,
}

pub(crate) fn run(arguments: &SimulateArguments) -> Result<()> {
    logging::start();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let connections = arguments.connections.min(arguments.count);
    open_files::allow(u64::from(connections) + OTHER_FILES)?;
    output::note(&format!(
        "simulating {} sensors on {} (--seed {seed}); press Ctrl-C to stop",
        arguments.count, arguments.nats
    ));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let fleet = simulator::Config {
        nats_url: arguments.nats.clone(),
        count: arguments.count,
        connections,
        interval: arguments.interval.map(Duration::from_millis),
        seed,
    };
    let tally = runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        simulator::run(fleet, shutdown).await.context("the simulated sensors stopped")
    })?;
    if arguments.json {
        output::line(&serde_json::to_string(&Run { seed, connections, tally: &tally })?);
    } else {
        output::lines(&table(&tally));
    }
    Ok(())
}

/// What each kind sent, and the sum.
fn table(tally: &Tally) -> String {
    let row = |name: &str, cells: [String; 6]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
        format!("{name:<16}{cells}\n")
    };
    let columns = ["sensors", "heartbeats", "polls", "answers", "silences", "unsent"];
    let mut table = row("", columns.map(String::from));
    let counts = |counts: &Counts| {
        let Counts { sensors, heartbeats, polls, answers, silences, unsent } = counts;
        [sensors, heartbeats, polls, answers, silences, unsent].map(u64::to_string)
    };
    for (quantity, of_kind) in &tally.kinds {
        table.push_str(&row(quantity, counts(of_kind)));
    }
    table.push_str(&row("all", counts(&tally.all)));
    table
}
