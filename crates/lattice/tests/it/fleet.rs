//! A simulated fleet: hosts that work on one order after the other, as stock hosts do, and a bus
//! between them and a reconciler.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use engine::HostKind;
use lattice::{
    Answer, Asked, Change, Deployment, Heartbeat, HostId, InstanceId, Question, Reconciler, SETTLE,
    State, Ticket, Workload,
};

/// Step of the simulation.
pub(crate) const STEP: Duration = Duration::from_millis(50);
/// Time between two heartbeats of a host.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Time after which the bus closes the connection of a host that answers no ping.
const STALE: Duration = Duration::from_secs(6);
/// Time that a host needs for its first words after a loss of the connection.
const RECONNECT: Duration = Duration::from_secs(3);
/// What the reconciler may need to notice that the bus is away.
const NOTICE: Duration = Duration::from_millis(3_100);

/// A machine that runs one host process after the other.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) process: Option<Process>,
    started: u32,
    /// Starts that fail from now on.
    pub(crate) failing: u32,
}

#[derive(Debug)]
pub(crate) struct Process {
    id: HostId,
    pub(crate) workloads: BTreeMap<InstanceId, State>,
    queue: VecDeque<(Ticket, Question)>,
    /// The order it works on, and when that is done.
    working: Option<(Ticket, Question, Instant)>,
    frozen_at: Option<Instant>,
    reachable_at: Instant,
    heartbeat_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) now: Instant,
    pub(crate) reconciler: Reconciler,
    pub(crate) machines: Vec<Machine>,
    /// Since when the bus is away, or when it came back.
    bus_away: bool,
    bus_changed_at: Instant,
    /// Whether the connection was made anew, which the reconciler has not been told.
    is_reconnected: bool,
    /// Questions whose outcome the reconciler waits for, and when that is silence.
    waiting: BTreeMap<Ticket, Instant>,
    /// Answers on their way back.
    answers: Vec<(Ticket, Answer)>,
    /// Answers that get lost, of those to come.
    losing: u32,
    /// When the last one got lost.
    lost_at: Instant,
    /// What stopped to answer lately, and what ran there.
    gone: Vec<(Instant, Vec<InstanceId>)>,
    wanted: Vec<Deployment>,
    wanted_at: Instant,
    /// Which workloads may not be started.
    pub(crate) forbids: fn(&Workload) -> bool,
    pub(crate) lost: Vec<String>,
}

impl Fleet {
    /// Machines of these groups, each with a running host.
    pub(crate) fn new(groups: &[&str]) -> Self {
        let now = Instant::now();
        let machines = groups.iter().enumerate().map(|(index, group)| Machine {
            name: format!("m{index}"),
            group: (*group).to_owned(),
            process: None,
            started: 0,
            failing: 0,
        });
        let mut fleet = Self {
            now,
            reconciler: Reconciler::new(now),
            machines: machines.collect(),
            bus_away: false,
            bus_changed_at: now,
            is_reconnected: false,
            waiting: BTreeMap::new(),
            answers: Vec::new(),
            losing: 0,
            lost_at: now,
            gone: Vec::new(),
            wanted: Vec::new(),
            wanted_at: now,
            forbids: |_workload| false,
            lost: Vec::new(),
        };
        for index in 0..groups.len() {
            fleet.start(index);
        }
        fleet
    }

    pub(crate) fn want(&mut self, wanted: Vec<Deployment>) {
        self.reconciler.want(wanted.clone(), self.now);
        (self.wanted, self.wanted_at) = (wanted, self.now);
    }

