//! Asks hosts over the bus what the [`Reconciler`] decides.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use async_nats::{Client, Request, RequestErrorKind, SubscribeError, Subscriber};
use engine::accounts::{ALL_HEARTBEATS, NO_HOST};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    heartbeat::Heartbeat,
    question::{Answer, Asked, Question, State, Ticket},
    reconciler::{Change, Reconciler},
    standing::Standing,
    workload::{Deployment, InstanceId, Workload},
};

/// The answer of a check, or why the workload may not be started.
type Checked = BoxFuture<'static, Result<(), String>>;

/// Says whether a workload may be started, or why not. It is asked before each start.
#[derive(Clone)]
pub struct Check(Arc<dyn Fn(Arc<Workload>) -> Checked + Send + Sync>);

impl Check {
    /// Asks this function.
    pub fn new<F: Future<Output = Result<(), String>> + Send + 'static>(
        check: impl Fn(Arc<Workload>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |workload| check(workload).boxed()))
    }

    /// Lets every workload start.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(async |_workload| Ok(()))
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Check").finish_non_exhaustive()
    }
}

/// What reconciling needs.
#[derive(Debug)]
pub struct Parts {
    /// The connection to the control account.
    pub bus: Client,
    /// What was wanted once. Hosts on other machines may still run it, and then stop it.
    pub former: Vec<Deployment>,
    /// What is wanted.
    pub wanted: watch::Receiver<Vec<Deployment>>,
    /// Says what of it may be started.
    pub check: Check,
    /// Receives what runs where.
    pub standing: watch::Sender<Standing>,
    /// Receives the changes among the hosts.
    pub changes: mpsc::Sender<Change>,
}

/// Reconciles until `shutdown`.
///
/// # Errors
/// The bus refuses the subscription.
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), SubscribeError> {
    let heartbeats = parts.bus.subscribe(ALL_HEARTBEATS).await?;
    // Cancelling may leave a start under way; the next run finds it complete.
    shutdown.run_until_cancelled(reconcile(parts, heartbeats)).await;
    Ok(())
}

/// Runs until the connection is closed.
async fn reconcile(parts: Parts, mut heartbeats: Subscriber) {
    let Parts { bus, former, mut wanted, check, standing, changes } = parts;
    let mut reconciler = Reconciler::new(Instant::now());
    reconciler.want(former, Instant::now());
    reconciler.want(wanted.borrow_and_update().iter().cloned(), Instant::now());
    let asker = Asker { bus, check };
    let mut connects = asker.connects();
    let mut asking = FuturesUnordered::new();
    loop {
        let now_connects = asker.connects();
        if std::mem::replace(&mut connects, now_connects) != now_connects {
            reconciler.handle_reconnected(Instant::now());
        }
        asking.extend(reconciler.questions(Instant::now()).into_iter().map(|it| asker.ask(it)));
        while let Some(change) = reconciler.poll_change() {
            // The receiver is gone only when the site stops.
            let _stopping = changes.send(change).await;
        }
        let new = reconciler.standing();
        standing.send_if_modified(|old| {
            *old != new && {
                *old = new;
                true
            }
        });
        tokio::select! {
            heard = heartbeats.next() => match heard {
                Some(message) => match Heartbeat::parse(&message.subject, &message.payload) {
                    Some(heartbeat) => reconciler.handle_heartbeat(heartbeat, Instant::now()),
                    None => warn!("cannot understand a host's heartbeat"),
                },
                None => return,
            },
            Some((ticket, answer)) = asking.next() => {
                reconciler.handle_answer(ticket, answer, Instant::now());
            }
            Ok(()) = wanted.changed() => {
                reconciler.want(wanted.borrow_and_update().iter().cloned(), Instant::now());
            }
            () = sleep_until(reconciler.next_timeout().into()) => {}
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartRequest<'a> {
    workload_id: &'a InstanceId,
    workload: Workload,
}

/// A question after a status, and an order to stop.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfWorkload<'a> {
    workload_id: &'a InstanceId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    workload_status: Option<WorkloadStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadStatus {
    #[serde(default)]
    workload_state: String,
    #[serde(default)]
    message: String,
}

impl WorkloadStatus {
    fn state(&self) -> State {
        match self.workload_state.as_str() {
            "WORKLOAD_STATE_STARTING" => State::Starting,
            "WORKLOAD_STATE_RUNNING" => State::Running,
            "WORKLOAD_STATE_STOPPING" => State::Stopping,
            "WORKLOAD_STATE_NOT_FOUND" => State::Absent,
            // Also completed: what a site runs does not end by itself.
            _ => State::Failed,
        }
    }
}

struct Asker {
    bus: Client,
    check: Check,
}

impl Asker {
    /// How often the connection has been made.
    fn connects(&self) -> u64 {
        self.bus.statistics().connects.load(Ordering::Relaxed)
    }

    async fn ask(&self, Asked { ticket, question }: Asked) -> (Ticket, Answer) {
        let patience = question.patience();
        let answer = match &question {
            Question::Bus => match self.request(NO_HOST.to_owned(), &(), patience).await {
                Answer::Nobody | Answer::Is(..) => Answer::Nobody,
                away => away,
            },
            Question::Status(host, workload_id) => {
                let subject = host.order("workload.status");
                self.request(subject, &OfWorkload { workload_id }, patience).await
            }
            Question::Stop(host, workload_id) => {
                info!(%host, %workload_id, "stopping");
                let subject = host.order("workload.stop");
                self.request(subject, &OfWorkload { workload_id }, patience).await
            }
            Question::Start(host, workload_id, workload, registry) => {
                if let Err(why) = (self.check.0)(Arc::clone(workload)).await {
                    debug!(%host, %workload_id, why, "the workload may not be started");
                    return (ticket, Answer::Forbidden(why));
                }
                info!(%host, %workload_id, "starting");
                let subject = host.order("workload.start");
                let workload = workload.pulled_from(registry);
                let answer =
                    self.request(subject, &StartRequest { workload_id, workload }, patience).await;
                match &answer {
                    Answer::Is(State::Running | State::Starting, _) => {}
                    Answer::Is(_, reason) => {
                        warn!(%host, %workload_id, reason, "the workload did not start; trying again");
                    }
                    Answer::Nobody | Answer::Silence | Answer::Forbidden(_) => {
                        warn!(%host, %workload_id, "the host did not say whether it started");
                    }
                }
                answer
            }
        };
        (ticket, answer)
    }

    async fn request(
        &self,
        subject: String,
        question: &impl Serialize,
        patience: Duration,
    ) -> Answer {
        let question = serde_json::to_vec(question).expect("our own questions have only text keys");
        let request = Request::new().payload(question.into()).timeout(Some(patience));
        let answer = match self.bus.send_request(subject, request).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => return Answer::Nobody,
            Err(error) => {
                debug!(%error, "no answer");
                return Answer::Silence;
            }
        };
        match serde_json::from_slice(&answer.payload) {
            Ok(Response { workload_status: Some(status) }) => {
                Answer::Is(status.state(), status.message)
            }
            Ok(Response { workload_status: None }) => Answer::Is(State::Failed, String::new()),
            Err(error) => {
                warn!(%error, "cannot understand a host's answer");
                Answer::Silence
            }
        }
    }
}
