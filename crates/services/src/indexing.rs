//! Feeds the index from the log, in order.
//!
//! Nothing in the log stops the site. Indexing passes over a leaf that the index cannot take, and
//! counts and names it. It rebuilds an index that turns out to be damaged. It waits for faults that
//! may pass, such as a full disk or too many open files, while sealing continues.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
    path::Path,
    time::Duration,
};

use index::{Entry, IndexBatch, IndexError, Indexer, Trouble};
use ledger::{Ledger, ReadError};
use model::{Envelope, SensorId, derive::Standing, error_chain};
use prometheus::Histogram;
use tokio::{
    sync::{oneshot, watch},
    task::JoinError,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use work::Service;

use crate::{
    known::Known,
    log_reading::{Content, read_leaves},
    progress::{Indexed, Reports},
    timings,
};

/// Bytes of envelopes that are held in memory while a batch takes what it needs of them.
const READ_BYTES_MAX: usize = 1 << 20;
/// Least time between two batches while the log grows slowly and somebody waits for the index. A
/// site's own events were gathered before they were sealed, for longer than this; those of programs
/// were not.
const GATHERING_MIN: Duration = Duration::from_millis(5);
/// The same while nobody waits: a quarter of a second of readings in one transaction. A leaf that
/// comes alone does not wait.
const GATHERING_UNWANTED: Duration = Duration::from_millis(250);
/// Most time between two batches under load, if somebody waits: a batch with a reading of each of
/// thousands of sensors changes many pages of the file, and a larger one hardly more.
const GATHERING_MAX: Duration = Duration::from_millis(200);
/// Time for each leaf of a batch until the next one: beyond 10,000 leaves a second the batches
/// grow.
const GATHERING_OF_LEAF: Duration = Duration::from_micros(100);
/// Leaves that are read while the batch before is applied. If fewer are there, they wait for more.
const BEHIND: u64 = 4_096;
/// Pause before the index tries again to forget erased envelopes, when a reader was in the way.
const FORGET_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Pause before a retry after a fault that may pass. The ledger waits as long when the disk is
/// full.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Time between two log messages about a fault that lasts.
const TELL_PERIOD: Duration = Duration::from_secs(60);

/// Indexes the log and reports progress.
#[derive(Debug)]
pub struct Indexing {
    /// The log to read.
    pub ledger: Ledger,
    /// The index to write.
    pub indexer: Indexer,
    /// Receives the progress after each batch, and says who waits for it.
    pub reports: Reports,
    /// Who begins with what the index says.
    pub at_start: AtStart,
    /// Takes the time that each leaf of this process has waited until the index had it.
    pub found_seconds: Histogram,
}

/// Who waits for what the index says of the log as it was at the start. Indexing asks for them,
/// because it can make an index anew whose answers are damaged.
#[derive(Debug, Default)]
pub struct AtStart {
    /// The poller.
    pub known: Option<oneshot::Sender<Known>>,
    /// The pipeline.
    pub standings: Option<oneshot::Sender<BTreeMap<SensorId, Standing>>>,
}

impl AtStart {
    const fn is_told(&self) -> bool {
        self.known.is_none() && self.standings.is_none()
    }

    fn tell(&mut self, indexer: &Indexer, ledger: &Ledger) -> Result<(), IndexingError> {
        let index = indexer.reader()?;
        // Whoever waits may be gone, because the site stops.
        if self.known.is_some() {
            let known = Known::read(&index, ledger)?;
            if let Some(waiting) = self.known.take() {
                let _gone = waiting.send(known);
            }
        }
        if self.standings.is_some() {
            let standings = index.standings()?;
            let _gone = self.standings.take().map(|waiting| waiting.send(standings));
        }
        Ok(())
    }
}

impl Service for Indexing {
    const NAME: &'static str = "indexing";
    /// A bug in this program. Every other failure is retried.
    type Error = IndexingError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), IndexingError> {
        let kept = self.ledger.orders().keep();
        let indexer = feed(self, shutdown).await?;
        Ok(work::blocking(kept, move || indexer.close()).await?)
    }
}