    /// Starts a host process on a machine that has none.
    pub(crate) fn start(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        if machine.process.is_none() {
            machine.started += 1;
            let id =
                HostId::new(HostKind::Site, &machine.name, &machine.started.to_string()).unwrap();
            machine.process = Some(Process {
                id,
                workloads: BTreeMap::new(),
                queue: VecDeque::new(),
                working: None,
                frozen_at: None,
                reachable_at: self.now,
                heartbeat_at: self.now,
            });
        }
    }

    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(process) = self.machines[index].process.take() {
            self.gone.push((self.now, process.running().cloned().collect()));
        }
    }

    pub(crate) fn freeze(&mut self, index: usize) {
        let now = self.now;
        if let Some(process) = &mut self.machines[index].process {
            process.frozen_at.get_or_insert(now);
            self.gone.push((now, process.running().cloned().collect()));
        }
    }

    pub(crate) fn thaw(&mut self, index: usize) {
        let now = self.now;
        if let Some(process) = &mut self.machines[index].process
            && let Some(frozen_at) = process.frozen_at.take()
        {
            if now > frozen_at + STALE {
                process.reachable_at = now + RECONNECT;
            }
            process.heartbeat_at = process.heartbeat_at.max(process.reachable_at);
        }
    }

    pub(crate) fn bus(&mut self, is_away: bool) {
        if self.bus_away != is_away {
            (self.bus_away, self.bus_changed_at) = (is_away, self.now);
            self.is_reconnected |= !is_away;
            if !is_away {
                for process in self.machines.iter_mut().filter_map(|it| it.process.as_mut()) {
                    process.reachable_at = self.now + RECONNECT;
                    process.heartbeat_at = process.heartbeat_at.max(process.reachable_at);
                }
            }
        }
    }

    /// Loses these next answers, unless some were lost lately: a host that answers and is not heard
    /// three times in a row is lost.
    pub(crate) fn lose(&mut self, answers: u32) {
        if self.losing == 0 && self.now > self.lost_at + SETTLE {
            self.losing = answers;
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        for machine in &mut self.machines {
            let Some(process) = &mut machine.process else { continue };
            if process.frozen_at.is_some() {
                continue;
            }
            while let Some(answer) = process.work(now, &mut machine.failing) {
                if !self.bus_away && process.reachable_at <= now {
                    if self.losing > 0 {
                        (self.losing, self.lost_at) = (self.losing - 1, now);
                    } else {
                        self.answers.push(answer);
                    }
                }
            }
            if process.heartbeat_at <= now {
                process.heartbeat_at = now + HEARTBEAT;
                if !self.bus_away && process.reachable_at <= now {
                    let (id, name, group) =
                        (process.id.clone(), machine.name.clone(), machine.group.clone());
                    let registry = String::from("127.0.0.1:5000");
                    let heartbeat = Heartbeat { id, name, group, registry };
                    self.reconciler.handle_heartbeat(heartbeat, now);
                }
            }
        }
        for (ticket, answer) in std::mem::take(&mut self.answers) {
            // Who has given up does not hear a late answer.
            if self.waiting.remove(&ticket).is_some() {
                self.reconciler.handle_answer(ticket, answer, now);
            }
        }
        let silent: Vec<Ticket> =
            self.waiting.iter().filter(|(_, until)| **until <= now).map(|(it, _)| *it).collect();
        for ticket in silent {
            self.waiting.remove(&ticket);
            self.reconciler.handle_answer(ticket, Answer::Silence, now);
        }
        self.gone.retain(|(at, _)| *at + NOTICE * 3 > now);
        if std::mem::take(&mut self.is_reconnected) {
            self.reconciler.handle_reconnected(now);
        }
        for asked in self.reconciler.questions(now) {
            self.check(&asked.question);
            match &asked.question {
                Question::Start(_, _, workload, _) if (self.forbids)(workload) => {
                    let why = Answer::Forbidden(String::from("a reason"));
                    self.reconciler.handle_answer(asked.ticket, why, now);
                }
                _ => self.deliver(asked),
            }
        }
        while let Some(change) = self.reconciler.poll_change() {
            if let Change::Lost { id, name } = change {
                self.check_lost(&id);
                self.lost.push(name);
            }
        }
        assert!(self.reconciler.next_timeout() <= now + Duration::from_secs(2));
    }

    fn deliver(&mut self, Asked { ticket, question }: Asked) {
        self.waiting.insert(ticket, self.now + question.patience());
        if self.bus_away {
            return;
        }
        let (Question::Status(host, _) | Question::Start(host, ..) | Question::Stop(host, _)) =
            &question
        else {
            self.answers.push((ticket, Answer::Nobody));
            return;
        };
        let now = self.now;
        let mut processes = self.machines.iter_mut().filter_map(|it| it.process.as_mut());
        let is_stale = |frozen_at: Instant| now > frozen_at + STALE;
        match processes.find(|process| process.id == *host) {
            Some(process)
                if process.reachable_at <= now && !process.frozen_at.is_some_and(is_stale) =>
            {
                process.queue.push_back((ticket, question));
            }
            _ => self.answers.push((ticket, Answer::Nobody)),
        }
    }

    /// Holds a question against what the reconciler promises.
    fn check(&self, question: &Question) {
        let Question::Stop(host, id) = question else { return };
        let machine =
            self.machines.iter().find(|it| it.process.as_ref().is_some_and(|it| it.id == *host));
        let state = machine.and_then(|it| it.process.as_ref()?.workloads.get(id).copied());
        if state != Some(State::Running) {
            return;
        }
        // Nothing is stopped while the bus is away, or soon after.
        let since = self.now - self.bus_changed_at;
        let is_in_time = if self.bus_away { since <= NOTICE } else { since >= SETTLE };
        assert!(is_in_time, "{id} is stopped {since:?} after a change of the bus");
        // Nothing is stopped before its successors run.
        let name = id.to_string();
        let name = name.rsplit_once('-').unwrap().0;
        for successor in self.wanted.iter().filter(|it| it.workload.name == name) {
            let wanted = successor.workload.instance_id();
            let hosts = self.machines.iter().filter(|it| it.group == successor.group);
            let running = hosts
                .filter_map(|it| it.process.as_ref())
                .filter(|it| it.id != *host || wanted != *id)
                .filter(|it| it.running().any(|it| *it == wanted))
                .count();
            let gone = self.gone.iter().filter(|(_, ran)| ran.contains(&wanted)).count();
            assert!(running + gone > 0, "{id} is stopped although nothing replaces it");
        }
    }

    fn check_lost(&self, id: &HostId) {
        assert!(
            !self.bus_away || self.now - self.bus_changed_at <= NOTICE,
            "{id} is declared lost while the bus is away"
        );
        let process = self.machines.iter().filter_map(|it| it.process.as_ref());
        let is_well = process
            .filter(|it| it.id == *id && it.frozen_at.is_none())
            .any(|it| it.reachable_at + Duration::from_secs(1) < self.now && it.working.is_none());
        assert!(!is_well, "{id} is declared lost although it answers");
    }

    /// What runs on which machine, of hosts that are not frozen.
    pub(crate) fn running(&self) -> Vec<(String, String)> {
        let mut running = Vec::new();
        for machine in &self.machines {
            let Some(process) = machine.process.as_ref().filter(|it| it.frozen_at.is_none()) else {
                continue;
            };
            for id in process.running() {
                running.push((id.to_string(), machine.name.clone()));
            }
        }
        running
    }

    /// Everything that hosts have, whether it runs or not.
    pub(crate) fn held(&self) -> usize {
        let processes = self.machines.iter().filter_map(|it| it.process.as_ref());
        processes.map(|it| it.workloads.len()).sum()
    }

    /// How many of the hosts of a group are alive.
    pub(crate) fn alive(&self, group: &str) -> usize {
        self.machines.iter().filter(|it| it.group == group && it.process.is_some()).count()
    }
}

