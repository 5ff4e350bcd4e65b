//! How a log comes by a checkpoint that enough witnesses have cosigned: a state machine.
//!
//! Witnesses must sign the same checkpoint, and the log grows while they are asked. So it goes in
//! rounds: a round takes the newest checkpoint, every witness that is not away is asked about it,
//! and as soon as their cosignatures make the policy's quorum, the checkpoint is published;
//! cosignatures that come later are added to it. The next round begins when there is a newer
//! checkpoint, [`ROUND_PERIOD`] is over, and either the quorum is there or nobody is left in this
//! round from whom it could come. A witness that does not answer is away, is left alone for a while
//! that doubles, and keeps nobody from going on without it.
//!
//! Whoever drives it calls `handle_*` with what happened and when, carries out
//! [`Gathering::poll_action`] until it has nothing more, and comes back at
//! [`Gathering::poll_timeout`].
//!
//! Invariants: a witness is asked one thing at a time. What is published satisfies the policy, and
//! its size never goes back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tlog::{Checkpoint, Policy, SignedNote, TreeSize};

use crate::client::{Answer, AskError};

/// Shortest time between two rounds: half as often as the default of a public witness allows, one
/// request a second (witness network, 86,400 a day).
const ROUND_PERIOD: Duration = Duration::from_secs(2);
/// How long a witness is left alone after its first failure.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// How long at most: a witness that is back is used within a minute.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How long at most where the witness itself says how long.
const RETRY_AFTER_ASKED_MAX: Duration = Duration::from_secs(600);
/// How often in a row a witness may ask to be left alone before that counts as being away: once is
/// its rate, which it is then asked at.
const TOO_OFTEN_MAX: u32 = 3;
/// How often in a round a witness may name another size: once is what one does not know, twice is
/// another program that asks for the same log.
const CONFLICTS_MAX: u32 = 2;

/// Gathers cosignatures.
#[derive(Debug)]
pub struct Gathering {
    policy: Policy,
    peers: Vec<Peer>,
    newest: Option<Newest>,
    round: Option<Round>,
    actions: VecDeque<Action>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Ask a witness, and tell [`Gathering::handle_answer`].
    Ask(Ask),
    /// Make this known: it satisfies the policy.
    Publish(Witnessed),
    /// Say that a witness is away; once, until it is back.
    Away {
        /// Its name in the policy.
        witness: String,
        /// What happened.
        failure: AskError,
    },
    /// Say that it is back.
    Back {
        /// Its name in the policy.
        witness: String,
    },
}

/// A witness to be asked about a checkpoint.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which witness, for [`Gathering::handle_answer`].
    pub peer: usize,
    /// Its submission prefix.
    pub url: String,
    /// The size that it cosigned last, as far as is known.
    pub old_size: TreeSize,
    /// The checkpoint's size.
    pub size: TreeSize,
    /// The checkpoint, as the log signed it.
    pub checkpoint: SignedNote,
}

/// A checkpoint that satisfies the policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witnessed {
    /// Its size.
    pub size: TreeSize,
    /// The note, with the cosignatures.
    pub note: SignedNote,
}

#[derive(Clone, Debug)]
struct Newest {
    size: TreeSize,
    note: SignedNote,
}

#[derive(Debug)]
struct Round {
    newest: Newest,
    /// The note and the cosignatures so far.
    cosigned: SignedNote,
    begun: Instant,
    is_satisfied: bool,
}

/// A witness that can be asked.
#[derive(Debug)]
struct Peer {
    /// Its place in the policy.
    witness: usize,
    name: String,
    url: String,
    /// The size that it cosigned last, as far as is known. 0 asks for it.
    known: TreeSize,
    is_busy: bool,
    /// It has nothing more to say in this round.
    is_done: bool,
    conflicts: u32,
    /// Failures since it last answered.
    failures: u32,
    /// It was said to be away.
    is_away: bool,
    not_before: Option<Instant>,
}

