//! `verify --completeness` on logs that lack something.

use std::fs;

use ledger::{Batch, Erasure, Ledger, load_or_create_key};
use model::{Event, Heartbeat, NumberRange, Outcome, Timestamp, gap::MissingReason};
use tempfile::TempDir;
use tlog::KeyName;

use crate::site::sealwire;

const SENSOR: &str = "0b5a6e0c-5555-4222-8333-944455566688";
/// The first leaf after the genesis entry.
const FIRST: u64 = 1;

/// A log of one sensor in a data directory, in words: `7` is a reading of poll 7, `4-6` a gap, and
/// `x` before a number a reading that is erased.
async fn log(words: &str) -> TempDir {
    let heartbeat = format!(
        r#"{{"id":"{SENSOR}","alias":"T1","poll_interval":1000,"poll_topic":"p","read_topic":"r"}}"#
    );
    let heartbeat = Heartbeat::parse(heartbeat.as_bytes()).unwrap();
    let at = Timestamp::from_unix_micros(0);
    let event = |word: &str| match word.trim_start_matches('x').parse::<NumberRange>().unwrap() {
        range if range.count() == 1 => {
            Event::reading(&heartbeat, range.first(), Outcome::of(b"1"), at)
        }
        range => Event::readings_missing(&heartbeat, range, MissingReason::BusAway, at),
    };
    let data_dir = TempDir::new().unwrap();
    let folder = data_dir.path().join("ledger");
    fs::create_dir(&folder).unwrap();
    let name = KeyName::parse("sealwire.local/site").unwrap();
    let signer = load_or_create_key(&data_dir.path().join("site.key"), name, &folder).unwrap();
    let (ledger, writer) = Ledger::open(&folder, signer).unwrap();
    ledger.append(Batch::of(words.split(' ').map(event).collect())).await.unwrap();
    for (leaf, _word) in (FIRST..).zip(words.split(' ')).filter(|(_, word)| word.starts_with('x')) {
        let leaves = leaf.to_string().parse().unwrap();
        let (actor, reason) = (String::from("tester"), String::from("a test"));
        ledger.erase(Erasure { leaves, actor, reason }, at).await.unwrap();
    }
    writer.close().await.unwrap();
    data_dir
}

#[tokio::test]
async fn what_is_missing_is_named() {
    for (words, code, said) in [
        ("1 2-4 5", 0, "1 sensors: all 5 polls are accounted for; 3 polls are declared missing"),
        ("1 2-4 5", 0, "2-4 missing, \"bus_away\" (leaf 2)"),
        ("1 2 5", 1, "UNACCOUNTED: no event before leaf 3 says how 3-4 ended"),
        ("4 5", 1, "UNACCOUNTED: no event before leaf 1 says how 1-3 ended"),
        ("1 2 2", 1, "DOUBLED: leaf 3 names 2, which earlier leaves already account for"),
        ("1 2 5", 1, "does not account for every poll of 1 of 1 sensors"),
        (
            "1 x2 3",
            0,
            "no event says how 2 ended; envelopes before leaf 3 that may have said it were erased",
        ),
        ("1 x2 3", 0, "all 3 polls are accounted for, except where envelopes were erased"),
    ] {
        let data_dir = log(words).await;
        let folder = data_dir.path().to_str().unwrap();
        let (exit, printed, _errors) = sealwire(&["verify", "--completeness", folder]);
        assert_eq!(exit, Some(code), "{words}: {printed}");
        assert!(printed.contains(said), "{words}: {printed}");
        // Every sealed event verifies, whether or not the log is complete.
        let (exit, printed, _errors) = sealwire(&["verify", folder]);
        assert_eq!(exit, Some(0), "{words}: {printed}");
    }
}

#[test]
fn an_address_has_no_envelopes_to_check() {
    let (exit, printed, errors) = sealwire(&["verify", "--completeness", "http://127.0.0.1:1"]);
    assert_eq!((exit, printed.as_str()), (Some(1), ""), "refused before anything is verified");
    assert!(errors.contains("name the site's data directory"), "{errors}");
}
