//! The promises, one by one and under random scripts.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use lattice::{Component, Deployment, Replicas, Workload};
use proptest::prelude::*;

use crate::fleet::Fleet;

/// Time after which whatever was done to a fleet is mended: a lost host names itself after 15 s,
/// what failed several times is tried again after a minute, and nothing is stopped for 10 s.
const MENDED: Duration = Duration::from_secs(180);

fn deployment(name: &str, version: u16, replicas: Replicas, group: &str) -> Deployment {
    let image = format!("sealwire/{name}@sha256:{version}");
    let workload = Workload::new(name, vec![Component::new(name, image, &[])], vec![]);
    Deployment { workload: Arc::new(workload), replicas, group: group.to_owned() }
}

fn number(number: u16) -> Replicas {
    Replicas::Number(NonZeroU16::new(number).unwrap())
}

/// Fails unless exactly what is wanted runs.
#[track_caller]
fn assert_runs(fleet: &Fleet, wanted: &[Deployment]) {
    let running = fleet.running();
    let mut expected = 0;
    for deployment in wanted {
        let id = deployment.workload.instance_id().to_string();
        let on: Vec<_> = running.iter().filter(|(it, _)| *it == id).collect();
        let alive = fleet.alive(&deployment.group);
        let count = match deployment.replicas {
            Replicas::EveryHost => alive,
            Replicas::Number(number) => alive.min(number.get().into()),
        };
        assert_eq!(on.len(), count, "{id}: {running:?}");
        expected += count;
    }
    assert_eq!(running.len(), expected, "{running:?}");
    assert_eq!(fleet.held(), expected, "hosts keep what is not wanted");
}

#[test]
fn a_dead_host_is_replaced_within_two_seconds_and_a_frozen_one_within_five() {
    for (is_frozen, noticed) in [(false, 2), (true, 5)] {
        let mut fleet = Fleet::new(&["default"; 3]);
        let wanted = vec![deployment("a", 1, number(2), "default")];
        fleet.want(wanted.clone());
        fleet.pass(Duration::from_secs(20));
        assert_runs(&fleet, &wanted);
        let machine = fleet.running()[0].1[1..].parse().unwrap();
        match is_frozen {
            true => fleet.freeze(machine),
            false => fleet.kill(machine),
        }
        // A start takes 0.7 s.
        fleet.pass(Duration::from_secs(noticed) + Duration::from_secs(1));
        assert_eq!(fleet.running().len(), 2, "frozen: {is_frozen}");
        assert_eq!(fleet.lost.len(), 1);
        // When it is back, what is superfluous is stopped.
        fleet.thaw(machine);
        fleet.start(machine);
        fleet.pass(MENDED);
        assert_runs(&fleet, &wanted);
    }
}

#[test]
fn a_fleet_whose_bus_is_away_for_long_keeps_what_it_runs() {
    let mut fleet = Fleet::new(&["default", "default", "guests"]);
    let wanted = vec![
        deployment("a", 1, number(1), "default"),
        deployment("b", 1, Replicas::EveryHost, "default"),
        deployment("c", 1, number(3), "guests"),
    ];
    fleet.want(wanted.clone());
    fleet.pass(Duration::from_secs(20));
    let before = fleet.running();
    fleet.bus(true);
    fleet.pass(Duration::from_secs(600));
    fleet.bus(false);
    fleet.pass(MENDED);
    assert_eq!(fleet.running(), before);
    assert_eq!(fleet.lost, Vec::<String>::new());
    assert_runs(&fleet, &wanted);
}

#[test]
fn what_cannot_start_does_not_replace_what_runs() {
    let mut fleet = Fleet::new(&["default"; 2]);
    let old = vec![deployment("a", 1, Replicas::EveryHost, "default")];
    fleet.want(old);
    fleet.pass(Duration::from_secs(20));
    for machine in &mut fleet.machines {
        machine.failing = u32::MAX;
    }
    let new = vec![deployment("a", 2, Replicas::EveryHost, "default")];
    fleet.want(new.clone());
    fleet.pass(MENDED);
    assert_eq!(fleet.running().len(), 2);
    let standing = fleet.reconciler.standing();
    assert_eq!(standing.workloads[0].trouble.as_deref(), Some("words"));
    assert!(!standing.is_ready());
    for machine in &mut fleet.machines {
        machine.failing = 0;
    }
    fleet.pass(MENDED);
    assert_runs(&fleet, &new);
    assert!(fleet.reconciler.standing().is_ready());
}

fn is_second(workload: &Workload) -> bool {
    workload.wit_world.components[0].image.ends_with(":2")
}

