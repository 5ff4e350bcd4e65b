//! Has `sensor-reader` judge sealed readings, and seals the derived events.
//!
//! NATS delivers to a component at most once, so the log serves as the queue: the pipeline asks
//! about a batch until a verdict comes, and moves the cursor in the same append as the derived
//! events. A crash at any point repeats a question, never a leaf.
//!
//! Invariant: the standings in memory are those of the log up to the cursor, because only derived
//! events change them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_nats::{Client, Request};
use index::{Reader, Trouble};
use ledger::{AppendError, Batch, Cursor, Ledger};
use model::error_chain;
use model::{
    Envelope, Event, SensorId, Timestamp, action,
    derive::{Derived, Question, SUBJECT, Sighting, Standing, Verdict},
};
use prometheus::Histogram;
use tokio::{sync::watch, task::JoinError, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use work::Service;

use crate::{
    indexing::Indexed,
    log_reading::{Content, read_leaves},
    timings,
};

/// Name of the pipeline's cursor in the log.
pub(crate) const CURSOR: &str = "sensor-reader";
/// Envelopes per question. A verdict has at most two events per sighting, and all of them must fit
/// one batch.
const BATCH_MAX: usize = Batch::EVENTS_MAX / 2;
/// Bytes of envelopes per question.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// How long leaves gather before a question. A component instance costs the same for one leaf as
/// for many.
const GATHER: Duration = Duration::from_millis(200);
/// Time that the component has for a verdict.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// First pause after a question without a verdict. Each further failure doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause between two questions.
const BACK_OFF_MAX: Duration = Duration::from_secs(3);

/// State of the running pipeline.
#[derive(Debug)]
struct Pipeline {
    ledger: Ledger,
    client: Client,
    /// SHA-256 digest of the deployed component. The pipeline refuses a verdict of any other.
    digest: String,
    standings: BTreeMap<SensorId, Standing>,
    verdict_seconds: Histogram,
    /// Size of the log at the start.
    found_at_start: u64,
}

/// Has `sensor-reader` judge sealed readings, and seals the derived events.
#[derive(Debug)]
pub struct Judging {
    /// The log to read and append to.
    pub ledger: Ledger,
    /// Connection to the component.
    pub client: Client,
    /// Digest of the deployed component. The pipeline refuses a verdict of any other.
    pub digest: String,
    /// The index, which holds the standings at the start.
    pub index: Reader,
    /// Progress of the index.
    pub indexed: watch::Receiver<Indexed>,
    /// Takes the time that each leaf of this process has waited until its verdict was sealed.
    pub verdict_seconds: Histogram,
}

impl Service for Judging {
    const NAME: &'static str = "judging";
    /// The index is damaged, or the ledger has stopped.
    type Error = PipelineError;

    /// Begins when the index has the whole log, because it takes the standings from there.
    async fn run(self, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let Self { ledger, client, digest, index, mut indexed, verdict_seconds } = self;
        let found_at_start = ledger.size();
        let caught_up =
            async { indexed.wait_for(|indexed| indexed.next_leaf >= found_at_start).await.is_ok() };
        if shutdown.run_until_cancelled(caught_up).await != Some(true) {
            return Ok(());
        }
        let index = Arc::new(index);
        let standings = loop {
            let index = Arc::clone(&index);
            match work::blocking((), move || index.standings()).await? {
                Err(error) if error.trouble() == Trouble::Passing => {
                    warn!(
                        failure = error_chain(&error),
                        "cannot read the standings of sensors; trying again"
                    );
                    if shutdown.run_until_cancelled(sleep(BACK_OFF_MAX)).await.is_none() {
                        return Ok(());
                    }
                }
                read => break read?,
            }
        };
        let mut pipeline =
            Pipeline { ledger, client, digest, standings, verdict_seconds, found_at_start };
        match shutdown.run_until_cancelled(pipeline.judge()).await {
            Some(Err(failure)) => Err(failure),
            Some(Ok(never)) => match never {},
            None => Ok(()),
        }
    }
}

/// What a run of leaves has to be judged.
struct Run {
    sightings: Vec<Sighting>,
    /// When the site received each of them.
    received_at: Vec<Timestamp>,
    /// The leaf after the run.
    next_leaf: u64,
}

impl Pipeline {
    /// Cancel-safe: cancelling between two appends loses nothing. After a cancel during an append,
    /// the append may or may not have happened. Either way the next run continues from the cursor.
    async fn judge(&mut self) -> Result<std::convert::Infallible, PipelineError> {
        let mut size = self.ledger.watch_size();
        loop {
            let from = self.ledger.cursor(CURSOR);
            // The sender lives as long as the ledger, of which we hold a handle.
            let _alive = size.wait_for(|size| *size > from).await.is_ok();
            sleep(GATHER).await;
            let Run { sightings, received_at, next_leaf } = self.read(from).await?;
            let derived = if sightings.is_empty() { Vec::new() } else { self.ask(sightings).await };
            self.seal(derived, next_leaf).await?;
            if from >= self.found_at_start {
                timings::observe(&self.verdict_seconds, received_at.into_iter());
            }
        }
    }

    /// Reads what to judge from the leaf `from` on. Waits while the log cannot be read. Skips
    /// damaged leaves.
    async fn read(&self, from: u64) -> Result<Run, PipelineError> {
        let mut warned = false;
        let contents = loop {
            let ledger = self.ledger.clone();
            let read = move || read_leaves(&ledger, from, BATCH_MAX, BATCH_BYTES_MAX);
            match work::blocking((), read).await? {
                Ok(contents) => break contents,
                Err(failure) if !std::mem::replace(&mut warned, true) => {
                    let failure = error_chain(&failure);
                    warn!(failure, "cannot read readings to judge them; trying again");
                }
                Err(_) => {}
            }
            sleep(BACK_OFF_MAX).await;
        };
        let mut run = Run { sightings: Vec::new(), received_at: Vec::new(), next_leaf: from };
        for (leaf, content) in (from..).zip(contents) {
            run.next_leaf = leaf + 1;
            match content {
                Content::Envelope(bytes) => {
                    let Ok(envelope) = Envelope::parse(&bytes) else { continue };
                    if let Some(sighting) = Sighting::of(leaf, &envelope) {
                        run.sightings.push(sighting);
                        run.received_at.push(envelope.received_at);
                    }
                }
                Content::Erased => {}
                Content::Unreadable(reason) => warn!(leaf, reason, "cannot judge a leaf"),
            }
        }
        Ok(run)
    }

    /// Asks until a verdict arrives that passes [`take`].
    async fn ask(&self, sightings: Vec<Sighting>) -> Vec<Derived> {
        let standing =
            |sighting: &Sighting| Some((sighting.sensor, *self.standings.get(&sighting.sensor)?));
        let standings = sightings.iter().filter_map(standing).collect();
        let question = Question { standings, sightings };
        let body = serde_json::to_vec(&question).expect("a question has only text keys");
        let mut back_off = BACK_OFF_MIN;
        let mut warned = false;
        loop {
            let request = Request::new().payload(body.clone().into()).timeout(Some(ANSWER_TIMEOUT));
            let refusal = match self.client.send_request(SUBJECT, request).await {
                Ok(answer) => match take(&answer.payload, &self.digest, &question.sightings) {
                    Ok(derived) => return derived,
                    Err(refusal) => refusal,
                },
                // This is normal while a host starts.
                Err(error) => error.to_string(),
            };
            debug!(refusal, sightings = question.sightings.len(), "got no verdict; asking again");
            if back_off == BACK_OFF_MAX && !std::mem::replace(&mut warned, true) {
                warn!(
                    refusal,
                    "sensor-reader gives no verdict; readings are still sealed and wait to be judged"
                );
            }
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    async fn seal(&mut self, derived: Vec<Derived>, next_leaf: u64) -> Result<(), PipelineError> {
        let cursor = Cursor { name: CURSOR.to_owned(), next_leaf };
        loop {
            let now = clock::now();
            let events = derived
                .iter()
                .map(|derived| Event::derived(derived.clone(), &self.digest, now))
                .collect();
            match self
                .ledger
                .append(Batch { events, cursor: Some(cursor.clone()), ..Batch::default() })
                .await
            {
                Ok(_receipt) => break,
                Err(AppendError::Write(reason)) => {
                    warn!(reason, "cannot seal derived events; trying again");
                    sleep(BACK_OFF_MAX).await;
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        for Derived { sensor, action, .. } in &derived {
            let standing = self.standings.get(sensor).copied().unwrap_or_default().after(action);
            if standing == Standing::default() {
                self.standings.remove(sensor);
            } else {
                self.standings.insert(*sensor, standing);
            }
        }
        Ok(())
    }
}

/// Accepts a verdict only if the deployed component gave it and it is about the sightings in
/// question. A faulty component can be wrong, but cannot add anything else to the log.
fn take(answer: &[u8], digest: &str, asked: &[Sighting]) -> Result<Vec<Derived>, String> {
    let verdict: Verdict = serde_json::from_slice(answer)
        .map_err(|error| format!("the verdict is malformed: {error}"))?;
    if verdict.component != digest {
        return Err(format!(
            "the verdict is from the component {}, not {digest}",
            verdict.component
        ));
    }
    if verdict.derived.len() > Batch::EVENTS_MAX {
        return Err(format!("the verdict has {} events", verdict.derived.len()));
    }
    let mut seen = BTreeSet::new();
    let twice =
        verdict.derived.iter().find(|derived| !seen.insert((derived.from_leaf, &derived.action)));
    if let Some(Derived { from_leaf, action, .. }) = twice {
        return Err(format!("the verdict has {action} at leaf {from_leaf} twice"));
    }
    let is_short = |derived: &Derived| {
        derived.message.len() <= Derived::MESSAGE_BYTES_MAX
            && derived.value.as_ref().is_none_or(|value| value.len() <= Sighting::VALUE_BYTES_MAX)
    };
    if !verdict.derived.iter().all(is_short) {
        return Err(format!(
            "the verdict has a message over {} bytes, or a value longer than the one in the question",
            Derived::MESSAGE_BYTES_MAX
        ));
    }
    let was_asked = |derived: &Derived| {
        asked.iter().any(|sighting| {
            sighting.leaf == derived.from_leaf
                && sighting.sensor == derived.sensor
                && sighting.source == derived.source
        })
    };
    let is_known = |derived: &Derived| {
        matches!(
            derived.action.as_str(),
            action::OUT_OF_RANGE
                | action::BACK_IN_RANGE
                | action::RANGE_NOT_JUDGED
                | action::SENSOR_LOST
                | action::SENSOR_BACK
        )
    };
    match verdict.derived.iter().find(|derived| !is_known(derived) || !was_asked(derived)) {
        Some(foreign) => Err(format!(
            "the verdict is about {} at leaf {}, which was not in the question",
            foreign.action, foreign.from_leaf
        )),
        None => Ok(verdict.derived),
    }
}

/// Why judging stopped.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The index cannot give the standings.
    #[error("cannot judge sealed readings")]
    Index(#[from] index::IndexError),
    /// The ledger has stopped, or refuses the derived events.
    #[error("cannot seal derived events")]
    Append(#[from] AppendError),
    /// A bug in this program.
    #[error("the pipeline panicked")]
    Panicked(#[from] JoinError),
}

#[cfg(test)]
mod tests {
    use model::derive::Seen;

    use super::*;

    const SENSOR: SensorId = SensorId::from_bytes([7; 16]);

    fn derived(from_leaf: u64, action: &str) -> Derived {
        Derived {
            from_leaf,
            sensor: SENSOR,
            action: action.to_owned(),
            source: "Hall.T1".to_owned(),
            value: None,
            message: String::new(),
        }
    }

    /// What [`take`] makes of a verdict of `component` about leaf 5, where component `a` is
    /// deployed.
    fn taken(component: &str, derived: Vec<Derived>) -> Result<usize, String> {
        let asked = [Sighting {
            leaf: 5,
            sensor: SENSOR,
            source: "Hall.T1".to_owned(),
            seen: Seen::NoValue,
        }];
        let verdict = Verdict { component: component.to_owned(), derived };
        take(&serde_json::to_vec(&verdict).unwrap(), "a", &asked).map(|derived| derived.len())
    }

    #[test]
    fn only_what_was_asked_of_the_deployed_component_is_taken() {
        assert_eq!(taken("a", vec![derived(5, action::OUT_OF_RANGE)]), Ok(1));
        assert_eq!(taken("a", vec![]), Ok(0));
        let twice = vec![derived(5, action::OUT_OF_RANGE), derived(5, action::OUT_OF_RANGE)];
        assert!(taken("a", twice).unwrap_err().contains("twice"));
        let long = Derived { message: "x".repeat(5_000), ..derived(5, action::OUT_OF_RANGE) };
        assert!(taken("a", vec![long]).unwrap_err().contains("a message over 4096 bytes"));
        for (component, derived, words) in [
            ("b", derived(5, action::OUT_OF_RANGE), "is from the component b"),
            ("a", derived(6, action::OUT_OF_RANGE), "leaf 6, which was not in the question"),
            ("a", derived(5, action::SENSOR_READING), "SENSOR_READING"), // it derives readings of no one
            (
                "a",
                Derived {
                    sensor: SensorId::from_bytes([8; 16]),
                    ..derived(5, action::SENSOR_LOST)
                },
                "not in the question",
            ),
            (
                "a",
                Derived { source: "Hall.T2".to_owned(), ..derived(5, action::SENSOR_LOST) },
                "not in the question",
            ),
        ] {
            let refusal = taken(component, vec![derived]).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        assert!(take(b"{", "a", &[]).unwrap_err().contains("malformed"));
    }
}
