//! `sealwire bench pipeline`: what components cost a site, with real engines.
//!
//! Judging is measured without the rest of a site, so that readings can be made and appended in
//! this process. Everything else is measured at a whole site, as `sealwire up` starts it.

mod air_gap;
mod hosts;
mod judging;
mod mirror;
mod upgrade;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    figures::table,
    load::ENVELOPE_BYTES,
    machine::{self, temporary},
};
use crate::{
    cli::{PipelineArguments, PipelinePart},
    output,
};

/// Bare writes with fdatasync to time.
const BARE_WRITES: usize = 2_000;

/// The figures, printed with `--json`. A part that was not measured is `null`.
#[derive(Debug, Default, Serialize)]
struct Figures {
    readings_per_s: Option<f64>,
    ledger_alone_per_s: Option<f64>,
    backlog_per_s: Option<f64>,
    three_processors_per_s: Option<f64>,
    derived_p50_ms_1k: Option<f64>,
    derived_p99_ms_1k: Option<f64>,
    derived_p50_ms_5k: Option<f64>,
    derived_p99_ms_5k: Option<f64>,
    events_per_s: Option<f64>,
    cold_start_ms: Option<f64>,
    host_kill_gap_ms: Option<f64>,
    host_kill_late_max_ms: Option<f64>,
    host_replace_s: Option<f64>,
    air_gap_start_s: Option<f64>,
    upgrade_gap_ms: Option<f64>,
    upgrade_late_max_ms: Option<f64>,
    upgrade_lost: Option<u64>,
    rollback_s: Option<f64>,
    pangea_mirror_per_s: Option<f64>,
    host_rss_mb: Option<f64>,
    #[serde(flatten)]
    bare: machine::Bare,
}

pub(crate) fn run(arguments: &PipelineArguments) -> Result<()> {
    let folder = arguments.measure.folder.clone();
    let program = std::env::current_exe().context("cannot find this program")?;
    let bench = Bench { program, folder, is_quick: arguments.measure.quick };
    let here = temporary(&bench.folder)?;
    let bare = machine::Bare::measure(here.path(), ENVELOPE_BYTES, BARE_WRITES)?;
    drop(here);
    let mut figures = Figures { bare, ..Figures::default() };
    let parts = &arguments.parts;
    let has = |part| parts.is_empty() || parts.contains(&part);
    if has(PipelinePart::Judging) {
        bench.judging(&mut figures)?;
    }
    if has(PipelinePart::Hosts) {
        bench.hosts(&mut figures)?;
    }
    if has(PipelinePart::AirGap) {
        bench.air_gap(&mut figures)?;
    }
    if has(PipelinePart::Mirror) {
        bench.mirror(&mut figures)?;
    }
    if has(PipelinePart::Upgrade) {
        bench.upgrade(&mut figures)?;
    }
    if arguments.measure.json {
        output::line(&serde_json::to_string(&figures)?);
    } else {
        output::lines(&figures.table());
    }
    Ok(())
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
    /// With `--quick` it shows that everything works, and no more.
    is_quick: bool,
}

impl Figures {
    /// The figures as a table for people, each beside its target.
    fn table(&self) -> String {
        let lost = self.upgrade_lost.map(|lost| lost as f64);
        let rows = [
            ("readings judged per second", self.readings_per_s, "100,000"),
            ("  the ledger alone", self.ledger_alone_per_s, ""),
            ("  of a backlog", self.backlog_per_s, "100,000"),
            ("  by three processors, each", self.three_processors_per_s, "50,000"),
            ("derived event at 1,000/s, p50, ms", self.derived_p50_ms_1k, "under 10"),
            ("  p99, ms", self.derived_p99_ms_1k, "under 50"),
            ("derived event at 5,000/s, p50, ms", self.derived_p50_ms_5k, ""),
            ("  p99, ms", self.derived_p99_ms_5k, ""),
            ("events of an application per second", self.events_per_s, "20,000"),
            ("start of a component until it answers, ms", self.cold_start_ms, "under 500"),
            ("a host of two dies: nothing judged, ms", self.host_kill_gap_ms, "under 1,000"),
            ("  a verdict comes later at most, ms", self.host_kill_late_max_ms, ""),
            ("the only host dies: nothing judged, s", self.host_replace_s, "under 10"),
            ("start without a network, s", self.air_gap_start_s, "under 10"),
            ("an upgrade: nothing judged, ms", self.upgrade_gap_ms, "under 500"),
            ("  a verdict comes later at most, ms", self.upgrade_late_max_ms, ""),
            ("  verdicts lost or doubled", lost, "0"),
            ("one that fails goes back, s", self.rollback_s, "under 10"),
            ("events mirrored per second", self.pangea_mirror_per_s, "20,000"),
            ("memory of a host with five components, MB", self.host_rss_mb, "under 150"),
        ];
        table(rows.into_iter().chain(self.bare.rows()), 2, &[])
    }
}
