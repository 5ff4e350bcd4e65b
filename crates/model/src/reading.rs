//! A reading as it was sealed: what an index keeps of one and a file of readings has.

use crate::{
    action,
    event::{Event, SUCCESS},
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// What an event says of one poll of a sensor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealedReading<'a> {
    /// Whose.
    pub sensor: SensorId,
    /// When it was taken, as the event says; where it says no time, when it was received.
    pub at: Timestamp,
    /// How the poll ended.
    pub status: &'a str,
    /// Unit of the value.
    pub unit: Option<&'a str>,
    /// The value as the sensor wrote it.
    pub value: &'a str,
}

impl<'a> SealedReading<'a> {
    /// The reading that an event is. Another program may seal an event under our action: what has
    /// no status or no sensor is an event and nothing more.
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

/// The number that a value is; `None` where it is none that a floating-point number can hold.
#[must_use]
pub fn number_of(status: &str, value: &str) -> Option<f64> {
    let number = (status == SUCCESS).then(|| value.parse().ok()).flatten();
    number.filter(|number: &f64| number.is_finite())
}
