//! Hosts on other machines that may run a site's workloads: the file `host-credentials` in the data
//! directory.
//!
//! The site keeps the certificates of a host, which are public, and not their keys. The hosts'
//! server knows these very certificates: who is not in the file is not let in.
//!
//! Removing a host first takes its certificates away. Its line stays until the log records the
//! removal. Whatever happens in between, the host is no longer let in, and the event is sealed
//! later.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    api_tokens::{Revocation, TokenName},
    sensors::name::CredentialName,
};

/// What the name of the token begins with, with which a host on another machine pulls images.
pub const HOST_TOKEN_PREFIX: &str = "host.";
/// Most hosts on other machines. Each has an account on the hosts' server, and the reconciler knows
/// 64 hosts.
const HOSTS_MAX: usize = 60;
/// Longest name in characters. The token with which a host pulls images is named after it.
const NAME_CHARS_MAX: usize = 50;

/// A host on another machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Host {
    /// Name of the host: a level of subjects, and a file name.
    pub name: CredentialName,
    /// Tells it from an earlier host of that name.
    pub id: String,
    /// Whether it runs users' processors, and nothing else.
    #[serde(default)]
    pub guests: bool,
    /// Its certificates in PEM: the one for control, then the one for data.
    pub certificates_pem: String,
    /// When it was added.
    pub added_at: Timestamp,
}

/// A host as the file stores it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredHost {
    host: Host,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed: Option<Revocation>,
}

/// The hosts on other machines. Cheap to clone. A change is in the file before it is in force.
#[derive(Clone, Debug)]
pub struct Hosts {
    path: PathBuf,
    stored: Arc<Mutex<Vec<StoredHost>>>,
    /// Held while the file is written.
    changing: Arc<Mutex<()>>,
    /// Tells of each change.
    changed: watch::Sender<()>,
}

impl Hosts {
    /// Reads the hosts from the file; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn load(path: PathBuf) -> Result<Self, HostError> {
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| HostError::Damaged { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(HostError::Io { path, source }),
        };
        Ok(Self {
            path,
            stored: Arc::new(Mutex::new(stored)),
            changing: Arc::default(),
            changed: watch::Sender::new(()),
        })
    }

    /// Refuses a name that a host has or that is too long, and one host too many.
    ///
    /// # Errors
    /// One of these.
    pub fn check_new(&self, name: &CredentialName) -> Result<(), HostError> {
        if name.as_str().len() > NAME_CHARS_MAX {
            return Err(HostError::Name);
        }
        let stored = self.stored();
        if stored.iter().any(|stored| stored.host.name == *name) {
            return Err(HostError::Taken { name: name.clone() });
        }
        if stored.len() >= HOSTS_MAX {
            return Err(HostError::TooMany);
        }
        Ok(())
    }

    /// Adds a host. From here on it may be let in.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, host: Host) -> Result<(), HostError> {
        self.change(|stored| {
            stored.push(StoredHost { host, removed: None });
            Ok(())
        })
    }

    /// Removes a host. [`Hosts::removed`] lists it until [`Hosts::forget`].
    ///
    /// # Errors
    /// There is no such host, or the file cannot be written.
    pub fn remove(&self, name: &CredentialName, removal: Revocation) -> Result<(), HostError> {
        self.change(|stored| {
            let is_it = |it: &&mut StoredHost| it.host.name == *name && it.removed.is_none();
            let unknown = || HostError::Unknown { name: name.clone() };
            stored.iter_mut().find(is_it).ok_or_else(unknown)?.removed = Some(removal);
            Ok(())
        })
    }

    /// The hosts that were removed, which the log does not record yet.
    #[must_use]
    pub fn removed(&self) -> Vec<(Host, Revocation)> {
        let removed = |it: &StoredHost| Some((it.host.clone(), it.removed.clone()?));
        self.stored().iter().filter_map(removed).collect()
    }

    /// Drops the line of a removed host. Call it once the log records the removal.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&self, host: &Host) -> Result<(), HostError> {
        self.change(|stored| {
            stored.retain(|it| it.removed.is_none() || it.host != *host);
            Ok(())
        })
    }

    /// The hosts that are let in, in the order in which they were added.
    #[must_use]
    pub fn all(&self) -> Vec<Host> {
        let stored = self.stored();
        let let_in = stored.iter().filter(|it| it.removed.is_none());
        let_in.map(|it| it.host.clone()).collect()
    }

    /// Tells of each change from here on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<StoredHost>) -> Result<(), HostError>,
    ) -> Result<(), HostError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self.stored().clone();
        change(&mut changed)?;
        let json = serde_json::to_vec_pretty(&changed).expect("hosts have only text keys");
        durable::write_secret(&self.path, &json)
            .map_err(|source| HostError::Io { path: self.path.clone(), source })?;
        *self.stored() = changed;
        self.changed.send_replace(());
        Ok(())
    }

    fn stored(&self) -> MutexGuard<'_, Vec<StoredHost>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name of the API token of a host: with it the host pulls images and, with the scope for that, its
