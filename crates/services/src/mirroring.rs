//! Mirrors the log to another server of Pangea's API, by way of the component `pangea-api`.
//!
//! The log is the queue: mirroring reads it from a cursor, has the component send the events, and
//! checks what the server shows. What it showed goes into a file, and one event a batch seals the
//! file's hash and the server's root together with the cursor. So a crash at any point repeats a
//! request, under the same id, and never skips one. [`Backlog`] decides what is sent; this module
//! does the IO around it.
//!
//! Erased envelopes are not sent, and neither are the mirror's own events. Nothing waits for the
//! mirror: if its server is away, only the cursor stays where it is.

mod backlog;
mod calling;
mod kept;

use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use ledger::{AppendError, Batch, Cursor, LeafRanges, Ledger, ReadError};
use model::{
    Envelope, Event, action, error_chain,
    event::Detail,
    mirror::{Call, Question},
};
use pangea::client::{Outcome, Outgoing, Taken, bulk_request, request_id};
use tokio::{
    sync::watch,
    task::JoinError,
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use work::Service;

pub use self::calling::test_question;
pub(crate) use self::calling::{Answered, NoAnswer};
use self::{
    backlog::{Ask, Backlog, End, Entry, Next, Settlement},
    kept::Kept,
};
pub use self::{
    calling::Caller,
    kept::{Parked, ParkedLeaf},
};
use crate::log_reading::{Content, read_leaves};

/// Name of the mirror's cursor in the log.
pub const CURSOR: &str = "pangea-api";
/// Leaves that are read at once.
const READ_MAX: usize = 1_000;
/// Bytes of envelopes that are read at once.
const READ_BYTES_MAX: usize = 1 << 20;
/// Time for an answer of the component. The host gives it five seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// Pause before another attempt while the disk fails.
const DISK_PAUSE: Duration = Duration::from_secs(3);

/// Mirrors a log.
#[derive(Debug)]
pub struct Mirroring {
    /// The log to read and append to.
    pub ledger: Ledger,
    /// The component that calls the server.
    pub caller: Caller,
    /// Address of the server, as the log and the files name it.
    pub server: String,
    /// Folder for the server's answers.
    pub folder: PathBuf,
    /// Receives how far the mirror is.
    pub progress: watch::Sender<MirrorProgress>,
}

/// How far a mirror is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MirrorProgress {
    /// Address of the server.
    pub server: String,
    /// The first leaf that is not mirrored. All before it are: taken by the server, parked, or not
    /// to be mirrored.
    pub next_leaf: u64,
    /// Events that the server has taken since this process started.
    pub taken: u64,
    /// What the server refused.
    pub parked: Parked,
    /// Why the last question led to nothing; `None` while all is well.
    pub trouble: Option<String>,
}

impl Service for Mirroring {
    const NAME: &'static str = "mirroring";
    /// The ledger has stopped, the folder cannot be used, or there is a bug.
    type Error = MirrorError;

    async fn run(self, shutdown: CancellationToken) -> Result<(), MirrorError> {
        let kept = Kept::open(&self.folder)
            .map_err(|source| MirrorError::Folder { path: self.folder.clone(), source })?;
        let cursor = self.ledger.cursor(CURSOR);
        let under_way = kept.under_way();
        let progress = MirrorProgress {
            server: self.server.clone(),
            next_leaf: cursor,
            parked: kept.parked(cursor),
            ..MirrorProgress::default()
        };
        let backlog = Backlog::new(cursor, under_way);
        let mirror = Mirror {
            own: self,
            kept,
            under_way,
            progress,
            component: String::new(),
            is_warned: false,
        };
        match shutdown.run_until_cancelled(mirror.run(backlog)).await {
            Some(Err(failure)) => Err(failure),
            Some(Ok(never)) => match never {},
            None => Ok(()),
        }
    }
}

struct Mirror {
    own: Mirroring,
    kept: Kept,
    /// The number of events that the folder has of the newest request.
    under_way: Option<usize>,
    progress: MirrorProgress,
    /// Digest of the component that answered last.
    component: String,
    /// Whether the site's log says that the mirror does not get on.
    is_warned: bool,
}

