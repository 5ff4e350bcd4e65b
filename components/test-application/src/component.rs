//! The component's boundary, which is all of it.

use serde::Deserialize;
use serde_json::value::RawValue;

use self::bindings::{
    exports::wasmcloud::messaging::handler::Guest,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};

#[expect(
    unsafe_code,
    clippy::mem_forget,
    reason = "wit-bindgen's generated code crosses the component's boundary"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/messaging.wit", "../../wit/application.wit"],
        world: "sealwire:application/application",
        generate_all,
    });
    export!(Component);
    use super::Component;
}

/// Time for the site's answer. A host ends a call after two seconds.
const PATIENCE_MS: u32 = 1_500;

/// What a message asks for.
#[derive(Deserialize)]
struct Asked<'a> {
    /// Idempotency key.
    key: &'a str,
    /// An event, or an array of events.
    #[serde(borrow)]
    events: &'a RawValue,
}

struct Component;

impl Guest for Component {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let Asked { key, events } = serde_json::from_slice(&message.body)
            .map_err(|error| format!("the message is malformed: {error}"))?;
        let subject = format!("sealwire.events.write.{key}");
        let answer = consumer::request(&subject, events.get().as_bytes(), PATIENCE_MS);
        let body = answer.map_or_else(String::into_bytes, |answer| answer.body);
        let subject = message.reply_to.ok_or("nobody waits for the answer")?;
        consumer::publish(&BrokerMessage { subject, body, reply_to: None })
    }
}
