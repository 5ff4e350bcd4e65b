//! The component's boundary: receives a question as a message and sends the verdict to its reply
//! subject.

use model::{
    derive::DIGEST_KEY,
    processing::{Question, Verdict},
};

use self::bindings::{
    exports::wasmcloud::messaging::handler::Guest,
    wasi::config::store,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};
use crate::process::{Mischief, mischief, process};

/// How long the component waits for an answer to which it has no right.
const ASK_MS: u32 = 10;

#[expect(
    unsafe_code,
    clippy::mem_forget,
    reason = "wit-bindgen's generated code crosses the component's boundary"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/config.wit", "../../wit/messaging.wit", "../../wit/processor.wit"],
        world: "sealwire:processor/processor",
        generate_all,
    });
    export!(Component);
    use super::Component;
}

struct Component;

impl Guest for Component {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let Some(reply_to) = message.reply_to else {
            return Err(format!("a question on {} has no reply subject", message.subject));
        };
        let question: Question = serde_json::from_slice(&message.body)
            .map_err(|error| format!("the question is malformed: {error}"))?;
        for mischief in mischief(&question) {
            // What comes of it, the test sees elsewhere.
            let _refused = match mischief {
                Mischief::Publish(subject) => publish(subject.to_owned(), b"{}".to_vec()),
                Mischief::Ask(subject) => consumer::request(subject, b"{}", ASK_MS).map(drop),
            };
        }
        let verdict = Verdict { component: own_digest()?, derived: process(&question) };
        let body = serde_json::to_vec(&verdict)
            .map_err(|error| format!("the verdict cannot be written: {error}"))?;
        publish(reply_to, body)
    }
}

fn publish(subject: String, body: Vec<u8>) -> Result<(), String> {
    consumer::publish(&BrokerMessage { subject, body, reply_to: None })
}

fn own_digest() -> Result<String, String> {
    match store::get(DIGEST_KEY) {
        Ok(Some(digest)) => Ok(digest),
        Ok(None) => Err(format!("the configuration has no `{DIGEST_KEY}`")),
        Err(error) => Err(format!("the configuration cannot be read: {error:?}")),
    }
}
