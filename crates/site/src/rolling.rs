//! Takes deployments through their trial: asks old and new components, and carries out what
//! [`Rollout`] decides.

use std::{
    cell::Cell,
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, Instant},
};

use async_nats::Client;
use futures::{StreamExt as _, stream::FuturesUnordered};
use lattice::{
    Deployment, Standing,
    rollout::{Asked, End, Heard, Pair, Progress, Rollout, Round, Side, Stage},
};
use ledger::Ledger;
use model::{derive, error_chain, mirror, submission};
use orders::{Apps, apps::Trial};
use page_http::ProbeError;
use services::{
    applications::checking,
    mirroring, pipeline,
    testing::{OnProbation, TestQuestion},
};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use work::Service;

use crate::workloads::{EVENT_LOGGER, PANGEA_API, WEB};

/// Pause before an end is written again that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// Pause after the host has said that it does not have the page's workload.
const NOBODY_PAUSE: Duration = Duration::from_secs(2);

/// Takes deployments through their trial.
pub(crate) struct Rolling {
    /// What is deployed.
    pub(crate) apps: Apps,
    /// What runs where.
    pub(crate) standing: watch::Receiver<Standing>,
    /// The log, of which test questions are made.
    pub(crate) ledger: Ledger,
    /// The connection to the components.
    pub(crate) data: Client,
    /// The page's components.
    pub(crate) page: page_http::Host,
    /// Which version of each component is on probation.
    pub(crate) probations: BTreeMap<&'static str, OnProbation>,
}

impl Service for Rolling {
    const NAME: &'static str = "the trials of components";
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let never = self.roll();
        match shutdown.run_until_cancelled(never).await {
            Some(never) => match never {},
            None => Ok(()),
        }
    }
}

impl Rolling {
    async fn roll(&self) -> Infallible {
        let mut trials = self.apps.trials();
        loop {
            let trial = trials.borrow_and_update().clone();
            let taken_back = async {
                // The sender lives as long as the apps.
                let _alive = trials.changed().await.is_ok();
            };
            match trial {
                None => taken_back.await,
                Some(trial) => tokio::select! {
                    () = taken_back => {}
                    () = self.decide(&trial) => {}
                },
            }
            self.watch(&[], None);
        }
    }

    /// Takes a deployment through its trial, and writes how that ended.
    async fn decide(&self, trial: &Trial) {
        let end = match &trial.refusal {
            Some(refusal) => End::GoesBack(refusal.clone()),
            None => self.try_out(trial).await,
        };
        let at = clock::now();
        loop {
            let written = match &end {
                End::Stays => self.apps.confirm(trial).await,
                End::GoesBack(why) => self.apps.go_back(trial, why, at).await,
            };
            match written {
                Ok(()) => break,
                Err(error) => {
                    warn!(
                        error = error_chain(&error),
                        "cannot write how a trial ended; trying again"
                    );
                }
            }
            sleep(WRITE_AGAIN).await;
        }
        match end {
            End::Stays => info!(leaf = trial.leaf, "a deployment stays"),
            End::GoesBack(why) => warn!(leaf = trial.leaf, why, "a deployment went back"),
        }
    }

    async fn try_out(&self, trial: &Trial) -> End {
        let pairs = &trial.pairs;
        let mut rollout = Rollout::new(pairs.iter().cloned(), Instant::now());
        let mut standing = self.standing.clone();
        let mut rounds = FuturesUnordered::new();
        let numbers: Vec<Cell<u32>> = pairs.iter().map(|_| Cell::new(0)).collect();
        let mut stage = Stage::Trial;
        loop {
            let seen = standing.borrow_and_update().clone();
            rollout.handle_standing(&seen, Instant::now());
            if let Some(end) = rollout.end() {
                return end.clone();
            }
            if std::mem::replace(&mut stage, rollout.stage()) != rollout.stage() {
                info!(leaf = trial.leaf, ?stage, "a deployment goes on");
                self.watch(pairs, Some(stage));
                self.apps.stand(trial, stage);
            }
            self.apps.note(rollout.progress().map(words).collect::<Vec<_>>().join(", "));
            for asked in rollout.questions(Instant::now()) {
                let found = pairs.iter().zip(&numbers).find(|(it, _)| it.name() == asked.workload);
                let Some((pair, number)) = found else { continue };
                number.set(number.get() + 1);
                let number = number.get();
                rounds.push(async move {
                    let round = self.ask(&asked, pair, number).await;
                    (asked, round)
                });
            }
            tokio::select! {
                Some((asked, round)) = rounds.next() => {
                    rollout.handle_round(&asked, round, Instant::now());
                }
                Ok(()) = standing.changed() => {}
                () = sleep_until(rollout.next_timeout(Instant::now()).into()) => {}
            }
        }
    }

