//! A sensor as lists of sensors have it.

use index::{Described, SeriesReading};
use model::{
    Channel, Given, SensorState, Timestamp,
    channel::{InRange, Kind},
    polling::OrderedInterval,
};
use serde::Serialize;

/// Longest value in the list of sensors, in characters. A longer value is cut off there; the
/// sensor's readings have all of it.
const LAST_VALUE_CHARS_MAX: usize = 64;

#[derive(Serialize)]
pub(super) struct Sensor<'a> {
    id: model::SensorId,
    alias: String,
    location: &'a str,
    state: SensorState,
    out_of_range: bool,
    not_judged: bool,
    /// Between two polls, or two reports if a rule declares that.
    poll_interval_ms: Option<u64>,
    /// Whether its polls are paused by order.
    paused: bool,
    /// The orders that are in force about it.
    orders: Vec<&'a Given>,
    /// Since when several devices have its id and none of them counts as the sensor.
    doubled: Option<Timestamp>,
    /// The rule that made the sensor, if a device reports it by itself.
    rule: Option<&'a str>,
    unit: Option<&'a str>,
    quantity: Option<&'a str>,
    range: Option<[f64; 2]>,
    last: Option<SeriesReading>,
    recent: Vec<(i64, Option<f64>)>,
    /// What it measures, if that is more than one value: as its newest heartbeat declares it, and
    /// what it declared before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<ChannelOf<'a>>,
}

#[derive(Serialize)]
struct ChannelOf<'a> {
    name: &'a str,
    kind: Option<Kind>,
    quantity: Option<&'a str>,
    unit: Option<&'a str>,
    range: Option<[f64; 2]>,
    /// How the newest value stands to the range.
    standing: Option<InRange>,
    last: Option<SeriesReading>,
}

impl<'a> ChannelOf<'a> {
    fn all(status: &'a index::SensorStatus) -> Vec<Self> {
        let declared = match &status.described {
            Described::Polled(heartbeat) => &*heartbeat.channels,
            Described::Pushed(_) => &[],
        };
        let last = |name: &str| {
            let of_name = status.channels.iter().find(|(channel, _)| channel == name);
            of_name.map(|(_, last)| last)
        };
        let is_undeclared = |name: &&String| declared.iter().all(|channel| channel.name != **name);
        let others = status.channels.iter().map(|(name, _)| name).filter(is_undeclared);
        let declared = declared.iter().map(|channel| {
            let Channel { kind, name, quantity, range, unit, .. } = channel;
            Self {
                name,
                kind: *kind,
                quantity: quantity.as_deref(),
                unit: unit.as_deref(),
                range: range.map(|range| [range.low(), range.high()]),
                standing: last(name).and_then(|last| standing(channel, last)),
                last: last(name).map(shortened),
            }
        });
        let others = others.map(|name| Self {
            name,
            kind: None,
            quantity: None,
            unit: None,
            range: None,
            standing: None,
            last: last(name).map(shortened),
        });
        declared.chain(others).collect()
    }
}

/// How a value stands to the range of its channel, corrected if the channel is calibrated.
fn standing(channel: &Channel, last: &SeriesReading) -> Option<InRange> {
    let corrected = last.calibrated.map(|number| format!("{number:?}"));
    channel.judge(corrected.as_deref().unwrap_or(&last.value))
}

/// A reading as lists have it.
fn shortened(last: &SeriesReading) -> SeriesReading {
    let value = last.value.chars().take(LAST_VALUE_CHARS_MAX).collect();
    SeriesReading { value, ..last.clone() }
}

impl<'a> Sensor<'a> {
    pub(super) fn of(status: &'a index::SensorStatus, now: Timestamp) -> Self {
        let described = &status.described;
        let (poll_interval_ms, unit, range, rule) = match described {
            Described::Polled(heartbeat) => {
                let ordered = status.in_force.poll_interval().map(OrderedInterval::as_millis);
                let interval = ordered.unwrap_or(heartbeat.poll_interval_ms);
                (Some(interval), &heartbeat.unit, heartbeat.range, None)
            }
            Described::Pushed(series) => {
                (series.interval_ms, &series.unit, None, Some(series.rule.as_str()))
            }
        };
        Self {
            id: described.id(),
            alias: described.alias(),
            location: described.location(),
            state: status.state,
            out_of_range: status.standing.is_out_of_range(),
            not_judged: status.standing.is_not_judged(),
            poll_interval_ms,
            paused: status.in_force.paused().is_some(),
            orders: status.in_force.orders(now).collect(),
            doubled: status.in_force.doubled,
            rule,
            unit: unit.as_deref(),
            quantity: described.quantity(),
            range: range.map(|range| [range.low(), range.high()]),
            last: status.recent.last().map(shortened),
            channels: ChannelOf::all(status),
            recent: status
                .recent
                .iter()
                .map(|reading| (reading.timestamp.unix_millis(), reading.number()))
                .collect(),
        }
    }
}