async fn feed(indexing: Indexing, shutdown: CancellationToken) -> Result<Indexer, JoinError> {
    let Indexing { ledger, mut indexer, reports, at_start, found_seconds } = indexing;
    let mut feed = Feed {
        size_at_start: ledger.size(),
        size: ledger.watch_size(),
        ledger,
        reports,
        at_start,
        found_seconds,
        ready: Ready::nothing(indexer.next_leaf()),
        pace: Pace::at_once(Instant::now()),
        forget_at: Instant::now(),
        failing: Failing::default(),
    };
    loop {
        let (next_leaf, passed_over) = (indexer.next_leaf(), indexer.passed_over());
        feed.reports.send(Indexed { next_leaf, passed_over });
        let stepped;
        (indexer, stepped) = feed.step(indexer, &shutdown).await?;
        match stepped {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(indexer),
            Err(failure) => {
                indexer = feed.recover(indexer, &failure).await?;
                if shutdown.run_until_cancelled(sleep(TRY_AGAIN_AFTER)).await.is_none() {
                    return Ok(indexer);
                }
            }
        }
    }
}

/// What feeds an index, apart from the index. Each step takes that and gives it back.
struct Feed {
    ledger: Ledger,
    /// Size of the log when indexing began.
    size_at_start: u64,
    /// Tells when the log has grown.
    size: watch::Receiver<u64>,
    reports: Reports,
    at_start: AtStart,
    found_seconds: Histogram,
    /// What was read already and comes next.
    ready: Ready,
    pace: Pace,
    /// When erased envelopes are forgotten, at the earliest.
    forget_at: Instant,
    failing: Failing,
}

/// The index after a step, and what came of the step. [`JoinError`] says that the step panicked.
type Stepped<T> = Result<(Indexer, Result<T, IndexingError>), JoinError>;

impl Feed {
    /// Tells those who wait for the start, or forgets erased envelopes, or applies a batch, for
    /// which it waits. `Break` says that the site stops.
    async fn step(
        &mut self,
        indexer: Indexer,
        shutdown: &CancellationToken,
    ) -> Stepped<ControlFlow<()>> {
        let (indexer, done) = if self.has_to_tell(&indexer) {
            self.tell(indexer).await?
        } else if self.has_to_forget(&indexer) {
            self.forget(indexer).await?
        } else {
            let goes_on = if self.ready.batch.is_empty() {
                let more = self.more(indexer.has_to_forget());
                shutdown.run_until_cancelled(more).await == Some(true)
            } else {
                !shutdown.is_cancelled()
            };
            if !goes_on {
                return Ok((indexer, Ok(ControlFlow::Break(()))));
            }
            self.apply(indexer).await?
        };
        Ok((indexer, done.map(ControlFlow::Continue)))
    }

    /// Whether the index has the log as it was at the start, and somebody waits for that.
    fn has_to_tell(&self, indexer: &Indexer) -> bool {
        indexer.next_leaf() >= self.size_at_start && !self.at_start.is_told()
    }

    async fn tell(&mut self, indexer: Indexer) -> Stepped<()> {
        let (log, mut at_start) = (self.ledger.clone(), std::mem::take(&mut self.at_start));
        let telling = self.with(indexer, move |indexer| {
            let told = at_start.tell(indexer, &log);
            (at_start, told)
        });
        let (indexer, (at_start, told)) = telling.await?;
        self.at_start = at_start;
        Ok((indexer, told))
    }

    /// Whether erased envelopes are to be forgotten now, because the log is at rest.
    fn has_to_forget(&self, indexer: &Indexer) -> bool {
        indexer.has_to_forget()
            && *self.size.borrow() <= indexer.next_leaf()
            && Instant::now() >= self.forget_at
    }

    /// Forgets erased envelopes. If that fails, they stay marked for the next attempt.
    async fn forget(&mut self, indexer: Indexer) -> Stepped<()> {
        let (indexer, forgotten) = self.with(indexer, Indexer::forget).await?;
        if indexer.has_to_forget() {
            self.forget_at = Instant::now() + FORGET_AGAIN_AFTER;
        }
        if let Ok(false) = forgotten {
            debug!("an open reader still holds erased data; trying again");
        }
        Ok((indexer, forgotten.map(|_is_done| ()).map_err(IndexingError::from)))
    }

