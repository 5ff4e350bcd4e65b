//! The disk as a log and a witness use it: a few operations, so tests can make each one fail.
//!
//! [`RealDisk`] is the file system. Tests have other disks, which fail, tear writes and forget
//! unsynced data on demand. The operations promise:
//!
//! - once [`DiskFile::sync`] returns `Ok`, the bytes and the length of that file survive a power
//!   loss;
//! - once [`Disk::sync_folder`] returns `Ok`, the creation, renaming or removal of a file in that
//!   folder survives a power loss;
//! - after an error the result of the operation is unknown.

use std::{
    fmt::Debug,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use crate::{
    private::{create_folder, private_file},
    replace::sync_folder,
};

/// Operations on folders and on names of files.
pub trait Disk: Debug + Send + Sync {
    /// Creates a folder and its missing parents.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes the creations, renamings and removals in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Names of the files in `folder`, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Opens a file for what `mode` says.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file and replaces a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Reading. The file must exist.
    Read,
    /// Reading and writing. The file is created if it does not exist.
    Write,
    /// Reading and writing. The file is created if it does not exist, and emptied if it does.
    Empty,
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "a length on disk, which can fail")]
pub trait DiskFile: Debug + Send + Sync {
    /// Reads from byte `at` on. It may read fewer bytes than the buffer holds; only 0 means the end
    /// of the file.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes at byte `at`. It may write fewer bytes than `bytes` has.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Length of the file in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file to `len` bytes, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the written bytes and the length durable.
    fn sync(&self) -> io::Result<()>;
}

impl dyn DiskFile + '_ {
    /// Fills the buffer. Fails if the file ends before that.
    ///
    /// # Errors
    /// The file cannot be read, or ends before the buffer is full.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = buffer.get_mut(read..).unwrap_or_default();
                    at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all bytes. After an error a part of them may be written.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_all_at(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    at += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether an operation failed because the disk or the account's quota is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads a file from the beginning, or from a byte on, to the end.
#[derive(Clone, Debug)]
pub struct Sequential {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Sequential {
    /// Reads from the beginning of the file.
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self::from(file, 0)
    }

    /// Reads from byte `at` on.
    pub fn from(file: Arc<dyn DiskFile>, at: u64) -> Self {
        Self { file, at }
    }
}

impl io::Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads a small file whole; `None` if it does not exist.
///
/// # Errors
/// The file cannot be read, or is larger than 64 MiB.
pub fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    /// Size of the largest file that is read whole: an index of a segment's blocks.
    const BYTES_MAX: u64 = 64 << 20;
    let file = match disk.open(path, Mode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = file.len()?;
    if len > BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has {len} bytes, but at most {BYTES_MAX} are read"
        )));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Suffix of a file that is to replace the file without the suffix. Such a file that a crash leaves
/// has no meaning.
pub const NEXT: &str = ".next";

/// Replaces `folder/name`. Once this returns, the new content survives a crash; until then a crash
/// leaves either the old content or the new one, whole.
///
/// # Errors
/// The file holds the old content or the new one, whole. Which of them would survive a crash is
/// unknown.
pub fn replace(disk: &dyn Disk, folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    write_next(disk, folder, name, content)?;
    take_next(disk, folder, name)
}

/// The first half of [`replace`]. The file keeps its old content until [`take_next`].
///
/// # Errors
/// The file cannot be written; the file that it would replace is unchanged.
pub fn write_next(disk: &dyn Disk, folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let file = disk.open(&folder.join(format!("{name}{NEXT}")), Mode::Empty)?;
    file.write_all_at(content, 0)?;
    file.sync()
}

/// The second half of [`replace`].
///
/// # Errors
/// The file holds the old content or the new one, whole. Which of them would survive a crash is
/// unknown.
pub fn take_next(disk: &dyn Disk, folder: &Path, name: &str) -> io::Result<()> {
    disk.rename(&folder.join(format!("{name}{NEXT}")), &folder.join(name))?;
    disk.sync_folder(folder)
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = private_file();
        match mode {
            Mode::Read => options.read(true),
            Mode::Write => options.read(true).write(true).create(true),
            Mode::Empty => options.read(true).write(true).create(true).truncate(true),
        };
        // Do not wait for the other end of a pipe that someone has put in the file's place.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, at)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
