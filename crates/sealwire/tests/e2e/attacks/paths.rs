//! Folders with any name: bytes that are not UTF-8, spaces, quotes, a line break.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::site::{Follower, Site};

/// A name that is not UTF-8 and that configuration files would misread.
const NAME: &[u8] = b"plant \xff\xfe \"'\n#%?{$HOME}\xe4 ";

/// Runs a command that succeeds, and returns what it printed.
#[track_caller]
fn succeeds(arguments: &[&OsStr]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    let output = command.args(arguments).env("USER", "tester").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_folder_may_have_any_name() {
    let folder = TempDir::with_prefix(OsStr::from_bytes(NAME)).unwrap();
    let above = folder.path().to_owned();
    let at = |name: &str| above.join(name).into_os_string();
    let mut site = Site::start_in(folder, &["--simulate", "4"]);
    let follower = Follower::start(&site);
    follower.wait_for_more_values(4);
    let reading = follower.seen().into_iter().map(|(_, envelope)| envelope["event"].clone());
    let mut sensors =
        reading.filter_map(|event| Some(event["sealwire"]["sensor"].as_str()?.to_owned()));
    let mut sensor = sensors.next();
    if sensor.is_none() {
        sensor = site.sensors().first().map(|sensor| sensor["id"].as_str().unwrap().to_owned());
    }
    let sensor = OsString::from(sensor.expect("a reading names its sensor"));

    let data = site.data_dir().into_os_string();
    let word = |text: &'static str| OsString::from(text);
    let on_site = |arguments: &[OsString]| {
        let all: Vec<OsString> =
            arguments.iter().cloned().chain([word("--data-dir"), data.clone()]).collect();
        succeeds(&all.iter().map(OsString::as_os_str).collect::<Vec<_>>())
    };
    for is_running in [true, false] {
        if !is_running {
            site.stop();
        }
        on_site(&[word("log"), word("hold"), word("--reason"), word("a test")]);
        let said = on_site(&[word("backup"), at("backup")]);
        assert!(said.contains("signed by the log's key"), "{said}");
        on_site(&[word("doctor"), word("--against"), at("backup")]);
        on_site(&[word("export"), word("--output"), at("bundle")]);
        on_site(&[word("prove"), word("0"), word("--output"), at("proof")]);
        let (format, file) = (word("--format"), at("readings.csv"));
        let taken = [word("readings"), word("--sensor"), sensor.clone(), format, word("csv")];
        let taken = taken.into_iter().chain([word("--output"), file]);
        on_site(&taken.chain([word("--reason"), word("a test")]).collect::<Vec<_>>());
        for verified in [vec![at("backup")], vec![data.clone()], vec![word("bundle"), at("bundle")]]
        {
            let all = [vec![word("verify")], verified].concat();
            succeeds(&all.iter().map(OsString::as_os_str).collect::<Vec<_>>());
        }
    }
    // Every file is at the requested path, and nothing is under a similar name.
    let beside = above.parent().unwrap();
    let name = above.file_name().unwrap();
    let lossy = name.to_string_lossy();
    assert_ne!(OsStr::new(&*lossy), name);
    assert!(!Path::new(beside).join(&*lossy).exists());
    for engine in ["nats", "wash"] {
        assert!(Path::new(&data).join(engine).is_dir(), "{engine}");
    }
    assert!(fs::metadata(at("readings.csv")).unwrap().len() > 10);
    fs::write(Path::new(&at("backup")).join("retention"), "TEST 1h\n").unwrap();
    let restore = [OsStr::new("restore"), &at("backup"), OsStr::new("--data-dir"), &at("restored")];
    let printed = succeeds(&restore);
    for begin in
        ["  did NOT restore retention", "    look at the file", "  Find the newest checkpoint"]
    {
        assert!(printed.lines().any(|line| line.starts_with(begin)), "{printed}");
    }
}
