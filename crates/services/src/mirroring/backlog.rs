//! What waits to be mirrored, what is sent next, and what follows from an answer.
//!
//! The backlog does no IO and knows no clock; mirroring drives it. It calls
//! [`poll`](Backlog::poll), does what that says, and reports with one of the `handle_*` functions.
//!
//! One batch is under way at a time, so the server has the events in the log's order. A batch that
//! the server refuses is made smaller, down to the one event that it does not take. That event is
//! parked, and the rest goes on.
//!
//! Invariants:
//! - what is settled is a beginning of the log: a cursor never passes an event that the server has
//!   neither taken nor refused;
//! - a batch is made of the same events again, also after a restart, until the server has answered,
//!   so that a server which knows the request seals it once. Only a batch that was met with silence
//!   [`SILENCES_MAX`] times is split without an answer.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use pangea::{
    RequestId,
    client::{Outcome, Outgoing, Taken},
    request::EVENTS_MAX,
};

/// Bytes of one request. The answer is several times as large, and the component has five seconds
/// for both.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// Events of the first request. The next ones grow while the server answers soon.
const EVENTS_AT_FIRST: usize = 50;
/// A server that takes this long gets no more events at once.
const SLOW: Duration = Duration::from_secs(1);
/// A server that takes this long gets half as many the next time. The component has twice that.
const TOO_SLOW: Duration = Duration::from_secs(2);
/// Times in a row that a request ends without a word, although a host has it, before it is split.
const SILENCES_MAX: u32 = 5;
/// How long events gather before they are sent, counted from the last batch. A batch costs the log
/// an event of its own, and the server a tree; a full one does not wait.
const GATHER: Duration = Duration::from_secs(5);
/// Longest first pause after a failure. Each further failure doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
/// Failures in a row from which on the pause is the longest.
const FAILURES_MAX: u32 = 10;
/// Longest pause after a failure, unless the server asks for more.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a server can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// Pause before a promised answer is asked for.
const PROMISE_PAUSE: Duration = Duration::from_secs(1);
/// Times that a promised answer is asked for, before the request is sent again.
const PROMISE_ASKS_MAX: u32 = 60;
/// Events in a row that are parked although the server named no fault in them. A server that
/// refuses everything without a reason is not asked to refuse the whole log.
const UNNAMED_MAX: u32 = 100;

/// A leaf that waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// An event to send.
    Event {
        /// Its leaf.
        leaf: u64,
        /// The event.
        outgoing: Arc<Outgoing>,
        /// When the site received it, in milliseconds since 1970.
        received_millis: u64,
    },
    /// A leaf that cannot be sent; the text says why.
    Unsendable {
        /// The leaf.
        leaf: u64,
        /// Why it cannot be sent.
        reason: String,
    },
}

impl Entry {
    const fn leaf(&self) -> u64 {
        match self {
            Self::Event { leaf, .. } | Self::Unsendable { leaf, .. } => *leaf,
        }
    }
}

/// What the caller must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Read leaves from this one on, and call [`Backlog::handle_read`].
    Read(u64),
    /// Wait until the log has this leaf.
    Await(u64),
    /// Wait until then.
    Sleep(Instant),
    /// Ask the server, and call [`Backlog::handle_outcome`] or [`Backlog::handle_silence`].
    Ask(Ask),
    /// Seal what became of these leaves, and call [`Backlog::handle_settled`].
    Settle(Settlement),
}

/// What to ask the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ask {
    /// To take the first events of [`Backlog::batch`], this many.
    Log(usize),
    /// For the answer that it promised about them.
    Result {
        /// The number of the events.
        events: usize,
        /// The promised id.
        id: RequestId,
    },
}

/// What became of leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Settlement {
    /// How it ended.
    pub(super) end: End,
    /// The first leaf that is not settled then.
    pub(super) next_leaf: u64,
}

/// How the sending of leaves ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The server has the events of these leaves.
    Taken(Vec<u64>, Taken),
    /// This leaf is left out; the text says why.
    Parked(u64, String),
}

#[derive(Debug)]
enum State {
    /// Nothing is under way.
    Ready,
    /// A batch of this many events is.
    Asking {
        events: usize,
        promise: Option<Promise>,
    },
    Settling(Settlement),
}

