//! A processor that is asked about sealed history.

use std::{sync::Arc, time::Duration};

use ledger::{Batch, Ledger, LogReader, disk::RealDisk};
use model::{
    Event, Heartbeat, Outcome, Timestamp, action,
    processing::{Filter, Output, Question, Verdict},
};
use services::pipeline::{Components, PipelineError, Replay};
use tlog::{KeyName, Signer};
use tokio::{sync::mpsc, time::sleep};

const DIGEST: &str = "sha256:a";
/// The component traps on it.
const POISON: &str = "poison";

/// A processor that repeats each value, traps on one, and is silent if it has no digest.
#[derive(Clone)]
struct Repeats(&'static str);

impl Components for Repeats {
    async fn answer(&self, subject: &str, question: Vec<u8>) -> Result<Vec<u8>, String> {
        assert_eq!(subject, "sealwire.process.repeats");
        let question: Question = serde_json::from_slice(&question).unwrap();
        let is_poison = |value: &Option<String>| value.as_deref() == Some(POISON);
        if self.0.is_empty() || question.events.iter().any(|seen| is_poison(&seen.value)) {
            sleep(Duration::from_millis(2_500)).await;
            return Err("it is silent".to_owned());
        }
        let output = |seen: model::processing::Seen| {
            Some(Output { from_leaf: seen.leaf, value: seen.value?, ..Output::default() })
        };
        let derived = question.events.into_iter().filter_map(output).collect();
        Ok(serde_json::to_vec(&Verdict { component: self.0.to_owned(), derived }).unwrap())
    }
}

/// Seals readings with these values, and replays all but the first and the last of them through a
/// component. Returns how many it saw, and of each event that a site would seal the number of the
/// reading and what it says.
async fn replayed(
    component: Repeats,
    values: &[&str],
) -> (Result<u64, PipelineError>, Vec<(u64, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::from_seed(KeyName::parse("test").unwrap(), &[7; 32]);
    let (ledger, writer) = Ledger::open(folder.path(), signer).unwrap();
    let heartbeat = r#"{"alias":"T1","id":"a3b3c3d3-e3f3-a3b3-c3d3-e3f3a3b3c3d3","poll_interval":1000,"poll_topic":"p","read_topic":"r"}"#;
    let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
    let reading = |(number, value): (u64, &&str)| {
        let answer = Outcome::of(format!("{{\"value\":\"{value}\"}}").as_bytes());
        Event::reading(&heartbeat, number, answer, Timestamp::from_unix_micros(0))
    };
    let events = (0..).zip(values).map(reading).collect();
    let first = ledger.append(Batch::of(events)).await.unwrap().first_leaf;
    ledger.publish_checkpoint().await.unwrap();
    writer.close().await.unwrap();

    let log = LogReader::open(Arc::new(RealDisk), folder.path(), None).unwrap();
    let (derived, mut batches) = mpsc::channel(1);
    let replay = Replay {
        log: Arc::new(log),
        leaves: first + 1..first + values.len() as u64 - 1,
        reader: component,
        name: "repeats".parse().unwrap(),
        filter: Filter::default(),
        digest: DIGEST.to_owned(),
        derived,
    };
    let receiving = async {
        let mut told = Vec::new();
        while let Some(events) = batches.recv().await {
            told.extend(events.into_iter().map(|event| {
                let of = event.sealwire.unwrap().from_leaf.unwrap() - first;
                (of, event.new.unwrap_or_else(|| event.action.unwrap()))
            }));
        }
        told
    };
    tokio::join!(replay.run(), receiving)
}

#[tokio::test(start_paused = true)]
async fn a_replay_tells_what_a_site_would_seal_of_the_leaves_in_question() {
    let (seen, derived) = replayed(Repeats(DIGEST), &["1", "2", POISON, "3", "4"]).await;
    assert_eq!(seen.unwrap(), 2);
    let derived: Vec<_> = derived.iter().map(|(number, told)| (*number, told.as_str())).collect();
    assert_eq!(derived, [(1, "2"), (2, action::NOT_JUDGED), (3, "3")]);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_answers_nothing_ends_a_replay() {
    for (component, words) in
        [(Repeats(""), "it is silent"), (Repeats("sha256:b"), "from the component sha256:b")]
    {
        let (seen, derived) = replayed(component, &["1", "2", "3"]).await;
        let told = seen.unwrap_err().to_string();
        assert!(told.contains("no verdict") && told.contains(words), "{told}");
        assert_eq!(derived, []);
    }
}
