//! A disk for work that can be cancelled: after a request to stop, each further step fails.

use std::{io, path::Path, sync::Arc};

use durable::Stop;
use ledger::disk::{Disk, DiskFile, Mode, RealDisk};

/// The real file system, until [`Stop`] is asked for.
#[derive(Clone, Debug)]
pub(crate) struct StoppableDisk(pub(crate) Stop);

#[derive(Debug)]
struct StoppableFile {
    file: Arc<dyn DiskFile>,
    stop: Stop,
}

impl Disk for StoppableDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.check()?;
        RealDisk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.check()?;
        RealDisk.sync_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.check()?;
        RealDisk.list(folder)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        self.0.check()?;
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(StoppableFile { file, stop: self.0.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.check()?;
        RealDisk.remove(path)
    }
}

impl DiskFile for StoppableFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.stop.check()?;
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.stop.check()?;
        self.file.write_at(bytes, at)
    }

    fn len(&self) -> io::Result<u64> {
        self.stop.check()?;
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.stop.check()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.stop.check()?;
        self.file.sync()
    }
}