    /// Waits until the log has more, and for the pace. If the index `forgets`, waits no longer than
    /// until it is time to try that again. Returns `false` if the log has ended.
    async fn more(&mut self, forgets: bool) -> bool {
        let next_leaf = self.ready.batch.next_leaf();
        let more = async { self.size.wait_for(|size| *size > next_leaf).await.is_ok() };
        let is_more = if forgets {
            timeout_at(self.forget_at, more).await.unwrap_or(true)
        } else {
            more.await
        };
        sleep_until(self.pace.if_wanted).await;
        if self.at_start.is_told() {
            let wanted = self.reports.wanted(next_leaf);
            let _unwanted = timeout_at(self.pace.if_unwanted, wanted).await;
        }
        is_more
    }

    /// Applies the batch that is ready, or else reads one and applies that. If much is there, the
    /// next batch is read while this one is applied.
    async fn apply(&mut self, indexer: Indexer) -> Stepped<()> {
        let first_leaf = indexer.next_leaf();
        let ready = std::mem::replace(&mut self.ready, Ready::nothing(first_leaf));
        let next_leaf = ready.batch.next_leaf();
        let is_behind = self.ledger.size().saturating_sub(next_leaf) >= BEHIND;
        let log = self.ledger.clone();
        let reading = async move {
            let read = move || read(&log, next_leaf, u64::MAX);
            if is_behind { work::blocking((), read).await.map(Some) } else { Ok(None) }
        };
        let (log, size_at_start) = (self.ledger.clone(), self.size_at_start);
        let found_seconds = self.found_seconds.clone();
        let begin = Instant::now();
        let applying = self.with(indexer, move |indexer| {
            let reads = ready.batch.is_empty() && !is_behind;
            let ready = if reads { read(&log, next_leaf, u64::MAX)? } else { ready };
            apply(indexer, &log, &ready)?;
            if ready.batch.first_leaf() >= size_at_start {
                timings::observe(&found_seconds, ready.batch.received_at());
            }
            Ok(())
        });
        let (applied, read) = tokio::join!(applying, reading);
        let ((indexer, applied), read) = (applied?, read?);
        self.pace = Pace::after(begin, indexer.next_leaf().saturating_sub(first_leaf));
        let applied = applied.and_then(|()| read.transpose()).map(|read| {
            self.failing.is_over();
            self.ready = read.unwrap_or_else(|| Ready::nothing(indexer.next_leaf()));
        });
        Ok((indexer, applied))
    }

    /// Replaces a damaged index with an empty one. If that fails too, as on a full disk, the next
    /// use of the index finds it damaged again. Tells any other failure, which may pass.
    async fn recover(
        &mut self,
        indexer: Indexer,
        failure: &IndexingError,
    ) -> Result<Indexer, JoinError> {
        let indexer = if failure.is_damage() {
            let (indexer, begun) = self.with(indexer, Indexer::begin_anew).await?;
            let damage = error_chain(failure);
            match begun {
                Ok(()) => warn!(damage, "the index is damaged; rebuilding it from the log"),
                Err(failure) => self.failing.tell(&failure.into()),
            }
            indexer
        } else {
            self.failing.tell(failure);
            indexer
        };
        self.ready = Ready::nothing(indexer.next_leaf());
        Ok(indexer)
    }

    /// Does work on the index that blocks.
    async fn with<T: Send + 'static>(
        &self,
        mut indexer: Indexer,
        work: impl FnOnce(&mut Indexer) -> T + Send + 'static,
    ) -> Result<(Indexer, T), JoinError> {
        let working = work::blocking(self.ledger.orders().keep(), move || {
            let done = work(&mut indexer);
            (indexer, done)
        });
        working.await
    }
}

/// When the next batch begins, at the earliest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Pace {
    /// If somebody waits for its leaves.
    if_wanted: Instant,
    /// If nobody does.
    if_unwanted: Instant,
}

impl Pace {
    const fn at_once(now: Instant) -> Self {
        Self { if_wanted: now, if_unwanted: now }
    }

