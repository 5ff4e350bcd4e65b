//! `sealwire verify --since`: shows that a log has only grown since an older checkpoint.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ledger::verify::{Grown, KnownLog, LogSource, verify_growth};

use super::{
    http_log::HttpLog,
    shown::{Shown, ok, report_signers},
};
use crate::data_dir;

/// Reads the older checkpoint from the file of the person who kept it.
pub(super) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file)
        .with_context(|| format!("cannot read the checkpoint {}", file.display()))
}

pub(super) fn verify_http(log: &HttpLog, since: &str, known: Option<&KnownLog>) -> Result<Shown> {
    verify(log, known, since)
}

pub(super) fn verify_data_dir(
    folder: &Path,
    since: &str,
    known: Option<&KnownLog>,
) -> Result<Shown> {
    let log = data_dir::look(folder, known.map(|known| &known.key))?;
    verify(&log, known, since)
}

fn verify(log: &impl LogSource, known: Option<&KnownLog>, since: &str) -> Result<Shown> {
    let Grown { since, checkpoint, keys } = verify_growth(log, known, since)?;
    ok(&format!(
        "the newest checkpoint, of {} leaves, extends the older one of {} leaves",
        checkpoint.size, since.size
    ));
    report_signers(&checkpoint, &keys, known.is_some());
    let mut shown = Shown::default();
    shown.demand(since.size.get() > 0, || {
        String::from("the older checkpoint covers no entries, so every log extends it")
    });
    Ok(shown)
}
