//! Derives the double of large values.

use model::processing::{Output, Question, Seen};

/// The smallest value that is doubled.
const LARGE: f64 = 50.0;
/// The component traps on this value.
const TRAP: &str = "trap";
/// The component is never done with this value.
const HANG: &str = "hang";
/// The component derives from a leaf of which it was not asked.
const NONSENSE: &str = "nonsense";

/// What follows from the events.
#[must_use]
pub fn process(question: &Question) -> Vec<Output> {
    question.events.iter().filter_map(output).collect()
}

fn output(event: &Seen) -> Option<Output> {
    let Seen { leaf, value, unit, .. } = event;
    let (from_leaf, value) = (*leaf, value.as_deref()?);
    match value {
        TRAP => std::process::abort(),
        HANG => loop {
            std::hint::spin_loop();
        },
        NONSENSE => Some(Output { from_leaf: from_leaf + 1_000_000, ..Output::default() }),
        _ => {
            let number: f64 = value.parse().ok().filter(|number| *number >= LARGE)?;
            let value = (number * 2.0).to_string();
            Some(Output { from_leaf, value, unit: unit.clone(), ..Output::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{SensorId, Timestamp, action, processing::VERSION};

    use super::*;

    #[test]
    fn large_values_are_doubled() {
        let event = |(leaf, value): (u64, &str)| Seen {
            leaf,
            sensor: SensorId::from_bytes([7; 16]),
            source: String::from("Hall.T1"),
            action: action::SENSOR_READING.to_owned(),
            received_at: Timestamp::from_unix_micros(0),
            status: None,
            value: Some(value.to_owned()),
            unit: None,
            channels: Vec::new(),
        };
        let events = [(1, "50.5"), (2, "49"), (3, "warm")].map(event).to_vec();
        let processor = "double".parse().unwrap();
        let derived = process(&Question { version: VERSION, processor, events });
        let derived: Vec<_> = derived.iter().map(|it| (it.from_leaf, &*it.value)).collect();
        assert_eq!(derived, [(1, "101")]);
    }
}
