//! `sealwire verify --since`: shows that a log has only grown since an older checkpoint.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ledger::verify::{Grown, LogSource, verify_growth};
use tlog::VerifierKey;

use super::{
    http_log::HttpLog,
    shown::{Shown, ok, report_keys},
};
use crate::data_dir;

/// Reads the older checkpoint from the file of the person who kept it.
pub(super) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file)
        .with_context(|| format!("cannot read the checkpoint {}", file.display()))
}

pub(super) fn verify_http(url: &str, since: &str, vkey: Option<&VerifierKey>) -> Result<Shown> {
    let mut log = HttpLog::new(url);
    verify(&mut log, vkey, since)
}

pub(super) fn verify_data_dir(
    folder: &Path,
    since: &str,
    vkey: Option<&VerifierKey>,
) -> Result<Shown> {
    let mut log = data_dir::look(folder, vkey)?;
    verify(&mut log, vkey, since)
}

fn verify(log: &mut impl LogSource, vkey: Option<&VerifierKey>, since: &str) -> Result<Shown> {
    let Grown { since, checkpoint, keys } = verify_growth(log, vkey, since)?;
    ok(&format!(
        "the newest checkpoint, of {} leaves, extends the older one of {} leaves",
        checkpoint.size, since.size
    ));
    report_keys(&checkpoint, &keys, vkey.is_some(), "log");
    let mut shown = Shown::default();
    shown.demand(since.size.get() > 0, || {
        String::from("the older checkpoint covers no entries, so every log extends it")
    });
    Ok(shown)
}