/// components hand in events.
///
/// # Panics
/// The name is longer than a host's may be.
#[must_use]
pub fn token_of_host(host: &CredentialName) -> TokenName {
    format!("{HOST_TOKEN_PREFIX}{host}").parse().expect("a host's name is short enough")
}

/// Path of the hosts' file in a data directory.
#[must_use]
pub fn hosts_path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("host-credentials")
}

/// Why a host cannot be added, removed or found.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The file cannot be read or written.
    #[error("cannot use the hosts' file {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("the hosts' file {} is damaged: remove it, and add the hosts again", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Error of the JSON parser.
        source: serde_json::Error,
    },
    /// Another host has this name.
    #[error("there already is a host {name}: choose another name, or remove that host")]
    Taken {
        /// The name in question.
        name: CredentialName,
    },
    /// The name is too long.
    #[error("a host's name has at most {NAME_CHARS_MAX} characters")]
    Name,
    /// No host has this name.
    #[error("there is no host {name}: `sealwire host list` shows all hosts on other machines")]
    Unknown {
        /// The name in question.
        name: CredentialName,
    },
    /// The site has as many hosts as it may.
    #[error("there are {HOSTS_MAX} hosts already, which is the limit: remove some")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, id: &str) -> Host {
        Host {
            name: name.parse().unwrap(),
            id: id.to_owned(),
            guests: false,
            certificates_pem: String::from("pem"),
            added_at: Timestamp::from_unix_micros(0),
        }
    }

    #[test]
    fn a_removed_host_is_not_let_in_and_is_told_of_until_its_removal_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let path = hosts_path_in(folder.path());
        let hosts = Hosts::load(path.clone()).unwrap();
        let (first, second) = (host("hall-1", "a"), host("hall-1", "b"));
        let mut watch = hosts.watch();
        hosts.add(first.clone()).unwrap();
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        assert!(matches!(hosts.check_new(&first.name), Err(HostError::Taken { .. })));
        let removal = Revocation { actor: String::from("ada"), at: Timestamp::from_unix_micros(1) };
        hosts.remove(&first.name, removal.clone()).unwrap();
        assert!(watch.has_changed().unwrap());
        let again = Hosts::load(path).unwrap();
        assert_eq!((again.all(), again.removed()), (vec![], vec![(first.clone(), removal)]));
        assert!(matches!(
            again.remove(&first.name, again.removed().remove(0).1),
            Err(HostError::Unknown { .. })
        ));
        again.forget(&first).unwrap();
        again.check_new(&second.name).unwrap();
        again.add(second.clone()).unwrap();
        assert_eq!((again.all(), again.removed()), (vec![second], vec![]));
    }

    #[test]
    fn there_are_not_too_many_and_a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = hosts_path_in(folder.path());
        let hosts = Hosts::load(path.clone()).unwrap();
        let stored = (0..HOSTS_MAX)
            .map(|number| StoredHost { host: host(&format!("h{number}"), "a"), removed: None });
        *hosts.stored() = stored.collect();
        let refused = hosts.check_new(&"another".parse().unwrap());
        assert!(matches!(refused, Err(HostError::TooMany)), "{refused:?}");
        fs::write(&path, "[{}]").unwrap();
        assert!(matches!(Hosts::load(path), Err(HostError::Damaged { .. })));
    }
}
