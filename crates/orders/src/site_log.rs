//! Opens a site's log with its keys, for the site and for commands that work on a stopped one.

use std::{io, path::PathBuf};

use access::{
    ApiTokenError, ApiTokens, HostError, Hosts, hosts_path_in,
    sensors::{CredentialError, SensorCredentials, credentials_path_in},
};
use data_dir::{DataDir, saved_searches};
use ledger::{KeyError, KeyFiles, Ledger, OpenError, Storage, Writer};
use tlog::KeyName;

use crate::{
    operator::Operator,
    site_time::{self, SiteTime},
};

/// The open log of a site.
#[derive(Debug)]
pub struct SiteLog {
    /// The open log.
    pub ledger: Ledger,
    /// The log's writer. The caller must close it.
    pub writer: Writer,
    /// Carries out an operator's orders on this log.
    pub operator: Operator,
}

impl SiteLog {
    /// Opens the log in `data_dir`, or creates one. The key is in `key_file`, or in the folder if
    /// that is `None`. Blocks while the log recovers.
    ///
    /// # Errors
    /// The key or the log cannot be used.
    pub fn open(data_dir: &DataDir, key_file: Option<PathBuf>) -> Result<Self, SiteLogError> {
        Self::open_on(Storage::default(), data_dir, key_file)
    }

    /// Opens the log like [`SiteLog::open`], and adopts leaves beyond the checkpoint that no
    /// signature of the site's key covers. [`Ledger::adopted`] counts them. Call this only if an
    /// operator asked for it, because the next checkpoint signs those leaves.
    ///
    /// # Errors
    /// As [`SiteLog::open`].
    pub fn open_adopting(
        data_dir: &DataDir,
        key_file: Option<PathBuf>,
    ) -> Result<Self, SiteLogError> {
        Self::open_on(Storage { adopts_tail: true, ..Storage::default() }, data_dir, key_file)
    }

    fn open_on(
        storage: Storage,
        data_dir: &DataDir,
        key_file: Option<PathBuf>,
    ) -> Result<Self, SiteLogError> {
        let name = KeyName::parse(&data_dir.origin()).expect("a site's name is checked");
        let keys = KeyFiles::new(key_file.unwrap_or_else(|| data_dir.key()));
        let signers = keys.load_or_create(&name, &data_dir.ledger())?;
        let (ledger, writer) = Ledger::open_on(storage, &data_dir.ledger(), signers)?;
        // This also runs when a command erases on a stopped site, where no API can forget the
        // words.
        let folder = data_dir.path().to_owned();
        ledger.after_erasing(move || saved_searches::forget_words(&folder));
        // A crash may have interrupted a rotation. The log knows which key it has now.
        keys.settle(&ledger.vkey())?;
        let tokens = ApiTokens::load(access::path_in(data_dir.path()))?;
        let credentials = SensorCredentials::load(credentials_path_in(data_dir.path()))?;
        let hosts = Hosts::load(hosts_path_in(data_dir.path()))?;
        let clock = data_dir.path().join(site_time::NAME);
        let time = SiteTime::open(clock.clone(), ledger.found_received_at())
            .map_err(|source| SiteLogError::Clock { path: clock, source })?;
        let (retention, access) = (data_dir.retention(), (tokens, credentials));
        let hosts = (hosts, data_dir.hosts_key());
        let operator = Operator::new(ledger.clone(), keys, (retention, time), access, hosts);
        Ok(Self { ledger, writer, operator })
    }
}

/// Why a site's log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SiteLogError {
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file with the site's own time cannot be used.
    #[error("cannot use {}, which holds the site's own time", path.display())]
    Clock {
        /// Path of the file `clock`.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file with the programs' tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] ApiTokenError),
    /// The file with the devices' credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The file with the hosts on other machines cannot be used.
    #[error(transparent)]
    Hosts(#[from] HostError),
}
