//! The one thread that writes: commit groups, then the tree, then checkpoints.
//!
//! The order is that of `docs/formats/ledger.md`: envelopes, fsync, acknowledged; tree files, fsync, checkpoint. What a failure means is decided at each step.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, PoisonError},
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use model::{Envelope, Salt, Timestamp};
use tlog::{Checkpoint, Frontier, Hash, Signer};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::{
    Batch, OpenError, Published, Receipt, atomic_file,
    cursors::Cursors,
    ledger::Shared,
    recover::{self, Recovered},
    segment::{self, Group, Record},
    tree_files::TreeFiles,
};

/// Batches in one commit group.
const GROUP_BATCHES_MAX: usize = 256;
/// Bytes of envelopes after which a commit group takes no further batch; one more of the largest still fits the format's limit.
const GROUP_BYTES_FULL: usize = 8 << 20;
/// Bytes of envelopes in one batch.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Append { batch: Batch, reply: oneshot::Sender<Result<Receipt, AppendError>> },
    Publish { reply: oneshot::Sender<Arc<Published>> },
    Close,
}

/// The running writer. Close it to have everything covered by a checkpoint.
#[derive(Debug)]
pub struct Writer {
    thread: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<Result<(), WriteError>>,
    commands: mpsc::Sender<Command>,
}

impl Writer {
    pub(crate) fn start(
        recovered: Recovered,
        signer: Signer,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Command>,
        commands: mpsc::Sender<Command>,
    ) -> Result<Self, OpenError> {
        let mut state = State::new(recovered, signer, shared).map_err(OpenError::Begin)?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(String::from("ledger"))
            .spawn(move || {
                let result = state.run(queue);
                if let Err(failure) = &result {
                    error!(error = %failure, source = ?std::error::Error::source(failure), "the ledger stops");
                }
                // Nobody listens when the site has not waited for us.
                let _unheard = end.send(result);
            })
            .map_err(|source| OpenError::Begin(WriteError { step: "starting the writer's thread", source }))?;
        Ok(Self { thread: Some(thread), ended, commands })
    }

    /// Seals what waits, publishes a last checkpoint and ends.
    ///
    /// # Errors
    /// The last checkpoint could not be published. What was acknowledged is durable all the same.
    pub async fn close(mut self) -> Result<(), WriteError> {
        let gone = || step("closing the log")(io::Error::other("the writer has ended before"));
        // If the writer has ended already, its result says why.
        let _ended = self.commands.send(Command::Close).await;
        let result = (&mut self.ended).await.map_err(|_closed| gone())?;
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_panic| gone())?;
        }
        result
    }
}

struct State {
    signer: Signer,
    shared: Arc<Shared>,
    tree: TreeFiles,
    frontier: Frontier,
    segment: File,
    segment_len: u64,
    last_received_at: Timestamp,
}

/// Events of one batch, ready to be written, and who waits for them.
struct Pending {
    envelopes: Vec<Vec<u8>>,
    cursor: Option<crate::Cursor>,
    reply: oneshot::Sender<Result<Receipt, AppendError>>,
}

impl State {
    fn new(recovered: Recovered, signer: Signer, shared: Arc<Shared>) -> Result<Self, WriteError> {
        let mut state = Self {
            signer,
            shared,
            tree: recovered.tree,
            frontier: recovered.frontier,
            segment: recovered.segment,
            segment_len: recovered.segment_len,
            last_received_at: recovered.last_received_at,
        };
        if state.tree.size() == 0 {
            state.begin_log()?;
        }
        state.publish()?;
        Ok(state)
    }

    fn begin_log(&mut self) -> Result<(), WriteError> {
        let vkey = self.signer.vkey();
        let genesis = model::Event::log_created(
            vkey.name().as_str(),
            &vkey.to_string(),
            crate::FORMAT,
            now(),
        );
        let envelopes = self.seal(vec![genesis]).map_err(step("making the genesis entry"))?;
        let records = envelopes.into_iter().map(Record::Envelope).collect();
        self.write(&Group { first_leaf: 0, records }).map_err(|failure| match failure {
            CommitError::Refused(source) => step("writing the genesis entry")(source),
            CommitError::Fatal(failure) => failure,
        })
    }

