//! Decides what is asked of which host, so that what is wanted runs. It does no IO: heartbeats,
//! answers and the time go in, questions and changes come out.
//!
//! A host works on one order after the other and answers nothing meanwhile. So each host has at
//! most one start or stop under way, and a silent host that is busy is not a lost one: it is lost
//! when the bus says that nobody hears its questions. Every second the bus itself is asked, too.
//! Silence of a host means something only if the bus has spoken since the question.
//!
//! - **Invariant:** while the bus is away, and for [`SETTLE`] after it came back, no host is
//!   declared lost and no running workload is stopped.
//! - **Invariant:** what may not be started is asked of no host, and replaces nothing that runs.
//! - **Invariant:** a replica is stopped only while those that replace it are known to run on hosts
//!   that answer, or if none is wanted any more.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    heartbeat::{Heartbeat, HostId},
    host::Host,
    question::{Answer, Asked, Question, State, Ticket},
    standing::{HostStanding, Standing, WorkloadStanding},
    workload::{Deployment, InstanceId, Replicas},
};

/// Time between two questions to an idle host, and to the bus. With the time for an answer and
/// [`MISSES_MAX`], a dead or stuck host is noticed within four seconds.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause after the bus has said that nobody hears a host. A host that reconnects needs some.
const NOBODY_PAUSE: Duration = Duration::from_millis(250);
/// Questions in a row without an answer after which a host is lost. A loaded host may miss one.
const MISSES_MAX: u32 = 3;
/// Questions to the bus in a row without an answer after which it is away.
const BUS_MISSES_MAX: u32 = 2;
/// Time after the bus came back during which nothing is concluded from silence, and nothing is
/// stopped. A host tries to reconnect at least every four seconds.
pub const SETTLE: Duration = Duration::from_secs(10);
/// Hosts of a lattice. Heartbeats of further ones are ignored.
const HOSTS_MAX: usize = 64;
/// Most of them with one name. Somebody with the file of one host can send heartbeats of as many
/// as they like.
const HOSTS_OF_NAME_MAX: usize = 8;
/// Workloads that were wanted once and are stopped wherever they are found. Beyond that, the
/// oldest are forgotten.
const FORMER_MAX: usize = 64;

/// A change among the hosts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A host is there that was not, or that was lost.
    Joined {
        /// The host's id.
        id: HostId,
        /// The host's name.
        name: String,
    },
    /// A host does not answer any more.
    Lost {
        /// The host's id.
        id: HostId,
        /// The host's name.
        name: String,
    },
}

/// What is known about the way to the hosts.
#[derive(Debug)]
struct Bus {
    /// The question that is under way.
    asked: Option<Ticket>,
    /// When the next one is due.
    due: Instant,
    misses: u32,
    /// When anything was last heard.
    heard_at: Instant,
    /// Since when it answers.
    back_at: Instant,
}

impl Bus {
    const fn is_away(&self) -> bool {
        self.misses >= BUS_MISSES_MAX
    }

    fn is_settled(&self, now: Instant) -> bool {
        !self.is_away() && now >= self.back_at + SETTLE
    }
}

/// What a question under way is about.
#[derive(Debug)]
struct UnderWay {
    at: Instant,
    question: Question,
}

/// Decides what is asked of which host.
#[derive(Debug)]
pub struct Reconciler {
    wanted: BTreeMap<InstanceId, Deployment>,
    /// What was wanted, with its name. The oldest is in front.
    former: VecDeque<(InstanceId, String)>,
    hosts: BTreeMap<HostId, Host>,
    bus: Bus,
    under_way: BTreeMap<Ticket, UnderWay>,
    tickets: u64,
    changes: VecDeque<Change>,
}

