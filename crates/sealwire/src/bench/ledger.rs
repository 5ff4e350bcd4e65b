//! `sealwire bench ledger`: fills a log, kills the process that fills it, then opens the log and
//! verifies it, as a folder and by its address.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result};
use ledger::{
    Ledger,
    disk::RealDisk,
    verify::{verify_folder, verify_tree},
};
use serde::Serialize;
use site::log_alone::serve_public;
use tokio_util::sync::CancellationToken;

use super::{
    load::{self, ENVELOPE_BYTES, Measured},
    machine::{self, temporary},
};
use crate::{
    cli::{LedgerServeArguments, MeasureArguments},
    output,
    verify::HttpLog,
};

/// Number of entries in the log; a tenth with `--quick`.
const ENTRIES: u64 = 10_000_000;

/// The figures, printed with `--json`. Those of the bare machine have `bare` in their names.
#[derive(Debug, Serialize)]
struct Figures {
    batch_entries_per_s: f64,
    single_entries_per_s: f64,
    lone_over_bare: f64,
    proof_p50_us: f64,
    reopen_ms: f64,
    rss_mb: Option<f64>,
    verify_entries_per_s: f64,
    verify_url_entries_per_s: f64,
    bytes_per_entry: f64,
    lone_bytes_per_entry: f64,
    entries: u64,
    envelope_bytes: usize,
    lone_p50_us: f64,
    bare_write_fdatasync_p50_us: f64,
    bare_write_mb_per_s: f64,
    bare_sha256_per_s: f64,
}

pub(crate) fn run(arguments: &MeasureArguments) -> Result<()> {
    let entries = if arguments.quick { ENTRIES / 10 } else { ENTRIES };
    let folder = temporary(&arguments.folder)?;
    let figures = measure(folder.path(), entries)?;
    if arguments.json {
        output::line(&serde_json::to_string(&figures)?);
    } else {
        output::lines(&figures.table());
    }
    Ok(())
}

fn measure(folder: &Path, entries: u64) -> Result<Figures> {
    output::note("sealwire: measuring the machine itself");
    let bare_sha256_per_s = machine::sha256_per_s(ENVELOPE_BYTES);
    let bare_write_mb_per_s = machine::write_mb_per_s(folder).context("cannot write a file")?;

    output::note(&format!("sealwire: writing a log of {entries} entries"));
    let (measured, rss_mb) = load_and_kill(folder, entries)?;

    output::note("sealwire: opening the log after kill -9");
    let log = folder.join("log");
    let begin = Instant::now();
    let (ledger, writer) = Ledger::open(&log, load::signer()).context("cannot open the log")?;
    let reopen_ms = begin.elapsed().as_secs_f64() * 1e3;
    let size = ledger.size();
    tokio::runtime::Builder::new_current_thread().build()?.block_on(writer.close())?;

    output::note(&format!("sealwire: verifying {size} entries"));
    let begin = Instant::now();
    let verified = verify_folder(&RealDisk, &log, None, &mut |_leaves| {})?;
    let verify_entries_per_s = verified.leaves as f64 / begin.elapsed().as_secs_f64();

    output::note("sealwire: verifying it by its address");
    let verify_url_entries_per_s = verify_url(&log)?;

    Ok(Figures {
        batch_entries_per_s: measured.batch_entries_per_s,
        single_entries_per_s: measured.single_entries_per_s,
        lone_over_bare: measured.lone_p50_us / measured.bare_p50_us,
        proof_p50_us: measured.proof_p50_us,
        reopen_ms,
        rss_mb,
        verify_entries_per_s,
        verify_url_entries_per_s,
        bytes_per_entry: measured.bytes_per_entry,
        lone_bytes_per_entry: measured.lone_bytes_per_entry,
        entries: size,
        envelope_bytes: ENVELOPE_BYTES,
        lone_p50_us: measured.lone_p50_us,
        bare_write_fdatasync_p50_us: measured.bare_p50_us,
        bare_write_mb_per_s,
        bare_sha256_per_s,
    })
}

/// Starts a process that fills a log and measures itself, and kills it while it continues to
/// append. Returns its measurements and its peak memory in megabytes.
fn load_and_kill(folder: &Path, entries: u64) -> Result<(Measured, Option<f64>)> {
    let entries = entries.to_string();
    let (child, line) =
        Killed::start(&["ledger-load".as_ref(), folder.as_ref(), entries.as_ref()])?;
    let measured = serde_json::from_str(&line).context("the process that fills the log failed")?;
    Ok((measured, resident_mb(child.0.id())))
}

