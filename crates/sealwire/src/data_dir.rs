//! Opens the log in a site's data directory, for commands that only read it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use data_dir::DataDir;
use ledger::{LogReader, disk::RealDisk};
use model::LogId;
use tlog::VerifierKey;

use crate::cli::WhichLog;

/// Folder of the log in a data directory.
pub(crate) fn ledger_of(data_dir: &Path) -> Result<PathBuf> {
    let ledger = DataDir::ledger_of(data_dir);
    if !ledger.is_dir() {
        bail!("{} is not a site's data directory: it has no folder `ledger`", data_dir.display());
    }
    Ok(ledger)
}

/// Opens the log at its newest checkpoint or, if `witnessed`, at the newest one that satisfied the
/// site's witness policy.
pub(crate) fn look_as_asked(
    data_dir: &Path,
    which: &WhichLog,
    witnessed: bool,
) -> Result<LogReader> {
    let log = if witnessed { look_witnessed(data_dir, None) } else { look(data_dir, None) }?;
    which.check(log.keys().log_id())?;
    Ok(log)
}

impl WhichLog {
    /// Refuses a log that is not the one that the caller named.
    pub(crate) fn check(&self, log: LogId) -> Result<()> {
        match &self.log {
            Some(named) if !named.is_of(log) => bail!("the log here is {log}, not {named}"),
            _ => Ok(()),
        }
    }
}

/// Opens the log at its newest checkpoint, whether or not a site runs.
pub(crate) fn look(data_dir: &Path, vkey: Option<&VerifierKey>) -> Result<LogReader> {
    Ok(LogReader::open(Arc::new(RealDisk), &ledger_of(data_dir)?, vkey)?)
}

/// Opens the log at the newest checkpoint that satisfied the site's witness policy.
pub(crate) fn look_witnessed(data_dir: &Path, vkey: Option<&VerifierKey>) -> Result<LogReader> {
    let ledger = ledger_of(data_dir)?;
    let path = DataDir::witnessed_of(data_dir);
    let name = path.display();
    let note = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{name} does not exist: no checkpoint has satisfied the witness policy yet")
        }
        read => read.with_context(|| format!("cannot read {name}"))?,
    };
    LogReader::open_under(Arc::new(RealDisk), &ledger, note, vkey)
        .with_context(|| format!("{name} is not a checkpoint of this log in its current state"))
}
