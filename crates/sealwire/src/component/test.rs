//! `sealwire component test`: replays sealed history through a processor, and compares what it
//! derives with what another version of it derived at the site.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use ledger::LogReader;
use model::{
    Event, action,
    processing::{Filter, ProcessorName},
};
use serde::Serialize;
use services::pipeline::Replay;
use site::rehearsal::Rehearsal;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    compare::{Comparison, Derived, Difference},
    history::History,
    world,
};
use crate::{cli::TestArguments, data_dir, output, processors, signals};

/// Batches of derived events that wait to be looked at. While there are as many, no more are
/// derived.
const BATCHES_MAX: usize = 4;
/// Different reasons that the host gives for failures, of which each is told once. Further ones are
/// in its log alone.
const REASONS_MAX: usize = 20;
/// Before a component's own words, in the host's log.
const ERROR: &str = "messaging handler returned an error: ";
/// Before the engine's words, there too.
const TRAP: &str = "wasm trap: ";
/// Name of the processor if none at the site is to be compared with.
const NAME: &str = "rehearsal";

/// What the rehearsal showed.
#[derive(Debug, Serialize)]
struct Report {
    /// The first leaf that was replayed.
    from: u64,
    /// The leaf before which the replay ended.
    to: u64,
    /// Leaves that the processor saw and answered. Unknown if the replay ended early.
    judged: Option<u64>,
    /// Values that it derived.
    derived: u64,
    /// The first ones.
    values: Vec<Derived>,
    /// Leaves on which it failed.
    failures: Vec<Failure>,
    /// Why, in the words of the component or its host, and how often.
    reasons: BTreeMap<String, u64>,
    took_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

/// A leaf on which the processor failed.
#[derive(Debug, Serialize)]
struct Failure {
    leaf: u64,
    /// What a site would seal.
    message: String,
}

/// The comparison with what was derived at the site.
#[derive(Debug, Serialize)]
struct Against {
    name: ProcessorName,
    /// Digests of the components that derived it there.
    components: Vec<String>,
    #[serde(flatten)]
    comparison: Comparison,
}

pub(super) fn run(arguments: &TestArguments) -> Result<()> {
    let component = world::read(&arguments.component)?;
    let filter = filter(arguments)?;
    let log = Arc::new(data_dir::look(&arguments.data_dir, None)?);
    let leaves = leaves(arguments, &log)?;
    let folder = tempfile::Builder::new()
        .prefix("sealwire-test-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let name = arguments.against.clone();
    let name = name.unwrap_or_else(|| NAME.parse().expect("a name of a processor"));
    let shutdown = signals::shutdown()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let report = runtime.block_on(async {
        output::note("sealwire: starting a host");
        let starting = Box::pin(Rehearsal::start(folder.path(), component, &name));
        let Some(rehearsal) = shutdown.run_until_cancelled(starting).await else {
            bail!("stopped, as asked");
        };
        let mut rehearsal = rehearsal.context("cannot try the component")?;
        output::note(&format!(
            "sealwire: replaying the leaves from {} up to {}",
            leaves.start, leaves.end
        ));
        let replayed =
            replay(arguments, log, leaves, (name, filter), &mut rehearsal, &shutdown).await;
        let stopped = rehearsal.stop().await;
        let report = replayed?;
        stopped.context("cannot stop the host")?;
        Ok(report)
    })?;
    match arguments.json {
        true => output::json(&serde_json::to_string(&report)?),
        false => report.lines().iter().for_each(|line| output::line(line)),
    }
    report.verdict()
}

/// What the processor sees of the log.
fn filter(arguments: &TestArguments) -> Result<Filter> {
    let Some((file, name)) = arguments.processors.as_deref().zip(arguments.against.as_ref()) else {
        return Ok(Filter::default());
    };
    let listed = processors::read(file)?;
    let processor = listed
        .find(name)
        .with_context(|| format!("{} lists no processor {name}", output::quoted(file)))?;
    Ok(processor.filter.clone())
}

/// The leaves that are replayed.
fn leaves(arguments: &TestArguments, log: &LogReader) -> Result<Range<u64>> {
    let (mut from, mut to) = (0, log.size());
    if let Some(name) = &arguments.against {
        let mut history = History::new(log, name, 0..u64::MAX);
        from = history.next_leaf()?.with_context(|| {
            format!("no processor {name} has derived anything that is sealed in this log")
        })?;
        to = to.min(log.cursor(&name.actor()));
    }
    let (from, to) = (arguments.from.unwrap_or(from), arguments.to.unwrap_or(to));
    if to > log.size() {
        bail!("the newest checkpoint covers the leaves before {}: --to is beyond it", log.size());
    }
    if from >= to {
        bail!("there is no leaf from {from} up to {to}");
    }
    Ok(from..to)
}

async fn replay(
    arguments: &TestArguments,
    log: Arc<LogReader>,
    leaves: Range<u64>,
    (name, filter): (ProcessorName, Filter),
    rehearsal: &mut Rehearsal,
    shutdown: &CancellationToken,
) -> Result<Report> {
    let (derived, mut batches) = mpsc::channel(BATCHES_MAX);
    let replay = Replay {
        log: Arc::clone(&log),
        leaves: leaves.clone(),
        reader: rehearsal.reader.clone(),
        name,
        filter,
        digest: rehearsal.digest.clone(),
        derived,
    };
    let mut watched = Watched::new(arguments, &log, leaves);
    let begin = Instant::now();
    let mut replaying = std::pin::pin!(replay.run());
    let mut judged = None;
    loop {
        tokio::select! {
            biased;
            batch = batches.recv() => match batch {
                Some(events) => {
                    watched.take(events)?;
                    if watched.failures.len() as u64 >= arguments.failures {
                        break;
                    }
                }
                None => break,
            },
            Some(line) = rehearsal.host_says.recv() => watched.hear(&line),
            ended = &mut replaying, if judged.is_none() => {
                judged = Some(ended.with_context(|| watched.reasons())?);
            }
            () = shutdown.cancelled() => bail!("stopped, as asked"),
        }
    }
    watched.report(judged, begin.elapsed())
}

/// What was seen of the replay so far.
struct Watched<'a> {
    leaves: Range<u64>,
    values_max: usize,
    derived: u64,
    values: Vec<Derived>,
    failures: Vec<Failure>,
    reasons: BTreeMap<String, u64>,
    against: Option<(ProcessorName, History<'a>, Comparison)>,
}

impl<'a> Watched<'a> {
    fn new(arguments: &TestArguments, log: &'a LogReader, leaves: Range<u64>) -> Self {
        let values_max = arguments.first;
        let against = arguments.against.as_ref().map(|name| {
            let history = History::new(log, name, leaves.clone());
            (name.clone(), history, Comparison::keeping(values_max))
        });
        Self {
            leaves,
            values_max,
            derived: 0,
            values: Vec::new(),
            failures: Vec::new(),
            reasons: BTreeMap::new(),
            against,
        }
    }

    /// Takes a line of the host's log.
    fn hear(&mut self, line: &str) {
        let reason = line.split_once(ERROR).map(|(_, words)| words);
        let reason = reason.or_else(|| line.find(TRAP).and_then(|at| line.get(at..)));
        let Some(reason) = reason else { return };
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(reason) {
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// Takes events that a site would seal, in the order of the leaves from which they follow. All
    /// that follow from a leaf come together.
    fn take(&mut self, events: Vec<Event>) -> Result<()> {
        let mut leaf: Vec<Derived> = Vec::new();
        for event in events {
            if event.action.as_deref() == Some(action::NOT_JUDGED) {
                let from_leaf = event.sealwire.and_then(|detail| detail.from_leaf);
                let leaf = from_leaf.unwrap_or_default();
                self.failures.push(Failure { leaf, message: event.message });
                continue;
            }
            let Some(derived) = Derived::of(event) else { continue };
            self.derived += 1;
            if self.values.len() < self.values_max {
                self.values.push(derived.clone());
            }
            if leaf.first().is_some_and(|first| first.leaf != derived.leaf) {
                self.compare(std::mem::take(&mut leaf))?;
            }
            leaf.push(derived);
        }
        self.compare(leaf)
    }

    /// Compares what follows from a leaf with what was sealed, after everything that was sealed
    /// from earlier leaves.
    fn compare(&mut self, derived: Vec<Derived>) -> Result<()> {
        let Some((_, history, comparison)) = &mut self.against else { return Ok(()) };
        let Some(leaf) = derived.first().map(|derived| derived.leaf) else { return Ok(()) };
        while let Some(missing) = history.take_leaf(leaf)? {
            comparison.leaf(missing, Vec::new());
        }
        comparison.leaf(history.take_leaf(leaf + 1)?.unwrap_or_default(), derived);
        Ok(())
    }

    /// Why the component failed, for an error.
    fn reasons(&self) -> String {
        let words: Vec<&str> = self.reasons.keys().map(String::as_str).collect();
        match words.is_empty() {
            true => String::from("its host says nothing"),
            false => format!("its host says: {}", words.join("; ")),
        }
    }

    fn report(mut self, judged: Option<u64>, took: Duration) -> Result<Report> {
        let against = match self.against.take() {
            None => None,
            Some((name, mut history, mut comparison)) => {
                // After an early end, nobody knows what would have followed.
                while judged.is_some()
                    && let Some(missing) = history.take_leaf(self.leaves.end)?
                {
                    comparison.leaf(missing, Vec::new());
                }
                let components = history.components.into_iter().collect();
                Some(Against { name, components, comparison })
            }
        };
        Ok(Report {
            from: self.leaves.start,
            to: self.leaves.end,
            judged,
            derived: self.derived,
            values: self.values,
            failures: self.failures,
            reasons: self.reasons,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            against,
        })
    }
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let Self { from, to, judged, derived, values, failures, reasons, took_ms, .. } = self;
        let how_many = match judged {
            Some(judged) => format!("{judged} seen and answered, in {took_ms} ms"),
            None => String::from("ended early, after too many failures; --failures allows more"),
        };
        let mut lines = vec![
            format!("leaves from {from} up to {to}: {how_many}"),
            format!("derived {derived} values"),
        ];
        for value in values {
            lines.push(format!("  leaf {:<10} {:<32} {}", value.leaf, value.source, value.words()));
        }
        let left = derived - values.len() as u64;
        if left > 0 {
            lines.push(format!("  and {left} more"));
        }
        lines.extend(failures.iter().map(|failure| format!("FAILED  {}", failure.message)));
        if !reasons.is_empty() {
            lines.push(String::from("its host says:"));
            lines.extend(reasons.iter().map(|(words, times)| format!("  {words} ({times} times)")));
        }
        if let Some(Against { name, components, comparison }) = &self.against {
            let Comparison { equal, different, missing, new, differences, .. } = comparison;
            lines.push(format!("compared with {name}, of {}", components.join(", ")));
            lines.push(format!(
                "  {equal} equal, {different} different, {missing} missing, {new} new"
            ));
            for Difference { leaf, sealed, derived } in differences {
                let words = match (sealed, derived) {
                    (Some(sealed), Some(derived)) => {
                        let (old, new) = (sealed.words(), derived.words());
                        match old == new {
                            true => format!("message: {}, now {}", sealed.message, derived.message),
                            false => format!("different: {old}, now {new}"),
                        }
                    }
                    (Some(sealed), None) => format!("missing: {}", sealed.words()),
                    (None, derived) => {
                        format!("new: {}", derived.as_ref().map(Derived::words).unwrap_or_default())
                    }
                };
                lines.push(format!("  leaf {leaf:<10} {words}"));
            }
            let left = comparison.count() - differences.len() as u64;
            if left > 0 {
                lines.push(format!("  and {left} more"));
            }
        }
        lines
    }

    /// Fails if the processor failed, or differs from that at the site.
    fn verdict(&self) -> Result<()> {
        if !self.failures.is_empty() {
            bail!("the processor fails on {} leaves", self.failures.len());
        }
        if let Some(Against { name, comparison, .. }) = &self.against
            && comparison.count() > 0
        {
            bail!("{} values differ from what {name} derived", comparison.count());
        }
        Ok(())
    }
}