#[derive(Clone, Debug)]
struct Promise {
    id: RequestId,
    asks: u32,
}

#[derive(Debug)]
pub(super) struct Backlog {
    /// What is read and not settled, in the log's order.
    entries: VecDeque<Entry>,
    /// The leaf after those that were read.
    read_to: u64,
    state: State,
    /// Most events of the next batch.
    events_max: usize,
    /// Nothing happens before then.
    quiet_until: Option<Instant>,
    /// When events have gathered for long enough.
    gathered_at: Option<Instant>,
    /// How long the last question took.
    took: Duration,
    /// Failures in a row, up to [`FAILURES_MAX`].
    failures: u32,
    /// Questions without a word in a row.
    silences: u32,
    /// Events that were parked in a row without a named fault.
    unnamed: u32,
    /// Why the last question led to nothing; `None` while all is well.
    trouble: Option<String>,
}

impl Backlog {
    /// Begins at the cursor. `under_way` is the number of events of the batch from there on that an
    /// earlier process may have sent.
    pub(super) fn new(cursor: u64, under_way: Option<usize>) -> Self {
        Self {
            entries: VecDeque::new(),
            read_to: cursor,
            state: State::Ready,
            events_max: under_way.unwrap_or(EVENTS_AT_FIRST).clamp(1, EVENTS_MAX),
            quiet_until: None,
            gathered_at: None,
            took: Duration::ZERO,
            failures: 0,
            silences: 0,
            unnamed: 0,
            trouble: None,
        }
    }

    /// The first leaf that is neither taken nor parked, nor left out because it is not mirrored.
    pub(super) fn settled(&self) -> u64 {
        self.entries.front().map_or(self.read_to, Entry::leaf)
    }

    /// Why the last question led to nothing, if it did.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The first `events` events that wait: their leaves, themselves, and the time of the first.
    pub(super) fn batch(&self, events: usize) -> (Vec<u64>, Vec<Arc<Outgoing>>, u64) {
        let (mut leaves, mut batch, mut first_millis) = (Vec::new(), Vec::new(), None);
        for entry in self.entries.iter().take(events) {
            if let Entry::Event { leaf, outgoing, received_millis } = entry {
                leaves.push(*leaf);
                batch.push(Arc::clone(outgoing));
                first_millis.get_or_insert(*received_millis);
            }
        }
        (leaves, batch, first_millis.unwrap_or_default())
    }

    /// What to do now, with a log of this size.
    pub(super) fn poll(&mut self, size: u64, now: Instant) -> Next {
        if let State::Settling(settlement) = &self.state {
            return Next::Settle(settlement.clone());
        }
        if let Some(until) = self.quiet_until {
            if now < until {
                return Next::Sleep(until);
            }
            self.quiet_until = None;
        }
        if let State::Asking { events, promise } = &self.state {
            return Next::Ask(match promise {
                Some(promise) => Ask::Result { events: *events, id: promise.id.clone() },
                None => Ask::Log(*events),
            });
        }
        let is_full = self.entries.len() >= self.events_max;
        if !is_full && self.read_to < size {
            return Next::Read(self.read_to);
        }
        match self.entries.front() {
            None => return Next::Await(self.read_to),
            Some(Entry::Unsendable { leaf, reason }) => {
                let end = End::Parked(*leaf, reason.clone());
                return self.settle(1, end);
            }
            Some(Entry::Event { .. }) => {}
        }
        if let (false, Some(gathered_at)) = (is_full, self.gathered_at)
            && now < gathered_at
        {
            return Next::Sleep(gathered_at);
        }
        self.gathered_at = Some(now + GATHER);
        let events = self.events_in_a_batch();
        self.state = State::Asking { events, promise: None };
        Next::Ask(Ask::Log(events))
    }

    fn events_in_a_batch(&self) -> usize {
        let mut bytes = 0;
        let fits = |entry: &&Entry| match entry {
            Entry::Event { outgoing, .. } => {
                bytes += outgoing.len();
                bytes <= BATCH_BYTES_MAX
            }
            Entry::Unsendable { .. } => false,
        };
        // An event that is larger than a batch goes alone.
        self.entries.iter().take(self.events_max).take_while(fits).count().max(1)
    }