impl Gathering {
    /// For the witnesses of this policy that have a URL.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let peers = policy.witnesses().iter().enumerate().filter_map(|(witness, known)| {
            Some(Peer {
                witness,
                name: known.name.clone(),
                url: known.url.clone()?,
                known: TreeSize::EMPTY,
                is_busy: false,
                is_done: false,
                conflicts: 0,
                failures: 0,
                is_away: false,
                not_before: None,
            })
        });
        let peers = peers.collect();
        Self { policy, peers, newest: None, round: None, actions: VecDeque::new() }
    }

    /// The log has a newer checkpoint.
    pub fn handle_checkpoint(&mut self, size: TreeSize, note: SignedNote, now: Instant) {
        self.newest = Some(Newest { size, note });
        self.go_on(now);
    }

    /// A witness answered what it was asked about the checkpoint of this size, or did not.
    pub fn handle_answer(
        &mut self,
        peer: usize,
        size: TreeSize,
        answer: Result<Answer, AskError>,
        now: Instant,
    ) {
        let Some(asked) = self.peers.get_mut(peer) else { return };
        asked.is_busy = false;
        let taken = match answer {
            Ok(Answer::Cosigned(lines)) => self.take(peer, size, &lines),
            Ok(Answer::Conflict(recorded)) => self.conflict(peer, recorded),
            Err(failure) => Err(failure),
        };
        let Some(asked) = self.peers.get_mut(peer) else { return };
        match taken {
            Ok(()) => {
                asked.failures = 0;
                if std::mem::take(&mut asked.is_away) {
                    self.actions.push_back(Action::Back { witness: asked.name.clone() });
                }
            }
            Err(failure) => {
                asked.not_before = Some(now + asked.patience(&failure));
                asked.failures = asked.failures.saturating_add(1);
                let is_outage = !matches!(failure, AskError::TooOften { .. })
                    || asked.failures >= TOO_OFTEN_MAX;
                if is_outage && !asked.is_away {
                    asked.is_away = true;
                    let witness = asked.name.clone();
                    self.actions.push_back(Action::Away { witness, failure });
                }
            }
        }
        self.go_on(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.go_on(now);
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Gathering::handle_timeout`], if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let round = self.round.as_ref()?;
        // Where the quorum still depends on an answer, it is that answer which ends the round.
        let ends_by_time = round.is_satisfied || !self.peers.iter().any(|peer| peer.is_busy);
        let next_round = (ends_by_time && self.is_newer(round)).then(|| round.begun + ROUND_PERIOD);
        let waiting = self.peers.iter().filter(|peer| !peer.is_busy && !peer.is_done);
        waiting.filter_map(|peer| peer.not_before).chain(next_round).min()
    }

    /// Takes a witness's lines into the round, and publishes where that is enough.
    fn take(&mut self, peer: usize, size: TreeSize, lines: &str) -> Result<(), AskError> {
        let Some(peer) = self.peers.get_mut(peer) else { return Ok(()) };
        peer.known = size;
        let Some(round) = self.round.as_mut().filter(|round| round.newest.size == size) else {
            // Too late for its round; it is asked again in this one.
            return Ok(());
        };
        let key = self.policy.cosigners().get(peer.witness).map(std::slice::from_ref);
        if round.cosigned.merge(lines, key.unwrap_or_default()).is_empty() {
            return Err(AskError::NoCosignature);
        }
        peer.is_done = true;
        self.publish();
        Ok(())
    }

    /// A witness has another size than was thought.
    fn conflict(&mut self, peer: usize, recorded: TreeSize) -> Result<(), AskError> {
        let size = self.newest.as_ref().map_or(TreeSize::EMPTY, |newest| newest.size);
        if recorded > size {
            return Err(AskError::Ahead { recorded, size });
        }
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.known = recorded;
            peer.conflicts += 1;
            peer.is_done = peer.conflicts > CONFLICTS_MAX;
        }
        Ok(())
    }

    /// Begins a round where one is due, and asks whom there is to ask.
    fn go_on(&mut self, now: Instant) {
        if let Some(newest) = self.newest.clone()
            && self.round.as_ref().is_none_or(|round| self.is_over(round, now))
        {
            let cosigned = newest.note.clone();
            self.round = Some(Round { newest, cosigned, begun: now, is_satisfied: false });
            for peer in &mut self.peers {
                (peer.is_done, peer.conflicts) = (false, 0);
            }
            // A policy may want no witness at all.
            self.publish();
        }
        let Some(round) = &self.round else { return };
        for (index, peer) in
            self.peers.iter_mut().enumerate().filter(|(_, peer)| peer.may_be_asked(now))
        {
            // It has cosigned a later checkpoint: it waits for the next round.
            if peer.known > round.newest.size {
                peer.is_done = true;
                continue;
            }
            peer.is_busy = true;
            peer.not_before = None;
            self.actions.push_back(Action::Ask(Ask {
                peer: index,
                url: peer.url.clone(),
                old_size: peer.known,
                size: round.newest.size,
                checkpoint: round.newest.note.clone(),
            }));
        }
    }

    fn is_newer(&self, round: &Round) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.size > round.newest.size)
    }

    /// Whether the next round may begin.
    fn is_over(&self, round: &Round, now: Instant) -> bool {
        let hopes = self.peers.iter().any(|peer| peer.is_busy || peer.may_be_asked(now));
        self.is_newer(round) && now >= round.begun + ROUND_PERIOD && (round.is_satisfied || !hopes)
    }

    /// Publishes the round's checkpoint, if the policy is satisfied.
    fn publish(&mut self) {
        let Some(round) = &mut self.round else { return };
        if self.policy.check(&round.cosigned).is_ok() {
            round.is_satisfied = true;
            let Round { newest: Newest { size, .. }, cosigned: note, .. } = round;
            let witnessed = Witnessed { size: *size, note: note.clone() };
            self.actions.push_back(Action::Publish(witnessed));
        }
    }
}

impl Peer {
    fn may_be_asked(&self, now: Instant) -> bool {
        !self.is_busy && !self.is_done && self.not_before.is_none_or(|at| at <= now)
    }

    /// How long the witness is left alone after this failure.
    fn patience(&self, failure: &AskError) -> Duration {
        if let AskError::TooOften { retry_after } = failure {
            return (*retry_after).clamp(RETRY_AFTER_MIN, RETRY_AFTER_ASKED_MAX);
        }
        RETRY_AFTER_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_AFTER_MAX)
    }
}

impl Witnessed {
    /// What it says, and that it satisfies the policy; `None` if it does not.
    #[must_use]
    pub fn open(note: SignedNote, policy: &Policy) -> Option<(Checkpoint, Self)> {
        policy.check(&note).ok()?;
        let checkpoint = Checkpoint::parse(note.unverified_text()).ok()?;
        Some((checkpoint.clone(), Self { size: checkpoint.size, note }))
    }
}
