//! The command line of orders about the polls of a sensor.

use access::Words;
use clap::{Args, Subcommand};
use model::{
    SensorId, SensorOrder,
    polling::{AddedSensor, OrderedInterval, OrderedTimeout},
};
use orders::order::Order;

use crate::cli::order_arguments::{Actor, Signature};

#[derive(Debug, Subcommand)]
pub(crate) enum PollsOrder {
    /// Poll a sensor at once, and show what it answers.
    Poll {
        /// Id of the sensor.
        #[arg(value_name = "ID")]
        sensor: SensorId,
        #[command(flatten)]
        actor: Actor,
        /// Reason for this order. The log keeps it permanently.
        #[arg(long, value_name = "TEXT")]
        reason: Option<Words>,
    },
    /// Poll a sensor at another interval, whatever its heartbeats ask for.
    Interval {
        /// Id of the sensor.
        #[arg(value_name = "ID")]
        sensor: SensorId,
        /// The interval, such as 500ms, 5s or 10min. Without it, the sensor is polled as often as
        /// its heartbeats ask for again.
        #[arg(long, value_name = "TIME", value_parser = interval)]
        every: Option<OrderedInterval>,
        #[command(flatten)]
        signature: Signature,
    },
    /// Set how long a sensor has for an answer, whatever its heartbeats say.
    Timeout {
        /// Id of the sensor.
        #[arg(value_name = "ID")]
        sensor: SensorId,
        /// The time, such as 50ms or 5s, at most a minute. The interval limits it too. Without it,
        /// the sensor has as long as its heartbeats say, or as the site gives every sensor.
        #[arg(long = "for", value_name = "TIME", value_parser = timeout)]
        time: Option<OrderedTimeout>,
        #[command(flatten)]
        signature: Signature,
    },
    /// Stop polling a sensor until `resume`. What is not asked meanwhile does not count as missed.
    Pause(Polled),
    /// Poll a paused sensor again.
    Resume(Polled),
    /// Poll a sensor that has sent no heartbeat yet. It needs no credentials for this, and gets
    /// none.
    Expect(Box<Expected>),
}

/// The sensor that an order is about, and who gives it.
#[derive(Args, Debug)]
pub(crate) struct Polled {
    /// Id of the sensor.
    #[arg(value_name = "ID")]
    pub(crate) sensor: SensorId,
    #[command(flatten)]
    pub(crate) signature: Signature,
}

/// A sensor, as its heartbeats will describe it.
#[derive(Args, Debug)]
pub(crate) struct Expected {
    /// Name of the sensor for people.
    pub(crate) alias: String,
    /// Id of the sensor, as its heartbeats will carry it.
    #[arg(long, value_name = "ID")]
    pub(crate) id: SensorId,
    /// Where the sensor is installed.
    #[arg(long, value_name = "LOCATION", default_value = "")]
    pub(crate) location: String,
    /// Time between two polls, such as 500ms, 5s or 10min.
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub(crate) every: OrderedInterval,
    /// Topic on which the sensor receives polls. A topic with a `/` is one of MQTT.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) poll_topic: String,
    /// Topic on which the sensor publishes its answers.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) read_topic: String,
    /// Topic on which any message means that the sensor disconnects.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) disconnect_topic: Option<String>,
    #[command(flatten)]
    pub(crate) signature: Signature,
}

impl PollsOrder {
    /// The order.
    pub(crate) fn order(self) -> Order {
        let about = |Polled { sensor, signature }, what| ordered(sensor, what, signature);
        match self {
            Self::Poll { sensor, actor: Actor { actor }, reason } => {
                Order::Poll { sensor, actor, reason }
            }
            Self::Interval { sensor, every, signature } => {
                ordered(sensor, SensorOrder::Interval { poll_interval: every }, signature)
            }
            Self::Timeout { sensor, time, signature } => {
                ordered(sensor, SensorOrder::AnswerTimeout { answer_timeout: time }, signature)
            }
            Self::Pause(polled) => about(polled, SensorOrder::Pause),
            Self::Resume(polled) => about(polled, SensorOrder::Resume),
            Self::Expect(expected) => {
                let Expected {
                    alias,
                    id,
                    location,
                    every: poll_interval,
                    poll_topic,
                    read_topic,
                    disconnect_topic,
                    signature,
                } = *expected;
                let added = AddedSensor {
                    alias,
                    id,
                    location,
                    poll_interval,
                    poll_topic,
                    read_topic,
                    disconnect_topic,
                };
                ordered(id, SensorOrder::Add(added), signature)
            }
        }
    }
}

fn ordered(sensor: SensorId, what: SensorOrder, signature: Signature) -> Order {
    let Signature { actor: Actor { actor }, reason } = signature;
    Order::Sensor { sensor, what, actor, reason }
}

/// An interval with its unit.
fn interval(text: &str) -> Result<OrderedInterval, String> {
    OrderedInterval::of_millis(millis(text)?).map_err(|error| error.to_string())
}

/// A time for an answer with its unit.
fn timeout(text: &str) -> Result<OrderedTimeout, String> {
    OrderedTimeout::of_millis(millis(text)?).map_err(|error| error.to_string())
}

/// Milliseconds, from a time with its unit.
fn millis(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(String::from("use a time such as 500ms, 5s, 10min or 1h")),
    };
    let count: u64 = count.parse().map_err(|_not| String::from("begin with a number"))?;
    Ok(count.saturating_mul(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_limits() {
        for (text, millis) in
            [("500ms", 500), ("5s", 5_000), ("10min", 600_000), ("24h", 86_400_000)]
        {
            assert_eq!(interval(text).map(OrderedInterval::as_millis), Ok(millis), "{text}");
        }
        assert_eq!(timeout("5s").map(OrderedTimeout::as_millis), Ok(5_000));
        assert!(timeout("61s").unwrap_err().contains("use 10 to 60000 ms"));
        for (text, words) in [
            ("5", "use a time such as"),
            ("s", "begin with a number"),
            ("99ms", "use 100 to"),
            ("25h", "use 100 to"),
            ("99999999999999999999h", "begin with a number"),
        ] {
            assert!(interval(text).unwrap_err().contains(words), "{text}");
        }
    }
}