    /// The pace after a batch with so many leaves.
    fn after(begin: Instant, leaves: u64) -> Self {
        let of_leaves = GATHERING_OF_LEAF.saturating_mul(u32::try_from(leaves).unwrap_or(u32::MAX));
        let if_wanted = begin + of_leaves.clamp(GATHERING_MIN, GATHERING_MAX);
        Self { if_wanted, if_unwanted: begin + GATHERING_UNWANTED }
    }
}

/// Reports a lasting failure, at most once each [`TELL_PERIOD`].
#[derive(Debug, Default)]
struct Failing {
    told_at: Option<Instant>,
}

impl Failing {
    fn tell(&mut self, failure: &IndexingError) {
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_PERIOD) {
            self.told_at = Some(Instant::now());
            let failure = error_chain(failure);
            warn!(failure, "cannot index the log now; sealing continues, and the site will retry");
        }
    }

    fn is_over(&mut self) {
        self.told_at = None;
    }
}

/// Opens the index of the log, or creates one.
///
/// # Errors
/// The log cannot be read or SQLite fails. Nothing was deleted then.
pub fn open(path: &Path, ledger: &Ledger) -> Result<Indexer, IndexingError> {
    let entry_of = |leaf| entry_of(ledger, leaf).map_err(Into::into);
    Ok(Indexer::open(path, ledger.log_id(), entry_of)?)
}

/// Brings the index of a log up to date while no site runs. Blocks.
///
/// # Errors
/// The log cannot be read or SQLite fails.
pub fn catch_up(path: &Path, ledger: &Ledger) -> Result<(), IndexingError> {
    let mut indexer = open(path, ledger)?;
    let mut is_anew = false;
    while indexer.next_leaf() < ledger.size() {
        let ready = read(ledger, indexer.next_leaf(), u64::MAX)?;
        match apply(&mut indexer, ledger, &ready) {
            Err(failure) if failure.is_damage() && !std::mem::replace(&mut is_anew, true) => {
                indexer.begin_anew()?;
            }
            applied => applied?,
        }
    }
    indexer.forget()?;
    indexer.close();
    Ok(())
}

/// The batch to apply next, and the log's entry for its last leaf.
struct Ready {
    batch: IndexBatch,
    last_entry: Entry,
}

impl Ready {
    fn nothing(next_leaf: u64) -> Self {
        Self { batch: IndexBatch::new(next_leaf), last_entry: Entry::default() }
    }
}

/// Reads a batch that begins with the leaf `from` and ends before the leaf `end`.
fn read(ledger: &Ledger, from: u64, end: u64) -> Result<Ready, IndexingError> {
    let mut ready = Ready::nothing(from);
    let batch = &mut ready.batch;
    loop {
        let left = usize::try_from(end.saturating_sub(batch.next_leaf())).unwrap_or(usize::MAX);
        let count = batch.room().min(left);
        let read = read_leaves(ledger, batch.next_leaf(), count, READ_BYTES_MAX)?;
        if read.is_empty() {
            break;
        }
        for (leaf, content) in (batch.next_leaf()..).zip(read) {
            let parsed = match content {
                Content::Envelope(bytes) => {
                    Envelope::parse(&bytes).map(Some).map_err(|error| error.to_string())
                }
                Content::Erased => Ok(None),
                Content::Unreadable(reason) => Err(reason),
            };
            match parsed {
                Ok(envelope) => batch.extend([envelope]),
                Err(reason) => {
                    warn!(
                        leaf,
                        reason, "cannot parse the envelope of a leaf; the leaf is not indexed"
                    );
                    batch.pass_over(&reason);
                }
            }
        }
    }
    ready.last_entry = last_entry(ledger, batch)?;
    Ok(ready)
}

/// The log's entry for the last leaf of a batch.
fn last_entry(ledger: &Ledger, batch: &IndexBatch) -> Result<Entry, IndexingError> {
    match batch.next_leaf().checked_sub(1).filter(|_| !batch.is_empty()) {
        Some(last) => Ok(entry_of(ledger, last)?.unwrap_or_default()),
        None => Ok(Entry::default()),
    }
}

/// The log's entry for a leaf, as the index stores it.
fn entry_of(ledger: &Ledger, leaf: u64) -> Result<Option<Entry>, ReadError> {
    if leaf >= ledger.size() {
        return Ok(None);
    }
    let entries = ledger.entries(leaf, 1)?;
    Ok(entries.first().map(|entry| *entry.as_bytes()))
}

