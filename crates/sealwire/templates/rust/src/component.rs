//! Takes each question and sends its answer.

use bindings::{
    exports::wasmcloud::messaging::handler::Guest,
    wasi::config::store,
    wasmcloud::messaging::{consumer, types::BrokerMessage},
};

use crate::{
    messages::{Answer, Question, VERSION},
    process::process,
};

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "processor", generate_all });
    export!(Component);
    use super::Component;
}

struct Component;

impl Guest for Component {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let reply_to = message.reply_to.ok_or("a question has a reply subject")?;
        let question: Question =
            serde_json::from_slice(&message.body).map_err(|error| error.to_string())?;
        if question.version != VERSION {
            return Err(format!(
                "questions of version {} are not understood",
                question.version
            ));
        }
        let component = store::get("digest")
            .map_err(|error| format!("{error:?}"))?
            .ok_or("the configuration has no digest")?;
        let derived = question.events.iter().flat_map(process).collect();
        let body = serde_json::to_vec(&Answer { component, derived })
            .map_err(|error| error.to_string())?;
        consumer::publish(&BrokerMessage {
            subject: reply_to,
            body,
            reply_to: None,
        })
    }
}
