//! `sealwire verify --since`: that a log was only added to since an older checkpoint.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ledger::verify::{Grown, KeyHistory, LogSource, verify_growth};
use tlog::VerifierKey;

use super::{HttpLog, ok, report_keys};
use crate::data_dir;

/// The older checkpoint, as whoever kept it has it.
pub(super) fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file)
        .with_context(|| format!("cannot read the checkpoint {}", file.display()))
}

pub(super) fn verify_http(url: &str, since: &str, vkey: Option<&VerifierKey>) -> Result<()> {
    let mut log = HttpLog::new(url);
    let keys = log.keys(vkey)?;
    verify(&mut log, &keys, since, vkey.is_some())
}

pub(super) fn verify_data_dir(
    folder: &Path,
    since: &str,
    vkey: Option<&VerifierKey>,
) -> Result<()> {
    let mut log = data_dir::look(folder, vkey)?;
    let keys = log.keys().clone();
    verify(&mut log, &keys, since, vkey.is_some())
}

fn verify(log: &mut impl LogSource, keys: &KeyHistory, since: &str, was_given: bool) -> Result<()> {
    let Grown { since, checkpoint } = verify_growth(log, keys, since)?;
    ok(&format!(
        "the checkpoint of {} leaves begins with all {} of the older one",
        checkpoint.size, since.size
    ));
    report_keys(&checkpoint, keys, was_given, "log");
    Ok(())
}
