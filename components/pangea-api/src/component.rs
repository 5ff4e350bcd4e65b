//! The component's boundary: receives a question as a message, calls the server, and sends the
//! answer to the reply subject.

use model::{
    derive::DIGEST_KEY,
    mirror::{Answer, ENDPOINT_KEY, End, Question, TOKEN_KEY},
};

use self::bindings::{
    exports::wasmcloud::messaging::handler::Guest,
    wasi::config::store,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};
use crate::http::{Server, call};

#[expect(
    unsafe_code,
    clippy::mem_forget,
    reason = "wit-bindgen's generated code crosses the component's boundary"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/config.wit", "../../wit/messaging.wit", "../../wit/pangea-api.wit"],
        world: "sealwire:pangea-api/pangea-api",
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
        let question = Question::parse(&message.body).map_err(|error| error.to_string())?;
        let server = Server { endpoint: setting(ENDPOINT_KEY)?, token: setting(TOKEN_KEY)? };
        let (end, body) = match call(&server, &question) {
            Ok((status, retry_after, body)) => (End::Answered { status, retry_after }, body),
            Err(reason) => (End::Failed(reason), Vec::new()),
        };
        let answer = Answer { component: setting(DIGEST_KEY)?, end, body };
        let body = answer.into_bytes();
        consumer::publish(&BrokerMessage { subject: reply_to, body, reply_to: None })
    }
}

fn setting(key: &str) -> Result<String, String> {
    match store::get(key) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(format!("the configuration has no `{key}`")),
        Err(error) => Err(format!("the configuration cannot be read: {error:?}")),
    }
}
