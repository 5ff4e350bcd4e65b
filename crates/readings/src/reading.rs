//! A row of an export, common to all formats.

use model::{
    Calibrations, Event, SealedReading, Timestamp,
    event::SUCCESS,
    reading::{measured_of, number_of},
};

/// One reading of the sensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) leaf: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) status: String,
    pub(crate) value: String,
    /// The value as a number, corrected by the calibration that is right for its time.
    pub(crate) calibrated: Option<f64>,
    pub(crate) unit: Option<String>,
    /// Time by the sensor's clock, as it was sealed.
    pub(crate) sensor_time: Option<String>,
    pub(crate) flags: Option<String>,
}

impl Reading {
    pub(crate) fn of(leaf: u64, reading: &SealedReading<'_>, event: &Event) -> Self {
        let detail = event.sealwire.as_ref();
        let moment = detail.and_then(|detail| detail.sensor_time).map(String::from);
        let text = || detail.and_then(|detail| detail.device_time.clone());
        Self {
            leaf,
            timestamp: reading.at,
            status: reading.status.to_owned(),
            value: reading.value.to_owned(),
            calibrated: None,
            unit: reading.unit.map(str::to_owned),
            sensor_time: moment.or_else(text),
            flags: reading.flags.map(str::to_owned),
        }
    }

    /// What a reading says of one channel; `None` if it has a value, but none of the channel.
    pub(crate) fn of_channel(
        leaf: u64,
        reading: &SealedReading<'_>,
        event: &Event,
        channel: &str,
    ) -> Option<Self> {
        if reading.status != SUCCESS {
            return Some(Self::of(leaf, reading, event));
        }
        let measured = measured_of(event)?;
        let measured = measured.into_iter().find(|measured| measured.channel.name == channel)?;
        Some(Self {
            value: measured.text(),
            unit: measured.channel.unit,
            ..Self::of(leaf, reading, event)
        })
    }

    pub(crate) fn corrected(self, calibrations: &Calibrations) -> Self {
        let calibrated = calibrations.correct(self.timestamp, &self.status, &self.value);
        Self { calibrated, ..self }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        number_of(&self.status, &self.value)
    }
}
