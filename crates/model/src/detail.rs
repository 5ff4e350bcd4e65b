//! Sealwire's own fields of an event.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::{sensor_id::SensorId, timestamp::Timestamp};

/// Sealwire's own fields of an event. The action decides which are set; `docs/http-api.md` has the
/// table.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Detail {
    /// SHA-256 in hex of the file with what a mirror's server answered, or from which a history was
    /// imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// The sensor's start from which `uptime` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Gain and offset by which the value is corrected, as in force then; JSON of each channel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
    /// The channel that a derived event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Channels of a reading with several values, as they were declared when it was taken: a JSON
    /// array of [`Channel`](crate::Channel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<String>,
    /// Root of a mirror's server in hex, after it took the leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_root: Option<String>,
    /// Digest of the component that derived the event, `sha256:...`, as its registry names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Text of a time that a device named, if it is no moment or cannot be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_time: Option<String>,
    /// Leaves whose envelopes were erased, for example `12-40,57`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased: Option<String>,
    /// Why an answer was invalid, why fields were left out, or which values are not as their
    /// channels declare them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What a reader of a reading must know: words, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// Version of the log's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u32>,
    /// Index of the leaf from which the event was derived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_leaf: Option<u64>,
    /// The sensor's heartbeat, as [`Heartbeat::canonical`](crate::Heartbeat::canonical) writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
    /// Index of the leaf of the hold that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<u64>,
    /// The hold covers envelopes received at or after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_from: Option<Timestamp>,
    /// The hold covers envelopes received before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_to: Option<Timestamp>,
    /// SHA-256 in hex of an envelope of another log, which `new` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
    /// Leaf of that envelope in its own log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported_leaf: Option<u64>,
    /// Number of the device's message, from 0 to 255 and round again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_number: Option<u8>,
    /// Leaves whose events a mirror's server has taken, for example `12-40,57`, or the one that it
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<String>,
    /// The mirror has handled all leaves before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrored_to: Option<u64>,
    /// Numbers without a reading, for example `412-430`: poll numbers, or numbers of the sensor's
    /// own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Nonce that a poll brought and its answer gave back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// An order about the sensor, as JSON of a [`SensorOrder`](crate::SensorOrder).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The log's origin: the first line of its checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Number of the poll, or of the declared interval of a pushed series, that this reading ended.
    /// Each sensor's are numbered from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<u64>,
    /// Range that the sensor declared when the reading was taken, for example `0..50`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Unit of that range, if the reading has a different one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_unit: Option<String>,
    /// Text of an invalid answer, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Bytes of an invalid answer in hex, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_hex: Option<String>,
    /// Why numbers are missing: one of the words in `docs/formats/completeness.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Class of events whose retention time was over, if the events were erased for that reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// The retention run has handled all events of that class before this leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_to: Option<u64>,
    /// Statement of a key rotation: a signed note with the signatures of both keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// The rule that made a reading of what a device reported by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The sensor that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Time of the reading by the sensor's own clock. If it cannot be right, `flags` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_time: Option<Timestamp>,
    /// Number of the reading in the sensor's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The sensor's signature as received, not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// When the site received the first value outside a range with a delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The site's own time, beside a `timestamp` of the machine's clock that is not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_time: Option<Timestamp>,
    /// How far `sensor_time` may be off, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_error: Option<u64>,
    /// MQTT topic on which a device reported by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Unit of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Milliseconds from the sensor's start to the reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<u64>,
    /// A verifier key of the log (C2SP signed-note).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vkey: Option<String>,
    /// The reason for an order about the sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
