//! Answers of sensors: each ends its poll, and what is sealed of it is read again as it was.

use model::{
    Answer, Channel, Event, Heartbeat, Outcome, SealedReading, Timestamp, Values, derive::Sighting,
    reading,
};

use crate::sealed;

const HEARTBEAT: &[u8] = br#"{"alias":"t","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3",
    "poll_interval":1000,"poll_topic":"p","read_topic":"r","range":[0,50],"unit":"C",
    "channels":[{"name":"a","scale":-2,"range":[0,50],"unit":"C"},{"name":"b","kind":"enum","options":["x","y"]}]}"#;

pub(crate) fn run(payload: &[u8]) {
    let heartbeat = Heartbeat::parse(HEARTBEAT).unwrap();
    let outcome = Outcome::of(payload);
    match &outcome {
        Outcome::Success(answer) => {
            assert!(payload.len() <= Answer::PAYLOAD_BYTES_MAX);
            assert!(answer.seq.is_none_or(|seq| seq <= Answer::SEQ_MAX));
            let extra =
                |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
            assert!(extra(&answer.unit).max(extra(&answer.signature)) <= Answer::EXTRA_CHARS_MAX);
            assert!(extra(&answer.boot) <= Answer::BOOT_CHARS_MAX);
            let channels = answer.values.as_ref().map(|values| values.iter().count());
            assert!(channels.is_none_or(|count| (1..=Channel::COUNT_MAX).contains(&count)));
        }
        Outcome::ValueError { error, raw } => {
            assert!(!error.is_empty() && raw.len() <= Outcome::RAW_BYTES_MAX);
            assert!(payload.starts_with(raw));
        }
        Outcome::CommError => panic!("there was an answer"),
    }
    let at = Timestamp::from_unix_micros(0);
    let envelope = sealed::seal(Event::reading(&heartbeat, 1, outcome.clone(), at));
    let sealed = SealedReading::of(&envelope.event, envelope.received_at).unwrap();
    assert_eq!((sealed.sensor, sealed.at), (heartbeat.id, at));
    let _number = reading::number_of(sealed.status, sealed.value);
    if let Outcome::Success(answer) = outcome {
        assert_eq!(sealed.value, answer.value);
        let measured = reading::measured_of(&envelope.event);
        assert_eq!(measured.is_some(), answer.values.is_some());
        for (measured, (name, value)) in
            measured.iter().flatten().zip(answer.values.iter().flat_map(Values::iter))
        {
            assert_eq!((measured.channel.name.as_str(), &measured.value), (name, value));
        }
    }
    let sighting = Sighting::of(1, &envelope).unwrap();
    let json = serde_json::to_string(&sighting).unwrap();
    assert_eq!(serde_json::from_str::<Sighting>(&json).unwrap(), sighting);
}