    /// From now on the failures of what is on probation are not a leaf's.
    fn watch(&self, pairs: &[Pair], stage: Option<Stage>) {
        for (name, probation) in &self.probations {
            let pair = pairs.iter().find(|pair| pair.name() == *name);
            let pair = pair.filter(|_| stage.is_some_and(|stage| stage != Stage::Trial));
            probation.set(pair.map(|pair| digest(&pair.new)));
        }
    }

    /// Asks what this stage asks of a workload.
    async fn ask(&self, Asked { workload, stage }: &Asked, pair: &Pair, number: u32) -> Round {
        if workload == WEB {
            return self.ask_page(*stage).await;
        }
        let probation = self.probations.get(workload.as_str()).cloned().unwrap_or_default();
        let suspect = probation.suspect();
        let is_suspect = suspect.is_some();
        let is_plain = !is_suspect && number.is_multiple_of(2);
        let question = match suspect {
            Some(suspect) => suspect,
            None => self.question(workload, is_plain).await,
        };
        let aside = |side| Pair::subject(workload, side);
        let subject = String::from(subject(workload));
        let (old, new) = (digest(&pair.old), digest(&pair.new));
        let ask = |subject, digest, other| question.ask(&self.data, subject, digest, other);
        let (old, new) = match stage {
            Stage::Trial => tokio::join!(ask(subject, old, None), ask(aside(Side::New), new, None)),
            Stage::Move => (Heard::Unknown, ask(subject, new, Some(old)).await),
            Stage::Probation => {
                tokio::join!(ask(aside(Side::Old), old, None), ask(subject, new, Some(old)))
            }
        };
        let is_cleared = matches!(new, Heard::Answered { .. }) || old == Heard::Silence;
        if is_suspect && is_cleared {
            probation.clear();
        }
        Round { old, new, is_plain }
    }

    async fn ask_page(&self, stage: Stage) -> Round {
        let aside = |side: Side| self.page.aside(side.word());
        let (old, new) = match stage {
            Stage::Trial => tokio::join!(probe(self.page.clone()), probe(aside(Side::New))),
            Stage::Move => (Heard::Unknown, probe(self.page.clone()).await),
            Stage::Probation => tokio::join!(probe(aside(Side::Old)), probe(self.page.clone())),
        };
        Round { old, new, is_plain: true }
    }

    /// A question to a component: of what was sealed last, or one that any component can answer.
    async fn question(&self, workload: &str, is_plain: bool) -> TestQuestion {
        match workload {
            EVENT_LOGGER => checking::test_question(),
            PANGEA_API => mirroring::test_question(),
            _ if is_plain => pipeline::plain_question(),
            _ => {
                let ledger = self.ledger.clone();
                let read = work::blocking((), move || pipeline::recent_question(&ledger)).await;
                match read {
                    Ok(Ok(Some(question))) => question,
                    Ok(Ok(None)) => pipeline::plain_question(),
                    Ok(Err(error)) => {
                        warn!(error = error_chain(&error), "cannot read readings for a trial");
                        pipeline::plain_question()
                    }
                    Err(panic) => {
                        warn!(%panic, "reading readings for a trial panicked");
                        pipeline::plain_question()
                    }
                }
            }
        }
    }
}

/// Subject on which a component hears real questions.
fn subject(workload: &str) -> &'static str {
    match workload {
        EVENT_LOGGER => submission::SUBJECT,
        PANGEA_API => mirror::SUBJECT,
        _ => derive::SUBJECT,
    }
}

/// Digest of the first component: workloads with several are told apart by no digest.
fn digest(deployment: &Deployment) -> &str {
    let first = deployment.workload.wit_world.components.first();
    first.and_then(|component| component.digest()).unwrap_or_default()
}

async fn probe(page: page_http::Host) -> Heard {
    let asked_at = Instant::now();
    match page.probe().await {
        Ok(()) => Heard::Answered { took: asked_at.elapsed(), said: 0 },
        Err(ProbeError::Faulty(why)) => Heard::Refused(why),
        Err(ProbeError::Silence) => Heard::Silence,
        Err(ProbeError::Nobody) => {
            // It may have been stopped a moment ago.
            sleep(NOBODY_PAUSE).await;
            Heard::Nobody
        }
        Err(ProbeError::Unknown) => Heard::Unknown,
    }
}

/// How a workload does, for people.
fn words(Progress { workload, answers, different }: Progress) -> String {
    format!("{workload}: {answers} answers, {different} of them different")
}