impl Mirror {
    /// Cancel-safe: a start continues from the cursor, with the request that was under way.
    async fn run(mut self, mut backlog: Backlog) -> Result<Infallible, MirrorError> {
        let mut size = self.own.ledger.watch_size();
        loop {
            self.tell(&backlog);
            let now = Instant::now();
            let sealed = *size.borrow_and_update();
            match backlog.poll(sealed, now) {
                Next::Read(from) => {
                    let (entries, read_to) = self.read(from).await?;
                    backlog.handle_read(entries, read_to);
                }
                Next::Await(leaf) => {
                    // The sender lives as long as the ledger, of which we hold a handle.
                    let _alive = size.wait_for(|size| *size > leaf).await.is_ok();
                }
                Next::Sleep(until) => sleep_until(until.into()).await,
                Next::Ask(ask) => {
                    let asked_at = Instant::now();
                    let outcome = self.ask(ask, &backlog).await?;
                    let (now, chance) = (Instant::now(), rand::random());
                    match outcome {
                        Ok(outcome) => {
                            backlog.handle_outcome(outcome, now - asked_at, now, chance);
                        }
                        Err(reason) => backlog.handle_silence(reason, now, chance),
                    }
                }
                Next::Settle(settlement) => {
                    self.settle(settlement).await?;
                    backlog.handle_settled();
                }
            }
        }
    }

    /// Tells others how far the mirror is, and the site's log when it begins or ceases to get on.
    fn tell(&mut self, backlog: &Backlog) {
        let trouble = backlog.trouble();
        match trouble {
            Some(reason) if !self.is_warned => {
                let server = &self.own.server;
                warn!(server, reason, "cannot mirror the log now; trying again");
            }
            None if self.is_warned => info!(server = self.own.server, "the mirror gets on again"),
            _ => {}
        }
        self.is_warned = trouble.is_some();
        self.progress.next_leaf = backlog.settled();
        self.progress.trouble = trouble.map(String::from);
        self.own.progress.send_if_modified(|told| {
            let is_new = *told != self.progress;
            if is_new {
                told.clone_from(&self.progress);
            }
            is_new
        });
    }

    /// Reads leaves from `from` on, of which there is at least one. Waits while the log cannot be
    /// read.
    async fn read(&self, from: u64) -> Result<(Vec<Entry>, u64), MirrorError> {
        loop {
            let ledger = self.own.ledger.clone();
            match work::blocking((), move || read_entries(&ledger, from)).await? {
                Ok(read) => return Ok(read),
                Err(failure) => {
                    let failure = error_chain(&failure);
                    warn!(failure, "cannot read leaves to mirror them; trying again");
                }
            }
            sleep(DISK_PAUSE).await;
        }
    }

    /// Asks the server by way of the component. The inner error says why nobody answers.
    async fn ask(
        &mut self,
        ask: Ask,
        backlog: &Backlog,
    ) -> Result<Result<Outcome, String>, MirrorError> {
        let events = match &ask {
            Ask::Log(events) | Ask::Result { events, .. } => *events,
        };
        let (leaves, batch, received_millis) = backlog.batch(events);
        let question = match ask {
            Ask::Log(events) => {
                // Before the server can have them: a later start asks for the same events.
                if self.under_way != Some(events) {
                    let kept = self.kept.clone();
                    self.write("the mirror's state", move || kept.begin(events)).await?;
                    self.under_way = Some(events);
                }
                let body = bulk_request(self.own.caller.log.as_ref(), &batch);
                let first = leaves.first().copied().unwrap_or_default();
                let first = format!("{} {first}", self.own.ledger.log_id());
                let id = request_id(received_millis, first.as_bytes(), &body);
                Question { call: Call::Log { retried: id.to_string() }, body }
            }
            Ask::Result { id, .. } => {
                Question { call: Call::Result { id: id.to_string() }, body: Vec::new() }
            }
        };
        let answered = match self.own.caller.call(&question, ANSWER_TIMEOUT).await {
            Ok(answered) => answered,
            Err(silence @ NoAnswer::InTime) => return Ok(Err(silence.to_string())),
            Err(NoAnswer::Away(reason)) => {
                return Ok(Ok(Outcome::Away { reason, retry_after: None }));
            }
        };
        let Answered { status, retry_after, body, component } = answered;
        self.component = component;
        let judge = move || Outcome::of(status, retry_after, &body, &batch);
        Ok(Ok(work::blocking((), judge).await?))
    }

