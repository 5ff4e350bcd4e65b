//! A host, as far as the reconciler knows it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    heartbeat::Heartbeat,
    question::{Asked, Question, State, Ticket},
    workload::{Deployment, InstanceId},
};

/// First pause before a host is to start again what it did not start. Each further failure doubles
/// it.
const RETRY_MIN: Duration = Duration::from_secs(2);
/// Longest pause before such a start. What fails at each start costs a pull and a compilation.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Pause before it is looked again whether a workload may be started that may not be. That costs no
/// more than reading a few signatures, and whoever has just signed an image waits for it.
const FORBIDDEN_PAUSE: Duration = Duration::from_secs(2);
/// Pause before a host is told again to stop what still runs.
const STOP_AGAIN: Duration = Duration::from_secs(2);
/// One workload on one host.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    /// How it is; `None` until the host has said so.
    state: Option<State>,
    /// Since when it is known to run.
    since: Option<Instant>,
    /// When it may be started again, and the pause after the next failure.
    retry: Option<(Instant, Duration)>,
    /// When it may be stopped again.
    stop_after: Option<Instant>,
    /// Why it did not start, in the host's words, or why it may not.
    trouble: Option<String>,
    /// Whether it may not be started.
    is_forbidden: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) group: String,
    /// From where it pulls.
    pub(crate) registry: String,
    pub(crate) replicas: BTreeMap<InstanceId, Replica>,
    /// The start or stop that is under way.
    pub(crate) order: Option<Ticket>,
    /// What is being started.
    starting: Option<InstanceId>,
    /// The question after a status that is under way.
    pub(crate) look: Option<Ticket>,
    /// When the next one is due.
    pub(crate) look_at: Instant,
    /// What the last one was about.
    pub(crate) looked_at: Option<InstanceId>,
    /// Questions in a row that it did not answer.
    pub(crate) misses: u32,
}

type Wanted = BTreeMap<InstanceId, Deployment>;
type Former = VecDeque<(InstanceId, String)>;

