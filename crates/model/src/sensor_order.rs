//! Orders about one sensor, which a person gives to a site, and those that are in force.
//!
//! Each order is sealed as an event of its own action, in its field `order`. What is in force
//! follows from these events alone: [`InForce::after`].

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    action,
    calibration::{Calibration, Calibrations},
    heartbeat::Heartbeat,
    object,
    polling::{AddedSensor, OrderedInterval, OrderedTimeout},
    pushed::PushedSeries,
    sensor_id::SensorId,
    timestamp::Timestamp,
};

/// An order about one sensor.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum SensorOrder {
    /// The sensor is out of service: it is not expected any more, and not polled.
    Retire,
    /// A retired sensor is expected again.
    Recall,
    /// Work is done at the sensor: what it sends is sealed as ever, but raises no alarm.
    Maintain(Window),
    /// The work is done before the end of its window.
    EndMaintenance,
    /// The sensor has this name, whatever its heartbeats say; `None` is what they say.
    Rename {
        /// The name.
        alias: Option<Name>,
    },
    /// The sensor is here, whatever its heartbeats say; `None` is what they say.
    Move {
        /// The place.
        location: Option<Name>,
    },
    /// New hardware is in the sensor's place and continues its series.
    Replace {
        /// The id that the new device's heartbeats carry; `None` if it is the sensor's.
        device: Option<SensorId>,
    },
    /// What the sensor writes is corrected.
    Calibrate {
        /// The correction.
        #[serde(flatten)]
        calibration: Calibration,
        /// The channel whose values are corrected, of a sensor with several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<Name>,
        /// It is right for readings from this time on.
        from: Timestamp,
    },
    /// The sensor is known and polled before its first heartbeat.
    Add(AddedSensor),
    /// The sensor is polled once, now.
    Poll,
    /// The sensor is polled at this interval, whatever its heartbeats say; `None` is what they say.
    Interval {
        /// The interval.
        poll_interval: Option<OrderedInterval>,
    },
    /// The sensor has this time for an answer, whatever its heartbeats say; `None` is what they
    /// say.
    AnswerTimeout {
        /// The time.
        answer_timeout: Option<OrderedTimeout>,
    },
    /// The sensor is not polled, and nothing is due, until another order.
    Pause,
    /// The sensor is polled again.
    Resume,
    /// It is decided which device is the sensor, after several had its id.
    Settle {
        /// Hardware address of the device. With `None`, only one device is left.
        mac: Option<Name>,
    },
}

impl SensorOrder {
    /// Most calibrations of one sensor, or of each of its channels.
    pub const CALIBRATIONS_MAX: usize = 100;

    /// The actions of all orders that change what is known of a sensor.
    pub const ACTIONS: [&str; 14] = [
        action::SENSOR_ADDED,
        action::POLL_INTERVAL_SET,
        action::ANSWER_TIMEOUT_SET,
        action::POLLS_PAUSED,
        action::POLLS_RESUMED,
        action::SENSOR_RETIRED,
        action::SENSOR_RECALLED,
        action::MAINTENANCE_SET,
        action::MAINTENANCE_ENDED,
        action::SENSOR_RENAMED,
        action::SENSOR_MOVED,
        action::SENSOR_REPLACED,
        action::SENSOR_CALIBRATED,
        action::DOUBLE_SETTLED,
    ];

