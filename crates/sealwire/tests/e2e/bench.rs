//! What is measured is a site that loses nothing.

use serde_json::Value;
use tempfile::TempDir;

use crate::site::sealwire;

#[test]
fn a_whole_site_is_measured_under_load() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().to_str().unwrap();
    let (exit, printed, errors) =
        sealwire(&["bench", "site", "--quick", "--json", "--parts=slow,most", "--folder", folder]);
    assert_eq!(exit, Some(0), "{errors}");
    let figures: Value = serde_json::from_str(&printed).unwrap();
    for name in [
        "cpu_s_per_million_1k",
        "cpu_s_per_million_1k_with_engines",
        "found_per_s",
        "found_p50_ms",
        "found_p99_ms",
        "index_readings_per_s",
        "bare_write_fdatasync_p50_us",
        "bare_sha256_per_s",
    ] {
        assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {printed}");
    }
    assert!(figures["rss_mb_20k"].is_null(), "it was not asked for: {printed}");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "nothing is left behind");
}
