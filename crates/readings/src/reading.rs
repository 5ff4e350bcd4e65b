//! A row of an export, common to all formats.

use model::{Timestamp, reading::number_of};

/// One reading of the sensor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reading {
    pub(crate) leaf: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) status: String,
    pub(crate) value: String,
    pub(crate) unit: Option<String>,
}

impl Reading {
    pub(crate) fn number(&self) -> Option<f64> {
        number_of(&self.status, &self.value)
    }
}
