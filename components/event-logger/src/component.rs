//! The component's boundary: receives a question as a message and sends the answer to its reply
//! subject.

use model::{
    derive::DIGEST_KEY,
    submission::{Answer, Question, SCHEMA_KEY},
};
use pangea::{Schema, schema::Definition};

use self::bindings::{
    exports::wasmcloud::messaging::handler::Guest,
    wasi::config::store,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};
use crate::check::check;

#[expect(
    unsafe_code,
    clippy::mem_forget,
    reason = "wit-bindgen's generated code crosses the component's boundary"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/config.wit", "../../wit/messaging.wit", "../../wit/event-logger.wit"],
        world: "sealwire:event-logger/event-logger",
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
        let question: Question<'_> = serde_json::from_slice(&message.body)
            .map_err(|error| format!("the question is malformed: {error}"))?;
        let checked = check(&question, &schema()?);
        let answer = Answer { component: configured(DIGEST_KEY)?, checked };
        let body = serde_json::to_vec(&answer)
            .map_err(|error| format!("the answer cannot be written: {error}"))?;
        consumer::publish(&BrokerMessage { subject: reply_to, body, reply_to: None })
    }
}

fn schema() -> Result<Schema, String> {
    let definition: Definition = serde_json::from_str(&configured(SCHEMA_KEY)?)
        .map_err(|error| format!("the schema cannot be read: {error}"))?;
    Schema::try_from(definition).map_err(|error| format!("the schema is invalid: {error}"))
}

fn configured(key: &str) -> Result<String, String> {
    match store::get(key) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(format!("the configuration has no `{key}`")),
        Err(error) => Err(format!("the configuration cannot be read: {error:?}")),
    }
}
