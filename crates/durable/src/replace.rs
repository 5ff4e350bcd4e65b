//! Replaces files so that a crash leaves the old or the new content, whole.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::private::private_file;

/// Suffix of a file until it is complete. Such a file that a crash leaves has no meaning.
const UNFINISHED: &str = ".unfinished";

/// Replaces a private file. Once this returns, the new content survives a crash; until then a crash
/// leaves either the old content or the new one, whole.
///
/// # Errors
/// The file holds the old content or the new one, whole. Which of them would survive a crash is
/// unknown.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(content))
}

/// As [`replace`], with content that is written piece by piece. A file must have one writer at a
/// time.
///
/// # Errors
/// As [`replace`], or `content` failed.
pub fn replace_with(
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = unfinished(path)?;
    // Never write into an existing entry: it may be a link to elsewhere, or a file that others may
    // read.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private_file().write(true).create_new(true).open(&unfinished)?;
    let written = content(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path));
    if let Err(error) = written {
        // The disk may be full: half a file would take space from the next write.
        let _gone = fs::remove_file(&unfinished);
        return Err(error);
    }
    sync_folder_of(path)
}

/// Makes the creations, renamings and removals in a folder durable.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes everything durable that was written to a folder: its files and their names. For thousands
/// of small files this costs what one does.
///
/// # Errors
/// The folder cannot be opened, or what was written to its file system cannot be synced.
pub fn sync_written_to(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    folder.sync_all()
}

/// As [`sync_folder`], for the folder that contains a file.
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
