//! Supervisors, terminals and readers that go away, and outputs that are not plain files.
//! Everything ends in order, and complete.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, symlink},
    path::Path,
    process::{Child, Command, Stdio},
};

use ledger::{disk::RealDisk, verify::verify_folder_with};
use model::{Envelope, action};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::site::{Follower, Site, sealwire, succeeds, until};

/// All the ends of the site are sealed, and a checkpoint covers them.
#[track_caller]
fn assert_ended_in_order(data_dir: &Path, ends: usize) {
    let mut sealed = 0;
    let ledger = data_dir.join("ledger");
    let is_end = |envelope: &[u8]| Envelope::has_action(envelope, action::SITE_STOPPED);
    let mut count =
        |_, envelope: Option<&[u8]>| sealed += usize::from(envelope.is_some_and(is_end));
    let verified = verify_folder_with(&RealDisk, &ledger, None, &mut |_| {}, &mut count).unwrap();
    assert_eq!((sealed, verified.checkpoint.size.get()), (ends, verified.leaves));
    let text = String::from_utf8(fs::read(data_dir.join("../output")).unwrap()).unwrap();
    assert!(!text.contains("ended at once"), "{text}");
}

/// Waits until a process hears this signal by itself.
fn wait_until_it_hears(process: &Child, signal: Signal) {
    let status = format!("/proc/{}/status", process.id());
    until("the process hears signals", || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        (caught >> (signal.as_raw() - 1) & 1 == 1).then_some(())
    });
}

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    let command = command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_site_and_what_reads_its_log_end_in_order_and_write_whole_files() {
    let mut site = Site::start_by(&["nohup"], TempDir::new().unwrap(), &["--simulate", "4"]);
    let data_dir = site.data_dir();
    // The process was started with SIGHUP ignored.
    site.ask(Signal::HUP);
    Follower::start(&site).wait_for_more("SENSOR_READING", 8);
    // A supervisor that asks more than once does not cut the stop short.
    for signal in [Signal::TERM, Signal::TERM, Signal::INT, Signal::TERM] {
        site.ask(signal);
    }
    site.assert_stops();
    assert_ended_in_order(&data_dir, 1);

    // Without that, a terminal that goes away stops the site in the same way.
    site.launcher.clear();
    site.start_again();
    for signal in [Signal::HUP, Signal::HUP, Signal::TERM] {
        site.ask(signal);
    }
    site.assert_stops();
    assert_ended_in_order(&data_dir, 2);
    let printed = fs::read_to_string(data_dir.join("../output")).unwrap();
    assert_eq!(printed.matches("The site is running.").count(), 2, "{printed}");

    let data = data_dir.to_str().unwrap();
    let at = |name: &str| data_dir.with_file_name(name);
    writes_whole_files(data, &at);
    gives_up_in_order(data, &at("unread"));
    a_witness_ends_in_order(&at);
}

/// What is not a plain file is written to, and keeps its kind.
fn writes_whole_files(data: &str, at: &dyn Fn(&str) -> std::path::PathBuf) {
    let is_device = || fs::metadata("/dev/null").unwrap().file_type().is_char_device();
    succeeds(&["export", "--data-dir", data, "--output", "/dev/null"]);
    succeeds(&["prove", "0", "--data-dir", data, "--output", "/dev/null"]);
    assert!(is_device(), "/dev/null is still a device");
    let (link, proof) = (at("link"), at("proof"));
    symlink("proof", &link).unwrap();
    succeeds(&["prove", "0", "--data-dir", data, "--output", link.to_str().unwrap()]);
    assert!(link.is_symlink() && !proof.is_symlink());
    let bundle = succeeds(&["export", "--data-dir", data, "--output", "-"]);
    let lines: Vec<&str> = bundle.lines().collect();
    assert!(lines.len() > 2 && !bundle.contains("verify it anywhere"), "{bundle}");
    let whole = at("bundle");
    fs::write(&whole, &bundle).unwrap();
    succeeds(&["verify", "bundle", whole.to_str().unwrap()]);
    let (code, _, said) =
        sealwire(&["prove", "0", "--data-dir", data, "--output", "-", "--envelope", "/dev/stdout"]);
    assert_eq!(code, Some(1), "{said}");

    // If a result cannot be printed, the command fails. A reader that stops reading is not a
    // failure.
    let sealwire = env!("CARGO_BIN_EXE_sealwire");
    let shell = |script: &str| {
        let script = format!("set -o pipefail; {script}");
        Command::new("bash").args(["-c", &script, "bash", sealwire, data]).status().unwrap()
    };
    assert!(!shell(r#""$1" log holds --data-dir "$2" > /dev/full"#).success());
    assert!(shell(r#""$1" export --data-dir "$2" --output - | true"#).success());
}

/// A command that waits for a reader is asked to end, twice.
fn gives_up_in_order(data: &str, pipe: &Path) {
    mkfifo(pipe);
    let waiting = start(&["export", "--data-dir", data, "--output", pipe.to_str().unwrap()]);
    wait_until_it_hears(&waiting, Signal::TERM);
    for _twice in 0..2 {
        let _ended = kill_process(Pid::from_child(&waiting), Signal::TERM);
    }
    let output = waiting.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped, as asked"), "{said}");
    assert!(fs::symlink_metadata(pipe).unwrap().file_type().is_fifo());
}

/// A witness writes its ready file to a pipe, and stops as a site does.
fn a_witness_ends_in_order(at: &dyn Fn(&str) -> std::path::PathBuf) {
    let (ready, folder) = (at("ready"), at("witness"));
    mkfifo(&ready);
    let witness = start(&[
        "witness",
        "--name=w.test",
        "--listen=127.0.0.1:0",
        "--data-dir",
        folder.to_str().unwrap(),
        "--ready-file",
        ready.to_str().unwrap(),
    ]);
    let addresses = fs::read_to_string(&ready).unwrap();
    assert!(addresses.contains("w.test+"), "{addresses}");
    for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
        let _ended = kill_process(Pid::from_child(&witness), signal);
    }
    let output = witness.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