    fn run(&mut self, mut queue: mpsc::Receiver<Command>) -> Result<(), WriteError> {
        let mut next = queue.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Append { batch, reply } => {
                    let mut group = Vec::new();
                    let mut bytes = self.prepare(batch, reply, &mut group);
                    // Everything that waits joins the group and shares its fsync.
                    while bytes < GROUP_BYTES_FULL
                        && group.len() < GROUP_BATCHES_MAX
                        && next.is_none()
                    {
                        match queue.try_recv() {
                            Ok(Command::Append { batch, reply }) => {
                                bytes += self.prepare(batch, reply, &mut group);
                            }
                            Ok(other) => next = Some(other),
                            Err(_empty) => break,
                        }
                    }
                    self.commit(group)?;
                }
                Command::Publish { reply } => {
                    self.publish()?;
                    // Whoever asked may have given up.
                    let _unheard = reply.send(Arc::clone(&self.shared.published.borrow()));
                }
                Command::Close => {
                    queue.close();
                    next = queue.blocking_recv();
                    if next.is_none() {
                        break;
                    }
                    continue;
                }
            }
            if next.is_none() {
                next = queue.blocking_recv();
            }
        }
        self.publish()
    }

    /// Makes a batch ready to be written; answers its bytes. One that is refused is told so at once.
    fn prepare(
        &mut self,
        batch: Batch,
        reply: oneshot::Sender<Result<Receipt, AppendError>>,
        group: &mut Vec<Pending>,
    ) -> usize {
        let sealed = self.seal(batch.events).map_err(|error| AppendError::Write(error.to_string()));
        let checked = sealed.and_then(|envelopes| {
            let bytes = envelopes.iter().map(Vec::len).sum();
            match envelopes.iter().map(Vec::len).find(|len| *len > Envelope::BYTES_MAX) {
                Some(bytes) => Err(AppendError::TooLarge { bytes }),
                None if bytes > BATCH_BYTES_MAX => Err(AppendError::BatchTooLarge { bytes }),
                None => Ok((envelopes, bytes)),
            }
        });
        match checked {
            Ok((envelopes, bytes)) => {
                group.push(Pending { envelopes, cursor: batch.cursor, reply });
                bytes
            }
            Err(refusal) => {
                let _unheard = reply.send(Err(refusal));
                0
            }
        }
    }

    fn seal(&mut self, events: Vec<model::Event>) -> io::Result<Vec<Vec<u8>>> {
        // Never earlier than the one before, whatever the clock does: windows of time are then windows of leaves.
        let received_at = now().max(self.last_received_at);
        self.last_received_at = received_at;
        let mut salts = vec![[0; 16]; events.len()];
        getrandom::fill(salts.as_flattened_mut()).map_err(io::Error::other)?;
        let envelope = |(event, salt)| {
            Envelope { event, received_at, salt: Salt::from_random(salt) }.canonical()
        };
        Ok(events.into_iter().zip(salts).map(envelope).collect())
    }

    fn commit(&mut self, group: Vec<Pending>) -> Result<(), WriteError> {
        let first_leaf = self.tree.size();
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        let mut next_leaf = first_leaf;
        for Pending { envelopes, cursor, reply } in group {
            let receipt = Receipt { first_leaf: next_leaf, leaves: envelopes.len() as u64 };
            next_leaf += receipt.leaves;
            records.extend(envelopes.into_iter().map(Record::Envelope));
            records.extend(cursor.map(Record::Cursor));
            waiting.push((reply, receipt));
        }
        let outcome =
            if records.is_empty() { Ok(()) } else { self.write(&Group { first_leaf, records }) };
        match outcome {
            Ok(()) => {
                for (reply, receipt) in waiting {
                    let _unheard = reply.send(Ok(receipt));
                }
                Ok(())
            }
            Err(CommitError::Refused(source)) => {
                warn!(error = %source, "a commit group could not be written; whoever appended is told");
                for (reply, _) in waiting {
                    let _unheard = reply.send(Err(AppendError::Write(source.to_string())));
                }
                Ok(())
            }
            // Dropping the replies tells whoever waits that the ledger has stopped.
            Err(CommitError::Fatal(failure)) => Err(failure),
        }
    }

    /// Makes a group durable, then part of the tree, then visible.
    fn write(&mut self, group: &Group) -> Result<(), CommitError> {
        let bytes = group.encode();
        if let Err(source) = self.segment.write_all_at(&bytes, self.segment_len) {
            // The disk may be full. If the part that was written can be taken back, nothing has happened: refuse this group and go on.
            self.segment
                .set_len(self.segment_len)
                .map_err(step("cutting off a group that was not written"))?;
            return Err(CommitError::Refused(source));
        }
        // After a failed fsync nobody knows what the disk holds: stop, and let recovery look.
        self.segment.sync_data().map_err(step("fsyncing a segment"))?;

        // From here on the group is durable. If the tree cannot follow, stop; recovery replays it.
        let places: Vec<_> = group.places(self.segment_len).collect();
        let commitments: Vec<_> = group.envelopes().map(Hash::sha256).collect();
        let leaf_hashes =
            self.tree.append(&commitments, &places).map_err(step("writing the tree's files"))?;
        for leaf_hash in leaf_hashes {
            self.frontier.append(leaf_hash);
        }
        self.segment_len += bytes.len() as u64;
        {
            let mut cursors = self.shared.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            group.cursors().for_each(|cursor| cursors.advance(cursor));
        }
        let size = self.tree.size();
        self.shared.size.send_if_modified(|known| std::mem::replace(known, size) != size);
        if self.segment_len > segment::SEGMENT_BYTES_MAX {
            self.begin_segment()?;
        }
        Ok(())
    }

    fn store_cursors(&self) -> Result<(), WriteError> {
        let cursors: Cursors =
            self.shared.cursors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cursors.store(&self.shared.folder).map_err(step("writing the cursors"))
    }

    fn begin_segment(&mut self) -> Result<(), WriteError> {
        let first_leaf = self.tree.size();
        // Recovery may begin with the new segment, so what only the old ones hold of cursors is written down first.
        self.store_cursors()?;
        let folder = self.shared.folder.join(recover::SEGMENTS);
        self.segment = create_segment(&folder, first_leaf).map_err(step("beginning a segment"))?;
        self.segment_len = segment::SEGMENT_HEADER_LEN as u64;
        self.shared.segments.write().unwrap_or_else(PoisonError::into_inner).push(first_leaf);
        Ok(())
    }

    /// Publishes a checkpoint over everything durable. A failure is fatal: whether the new one stands is then unknown, and a second one of another
    /// content must never follow it.
    fn publish(&self) -> Result<(), WriteError> {
        let published = Arc::clone(&self.shared.published.borrow());
        if published.checkpoint.size == self.frontier.size() && !published.note.is_empty() {
            return Ok(());
        }
        self.tree.sync().map_err(step("fsyncing the tree's files"))?;
        let folder = &self.shared.folder;
        self.store_cursors()?;
        let checkpoint = Checkpoint::new(
            published.checkpoint.origin.clone(),
            self.frontier.size(),
            self.frontier.root(),
        );
        let note = checkpoint.sign(&self.signer);
        atomic_file::replace(folder, recover::CHECKPOINT, note.as_bytes())
            .map_err(step("writing the checkpoint"))?;
        self.shared.published.send_replace(Arc::new(Published { checkpoint, note }));
        Ok(())
    }
}