/// Applies a batch. If the index refuses part of it, applies everything else.
fn apply(indexer: &mut Indexer, ledger: &Ledger, ready: &Ready) -> Result<(), IndexingError> {
    if ready.batch.is_empty() {
        return Ok(());
    }
    let span = ready.batch.first_leaf()..ready.batch.next_leaf();
    match indexer.apply(&ready.batch, ready.last_entry) {
        Err(error) if error.trouble() == Trouble::Content => {
            apply_in_parts(indexer, ledger, span, &error)
        }
        applied => Ok(applied?),
    }
}

/// Applies a span that failed as a whole: splits it in halves, again and again, down to the leaf at
/// fault.
fn apply_in_parts(
    indexer: &mut Indexer,
    ledger: &Ledger,
    span: Range<u64>,
    failure: &IndexError,
) -> Result<(), IndexingError> {
    let Range { start, end } = span;
    if end - start == 1 {
        let reason = error_chain(failure);
        warn!(leaf = start, reason, "cannot index a leaf; it is passed over");
        let mut batch = IndexBatch::new(start);
        batch.pass_over(&reason);
        return Ok(indexer.apply(&batch, last_entry(ledger, &batch)?)?);
    }
    let middle = start + (end - start) / 2;
    for end in [middle, end] {
        while indexer.next_leaf() < end {
            let ready = read(ledger, indexer.next_leaf(), end)?;
            if ready.batch.is_empty() {
                return Ok(());
            }
            apply(indexer, ledger, &ready)?;
        }
    }
    Ok(())
}

