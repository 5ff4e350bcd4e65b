//! Has `pangea-api` make one call of the mirror's server.

use std::time::Duration;

use async_nats::{Client, Request, RequestErrorKind};
use model::{
    error_chain,
    mirror::{Answer, Call, End, Question, SUBJECT},
};
use pangea::client::LogAtServer;
use tokio::sync::watch;

use crate::{
    pipeline::Digests,
    testing::{Said, TestQuestion},
};

/// The component that calls the mirror's server.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connection to it.
    pub client: Client,
    /// Digests of the components whose answers are taken: two while one replaces the other.
    pub accepted: watch::Receiver<Digests>,
    /// The log of the server that is called about; without one, that of the token.
    pub log: Option<LogAtServer>,
}

/// What the server answered, unchecked.
pub(crate) struct Answered {
    /// HTTP status.
    pub(crate) status: u16,
    /// Time for which it wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
    /// Digest of the component.
    pub(crate) component: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The component was asked, and may have called the server.
    #[error("pangea-api does not answer in time")]
    InTime,
    /// The server was not called, or did not answer.
    #[error("{0}")]
    Away(String),
}

impl Caller {
    /// Makes a call. `patience` is the time for the component's answer.
    pub(crate) async fn call(
        &self,
        question: &Question,
        patience: Duration,
    ) -> Result<Answered, NoAnswer> {
        let request = Request::new().payload(question.to_bytes().into()).timeout(Some(patience));
        let message = match self.client.send_request(SUBJECT, request).await {
            Ok(message) => message,
            Err(error) if error.kind() == RequestErrorKind::TimedOut => {
                return Err(NoAnswer::InTime);
            }
            // This is normal while a host starts.
            Err(error) => return Err(NoAnswer::Away(format!("no host runs pangea-api: {error}"))),
        };
        let answer =
            Answer::parse(&message.payload).map_err(|error| NoAnswer::Away(error_chain(&error)))?;
        if !self.accepted.borrow().contains(&answer.component) {
            let other = answer.component;
            let accepted = self.accepted.borrow();
            return Err(NoAnswer::Away(format!("{other} answered, not of {accepted:?}")));
        }
        match answer.end {
            End::Answered { status, retry_after } => {
                let retry_after = retry_after.map(Duration::from_secs);
                Ok(Answered { status, retry_after, body: answer.body, component: answer.component })
            }
            End::Failed(reason) => Err(NoAnswer::Away(reason)),
        }
    }
}

/// Asks for a call that is none, so no server hears of it: `pangea-api` says that it failed.
#[must_use]
pub fn test_question() -> TestQuestion {
    let call = Call::Result { id: String::from(" ") };
    TestQuestion::new(Question { call, body: Vec::new() }.to_bytes(), |answer, accepted| {
        let Answer { component, end, .. } = Answer::parse(answer).map_err(|it| error_chain(&it))?;
        if !accepted.contains(&component) {
            return Err(format!("{component} answered, not of {accepted:?}"));
        }
        Ok(Said::new(&component, &matches!(end, End::Failed(_))))
    })
}
