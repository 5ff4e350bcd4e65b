//! Folders and files for their owner alone.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Mode of a folder.
const FOLDER_MODE: u32 = 0o700;
/// Mode of a file.
const FILE_MODE: u32 = 0o600;
/// What other accounts may do.
const OTHERS: u32 = 0o077;

/// Makes a folder for its owner alone, and those above it, unless they are there.
///
/// # Errors
/// One of them cannot be made, or is something else.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Options under which a file that is made is its owner's alone.
#[must_use]
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// What [`close_to_others`] did.
#[derive(Debug, Default)]
pub struct Closed {
    /// Folders and files that other accounts could use before.
    pub count: u64,
    /// The first that could not be closed to them, and why.
    pub failed: Option<(PathBuf, io::Error)>,
}

/// Closes a folder and everything in it to other accounts. Symbolic links are not followed, and
/// what `leaves_alone` names by its path stays as it is.
///
/// It goes from the top: once a folder is closed, nobody else can put another thing in the place of
/// what is in it.
#[must_use]
pub fn close_to_others(folder: &Path, leaves_alone: &dyn Fn(&Path) -> bool) -> Closed {
    let mut closed = Closed::default();
    closed.close(folder, leaves_alone);
    closed
}

impl Closed {
    /// What there is to say of it, a line each; nothing where nothing was open.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let count = self.count;
        let closed = (count > 0).then(|| {
            format!("{count} folders and files were open to other accounts: they are closed now")
        });
        let failed = self.failed.as_ref().map(|(path, error)| {
            format!("{} is open to other accounts and cannot be closed: {error}", path.display())
        });
        closed.into_iter().chain(failed)
    }

    fn close(&mut self, path: &Path, leaves_alone: &dyn Fn(&Path) -> bool) {
        if leaves_alone(path) {
            return;
        }
        match self.try_close(path) {
            // A file of a moment may be gone again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.failed.get_or_insert_with(|| (path.to_owned(), error));
            }
            Ok(inside) => inside.iter().for_each(|path| self.close(path, leaves_alone)),
        }
    }

    /// Closes one thing; answers what is in it.
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
