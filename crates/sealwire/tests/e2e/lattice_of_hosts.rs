//! Several stock hosts on one bus, without a site: whoever dies or freezes is replaced.

use std::{
    num::NonZeroU16,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Request;
use engine::Authority;
use lattice::{Change, Check, Component, Deployment, HostInterface, Replicas, Standing, Workload};
use model::derive;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    rig::{Running, host, hosts_server, registry_with},
    site::DEADLINE,
};

/// Names of the hosts.
const HOSTS: [&str; 3] = ["one", "two", "three"];

#[test]
fn whoever_dies_or_freezes_is_replaced_and_comes_back_to_what_is_wanted() {
    let home = TempDir::new().unwrap();
    let home = home.path().canonicalize().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(replaced(&home));
}

async fn replaced(home: &Path) {
    let authority = Authority::new().unwrap();
    let folder = home.join("hosts");
    let (_server, nats, [control, data]) =
        hosts_server(&folder, &authority, &[derive::SUBJECT]).await;

    let component = "sensor-reader";
    let (registry, mut running) = registry_with(home, component).await;

    let config = [("subscriptions", derive::SUBJECT), (derive::DIGEST_KEY, "sha256:0")];
    let image = registry.image(component).unwrap().reference();
    let messaging = ("wasmcloud", "messaging", "0.2.0");
    let workload = Workload::new(
        component,
        vec![Component::new(component, image, &config)],
        vec![
            HostInterface::new(messaging, &["consumer", "handler"], &[]),
            HostInterface::new(("wasi", "config", "0.2.0-rc.1"), &["store"], &[]),
        ],
    );
    let deployment = Deployment {
        workload: Arc::new(workload),
        replicas: Replicas::Number(NonZeroU16::new(2).unwrap()),
        group: String::from("default"),
    };
    let (standing, mut watching) = watch::channel(Standing::default());
    let (changes, mut changed) = mpsc::channel(16);
    let (want, wanted) = watch::channel(vec![deployment]);
    let parts = lattice::Parts {
        bus: control,
        former: Vec::new(),
        wanted,
        check: Check::nothing(),
        standing,
        changes,
    };
    let reconciling = lattice::run(parts, CancellationToken::new());
    running.spawn(async { reconciling.await.unwrap() });

    let places = (nats, registry.address());
    let start =
        |name: &str| Running::start(&host(&home.join(name), name, &authority, places, false));
    let mut hosts: Vec<Running> = HOSTS.iter().map(|name| start(name)).collect();
    for _ in HOSTS {
        let change = timeout(DEADLINE, changed.recv()).await.unwrap().unwrap();
        assert!(matches!(change, Change::Joined { .. }), "{change:?}");
    }
    let on = |standing: &Standing| -> Vec<String> {
        let workload = standing.workloads.first().unwrap();
        let named = standing.hosts.iter().filter(|host| workload.runs_on.contains(&host.id));
        named.map(|host| host.name.clone()).collect()
    };
    let two = async |watching: &mut watch::Receiver<Standing>, not: &str| {
        let run = |standing: &Standing| {
            let names = on(standing);
            names.len() == 2 && names.iter().all(|name| name != not)
        };
        let standing = timeout(DEADLINE, watching.wait_for(run)).await.unwrap().unwrap();
        on(&standing)
    };
    let lost = async |changed: &mut mpsc::Receiver<Change>, wanted: &str| {
        let is_wanted =
            |change: &Change| matches!(change, Change::Lost { name, .. } if name == wanted);
        while !is_wanted(&timeout(DEADLINE, changed.recv()).await.unwrap().unwrap()) {}
    };
    let place = |name: &str| HOSTS.iter().position(|host| *host == name).unwrap();

    // Nothing is concluded from silence in the first seconds.
    let first = two(&mut watching, "nobody").await;
    let began = Instant::now();
    while began.elapsed() < lattice::SETTLE {
        let asked = ask(&data).await;
        assert!(asked, "two hosts run, and neither answers");
    }

    // One dies: the third takes its place, and questions are answered meanwhile.
    let dead = first[0].clone();
    hosts[place(&dead)].0.kill().unwrap();
    lost(&mut changed, &dead).await;
    let second = two(&mut watching, &dead).await;
    assert!(ask(&data).await);

    // It is started again, and one freezes: the first takes its place again.
    hosts[place(&dead)] = start(&dead);
    let frozen = second[0].clone();
    let pid = Pid::from_raw(hosts[place(&frozen)].0.id().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    lost(&mut changed, &frozen).await;
    let third = two(&mut watching, &frozen).await;
    assert!(third.contains(&dead), "{third:?}");

    // It goes on, with what it ran: what is superfluous is stopped.
    kill_process(pid, Signal::CONT).unwrap();
    let is_back =
        |standing: &Standing| standing.hosts.len() == HOSTS.len() && on(standing).len() == 2;
    timeout(DEADLINE, watching.wait_for(is_back)).await.unwrap().unwrap();
    assert!(ask(&data).await);

    // Nothing is wanted any more.
    want.send_replace(Vec::new());
    let asked = Instant::now();
    while ask(&data).await {
        assert!(asked.elapsed() < DEADLINE, "it is not stopped");
    }
}

/// Whether the component answers an empty question, asked a few times.
async fn ask(data: &async_nats::Client) -> bool {
    for _ in 0..5 {
        let question = serde_json::to_vec(&derive::Question::default()).unwrap();
        let request = Request::new().payload(question.into()).timeout(Some(Duration::from_secs(2)));
        if data.send_request(derive::SUBJECT, request).await.is_ok() {
            return true;
        }
    }
    false
}
