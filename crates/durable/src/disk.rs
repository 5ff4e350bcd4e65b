//! The disk as a log and a witness use it: a few operations, so that tests can make each one fail.
//!
//! [`RealDisk`] is the file system. Tests have other disks, which fail, tear and forget on demand.
//! What an operation promises:
//!
//! - what [`DiskFile::sync`] returned `Ok` for survives a loss of power, for the bytes and the
//!   length of that file;
//! - a file's creation, renaming or removal survives once [`Disk::sync_folder`] of its folder
//!   returned `Ok`;
//! - after any error nobody knows what was done.

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

/// Folders and names.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder and those above it, unless they are there.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in `folder` durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Names of the files in `folder`, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Reading; it must be there.
    Read,
    /// Reading and writing; made if it is not there.
    Write,
    /// Reading and writing, without what it held.
    Empty,
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "a length on disk, which can fail")]
pub trait DiskFile: Debug + Send + Sync {
    /// Reads from byte `at` on; fewer bytes than the buffer has are not the end of the file, 0 are.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes at byte `at`; may write fewer bytes than there are.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Number of bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

impl dyn DiskFile + '_ {
    /// Fills the buffer, or fails.
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

    /// Writes all of it, or fails with a part written.
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

/// Whether an operation failed because the disk is full, or as much of it as we may use.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads a file from its begin to its end.
#[derive(Clone, Debug)]
pub struct Sequential {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Sequential {
    /// From its begin.
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self::from(file, 0)
    }

    /// From a byte on.
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

/// The whole of a small file; `None` where there is none.
///
/// # Errors
/// It cannot be read, or is not small.
pub fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    /// Largest file that is read whole: an index of a segment's blocks.
    const BYTES_MAX: u64 = 64 << 20;
    let file = match disk.open(path, Mode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = file.len()?;
    if len > BYTES_MAX {
        return Err(io::Error::other(format!("it has {len} bytes: at most {BYTES_MAX} are read")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Ending of a file that is to replace the one without it. What a crash leaves of it means nothing.
pub const NEXT: &str = ".next";

/// Replaces `folder/name`; when this returns, the new content is what a crash leaves, and until
/// then the old or the new one, whole.
///
/// # Errors
/// The old or the new content is there, whole, and nobody knows which a crash would leave.
pub fn replace(disk: &dyn Disk, folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    write_next(disk, folder, name, content)?;
    take_next(disk, folder, name)
}

/// The first half of [`replace`]: until the second, nothing has happened.
///
/// # Errors
/// The file cannot be written; what it replaces is as it was.
pub fn write_next(disk: &dyn Disk, folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let file = disk.open(&folder.join(format!("{name}{NEXT}")), Mode::Empty)?;
    file.write_all_at(content, 0)?;
    file.sync()
}

/// The second half of [`replace`].
///
/// # Errors
/// The old or the new content is there, whole, and nobody knows which a crash would leave.
pub fn take_next(disk: &dyn Disk, folder: &Path, name: &str) -> io::Result<()> {
    disk.rename(&folder.join(format!("{name}{NEXT}")), &folder.join(name))?;
    disk.sync_folder(folder)
}

/// The file system.
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
        // What somebody has put in a file's place is not waited for: a pipe has no end.
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
