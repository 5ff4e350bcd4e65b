//! A running site is backed up and examined. The backup is restored and continued.

use std::fs;

use tempfile::TempDir;

use crate::{
    house,
    site::{Follower, Site, sealwire, verify},
};

#[test]
fn a_running_site_is_backed_up_restored_and_goes_on() {
    let mut site = Site::start(&["--simulate", "40"]);
    let folder = TempDir::new().unwrap();
    let (data, backup) = (site.data_dir(), folder.path().join("backup"));
    let (data, backup) = (data.to_str().unwrap(), backup.to_str().unwrap());
    let follower = Follower::start(&site);
    follower.wait_for_more("SENSOR_READING", 40);

    for round in 0..3 {
        let (code, printed, errors) =
            sealwire(&["backup", "--data-dir", data, "--with-keys", backup]);
        assert_eq!(code, Some(0), "{printed}{errors}");
        assert_eq!(printed.contains("updates the earlier backup"), round > 0, "{printed}");
        let (code, printed) = verify(backup);
        assert_eq!(code, Some(0), "{printed}");
        follower.wait_for_more("SENSOR_READING", 20);
    }
    let (code, printed, errors) = sealwire(&["doctor", "--data-dir", data, "--against", backup]);
    assert_eq!(code, Some(0), "{printed}{errors}");
    assert!(printed.contains("a site is running in it"), "{printed}");

    // The site has published more since, so continuing from the backup would be a fork.
    let known = folder.path().join("known");
    let checkpoint = site.get_log("/checkpoint", "localhost").1;
    fs::write(&known, checkpoint).unwrap();
    let restored = folder.path().join("data");
    let restore = ["restore", backup, "--data-dir", restored.to_str().unwrap()];
    let known = ["--known-checkpoint", known.to_str().unwrap()];
    assert_eq!(sealwire(&[restore.as_slice(), &known].concat()).0, Some(1));
    assert!(!restored.exists());

    site.stop();
    let told = follower.seen();
    let (code, printed, errors) = sealwire(&["backup", "--data-dir", data, backup]);
    assert_eq!(code, Some(0), "{printed}{errors}");
    drop(site);
    let (code, printed, errors) = sealwire(&[restore.as_slice(), &known].concat());
    assert_eq!(code, Some(0), "{printed}{errors}");
    let mut again = Site::start_in(folder, &["--simulate", "40"]);
    Follower::start(&again).wait_for_more("SENSOR_READING", 40);
    again.stop();
    let kept = house::open(&again.data_dir());
    kept.assert_holds(&told);
    kept.assert_derived_is_what_follows();
    let (code, printed, errors) =
        sealwire(&["doctor", "--data-dir", again.data_dir().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{printed}{errors}");
}
