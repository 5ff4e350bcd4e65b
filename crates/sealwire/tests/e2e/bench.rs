//! What is measured is a site that loses nothing.

use serde_json::Value;
use tempfile::TempDir;

use crate::{off_loopback::Elsewhere, site::sealwire};

/// All parts but those that need a large fleet to say anything.
const PARTS: &str = "--parts=slow,most,long,overload,kills";

#[test]
fn a_whole_site_is_measured_under_load() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    let (exit, printed, errors) =
        sealwire(&["bench", "site", "--quick", "--json", PARTS, "--folder", folder]);
    assert_eq!(exit, Some(0), "{errors}");
    let figures: Value = serde_json::from_str(&printed).unwrap();
    for name in [
        "cpu_s_per_million_1k",
        "cpu_s_per_million_1k_with_engines",
        "found_per_s",
        "found_p50_ms",
        "found_p99_ms",
        "index_readings_per_s",
        "long_per_s",
        "overload_per_s",
        "overload_order_max_ms",
        "kills",
        "kills_readings",
        "bare_write_fdatasync_p50_us",
        "bare_sha256_per_s",
    ] {
        assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {printed}");
    }
    let lags = figures["long_lag_s"].as_object().unwrap();
    assert!(lags.contains_key("index") && lags.contains_key("pipeline"), "{printed}");
    assert_eq!(figures["overload_heartbeats_missed"], 0, "{printed}");
    assert!(figures["rss_mb_20k"].is_null(), "it was not asked for: {printed}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn polling_is_measured_beside_bare_requests() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    let (exit, printed, errors) =
        sealwire(&["bench", "polling", "--quick", "--json", "--folder", folder]);
    assert_eq!(exit, Some(0), "{errors}");
    let figures: Value = serde_json::from_str(&printed).unwrap();
    for name in [
        "polls_per_s",
        "bare_requests_per_s",
        "polls_over_bare",
        "mqtt_polls_per_s",
        "bare_mqtt_requests_per_s",
        "tls_polls_over_plain",
        "credentials_10k_s",
        "lateness_p99_ms",
        "bare_lateness_p99_ms",
        "rss_mb_100k",
        "start_ms_100k",
        "bare_write_fdatasync_p50_us",
        "bare_sha256_per_s",
    ] {
        assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {printed}");
    }
    for exact in ["exact_10k", "exact_100k"].map(|name| &figures[name]) {
        assert!(exact["answers"].as_u64() > exact["misses"].as_u64(), "{printed}");
        // On a busy machine an answer may come too late for the site alone.
        assert!(exact["sensors_that_differ"].is_u64(), "{printed}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn components_are_measured_beside_the_ledger_alone() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    let (exit, printed, errors) =
        sealwire(&["bench", "pipeline", "--quick", "--json", "--folder", folder]);
    assert_eq!(exit, Some(0), "{errors}");
    let figures: Value = serde_json::from_str(&printed).unwrap();
    for name in [
        "readings_per_s",
        "ledger_alone_per_s",
        "backlog_per_s",
        "three_processors_per_s",
        "derived_p50_ms_1k",
        "derived_p99_ms_1k",
        "events_per_s",
        "cold_start_ms",
        "host_kill_gap_ms",
        "host_replace_s",
        "upgrade_gap_ms",
        "rollback_s",
        "pangea_mirror_per_s",
        "host_rss_mb",
    ] {
        assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {printed}");
    }
    assert_eq!(figures["upgrade_lost"], 0, "{printed}");
    // It needs a network namespace, as a machine elsewhere does.
    let is_measured = figures["air_gap_start_s"].as_f64().is_some_and(|figure| figure > 0.0);
    assert_eq!(is_measured, Elsewhere::new().is_ok(), "{printed}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "nothing is left behind");
}
