//! Reads files in a folder that another person may have written.
//!
//! An entry there may be a link to a file of this account, a pipe without a writer or a device
//! without end. These functions open only plain files, and read only as many bytes as the caller
//! expects.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// A plain file that was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read {
    /// The bytes of the file.
    pub content: Vec<u8>,
    /// Number of hard links. If it is greater than 1, the file also has a name elsewhere.
    pub names: u64,
}

/// Reads the plain file `path`; `None` if it does not exist.
///
/// # Errors
/// It cannot be read, is not a plain file, or has more than `bytes_max` bytes.
pub fn read_plain(path: &Path, bytes_max: u64) -> Result<Option<Read>, PlainError> {
    let file = match open_plain(OpenOptions::new().read(true), path) {
        Err(PlainError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        opened => opened?,
    };
    let failed = |source| PlainError::Io { path: path.to_owned(), source };
    let names = file.metadata().map_err(failed)?.nlink();
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > bytes_max {
        return Err(PlainError::TooLong { path: path.to_owned(), bytes_max });
    }
    Ok(Some(Read { content, names }))
}

/// Opens a plain file. Does not follow a link, and does not wait for the other end of a pipe.
///
/// # Errors
/// It cannot be opened, or is not a plain file.
pub fn open_plain(options: &mut OpenOptions, path: &Path) -> Result<File, PlainError> {
    let failed = |source| PlainError::Io { path: path.to_owned(), source };
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let opened = options.open(path).and_then(|file| Ok((file.metadata()?.file_type(), file)));
    match opened {
        Ok((kind, file)) if kind.is_file() => Ok(file),
        Ok((kind, _)) => Err(not_plain(path, kind)),
        Err(error) => match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(not_plain(path, found.file_type())),
            _ => Err(failed(error)),
        },
    }
}

/// Refuses a folder that contains, at any depth, something other than folders and plain files.
///
/// # Errors
/// The first such entry, or the first that cannot be read.
pub fn refuse_all_but_plain(folder: &Path) -> Result<(), PlainError> {
    let failed = |source| PlainError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            refuse_all_but_plain(&entry.path())?;
        } else if !kind.is_file() {
            return Err(not_plain(&entry.path(), kind));
        }
    }
    Ok(())
}

fn not_plain(path: &Path, kind: FileType) -> PlainError {
    let is = if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    PlainError::NotPlain { path: path.to_owned(), is }
}

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The file or folder cannot be read.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the file or folder.
        path: PathBuf,
        /// The error of the file operation.
        source: io::Error,
    },
    /// The path names something other than a plain file.
    #[error("{} is {is}, but must be a plain file", path.display())]
    NotPlain {
        /// Path of the entry.
        path: PathBuf,
        /// Kind of the entry, for the message.
        is: &'static str,
    },
    /// The file has more bytes than the caller allows.
    #[error("{} is too large: at most {bytes_max} bytes are read", path.display())]
    TooLong {
        /// Path of the file.
        path: PathBuf,
        /// Most bytes that are read of it.
        bytes_max: u64,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn only_plain_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("plain"), "12345").unwrap();
        let read = read_plain(&at("plain"), 5).unwrap().unwrap();
        assert_eq!((read.content.as_slice(), read.names), (b"12345".as_slice(), 1));
        assert_eq!(read_plain(&at("none"), 5).unwrap(), None);
        assert!(matches!(read_plain(&at("plain"), 4), Err(PlainError::TooLong { .. })));
        refuse_all_but_plain(folder.path()).unwrap();

        fs::create_dir(at("inner")).unwrap();
        type Plant<'a> = &'a dyn Fn(&Path);
        let plant: [(&str, Plant<'_>); 4] = [
            ("a symbolic link", &|path| symlink(at("plain"), path).unwrap()),
            ("a symbolic link", &|path| symlink(at("none"), path).unwrap()),
            ("a pipe", &|path| {
                let made = std::process::Command::new("mkfifo").arg(path).status();
                assert!(made.unwrap().success());
            }),
            ("a socket", &|path| drop(UnixListener::bind(path).unwrap())),
        ];
        for (kind, plant) in plant {
            let path = at("inner/planted");
            plant(&path);
            for refusal in [
                read_plain(&path, 9).unwrap_err(),
                refuse_all_but_plain(folder.path()).unwrap_err(),
            ] {
                let PlainError::NotPlain { is, path: named } = refusal else { panic!("{refusal}") };
                assert_eq!((is, named), (kind, path.clone()));
            }
            fs::remove_file(path).unwrap();
        }
        assert!(matches!(
            read_plain(Path::new("/dev/zero"), 9),
            Err(PlainError::NotPlain { is: "a device", .. })
        ));
        assert!(matches!(
            read_plain(&at("inner"), 9),
            Err(PlainError::NotPlain { is: "a folder", .. })
        ));
    }
}
