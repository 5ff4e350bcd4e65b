//! Orders about sensors: their command line, and the list of those in force.

use clap::{Args, Subcommand};
use model::{
    InForce, SensorId, SensorOrder, Timestamp,
    calibration::{Calibration, Coefficient, Gain},
    sensor_order::{Name, Window},
};
use orders::order::Order;

use crate::cli::order_arguments::{Actor, Signature};

#[derive(Debug, Subcommand)]
pub(crate) enum FleetOrder {
    /// List the orders that are in force, with who gave them and why.
    Orders,
    /// Take a sensor out of service. It is not polled or missed any more.
    Retire(About),
    /// Expect a retired sensor again. It is polled after its next heartbeat.
    Recall(About),
    /// Silence a sensor while work is done at it. Its readings are sealed, but raise no alarm.
    Maintain {
        #[command(flatten)]
        about: About,
        /// Begin at this time instead of now.
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// End at this time.
        #[arg(long, value_name = "TIME", required_unless_present = "span")]
        until: Option<Timestamp>,
        /// End after this time, such as 30min, 2h or 3d.
        #[arg(long = "for", value_name = "TIME", conflicts_with = "until", value_parser = span)]
        span: Option<Span>,
    },
    /// End a maintenance before its time.
    EndMaintenance(About),
    /// Give a sensor another name, whatever its heartbeats say.
    Rename {
        #[command(flatten)]
        about: About,
        /// The name. Without it, the sensor has the name in its heartbeats again.
        #[arg(long, value_name = "ALIAS")]
        to: Option<Name>,
    },
    /// Give a sensor another location, whatever its heartbeats say.
    Move {
        #[command(flatten)]
        about: About,
        /// The location. Without it, the sensor is where its heartbeats say again.
        #[arg(long, value_name = "LOCATION")]
        to: Option<Name>,
    },
    /// Continue the series of a sensor with new hardware. The log marks the change.
    Replace {
        #[command(flatten)]
        about: About,
        /// Id that the heartbeats of the new device carry, if it is not the sensor's.
        #[arg(long, value_name = "ID")]
        with: Option<SensorId>,
    },
    /// Correct the values of a sensor: value times gain plus offset. The log keeps what it wrote.
    Calibrate {
        #[command(flatten)]
        about: About,
        /// What is added, in the unit of the value.
        #[arg(long, value_name = "NUMBER", default_value = "0", allow_hyphen_values = true)]
        offset: Coefficient,
        /// Factor.
        #[arg(long, value_name = "NUMBER", default_value = "1", allow_hyphen_values = true)]
        gain: Gain,
        /// Channel whose values are corrected, of a sensor that declares several.
        #[arg(long, value_name = "NAME")]
        channel: Option<Name>,
        /// Date of the calibration: it is right for readings from then on. Now if not named.
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
    },
    /// Decide which device is a sensor, after several had its id.
    Settle {
        #[command(flatten)]
        about: About,
        /// Hardware address of the device, as its heartbeats carry it. Without it, only one device
        /// is left.
        #[arg(long, value_name = "ADDRESS")]
        mac: Option<Name>,
    },
}

/// The sensor that an order is about, and who gives it.
#[derive(Args, Debug)]
pub(crate) struct About {
    /// Id of the sensor.
    #[arg(value_name = "ID")]
    sensor: SensorId,
    #[command(flatten)]
    signature: Signature,
}

impl About {
    fn order(self, what: SensorOrder) -> Order {
        let Self { sensor, signature: Signature { actor: Actor { actor }, reason } } = self;
        Order::Sensor { sensor, what, actor, reason }
    }
}

impl FleetOrder {
    /// The order, given at `now`. The error says what is wrong with its times.
    pub(crate) fn order(self, now: Timestamp) -> Result<Order, &'static str> {
        Ok(match self {
            Self::Orders => Order::SensorOrders,
            Self::Retire(about) => about.order(SensorOrder::Retire),
            Self::Recall(about) => about.order(SensorOrder::Recall),
            Self::Maintain { about, from, until, span } => {
                let from = from.unwrap_or(now);
                let until = until.or_else(|| span.map(|Span(micros)| after(from, micros)));
                let window = until.and_then(|until| Window::new(from, until));
                about.order(SensorOrder::Maintain(window.ok_or("it must end after it begins")?))
            }
            Self::EndMaintenance(about) => about.order(SensorOrder::EndMaintenance),
            Self::Rename { about, to } => about.order(SensorOrder::Rename { alias: to }),
            Self::Move { about, to } => about.order(SensorOrder::Move { location: to }),
            Self::Replace { about, with } => about.order(SensorOrder::Replace { device: with }),
            Self::Calibrate { about, offset, gain, channel, from } => {
                let (calibration, from) = (Calibration { gain, offset }, from.unwrap_or(now));
                about.order(SensorOrder::Calibrate { calibration, channel, from })
            }
            Self::Settle { about, mac } => about.order(SensorOrder::Settle { mac }),
        })
    }
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span(i64);

fn after(from: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_unix_micros(from.unix_micros().saturating_add(micros))
}

/// A span as searches write it.
fn span(text: &str) -> Result<Span, &'static str> {
    let late = Timestamp::from_unix_micros(i64::MAX);
    let before = late.back(text).ok_or("use a time such as 30min, 12h or 7d")?;
    Ok(Span(late.unix_micros() - before.unix_micros()))
}

/// The orders in force, for people.
pub(crate) fn table(sensors: &[(SensorId, InForce)], now: Timestamp) -> String {
    let mut table = String::new();
    for (sensor, in_force) in sensors {
        for given in in_force.orders(now) {
            let (order, by, at, reason) = (&given.order, &given.by, given.at, &given.reason);
            table.push_str(&format!("{sensor}  {order}: {reason}\n{:38}by {by} at {at}\n", ""));
        }
    }
    if table.is_empty() { String::from("no order about a sensor is in force") } else { table }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_in_a_search() {
        assert_eq!(span("30min"), Ok(Span(30 * 60 * 1_000_000)));
        assert_eq!(after(Timestamp::from_unix_micros(7), 3), Timestamp::from_unix_micros(10));
        assert!(span("soon").is_err());
    }
}
