//! Takes the submissions that the gateway forwards, each with the ticket that the page's port gave
//! for it.

use async_nats::{Client, Message};
use model::submission::{self, Outcome};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

use super::{Desk, Refused, answering};

/// Submissions that are taken at the same time: more than the page's port forwards.
const CONCURRENT_MAX: usize = 16;

/// Takes what the gateway forwards.
#[derive(Debug)]
pub struct Forwarded {
    /// Connection to the components.
    pub client: Client,
    /// Where submissions are handed in.
    pub desk: Desk,
}

impl Service for Forwarded {
    const NAME: &'static str = "the events that come over HTTP";
    /// The bus refuses the subscription.
    type Error = async_nats::SubscribeError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        let Self { client, desk } = self;
        let forwarded = client.subscribe(submission::FORWARDED).await?;
        let answer = |message| answer(client.clone(), desk.clone(), message);
        answering::each(forwarded, CONCURRENT_MAX, answer, shutdown).await;
        Ok(())
    }
}

async fn answer(client: Client, desk: Desk, message: Message) {
    let Message { subject, reply: Some(reply), payload, .. } = message else { return };
    let Some(ticket) = submission::ticket_in(&subject) else { return };
    let done = desk.submit_with(ticket, &payload).await;
    let outcome =
        Outcome { status: done.as_ref().map_or_else(Refused::status, |_| 200), body: json(&done) };
    let outcome = serde_json::to_vec(&outcome).expect("an outcome has only text keys");
    if let Err(error) = client.publish(reply, outcome.into()).await {
        warn!(%error, "cannot answer the gateway");
    }
}

fn json(done: &Result<super::Sealed, Refused>) -> Box<RawValue> {
    match done {
        Ok(sealed) => to_raw_value(sealed).expect("receipts have only text keys"),
        Err(refused) => {
            let json = String::from_utf8(refused.to_json()).expect("JSON is UTF-8");
            RawValue::from_string(json).expect("it is JSON")
        }
    }
}
