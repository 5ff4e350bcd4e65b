//! Heartbeats of sensors, over NATS and MQTT: what is taken is within its limits, and is read again
//! from the event that it is sealed in.

use model::{Event, Heartbeat, LeftOut, Protocol, Timestamp, action};

use crate::sealed;

pub(crate) fn run(payload: &[u8]) {
    for protocol in [Protocol::Nats, Protocol::Mqtt] {
        let Ok((heartbeat, left_out)) = Heartbeat::from_wire(payload, protocol) else { continue };
        assert!(payload.len() <= Heartbeat::PAYLOAD_BYTES_MAX);
        let interval = heartbeat.poll_interval_ms;
        assert!(
            (Heartbeat::POLL_INTERVAL_MS_MIN..=Heartbeat::POLL_INTERVAL_MS_MAX).contains(&interval)
        );
        // A source is one of Pangea's fields, which have up to 128 characters.
        assert!((1..128).contains(&heartbeat.source().chars().count()));
        assert_eq!(Heartbeat::from_canonical(&heartbeat.canonical()).unwrap(), heartbeat);
        let at = Timestamp::from_unix_micros(0);
        let discovered = Event::sighting(action::SENSOR_DISCOVERED, &heartbeat, at);
        let sealed = sealed::seal(discovered).event.sealwire.unwrap();
        assert_eq!(sealed.heartbeat, Some(heartbeat.canonical()));
        let left_out: Vec<&LeftOut> = left_out.iter().collect();
        sealed::seal(Event::fields_left_out(&heartbeat, "heartbeat", &left_out, at));
    }
}
