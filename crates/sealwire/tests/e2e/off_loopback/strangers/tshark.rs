//! Debian's tshark: what goes over the line to the other machine.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::Plant;
use crate::site::until;

/// Writes down what goes over the line.
pub(super) struct Tshark {
    child: Child,
    file: PathBuf,
}

/// What went over the line.
pub(super) struct Captured {
    file: PathBuf,
}

impl Tshark {
    /// Begins.
    ///
    /// # Errors
    /// What is not on this machine.
    pub(super) fn begin(plant: &Plant) -> Result<Self, &'static str> {
        let file = plant.credentials.join("line.pcapng");
        let mut tshark = Command::new("tshark");
        tshark.args(["-q", "-i", &format!("{}a", plant.elsewhere.name), "-w"]).arg(&file);
        let child = tshark.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|_missing| "tshark is not on this machine")?;
        until("tshark reads along", || {
            let written = file.metadata().ok()?.len();
            (written > 0).then_some(())
        });
        Ok(Self { child, file })
    }

    pub(super) fn end(mut self) -> Captured {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
        Captured { file: self.file.clone() }
    }
}

impl Drop for Tshark {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Captured {
    /// Numbers of the frames that are as wanted.
    fn frames(&self, more: &[&str], wanted: &str) -> Vec<String> {
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(&self.file).args(more);
        let read = tshark.args(["-Y", wanted, "-T", "fields", "-e", "frame.number"]).output();
        let read = read.unwrap();
        assert!(read.status.success(), "{wanted}: {}", String::from_utf8_lossy(&read.stderr));
        String::from_utf8(read.stdout).unwrap().lines().map(String::from).collect()
    }

    #[track_caller]
    pub(super) fn has(&self, text: &str, what: &str) {
        assert!(!self.frames(&[], &contains(text)).is_empty(), "{what} did not go over the line");
    }

    #[track_caller]
    pub(super) fn has_none_of(&self, texts: &[String]) {
        let any: Vec<String> = texts.iter().map(|text| contains(text)).collect();
        let frames = self.frames(&[], &any.join(" || "));
        assert!(frames.is_empty(), "in frames {frames:?} is one of {texts:?}");
    }

    /// At least so many clients of a port began with TLS's greeting, and it was answered.
    #[track_caller]
    pub(super) fn greets_by_tls(&self, port: u16, clients: usize) {
        let speaks_tls = format!("tcp.port=={port},tls");
        for (kind, wanted) in [
            ("client", format!("tls.handshake.type == 1 && tcp.dstport == {port}")),
            ("server", format!("tls.handshake.type == 2 && tcp.srcport == {port}")),
        ] {
            let found = self.frames(&["-d", &speaks_tls], &wanted).len();
            assert!(found >= clients, "{found} greetings of a {kind} for {clients} devices");
        }
    }
}

fn contains(text: &str) -> String {
    format!("frame contains \"{text}\"")
}