impl Reconciler {
    /// A reconciler that wants nothing and knows no host.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let bus = Bus { asked: None, due: now, misses: 0, heard_at: now, back_at: now };
        Self {
            wanted: BTreeMap::new(),
            former: VecDeque::new(),
            hosts: BTreeMap::new(),
            bus,
            under_way: BTreeMap::new(),
            tickets: 0,
            changes: VecDeque::new(),
        }
    }

    /// From now on these deployments are wanted, and no other.
    pub fn want(&mut self, deployments: impl IntoIterator<Item = Deployment>, now: Instant) {
        let wanted: BTreeMap<_, _> =
            deployments.into_iter().map(|it| (it.workload.instance_id(), it)).collect();
        let before = std::mem::replace(&mut self.wanted, wanted);
        let gone = before.into_iter().map(|(id, it)| (id, it.workload.name.clone()));
        self.former.extend(gone);
        self.former.retain(|(id, _)| !self.wanted.contains_key(id));
        self.former.drain(..self.former.len().saturating_sub(FORMER_MAX));
        let (wanted, former) = (&self.wanted, &self.former);
        for host in self.hosts.values_mut() {
            host.replicas
                .retain(|id, _| wanted.contains_key(id) || former.iter().any(|(it, _)| it == id));
            host.look_at = host.look_at.min(now);
        }
    }

    /// A host says that it is there.
    pub fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now: Instant) {
        self.hear(now);
        let id = heartbeat.id.clone();
        if let Some(host) = self.hosts.get_mut(&id) {
            host.misses = 0;
        } else if self.hosts.len() < HOSTS_MAX && self.of_name(&id) < HOSTS_OF_NAME_MAX {
            let name = heartbeat.name.clone();
            self.changes.push_back(Change::Joined { id: id.clone(), name });
            self.hosts.insert(id, Host::new(heartbeat, now));
        }
    }

    /// The connection to the bus was lost and is back.
    pub fn handle_reconnected(&mut self, now: Instant) {
        self.doubt();
        (self.bus.misses, self.bus.back_at) = (0, now);
    }

    /// Takes what came of a question.
    pub fn handle_answer(&mut self, ticket: Ticket, answer: Answer, now: Instant) {
        let Some(UnderWay { at, question }) = self.under_way.remove(&ticket) else { return };
        if !matches!(answer, Answer::Silence | Answer::Forbidden(_)) {
            self.hear(now);
        }
        let (host_id, id) = match &question {
            Question::Bus => {
                self.bus.asked = None;
                if matches!(answer, Answer::Silence) {
                    self.bus.misses += 1;
                    if self.bus.misses == BUS_MISSES_MAX {
                        self.doubt();
                    }
                }
                return;
            }
            Question::Status(host, id)
            | Question::Start(host, id, ..)
            | Question::Stop(host, id) => (host, id),
        };
        // The host may be lost meanwhile, and even be back.
        let Some(host) = self.hosts.get_mut(host_id).filter(|host| host.takes(ticket)) else {
            return;
        };
        let was_free = host.order.is_none() && matches!(question, Question::Status(..));
        host.release(ticket);
        match answer {
            Answer::Is(state, words) => {
                host.misses = 0;
                match question {
                    Question::Start(..) => host.has_started(id, state, words, now),
                    Question::Stop(..) => host.doubt(id),
                    Question::Status(..) | Question::Bus => host.learn(id, state, now),
                }
                host.look_at =
                    if host.knows_all(&self.wanted, &self.former) { now + PERIOD } else { now };
                return;
            }
            Answer::Forbidden(why) => return host.must_not_start(id, why, now),
            Answer::Nobody => host.look_at = now + NOBODY_PAUSE,
            // The question took its time.
            Answer::Silence => host.look_at = now,
        }
        if !matches!(question, Question::Status(..)) {
            host.doubt(id);
        }
        let counts = match answer {
            Answer::Silence => was_free && self.bus.heard_at > at,
            Answer::Nobody | Answer::Is(..) | Answer::Forbidden(_) => true,
        };
        if !counts || !self.bus.is_settled(now) {
            return;
        }
        host.misses += 1;
        if host.misses >= MISSES_MAX {
            let host_id = host_id.clone();
            if let Some(Host { name, .. }) = self.hosts.remove(&host_id) {
                self.changes.push_back(Change::Lost { id: host_id, name });
            }
        }
    }

    /// What is to be asked now. Call it after every input, and at [`next_timeout`].
    ///
    /// [`next_timeout`]: Self::next_timeout
    pub fn questions(&mut self, now: Instant) -> Vec<Asked> {
        let mut asked = Vec::new();
        if self.bus.asked.is_none() && now >= self.bus.due {
            self.bus.due = now + PERIOD;
            let question = self.ask(Question::Bus, now);
            self.bus.asked = Some(question.ticket);
            asked.push(question);
        }
        if self.bus.is_away() {
            return asked;
        }
        let hosts: Vec<HostId> = self.hosts.keys().cloned().collect();
        for host_id in hosts {
            let Some(host) = self.hosts.get(&host_id) else { continue };
            if host.order.is_none()
                && host.misses == 0
                && let Some(question) = self.order(&host_id, host, now)
            {
                let question = self.ask(question, now);
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    host.give(&question, now);
                }
                asked.push(question);
            }
            let Some(host) = self.hosts.get(&host_id) else { continue };
            if host.look.is_none() && now >= host.look_at {
                let id = host.next_look(&self.wanted, &self.former);
                let question = self.ask(Question::Status(host_id.clone(), id.clone()), now);
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    (host.look, host.looked_at) = (Some(question.ticket), Some(id));
                }
                asked.push(question);
            }
        }
        asked
    }

    /// When [`questions`](Self::questions) is to be called again, if nothing is heard before.
    #[must_use]
    pub fn next_timeout(&self) -> Instant {
        let looks = self.hosts.values().filter(|host| host.look.is_none()).map(|host| host.look_at);
        let looks = looks.filter(|_| !self.bus.is_away());
        let bus = self.bus.asked.is_none().then_some(self.bus.due);
        looks.chain(bus).min().unwrap_or(self.bus.due + PERIOD)
    }

    /// The next change among the hosts that nobody was told of.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// What runs where, as far as it is known.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let hosts = self.hosts.iter().map(|(id, host)| HostStanding {
            id: id.clone(),
            name: host.name.clone(),
            group: host.group.clone(),
            answers: host.misses == 0 && !self.bus.is_away(),
        });
        let workloads = self.wanted.iter().map(|(id, deployment)| {
            let on = |(host_id, host): (&HostId, &Host)| host.runs(id).then(|| host_id.clone());
            let mut troubles = self.hosts.values().filter_map(|host| host.trouble(id));
            WorkloadStanding {
                id: id.clone(),
                name: deployment.workload.name.clone(),
                runs_on: self.hosts.iter().filter_map(on).collect(),
                is_satisfied: self.is_satisfied(id, deployment),
                trouble: troubles.next().map(String::from),
                is_forbidden: self.hosts.values().any(|host| host.is_forbidden(id)),
            }
        });
        Standing { hosts: hosts.collect(), workloads: workloads.collect() }
    }

    fn hear(&mut self, now: Instant) {
        if self.bus.is_away() {
            self.bus.back_at = now;
        }
        (self.bus.misses, self.bus.heard_at) = (0, now);
    }

    /// Forgets what is known about the hosts. What is under way means nothing any more.
    fn doubt(&mut self) {
        for host in self.hosts.values_mut() {
            host.doubt_all();
        }
    }

    fn ask(&mut self, question: Question, now: Instant) -> Asked {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.under_way.insert(ticket, UnderWay { at: now, question: question.clone() });
        Asked { ticket, question }
    }

    /// What a host that is free is to start or to stop now.
    fn order(&self, host_id: &HostId, host: &Host, now: Instant) -> Option<Question> {
        let start =
            self.wanted.iter().find(|(id, it)| self.is_to_start(id, it, host_id, host, now));
        if let Some((id, deployment)) = start {
            let workload = Arc::clone(&deployment.workload);
            let registry = host.registry.clone();
            return Some(Question::Start(host_id.clone(), id.clone(), workload, registry));
        }
        let wanted = self.wanted.iter();
        let superfluous = wanted
            .filter(|(id, it)| self.is_superfluous(id, it, host_id, host, now))
            .map(|(id, _)| id);
        let former = self.former.iter();
        let replaced = former
            .filter(|(id, name)| self.is_replaced(id, name, (host_id, host), now))
            .map(|(id, _)| id);
        let id = superfluous.chain(replaced).find(|id| host.may_stop(id, now))?;
        Some(Question::Stop(host_id.clone(), id.clone()))
    }

    fn is_to_start(
        &self,
        id: &InstanceId,
        deployment: &Deployment,
        host_id: &HostId,
        host: &Host,
        now: Instant,
    ) -> bool {
        if !deployment.is_for(host_id, &host.group) || !host.may_start(id, now) {
            return false;
        }
        let Replicas::Number(number) = deployment.replicas else { return true };
        // One of which nothing is known may run: it is counted until it has been asked.
        let holding = self.group(deployment).filter(|(_, host)| host.may_hold(id)).count();
        let lacking = usize::from(number.get()).saturating_sub(holding);
        let mut candidates: Vec<_> = self
            .group(deployment)
            .filter(|(_, host)| host.misses == 0 && host.may_start(id, now))
            .map(|(host_id, host)| (host.order.is_some(), host.load(), host_id))
            .collect();
        candidates.sort_unstable();
        candidates.iter().take(lacking).any(|(_, _, candidate)| *candidate == host_id)
    }

    /// Whether a replica of a workload that is wanted is not to be on this host, or blocks its own
    /// next start.
    fn is_superfluous(
        &self,
        id: &InstanceId,
        deployment: &Deployment,
        host_id: &HostId,
        host: &Host,
        now: Instant,
    ) -> bool {
        let is_here = deployment.is_for(host_id, &host.group);
        match host.state(id) {
            Some(State::Failed) => !is_here || host.may_try(id, now),
            Some(State::Running) if !self.bus.is_settled(now) => false,
            Some(State::Running) if !is_here => self.is_satisfied(id, deployment),
            Some(State::Running) => {
                let Replicas::Number(number) = deployment.replicas else { return false };
                let mut running: Vec<_> = self
                    .group(deployment)
                    .filter(|(_, host)| host.runs(id))
                    .map(|(host_id, host)| (host.since(id), host_id))
                    .collect();
                running.sort_unstable();
                running.iter().skip(number.get().into()).any(|(_, it)| *it == host_id)
            }
            Some(State::Absent | State::Starting | State::Stopping) | None => false,
        }
    }

    /// Whether a workload that was wanted once is not needed on this host any more.
    fn is_replaced(
        &self,
        id: &InstanceId,
        name: &str,
        (host_id, host): (&HostId, &Host),
        now: Instant,
    ) -> bool {
        let mut successors = self.wanted.iter().filter(|(_, it)| it.workload.name == name);
        let runs = matches!(host.state(id), Some(State::Running | State::Failed));
        runs && self.bus.is_settled(now)
            && successors.all(|(id, it)| match it.replicas {
                Replicas::EveryHost if it.is_for(host_id, &host.group) => host.runs(id),
                Replicas::EveryHost | Replicas::Number(_) => self.is_satisfied(id, it),
            })
    }

    /// Whether as many replicas run as are wanted, or as there are hosts for.
    fn is_satisfied(&self, id: &InstanceId, deployment: &Deployment) -> bool {
        let hosts = self.group(deployment).count();
        let wanted = match deployment.replicas {
            Replicas::EveryHost => hosts,
            Replicas::Number(number) => hosts.min(number.get().into()),
        };
        self.group(deployment).filter(|(_, host)| host.runs(id)).count() >= wanted.max(1)
    }

    /// Hosts of the same name, of which at most one lives unless somebody plays tricks.
    fn of_name(&self, id: &HostId) -> usize {
        self.hosts.keys().filter(|it| it.name() == id.name()).count()
    }

    fn group<'a>(
        &'a self,
        deployment: &'a Deployment,
    ) -> impl Iterator<Item = (&'a HostId, &'a Host)> {
        self.hosts.iter().filter(|(id, host)| deployment.is_for(id, &host.group))
    }
}
