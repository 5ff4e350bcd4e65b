//! Derives the double of large values, and fails or does mischief as some texts say.

use model::processing::{Output, Question, Seen};

/// The smallest value that is doubled.
const LARGE: f64 = 50.0;
/// The component traps on this value.
const TRAP: &str = "trap";
/// The component is never done with this value.
const HANG: &str = "hang";
/// The component takes all memory that it gets, and is never done.
const EAT: &str = "eat";
/// The component derives from a leaf of which it was not asked.
const NONSENSE: &str = "nonsense";
/// The component publishes to the subject that follows.
const PUBLISH: &str = "publish ";
/// The component asks on the subject that follows.
const ASK: &str = "ask ";

/// What a hostile component does beside its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mischief<'a> {
    /// Publishes to this subject.
    Publish(&'a str),
    /// Asks on this subject.
    Ask(&'a str),
}

/// The mischief to which the events lead.
pub fn mischief(question: &Question) -> impl Iterator<Item = Mischief<'_>> {
    question.events.iter().filter_map(|event| {
        let value = event.value.as_deref()?;
        let publish = value.strip_prefix(PUBLISH).map(Mischief::Publish);
        publish.or_else(|| value.strip_prefix(ASK).map(Mischief::Ask))
    })
}

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
        HANG => hang(),
        EAT => eat(),
        NONSENSE => Some(Output { from_leaf: from_leaf + 1_000_000, ..Output::default() }),
        _ => {
            let number: f64 = value.parse().ok().filter(|number| *number >= LARGE)?;
            let value = (number * 2.0).to_string();
            Some(Output { from_leaf, value, unit: unit.clone(), ..Output::default() })
        }
    }
}

fn hang() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn eat() -> ! {
    const BITE_BYTES: usize = 1 << 20;
    let mut eaten = Vec::new();
    let mut bite = Vec::new();
    while bite.try_reserve_exact(BITE_BYTES).is_ok() {
        bite.resize(BITE_BYTES, 1);
        eaten.push(std::mem::take(&mut bite));
    }
    std::hint::black_box(eaten);
    hang()
}

#[cfg(test)]
mod tests {
    use model::{SensorId, Timestamp, action, processing::VERSION};

    use super::*;

    #[test]
    fn large_values_are_doubled_and_some_texts_lead_to_mischief() {
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
        let values = [(1, "50.5"), (2, "49"), (3, "warm"), (4, "publish a.b"), (5, "ask c")];
        let (events, processor) = (values.map(event).to_vec(), "double".parse().unwrap());
        let question = Question { version: VERSION, processor, events };
        let derived = process(&question);
        let derived: Vec<_> = derived.iter().map(|it| (it.from_leaf, &*it.value)).collect();
        assert_eq!(derived, [(1, "101")]);
        let mischief: Vec<_> = mischief(&question).collect();
        assert_eq!(mischief, [Mischief::Publish("a.b"), Mischief::Ask("c")]);
    }
}
