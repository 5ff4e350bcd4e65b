//! Has `event-logger` check the submissions that wait at the [`Desk`](super::Desk).
//!
//! What waits goes over together, so a question is small while the component keeps up and large
//! while it does not. A question without an answer is asked again, in halves if somebody was there
//! to answer it: so a submission on which the component fails keeps no other one from its answer
//! for long. Whoever handed it in gives up in the end.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_nats::{Client, Request, RequestErrorKind};
use futures::{StreamExt as _, stream::FuturesUnordered};
use ledger::Batch;
use model::submission::{Answer, BYTES_MAX, Checked, Question, SUBJECT};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use work::Service;

use super::Waiting;
use crate::{
    pipeline::Digests,
    testing::{OnProbation, Said, TestQuestion},
};

/// Questions in flight: half of the messages that a host works on at once, so that
/// `sensor-reader` gets its share.
const QUESTIONS_MAX: usize = 4;
/// Submissions in one question.
const SUBMISSIONS_MAX: usize = 256;
/// Time that the component has for an answer. It needs milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// First pause after a question without an answer. Each further failure doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two questions.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Whoever checks submissions.
pub trait EventLogger: Send + Sync + 'static {
    /// The answer to a question, unchecked.
    fn answer(&self, question: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Silence>> + Send;
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Silence {
    /// Nobody is there to answer. This is normal while a host starts.
    #[error("no host runs event-logger")]
    Nobody,
    /// Somebody was there, and gave none that can be used.
    #[error("{0}")]
    NoAnswer(String),
}

/// The component on a host, asked over NATS.
impl EventLogger for Client {
    async fn answer(&self, question: Vec<u8>) -> Result<Vec<u8>, Silence> {
        let request = Request::new().payload(question.into()).timeout(Some(ANSWER_TIMEOUT));
        match self.send_request(SUBJECT, request).await {
            Ok(answer) => Ok(answer.payload.into()),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Err(Silence::Nobody),
            Err(error) => Err(Silence::NoAnswer(error.to_string())),
        }
    }
}

/// Has `event-logger` check submissions.
#[derive(Debug)]
pub struct Checking<L> {
    /// The component, or the connection to it.
    pub logger: L,
    /// Digests of the components whose answers are taken: two while one replaces the other.
    pub accepted: watch::Receiver<Digests>,
    /// Which component is on probation.
    pub probation: OnProbation,
    /// What waits to be checked.
    pub waiting: mpsc::Receiver<Waiting>,
}

impl<L: EventLogger> Service for Checking<L> {
    const NAME: &'static str = "the checks of applications' events";
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Self { logger, accepted, probation, mut waiting } = self;
        let checker = Checker { logger, accepted, probation, is_warned: AtomicBool::new(false) };
        let mut asking = FuturesUnordered::new();
        loop {
            tokio::select! {
                // In a fixed order, so that a simulation can repeat it.
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(()) = asking.next() => {}
                Some(first) = waiting.recv(), if asking.len() < QUESTIONS_MAX => {
                    asking.push(checker.check(gather(first, &mut waiting)));
                }
            }
        }
    }
}

/// The submissions that wait with the first one and fit into a question.
fn gather(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.submission.get().len();
    let mut gathered = vec![first];
    while bytes < BYTES_MAX
        && gathered.len() < SUBMISSIONS_MAX
        && let Ok(next) = waiting.try_recv()
    {
        bytes += next.submission.get().len();
        gathered.push(next);
    }
    gathered
}

struct Checker<L> {
    logger: L,
    accepted: watch::Receiver<Digests>,
    probation: OnProbation,
    /// Whether the site's log says that nothing is checked.
    is_warned: AtomicBool,
}

impl<L: EventLogger> Checker<L> {
    /// Asks until each submission has its answer, or nobody waits for it any more.
    async fn check(&self, submissions: Vec<Waiting>) {
        let mut groups = VecDeque::from([submissions]);
        let mut back_off = BACK_OFF_MIN;
        while let Some(mut group) = groups.pop_front() {
            group.retain(|submission| !submission.answer.is_closed());
            if group.is_empty() {
                continue;
            }
            let silence = match self.ask(&group).await {
                Ok(checked) => {
                    self.is_warned.store(false, Ordering::Relaxed);
                    back_off = BACK_OFF_MIN;
                    let rest = group.split_off(checked.len());
                    for (Waiting { answer, .. }, checked) in group.into_iter().zip(checked) {
                        let found = match checked {
                            Checked::Events(events) => Ok(events),
                            Checked::Fault(fault) => Err(fault),
                        };
                        // Whoever has gone learns nothing, and nothing is sealed for them.
                        let _gone = answer.send(found);
                    }
                    groups.push_back(rest);
                    continue;
                }
                Err(silence) => silence,
            };
            debug!(%silence, submissions = group.len(), "got no answer; asking again");
            if back_off == BACK_OFF_MAX && !self.is_warned.swap(true, Ordering::Relaxed) {
                warn!(%silence, "event-logger gives no answer; events of applications are not sealed");
            }
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
            if matches!(silence, Silence::NoAnswer(_)) {
                groups.push_back(group.split_off(group.len().div_ceil(2)));
            }
            groups.push_back(group);
        }
    }