impl Host {
    pub(crate) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        let Heartbeat { id: _, name, group, registry } = heartbeat;
        Self {
            name,
            group,
            registry,
            replicas: BTreeMap::new(),
            order: None,
            starting: None,
            look: None,
            look_at: now,
            looked_at: None,
            misses: 0,
        }
    }

    pub(crate) fn state(&self, id: &InstanceId) -> Option<State> {
        self.replicas.get(id)?.state
    }

    /// Whether it is known to run here, on a host that answers.
    pub(crate) fn runs(&self, id: &InstanceId) -> bool {
        self.misses == 0 && self.state(id) == Some(State::Running)
    }

    pub(crate) fn since(&self, id: &InstanceId) -> Option<Instant> {
        self.replicas.get(id)?.since
    }

    pub(crate) fn trouble(&self, id: &InstanceId) -> Option<&str> {
        self.replicas.get(id)?.trouble.as_deref()
    }

    /// Whether it may not be started, as far as is known.
    pub(crate) fn is_forbidden(&self, id: &InstanceId) -> bool {
        self.replicas.get(id).is_some_and(|replica| replica.is_forbidden)
    }

    /// Whether it may run here, or soon will.
    pub(crate) fn may_hold(&self, id: &InstanceId) -> bool {
        let is_held = matches!(self.state(id), None | Some(State::Running | State::Starting));
        is_held || self.starting.as_ref() == Some(id)
    }

    pub(crate) fn may_start(&self, id: &InstanceId, now: Instant) -> bool {
        self.state(id) == Some(State::Absent) && self.may_try(id, now)
    }

    pub(crate) fn may_try(&self, id: &InstanceId, now: Instant) -> bool {
        let retry = self.replicas.get(id).and_then(|replica| replica.retry);
        retry.is_none_or(|(at, _)| now >= at)
    }

    pub(crate) fn may_stop(&self, id: &InstanceId, now: Instant) -> bool {
        let after = self.replicas.get(id).and_then(|replica| replica.stop_after);
        after.is_none_or(|at| now >= at)
    }

    /// The workloads that it runs or is starting.
    pub(crate) fn load(&self) -> usize {
        let held =
            |replica: &&Replica| matches!(replica.state, Some(State::Running | State::Starting));
        self.replicas.values().filter(held).count() + usize::from(self.starting.is_some())
    }

    pub(crate) fn takes(&self, ticket: Ticket) -> bool {
        self.order == Some(ticket) || self.look == Some(ticket)
    }

    pub(crate) fn release(&mut self, ticket: Ticket) {
        if self.order == Some(ticket) {
            (self.order, self.starting) = (None, None);
        } else {
            self.look = None;
        }
    }

    /// Notes that a start or stop is under way.
    pub(crate) fn give(&mut self, asked: &Asked, now: Instant) {
        self.order = Some(asked.ticket);
        match &asked.question {
            Question::Start(_, id, ..) => self.starting = Some(id.clone()),
            Question::Stop(_, id) => {
                let replica = self.replicas.entry(id.clone()).or_default();
                replica.stop_after = Some(now + STOP_AGAIN);
                replica.state = Some(State::Stopping);
            }
            Question::Bus | Question::Status(..) => {}
        }
    }

    pub(crate) fn learn(&mut self, id: &InstanceId, state: State, now: Instant) {
        // What a question says that was asked beside an order may be from before it.
        if self.order.is_some() {
            return;
        }
        let replica = self.replicas.entry(id.clone()).or_default();
        replica.state = Some(state);
        if state == State::Running {
            replica.since.get_or_insert(now);
            (replica.retry, replica.trouble, replica.is_forbidden) = (None, None, false);
        } else {
            replica.since = None;
        }
    }

    pub(crate) fn has_started(
        &mut self,
        id: &InstanceId,
        state: State,
        words: String,
        now: Instant,
    ) {
        if matches!(state, State::Running | State::Starting) {
            return self.learn(id, state, now);
        }
        // Whether the host keeps its id, a status will say.
        self.doubt(id);
        let replica = self.replicas.entry(id.clone()).or_default();
        let pause = replica.retry.map_or(RETRY_MIN, |(_, pause)| pause);
        replica.retry = Some((now + pause, (pause * 2).min(RETRY_MAX)));
        (replica.trouble, replica.is_forbidden) = (Some(words), false);
    }

    /// Notes that a workload may not be started. The host knows nothing of it.
    pub(crate) fn must_not_start(&mut self, id: &InstanceId, why: String, now: Instant) {
        let replica = self.replicas.entry(id.clone()).or_default();
        replica.retry = Some((now + FORBIDDEN_PAUSE, RETRY_MIN));
        (replica.trouble, replica.is_forbidden) = (Some(why), true);
    }

    pub(crate) fn doubt(&mut self, id: &InstanceId) {
        if let Some(replica) = self.replicas.get_mut(id) {
            (replica.state, replica.since) = (None, None);
        }
    }

    pub(crate) fn doubt_all(&mut self) {
        (self.order, self.starting, self.look, self.misses) = (None, None, None, 0);
        for replica in self.replicas.values_mut() {
            (replica.state, replica.since) = (None, None);
        }
    }

    pub(crate) fn knows_all(&self, wanted: &Wanted, former: &Former) -> bool {
        ids(wanted, former).all(|id| self.state(id).is_some())
    }

    /// The workload to ask about next: one of which nothing is known, or else the one after the
    /// last. A host that is to run nothing is asked, too.
    pub(crate) fn next_look(&self, wanted: &Wanted, former: &Former) -> InstanceId {
        let unknown = ids(wanted, former).find(|id| self.state(id).is_none());
        let after = |id: &&InstanceId| self.looked_at.as_ref().is_none_or(|last| *id > last);
        let next = || ids(wanted, former).filter(after).min();
        let first = || ids(wanted, former).min();
        unknown.or_else(next).or_else(first).cloned().unwrap_or_else(InstanceId::of_nothing)
    }
}

fn ids<'a>(wanted: &'a Wanted, former: &'a Former) -> impl Iterator<Item = &'a InstanceId> {
    wanted.keys().chain(former.iter().map(|(id, _)| id))
}
