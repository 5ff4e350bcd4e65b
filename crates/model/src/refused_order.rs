//! Why an order about a sensor is not carried out, and which do not fit the orders in force.

use alloc::string::String;

use crate::{
    sensor_id::SensorId,
    sensor_order::{InForce, Name, SensorOrder, Window},
    timestamp::Timestamp,
};

/// What kind of reason there is for a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// There is no such sensor.
    Unknown,
    /// The order is wrong whatever the state of the sensor.
    Invalid,
    /// The order does not fit what is in force.
    Conflict,
    /// The same order may be carried out later.
    ForNow,
}

/// Why an order about a sensor was not carried out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RefusedOrder {
    /// The poller does not know the sensor.
    #[error("the site polls no sensor {sensor}: `/api/sensors` lists all sensors")]
    Unknown {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The site knows the sensor that the order adds.
    #[error("the site already has the sensor {sensor}: order its interval, or forget it first")]
    Known {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// A device reports the sensor by itself, so no order about polls fits it.
    #[error("the site does not poll {sensor}: a device reports it by itself")]
    NotPolled {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// A device that reports by itself can only be replaced by another one.
    #[error("{device} is no sensor that a device reports by itself, and {sensor} is")]
    OtherKind {
        /// The device that the order names.
        device: SensorId,
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor cannot be added as it is described, or not with these topics.
    #[error("{0}")]
    NotAddable(String),
    /// The polls of the sensor are paused already.
    #[error("the polls of sensor {sensor} are already paused")]
    PausedAlready {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The polls of the sensor are not paused.
    #[error("the polls of sensor {sensor} are not paused")]
    NotPaused {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor is not polled now.
    #[error(
        "sensor {sensor} is lost, disconnected or retired: it is polled after its next heartbeat"
    )]
    Away {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// Several devices have the id of the sensor.
    #[error(
        "several devices have the id of sensor {sensor}: none is polled until an order decides"
    )]
    Doubled {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The message bus is down.
    #[error("the message bus is away: try again shortly")]
    BusAway,
    /// Another order to poll the sensor is not carried out yet.
    #[error("sensor {sensor} is being polled on another order: try again shortly")]
    Underway {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The poll ended without a reading.
    #[error("the poll of sensor {sensor} was given up: the log says why")]
    GivenUp {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor is retired already.
    #[error("sensor {sensor} is already retired")]
    Retired {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor is not retired.
    #[error("sensor {sensor} is not retired")]
    NotRetired {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The window is over.
    #[error("the maintenance would be over already: name a later end")]
    Over,
    /// There is no maintenance to end.
    #[error("sensor {sensor} is not in maintenance, and no maintenance is planned")]
    NoMaintenance {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The new device has the sensor's own id.
    #[error("{sensor} is the sensor's own id: leave it out if the new device has the same")]
    ItsOwnId {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The new device is in a place already, or another device is in its own.
    #[error("the device {device} cannot take this place: an order is in force for it and {sensor}")]
    InPlace {
        /// The device that the order names.
        device: SensorId,
        /// The sensor of the order that is in force.
        sensor: SensorId,
    },
    /// The sensor has several channels.
    #[error("sensor {sensor} has several channels: name the one to calibrate")]
    Channels {
        /// The sensor that the order names.
        sensor: SensorId,
    },
    /// The sensor declares no such channel.
    #[error("sensor {sensor} declares no channel `{channel}`")]
    NoChannel {
        /// The sensor that the order names.
        sensor: SensorId,
        /// The channel that the order names.
        channel: String,
    },
    /// The channel has no numbers.
    #[error("the channel `{channel}` of sensor {sensor} has no single numbers to calibrate")]
    NotNumbers {
        /// The sensor that the order names.
        sensor: SensorId,
        /// The channel that the order names.
        channel: String,
    },
    /// The calibration is not right yet.
    #[error("the calibration begins in the future: give the order then")]
    Later,
    /// The sensor or its channel has as many calibrations as it may have.
    #[error(
        "sensor {sensor} already has {} calibrations, which is the limit: give one of them the same date to replace it",
        SensorOrder::CALIBRATIONS_MAX
    )]
    CalibrationsMax {
        /// The sensor that the order names.
        sensor: SensorId,
    },
}

impl RefusedOrder {
    /// What kind of reason this is.
    #[must_use]
    pub const fn kind(&self) -> Refused {
        match self {
            Self::Unknown { .. } => Refused::Unknown,
            Self::NotAddable(_)
            | Self::OtherKind { .. }
            | Self::Over
            | Self::ItsOwnId { .. }
            | Self::Later => Refused::Invalid,
            Self::Away { .. } | Self::BusAway | Self::Underway { .. } | Self::GivenUp { .. } => {
                Refused::ForNow
            }
            Self::Retired { .. }
            | Self::NotRetired { .. }
            | Self::NoMaintenance { .. }
            | Self::InPlace { .. }
            | Self::Channels { .. }
            | Self::NoChannel { .. }
            | Self::NotNumbers { .. }
            | Self::CalibrationsMax { .. }
            | Self::Known { .. }
            | Self::NotPolled { .. }
            | Self::PausedAlready { .. }
            | Self::NotPaused { .. }
            | Self::Doubled { .. } => Refused::Conflict,
        }
    }
}

impl InForce {
    /// Whether an order about this sensor fits what is in force.
    ///
    /// # Errors
    /// It does not, whatever the sensor is.
    pub fn accept(
        &self,
        sensor: SensorId,
        order: &SensorOrder,
        now: Timestamp,
    ) -> Result<(), RefusedOrder> {
        let is_over = |window: Window| window.until() <= now;
        match order {
            SensorOrder::Retire if self.is_retired() => Err(RefusedOrder::Retired { sensor }),
            SensorOrder::Recall if !self.is_retired() => Err(RefusedOrder::NotRetired { sensor }),
            SensorOrder::Pause if self.paused().is_some() => {
                Err(RefusedOrder::PausedAlready { sensor })
            }
            SensorOrder::Resume if self.paused().is_none() => {
                Err(RefusedOrder::NotPaused { sensor })
            }
            SensorOrder::Maintain(window) if is_over(*window) => Err(RefusedOrder::Over),
            SensorOrder::EndMaintenance if self.maintenance().is_none_or(is_over) => {
                Err(RefusedOrder::NoMaintenance { sensor })
            }
            SensorOrder::Replace { device: Some(device) } if *device == sensor => {
                Err(RefusedOrder::ItsOwnId { sensor })
            }
            SensorOrder::Calibrate { from, .. } if *from > now => Err(RefusedOrder::Later),
            SensorOrder::Calibrate { channel, from, .. } => {
                let all = self.calibrations(channel.as_ref().map(Name::as_str));
                let is_one_more = all.begins().all(|begin| begin != *from);
                let is_full = is_one_more && all.len() >= SensorOrder::CALIBRATIONS_MAX;
                if is_full { Err(RefusedOrder::CalibrationsMax { sensor }) } else { Ok(()) }
            }
            SensorOrder::Retire
            | SensorOrder::Recall
            | SensorOrder::Maintain(_)
            | SensorOrder::EndMaintenance
            | SensorOrder::Rename { .. }
            | SensorOrder::Move { .. }
            | SensorOrder::Replace { .. }
            | SensorOrder::Add(_)
            | SensorOrder::Poll
            | SensorOrder::Interval { .. }
            | SensorOrder::AnswerTimeout { .. }
            | SensorOrder::Pause
            | SensorOrder::Resume
            | SensorOrder::Settle { .. } => Ok(()),
        }
    }
}
