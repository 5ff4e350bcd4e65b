//! Takes the events of components on hosts on other machines: of those that an operator let hand in
//! events.
//!
//! NATS does not say which component of a host sent a message, so a host is one application. The
//! server vouches for its name, and the scope of its token says whether its events are taken.

use access::{ApiTokens, sensors::CredentialName, token_of_host};
use async_nats::{Client, Message};
use engine::accounts;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

use super::{Desk, Refused, answering};

/// Submissions that are taken at the same time. Further ones wait on the bus.
const CONCURRENT_MAX: usize = 256;

/// Takes the events of components on other hosts.
#[derive(Clone, Debug)]
pub struct OfHosts {
    /// Connection to the components.
    pub client: Client,
    /// Where submissions are handed in.
    pub desk: Desk,
    /// The tokens of hosts.
    pub tokens: ApiTokens,
}

impl Service for OfHosts {
    const NAME: &'static str = "the events of components on other hosts";
    /// The bus refuses the subscription.
    type Error = async_nats::SubscribeError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        let messages = self.client.subscribe(accounts::ALL_WRITTEN).await?;
        let answer = |message| self.clone().answer(message);
        answering::each(messages, CONCURRENT_MAX, answer, shutdown).await;
        Ok(())
    }
}

impl OfHosts {
    async fn answer(self, message: Message) {
        let Message { subject, reply: Some(reply), payload, .. } = message else { return };
        let Some((host, key)) = accounts::writer_of(&subject) else { return };
        let Some(reply) = accounts::answer_to(host, &reply) else { return };
        let name = host.parse::<CredentialName>().ok();
        let done = match name.and_then(|name| self.tokens.named(&token_of_host(&name))) {
            Some(token) => self.desk.submit(&token, Some(key), &payload).await,
            None => Err(Refused::Token),
        };
        let answer = match done {
            Ok(sealed) => serde_json::to_vec(&sealed).expect("receipts have only text keys"),
            Err(refused) => refused.to_json(),
        };
        if let Err(error) = self.client.publish(reply, answer.into()).await {
            warn!(%error, host, "cannot answer a component");
        }
    }
}
