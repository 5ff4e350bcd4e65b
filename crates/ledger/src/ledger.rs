//! The handle to a log: append, read, prove, erase. It is cheap to clone, and everything that it
//! returns is durable.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use durable::disk::{Disk, RealDisk};
use model::{Envelope, Event, LogId, Timestamp};
use tlog::{Growth, Hash, Pangea, Signer, Subtree, TilePath, TlogProof, TreeSize, VerifierKey};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};
use work::Owner;

#[cfg(feature = "simulation")]
use crate::writer::SteppedWriter;
use crate::{
    batch::{AppendError, Batch, PreparedBatch, Receipt},
    block::Leaf,
    command::Command,
    commits::Commits,
    envelopes::Envelopes,
    erase::{self, EraseError},
    published::Published,
    ranges::LeafRanges,
    recover::{self, OpenError, Signers},
    salts::Salts,
    sealer::Sealer,
    segment::SEGMENT_BYTES_MAX,
    shared::{Erasures, Shared},
    state::{Hold, LogKey},
    stored::{ReadError, StoredEnvelope, StoredEnvelopes},
    writer::{Writer, WriterWork},
};

/// Number of commands that wait for the writer. When the queue is full, callers wait; the log drops
/// nothing.
const QUEUE_BATCHES_MAX: usize = 256;
/// Ranges of leaves in one erasure event. A range takes 40 characters at most, so the text fits the
/// limit of 32,766 characters of a field.
const RANGES_PER_EVENT: usize = 800;

/// An order to erase envelopes.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Leaves whose envelopes are to be erased.
    pub leaves: LeafRanges,
    /// Who orders the erasure.
    pub actor: String,
    /// The reason, as text for the log.
    pub reason: String,
}

/// The result of an erasure.
#[derive(Clone, Debug)]
pub struct Erased {
    /// Leaves of the events that record the erasure.
    pub receipt: Receipt,
    /// Number of envelopes that were erased.
    pub envelopes: u64,
    /// Bytes by which the segments shrank.
    pub freed_bytes: u64,
}

/// Where and how a log is stored.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The disk that holds the log's folder.
    pub disk: Arc<dyn Disk>,
    /// Size in bytes beyond which the writer begins a new segment.
    pub segment_bytes_max: u64,
    /// Whether opening the log accepts leaves beyond the checkpoint for which no MAC of the site's
    /// key vouches.
    pub adopts_tail: bool,
}

impl Default for Storage {
    fn default() -> Self {
        Self::from(Arc::new(RealDisk))
    }
}

impl<D: Disk + 'static> From<Arc<D>> for Storage {
    fn from(disk: Arc<D>) -> Self {
        Self { disk, segment_bytes_max: SEGMENT_BYTES_MAX, adopts_tail: false }
    }
}

/// An open log.
///
/// A handle owns no file. The writer's thread writes everything that grows, and an erasure rewrites
/// closed segments. A handle sends commands and waits for the answers; dropping a future does not
/// take a command back. Reads use what the thread has published and do not ask the thread.
#[derive(Clone, Debug)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    /// The lock on holds and erasures. An order holds it, so what the order has checked is still
    /// true when the order acts.
    ///
    /// [`Ledger::order`] takes it while it holds no other lock. Each step of the order keeps it,
    /// and it is free when the last step has ended, whether or not anyone still waits. An order
    /// holds it while the disk works and while the writer's thread answers; that thread never takes
    /// it.
    erasing: Arc<tokio::sync::Mutex<()>>,
    /// Owns the orders of more than one step and completes them, whether or not anybody waits.
    orders: Owner,
    /// Time at which the site received the newest envelope that the log held when it was opened.
    found_received_at: Option<Timestamp>,
    /// Number of leaves that opening the log accepted without a MAC.
    adopted: u64,
    /// Set when the log is opened; no rotation changes it.
    log_id: LogId,
}

/// The lock on holds and erasures, shared by the steps of one order.
type Erasing = Arc<OwnedMutexGuard<()>>;

impl Ledger {
    /// Opens the log in `folder`, or creates one, and starts its writer. Blocks while it recovers.
    ///
    /// # Errors
    /// The folder does not hold a log of this key, or it is damaged beyond what a crash can cause.
    /// In both cases the folder is unchanged.
    pub fn open(folder: &Path, signers: impl Into<Signers>) -> Result<(Self, Writer), OpenError> {
        Self::open_on(Storage::default(), folder, signers)
    }

