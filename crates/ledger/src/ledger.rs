//! The handle to a log: append, read, prove, erase. Cheap to clone; everything it answers is
//! durable.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use durable::disk::{Disk, RealDisk};
use model::{Envelope, Event, Timestamp};
use tlog::{Growth, Hash, Pangea, Signer, Subtree, TilePath, TlogProof, TreeSize, VerifierKey};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};
use work::Owner;

use crate::{
    batch::{AppendError, Batch, PreparedBatch, Receipt},
    block::Leaf,
    command::Command,
    envelopes::Envelopes,
    erase::{self, EraseError},
    published::Published,
    ranges::LeafRanges,
    recover::{self, OpenError, Signers},
    sealer::Sealer,
    segment::SEGMENT_BYTES_MAX,
    shared::{Erasures, Shared},
    state::{Hold, LogKey},
    stored::{ReadError, StoredEnvelope, StoredEnvelopes},
    writer::Writer,
};

/// Batches that wait for the writer. When it is full, whoever appends waits: nothing is dropped.
const QUEUE_BATCHES_MAX: usize = 256;
/// Ranges of leaves in one event of erasure: 40 characters each at most, so that the text fits a
/// field of 32,766.
const RANGES_PER_EVENT: usize = 800;

/// What is to be erased, by whom and why.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Whose envelopes.
    pub leaves: LeafRanges,
    /// Who wants it.
    pub actor: String,
    /// Why, in words for the log.
    pub reason: String,
}

/// What was erased.
#[derive(Clone, Debug)]
pub struct Erased {
    /// Where the events that say so are.
    pub receipt: Receipt,
    /// Number of envelopes.
    pub envelopes: u64,
    /// Bytes by which the segments shrank.
    pub freed_bytes: u64,
}

/// Where a log is kept.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// A new segment is begun when one is larger than this.
    pub segment_bytes_max: u64,
    /// Whether leaves beyond the checkpoint are taken over that no MAC of the site's key vouches
    /// for.
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

/// A log that is open.
///
/// A handle owns nothing that is written. The writer's thread writes everything that grows, and an
/// erasure writes closed segments anew. A handle sends commands and waits for their answers;
/// dropping a future takes no command back. Readers are answered from what the thread has told,
/// without asking it.
#[derive(Clone, Debug)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    /// Held while holds change or envelopes are erased: what one looked at must still be so when it
    /// acts.
    ///
    /// [`Ledger::order`] takes it when no other lock is held. Each step of the order keeps it, and
    /// it is free when the last step has ended, whether or not anyone still waits. It is held while
    /// the disk works and while the writer's thread answers; that thread never takes it.
    erasing: Arc<tokio::sync::Mutex<()>>,
    /// Carries out what has more than one step, whether or not anybody waits for it.
    orders: Owner,
    /// When the newest envelope was received that was there when the log was opened.
    found_received_at: Option<Timestamp>,
    /// Leaves that were taken over when it was opened.
    adopted: u64,
}

/// The lock on holds and erasures, as each step of an order takes it along.
type Erasing = Arc<OwnedMutexGuard<()>>;

impl Ledger {
    /// Opens the log in `folder`, or begins one, and starts its writer. Blocks while it recovers.
    ///
    /// # Errors
    /// What is in the folder is not a log of this key, or is damaged beyond what a crash can do;
    /// nothing is changed then.
    pub fn open(folder: &Path, signers: impl Into<Signers>) -> Result<(Self, Writer), OpenError> {
        Self::open_on(Storage::default(), folder, signers)
    }

