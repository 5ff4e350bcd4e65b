//! Readings and events found again: searches and plots over HTTP, and files for other programs.

use std::fs;

use serde_json::{Value, json};

use crate::site::{Follower, Site, sealwire, until};

fn count(site: &Site, search: &Value) -> u64 {
    let (status, page) = site.post("/api/logs", &search.to_string());
    assert_eq!(status, 200, "{search}: {page}");
    assert_eq!(page["count_is_lower_bound"], false);
    page["count"].as_u64().unwrap()
}

#[test]
fn what_was_sealed_is_found_drawn_and_taken_out() {
    let mut site = Site::start(&["--simulate", "4"]);
    let follower = Follower::start(&site);
    follower.wait_for_more("SENSOR_READING", 10);
    let mut seen = follower.seen().into_iter().map(|(_, envelope)| envelope);
    let reading = seen.rfind(|seen| seen["event"]["action"] == "SENSOR_READING").unwrap();
    let read = &reading["sealwire"]["sensor"];
    let sensor = site.sensors().into_iter().find(|sensor| sensor["id"] == *read).unwrap();
    let (id, alias) = (sensor["id"].as_str().unwrap(), sensor["alias"].as_str().unwrap());
    let source = format!("{}.{alias}", sensor["location"].as_str().unwrap());
    let searched = json!({ "query": format!("sensor:{id} action:READING") });
    until("the index has the reading", || (count(&site, &searched) > 0).then_some(()));

    let discovered = json!({ "query": format!("{alias} actor:poller discovered") });
    assert_eq!(count(&site, &discovered), 1);
    let same = json!({ "restriction": { "source": [source], "action": ["SENSOR_DISCOVERED"] }, "from": "1h" });
    assert_eq!(count(&site, &same), 1);
    let of_words = json!({ "restriction": { "message": [format!("{source}: discovered"), "x"] } });
    assert_eq!(count(&site, &of_words), 1);
    let later = json!({ "query": format!("sensor:{id}"), "from": "2100-01-01T00:00:00Z" });
    assert_eq!(count(&site, &later), 0);
    for (search, words) in [
        (json!({ "query": "\"open" }), "is not closed"),
        (json!({ "restriction": { "colour": ["x"] } }), "`colour` is not a field"),
        (json!({ "from": "soon" }), "`soon` is not a time"),
    ] {
        let (status, said) = site.post("/api/logs", &search.to_string());
        assert_eq!(status, 400, "{search}");
        assert!(said["detail"].as_str().unwrap().contains(words), "{said}");
    }
    let (status, plot) = site.get(&format!("/api/sensors/{id}/readings?points=500"));
    assert_eq!((status, plot["kind"].as_str()), (200, Some("readings")), "{plot}");

    // Exported from a running site, and from a stopped one.
    let file = site.data_dir().join("readings.out");
    let data_dir = site.data_dir();
    let take_out = |format: &str| {
        let (code, printed, errors) = sealwire(&[
            "readings",
            "--data-dir",
            data_dir.to_str().unwrap(),
            "--sensor",
            id,
            "--format",
            format,
            "--output",
            file.to_str().unwrap(),
            "--actor",
            "ada",
            "--reason",
            "the yearly report",
        ]);
        assert_eq!(code, Some(0), "{errors}");
        (printed, fs::read(&file).unwrap())
    };
    let (_, csv) = take_out("csv");
    let csv = String::from_utf8(csv).unwrap();
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("sensor,leaf,timestamp,status,value,calibrated,unit,sensor_time,flags")
    );
    assert!(lines.next().unwrap().starts_with(id), "{csv}");
    let sealed = site.wait_for_event("READINGS_EXPORTED", |_| true);
    let as_ada = format!("{} as ada", access::Account::own().name());
    assert_eq!(sealed["envelope"]["event"]["actor"], as_ada);
    let unknown = "00000000-0000-0000-0000-000000000000";
    let asked = [
        "readings",
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--sensor",
        unknown,
        "--format",
        "csv",
    ];
    let rest = ["--output", "nowhere.csv", "--actor", "ada", "--reason", "curiosity"];
    let (code, _, said) = sealwire(&[&asked[..], &rest[..]].concat());
    assert!(
        code == Some(1) && said.contains(&format!("the log has no sensor {unknown}")),
        "{said}"
    );
    site.stop();
    let (printed, parquet) = take_out("parquet");
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"), "{printed}");
}