    async fn ask(&self, group: &[Waiting]) -> Result<Vec<Checked>, Silence> {
        let question = body(group.iter().map(|it| it.submission.as_ref()).collect());
        let taken = self.logger.answer(question.clone()).await.and_then(|answer| {
            take(&answer, &self.accepted.borrow(), group.len()).map_err(Silence::NoAnswer)
        });
        if matches!(taken, Err(Silence::NoAnswer(_))) {
            self.probation.blames(None, || tested(question, group.len()));
        }
        taken
    }
}

fn body(submissions: Vec<&RawValue>) -> Vec<u8> {
    serde_json::to_vec(&Question { submissions }).expect("a question has only text keys")
}

/// Asks about two submissions, of which one is at fault. Nothing is sealed of the answer.
#[must_use]
pub fn test_question() -> TestQuestion {
    let submissions = [r#"{"message":"a question of the site"}"#, r#"{"message":7}"#];
    let parsed = submissions.map(|json| serde_json::from_str(json).expect("it is JSON"));
    tested(body(parsed.to_vec()), submissions.len())
}

fn tested(question: Vec<u8>, asked: usize) -> TestQuestion {
    TestQuestion::new(question, move |answer, accepted| {
        let checked = take(answer, accepted, asked)?;
        let Answer { component, .. } = serde_json::from_slice::<Answer<IgnoredAny>>(answer)
            .map_err(|error| error.to_string())?;
        Ok(Said::new(&component, &format!("{checked:?}")))
    })
}

/// Accepts an answer only if a deployed component gave it and it is about submissions in
/// question. A faulty component can be wrong about an application's events, but it cannot make them
/// another application's or the site's own.
fn take(answer: &[u8], accepted: &Digests, asked: usize) -> Result<Vec<Checked>, String> {
    let Answer { component, checked } = serde_json::from_slice::<Answer<Checked>>(answer)
        .map_err(|error| format!("the answer is malformed: {error}"))?;
    if !accepted.contains(&component) {
        return Err(format!("the answer is from the component {component}, not of {accepted:?}"));
    }
    if !(1..=asked).contains(&checked.len()) {
        return Err(format!("the answer is about {} of {asked} submissions", checked.len()));
    }
    let is_sealable = |checked: &Checked| match checked {
        Checked::Events(events) => {
            (1..=Batch::EVENTS_MAX).contains(&events.len())
                && events.iter().all(|it| it.event.sealwire.is_none())
        }
        Checked::Fault(_) => true,
    };
    if !checked.iter().all(is_sealable) {
        return Err(String::from("the answer has events that no application may hand in"));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What [`take`] makes of an answer about one submission, where component `a` is deployed.
    fn taken(component: &str, checked: serde_json::Value) -> Result<usize, String> {
        let answer = json!({ "component": component, "checked": checked }).to_string();
        take(answer.as_bytes(), &Digests::from([String::from("a")]), 1).map(|checked| checked.len())
    }

    #[test]
    fn only_what_an_application_may_hand_in_is_taken_from_the_deployed_component() {
        let events = json!([{ "events": [{ "event": { "message": "m" } }] }]);
        assert_eq!(taken("a", events.clone()), Ok(1));
        assert_eq!(taken("a", json!([{ "fault": { "place": "", "words": "no" } }])), Ok(1));
        assert!(taken("b", events).unwrap_err().contains("component b, not of"));
        for (checked, words) in [
            (json!([]), "0 of 1"),
            (json!([{ "fault": { "place": "", "words": "" } }, { "events": [] }]), "2 of 1"),
            (json!([{ "events": [] }]), "no application may"),
            (
                json!([{ "events": [{ "event": { "message": "m", "sealwire": {} } }] }]),
                "no application may",
            ),
            (json!([{ "else": 1 }]), "malformed"),
        ] {
            let refusal = taken("a", checked).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