    /// As [`Ledger::open`], on another disk or with another segment size.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_on(
        storage: impl Into<Storage>,
        folder: &Path,
        signers: impl Into<Signers>,
    ) -> Result<(Self, Writer), OpenError> {
        let time_and_salts = (clock::now(), Salts::System);
        let (ledger, work) = Self::begin(storage.into(), folder, signers.into(), time_and_salts)?;
        let writer = Writer::start(work, ledger.commands.clone(), ledger.orders.clone())?;
        Ok((ledger, writer))
    }

    /// As [`Ledger::open_on`], with a writer that takes steps when it is told to, and salts that
    /// follow from `seed`.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    #[cfg(feature = "simulation")]
    pub fn open_stepped(
        storage: impl Into<Storage>,
        folder: &Path,
        signers: impl Into<Signers>,
        (now, seed): (Timestamp, u64),
    ) -> Result<(Self, Writer, SteppedWriter), OpenError> {
        let time_and_salts = (now, Salts::Seeded { seed, drawn: 0 });
        let (ledger, work) = Self::begin(storage.into(), folder, signers.into(), time_and_salts)?;
        let (writer, steps) = Writer::stepped(work, ledger.commands.clone(), ledger.orders.clone());
        Ok((ledger, writer, steps))
    }

    /// Opens the log. Nothing does the writer's work yet.
    fn begin(
        Storage { disk, segment_bytes_max, adopts_tail }: Storage,
        folder: &Path,
        signers: Signers,
        time_and_salts: (Timestamp, Salts),
    ) -> Result<(Self, WriterWork), OpenError> {
        let recovered = recover::open(&*disk, folder, signers, adopts_tail)?;
        let adopted = recovered.adopted;
        let envelopes = Envelopes::new(
            Arc::clone(&disk),
            folder.to_owned(),
            recovered.segments.clone(),
            Arc::clone(&recovered.newest),
        );
        let found_received_at = Some(recovered.last_received_at).filter(|at| at.unix_micros() > 0);
        let shared = Arc::new(Shared {
            disk,
            folder: folder.to_owned(),
            vkey: RwLock::new(recovered.signer.vkey().clone()),
            stored: StoredEnvelopes { tree: recovered.tree.reader().clone(), envelopes },
            size: watch::Sender::new(recovered.tree.size().get()),
            published: watch::Sender::new(Arc::new(recovered.published.clone())),
            state: Mutex::new(recovered.state.clone()),
            commits: Commits::new(),
            erasures: Erasures::default(),
        });
        let sealer =
            Sealer::new(recovered, Arc::clone(&shared), segment_bytes_max, time_and_salts)?;
        let (commands, queue) = mpsc::channel(QUEUE_BATCHES_MAX);
        let orders = Owner::default();
        // The genesis entry names the first key. A log that this call created has it by now.
        let first_key = shared.state().keys().first().map(|key| key_history::log_id(&key.vkey));
        let log_id = first_key.ok_or(OpenError::NoGenesis)?;
        let erasing = Arc::default();
        let ledger = Self { commands, shared, erasing, orders, found_received_at, adopted, log_id };
        Ok((ledger, WriterWork::new(sealer, queue)))
    }

    /// Number of leaves without a valid MAC that opening the log accepted because of
    /// [`Storage::adopts_tail`].
    #[must_use]
    pub const fn adopted(&self) -> u64 {
        self.adopted
    }

    /// Time at which an earlier process received the newest envelope that it sealed and that is not
    /// erased. `None` if there is no such envelope.
    #[must_use]
    pub const fn found_received_at(&self) -> Option<Timestamp> {
        self.found_received_at
    }

    /// The owner of the log's orders. Closing the log waits for them.
    #[must_use]
    pub const fn orders(&self) -> &Owner {
        &self.orders
    }

    /// The key that signs this log now.
    #[must_use]
    pub fn vkey(&self) -> VerifierKey {
        self.shared.vkey.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The id of this log.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The keys that have signed this log, in order, each with the leaf that named it.
    #[must_use]
    pub fn keys(&self) -> Vec<LogKey> {
        self.shared.state().keys().to_vec()
    }

    /// Seals a batch. `Ok` promises what [`Receipt`] says. If the caller drops the future, the
    /// batch may or may not be sealed; a batch with a key can be appended again.
    ///
    /// The call waits while 256 commands wait for the thread, and holds no lock meanwhile.
    ///
    /// # Errors
    /// The log refuses the whole batch, or cannot write it.
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        let prepared = PreparedBatch::from_outside(&batch)?;
        // The events take no memory while the batch waits.
        drop(batch);
        self.append_prepared(prepared).await
    }

    /// As [`Ledger::append`], for a caller that keeps the batch to append it again if it could not
    /// be written.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn append_kept(&self, batch: &Batch) -> Result<Receipt, AppendError> {
        self.append_prepared(PreparedBatch::from_outside(batch)?).await
    }

    async fn append_prepared(&self, batch: PreparedBatch) -> Result<Receipt, AppendError> {
        self.ask(|reply| Command::Append { batch, reply }).await?
    }

    /// Publishes a checkpoint over every durable leaf, unless the newest checkpoint covers them.
    ///
    /// Dropping the future takes nothing back: the thread carries out every command that it has
    /// received.
    ///
    /// # Errors
    /// The writer has stopped.
    pub async fn publish_checkpoint(&self) -> Result<Arc<Published>, AppendError> {
        self.ask(|reply| Command::Publish { reply }).await
    }

    /// Changes the log's signing key. Both keys sign the statement of the change. `Ok` says that
    /// the event is durable and that the new key signs from now on. The caller must make the new
    /// key durable first.
    ///
    /// If the future is dropped, either key may sign. [`Ledger::vkey`] is right again once the
    /// thread has answered a later command.
    ///
    /// # Errors
    /// The new key has another name than the log, or the writer did not seal the event. The old key
    /// then continues to sign.
    pub async fn rotate_key(&self, signer: Signer, actor: &str) -> Result<Receipt, AppendError> {
        let actor = actor.to_owned();
        self.ask(|reply| Command::Rotate { signer: Box::new(signer), actor, reply }).await?
    }

    /// Sends a command and waits for the answer. Dropping the future while the queue is full sends
    /// nothing. Dropping it later leaves the thread to carry the command out without a listener.
    async fn ask<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<A>) -> Command,
    ) -> Result<A, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_closed| AppendError::Stopped)?;
        answer.await.map_err(|_closed| AppendError::Stopped)
    }

    /// A channel with the number of durable leaves, which the log updates as it grows.
    #[must_use]
    pub fn watch_size(&self) -> watch::Receiver<u64> {
        self.shared.size.subscribe()
    }

    /// The number of durable leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        *self.shared.size.borrow()
    }

    /// Measurements of the commit groups since the log was opened.
    #[must_use]
    pub fn commits(&self) -> &Commits {
        &self.shared.commits
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        self.shared.published()
    }

    /// A channel with the newest checkpoint, which the log updates at each publication.
    #[must_use]
    pub fn watch_published(&self) -> watch::Receiver<Arc<Published>> {
        self.shared.published.subscribe()
    }

    /// The first leaf that the consumer of this name has not processed.
    #[must_use]
    pub fn cursor(&self, name: &str) -> u64 {
        self.shared.state().cursor(name)
    }

    /// Durable envelopes from leaf `from` on: as many as exist, up to `count_max`, and after the
    /// first one up to `bytes_max` bytes. Each matches its entry in the log. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or its content is not what was sealed.
    pub fn envelopes(
        &self,
        from: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEnvelope>, ReadError> {
        let end = self.size().min(from.saturating_add(count_max as u64));
        self.shared.stored.envelopes(from, end, bytes_max)
    }

    /// The log's entries of `count` durable leaves from `from` on: the commitments of their
    /// envelopes. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn entries(&self, from: u64, count: usize) -> Result<Vec<Hash>, ReadError> {
        self.shared.stored.entries(from, count)
    }

    /// A tile or an entry bundle (C2SP tlog-tiles), or `None` if the tree of the newest checkpoint
    /// does not have it. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, ReadError> {
        self.shared.stored.tile(path, self.published().checkpoint.size)
    }

    /// A proof of the leaf under the newest checkpoint, or `None` if the log has no such leaf.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// No checkpoint covers the leaf yet, or a file cannot be read.
    pub fn prove(&self, leaf: u64) -> Result<Option<TlogProof>, ReadError> {
        let published = self.published();
        match self.shared.stored.prove(leaf, &published)? {
            None if leaf < self.size() => {
                Err(ReadError::NotCovered { leaf, covered: published.checkpoint.size.get() })
            }
            found => Ok(found),
        }
    }

    /// The proof that a later tree extends an earlier one. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or the log is shorter than the later tree.
    pub fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        self.shared.stored.prove_growth(growth)
    }

    /// Root of Pangea's tree over the first `size` leaves. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or the log has fewer than `size` leaves.
    pub fn pangea_root(&self, size: u64) -> Result<Hash, ReadError> {
        let size = TreeSize::new(size);
        tlog::Frontier::<Pangea>::load_subtrees(
            size,
            self.shared.stored.tree.subtrees::<Pangea>(size),
        )
        .map(|frontier| frontier.root())
        .map_err(ReadError::Tree)
    }

    /// Reads roots of subtrees of Pangea's tree over the first `size` durable leaves, from which a
    /// caller makes proofs. The returned closure blocks on the disk at each call.
    ///
    /// The closure fails if a file cannot be read, or if the tree does not contain the whole
    /// subtree.
    pub fn pangea_subtrees(&self, size: u64) -> impl FnMut(Subtree) -> Result<Hash, ReadError> {
        let mut subtrees = self.shared.stored.tree.subtrees::<Pangea>(TreeSize::new(size));
        move |subtree| subtrees(subtree).map_err(ReadError::Tree)
    }

    /// The holds that are in force, by the leaf that placed them.
    #[must_use]
    pub fn holds(&self) -> BTreeMap<u64, Hold> {
        self.shared.state().holds().clone()
    }

    /// Places a hold: the log refuses to erase what the hold covers until it is released.
    ///
    /// Dropping the future ends the waiting, not the order.
    ///
    /// # Errors
    /// The writer did not seal the event.
    pub async fn place_hold(
        &self,
        hold: &Hold,
        actor: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Receipt, AppendError> {
        let window = (hold.from, hold.to);
        let event = Event::hold_placed(actor, &self.origin(), hold.sensor, window, reason, at);
        self.order(async move |ledger, _nothing_is_erased_meanwhile| {
            ledger.seal_log_events(vec![event], 0).await
        })
        .await?
    }

    /// Releases the hold that was placed at a leaf.
    ///
    /// Dropping the future ends the waiting, not the order.
    ///
    /// # Errors
    /// There is no such hold, or the writer did not seal the event.
    pub async fn release_hold(
        &self,
        hold: u64,
        actor: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<Receipt, EraseError> {
        let event = Event::hold_released(actor, &self.origin(), hold, reason, at);
        self.order(async move |ledger, _nothing_is_erased_meanwhile| {
            if !ledger.holds().contains_key(&hold) {
                return Err(EraseError::NoSuchHold { leaf: hold });
            }
            Ok(ledger.seal_log_events(vec![event], 0).await?)
        })
        .await?
    }

    /// Erases envelopes. The log first seals the events that record the erasure, then publishes a
    /// checkpoint that covers them, then rewrites the segments. Every proof stays valid. Blocks on
    /// the disk.
    ///
    /// Dropping the future ends the waiting, not the order. The order holds the lock on holds and
    /// erasures until it has written the segments, so nobody can place a hold on what is being
    /// erased.
    ///
    /// # Errors
    /// A leaf is not in the log, is on hold or holds an event of the log itself; nothing has
    /// happened then. Or a file could not be written: the next erasure or the next start of the log
    /// finishes the work.
    pub async fn erase(&self, erasure: Erasure, at: Timestamp) -> Result<Erased, EraseError> {
        self.order(async move |ledger, holds_stay_as_they_are| {
            let Erasure { leaves, actor, reason } = erasure;
            let looking = ledger.clone();
            let look = move || looking.erasable(&leaves);
            let leaves = blocking(&holds_stay_as_they_are, look).await?;
            let erasure = Erasure { leaves, actor, reason };
            ledger.order_and_erase(&holds_stay_as_they_are, erasure, None, at).await
        })
        .await?
    }

    /// Erases what retention no longer keeps: envelopes of a class of events (an action) that the
    /// site received before `before` and that are not on hold. Returns `None` if there are none.
    /// Blocks on the disk.
    ///
    /// Dropping the future has the effect that [`Ledger::erase`] describes.
    ///
    /// # Errors
    /// As [`Ledger::erase`].
    pub async fn retain(
        &self,
        class: &str,
        before: Timestamp,
        actor: &str,
        at: Timestamp,
    ) -> Result<Option<Erased>, EraseError> {
        let (class, actor) = (class.to_owned(), actor.to_owned());
        self.order(async move |ledger, holds_stay_as_they_are| {
            let (looking, name) = (ledger.clone(), class.clone());
            let look = move || looking.expired(&name, before);
            let (leaves, up_to) = blocking(&holds_stay_as_they_are, look).await?;
            if leaves.is_empty() {
                return Ok(None);
            }
            let reason = format!("retention of {class}: received before {before}");
            let (erasure, retention) =
                (Erasure { leaves, actor, reason }, Some((class.as_str(), up_to)));
            let erased =
                ledger.order_and_erase(&holds_stay_as_they_are, erasure, retention, at).await;
            erased.map(Some)
        })
        .await?
    }

    /// Carries out an order of several steps under the lock on holds and erasures. A caller that
    /// goes away does not interrupt it.
    ///
    /// From the first poll on, the order is a task of `orders` and takes the lock itself. Dropping
    /// this future ends the waiting, not the order, and the next order waits for the work. Only the
    /// end of the runtime stops an order halfway. The next start of the log finishes an erasure if
    /// a checkpoint covers its order.
    async fn order<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        steps: impl FnOnce(Self, Erasing) -> F + Send + 'static,
    ) -> Result<T, AppendError> {
        let ledger = self.clone();
        let order = async move {
            let erasing = Arc::new(Arc::clone(&ledger.erasing).lock_owned().await);
            steps(ledger, erasing).await
        };
        // An order ends early only by a bug, or with the program.
        self.orders.carry_out(order).await.map_err(|_ended| AppendError::Stopped)
    }

    /// The leaves that were derived from these leaves, and so repeat their content. Blocks on the
    /// disk, and reads the log from the first of these leaves to its end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn derived_from(&self, leaves: &LeafRanges) -> Result<LeafRanges, ReadError> {
        let mut derived = LeafRanges::new();
        let from = leaves.iter().next().map_or(0, |range| range.start);
        let read = self.shared.stored.envelopes.read(from, self.size(), |leaf, content| {
            if let Leaf::Envelope(bytes) = content
                && bytes.array_windows().any(|window| window == br#""from_leaf":"#)
                && let Ok(envelope) = Envelope::parse(bytes)
                && let Some(from_leaf) = envelope.event.sealwire.and_then(|own| own.from_leaf)
                && (leaves.contains(from_leaf) || derived.contains(from_leaf))
            {
                derived.push(leaf);
            }
            true
        });
        read.map_err(|source| ReadError::Envelope { leaf: from, source })?;
        Ok(derived)
    }

    /// The steps of an erasure after its leaves were checked. It runs as a part of an order, which
    /// holds the lock and is not cancelled.
    async fn order_and_erase(
        &self,
        erasing: &Erasing,
        Erasure { leaves, actor, reason }: Erasure,
        retention: Option<(&str, u64)>,
        at: Timestamp,
    ) -> Result<Erased, EraseError> {
        let origin = self.origin();
        let events = leaves.chunks(RANGES_PER_EVENT).map(|part| {
            let (text, count) = (part.to_string(), part.count());
            let mut event = Event::envelopes_erased(&actor, &origin, text, count, &reason, at);
            if let (Some((class, to)), Some(detail)) = (retention, event.sealwire.as_mut()) {
                detail.retention = Some(class.to_owned());
                // The events of this order that come later still cover the rest, up to `to`.
                detail.retention_to =
                    Some(if part.end() == leaves.end() { to } else { part.end() });
            }
            event
        });
        let events: Vec<Event> = events.collect();
        let mut receipt: Option<Receipt> = None;
        for batch in events.chunks(Batch::EVENTS_MAX) {
            let part = self.seal_log_events(batch.to_vec(), leaves.end()).await?;
            let whole = receipt.get_or_insert(Receipt { leaves: 0, ..part });
            whole.leaves += part.leaves;
        }
        let receipt = receipt.ok_or(EraseError::Nothing)?;
        let (ledger, envelopes) = (self.clone(), leaves.count());
        let freed_bytes = blocking(erasing, move || {
            let Shared { disk, folder, stored, .. } = &*ledger.shared;
            // Erase everything that was ordered and may still be there, because an earlier erasure
            // may have failed halfway. The writer has published a checkpoint that covers the order.
            let covered = ledger.published().checkpoint.size.get();
            let ordered = ledger.shared.state().ordered_before(covered);
            let is_ending = || ledger.orders.is_ending();
            let freed = erase::erase(&**disk, folder, &stored.envelopes, &ordered, &is_ending);
            // Call them before the erasure counts as done: after a crash the log repeats the
            // erasure and calls them again.
            ledger.shared.erasures.tell();
            freed
        })
        .await?;
        let before = receipt.first_leaf + receipt.leaves;
        self.ask(|reply| Command::Erased { before, reply }).await?;
        Ok(Erased { receipt, envelopes, freed_bytes })
    }

    /// Calls `forget` after each erasure, and at once if opening the log finished an erasure. A
    /// caller that keeps data derived from envelopes removes it then. `forget` may block.
    pub fn after_erasing(&self, forget: impl Fn() + Send + Sync + 'static) {
        self.shared.erasures.after(forget);
    }

    /// The leaves that have an envelope. Refuses if one of them must stay.
    fn erasable(&self, leaves: &LeafRanges) -> Result<LeafRanges, EraseError> {
        let size = self.size();
        if leaves.end() > size {
            return Err(EraseError::NoSuchLeaf { leaf: leaves.end() - 1, size });
        }
        let holds = self.holds();
        let mut present = LeafRanges::new();
        let mut refusal = None;
        for range in leaves.iter() {
            let read =
                self.shared.stored.envelopes.read(range.start, range.end, |leaf, content| {
                    let Leaf::Envelope(bytes) = content else { return true };
                    if is_of_the_log(bytes) {
                        refusal = Some(EraseError::OfTheLog { leaf });
                    } else if let Some(hold) = hold_on(&holds, bytes) {
                        refusal = Some(EraseError::Held { leaf, hold });
                    }
                    present.push(leaf);
                    refusal.is_none()
                });
            read.map_err(EraseError::Read)?;
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if present.is_empty() => Err(EraseError::Nothing),
            None => Ok(present),
        }
    }

    /// The leaves of a class that the site received before a moment and that are not on hold. The
    /// search begins where the last such erasure ended; the second value is the leaf where it
    /// stopped.
    fn expired(&self, class: &str, before: Timestamp) -> Result<(LeafRanges, u64), EraseError> {
        let from = self.shared.state().retained_from(class);
        let before = before.to_string();
        let holds = self.holds();
        let mut expired = LeafRanges::new();
        let mut up_to = from;
        let read = self.shared.stored.envelopes.read(from, self.size(), |leaf, content| {
            if let Leaf::Envelope(bytes) = content {
                if Envelope::received_at_of(bytes).is_some_and(|at| at >= before.as_str()) {
                    return false;
                }
                if Envelope::has_action(bytes, class)
                    && !is_of_the_log(bytes)
                    && hold_on(&holds, bytes).is_none()
                {
                    expired.push(leaf);
                }
            }
            up_to = leaf + 1;
            true
        });
        read.map_err(EraseError::Read)?;
        Ok((expired, up_to))
    }

    async fn seal_log_events(
        &self,
        events: Vec<Event>,
        closed_before: u64,
    ) -> Result<Receipt, AppendError> {
        self.ask(|reply| Command::LogEvents { events, closed_before, reply }).await?
    }

    fn origin(&self) -> String {
        self.vkey().name().as_str().to_owned()
    }
}

fn is_of_the_log(canonical: &[u8]) -> bool {
    model::action::OF_THE_LOG.iter().any(|action| Envelope::has_action(canonical, action))
}

/// The hold that covers an envelope. An envelope that cannot be parsed may be covered, so any hold
/// covers it.
fn hold_on(holds: &BTreeMap<u64, Hold>, canonical: &[u8]) -> Option<u64> {
    if holds.is_empty() {
        return None;
    }
    let envelope = Envelope::parse(canonical).ok();
    let covers = |hold: &Hold| envelope.as_ref().is_none_or(|envelope| hold.covers(envelope));
    holds.iter().find(|(_, hold)| covers(hold)).map(|(leaf, _)| *leaf)
}

/// Runs blocking disk work on a thread of its own, under the lock on holds and erasures.
///
/// Dropping the future leaves the work running. The work has its own share of the lock, which is
/// free only after the work has ended.
async fn blocking<T: Send + 'static>(
    erasing: &Erasing,
    work: impl FnOnce() -> Result<T, EraseError> + Send + 'static,
) -> Result<T, EraseError> {
    work::blocking(Arc::clone(erasing), work)
        .await
        .map_err(|panic| EraseError::Read(io::Error::other(panic)))?
}
