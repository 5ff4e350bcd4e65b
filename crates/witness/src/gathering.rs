//! A state machine that gathers cosignatures for a log's checkpoints.
//!
//! Witnesses must sign the same checkpoint, and the log grows while they are asked. So the work
//! goes in rounds. A round takes the newest checkpoint and asks every witness that is not away
//! about it. As soon as their cosignatures make the policy's quorum, the round publishes the
//! checkpoint; it adds cosignatures that come later. The next round begins when there is a newer
//! checkpoint, [`ROUND_PERIOD`] is over, and either the quorum is complete or no witness is left in
//! this round that could complete it. A witness that does not answer is away. It is not asked for a
//! while, which doubles with each failure, and the other witnesses continue without it.
//!
//! The driver calls `handle_*` with each event and its time, carries out the actions of
//! [`Gathering::poll_action`] until there are no more, and calls again at
//! [`Gathering::poll_timeout`].
//!
//! Invariants: a witness has at most one request at a time. Every published checkpoint satisfies
//! the policy, and its size never goes back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tlog::{Checkpoint, Policy, SignedNote, TreeSize};

use crate::client::{Answer, AskError};

/// Shortest time between two rounds. It is half the rate that a public witness allows by default,
/// one request a second (witness network, 86,400 a day).
const ROUND_PERIOD: Duration = Duration::from_secs(2);
/// Pause after the first failure of a witness.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// Longest pause: a witness that is back is used within a minute.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Longest pause that a witness can ask for itself.
const RETRY_AFTER_ASKED_MAX: Duration = Duration::from_secs(600);
/// Number of rate-limit answers in a row after which a witness counts as away. One such answer only
/// sets the rate at which the log then asks it.
const TOO_OFTEN_MAX: u32 = 3;
/// Number of times in a round that a witness may name another size. The first answer tells a size
/// that the log did not know; a second means that another program asks for the same log.
const CONFLICTS_MAX: u32 = 2;

/// Gathers cosignatures for one log under one policy.
#[derive(Debug)]
pub struct Gathering {
    policy: Policy,
    peers: Vec<Peer>,
    newest: Option<Newest>,
    round: Option<Round>,
    actions: VecDeque<Action>,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Action {
    /// Ask a witness, and pass the answer to [`Gathering::handle_answer`].
    Ask(Ask),
    /// Publish this checkpoint: it satisfies the policy.
    Publish(Witnessed),
    /// Report that a witness is away. It comes once until the witness is back.
    Away {
        /// Name of the witness in the policy.
        witness: String,
        /// The failure that made the witness count as away.
        failure: AskError,
    },
    /// Report that a witness is back.
    Back {
        /// Name of the witness in the policy.
        witness: String,
    },
}

/// A request to a witness about one checkpoint.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Index of the witness, for [`Gathering::handle_answer`].
    pub peer: usize,
    /// The witness's submission prefix (C2SP tlog-witness).
    pub url: String,
    /// Size of the last tree that the witness cosigned, as far as the log knows.
    pub old_size: TreeSize,
    /// Size of the checkpoint's tree.
    pub size: TreeSize,
    /// The checkpoint's note, as the log signed it.
    pub checkpoint: SignedNote,
}

/// A checkpoint that satisfies the policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witnessed {
    /// Size of the checkpoint's tree.
    pub size: TreeSize,
    /// The checkpoint's note with the cosignatures.
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
    /// The checkpoint's note with the cosignatures so far.
    cosigned: SignedNote,
    begun: Instant,
    is_satisfied: bool,
}

/// A witness with a URL, and what the log knows of it.
#[derive(Debug)]
struct Peer {
    /// Index of the witness in the policy.
    witness: usize,
    name: String,
    url: String,
    /// Size of the last tree that the witness cosigned, as far as the log knows. A request with
    /// size 0 makes the witness tell its size.
    known: TreeSize,
    is_busy: bool,
    /// Whether the witness has nothing more to add to this round.
    is_done: bool,
    conflicts: u32,
    /// Number of failures since the last success.
    failures: u32,
    /// Whether [`Action::Away`] was issued for the witness.
    is_away: bool,
    not_before: Option<Instant>,
}

impl Gathering {
    /// Gathers from the witnesses of this policy that have a URL.
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

    /// Handles a newer checkpoint of the log.
    pub fn handle_checkpoint(&mut self, size: TreeSize, note: SignedNote, now: Instant) {
        self.newest = Some(Newest { size, note });
        self.go_on(now);
    }

    /// Handles a witness's answer to the request about the checkpoint of this size, or its failure.
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

    /// Handles the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.go_on(now);
    }

    /// The next action for the driver.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Time at which to call [`Gathering::handle_timeout`], unless another event comes first.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let round = self.round.as_ref()?;
        // As long as the quorum depends on an answer, that answer ends the round, not the time.
        let ends_by_time = round.is_satisfied || !self.peers.iter().any(|peer| peer.is_busy);
        let next_round = (ends_by_time && self.is_newer(round)).then(|| round.begun + ROUND_PERIOD);
        let waiting = self.peers.iter().filter(|peer| !peer.is_busy && !peer.is_done);
        waiting.filter_map(|peer| peer.not_before).chain(next_round).min()
    }

    /// Adds a witness's signature lines to the round, and publishes if the quorum is complete.
    fn take(&mut self, peer: usize, size: TreeSize, lines: &str) -> Result<(), AskError> {
        let Some(peer) = self.peers.get_mut(peer) else { return Ok(()) };
        peer.known = size;
        let Some(round) = self.round.as_mut().filter(|round| round.newest.size == size) else {
            // The answer is too late for its round. The witness is asked again in this round.
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

    /// Notes that a witness has another size than the log assumed.
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

    /// Begins a round if one is due, and asks every witness that may be asked.
    fn go_on(&mut self, now: Instant) {
        if let Some(newest) = self.newest.clone()
            && self.round.as_ref().is_none_or(|round| self.is_over(round, now))
        {
            let cosigned = newest.note.clone();
            self.round = Some(Round { newest, cosigned, begun: now, is_satisfied: false });
            for peer in &mut self.peers {
                (peer.is_done, peer.conflicts) = (false, 0);
            }
            // The policy may require no witness at all.
            self.publish();
        }
        let Some(round) = &self.round else { return };
        for (index, peer) in
            self.peers.iter_mut().enumerate().filter(|(_, peer)| peer.may_be_asked(now))
        {
            // The witness has cosigned a later checkpoint, so it waits for the next round.
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

    /// Publishes the round's checkpoint if it satisfies the policy.
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

    /// How long not to ask the witness after this failure.
    fn patience(&self, failure: &AskError) -> Duration {
        if let AskError::TooOften { retry_after } = failure {
            return (*retry_after).clamp(RETRY_AFTER_MIN, RETRY_AFTER_ASKED_MAX);
        }
        RETRY_AFTER_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_AFTER_MAX)
    }
}

impl Witnessed {
    /// Parses a note's checkpoint and checks that the note satisfies the policy. `None` if either
    /// fails.
    #[must_use]
    pub fn open(note: SignedNote, policy: &Policy) -> Option<(Checkpoint, Self)> {
        policy.check(&note).ok()?;
        let checkpoint = Checkpoint::parse(note.unverified_text()).ok()?;
        Some((checkpoint.clone(), Self { size: checkpoint.size, note }))
    }
}