#[test]
fn what_may_not_start_is_asked_of_nobody_and_replaces_nothing_until_it_may() {
    let mut fleet = Fleet::new(&["default"; 2]);
    let [old, new] =
        [1, 2].map(|version| vec![deployment("a", version, Replicas::EveryHost, "default")]);
    fleet.want(old.clone());
    fleet.pass(Duration::from_secs(20));
    fleet.forbids = is_second;
    fleet.want(new.clone());
    fleet.pass(MENDED);
    assert_runs(&fleet, &old);
    let workload = fleet.reconciler.standing().workloads.remove(0);
    assert_eq!((workload.trouble.as_deref(), workload.is_forbidden), (Some("a reason"), true));
    // A host that comes anew starts neither.
    fleet.kill(0);
    fleet.start(0);
    fleet.pass(MENDED);
    assert_eq!((fleet.running().len(), fleet.held()), (1, 1));
    fleet.forbids = |_workload| false;
    fleet.pass(MENDED);
    assert_runs(&fleet, &new);
    assert!(!fleet.reconciler.standing().workloads[0].is_forbidden);
}

/// What happens to a fleet, and how many tenths of a second pass before.
#[derive(Clone, Debug)]
enum Act {
    Kill(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    Bus(bool),
    /// So many answers get lost: no more in a row than a host may miss.
    Lose(u32),
    Fail(usize, u32),
    /// Whether second versions may not be started.
    Forbid(bool),
    Want(Vec<(usize, u16, u16, bool)>),
}

const MACHINES: usize = 4;

fn act() -> impl Strategy<Value = Act> {
    let machine = || 0..MACHINES;
    let one = (0..3_usize, 1..3_u16, 0..4_u16, any::<bool>());
    prop_oneof![
        3 => machine().prop_map(Act::Kill),
        4 => machine().prop_map(Act::Start),
        2 => machine().prop_map(Act::Freeze),
        3 => machine().prop_map(Act::Thaw),
        2 => any::<bool>().prop_map(Act::Bus),
        2 => (1..=2_u32).prop_map(Act::Lose),
        1 => (machine(), 1..3_u32).prop_map(|(machine, times)| Act::Fail(machine, times)),
        1 => any::<bool>().prop_map(Act::Forbid),
        3 => proptest::collection::vec(one, 0..4).prop_map(Act::Want),
    ]
}

/// Deployments of different names. A number of 0 means every host.
fn wanted(of: &[(usize, u16, u16, bool)]) -> Vec<Deployment> {
    let mut wanted: Vec<Deployment> = Vec::new();
    for (name, version, count, is_guest) in of {
        let name = ["a", "b", "c"][*name];
        if wanted.iter().all(|it| it.workload.name != name) {
            let replicas = if *count == 0 { Replicas::EveryHost } else { number(*count) };
            let group = if *is_guest { "guests" } else { "default" };
            wanted.push(deployment(name, *version, replicas, group));
        }
    }
    wanted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_exactly_what_is_wanted_runs(
        script in proptest::collection::vec((0..120_u64, act()), 0..30),
    ) {
        let mut fleet = Fleet::new(&["default", "default", "default", "guests"]);
        let mut desired = vec![
            deployment("a", 1, number(2), "default"),
            deployment("b", 1, Replicas::EveryHost, "default"),
        ];
        fleet.want(desired.clone());
        for (tenths, act) in script {
            fleet.pass(Duration::from_millis(100 * tenths));
            match act {
                Act::Kill(machine) => fleet.kill(machine),
                Act::Start(machine) => fleet.start(machine),
                Act::Freeze(machine) => fleet.freeze(machine),
                Act::Thaw(machine) => fleet.thaw(machine),
                Act::Bus(is_away) => fleet.bus(is_away),
                Act::Lose(answers) => fleet.lose(answers),
                Act::Fail(machine, times) => fleet.machines[machine].failing = times,
                Act::Forbid(true) => fleet.forbids = is_second,
                Act::Forbid(false) => fleet.forbids = |_workload| false,
                Act::Want(of) => {
                    desired = wanted(&of);
                    fleet.want(desired.clone());
                }
            }
        }
        fleet.bus(false);
        fleet.forbids = |_workload| false;
        for machine in 0..MACHINES {
            fleet.thaw(machine);
            fleet.machines[machine].failing = 0;
        }
        // Without a host nothing can replace what is not wanted any more.
        fleet.start(0);
        fleet.start(MACHINES - 1);
        fleet.pass(MENDED);
        assert_runs(&fleet, &desired);
    }
}
