//! Hears applications over NATS: a request to `events.<name>.<anything>` is a submission of the
//! application of that name.
//!
//! The server lets nobody else publish there, so the subject says who it is; the site asks the
//! tokens again for each message, because a connection is closed only after its token is revoked.
//! A message without a reply subject is sealed too, and whoever sent it learns nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use access::{
    ApiTokens,
    sensors::{Refusal, SensorCredentials},
};
use async_nats::{Client, ConnectError, Event, Message};
use engine::{Password, accounts};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use work::Service;

use super::{Desk, Refused, answering};
use crate::bus::Server;

/// Header with the idempotency key.
pub const KEY_HEADER: &str = "Nats-Msg-Id";
/// Messages that wait until they are heard. It takes microseconds, whatever else waits; the client
/// drops and counts further ones.
const MESSAGES_MAX: usize = 1_024;
/// Messages that are answered at the same time: twice as many as have a place at the desk, because
/// those without one are answered too.
const ANSWERING_MAX: usize = 8_192;
/// Pause between attempts to reconnect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Connects to the devices' server as the one that hears applications. Afterwards the connection
/// reconnects by itself.
///
/// # Errors
/// The server does not answer yet, or refuses the password.
pub async fn connect(
    server: &Server,
    password: &Password,
    dropped: Arc<AtomicU64>,
) -> Result<Client, ConnectError> {
    server
        .secured(password.of_listener())
        .name("sealwire-listener")
        .subscription_capacity(MESSAGES_MAX)
        .reconnect_delay_callback(
            |attempts| if attempts <= 1 { Duration::ZERO } else { RECONNECT_PAUSE },
        )
        .event_callback(move |event| {
            let dropped = Arc::clone(&dropped);
            async move {
                match event {
                    Event::SlowConsumer(_) => {
                        warn!("applications hand in more than is heard, so messages are dropped");
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    Event::ServerError(error) => {
                        warn!(%error, "the message bus refused an operation");
                    }
                    other => info!(event = %other, "message bus of applications"),
                }
            }
        })
        .connect(format!("nats://{}", server.address))
        .await
}

/// Hears applications.
#[derive(Debug)]
pub struct Hearing {
    /// Connection to the applications' account.
    pub client: Client,
    /// Where submissions are handed in.
    pub desk: Desk,
    /// The tokens of applications.
    pub tokens: ApiTokens,
    /// Counts what an application is refused that learns nothing of it.
    pub credentials: SensorCredentials,
}

impl Service for Hearing {
    const NAME: &'static str = "the ear for applications";
    /// The bus refuses the subscription.
    type Error = async_nats::SubscribeError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        let messages = self.client.subscribe(accounts::ALL_EVENTS).await?;
        let ear = Arc::new(self);
        let answer = |message| Arc::clone(&ear).answer(message);
        answering::each(messages, ANSWERING_MAX, answer, shutdown).await;
        Ok(())
    }
}

impl Hearing {
    async fn answer(self: Arc<Self>, message: Message) {
        let Message { subject, reply, payload, headers, .. } = message;
        let Some(name) = subject.split('.').nth(1) else { return };
        // The server does not check it, and another application hears what comes there.
        if reply.as_ref().is_some_and(|it| !it.starts_with(&accounts::replies_to(name))) {
            let why = "it asks for an answer at a subject that is not its own";
            let advice = "have the application use the prefix of its own for its replies";
            return self.credentials.refused(Refusal::new(name, why, advice), clock::now());
        }
        let key = headers.as_ref().and_then(|headers| headers.get(KEY_HEADER));
        let done = match self.tokens.application(name) {
            Some(token) => self.desk.submit(&token, key.map(|key| key.as_str()), &payload).await,
            None => Err(Refused::Token),
        };
        let Some(reply) = reply else {
            if let Err(refused) = done {
                let why = format!("events without a reply subject: {refused}");
                let advice = "have the application ask for an answer, and look at it";
                self.credentials.refused(Refusal::new(name, &why, advice), clock::now());
            }
            return;
        };
        let answer = match done {
            Ok(sealed) => serde_json::to_vec(&sealed).expect("receipts have only text keys"),
            Err(refused) => refused.to_json(),
        };
        if let Err(error) = self.client.publish(reply, answer.into()).await {
            warn!(%error, "cannot answer an application");
        }
    }
}
