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
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Addresses {
    /// URL of the page and its API.
    pub http: String,
    /// URL of the log.
    pub log: String,
    /// Address for NATS clients.
    pub nats: String,
    /// Address for MQTT devices.
    pub mqtt: String,
    /// URL of the registry, if it has a port besides that of the site's own host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Address for leaf nodes, if they may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
    /// Address for hosts on other machines, if they may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<String>,
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
        let mut json = serde_json::to_vec(self).expect("addresses are text");
        json.push(b'\n');
        durable::replace(&data_dir.join(NAME), &json)
    }

    /// Removes the file. If that fails, the lock still shows that no site runs.
    pub fn remove(data_dir: &Path) {
        let _gone = fs::remove_file(data_dir.join(NAME));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_one_line_and_is_read_as_it_was_written() {
        let folder =
            std::env::temp_dir().join(format!("sealwire-run-file-{:016x}", rand::random::<u64>()));
        fs::create_dir(&folder).unwrap();
        let said = |text: &str| text.to_owned();
        let addresses = Addresses {
            http: said("http://127.0.0.1:8080"),
            log: said("http://127.0.0.1:8081"),
            nats: said("127.0.0.1:4222"),
            mqtt: said("127.0.0.1:1883"),
            registry: None,
            leaf: None,
            hosts: None,
            vkey: said("site+1+key"),
        };
        RunFile { addresses: addresses.clone() }.write(&folder).unwrap();
        let text = fs::read_to_string(path_in(&folder)).unwrap();
        assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
        assert_eq!(RunFile::read(&folder).unwrap().addresses, addresses);
        fs::remove_dir_all(folder).unwrap();
    }
}
