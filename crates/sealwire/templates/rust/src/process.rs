//! What the processor derives: the double of each value from 50 on. Change this file.

use crate::messages::{Event, Value};

/// The smallest value that is doubled.
const LARGE: f64 = 50.0;

/// What follows from an event. The same event always has the same answer: the site may ask again.
pub fn process(event: &Event) -> Vec<Value> {
    let number = event
        .value
        .as_deref()
        .and_then(|value| value.parse::<f64>().ok());
    let Some(large) = number.filter(|number| *number >= LARGE) else {
        return Vec::new();
    };
    vec![Value {
        from_leaf: event.leaf,
        value: (large * 2.0).to_string(),
        unit: event.unit.clone(),
        ..Value::default()
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_are_doubled() {
        let derived = |value: &str| {
            let value = Some(value.to_owned());
            let event = Event {
                leaf: 7,
                value,
                unit: Some("bar".to_owned()),
                ..Event::default()
            };
            process(&event)
        };
        let doubled = Value {
            from_leaf: 7,
            value: "101".to_owned(),
            unit: Some("bar".to_owned()),
            ..Value::default()
        };
        assert_eq!(derived("50.5"), [doubled]);
        assert_eq!(derived("49"), []);
        assert_eq!(derived("warm"), []);
    }
}
