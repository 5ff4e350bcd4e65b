//! What the signature of a reading covers, byte for byte.
//!
//! A sensor signs these bytes, and whoever has the sealed event makes them again: every field here
//! is a field of that event. `docs/formats/wire.md` defines the format. The crate runs on a chip:
//! no allocation, no IO, no panic. It holds no key and calculates no signature.
//!
//! The bytes are [`PREFIX`], the sensor's id, and the fields that the answer has. Each field is a
//! [`Tag`] and its content, in the order of the tags, and a channel's unit and scale follow its
//! name. A number has eight bytes, and a text has its length in two bytes before it, both in
//! network order. So no two readings have the same bytes.
//!
//! ```
//! use wire::{Reading, Text, Value};
//!
//! let text = |text| Text::new(text).expect("shorter than 64 KiB");
//! let reading = Reading {
//!     seq: Some(7),
//!     ..Reading::new([0xa3; 16], Value::One { value: text("23.50"), unit: Some(text("°C")) })
//! };
//! let mut signed = Vec::new();
//! reading.signed_bytes(|bytes| signed.extend_from_slice(bytes));
//! assert!(signed.starts_with(wire::PREFIX));
//! ```

#![cfg_attr(not(test), no_std)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core, missing_docs)]

/// The first bytes of what is signed. They name the kind of message and the version of the format,
/// so that no signature for another purpose passes for one of a reading.
pub const PREFIX: &[u8] = b"sealwire reading v1\n";

/// A reading as its sensor signs it. An absent field is left out of the signed bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading<'a> {
    /// The sensor's UUID.
    pub sensor: [u8; 16],
    /// Nonce of the poll that the reading answers, as the poll brought it.
    pub nonce: Option<Text<'a>>,
    /// The sensor's own count of its readings.
    pub seq: Option<u64>,
    /// The sensor's start from which `uptime_ms` counts.
    pub boot: Option<Text<'a>>,
    /// Milliseconds from the sensor's start to the reading.
    pub uptime_ms: Option<u64>,
    /// Time of the reading by the sensor's clock.
    pub time: Option<Time>,
    /// What was measured.
    pub value: Value<'a>,
}

/// A time by the sensor's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Time {
    /// Microseconds since 1970-01-01 UTC.
    pub unix_micros: u64,
    /// How far the time may be off, in milliseconds, if the sensor knows.
    pub error_ms: Option<u64>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// The `value` of an answer.
    One {
        /// The value as it is sealed: a number digit for digit, a text without quotes and escapes.
        value: Text<'a>,
        /// Its unit, from the answer or from the heartbeat.
        unit: Option<Text<'a>>,
    },
    /// The `values` of an answer.
    Several {
        /// The JSON text of `values`, byte for byte as in the answer.
        values: Text<'a>,
        /// The channels that have a value, in the order of `values`.
        channels: &'a [Channel<'a>],
    },
}

/// A channel of an answer, as the heartbeat declares it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Channel<'a> {
    /// The channel's name.
    pub name: Text<'a>,
    /// Its unit, if it is declared.
    pub unit: Option<Text<'a>>,
    /// Power of ten by which a number of the channel is multiplied. A scale of 0 is left out of the
    /// signed bytes, as if it were not declared.
    pub scale: i8,
}

/// A text short enough for its length to have two bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Text<'a> {
    text: &'a str,
    len: u16,
}

/// First byte of a field. The values are part of the format.
#[derive(Clone, Copy, Debug)]
enum Tag {
    Nonce = 1,
    Seq = 2,
    Boot = 3,
    Uptime = 4,
    Time = 5,
    TimeError = 6,
    Value = 7,
    Values = 8,
    Channel = 9,
    Unit = 10,
    Scale = 11,
}

impl<'a> Reading<'a> {
    /// A reading with nothing but its value.
    #[must_use]
    pub const fn new(sensor: [u8; 16], value: Value<'a>) -> Self {
        Self { sensor, nonce: None, seq: None, boot: None, uptime_ms: None, time: None, value }
    }

    /// Calls `sink` with the signed bytes, a piece at a time and in order. A signer that needs them
    /// twice, as Ed25519 does, calls this twice and needs no buffer.
    pub fn signed_bytes(&self, sink: impl FnMut(&[u8])) {
        let mut fields = Fields(sink);
        (fields.0)(PREFIX);
        (fields.0)(&self.sensor);
        fields.text(Tag::Nonce, self.nonce);
        fields.number(Tag::Seq, self.seq);
        fields.text(Tag::Boot, self.boot);
        fields.number(Tag::Uptime, self.uptime_ms);
        fields.number(Tag::Time, self.time.map(|time| time.unix_micros));
        fields.number(Tag::TimeError, self.time.and_then(|time| time.error_ms));
        match self.value {
            Value::One { value, unit } => {
                fields.text(Tag::Value, Some(value));
                fields.text(Tag::Unit, unit);
            }
            Value::Several { values, channels } => {
                fields.text(Tag::Values, Some(values));
                for Channel { name, unit, scale } in channels {
                    fields.text(Tag::Channel, Some(*name));
                    fields.text(Tag::Unit, *unit);
                    if *scale != 0 {
                        fields.field(Tag::Scale, &scale.to_be_bytes());
                    }
                }
            }
        }
    }
}

impl<'a> Text<'a> {
    /// The text, unless it has more than 65,535 bytes. A field of an answer has at most half of
    /// that.
    #[must_use]
    pub fn new(text: &'a str) -> Option<Self> {
        u16::try_from(text.len()).ok().map(|len| Self { text, len })
    }
}

/// Writes fields into a sink.
struct Fields<S>(S);

impl<S: FnMut(&[u8])> Fields<S> {
    fn field(&mut self, tag: Tag, content: &[u8]) {
        (self.0)(&[tag as u8]);
        (self.0)(content);
    }

    fn number(&mut self, tag: Tag, number: Option<u64>) {
        if let Some(number) = number {
            self.field(tag, &number.to_be_bytes());
        }
    }

    fn text(&mut self, tag: Tag, text: Option<Text<'_>>) {
        if let Some(Text { text, len }) = text {
            self.field(tag, &len.to_be_bytes());
            (self.0)(text.as_bytes());
        }
    }
}
