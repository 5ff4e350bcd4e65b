//! A site's data directory: its owner, its version, and the lock that keeps other processes out.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use durable::{Closed, Lock, LockError};
use serde::{Deserialize, Serialize};

/// Version of the directory's layout. Other versions are refused.
const VERSION: u32 = 1;
/// File with the layout's version and the site's name.
pub const DESCRIPTION: &str = "site.json";
/// File that a process locks while it uses the directory.
pub const LOCK: &str = "lock";
/// File with the log's signing key.
pub const KEY: &str = "site.key";
/// File with the next key, during a rotation.
pub const NEXT_KEY: &str = "site.key.next";
/// File with the token that allows a caller to read envelopes.
pub const ACCESS_TOKEN: &str = "access-token";
/// File that says how long envelopes are kept.
pub const RETENTION: &str = "retention";
/// File that says which witnesses must have cosigned a checkpoint.
pub const WITNESS_POLICY: &str = "witness-policy";
/// File that says how Pangea's API shows the log.
pub const PANGEA: &str = "pangea.json";
/// The operator's files. They are small and cannot be derived from anything else.
pub const CONFIGURATION: [&str; 3] = [PANGEA, RETENTION, WITNESS_POLICY];
/// Socket through which a running site receives orders.
pub const ORDERS: &str = "orders.sock";
/// File of the index.
pub const INDEX: &str = "index.sqlite";
/// Folder of the site's own certificate authority, which may exist before the site.
pub const TLS: &str = "tls";
/// File with the key of the authority that hosts on other machines know.
pub const HOSTS_KEY: &str = "tls/hosts.key";
/// What may be in the folder of a new site: the authority, and files that an interrupted start
/// left. Only earlier versions left the last one.
const OURS: [&str; 4] = [TLS, LOCK, "site.json.unfinished", "site.next"];
/// Files with secrets. If other accounts can read one, the secret may be known. So the site refuses
/// the file instead of closing it silently.
const SECRETS: [&str; 6] = [ACCESS_TOKEN, KEY, NEXT_KEY, "tls/ca.key", "tls/site.pem", HOSTS_KEY];

/// Checks that the index can have its file in this folder.
///
/// # Errors
/// Something else has the name.
pub fn index_can_lie(folder: &Path) -> Result<(), IndexPlaceError> {
    let path = folder.join(INDEX);
    is_no_folder(&path).map_err(|source| IndexPlaceError { path, source })
}

/// Something other than a file has the index's name.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the index {}", path.display())]
pub struct IndexPlaceError {
    /// Path of the index.
    path: PathBuf,
    /// Error of the operating system.
    source: io::Error,
}

/// Checks that a file can be written at this path.
///
/// # Errors
/// The path is a folder, or cannot be examined.
pub fn is_no_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Checks that a folder exists or can be created at this path.
///
/// # Errors
/// Something other than a folder has the name, or the path cannot be examined.
pub fn is_folder(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A site's data directory. It stays locked for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    name: String,
    closed: Closed,
    _lock: Lock,
}

#[derive(Deserialize, Serialize)]
struct Description {
    version: u32,
    name: String,
}

impl DataDir {
    /// Longest site name in characters.
    pub const NAME_CHARS_MAX: usize = 60;

