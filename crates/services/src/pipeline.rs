//! Has components derive events from sealed ones, and seals what they derive. `sensor-reader`
//! judges readings, and users' processors run beside it.
//!
//! NATS delivers to a component at most once, so the log serves as the queue: the pipeline asks
//! about sealed leaves until a verdict comes, and moves its cursor in the same append as the
//! derived events. A crash at any point repeats a question, never a leaf.
//!
//! Each component has a docket, a cursor and a task of its own. So one that is slow, fails or is
//! away costs the others nothing.
//!
//! A component that fails on a question is asked another one, which it has answered before. If it
//! answers that, the question is to blame, and the docket divides it. If not, the component or its
//! host is away, and nothing is lost but time.
//!
//! With a backlog it does not wait: while questions are under way over disjoint sensors, it reads
//! on and seals what was derived. [`docket`] decides what is asked and sealed, a [`Dialect`] what a
//! component is asked and may say; this module does the IO around it.
//!
//! Invariant: the standings in memory are those of the log up to the cursor and of the verdicts
//! after it, because only derived events change them.

mod dialect;
mod docket;
mod journal;
mod meters;
mod pace;
mod reading;
mod trial;
mod users;
mod verdict;

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, Request};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, select_ok, try_join_all},
    stream::FuturesUnordered,
};
use ledger::{AppendError, Batch, Cursor, Ledger, LogReader};
use model::error_chain;
use model::{
    Event, SensorId, Timestamp,
    derive::Standing,
    processing::{Filter, ProcessorName},
};
use prometheus::Histogram;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinError,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use work::Service;

use crate::{testing::OnProbation, timings};
use docket::{Docket, Failure, Finding, Item, KNOWN_QUESTIONS, Lanes, Question};
use journal::{Journal, READ_MAX, Recorded};
use meters::Meter;
use pace::Pace;
use reading::{Run, read_run};

pub use dialect::Digests;
pub use meters::Meters;
pub use trial::{plain_question, recent_question};

use dialect::{Dialect, Taken};
use users::UsersProcessor;
use verdict::SensorReader;

/// Time between two appends of a cursor from which nothing was derived. A start asks again about
/// what came after the last one.
const CURSOR_PERIOD: Duration = Duration::from_secs(1);
/// Time that the component has for a verdict. A host ends a call after two seconds, so an answer
/// that has not come half a second later will not come. Asking again any sooner would give the host
/// a second copy of a question on which it is still at work.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Longest time until a question is asked once more while one component replaces another: the one
/// that stops loses those that it has. A second copy costs less than readings that wait.
const MOVING_PATIENCE: Duration = Duration::from_millis(200);
/// First pause after a question without a verdict. Each further failure doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause between two questions.
const BACK_OFF_MAX: Duration = Duration::from_secs(3);

/// Questions under way to one user's processor. Those of `sensor-reader` have a limit of their own.
const USERS_QUESTIONS_MAX: usize = 2;

/// Questions in a row without a verdict after which a component counts as silent. With the pauses
/// between them, that is half a minute: longer than a host needs to call any component first.
const SILENCES_MAX: u32 = 5;

/// Whoever answers the pipeline's questions.
pub trait Components: Send + Sync + 'static {
    /// The answer to a question on this subject, unchecked. The error says why there is none.
    fn answer(
        &self,
        subject: &str,
        question: Vec<u8>,
    ) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// The components on hosts, asked over NATS.
