//! Events about orders, and what orders in force leave on other events.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};

use crate::{
    action,
    calibration::Calibration,
    event::{Detail, Event, PUSHING, SUCCESS},
    heartbeat::Heartbeat,
    pushed::PushedSeries,
    sensor_id::SensorId,
    sensor_order::{Given, InForce, SensorOrder},
    timestamp::Timestamp,
};

/// Flag of events of a sensor in maintenance.
const MAINTENANCE: &str = "maintenance";

impl Given {
    /// The order in a sealed event, if it is one.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let detail = event.sealwire.as_ref()?;
        let order: SensorOrder = serde_json::from_str(detail.order.as_deref()?).ok()?;
        if event.action.as_deref() != Some(order.action()) {
            return None;
        }
        let at = event.timestamp.as_deref()?.parse().ok()?;
        let reason = detail.why.clone().unwrap_or_default();
        Some(Self { order, by: event.actor.clone()?, at, reason })
    }
}

/// The newest calibrations of a sensor as texts, made once so that a reading only copies one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CalibrationTexts {
    /// Gain and offset of a single value.
    of_value: Option<String>,
    /// Those of each channel, as JSON.
    of_channels: Option<String>,
}

impl CalibrationTexts {
    /// What is in force; `None` if no calibration is.
    #[must_use]
    pub fn of(in_force: &InForce) -> Option<Self> {
        let newest = |of| in_force.calibrations(of).newest().map(ToString::to_string);
        let of_channel = |name| Some((name, newest(Some(name))?));
        let of_channels: BTreeMap<&str, String> =
            in_force.calibrated_channels().filter_map(of_channel).collect();
        let json = || serde_json::to_string(&of_channels).expect("texts have text keys");
        let texts =
            Self { of_value: newest(None), of_channels: (!of_channels.is_empty()).then(json) };
        (texts != Self::default()).then_some(texts)
    }
}

impl Detail {
    /// The calibration that was sealed with a reading of a single value.
    #[must_use]
    pub fn calibration_of_value(&self) -> Option<Calibration> {
        self.calibration.as_deref()?.parse().ok()
    }

    /// The calibrations that were sealed with a reading of several channels.
    #[must_use]
    pub fn calibrations_of_channels(&self) -> BTreeMap<String, Calibration> {
        let json = self.calibration.as_deref().unwrap_or_default();
        let texts: BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_default();
        texts.into_iter().filter_map(|(name, text)| Some((name, text.parse().ok()?))).collect()
    }
}

impl Event {
    /// The site forgets a sensor on someone's order.
    #[must_use]
    pub fn sensor_forgotten(actor: &str, heartbeat: &Heartbeat, why: &str, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let detail = Detail { sensor: Some(heartbeat.id), ..Detail::default() };
        let message = format!("{source}: forgotten: {why}");
        Self::new(actor, action::SENSOR_FORGOTTEN, &source, message, at).with(detail)
    }

    /// A sensor is polled because someone ordered it. The reading with this number follows.
    #[must_use]
    pub fn poll_ordered(
        heartbeat: &Heartbeat,
        given: &Given,
        poll: u64,
        sent_at: Timestamp,
    ) -> Self {
        let mut event = Self::sensor_ordered(heartbeat, given);
        event.timestamp = Some(sent_at.to_string());
        let detail = event.sealwire.get_or_insert_default();
        detail.poll = Some(poll);
        detail.why = detail.why.take().filter(|why| !why.is_empty());
        let why = detail.why.as_deref().map(|why| format!(": {why}"));
        event.message =
            format!("{}: poll {poll} ordered{}", heartbeat.source(), why.unwrap_or_default());
        event
    }

    /// Someone gives an order about a sensor.
    #[must_use]
    pub fn sensor_ordered(heartbeat: &Heartbeat, given: &Given) -> Self {
        Self::ordered(&heartbeat.source(), heartbeat.id, given)
    }

    /// Someone gives an order about a series that a device reports by itself.
    #[must_use]
    pub fn series_ordered(series: &PushedSeries, given: &Given) -> Self {
        Self::ordered(&series.source(), series.id, given)
    }

    /// Another device is in the place of this series now, and the site forgets it.
    #[must_use]
    pub fn series_forgotten(series: &PushedSeries, at: Timestamp) -> Self {
        let source = series.source();
        let message = format!("{source}: forgotten, because it continues another series");
        let detail = Self::of_series(series);
        Self::new(PUSHING, action::SENSOR_FORGOTTEN, &source, message, at).with(detail)
    }

    fn ordered(source: &str, sensor: SensorId, given: &Given) -> Self {
        let Given { order, by, at, reason } = given;
        let (by, at) = (by.as_str(), *at);
        let json = serde_json::to_string(order).expect("an order has only text keys");
        let detail = Detail {
            order: Some(json),
            sensor: Some(sensor),
            why: Some(reason.clone()),
            ..Detail::default()
        };
        let message = format!("{source}: {order}: {reason}");
        Self::new(by, order.action(), source, message, at).with(detail)
    }

    /// Several devices have the id of a sensor; `how` says by what the site knows it.
    #[must_use]
    pub fn sensor_doubled(heartbeat: &Heartbeat, how: &str, at: Timestamp) -> Self {
        let source = heartbeat.source();
        let detail = Detail {
            error: Some(String::from(how)),
            sensor: Some(heartbeat.id),
            ..Detail::default()
        };
        let message = format!(
            "{source}: several devices have its id: {how}; none of them counts as this sensor until an order decides"
        );
        Self::new("poller", action::SENSOR_DOUBLED, &source, message, at).with(detail)
    }

    /// A second device has the id of a sensor. The site keeps it apart under the id `apart`.
    #[must_use]
    pub fn device_kept_apart(
        heartbeat: &Heartbeat,
        apart: SensorId,
        other: &Heartbeat,
        how: &str,
        at: Timestamp,
    ) -> Self {
        let source = heartbeat.source();
        let detail = Detail {
            error: Some(String::from(how)),
            heartbeat: Some(other.canonical()),
            sensor: Some(heartbeat.id),
            ..Detail::default()
        };
        let message =
            format!("{source}: another device has its id and is kept apart as {apart}: {how}");
        let mut event =
            Self::new("poller", action::DEVICE_KEPT_APART, &source, message, at).with(detail);
        event.new = Some(apart.to_string());
        event
    }

    /// Says that the sensor was in maintenance, so that nobody raises an alarm over this.
    #[must_use]
    pub fn in_maintenance(mut self) -> Self {
        self.flag(MAINTENANCE);
        self
    }

    /// Adds the calibrations by which what a reading measured is corrected. Readings without a
    /// value have none.
    #[must_use]
    pub fn calibrated_by(mut self, calibrations: &CalibrationTexts) -> Self {
        let has_value = self.status.as_deref() == Some(SUCCESS);
        if let Some(detail) = self.sealwire.as_mut().filter(|_| has_value) {
            let CalibrationTexts { of_value, of_channels } = calibrations;
            let of_it = if detail.channels.is_some() { of_channels } else { of_value };
            detail.calibration.clone_from(of_it);
        }
        self
    }

    /// Whether the sensor was in maintenance.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        let flags = self.sealwire.as_ref().and_then(|detail| detail.flags.as_deref());
        flags.is_some_and(|flags| flags.split(' ').any(|flag| flag == MAINTENANCE))
    }
}