/// Makes an empty segment durable, with its name.
pub(crate) fn create_segment(folder: &std::path::Path, first_leaf: u64) -> io::Result<File> {
    let path: PathBuf = folder.join(segment::file_name(first_leaf));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(&segment::encode_segment_header(first_leaf), 0)?;
    file.sync_all()?;
    atomic_file::sync_folder(folder)?;
    Ok(file)
}

fn now() -> Timestamp {
    Timestamp::after_1970(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn step(step: &'static str) -> impl Fn(io::Error) -> WriteError {
    move |source| WriteError { step, source }
}

enum CommitError {
    Refused(io::Error),
    Fatal(WriteError),
}

impl From<WriteError> for CommitError {
    fn from(failure: WriteError) -> Self {
        Self::Fatal(failure)
    }
}

/// A step after which the writer does not go on. What was acknowledged is durable; opening the log again recovers.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed")]
pub struct WriteError {
    step: &'static str,
    source: io::Error,
}

/// Why a batch was not sealed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// More events than a batch holds.
    #[error("the batch has {events} events: at most {} are sealed at once", Batch::EVENTS_MAX)]
    TooMany {
        /// How many.
        events: usize,
    },
    /// One event too large.
    #[error(
        "an envelope of the batch has {bytes} bytes: at most {} are sealed",
        Envelope::BYTES_MAX
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// All together too large.
    #[error("the batch has {bytes} bytes: at most {BATCH_BYTES_MAX} are sealed at once")]
    BatchTooLarge {
        /// Their size.
        bytes: usize,
    },
    /// Nothing of it was written.
    #[error("the batch could not be written: {0}")]
    Write(String),
    /// The writer has ended; whether the batch was sealed shows when the log is opened again.
    #[error("the ledger has stopped")]
    Stopped,
}
