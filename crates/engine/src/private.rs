//! Folders and files that only their owner may read, whatever the umask says.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

const FOLDER_MODE: u32 = 0o700;

/// Makes a folder that is the owner's alone; closes it to others if it is there and open.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
}

/// Writes a file of mode 600, whole or not at all.
pub(crate) fn file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut next = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    next.write_all(bytes)?;
    next.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_to_others_is_closed() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("engine");
        fs::create_dir(&own).unwrap();
        fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        let key = own.join("key");
        fs::write(&key, "old").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        folder(&own).unwrap();
        file(&key, b"new").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&own), mode(&key)), (0o700, 0o600));
        assert_eq!(fs::read(&key).unwrap(), b"new");
    }
}
