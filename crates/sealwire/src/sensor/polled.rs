//! The list of how sensors are polled.

use anyhow::{Context as _, Result};
use data_dir::DataDir;
use index::{Described, Reader, SensorStatus};
use model::{Given, SensorId, SensorState};
use serde::Serialize;

use crate::{cli::order_arguments::OrderArguments, output};

/// A sensor in the list.
#[derive(Serialize)]
struct Listed<'a> {
    sensor: SensorId,
    alias: String,
    state: SensorState,
    /// Milliseconds between two polls.
    poll_interval: u64,
    /// Whether an order set the interval.
    interval_ordered: bool,
    paused: Option<&'a Given>,
}

impl<'a> Listed<'a> {
    /// `None` for a series that a device reports by itself.
    fn of(status: &'a SensorStatus) -> Option<Self> {
        let Described::Polled(heartbeat) = &status.described else { return None };
        let ordered = status.in_force.poll_interval();
        Some(Self {
            sensor: heartbeat.id,
            alias: heartbeat.alias.clone(),
            state: status.state,
            poll_interval: ordered.map_or(heartbeat.poll_interval_ms, |it| it.as_millis()),
            interval_ordered: ordered.is_some(),
            paused: status.in_force.paused(),
        })
    }
}

/// Lists sensors in the order of their ids, as the index has them.
pub(super) fn show(site: &OrderArguments, limit: usize, after: Option<SensorId>) -> Result<()> {
    let path = DataDir::index_of(&site.data_dir);
    let index = Reader::open(&path)
        .with_context(|| format!("cannot read {}: a start of the site makes it", path.display()))?;
    let known = index.sensors(0)?;
    let mut listed: Vec<Listed<'_>> = known.iter().filter_map(Listed::of).collect();
    listed.sort_unstable_by_key(|listed| listed.sensor);
    let rest = listed.partition_point(|listed| after.is_some_and(|after| listed.sensor <= after));
    listed.drain(..rest);
    let beyond = listed.len().saturating_sub(limit);
    listed.truncate(limit);
    if site.json {
        output::json(&serde_json::to_string(&listed)?);
        return Ok(());
    }
    let mut table = format!("{:<38}{:<14}{:<14}{}\n", "sensor", "state", "every", "alias");
    for Listed { sensor, alias, state, poll_interval, interval_ordered, paused } in &listed {
        let state = if paused.is_some() { "paused" } else { state.name() };
        let mark = if *interval_ordered { "*" } else { "" };
        let every = format!("{poll_interval} ms{mark}");
        table.push_str(&format!("{:<38}{state:<14}{every:<14}{alias}\n", sensor.to_string()));
        if let Some(Given { by, at, reason, .. }) = paused {
            table.push_str(&format!("{:<38}paused by {by} at {at}: {reason}\n", ""));
        }
    }
    if listed.iter().any(|listed| listed.interval_ordered) {
        table.push_str("* by order, whatever the heartbeats ask for\n");
    }
    if let Some(last) = listed.last().filter(|_| beyond > 0) {
        table.push_str(&format!("and {beyond} more: --after {}\n", last.sensor));
    }
    output::lines(table.trim_end());
    Ok(())
}