    /// The action of the event that records the order.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Retire => action::SENSOR_RETIRED,
            Self::Recall => action::SENSOR_RECALLED,
            Self::Maintain(_) => action::MAINTENANCE_SET,
            Self::EndMaintenance => action::MAINTENANCE_ENDED,
            Self::Rename { .. } => action::SENSOR_RENAMED,
            Self::Move { .. } => action::SENSOR_MOVED,
            Self::Replace { .. } => action::SENSOR_REPLACED,
            Self::Calibrate { .. } => action::SENSOR_CALIBRATED,
            Self::Add(_) => action::SENSOR_ADDED,
            Self::Poll => action::POLL_ORDERED,
            Self::Interval { .. } => action::POLL_INTERVAL_SET,
            Self::AnswerTimeout { .. } => action::ANSWER_TIMEOUT_SET,
            Self::Pause => action::POLLS_PAUSED,
            Self::Resume => action::POLLS_RESUMED,
            Self::Settle { .. } => action::DOUBLE_SETTLED,
        }
    }

    /// Whether this order ends an earlier one when it is given.
    fn ends(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Retire | Self::Recall, Self::Retire)
            | (Self::Maintain(_) | Self::EndMaintenance, Self::Maintain(_))
            | (Self::Rename { .. }, Self::Rename { .. })
            | (Self::Interval { .. }, Self::Interval { .. })
            | (Self::AnswerTimeout { .. }, Self::AnswerTimeout { .. })
            | (Self::Pause | Self::Resume, Self::Pause)
            | (Self::Move { .. }, Self::Move { .. })
            | (Self::Replace { .. }, Self::Replace { .. } | Self::Settle { .. })
            | (Self::Settle { .. }, Self::Settle { .. }) => true,
            (
                Self::Calibrate { channel, from, .. },
                Self::Calibrate { channel: other, from: earlier, .. },
            ) => channel == other && from == earlier,
            _ => false,
        }
    }

    /// Whether something is in force after this order, and not only another one ended.
    const fn stands(&self) -> bool {
        match self {
            Self::Recall
            | Self::EndMaintenance
            | Self::Rename { alias: None }
            | Self::Add(_)
            | Self::Poll
            | Self::Interval { poll_interval: None }
            | Self::AnswerTimeout { answer_timeout: None }
            | Self::Resume
            | Self::Move { location: None }
            | Self::Settle { mac: None } => false,
            Self::Retire
            | Self::Maintain(_)
            | Self::Rename { .. }
            | Self::Move { .. }
            | Self::Replace { .. }
            | Self::Calibrate { .. }
            | Self::Interval { .. }
            | Self::AnswerTimeout { .. }
            | Self::Pause
            | Self::Settle { .. } => true,
        }
    }
}

/// A phrase for messages.
impl fmt::Display for SensorOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retire => formatter.write_str("retired"),
            Self::Recall => formatter.write_str("expected again"),
            Self::Maintain(Window { from, until }) => {
                write!(formatter, "in maintenance from {from} until {until}")
            }
            Self::EndMaintenance => formatter.write_str("maintenance ended"),
            Self::Add(added) => {
                write!(formatter, "added, to be polled every {}", added.poll_interval)
            }
            Self::Poll => formatter.write_str("polled once"),
            Self::Interval { poll_interval: Some(interval) } => {
                write!(formatter, "polled every {interval}")
            }
            Self::Interval { poll_interval: None } => {
                formatter.write_str("polled as often as its heartbeats say")
            }
            Self::AnswerTimeout { answer_timeout: Some(timeout) } => {
                write!(formatter, "has {timeout} for an answer")
            }
            Self::AnswerTimeout { answer_timeout: None } => {
                formatter.write_str("has as long for an answer as its heartbeats say")
            }
            Self::Pause => formatter.write_str("polls paused"),
            Self::Resume => formatter.write_str("polls resumed"),
            Self::Rename { alias: Some(alias) } => write!(formatter, "renamed to {alias}"),
            Self::Rename { alias: None } => formatter.write_str("named as its heartbeats say"),
            Self::Move { location: Some(location) } => write!(formatter, "moved to {location}"),
            Self::Move { location: None } => formatter.write_str("located as its heartbeats say"),
            Self::Replace { device: Some(device) } => {
                write!(formatter, "replaced by the device {device}")
            }
            Self::Replace { device: None } => formatter.write_str("replaced by another device"),
            Self::Calibrate { calibration, channel, from } => {
                if let Some(channel) = channel {
                    write!(formatter, "channel {channel} ")?;
                }
                write!(formatter, "calibrated from {from} on: {}", calibration.words())
            }
            Self::Settle { mac: Some(mac) } => {
                write!(formatter, "the device with the hardware address {mac} is this sensor")
            }
            Self::Settle { mac: None } => formatter.write_str("one device has its id again"),
        }
    }
}

/// A span of time, not empty.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Bounds")]
pub struct Window {
    from: Timestamp,
    until: Timestamp,
}

#[derive(Deserialize)]
struct Bounds {
    from: Timestamp,
    until: Timestamp,
}

impl Window {
    /// The window from a moment until a later one, which is not in it; `None` if it is not later.
    #[must_use]
    pub fn new(from: Timestamp, until: Timestamp) -> Option<Self> {
        (from < until).then_some(Self { from, until })
    }

