//! One value that a device reported.

use std::time::Duration;

use model::SensorId;
use uuid::Uuid;

use crate::device_time::DeviceTime;

/// One value of one quantity, as a device reported it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// The series that the value belongs to. It follows from `name` and `quantity` alone.
    pub sensor: SensorId,
    /// Name of the sensor, as the rule makes it.
    pub name: String,
    /// Measured quantity, for example `temperature`.
    pub quantity: String,
    /// The value as the device wrote it: numbers digit for digit, strings without their quotes,
    /// booleans as `true` or `false`.
    pub value: String,
    /// Unit of the value.
    pub unit: Option<String>,
    /// The time that the message names for the value.
    pub time: DeviceTime,
    /// Number of the message in the device's own count, which goes from 0 to 255 and round again.
    pub seq: Option<u8>,
    /// What a reader of the value must know.
    pub flags: Vec<Flag>,
    /// Name of the rule that made the reading.
    pub rule: String,
    /// Time between two reports, if the rule declares it.
    pub interval: Option<Duration>,
}

/// What a reader of a value must know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flag {
    /// The device says that the value is an old one that it sends later.
    Historical,
    /// Messages of this device were lost before this one; the count is modulo 256.
    MessagesMissing(u8),
    /// The device sent a value without having declared what it sends.
    NotBorn,
}

impl Flag {
    /// The word for this flag, in events.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Historical => String::from("historical"),
            Self::MessagesMissing(count) => format!("messages_missing:{count}"),
            Self::NotBorn => String::from("not_born"),
        }
    }
}

/// Namespace of the ids of sensors that report by themselves.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d2b_5f0c_6a1e_4c57_9f3d_27e0_b1c4_56aa);

/// The id of a series, made of the UUID of version 5 of name and quantity, with a line end between
/// them.
pub(crate) fn sensor_id(name: &str, quantity: &str) -> SensorId {
    let text = format!("{name}\n{quantity}");
    SensorId::of_series(Uuid::new_v5(&NAMESPACE, text.as_bytes()).into_bytes())
}

/// Longest name of a sensor in characters. With the quantity it makes an event's source, which
/// stays under 128.
const NAME_CHARS_MAX: usize = 64;
/// Longest quantity or unit in characters.
pub(crate) const QUANTITY_CHARS_MAX: usize = 60;
/// Longest value in bytes. What is longer is no measurement.
pub(crate) const VALUE_BYTES_MAX: usize = 1_024;

/// Whether a text can be a name of that many characters.
fn named<'a>(what: &str, text: &'a str, chars_max: usize) -> Result<&'a str, String> {
    let chars = text.chars().count();
    if text.is_empty() {
        Err(format!("the {what} is empty"))
    } else if chars > chars_max {
        Err(format!("the {what} has {chars} characters; at most {chars_max} are taken"))
    } else if text.chars().any(char::is_control) {
        Err(format!("the {what} has a control character"))
    } else {
        Ok(text)
    }
}

pub(crate) fn name(text: &str) -> Result<&str, String> {
    named("name of the sensor", text, NAME_CHARS_MAX)
}

pub(crate) fn quantity(text: &str) -> Result<&str, String> {
    named("quantity", text, QUANTITY_CHARS_MAX)
}

pub(crate) fn unit(text: &str) -> Result<&str, String> {
    named("unit", text, QUANTITY_CHARS_MAX)
}

pub(crate) fn value(text: &str) -> Result<&str, String> {
    match text.len() {
        0 => Err(String::from("the value is empty")),
        1..=VALUE_BYTES_MAX => Ok(text),
        bytes => Err(format!("the value has {bytes} bytes; at most {VALUE_BYTES_MAX} are taken")),
    }
}
