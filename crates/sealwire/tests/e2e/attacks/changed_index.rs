//! Somebody writes into `index.sqlite`. Exported files still follow the log, and the change is
//! found.

use std::fs;

use crate::site::{Follower, Site, sealwire, succeeds};

#[test]
fn a_file_of_readings_follows_the_log_whatever_the_index_says() {
    let mut site = Site::start(&["--simulate", "4"]);
    let follower = Follower::start(&site);
    follower.wait_for_more_values(12);
    let seen = follower.seen().into_iter().map(|(_, envelope)| envelope);
    let mut seen = seen.filter(|seen| seen["event"]["status"] == "SUCCESS");
    let reading = seen.next_back().unwrap();
    let sensor = reading["sealwire"]["sensor"].as_str().unwrap().to_owned();
    let value = reading["event"]["new"].as_str().unwrap().to_owned();
    site.stop();

    let data_dir = site.data_dir();
    let (folder, file) = (data_dir.to_str().unwrap(), data_dir.join("readings.csv"));
    let take_out = || {
        let file = file.to_str().unwrap();
        let of = ["readings", "--data-dir", folder, "--sensor", &sensor, "--format", "csv"];
        let rest = ["--output", file, "--actor", "ada", "--reason", "a test"];
        succeeds(&[&of[..], &rest[..]].concat());
        fs::read_to_string(file).unwrap()
    };
    let before = take_out();
    assert!(before.contains(&format!(",SUCCESS,{value},")), "{before}");
    succeeds(&["doctor", "--data-dir", folder]);

    let index = data_dir.join("index.sqlite");
    let mut bytes = fs::read(&index).unwrap();
    let other: Vec<u8> = value.bytes().map(|byte| if byte == b'9' { b'1' } else { b'9' }).collect();
    let places: Vec<usize> = bytes
        .windows(value.len())
        .enumerate()
        .filter(|(_, window)| *window == value.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "the index has the value");
    for place in places {
        bytes.splice(place..place + other.len(), other.iter().copied());
    }
    fs::write(&index, bytes).unwrap();
    assert_eq!(take_out(), before);
    let (code, printed, _) = sealwire(&["doctor", "--data-dir", folder]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAILED  index       it differs from the log: "), "{printed}");
}