/// Why indexing stopped.
#[derive(Debug, thiserror::Error)]
pub enum IndexingError {
    /// The log cannot be read.
    #[error("the log cannot be indexed")]
    Read(#[from] ReadError),
    /// SQLite failed.
    #[error("cannot index the log")]
    Index(#[from] IndexError),
    /// A bug in this program.
    #[error("the indexer panicked")]
    Panicked(#[from] JoinError),
}

impl IndexingError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Index(error) if error.trouble() == Trouble::Damage)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use index::{Query, Reader, Search};
    use ledger::{Batch as Events, Erasure, LeafRanges, Writer};
    use model::{Event, Heartbeat, Outcome, SensorState, Timestamp, action};
    use tempfile::TempDir;
    use tlog::{KeyName, Signer};
    use tokio::{task::JoinSet, time::timeout};

    use super::*;
    use crate::progress::{Progress, progress};

    const DEADLINE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000)
    }

    fn event(message: &str) -> Event {
        Event::site("TEST", "test", message.to_owned(), at(1))
    }

    /// A new log, the folder that it is in, and a path for its index.
    fn begin() -> (TempDir, PathBuf, Ledger, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let index_file = folder.path().join("index.sqlite");
        let signer = Signer::from_seed(KeyName::parse("plant").unwrap(), &[7; 32]);
        let (ledger, writer) = Ledger::open(&folder.path().join("ledger"), signer).unwrap();
        (folder, index_file, ledger, writer)
    }

    /// Indexing, for which nobody waits at the start.
    fn indexing(ledger: &Ledger, indexer: Indexer, reports: Reports) -> Indexing {
        Indexing {
            ledger: ledger.clone(),
            indexer,
            reports,
            at_start: AtStart::default(),
            found_seconds: timings::found_seconds(),
        }
    }

    async fn caught_up(ledger: &Ledger, progress: &Progress) -> Indexed {
        timeout(DEADLINE, progress.caught_up(ledger.size())).await.unwrap().unwrap()
    }

    /// Number of events found; `None` at the moment when a new index replaces the old one.
    fn found(index: &Reader, text: &str) -> Option<u64> {
        let query = Query::parse(text, |_| false).unwrap();
        let search = Search { query, ..Search::default() };
        index.search(&search, 0, 500, &mut |_| Ok(None)).ok().map(|page| page.count)
    }

    #[test]
    fn batches_come_when_they_are_wanted_or_else_rarely() {
        let begin = Instant::now();
        let pace = |leaves| {
            let Pace { if_wanted, if_unwanted } = Pace::after(begin, leaves);
            ((if_wanted - begin).as_millis(), (if_unwanted - begin).as_millis())
        };
        assert_eq!(pace(0), (5, 250));
        assert_eq!(pace(50), (5, 250));
        assert_eq!(pace(500), (50, 250));
        assert_eq!(pace(u64::MAX), (200, 250), "whoever waits under load waits longer");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_index_cannot_take_is_named_and_passed_over() {
        let (folder, index_file, ledger, writer) = begin();
        let indexer = open(&index_file, &ledger).unwrap();
        let index = Reader::open(&index_file).unwrap();
        let other = rusqlite::Connection::open(&index_file).unwrap();
        let refuses = "CREATE TRIGGER refuses BEFORE INSERT ON term WHEN NEW.text LIKE '%poison%'
             BEGIN SELECT RAISE(ABORT, 'poison'); END";
        other.execute_batch(refuses).unwrap();
        let words = (0..100).map(|number| match number {
            20 | 77 => format!("poison{number}"),
            _ => format!("word{number}"),
        });
        let events = Events::of(words.map(|word| event(&word)).collect());
        let first = ledger.append(events).await.unwrap().first_leaf;
        // This segment exists, but does not hold what was sealed.
        let newest = std::fs::read_dir(folder.path().join("ledger/segments")).unwrap().next();
        let segment = newest.unwrap().unwrap().path();
        let whole = std::fs::read(&segment).unwrap();
        let lost = ledger.append(Events::of(vec![event("lost")])).await.unwrap().first_leaf;
        let mut damaged = std::fs::read(&segment).unwrap();
        damaged.iter_mut().skip(whole.len() + 60).for_each(|byte| *byte ^= 0x55);
        std::fs::write(&segment, damaged).unwrap();

        let (reports, progress) = progress();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(indexing(&ledger, indexer, reports).run(stop.clone()));
        assert_eq!(caught_up(&ledger, &progress).await.passed_over, 3);
        let told = index.passed_over(9).unwrap();
        let leaves: Vec<u64> = told.newest.iter().map(|(leaf, _)| *leaf).collect();
        assert_eq!((told.count, leaves), (3, vec![lost, first + 77, first + 20]));
        assert!(told.newest.iter().skip(1).all(|(_, reason)| reason.contains("poison")));
        assert_eq!((found(&index, "word"), found(&index, "poison")), (Some(98), Some(0)));

        // A file that turns out to be damaged is rebuilt too, without the trigger that refused.
        other.execute_batch("DROP TRIGGER refuses; DROP TABLE leaves").unwrap();
        ledger.append(Events::of(vec![event("another")])).await.unwrap();
        let other =
            move || found(&index, "poison") == Some(2) && found(&index, "another") == Some(1);
        let mut reported = progress.watch();
        let both = async {
            loop {
                reported.changed().await.unwrap();
                if other() {
                    break;
                }
            }
        };
        timeout(DEADLINE, both).await.unwrap();
        assert!(tasks.try_join_next().is_none(), "it goes on");
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_index_that_cannot_be_made_anew_is_made_when_it_can() {
        let (folder, index_file, ledger, writer) = begin();
        let indexer = open(&index_file, &ledger).unwrap();
        let other = rusqlite::Connection::open(&index_file).unwrap();
        other.execute_batch("DROP TABLE leaves").unwrap();
        drop(other);
        // No new index can be made in its place.
        let in_the_way = folder.path().join("index.sqlite.next");
        std::fs::create_dir(&in_the_way).unwrap();
        let (reports, progress) = progress();
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(indexing(&ledger, indexer, reports).run(stop.clone()));
        ledger.append(Events::of(vec![event("word")])).await.unwrap();
        // Closing the damaged file removes this one. That must happen before a new index is made.
        let shared = folder.path().join("index.sqlite-shm");
        let is_closed = async {
            while shared.exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, is_closed).await.unwrap();
        assert!(tasks.try_join_next().is_none(), "the site goes on");
        std::fs::remove_dir(&in_the_way).unwrap();
        assert_eq!(caught_up(&ledger, &progress).await.passed_over, 0);
        let index = Reader::open(&index_file).unwrap();
        assert_eq!(found(&index, "word"), Some(1));
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_whose_sensors_are_damaged_is_made_anew_by_a_start() {
        let (_folder, index_file, ledger, writer) = begin();
        let text = r#"{"alias":"A","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r"}"#;
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        let discovered = Event::sighting(action::SENSOR_DISCOVERED, &heartbeat, at(1));
        ledger.append(Events::of(vec![discovered])).await.unwrap();
        catch_up(&index_file, &ledger).unwrap();
        let other = rusqlite::Connection::open(&index_file).unwrap();
        other.execute_batch("UPDATE sensor SET heartbeat = x'ff'").unwrap();
        drop(other);
        let ((known, is_known), (standings, is_stood)) = (oneshot::channel(), oneshot::channel());
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let indexer = open(&index_file, &ledger).unwrap();
        let indexing = Indexing {
            at_start: AtStart { known: Some(known), standings: Some(standings) },
            ..indexing(&ledger, indexer, progress().0)
        };
        tasks.spawn(indexing.run(stop.clone()));
        let known = timeout(DEADLINE, is_known).await.unwrap().unwrap();
        assert_eq!(known.sensors, [(heartbeat, SensorState::Online)]);
        assert!(timeout(DEADLINE, is_stood).await.unwrap().unwrap().is_empty());
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_that_turns_out_damaged_when_it_forgets_is_made_anew() {
        let (_folder, index_file, ledger, writer) = begin();
        let events = Events::of(vec![event("word"), event("secret")]);
        let secret = ledger.append(events).await.unwrap().first_leaf + 1;
        catch_up(&index_file, &ledger).unwrap();
        // Only readings use this table, and the rewriting of the whole file.
        let other = rusqlite::Connection::open(&index_file).unwrap();
        let number = |query: &str| {
            let number: i64 = other.query_row(query, [], |row| row.get(0)).unwrap();
            usize::try_from(number).unwrap()
        };
        let page = number("SELECT rootpage FROM sqlite_master WHERE name = 'rollup'");
        let page_len = number("PRAGMA page_size");
        drop(other);
        let mut bytes = std::fs::read(&index_file).unwrap();
        let damaged = bytes.iter_mut().skip((page - 1) * page_len).take(page_len);
        damaged.for_each(|byte| *byte = 0xff);
        std::fs::write(&index_file, bytes).unwrap();

        let indexer = open(&index_file, &ledger).unwrap();
        let index = indexer.reader().unwrap();
        let (reports, progress) = progress();
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(indexing(&ledger, indexer, reports).run(stop.clone()));
        let leaves = LeafRanges::from_leaves(vec![secret]);
        let (actor, reason) = ("test".to_owned(), "a test".to_owned());
        ledger.erase(Erasure { leaves, actor, reason }, at(2)).await.unwrap();
        ledger.append(Events::of(vec![event("later")])).await.unwrap();
        let mut reported = progress.watch();
        let both = async {
            while found(&index, "later") != Some(1) || found(&index, "secret") != Some(0) {
                reported.changed().await.unwrap();
            }
        };
        timeout(DEADLINE, both).await.unwrap();
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        writer.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_series_is_made_anew_by_a_stopped_sites_commands_too() {
        let (_folder, index_file, ledger, writer) = begin();
        let text = r#"{"alias":"A","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r","location":"Hall"}"#;
        let heartbeat = Heartbeat::parse(text.as_bytes()).unwrap();
        let reading = |poll: u64| Event::reading(&heartbeat, poll, Outcome::of(b"1"), at(1));
        ledger.append(Events::of(vec![reading(1), reading(2)])).await.unwrap();
        catch_up(&index_file, &ledger).unwrap();
        let other = rusqlite::Connection::open(&index_file).unwrap();
        other.execute_batch("UPDATE newest SET bytes = x'ff'").unwrap();
        drop(other);
        ledger.append(Events::of(vec![reading(3)])).await.unwrap();
        catch_up(&index_file, &ledger).unwrap();
        let index = Reader::open(&index_file).unwrap();
        let series = index.series(heartbeat.id, (None, None), 500).unwrap().unwrap();
        let index::Series::Readings { readings } = series else { panic!("three points") };
        assert_eq!(readings.len(), 3);
        writer.close().await.unwrap();
    }
}
