//! The pipeline, and a component that fails.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ledger::{Batch, Ledger};
use model::{
    Envelope, Event, Heartbeat, Outcome, Timestamp, action,
    derive::{Question, Seen, Verdict},
};
use sensor_reader::judge;
use services::{
    pipeline::{Components, Digests, Judging, Meters},
    testing::OnProbation,
    timings,
};
use tlog::{KeyName, Signer};
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use work::Service as _;

const DIGEST: &str = "sha256:a";
/// The component traps on it.
const POISON: &str = "poison";

/// A component that traps on some values. While it is broken, it traps on all.
#[derive(Clone, Default)]
struct Component {
    is_broken: Arc<AtomicBool>,
    /// Another version answers in its name, which traps on none.
    is_replaced: Arc<AtomicBool>,
    probation: OnProbation,
}

impl Components for Component {
    async fn answer(&self, _subject: &str, question: Vec<u8>) -> Result<Vec<u8>, String> {
        let question: Question = serde_json::from_slice(&question).unwrap();
        let traps = !self.is_replaced.load(Ordering::Relaxed);
        let is_poison =
            |seen: &Seen| traps && matches!(seen, Seen::Value { value, .. } if value == POISON);
        if self.is_broken.load(Ordering::Relaxed)
            || question.sightings.iter().any(|sighting| is_poison(&sighting.seen))
        {
            sleep(Duration::from_millis(2_500)).await;
            return Err("it is silent".to_owned());
        }
        let verdict = Verdict { component: DIGEST.to_owned(), derived: judge(question) };
        Ok(serde_json::to_vec(&verdict).unwrap())
    }
}

/// Seals readings with these values and has them judged. Returns what was derived: of each event,
/// the number of the reading and the action. `meanwhile` runs until nothing waits for it.
async fn judged(
    component: Component,
    values: &[&str],
    meanwhile: impl Future<Output = ()>,
) -> Vec<(u64, String)> {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
    let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
    let heartbeat = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r","range":[0,50]}"#;
    let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
    let reading = |(number, value): (u64, &&str)| {
        let answer = Outcome::of(format!("{{\"value\":\"{value}\"}}").as_bytes());
        Event::reading(&heartbeat, number, answer, Timestamp::from_unix_micros(0))
    };
    let events = (0..).zip(values).map(reading).collect();
    let first = ledger.append(Batch::of(events)).await.unwrap().first_leaf;

    let (tell_standings, standings) = oneshot::channel();
    tell_standings.send(BTreeMap::new()).unwrap();
    let (tell_judged, mut judged) = watch::channel(0);
    let probation = component.probation.clone();
    let judging = Judging {
        ledger: ledger.clone(),
        reader: component,
        accepted: watch::channel(Digests::from([DIGEST.to_owned()])).1,
        probation,
        standings,
        judged: tell_judged,
        verdict_seconds: timings::verdict_seconds(),
        meters: Meters::default(),
    };
    let stop = CancellationToken::new();
    let script = async {
        meanwhile.await;
        let end = first + values.len() as u64;
        judged.wait_for(|judged| *judged >= end).await.unwrap();
        stop.cancel();
    };
    let (ran, ()) = tokio::join!(judging.run(stop.clone()), script);
    ran.unwrap();
    let stored = ledger.envelopes(first + values.len() as u64, usize::MAX, usize::MAX).unwrap();
    let event = |bytes: &[u8]| {
        let event = Envelope::parse(bytes).unwrap().event;
        (event.sealwire.unwrap().from_leaf.unwrap() - first, event.action.unwrap())
    };
    let derived = stored.iter().filter_map(|stored| stored.bytes.as_deref()).map(event).collect();
    writer.close().await.unwrap();
    derived
}

fn told(derived: &[(u64, String)]) -> Vec<(u64, &str)> {
    derived.iter().map(|(number, action)| (*number, action.as_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reading_on_which_the_component_traps_is_an_error_and_the_others_are_judged() {
    let values = ["60", "61", POISON, "62", "20", POISON, "21"];
    let derived = judged(Component::default(), &values, async {}).await;
    assert_eq!(
        told(&derived),
        [
            (0, action::OUT_OF_RANGE),
            (2, action::NOT_JUDGED),
            (4, action::BACK_IN_RANGE),
            (5, action::NOT_JUDGED)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_component_that_is_silent_for_an_hour_makes_no_reading_an_error() {
    let component = Component::default();
    component.is_broken.store(true, Ordering::Relaxed);
    let is_broken = Arc::clone(&component.is_broken);
    let mended = async {
        sleep(Duration::from_secs(3_600)).await;
        is_broken.store(false, Ordering::Relaxed);
    };
    let derived = judged(component, &["60", "20", "61"], mended).await;
    assert_eq!(
        told(&derived),
        [(0, action::OUT_OF_RANGE), (1, action::BACK_IN_RANGE), (2, action::OUT_OF_RANGE)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_reading_on_which_a_component_on_probation_fails_waits_until_that_is_over() {
    let component = Component::default();
    let (probation, is_replaced) =
        (component.probation.clone(), Arc::clone(&component.is_replaced));
    probation.set(Some(DIGEST));
    let went_back = async {
        sleep(Duration::from_secs(60)).await;
        assert!(probation.suspect().is_some());
        is_replaced.store(true, Ordering::Relaxed);
    };
    let derived = judged(component, &["60", POISON, "20"], went_back).await;
    let back =
        [(0, action::OUT_OF_RANGE), (1, action::RANGE_NOT_JUDGED), (2, action::BACK_IN_RANGE)];
    assert_eq!(told(&derived), back);
}