/// Verifies the log by its address, which another process serves. Returns entries per second.
fn verify_url(log: &Path) -> Result<f64> {
    let (_child, url) = Killed::start(&["ledger-serve".as_ref(), log.as_ref()])?;
    let begin = Instant::now();
    let verified = verify_tree(&HttpLog::new(url.trim_end(), None), None, &mut |_leaves| {})?;
    Ok(verified.checkpoint.size.get() as f64 / begin.elapsed().as_secs_f64())
}

/// Runs the serving process: prints the log's address, and serves until it is killed.
pub(crate) fn serve_until_killed(arguments: &LedgerServeArguments) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let (ledger, writer) =
            Ledger::open(&arguments.folder, load::signer()).context("cannot open the log")?;
        ledger.publish_checkpoint().await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        output::line(&format!("http://{}", listener.local_addr()?));
        serve_public(ledger, listener, CancellationToken::new()).await;
        writer.close().await.context("the log could not be closed")
    })
}

/// A process that does not outlive this value. It is killed without notice, as in a crash.
#[derive(Debug)]
pub(super) struct Killed(pub(super) Child);

impl Killed {
    /// Starts a part of `sealwire bench` as a process, and reads the first line that it prints.
    pub(super) fn start(arguments: &[&OsStr]) -> Result<(Self, String)> {
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        let started = Command::new(program)
            .arg("bench")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `bench` with {arguments:?}"))?;
        let mut child = Self(started);
        let stdout = child.0.stdout.take().context("the process has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok((child, line))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // If the process has ended already, there is nothing to kill.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Peak memory of a process in megabytes; `None` if the system does not report it.
pub(super) fn resident_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024.0 / 1e6)
}

impl Figures {
    /// The figures as a table for people, each beside its target and a figure to compare it with.
    fn table(&self) -> String {
        let rss = self.rss_mb.map_or_else(|| String::from("unknown"), |mb| format!("{mb:.0} MB"));
        let envelope_bytes = self.envelope_bytes;
        let rows = [
            ("a log of", format!("{} entries", self.entries), String::new()),
            (
                "4 writers, batches of 1,000",
                format!("{:.0} entries/s", self.batch_entries_per_s),
                String::from("at least 250,000"),
            ),
            (
                "256 writers, one at a time",
                format!("{:.0} entries/s", self.single_entries_per_s),
                String::from("at least 20,000"),
            ),
            ("one writer alone, p50", format!("{:.0} us", self.lone_p50_us), String::new()),
            (
                "  over a bare write and fdatasync",
                format!("{:.2}", self.lone_over_bare),
                String::from("at most 1.5"),
            ),
            (
                "inclusion proof, p50, warm",
                format!("{:.1} us", self.proof_p50_us),
                String::from("under 50"),
            ),
            (
                "opened after kill -9",
                format!("{:.0} ms", self.reopen_ms),
                String::from("under 2,000"),
            ),
            ("most memory", rss, String::from("under 150")),
            (
                "verified in full",
                format!("{:.0} entries/s", self.verify_entries_per_s),
                String::from("at least 1,000,000"),
            ),
            (
                "  by its address, served here",
                format!("{:.0} entries/s", self.verify_url_entries_per_s),
                String::from("at least 1,000,000"),
            ),
            (
                "on disk, all files",
                format!("{:.0} bytes per entry", self.bytes_per_entry),
                String::from("under 200"),
            ),
            (
                "  where each was appended alone",
                format!("{:.0} bytes per entry", self.lone_bytes_per_entry),
                String::from("under 200"),
            ),
            (
                "this machine: write and fdatasync, p50",
                format!("{:.0} us", self.bare_write_fdatasync_p50_us),
                String::new(),
            ),
            ("  large writes", format!("{:.0} MB/s", self.bare_write_mb_per_s), String::new()),
            (
                "  SHA-256 of an envelope",
                format!("{:.0}/s on one core", self.bare_sha256_per_s),
                String::new(),
            ),
        ];
        let mut table = format!(
            "envelopes of {envelope_bytes} bytes, both trees, fsync on{:>30}{:>20}\n",
            "measured", "aim"
        );
        for (what, measured, aim) in rows {
            table.push_str(&format!("{what:<44}{measured:>32}{aim:>20}\n"));
        }
        table
    }
}
