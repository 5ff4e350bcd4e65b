//! A sealed reading: the part that the index stores and a readings file contains.

use crate::{
    action,
    event::{Event, SUCCESS},
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// How one poll of a sensor ended, as a sealed event says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealedReading<'a> {
    /// The sensor that was polled.
    pub sensor: SensorId,
    /// When the reading was taken by the event's own time; if it has none, when the ledger received
    /// it.
    pub at: Timestamp,
    /// How the poll ended: `SUCCESS`, `COMM_ERROR` or `VALUE_ERROR`.
    pub status: &'a str,
    /// Unit of the value.
    pub unit: Option<&'a str>,
    /// The value as the sensor wrote it.
    pub value: &'a str,
}

impl<'a> SealedReading<'a> {
    /// The reading in an event, if it is one. Another program may seal an event with the action
    /// `SENSOR_READING`; without a status or a sensor it is not a reading.
    #[must_use]
    pub fn of(event: &'a Event, received_at: Timestamp) -> Option<Self> {
        let is_reading = event.action.as_deref() == Some(action::SENSOR_READING);
        let sensor = event.sensor().filter(|_| is_reading)?;
        let at = event.timestamp.as_deref().and_then(|text| text.parse().ok());
        Some(Self {
            sensor,
            at: at.unwrap_or(received_at),
            status: event.status.as_deref()?,
            unit: event.sealwire.as_ref().and_then(|detail| detail.unit.as_deref()),
            value: event.new.as_deref().unwrap_or_default(),
        })
    }
}

/// The value as a floating-point number; `None` if it is not a number or too large for one.
#[must_use]
pub fn number_of(status: &str, value: &str) -> Option<f64> {
    let number = (status == SUCCESS).then(|| value.parse().ok()).flatten();
    number.filter(|number: &f64| number.is_finite())
}