impl Components for Client {
    async fn answer(&self, subject: &str, question: Vec<u8>) -> Result<Vec<u8>, String> {
        let request = Request::new().payload(question.into()).timeout(Some(ANSWER_TIMEOUT));
        match self.send_request(subject.to_owned(), request).await {
            Ok(answer) => Ok(answer.payload.into()),
            // This is normal while a host starts.
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Has `sensor-reader` judge sealed readings, and seals the derived events.
#[derive(Debug)]
pub struct Judging<R> {
    /// The log to read and append to.
    pub ledger: Ledger,
    /// The component, or the connection to it.
    pub reader: R,
    /// Digests of the components whose verdicts are taken: two while an upgrade goes from one to
    /// the other. The pipeline refuses a verdict of any other.
    pub accepted: watch::Receiver<Digests>,
    /// Which component is on probation.
    pub probation: OnProbation,
    /// Gets the standings by the log as it was at the start, from the index.
    pub standings: oneshot::Receiver<BTreeMap<SensorId, Standing>>,
    /// Receives the first leaf whose verdict is not sealed. It may be after the cursor, because a
    /// verdict from which nothing follows needs no append.
    pub judged: watch::Sender<u64>,
    /// Takes the time that each leaf of this process has waited until its verdict was sealed.
    pub verdict_seconds: Histogram,
    /// Counts questions.
    pub meters: Meters,
}

impl<R: Components> Service for Judging<R> {
    const NAME: &'static str = "judging";
    /// The ledger has stopped, or there is a bug.
    type Error = PipelineError;

    /// Begins when the index has the whole log and gives the standings.
    async fn run(self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let Self {
            ledger,
            reader,
            accepted,
            probation,
            standings,
            judged,
            verdict_seconds,
            meters,
        } = self;
        judged.send_replace(ledger.cursor(&SensorReader.cursor()));
        let mut pipeline = Pipeline::new(ledger, reader, SensorReader, accepted, &meters);
        pipeline.probation = probation;
        // If indexing has ended, the site stops.
        let Some(Ok(standings)) = shutdown.run_until_cancelled(standings).await else {
            return Ok(());
        };
        let unsettled = Unsettled::new(judged, verdict_seconds);
        let never = pipeline.judge(standings, unsettled, usize::MAX);
        ended(shutdown.run_until_cancelled(never).await)
    }
}

/// Has a user's processor derive events from sealed ones.
#[derive(Debug)]
pub struct Processing<R> {
    /// The log to read and append to.
    pub ledger: Ledger,
    /// The processor, or the connection to it.
    pub reader: R,
    /// Its name, also of its cursor.
    pub name: ProcessorName,
    /// What it sees of the log.
    pub filter: Filter,
    /// Whether it begins with the first leaf. If not, its first start begins with the next one.
    pub history: bool,
    /// As those of [`Judging`].
    pub accepted: watch::Receiver<Digests>,
    /// Receives the first leaf whose verdict is not sealed.
    pub judged: watch::Sender<u64>,
    /// Counts questions.
    pub meters: Meters,
}

impl<R: Components> Service for Processing<R> {
    const NAME: &'static str = "a processor";
    /// The ledger has stopped, or there is a bug.
    type Error = PipelineError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let Self { ledger, reader, name, filter, history, accepted, judged, meters } = self;
        let dialect = UsersProcessor { subject: name.subject(), name, filter };
        let pipeline = Pipeline::new(ledger, reader, dialect, accepted, &meters);
        let verdict_seconds = timings::verdict_seconds();
        let unsettled = Unsettled::new(judged, verdict_seconds);
        let never = async {
            if !history && pipeline.log.cursor(&pipeline.dialect.cursor()) == 0 {
                // Sealed before anything is read, so that a crash loses no leaf after it.
                pipeline.seal(Vec::new(), pipeline.found_at_start).await?;
            }
            pipeline.judge(BTreeMap::new(), unsettled, USERS_QUESTIONS_MAX).await
        };
        ended(shutdown.run_until_cancelled(never).await)
    }
}

/// Has a user's processor derive events from a part of a log that is only read, and seals nothing:
/// the same questions as at a site, and the same judgement of the answers.
#[derive(Debug)]
pub struct Replay<R> {
    /// The log.
    pub log: Arc<LogReader>,
    /// The leaves that it is asked about, if its filter lets them through.
    pub leaves: Range<u64>,
    /// The processor, or the connection to it.
    pub reader: R,
    /// Its name.
    pub name: ProcessorName,
    /// What it sees of the log.
    pub filter: Filter,
    /// Its digest: no other component's verdicts are taken.
    pub digest: String,
    /// Receives what a site would seal, in the order of the leaves from which it follows.
    pub derived: mpsc::Sender<Vec<Event>>,
}

impl<R: Components> Replay<R> {
    /// Asks about all leaves. Returns how many the processor saw.
    ///
    /// # Errors
    /// The processor answers nothing, or nobody receives what is derived.
    pub async fn run(self) -> Result<u64, PipelineError> {
        let Self { log, leaves, reader, name, filter, digest, derived } = self;
        let end = leaves.end;
        let recorded = Recorded { log, from: leaves.start, size: watch::Sender::new(end), derived };
        let dialect = UsersProcessor { subject: name.subject(), name, filter };
        let accepted = watch::channel(Digests::from([digest])).1;
        let meters = Meters::default();
        let mut pipeline = Pipeline::new(recorded, reader, dialect, accepted, &meters);
        pipeline.silences_max = SILENCES_MAX;
        let (judged, mut settled) = watch::channel(leaves.start);
        let unsettled = Unsettled::new(judged, timings::verdict_seconds());
        tokio::select! {
            ended = pipeline.judge(BTreeMap::new(), unsettled, USERS_QUESTIONS_MAX) => match ended? {},
            _settled = async { settled.wait_for(|settled| *settled >= end).await.is_ok() } => {}
        }
        Ok(pipeline.meter.judged.get())
    }
}

fn ended(ended: Option<Result<Infallible, PipelineError>>) -> Result<(), PipelineError> {
    match ended {
        Some(Err(failure)) => Err(failure),
        Some(Ok(never)) => match never {},
        None => Ok(()),
    }
}

/// What the steps of the pipeline share.
struct Pipeline<J, R, D: Dialect> {
    log: J,
    reader: R,
    dialect: Arc<D>,
    /// Digests of the components whose verdicts are taken.
    accepted: watch::Receiver<Digests>,
    probation: OnProbation,
    /// Size of the log at the start.
    found_at_start: u64,
    /// A small question that the component has answered.
    known: watch::Sender<Question<D::Item>>,
    meter: Meter,
    /// Questions in a row without a verdict, also about what the component has answered before,
    /// after which the pipeline fails. A site's never does: its host may be away for days.
    silences_max: u32,
    /// Whether the site's log says that there are no verdicts.
    is_warned: AtomicBool,
}

/// A step that has ended.
enum Step<T> {
    Read(Run<T>),
    /// With how long the answer took.
    Judged(Lanes, Vec<Finding>, Duration),
    /// The component fails on these sightings, although it answers others.
    Failed(Lanes, Vec<T>, Failure),
    Sealed,
}

impl<J: Journal, R: Components, D: Dialect + 'static> Pipeline<J, R, D> {
    fn new(
        log: J,
        reader: R,
        dialect: D,
        accepted: watch::Receiver<Digests>,
        meters: &Meters,
    ) -> Self {
        let known = trial::plain(&dialect);
        Self {
            found_at_start: *log.watch_size().borrow(),
            meter: meters.of(&dialect.cursor()),
            log,
            reader,
            dialect: Arc::new(dialect),
            accepted,
            probation: OnProbation::default(),
            known: watch::Sender::new(known),
            silences_max: u32::MAX,
            is_warned: AtomicBool::new(false),
        }
    }

    /// Derives events, from the cursor on, with at most so many questions under way.
    ///
    /// Cancel-safe: cancelling between two appends loses nothing. After a cancel during an append,
    /// the append may or may not have happened. Either way the next run continues from the cursor.
    async fn judge(
        &self,
        standings: BTreeMap<SensorId, Standing>,
        mut unsettled: Unsettled,
        questions_max: usize,
    ) -> Result<Infallible, PipelineError> {
        let cursor = self.log.cursor(&self.dialect.cursor());
        unsettled.judged.send_replace(cursor);
        let mut docket = Docket::new(cursor, standings);
        let mut steps: FuturesUnordered<BoxFuture<'_, Result<Step<D::Item>, PipelineError>>> =
            FuturesUnordered::new();
        let mut questions = 0;
        let (mut is_reading, mut is_sealing) = (false, false);
        let mut cursor_is_due = false;
        let (mut read_at, mut pace) = (Instant::now(), Pace::default());
        let mut cursor_period = interval(CURSOR_PERIOD);
        cursor_period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !is_reading && let Some(from) = docket.reads_from() {
                is_reading = true;
                steps.push(self.read(from, read_at + pace.gather()).boxed());
            }
            while questions < questions_max
                && let Some((lanes, question)) = docket.poll_question()
            {
                questions += 1;
                steps.push(self.ask(lanes, question, self.patience(pace)).boxed());
            }
            if !is_sealing && let Some((findings, cursor)) = docket.poll_append(cursor_is_due) {
                (is_sealing, cursor_is_due) = (true, false);
                steps.push(self.seal(findings, cursor).boxed());
            }
            unsettled.settle(docket.settled());
            self.meter.waiting.set(docket.waiting().try_into().unwrap_or(i64::MAX));
            self.meter.full.set(i64::from(docket.reads_from().is_none()));
            let step = tokio::select! {
                // In a fixed order, so that a simulation can repeat it.
                biased;
                _period = cursor_period.tick() => {
                    cursor_is_due = true;
                    continue;
                }
                Some(step) = steps.next() => step?,
            };
            match step {
                Step::Read(Run { sightings, received_at, next_leaf }) => {
                    (is_reading, read_at) = (false, Instant::now());
                    let own = sightings.iter().zip(received_at).map(|(it, at)| (it.leaf(), at));
                    unsettled.waiting.extend(own.filter(|(leaf, _)| *leaf >= self.found_at_start));
                    docket.handle_read(sightings, next_leaf);
                }
                Step::Judged(lanes, findings, took) => {
                    questions -= 1;
                    pace.handle_answer(took);
                    docket.handle_verdict(lanes, findings);
                }
                Step::Failed(lanes, sightings, failure) => {
                    questions -= 1;
                    let (name, why) = (self.dialect.name(), failure.why.clone());
                    if let Some(leaf) = docket.handle_failure(lanes, sightings, failure) {
                        self.meter.not_judged.inc();
                        warn!(name, leaf, why, "a component fails on a leaf, which is not judged");
                    }
                }
                Step::Sealed => {
                    is_sealing = false;
                    docket.handle_sealed();
                }
            }
        }
    }

