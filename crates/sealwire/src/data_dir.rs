//! The log in a site's data directory, for commands that only look at it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use ledger::{LogReader, disk::RealDisk};
use site::DataDir;
use tlog::VerifierKey;

/// The ledger's folder.
pub(crate) fn ledger_of(data_dir: &Path) -> Result<PathBuf> {
    let ledger = DataDir::ledger_of(data_dir);
    if !ledger.is_dir() {
        bail!("{} is not a site's data directory: it has no folder `ledger`", data_dir.display());
    }
    Ok(ledger)
}

/// The log as its newest checkpoint has it, while a site runs or not.
pub(crate) fn look(data_dir: &Path, vkey: Option<&VerifierKey>) -> Result<LogReader> {
    Ok(LogReader::open(Arc::new(RealDisk), &ledger_of(data_dir)?, vkey)?)
}