    /// The first moment.
    #[must_use]
    pub const fn from(self) -> Timestamp {
        self.from
    }

    /// The moment after the last one.
    #[must_use]
    pub const fn until(self) -> Timestamp {
        self.until
    }

    /// Whether a moment is in the window.
    #[must_use]
    pub fn contains(self, at: Timestamp) -> bool {
        (self.from..self.until).contains(&at)
    }
}

impl TryFrom<Bounds> for Window {
    type Error = &'static str;

    fn try_from(Bounds { from, until }: Bounds) -> Result<Self, &'static str> {
        Self::new(from, until).ok_or("a window ends after it begins")
    }
}

/// A name that an order gives: as long as one in a heartbeat, and not empty.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        if text.trim().is_empty() {
            return Err(InvalidName(String::from("it is blank")));
        }
        object::name_of(text).map(Self).map_err(InvalidName)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.to_owned().try_into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text is not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}; use 1 to {max} characters", max = Heartbeat::NAME_CHARS_MAX)]
pub struct InvalidName(String);

/// An order as it was given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Given {
    /// The order.
    #[serde(flatten)]
    pub order: SensorOrder,
    /// The account that gave it.
    pub by: String,
    /// When it was given.
    pub at: Timestamp,
    /// The reason, as text for the log.
    pub reason: String,
}

impl Given {
    /// The order as text, from which [`from_canonical`](Self::from_canonical) reads it.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("an order has only text keys")
    }

    /// Reads what [`canonical`](Self::canonical) wrote; `None` for any other text.
    #[must_use]
    pub fn from_canonical(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// What is in force of the orders about one sensor.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct InForce {
    /// Since when several devices have the sensor's id and cannot be kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubled: Option<Timestamp>,
    /// The orders, those given first at the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    orders: Vec<Given>,
}

impl InForce {
    /// What is in force after several devices were found to have the sensor's id.
    #[must_use]
    pub fn doubled_since(mut self, at: Option<Timestamp>) -> Self {
        self.doubled = at;
        self
    }

    /// Whether nothing is in force.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is in force after one more order.
    #[must_use]
    pub fn after(mut self, given: Given) -> Self {
        self.orders.retain(|before| !given.order.ends(&before.order));
        if matches!(given.order, SensorOrder::Settle { .. } | SensorOrder::Replace { .. }) {
            self.doubled = None;
        }
        if given.order.stands() {
            self.orders.push(given);
        }
        self
    }

    /// What outlasts a sensor that the site forgets: its name, place and hardware, and its
    /// calibrations.
    #[must_use]
    pub fn forgotten(mut self) -> Self {
        self.doubled = None;
        self.orders.retain(|given| {
            !matches!(
                given.order,
                SensorOrder::Retire
                    | SensorOrder::Maintain(_)
                    | SensorOrder::Interval { .. }
                    | SensorOrder::AnswerTimeout { .. }
                    | SensorOrder::Pause
            )
        });
        self
    }

    /// The orders that are in force at a time. A maintenance window that is over is not.
    pub fn orders(&self, now: Timestamp) -> impl Iterator<Item = &Given> {
        self.orders.iter().filter(move |given| match given.order {
            SensorOrder::Maintain(window) => now < window.until,
            _ => true,
        })
    }

