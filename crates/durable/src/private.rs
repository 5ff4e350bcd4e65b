//! Folders and files that only their owner can use.

use std::{
    env,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Permission bits of a new folder.
const FOLDER_MODE: u32 = 0o700;
/// Permission bits of a new file.
const FILE_MODE: u32 = 0o600;
/// Permission bits of all other accounts, which are removed.
const OTHERS: u32 = 0o077;
/// Variable that names the folder of what systemd has handed to this service (`LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The bit by which such a file shows that somebody is on its access list: the service's account,
/// which does not own the file.
const LISTED: u32 = 0o040;

/// Creates a folder and its missing parents for their owner alone.
///
/// # Errors
/// One of them cannot be created, or a path names something other than a folder.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Options for opening files. A file that they create is private to its owner.
#[must_use]
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// The permission bits of a file if other accounts may use it; `None` if only its owner may.
///
/// # Errors
/// The file's metadata cannot be read.
pub fn open_to_others(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    let folder = env::var_os(CREDENTIALS);
    let is_credential = folder.is_some_and(|folder| path.parent() == Some(Path::new(&folder)));
    let others = if is_credential { OTHERS & !LISTED } else { OTHERS };
    Ok((mode & others != 0).then_some(mode))
}

/// The result of [`close_to_others`].
#[derive(Debug, Default)]
pub struct Closed {
    /// Number of folders and files that other accounts could use before.
    pub count: u64,
    /// The first one that could not be closed, and the error.
    pub failed: Option<(PathBuf, io::Error)>,
}

/// Removes all access of other accounts to a folder and everything in it. It does not follow
/// symbolic links, and does not change a path for which `leaves_alone` returns `true`.
///
/// It works from the top down: once a folder is closed, no other account can replace an entry in
/// it.
#[must_use]
pub fn close_to_others(folder: &Path, leaves_alone: &dyn Fn(&Path) -> bool) -> Closed {
    let mut closed = Closed::default();
    closed.close(folder, leaves_alone);
    closed
}

impl Closed {
    /// Messages about the result, one for each line; none if nothing was open.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let count = self.count;
        let closed = (count > 0).then(|| {
            format!("{count} folders and files were open to other accounts; their modes are corrected now")
        });
        let failed = self.failed.as_ref().map(|(path, error)| {
            format!(
                "{} is open to other accounts, and its mode cannot be corrected: {error}",
                path.display()
            )
        });
        closed.into_iter().chain(failed)
    }

    fn close(&mut self, path: &Path, leaves_alone: &dyn Fn(&Path) -> bool) {
        if leaves_alone(path) {
            return;
        }
        match self.try_close(path) {
            // A temporary file may be gone again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.failed.get_or_insert_with(|| (path.to_owned(), error));
            }
            Ok(inside) => inside.iter().for_each(|path| self.close(path, leaves_alone)),
        }
    }

    /// Closes one entry and lists what it contains.
    fn try_close(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let found = fs::symlink_metadata(path)?;
        if found.is_symlink() {
            return Ok(Vec::new());
        }
        let mode = found.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))?;
            self.count += 1;
        }
        if !found.is_dir() {
            return Ok(Vec::new());
        }
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_folder(&inner).unwrap();
        create_folder(&inner).unwrap();
        let file = inner.join("file");
        private_file().write(true).create(true).open(&file).unwrap();
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
    }

    #[test]
    fn what_was_open_is_closed_and_what_links_point_to_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
        fs::create_dir_all(data.join("nats/store")).unwrap();
        for path in [&data, &data.join("nats"), &data.join("nats/store")] {
            fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        for file in [&elsewhere, &data.join("nats/store/1.blk"), &data.join("secret")] {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        symlink(&elsewhere, data.join("link")).unwrap();

        let closed = close_to_others(&data, &|path| path.ends_with("secret"));
        assert!(closed.failed.is_none(), "{closed:?}");
        assert_eq!(closed.count, 4);
        for path in ["", "nats", "nats/store"] {
            assert_eq!(mode(&data.join(path)), 0o700, "{path}");
        }
        assert_eq!(mode(&data.join("nats/store/1.blk")), 0o600);
        assert_eq!((mode(&data.join("secret")), mode(&elsewhere)), (0o644, 0o644));
        assert_eq!(close_to_others(&data, &|path| path.ends_with("secret")).count, 0);
    }
}
