//! `run.json`: the addresses of a running site.
//!
//! The site writes it once the log port answers, and removes it when it stops in order. After a
//! crash the file stays, but then the folder is not locked, which shows that the file is out of
//! date.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// File name in the data directory.
const NAME: &str = "run.json";

/// Addresses of a site, known once everything answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Addresses {
    /// URL of the page and its API.
    pub http: String,
    /// URL of the log.
    pub log: String,
    /// Address for NATS clients.
    pub nats: String,
    /// Address for MQTT devices.
    pub mqtt: String,
    /// The log's verifier key.
    pub vkey: String,
}

/// A running site, for accounts that may read its data directory. Holds no secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RunFile {
    /// Addresses of the site.
    #[serde(flatten)]
    pub addresses: Addresses,
}

/// Path of the file in a data directory.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

impl RunFile {
    /// Reads the file in a data directory.
    ///
    /// # Errors
    /// There is no file, or it cannot be read.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        let bytes = fs::read(data_dir.join(NAME))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Writes the file in a data directory, and makes it durable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).expect("addresses are text");
        durable::replace(&data_dir.join(NAME), &json)
    }

    /// Removes the file. If that fails, the lock still shows that no site runs.
    pub fn remove(data_dir: &Path) {
        let _gone = fs::remove_file(data_dir.join(NAME));
    }
}
