//! The signed bytes of the vectors and of any readings.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

mod vectors;

use proptest::{collection::vec, option, prelude::*};
use wire::{Channel, PREFIX, Reading, Text, Time, Value};

fn signed(reading: &Reading<'_>) -> Vec<u8> {
    let mut signed = Vec::new();
    reading.signed_bytes(|bytes| signed.extend_from_slice(bytes));
    signed
}

fn text(text: &str) -> Text<'_> {
    Text::new(text).expect("texts of the tests are short")
}

#[test]
fn a_text_is_as_long_as_its_length_can_say() {
    let longest = "x".repeat(65_535);
    assert!(Text::new(&longest).is_some());
    assert!(Text::new(&(longest + "x")).is_none());
}

/// A reading of the property below, with its texts.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Owned {
    texts: [Option<String>; 3],
    numbers: [Option<u64>; 4],
    value: String,
    channels: Option<Vec<(String, Option<String>, i8)>>,
}

impl Owned {
    fn signed(&self) -> Vec<u8> {
        let [nonce, boot, unit] = &self.texts;
        let [seq, uptime_ms, unix_micros, error_ms] = self.numbers;
        let channels: Vec<Channel<'_>> = self
            .channels
            .iter()
            .flatten()
            .map(|(name, unit, scale)| Channel {
                name: text(name),
                unit: unit.as_deref().map(text),
                scale: *scale,
            })
            .collect();
        let value = match self.channels {
            None => Value::One { value: text(&self.value), unit: unit.as_deref().map(text) },
            Some(_) => Value::Several { values: text(&self.value), channels: &channels },
        };
        signed(&Reading {
            nonce: nonce.as_deref().map(text),
            seq,
            boot: boot.as_deref().map(text),
            uptime_ms,
            time: unix_micros.map(|unix_micros| Time { unix_micros, error_ms }),
            ..Reading::new([7; 16], value)
        })
    }

    /// What does not reach the signed bytes, because nothing says it.
    fn said(mut self) -> Self {
        if self.channels.is_some() {
            self.texts[2] = None;
        }
        if self.numbers[2].is_none() {
            self.numbers[3] = None;
        }
        self
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    // Few and short ones, with bytes that tags and lengths have too.
    let text = || "[\u{0}-\u{b}]{0,2}";
    let number = || option::of(0..3_u64);
    let channels = vec((text(), option::of(text()), -1..=1_i8), 0..3);
    (
        [option::of(text()), option::of(text()), option::of(text())],
        [number(), number(), number(), number()],
        text(),
        option::of(channels),
    )
        .prop_map(|(texts, numbers, value, channels)| {
            Owned { texts, numbers, value, channels }.said()
        })
}

proptest! {
    #[test]
    fn no_two_readings_have_the_same_bytes(one in owned(), other in owned()) {
        prop_assert_eq!(one == other, one.signed() == other.signed());
    }

    #[test]
    fn begins_with_the_prefix_and_the_sensor(one in owned()) {
        prop_assert!(one.signed().starts_with(&[PREFIX, &[7; 16]].concat()));
    }
}