    /// The same on another disk, or with segments of another size.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_on(
        storage: impl Into<Storage>,
        folder: &Path,
        signers: impl Into<Signers>,
    ) -> Result<(Self, Writer), OpenError> {
        let Storage { disk, segment_bytes_max, adopts_tail } = storage.into();
        let recovered = recover::open(&*disk, folder, signers.into(), adopts_tail)?;
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
            erasures: Erasures::default(),
        });
        let sealer = Sealer::new(recovered, Arc::clone(&shared), segment_bytes_max)?;
        let (commands, queue) = mpsc::channel(QUEUE_BATCHES_MAX);
        let orders = Owner::default();
        let writer = Writer::start(sealer, queue, commands.clone(), orders.clone())?;
        Ok((
            Self { commands, shared, erasing: Arc::default(), orders, found_received_at, adopted },
            writer,
        ))
    }

    /// Leaves that no MAC vouched for and that were taken over when the log was opened, as
    /// [`Storage::adopts_tail`] asked.
    #[must_use]
    pub const fn adopted(&self) -> u64 {
        self.adopted
    }

    /// When the newest envelope was received that an earlier process sealed and that is not erased;
    /// `None` where there is none.
    #[must_use]
    pub const fn found_received_at(&self) -> Option<Timestamp> {
        self.found_received_at
    }

    /// Owns what the log is ordered: closing the log waits for it.
    #[must_use]
    pub const fn orders(&self) -> &Owner {
        &self.orders
    }

    /// The key that signs this log now.
    #[must_use]
    pub fn vkey(&self) -> VerifierKey {
        self.shared.vkey.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys that have signed this log, in order, each with the leaf that named it.
    #[must_use]
    pub fn keys(&self) -> Vec<LogKey> {
        self.shared.state().keys().to_vec()
    }

    /// Seals a batch. `Ok` promises what [`Receipt`] says. Cancelling leaves open whether the batch
    /// was sealed; with a key it can be asked again.
    ///
    /// While 256 commands wait for the thread, it waits too, and holds nothing.
    ///
    /// # Errors
    /// The batch is refused whole, or could not be written.
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        let batch = PreparedBatch::from_outside(batch)?;
        self.ask(|reply| Command::Append { batch, reply }).await?
    }

    /// Publishes a checkpoint over everything that is durable, unless there is one.
    ///
    /// Cancelling takes nothing back: the thread carries out a command that it has.
    ///
    /// # Errors
    /// The writer has stopped.
    pub async fn publish_checkpoint(&self) -> Result<Arc<Published>, AppendError> {
        self.ask(|reply| Command::Publish { reply }).await
    }

    /// Has the log go over to another key, which both sign. `Ok` says that the event is durable and
    /// the new key signs from now on; whoever calls has made the new key durable before.
    ///
    /// Cancelling leaves open which key signs. [`Ledger::vkey`] says it once the thread has
    /// answered a later command.
    ///
    /// # Errors
    /// The new key has another name than the log, or the event was not sealed; the old key goes on
    /// then.
    pub async fn rotate_key(&self, signer: Signer, actor: &str) -> Result<Receipt, AppendError> {
        let actor = actor.to_owned();
        self.ask(|reply| Command::Rotate { signer: Box::new(signer), actor, reply }).await?
    }

    /// Sends a command and waits for the answer. Cancelled while the queue is full, it sends
    /// nothing. Cancelled later, the thread carries the command out, and nobody hears the answer.
    async fn ask<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<A>) -> Command,
    ) -> Result<A, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_closed| AppendError::Stopped)?;
        answer.await.map_err(|_closed| AppendError::Stopped)
    }

    /// The number of durable leaves, now and as it grows.
    #[must_use]
    pub fn watch_size(&self) -> watch::Receiver<u64> {
        self.shared.size.subscribe()
    }

    /// The number of durable leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        *self.shared.size.borrow()
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        self.shared.published()
    }

    /// The newest checkpoint, now and as it changes.
    #[must_use]
    pub fn watch_published(&self) -> watch::Receiver<Arc<Published>> {
        self.shared.published.subscribe()
    }

    /// The first leaf that the consumer of this name has not dealt with.
    #[must_use]
    pub fn cursor(&self, name: &str) -> u64 {
        self.shared.state().cursor(name)
    }

    /// Durable envelopes from leaf `from` on: as many as there are, up to `count_max` and, after
    /// the first, up to `bytes_max`. Each is what the log's entry says, or the answer is an error.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else than was sealed.
    pub fn envelopes(
        &self,
        from: u64,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEnvelope>, ReadError> {
        let end = self.size().min(from.saturating_add(count_max as u64));
        self.shared.stored.envelopes(from, end, bytes_max)
    }

    /// The log's entries of `count` durable leaves from `from` on: their envelopes' commitments.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn entries(&self, from: u64, count: usize) -> Result<Vec<Hash>, ReadError> {
        self.shared.stored.entries(from, count)
    }

    /// A tile or an entry bundle, if the newest checkpoint's tree has it. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, ReadError> {
        self.shared.stored.tile(path, self.published().checkpoint.size)
    }

    /// A proof of the leaf under the newest checkpoint; `None` where the log has no such leaf.
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
    /// A file cannot be read, or the log is not that long.
    pub fn prove_growth(&self, growth: Growth) -> Result<Vec<Hash>, ReadError> {
        self.shared.stored.prove_growth(growth)
    }

    /// Root of Pangea's tree over the first `size` leaves. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or the log is not that long.
    pub fn pangea_root(&self, size: u64) -> Result<Hash, ReadError> {
        let size = TreeSize::new(size);
        tlog::Frontier::<Pangea>::load_subtrees(
            size,
            self.shared.stored.tree.subtrees::<Pangea>(size),
        )
        .map(|frontier| frontier.root())
        .map_err(ReadError::Tree)
    }

    /// Reads roots of subtrees of Pangea's tree over the first `size` durable leaves, of which
    /// proofs in it are made. Each call blocks on the disk.
    ///
    /// The reader fails where a file cannot be read, or the tree does not have the whole of a
    /// subtree.
    pub fn pangea_subtrees(&self, size: u64) -> impl FnMut(Subtree) -> Result<Hash, ReadError> {
        let mut subtrees = self.shared.stored.tree.subtrees::<Pangea>(TreeSize::new(size));
        move |subtree| subtrees(subtree).map_err(ReadError::Tree)
    }

    /// The holds that stand, by the leaf that placed them.
    #[must_use]
    pub fn holds(&self) -> BTreeMap<u64, Hold> {
        self.shared.state().holds().clone()
    }

    /// Places a hold: what it covers is not erased until it is released.
    ///
    /// Cancelling ends the waiting, not the order.
    ///
    /// # Errors
    /// The event was not sealed.
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

    /// Ends the hold that was placed at a leaf.
    ///
    /// Cancelling ends the waiting, not the order.
    ///
    /// # Errors
    /// There is no such hold, or the event was not sealed.
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

    /// Erases envelopes: first the events that say so are sealed, then a checkpoint that covers
    /// them is published, then the segments are written anew. Every proof holds as before. Blocks
    /// on the disk.
    ///
    /// Cancelling ends the waiting, not the order. The lock on holds and erasures is held until the
    /// segments are written: no hold is placed on what is being erased.
    ///
    /// # Errors
    /// A leaf is not in the log, on hold or of the log itself; nothing has happened then. Or a file
    /// could not be written: the next erasure or the next start finishes it.
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

    /// Erases what retention no longer keeps: envelopes of a class of events (an action) that were
    /// received before a moment and are not on hold. `None` where there is nothing. Blocks on the
    /// disk.
    ///
    /// Cancelling is as in [`Ledger::erase`].
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

    /// Carries out an order of several steps, which nobody's going away interrupts: holds and
    /// erasures stay as the order finds them until it has ended.
    ///
    /// From the first poll on, the order is a task of `orders` and takes the lock itself. Dropping
    /// this future ends the waiting, not the order, and the next order waits for the work. Only the
    /// end of the runtime stops an order halfway. The next start of the log finishes an erasure
    /// whose order a checkpoint covers.
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

    /// What was derived from these leaves: it says what they say. Blocks on the disk, and reads the
    /// log from the first of them to its end.
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

    /// The steps of an erasure after its leaves were looked at. It runs as a part of an order,
    /// which holds the lock and is not cancelled.
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
                // What earlier events of this order left to the later ones is not dealt with yet.
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
            // Everything that was ordered and may still be there: an erasure before this one may
            // have failed half-way. The writer has published a checkpoint that covers the order.
            let covered = ledger.published().checkpoint.size.get();
            let ordered = ledger.shared.state().ordered_before(covered);
            let is_ending = || ledger.orders.is_ending();
            let freed = erase::erase(&**disk, folder, &stored.envelopes, &ordered, &is_ending);
            // Before the erasure counts as done: after a crash it is done again, and they are told
            // again.
            ledger.shared.erasures.tell();
            freed
        })
        .await?;
        let before = receipt.first_leaf + receipt.leaves;
        self.ask(|reply| Command::Erased { before, reply }).await?;
        Ok(Erased { receipt, envelopes, freed_bytes })
    }

    /// Has `forget` called each time envelopes were erased, and at once if opening the log finished
    /// an erasure: whoever keeps something that may tell what they said removes it then. It is
    /// called where it may block.
    pub fn after_erasing(&self, forget: impl Fn() + Send + Sync + 'static) {
        self.shared.erasures.after(forget);
    }

    /// Those of the leaves that have an envelope, if none of them must stay.
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

    /// The leaves of a class that were received before a moment and are not on hold, from where the
    /// last such erasure ended; and up to where they were looked for.
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

/// The hold on an envelope. One that cannot be read is not known to be free, so it is held by any.
fn hold_on(holds: &BTreeMap<u64, Hold>, canonical: &[u8]) -> Option<u64> {
    if holds.is_empty() {
        return None;
    }
    let envelope = Envelope::parse(canonical).ok();
    let covers = |hold: &Hold| envelope.as_ref().is_none_or(|envelope| hold.covers(envelope));
    holds.iter().find(|(_, hold)| covers(hold)).map(|(leaf, _)| *leaf)
}

/// Runs what waits for the disk where waiting harms nobody, under the lock on holds and erasures.
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