    /// Waits for the leaf `from`, and for more until `gathered`, and reads what is to be judged.
    /// Waits while the log cannot be read. Skips damaged leaves.
    async fn read(&self, from: u64, gathered: Instant) -> Result<Step<D::Item>, PipelineError> {
        let mut size = self.log.watch_size();
        // The sender lives as long as the log, of which we hold a handle.
        let _alive = size.wait_for(|size| *size > from).await.is_ok();
        // Looking at each commit group meanwhile would wake this task up as often.
        if *size.borrow() < from + READ_MAX as u64 {
            sleep_until(gathered).await;
        }
        let mut warned = false;
        loop {
            let (log, dialect) = (self.log.clone(), Arc::clone(&self.dialect));
            match work::blocking((), move || read_run(&log, &*dialect, from)).await? {
                Ok(run) => return Ok(Step::Read(run)),
                Err(failure) if !std::mem::replace(&mut warned, true) => {
                    let failure = error_chain(&failure);
                    warn!(failure, "cannot read readings to judge them; trying again");
                }
                Err(_) => {}
            }
            sleep(BACK_OFF_MAX).await;
        }
    }

    /// Asks until a verdict arrives that passes [`Dialect::take`], or until the component fails
    /// although it answers other questions.
    async fn ask(
        &self,
        lanes: Lanes,
        question: Question<D::Item>,
        patience: Duration,
    ) -> Result<Step<D::Item>, PipelineError> {
        let body = self.dialect.body(&question);
        // On a part the component may work for as long as it is let, and one copy is enough.
        let mut patience = Some(patience).filter(|_| !lanes.is_part);
        let mut back_off = BACK_OFF_MIN;
        let mut silences = 0;
        loop {
            let why = match self.ask_twice(&body, &question.sightings, patience.take()).await {
                Ok((findings, took)) => {
                    self.meter.questions.inc();
                    self.meter.judged.inc_by(question.sightings.len() as u64);
                    self.is_warned.store(false, Ordering::Relaxed);
                    self.known.send_replace(beginning(question));
                    return Ok(Step::Judged(lanes, findings, took));
                }
                Err(why) => why,
            };
            self.meter.failures.inc();
            debug!(why, sightings = question.sightings.len(), "got no verdict");
            if let Some(by) = self.answers_others().await
                && !self.is_on_probation(&by, &question)
            {
                let why = format!("{} fails on it: {why}", self.dialect.name());
                return Ok(Step::Failed(lanes, question.sightings, Failure { by, why }));
            }
            silences += 1;
            if silences >= self.silences_max {
                return Err(PipelineError::Silent(why));
            }
            if back_off == BACK_OFF_MAX && !self.is_warned.swap(true, Ordering::Relaxed) {
                let name = self.dialect.name();
                warn!(name, why, "a component gives no verdict; leaves wait for it, sealed");
            }
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    /// Asks, and once more if there is no answer within `patience`: the question may be lost with
    /// the host that had it. The first verdict counts, whichever copy it answers.
    async fn ask_twice(
        &self,
        body: &[u8],
        asked: &[D::Item],
        patience: Option<Duration>,
    ) -> Result<(Vec<Finding>, Duration), String> {
        let ask = || Box::pin(self.ask_once(body, asked));
        let mut first = ask();
        let (Taken { findings, .. }, took) = match patience {
            None => first.await?,
            Some(patience) => tokio::select! {
                biased;
                verdict = &mut first => verdict?,
                () = sleep(patience) => select_ok([first, ask()]).await?.0,
            },
        };
        Ok((findings, took))
    }

    /// What is taken of the answer, and how long that took.
    async fn ask_once(&self, body: &[u8], asked: &[D::Item]) -> Result<(Taken, Duration), String> {
        let asked_at = Instant::now();
        let answer = self.reader.answer(self.dialect.subject(), body.to_vec()).await?;
        let taken = self.dialect.take(&answer, &self.accepted.borrow(), asked)?;
        Ok((taken, asked_at.elapsed()))
    }

    /// Whether the component answers, several times at once, a question that it has answered
    /// before. Returns its digest. While an upgrade goes from one component to another, nobody
    /// knows which of them failed.
    async fn answers_others(&self) -> Option<Arc<str>> {
        let known = self.known.borrow().clone();
        let body = self.dialect.body(&known);
        let asked = (0..KNOWN_QUESTIONS).map(|_| self.ask_once(&body, &known.sightings));
        let answers = try_join_all(asked).await.ok()?;
        let mut components = answers.into_iter().map(|(taken, _)| taken.by);
        let by = components.next()?;
        components.all(|other| other == by).then_some(by)
    }

    /// How long a question may be without an answer until it is asked once more.
    fn patience(&self, pace: Pace) -> Duration {
        let patience = pace.patience();
        if self.probation.is_moving() { patience.min(MOVING_PATIENCE) } else { patience }
    }

    /// Whether the component that failed on a question is on probation. Then the question is asked
    /// again until another one answers, or this one stays.
    fn is_on_probation(&self, by: &str, question: &Question<D::Item>) -> bool {
        let dialect = &self.dialect;
        self.probation.blames(Some(by), || trial::tested(Arc::clone(dialect), question.clone()))
    }

    /// Seals derived events with the cursor that goes with them. Retries while the disk fails.
    async fn seal(
        &self,
        findings: Vec<Finding>,
        next_leaf: u64,
    ) -> Result<Step<D::Item>, PipelineError> {
        let cursor = Cursor { name: self.dialect.cursor(), next_leaf };
        loop {
            let now = clock::now();
            let event = |finding: &Finding| self.dialect.event(finding.clone(), now);
            let events = findings.iter().map(event).collect();
            let batch = Batch { events, cursor: Some(cursor.clone()), ..Batch::default() };
            match self.log.append(batch).await {
                Ok(()) => return Ok(Step::Sealed),
                Err(AppendError::Write(reason)) => {
                    warn!(reason, "cannot seal derived events; trying again");
                    sleep(BACK_OFF_MAX).await;
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }
}

/// The same question about its first sighting alone.
fn beginning<T: Item>(mut question: Question<T>) -> Question<T> {
    question.sightings.truncate(1);
    let is_in_it = |sensor: &SensorId| question.sightings.iter().any(|it| it.sensor() == *sensor);
    question.standings.retain(|sensor, _| is_in_it(sensor));
    question
}

/// The leaves of this process that are to be judged and are not settled, and who hears of it.
struct Unsettled {
    /// Each leaf, and when the site received it.
    waiting: VecDeque<(u64, Timestamp)>,
    judged: watch::Sender<u64>,
    verdict_seconds: Histogram,
}

impl Unsettled {
    const fn new(judged: watch::Sender<u64>, verdict_seconds: Histogram) -> Self {
        Self { waiting: VecDeque::new(), judged, verdict_seconds }
    }

    /// Notes that the verdicts of all leaves before `settled` are sealed.
    fn settle(&mut self, settled: u64) {
        if self.judged.send_if_modified(|judged| std::mem::replace(judged, settled) != settled) {
            let count = self.waiting.partition_point(|(leaf, _)| *leaf < settled);
            let received_at = self.waiting.drain(..count).map(|(_, received_at)| received_at);
            timings::observe(&self.verdict_seconds, received_at);
        }
    }
}

/// Why judging stopped.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The ledger has stopped, or refuses the derived events.
    #[error("cannot seal derived events")]
    Append(#[from] AppendError),
    /// The component answers nothing, not even what it has answered before.
    #[error("the component gives no verdict: {0}")]
    Silent(String),
    /// A bug in this program.
    #[error("the pipeline panicked")]
    Panicked(#[from] JoinError),
}
