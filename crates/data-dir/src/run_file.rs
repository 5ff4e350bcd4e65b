//! `run.json`: where a running site is found.
//!
//! It is written once the log port answers and removed when the site stops in order. After a crash
//! it stays; that the folder is not locked then says that it means nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Its name in the data directory.
const NAME: &str = "run.json";

/// Where a site is found once everything answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Addresses {
    /// The page and its API.
    pub http: String,
    /// The log.
    pub log: String,
    /// NATS clients.
    pub nats: String,
    /// MQTT devices.
    pub mqtt: String,
    /// The log's verifier key.
    pub vkey: String,
}

/// A running site, for those who may read its data directory. There is no secret in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RunFile {
    /// Where it is found.
    #[serde(flatten)]
    pub addresses: Addresses,
}

/// The file in a data directory.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

impl RunFile {
    /// The one in a data directory.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        let bytes = fs::read(data_dir.join(NAME))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).expect("addresses are text");
        durable::replace(&data_dir.join(NAME), &json)
    }

    /// Where it cannot be removed, the lock says all the same that no site runs.
    pub fn remove(data_dir: &Path) {
        let _gone = fs::remove_file(data_dir.join(NAME));
    }
}