    /// Keeps what the server showed, and seals what became of the leaves together with the cursor.
    async fn settle(&mut self, settlement: Settlement) -> Result<(), MirrorError> {
        let Settlement { end, next_leaf } = settlement;
        let (action, message, detail) = match end {
            End::Taken(leaves, taken) => {
                let message = words(&self.own.server, &taken);
                let root = taken.root().map(|root| hex::encode(root.as_bytes()));
                self.progress.taken += leaves.len() as u64;
                let mirrored = LeafRanges::from_leaves(leaves.clone()).to_string();
                let (kept, server) = (self.kept.clone(), self.own.server.clone());
                let (leaves, taken) = (Arc::new(leaves), Arc::new(taken));
                let keep = move || kept.keep_answers(&server, &leaves, &taken);
                let hash = self.write("what the server answered", keep).await?;
                let detail = Detail {
                    answers: Some(hex::encode(hash.as_bytes())),
                    cloud_root: root,
                    mirrored: Some(mirrored),
                    ..Detail::default()
                };
                (action::MIRRORED, message, detail)
            }
            End::Parked(leaf, reason) => {
                self.progress.parked.add(leaf, &reason);
                let (kept, parked) = (self.kept.clone(), self.progress.parked.clone());
                self.write("what is parked", move || kept.keep_parked(&parked)).await?;
                let message = format!("{} does not take leaf {leaf}: {reason}", self.own.server);
                let detail = Detail { mirrored: Some(leaf.to_string()), ..Detail::default() };
                (action::MIRROR_REFUSED, message, detail)
            }
        };
        let detail = Detail {
            component: Some(self.component.clone()),
            mirrored_to: Some(next_leaf),
            ..detail
        };
        let cursor = Cursor { name: CURSOR.to_owned(), next_leaf };
        loop {
            let (message, detail) = (message.clone(), detail.clone());
            let event = Event::mirror(action, &self.own.server, message, detail, clock::now());
            let batch =
                Batch { events: vec![event], cursor: Some(cursor.clone()), ..Batch::default() };
            match self.own.ledger.append(batch).await {
                Ok(_receipt) => return Ok(()),
                Err(AppendError::Write(reason)) => {
                    warn!(reason, "cannot seal what was mirrored; trying again");
                    sleep(DISK_PAUSE).await;
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }

    /// Writes into the mirror's folder, and tries again while the disk fails.
    async fn write<T: Send + 'static>(
        &self,
        what: &str,
        write: impl Fn() -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<T, MirrorError> {
        loop {
            match work::blocking((), write.clone()).await? {
                Ok(written) => return Ok(written),
                Err(error) => warn!(%error, what, "cannot write; trying again"),
            }
            sleep(DISK_PAUSE).await;
        }
    }
}

/// What the log says about events that a server took.
fn words(server: &str, taken: &Taken) -> String {
    let count = |is_counted: fn(&pangea::client::Shown) -> bool| {
        taken.events.iter().filter(|shown| is_counted(shown)).count()
    };
    let proved = count(|shown| shown.hash.is_some() && shown.root.is_some());
    let events = taken.events.len();
    let noun = if events == 1 { "event" } else { "events" };
    let mut words = format!("{server} has {events} {noun}, {proved} with a membership proof");
    let altered = count(|shown| shown.is_altered);
    if altered > 0 {
        words.push_str(&format!(", and altered {altered} of them"));
    }
    words
}

/// Reads what is to be mirrored from the leaf `from` on. Blocks on the disk.
fn read_entries(ledger: &Ledger, from: u64) -> Result<(Vec<Entry>, u64), ReadError> {
    let (mut entries, mut leaf) = (Vec::new(), from);
    for content in read_leaves(ledger, from, READ_MAX, READ_BYTES_MAX)? {
        entries.extend(entry(leaf, content));
        leaf += 1;
    }
    Ok((entries, leaf))
}

/// What is to be mirrored of a leaf, if anything.
fn entry(leaf: u64, content: Content) -> Option<Entry> {
    let envelope = match content {
        Content::Erased => return None,
        Content::Unreadable(reason) => return Some(Entry::Unsendable { leaf, reason }),
        Content::Envelope(bytes) => match Envelope::parse(&bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                return Some(Entry::Unsendable { leaf, reason: error_chain(&error) });
            }
        },
    };
    let is_own = envelope.event.sealwire.is_some()
        && matches!(
            envelope.event.action.as_deref(),
            Some(action::MIRRORED | action::MIRROR_REFUSED)
        );
    if is_own {
        return None;
    }
    let received_millis = envelope.received_at.unix_millis().unsigned_abs();
    let outgoing = Arc::new(Outgoing::of(envelope));
    Some(Entry::Event { leaf, outgoing, received_millis })
}

/// Why mirroring stopped.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The ledger has stopped, or refuses the event.
    #[error("cannot seal what was mirrored")]
    Append(#[from] AppendError),
    /// The folder for the server's answers cannot be used.
    #[error("cannot use the mirror's folder {}", path.display())]
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A bug in this program.
    #[error("mirroring panicked")]
    Panicked(#[from] JoinError),
}