    /// Takes what was read, up to the leaf `read_to`.
    pub(super) fn handle_read(&mut self, entries: Vec<Entry>, read_to: u64) {
        self.entries.extend(entries);
        self.read_to = read_to;
    }

    /// Takes what became of a question that took so long. `chance` is a random number from 0 to 1.
    pub(super) fn handle_outcome(
        &mut self,
        outcome: Outcome,
        took: Duration,
        now: Instant,
        chance: f64,
    ) {
        let State::Asking { events, promise } = &mut self.state else { return };
        let events = *events;
        (self.took, self.silences) = (took, 0);
        match outcome {
            Outcome::Taken(taken) => {
                let (leaves, ..) = self.batch(events);
                self.unnamed = 0;
                self.settle(events, End::Taken(leaves, taken));
            }
            Outcome::Promised(id) => {
                let asks = promise.as_ref().map_or(0, |promise| promise.asks + 1);
                *promise = (asks < PROMISE_ASKS_MAX).then_some(Promise { id, asks });
                self.quiet_until = Some(now + PROMISE_PAUSE);
            }
            Outcome::Refused { at, reason } => {
                *promise = None;
                self.handle_refusal(events, at, reason, now, chance);
            }
            Outcome::Denied(reason) => {
                *promise = None;
                // Nothing but a person can change this, so it is not asked often.
                self.failures = FAILURES_MAX;
                self.pause(reason, None, now, chance);
            }
            Outcome::Away { reason, retry_after } => self.pause(reason, retry_after, now, chance),
        }
    }

    fn handle_refusal(
        &mut self,
        events: usize,
        at: Option<usize>,
        reason: String,
        now: Instant,
        chance: f64,
    ) {
        if events > 1 {
            // What is in front of the event that the server names goes first.
            self.split(match at {
                Some(at) if at < events => at.max(1),
                _ => events / 2,
            });
        } else if at.is_none() && self.unnamed == UNNAMED_MAX {
            self.failures = FAILURES_MAX;
            self.pause(reason, None, now, chance);
        } else {
            self.unnamed = if at.is_none() { self.unnamed + 1 } else { 0 };
            self.settle(1, End::Parked(self.settled(), reason));
        }
    }

    fn split(&mut self, events_max: usize) {
        self.events_max = events_max;
        self.state = State::Ready;
        // These events have gathered already.
        self.gathered_at = None;
    }

    /// A host has the question, and nobody answered in time: the component was stopped, or the
    /// server is slower than the component may be.
    pub(super) fn handle_silence(&mut self, reason: String, now: Instant, chance: f64) {
        self.silences += 1;
        if let State::Asking { events: events @ 2.., .. } = self.state
            && self.silences == SILENCES_MAX
        {
            self.silences = 0;
            self.split(events / 2);
        }
        self.pause(reason, None, now, chance);
    }

    fn pause(&mut self, reason: String, retry_after: Option<Duration>, now: Instant, chance: f64) {
        self.trouble = Some(reason);
        let most = BACK_OFF_MIN.saturating_mul(1 << self.failures).min(BACK_OFF_MAX);
        self.failures = (self.failures + 1).min(FAILURES_MAX);
        // All of the pause is left to chance: sites that a server turned away together do not come
        // back together.
        let pause = most.mul_f64(chance.clamp(0.0, 1.0));
        let asked_for = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.quiet_until = Some(now + pause.max(asked_for));
    }

    fn settle(&mut self, entries: usize, end: End) -> Next {
        let next_leaf = self.entries.get(entries).map_or(self.read_to, Entry::leaf);
        let settlement = Settlement { end, next_leaf };
        self.state = State::Settling(settlement.clone());
        Next::Settle(settlement)
    }

    /// What was to be settled is sealed.
    pub(super) fn handle_settled(&mut self) {
        if let State::Settling(Settlement { next_leaf, .. }) = &self.state {
            while self.entries.front().is_some_and(|entry| entry.leaf() < *next_leaf) {
                self.entries.pop_front();
            }
            self.state = State::Ready;
            self.failures = 0;
            self.trouble = None;
            self.events_max = match self.took {
                took if took >= TOO_SLOW => (self.events_max / 2).max(1),
                took if took >= SLOW => self.events_max,
                _ => (self.events_max * 2).min(EVENTS_MAX),
            };
        }
    }
}

#[cfg(test)]
mod tests;