    /// Whether the sensor is retired.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.orders.iter().any(|given| given.order == SensorOrder::Retire)
    }

    /// The interval that an order gave.
    #[must_use]
    pub fn poll_interval(&self) -> Option<OrderedInterval> {
        self.orders.iter().find_map(|given| match given.order {
            SensorOrder::Interval { poll_interval } => poll_interval,
            _ => None,
        })
    }

    /// The time for answers that an order gave.
    #[must_use]
    pub fn answer_timeout(&self) -> Option<OrderedTimeout> {
        self.orders.iter().find_map(|given| match given.order {
            SensorOrder::AnswerTimeout { answer_timeout } => answer_timeout,
            _ => None,
        })
    }

    /// The order that paused the polls, if they are paused.
    #[must_use]
    pub fn paused(&self) -> Option<&Given> {
        self.orders.iter().find(|given| given.order == SensorOrder::Pause)
    }

    /// The newest maintenance window, which may be over.
    #[must_use]
    pub fn maintenance(&self) -> Option<Window> {
        self.orders.iter().find_map(|given| match given.order {
            SensorOrder::Maintain(window) => Some(window),
            _ => None,
        })
    }

    /// The name that an order gave.
    #[must_use]
    pub fn alias(&self) -> Option<&str> {
        self.orders.iter().find_map(|given| match &given.order {
            SensorOrder::Rename { alias } => alias.as_ref().map(Name::as_str),
            _ => None,
        })
    }

    /// The location that an order gave.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.orders.iter().find_map(|given| match &given.order {
            SensorOrder::Move { location } => location.as_ref().map(Name::as_str),
            _ => None,
        })
    }

    /// The id of the device that is in the sensor's place.
    #[must_use]
    pub fn device(&self) -> Option<SensorId> {
        self.orders.iter().find_map(|given| match given.order {
            SensorOrder::Replace { device } => device,
            _ => None,
        })
    }

    /// The hardware address of the one device that is the sensor.
    #[must_use]
    pub fn mac(&self) -> Option<&str> {
        self.orders.iter().find_map(|given| match &given.order {
            SensorOrder::Settle { mac } => mac.as_ref().map(Name::as_str),
            _ => None,
        })
    }

    /// The calibrations of the sensor's single value, or of one of its channels.
    #[must_use]
    pub fn calibrations(&self, of: Option<&str>) -> Calibrations {
        let all = self.orders.iter().filter_map(|given| match &given.order {
            SensorOrder::Calibrate { calibration, channel, from } => {
                let is_it = channel.as_ref().map(Name::as_str) == of;
                is_it.then(|| (*from, calibration.clone()))
            }
            _ => None,
        });
        all.collect()
    }

    /// The channels that have a calibration.
    pub fn calibrated_channels(&self) -> impl Iterator<Item = &str> {
        self.orders.iter().filter_map(|given| match &given.order {
            SensorOrder::Calibrate { channel, .. } => channel.as_ref().map(Name::as_str),
            _ => None,
        })
    }

    /// Gives a description the name and the location that were ordered.
    pub fn describe(&self, heartbeat: &mut Heartbeat) {
        if let Some(alias) = self.alias() {
            heartbeat.alias = alias.to_owned();
        }
        if let Some(location) = self.location() {
            heartbeat.location = location.to_owned();
        }
    }

    /// The same of a series that a device reports by itself. `None` is what its rule says.
    pub fn describe_series(&self, series: &mut PushedSeries) {
        series.alias = self.alias().map(str::to_owned);
        series.location = self.location().unwrap_or_default().to_owned();
    }

    /// What is in force, as text, from which [`from_canonical`](Self::from_canonical) reads it.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("orders have only text keys")
    }

    /// Reads what [`canonical`](Self::canonical) wrote. Nothing is in force by any other text.
    #[must_use]
    pub fn from_canonical(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    const HEARTBEAT: &str = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r"}"#;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    fn order(json: &str) -> SensorOrder {
        serde_json::from_str(json).expect(json)
    }

    fn given(json: &str) -> Given {
        let (by, reason) = (String::from("ada"), String::from("a test"));
        Given { order: order(json), by, at: at(1), reason }
    }

    const MAINTAIN: &str =
        r#"{"order":"maintain","from":"1970-01-01T00:00:10Z","until":"1970-01-01T00:00:20Z"}"#;
    const CALIBRATE: &str =
        r#"{"order":"calibrate","gain":"1.02","offset":"-0.5","from":"1970-01-01T00:00:05Z"}"#;

    #[test]
    fn what_is_sealed_of_an_order_is_read_back() {
        let heartbeat = Heartbeat::parse(HEARTBEAT.as_bytes()).unwrap();
        for json in [
            r#"{"order":"retire"}"#,
            r#"{"order":"recall"}"#,
            MAINTAIN,
            r#"{"order":"end-maintenance"}"#,
            r#"{"order":"rename","alias":"Boiler"}"#,
            r#"{"order":"rename","alias":null}"#,
            r#"{"order":"move","location":"Hall 2"}"#,
            r#"{"order":"replace","device":"b3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3"}"#,
            CALIBRATE,
            r#"{"order":"calibrate","gain":"2","offset":"0","channel":"t","from":"1970-01-01T00:00:05Z"}"#,
            r#"{"order":"settle","mac":"28:cd:c1:03:e2:9f"}"#,
            r#"{"order":"answer-timeout","answer_timeout":5000}"#,
            r#"{"order":"answer-timeout","answer_timeout":null}"#,
        ] {
            let given = given(json);
            let event = Event::sensor_ordered(&heartbeat, &given);
            assert!(SensorOrder::ACTIONS.contains(&given.order.action()));
            assert_eq!(Given::of(&event), Some(given.clone()), "{json}");
            assert_eq!(Given::from_canonical(&given.canonical()), Some(given.clone()));
            let other = Event { action: Some(String::from("SENSOR_CHANGED")), ..event };
            assert_eq!(Given::of(&other), None);
            let in_force = InForce::default().after(given).doubled_since(Some(at(2)));
            assert_eq!(InForce::from_canonical(&in_force.canonical()), in_force, "{json}");
        }
        for json in [
            r#"{"order":"maintain","from":"1970-01-01T00:00:10Z","until":"1970-01-01T00:00:10Z"}"#,
            r#"{"order":"rename","alias":" "}"#,
            r#"{"order":"calibrate","gain":"0","offset":"1","from":"1970-01-01T00:00:05Z"}"#,
            r#"{"order":"calibrate","gain":"1","offset":"1e999","from":"1970-01-01T00:00:05Z"}"#,
            r#"{"order":"answer-timeout","answer_timeout":9}"#,
            r#"{"order":"answer-timeout","answer_timeout":60001}"#,
            r#"{"order":"explode"}"#,
        ] {
            assert!(serde_json::from_str::<SensorOrder>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_order_is_in_force_until_another_one_ends_it() {
        let orders = |all: &[&str]| {
            all.iter().fold(InForce::default(), |in_force, json| in_force.after(given(json)))
        };
        let retired = orders(&[r#"{"order":"retire"}"#]);
        assert!(retired.is_retired());
        assert!(retired.after(given(r#"{"order":"recall"}"#)).is_nothing());
        let maintained = orders(&[MAINTAIN]);
        assert!(maintained.maintenance().unwrap().contains(at(10)));
        assert_eq!((maintained.orders(at(19)).count(), maintained.orders(at(20)).count()), (1, 0));
        assert!(maintained.after(given(r#"{"order":"end-maintenance"}"#)).is_nothing());
        let named = r#"{"order":"rename","alias":"A"}"#;
        assert_eq!(orders(&[named, &named.replace('A', "B")]).alias(), Some("B"));
        assert!(orders(&[named, r#"{"order":"rename","alias":null}"#]).is_nothing());
        let patient = r#"{"order":"answer-timeout","answer_timeout":5000}"#;
        let timeout = orders(&[patient]).answer_timeout().map(OrderedTimeout::as_millis);
        assert_eq!(timeout, Some(5_000));
        assert!(orders(&[patient, &patient.replace("5000", "null")]).is_nothing());
        let earlier = CALIBRATE.replace(":05Z", ":04Z").replace("1.02", "2");
        let again = CALIBRATE.replace("1.02", "3");
        let calibrated = orders(&[CALIBRATE, &earlier, &again]);
        let gains = |in_force: &InForce, of: Option<&str>| {
            let all = in_force.calibrations(of);
            let gain = |second| Some(all.at(at(second))?.gain.to_string());
            (all.len(), [4, 5].map(|second| gain(second).unwrap_or_default()))
        };
        let [two, three] = ["2", "3"].map(String::from);
        assert_eq!(gains(&calibrated, None), (2, [two.clone(), three.clone()]), "one of each date");
        let of_channel = CALIBRATE.replace("1.02", "7").replace("from", r#"channel":"t","from"#);
        let with_channel = calibrated.after(given(&of_channel));
        assert_eq!(gains(&with_channel, None), (2, [two, three]));
        assert_eq!(gains(&with_channel, Some("t")), (1, [String::new(), String::from("7")]));
        assert_eq!(with_channel.calibrated_channels().collect::<Vec<_>>(), ["t"]);
        let settled = orders(&[]).doubled_since(Some(at(1)));
        assert!(settled.after(given(r#"{"order":"settle","mac":null}"#)).is_nothing());
        let forgotten = orders(&[named, r#"{"order":"retire"}"#, MAINTAIN, patient]).forgotten();
        assert_eq!(forgotten, orders(&[named]));
    }
}
