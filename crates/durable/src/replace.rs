//! Files that are there whole or not at all.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::private::private_file;

/// What a file is called, behind its name, until it is whole. What a crash leaves of it means
/// nothing.
const UNFINISHED: &str = ".unfinished";

/// Replaces a private file. Once it returns, a crash leaves the new content; until then the old or
/// the new one, whole.
///
/// # Errors
/// The old or the new content is there, whole, and nobody knows which a crash would leave.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(content))
}

/// The same with a content that is written piece by piece. One file has one writer at a time.
///
/// # Errors
/// As [`replace`], or that of `content`.
pub fn replace_with(
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = unfinished(path)?;
    // Whatever lies there, a link to elsewhere or a file that others may read, is not written into.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private_file().write(true).create_new(true).open(&unfinished)?;
    let written = content(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path));
    if let Err(error) = written {
        // The disk may be full: half a file would take room from what is to be written next.
        let _gone = fs::remove_file(&unfinished);
        return Err(error);
    }
    sync_folder_of(path)
}

/// Makes durable what was made, renamed and removed in a folder.
///
/// # Errors
/// It cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The same of the folder that a file is in.
///
/// # Errors
/// As [`sync_folder`].
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().map(OsStr::to_owned);
    let mut name = name.ok_or_else(|| io::Error::other("the path names no file"))?;
    name.push(UNFINISHED);
    Ok(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_secret_goes_neither_through_a_link_nor_into_a_file_that_others_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, theirs) = (folder.path().join("site.key"), folder.path().join("theirs"));
        let beside = folder.path().join("site.key.unfinished");
        let plant: [&dyn Fn(); 2] = [&|| symlink(&theirs, &beside).unwrap(), &|| {
            fs::write(&beside, "").unwrap();
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o666)).unwrap();
        }];
        for plant in plant {
            plant();
            replace(&path, b"secret").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"secret");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!theirs.exists() && !beside.exists());
        }
    }

    #[test]
    fn what_fails_leaves_what_was_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace(&path, b"old").unwrap();
        let full = |file: &mut File| {
            file.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(replace_with(&path, full).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