    /// Opens and locks the directory, or creates one for a new site. `name` is the site's name.
    /// Without it, an existing site keeps its name and a new one is called `site`.
    ///
    /// # Errors
    /// The directory belongs to another program, version or site, or is in use. Nothing is changed
    /// then.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        durable::create_folder(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let description = path.join(DESCRIPTION);
        let is_new = !description.exists();
        if is_new
            && fs::read_dir(&path).map_err(failed)?.any(|entry| {
                entry.is_ok_and(|entry| !OURS.iter().any(|ours| entry.file_name() == *ours))
            })
        {
            return Err(DataDirError::Foreign { path });
        }
        let lock = match Lock::take(&path.join(LOCK)) {
            Err(LockError::Held { .. }) => return Err(DataDirError::InUse { path }),
            taken => taken?,
        };
        let closed = durable::close_to_others(&path, &|inner| {
            SECRETS.iter().any(|secret| inner == path.join(secret))
        });
        let name = if is_new {
            let name = check_name(name.unwrap_or("site"))?;
            describe(&description, &Description { version: VERSION, name: name.clone() })
                .map_err(failed)?;
            name
        } else {
            let described = read_name(&path, &description)?;
            if let Some(asked) = name.filter(|name| *name != described).map(str::to_owned) {
                return Err(DataDirError::OtherSite { path, name: described, asked });
            }
            described
        };
        Ok(Self { path, name, closed, _lock: lock })
    }

    /// The name of the site whose directory is at `path`. Neither locks nor changes the directory.
    ///
    /// # Errors
    /// It is not a site's directory, or one of another version.
    pub fn name_of(path: &Path) -> Result<String, DataDirError> {
        let description = path.join(DESCRIPTION);
        match description.try_exists() {
            Ok(true) => read_name(path, &description),
            Ok(false) => Err(DataDirError::NoSite { path: path.to_owned() }),
            Err(source) => Err(DataDirError::Io { path: path.to_owned(), source }),
        }
    }

    /// Whether a site runs in the directory at `path` now.
    ///
    /// # Errors
    /// The lock cannot be examined.
    pub fn is_in_use(path: &Path) -> Result<bool, LockError> {
        Lock::is_held(&path.join(LOCK))
    }

    /// Makes an empty folder the directory of a site with this name.
    pub fn describe(path: &Path, name: &str) -> io::Result<()> {
        let description = Description { version: VERSION, name: name.to_owned() };
        describe(&path.join(DESCRIPTION), &description)
    }

    /// Opens and locks the directory of an existing site.
    ///
    /// # Errors
    /// As [`DataDir::open`], and if there is no site.
    pub fn open_existing(path: &Path) -> Result<Self, DataDirError> {
        if path.join(DESCRIPTION).is_file() {
            Self::open(path, None)
        } else {
            Err(DataDirError::NoSite { path: path.to_owned() })
        }
    }

    /// Path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was open to other accounts, as an earlier version left it: how much of it is closed
    /// now, and what could not be closed.
    #[must_use]
    pub const fn closed(&self) -> &Closed {
        &self.closed
    }

    /// The site's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Origin of the site's log. The name is not a reachable address: only the site answers for its
    /// log.
    #[must_use]
    pub fn origin(&self) -> String {
        Self::origin_of(&self.name)
    }

    /// Origin of the log of a site with this name.
    pub fn origin_of(name: &str) -> String {
        format!("sealwire.local/{name}")
    }

    /// Folder of the log.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        Self::ledger_of(&self.path)
    }

    /// Folder of the log in the data directory at `path`, which need not be open.
    #[must_use]
    pub fn ledger_of(path: &Path) -> PathBuf {
        path.join("ledger")
    }

    /// Path of the log's signing key.
    pub fn key(&self) -> PathBuf {
        self.path.join(KEY)
    }

    /// Path of the key of the authority that hosts on other machines know.
    #[must_use]
    pub fn hosts_key(&self) -> PathBuf {
        self.path.join(HOSTS_KEY)
    }

    /// Path of the token that allows a caller to read envelopes.
    pub fn access_token(&self) -> PathBuf {
        self.path.join(ACCESS_TOKEN)
    }

    /// Path of the retention file.
    pub fn retention(&self) -> PathBuf {
        self.path.join(RETENTION)
    }

    /// Path of the file that says which witnesses must have cosigned a checkpoint before the site
    /// shows it. Without the file, no witness must.
    pub fn witness_policy(&self) -> PathBuf {
        self.path.join(WITNESS_POLICY)
    }

    /// Path of the newest checkpoint that satisfied the policy.
    pub fn witnessed(&self) -> PathBuf {
        Self::witnessed_of(&self.path)
    }

    /// Path of that checkpoint in the data directory at `path`, which need not be open.
    #[must_use]
    pub fn witnessed_of(path: &Path) -> PathBuf {
        path.join("witnessed-checkpoint")
    }

    /// Path of the file that says how Pangea's API shows the log. It may not exist.
    pub fn pangea(&self) -> PathBuf {
        self.path.join(PANGEA)
    }

    /// Folder for what the server of a mirror answered.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.path.join("mirror")
    }

    /// Path of the file with what devices have declared. It may not exist.
    pub fn declarations(&self) -> PathBuf {
        self.path.join("declarations")
    }

    /// Path of the index. The file may be deleted while the site does not run.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        Self::index_of(&self.path)
    }

    /// Path of the index in the data directory at `path`, which need not be open.
    #[must_use]
    pub fn index_of(path: &Path) -> PathBuf {
        path.join(INDEX)
    }

    /// Folder of the engine with this name.
    pub fn engine(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn read_name(folder: &Path, description: &Path) -> Result<String, DataDirError> {
    let text = fs::read_to_string(description)
        .map_err(|source| DataDirError::Io { path: folder.to_owned(), source })?;
    let described: Description = serde_json::from_str(&text)
        .map_err(|source| DataDirError::Description { path: description.to_owned(), source })?;
    if described.version != VERSION {
        return Err(DataDirError::Version { path: folder.to_owned(), version: described.version });
    }
    check_name(&described.name)
}

fn describe(path: &Path, description: &Description) -> io::Result<()> {
    let mut json = serde_json::to_vec(description)?;
    json.push(b'\n');
    durable::replace(path, &json)
}

/// Checks a site's name.
///
/// # Errors
/// [`DataDirError::Name`], if it has other characters than a-z, 0-9, `-`, `.` and `_`, or not 1 to
/// [`DataDir::NAME_CHARS_MAX`] of them.
pub fn check_name(name: &str) -> Result<String, DataDirError> {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    if (1..=DataDir::NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(allowed) {
        Ok(name.to_owned())
    } else {
        Err(DataDirError::Name { name: name.to_owned() })
    }
}

/// Why a folder cannot be used as a site's data directory.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    Io {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Its lock cannot be taken.
    #[error("cannot lock the data directory")]
    Lock(#[from] LockError),
    /// The directory holds something else.
    #[error("{} is not empty and not a site's data directory: name another folder with --data-dir", path.display())]
    Foreign {
        /// Path of the directory.
        path: PathBuf,
    },
    /// The directory has no site.
    #[error("{} is not a site's data directory: name the directory with --data-dir", path.display())]
    NoSite {
        /// Path of the directory.
        path: PathBuf,
    },
    /// Another process uses the directory.
    #[error("another sealwire is using the data directory {}: stop it, or name another directory with --data-dir", path.display())]
    InUse {
        /// Path of the directory.
        path: PathBuf,
    },
    /// The site's description is damaged.
    #[error("{} is not a valid description of a site", path.display())]
    Description {
        /// Path of the description.
        path: PathBuf,
        /// Error of the JSON parser.
        source: serde_json::Error,
    },
    /// The directory has another version.
    #[error("the data directory {} has version {version}, but this sealwire reads version {VERSION}: use the sealwire that wrote it", path.display())]
    Version {
        /// Path of the directory.
        path: PathBuf,
        /// Version of the directory.
        version: u32,
    },
    /// The directory belongs to another site.
    #[error("the data directory {} belongs to the site `{name}`, not `{asked}`: leave --name out, or name another directory", path.display())]
    OtherSite {
        /// Path of the directory.
        path: PathBuf,
        /// Name of the site that owns it.
        name: String,
        /// Name that the caller asked for.
        asked: String,
    },
    /// The text is not a valid site name.
    #[error(
        "`{name}` is not a site name: use 1 to {} characters of a-z, 0-9, `-`, `.` and `_`",
        DataDir::NAME_CHARS_MAX
    )]
    Name {
        /// The text in question.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("sealwire-data-dir-{:016x}", rand::random::<u64>()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn a_folder_has_one_site_and_one_user() {
        let folder = folder();
        let dir = DataDir::open(&folder, Some("plant-1")).unwrap();
        assert!(matches!(DataDir::open(&folder, None), Err(DataDirError::InUse { .. })));
        drop(dir);
        assert!(fs::read_to_string(folder.join(DESCRIPTION)).unwrap().ends_with("}\n"));
        assert_eq!(DataDir::open(&folder, None).unwrap().name(), "plant-1", "it keeps its name");
        assert!(matches!(
            DataDir::open(&folder, Some("plant-2")),
            Err(DataDirError::OtherSite { .. })
        ));
        fs::write(folder.join(DESCRIPTION), r#"{"version":2,"name":"plant-1"}"#).unwrap();
        assert!(matches!(
            DataDir::open(&folder, None),
            Err(DataDirError::Version { version: 2, .. })
        ));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_secret_that_others_could_read_is_refused_and_not_quietly_closed() {
        let folder = folder();
        drop(DataDir::open(&folder, None).unwrap());
        let (key, other) = (folder.join(KEY), folder.join("pangea-searches"));
        for file in [&key, &other] {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let opened = DataDir::open(&folder, None).unwrap();
        assert_eq!(opened.closed().count, 1, "{:?}", opened.closed());
        assert_eq!((mode(&key), mode(&other), mode(&folder)), (0o644, 0o600, 0o700));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_is_locked_or_emptied_by_way_of_a_link() {
        let (folder, theirs) = (folder(), folder());
        let theirs = theirs.join("letters");
        fs::write(&theirs, "dear").unwrap();
        std::os::unix::fs::symlink(&theirs, folder.join(LOCK)).unwrap();
        let refusal = DataDir::open(&folder, None).unwrap_err();
        assert!(matches!(refusal, DataDirError::Lock(LockError::File(_))), "{refusal}");
        assert_eq!(fs::read(&theirs).unwrap(), b"dear");
        for folder in [&folder, theirs.parent().unwrap()] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn what_is_not_a_sites_is_left_alone() {
        let folder = folder();
        fs::write(folder.join("thesis.tex"), "").unwrap();
        assert!(matches!(DataDir::open(&folder, None), Err(DataDirError::Foreign { .. })));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
        for name in ["", "Plant 1", "a/b", "ä"] {
            assert!(matches!(check_name(name), Err(DataDirError::Name { .. })), "{name}");
        }
    }
}