impl Process {
    pub(crate) fn running(&self) -> impl Iterator<Item = &InstanceId> {
        let running = self.workloads.iter().filter(|(_, state)| **state == State::Running);
        running.map(|(id, _)| id)
    }

    /// Works on the next question, if it is done with the one before. Returns an answer.
    fn work(&mut self, now: Instant, failing: &mut u32) -> Option<(Ticket, Answer)> {
        if self.working.is_none() {
            let (ticket, question) = self.queue.pop_front()?;
            let takes = match question {
                Question::Start(..) => Duration::from_millis(700),
                Question::Stop(..) => Duration::from_millis(200),
                Question::Status(..) | Question::Bus => Duration::ZERO,
            };
            self.working = Some((ticket, question, now + takes));
        }
        let (ticket, question, _) = self.working.take_if(|(_, _, done)| *done <= now)?;
        let state = match question {
            Question::Start(_, id, ..) => {
                // The host keeps the id of what failed, and refuses one that it has.
                let state = if self.workloads.contains_key(&id) || *failing > 0 {
                    State::Failed
                } else {
                    State::Running
                };
                *failing = failing.saturating_sub(1);
                self.workloads.entry(id).or_insert(state);
                state
            }
            Question::Stop(_, id) => match self.workloads.remove(&id) {
                Some(_) => State::Stopping,
                None => State::Absent,
            },
            Question::Status(_, id) => self.workloads.get(&id).copied().unwrap_or(State::Absent),
            Question::Bus => unreachable!("no host is asked this"),
        };
        Some((ticket, Answer::Is(state, String::from("words"))))
    }
}
