//! Output of an engine: stored in a file, with the last lines in memory.
//!
//! An engine writes into a pipe that this process reads, not into the file itself. So it neither
//! dies nor hangs if the file cannot be written, as on a full disk, and the reason why it ended is
//! known even without the file.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use durable::{open_plain, private_file};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// Size in bytes above which the file is renamed. The file renamed before is dropped.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Last lines that are reported when an engine ends.
const LINES_MAX: usize = 10;
/// Bytes of such a line that are reported.
const LINE_BYTES_MAX: usize = 400;
/// Bytes read from the pipe at once.
const CHUNK_BYTES: usize = 8 * 1024;
/// Lines that wait for somebody who listens to an engine. Further ones are in the file alone.
const HEARD_LINES_MAX: usize = 1_024;
/// Time to read the rest of an engine's output after it has ended.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// Output of an engine, over all its starts.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
    tail: Arc<Mutex<Tail>>,
    /// Number of pipes being read.
    reading: watch::Sender<usize>,
}

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, tail: Arc::default(), reading: watch::Sender::new(0) }
    }

    /// Opens a pipe for one start of the engine. A thread reads it until the engine and every
    /// process it started have closed it.
    pub(crate) fn open(&self) -> io::Result<PipeWriter> {
        let (reader, writer) = io::pipe()?;
        let log = self.clone();
        log.reading.send_modify(|count| *count += 1);
        let reading = thread::Builder::new().name(String::from("engine-log")).spawn(move || {
            log.keep(reader);
            log.reading.send_modify(|count| *count -= 1);
        });
        if let Err(error) = reading {
            self.reading.send_modify(|count| *count -= 1);
            return Err(error);
        }
        Ok(writer)
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hears the engine's lines from here on, instead of anyone who heard them before. Only the
    /// beginning of a long line is heard, and none while too many wait.
    #[must_use]
    pub fn hear(&self) -> mpsc::Receiver<String> {
        let (listener, heard) = mpsc::channel(HEARD_LINES_MAX);
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).listener = Some(listener);
        heard
    }

    /// Waits until all output of an engine that has ended is read.
    pub(crate) async fn last_words(&self) {
        let mut reading = self.reading.subscribe();
        // A process that the engine started may still have the pipe. Then the output read so far
        // must do.
        let _some_of_it = timeout(LAST_WORDS_TIMEOUT, reading.wait_for(|count| *count == 0)).await;
    }

    /// The last lines, for an error message: the path of the file and the text.
    #[must_use]
    pub fn ending(&self) -> String {
        let lines = self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines();
        if lines.is_empty() {
            return format!("it wrote nothing to its log {}", self.path.display());
        }
        format!("its log {} ends with: {lines}", self.path.display())
    }

    fn keep(&self, mut reader: PipeReader) {
        let mut kept = Kept { path: &self.path, file: None, lost_bytes: 0 };
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => {
                    let bytes = chunk.get(..length).unwrap_or_default();
                    self.tail.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
                    kept.write(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// The file. Counts bytes that cannot be written, and reports their number once writing works
/// again.
struct Kept<'a> {
    path: &'a Path,
    file: Option<(File, u64)>,
    lost_bytes: u64,
}

impl Kept<'_> {
    fn write(&mut self, bytes: &[u8]) {
        if self.try_write(bytes).is_err() {
            self.file = None;
            self.lost_bytes += bytes.len() as u64;
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_none_or(|(_, length)| *length > FILE_BYTES_MAX) {
            self.file = Some(open(self.path)?);
        }
        let Some((file, length)) = &mut self.file else { return Ok(()) };
        if self.lost_bytes > 0 {
            writeln!(
                file,
                "\n[{} bytes were lost here because the log could not be written]",
                self.lost_bytes
            )?;
            self.lost_bytes = 0;
        }
        file.write_all(bytes)?;
        *length += bytes.len() as u64;
        Ok(())
    }
}

/// Opens the file. The engine can write in its folder, so a link that it puts in the file's place
/// must not lead us elsewhere.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let opened = open_plain(private_file().create(true).append(true), path);
    let file = opened.map_err(io::Error::other)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The last lines of output.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// Gets each line, cut off like those kept here.
    listener: Option<mpsc::Sender<String>>,
    /// The line that has not ended yet.
    open: Vec<u8>,
}

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.open.len() < LINE_BYTES_MAX {
                self.open.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.open)).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        if let Some(listener) = &self.listener {
            // The file has the line in any case.
            let _full_or_gone = listener.try_send(line.clone());
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The last lines, joined into one for an error message.
    fn lines(&mut self) -> String {
        self.end_line();
        Vec::from_iter(self.lines.iter().map(String::as_str)).join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(log: &Log, words: &[u8]) {
        let mut pipe = log.open().unwrap();
        pipe.write_all(words).unwrap();
        drop(pipe);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(log.last_words());
    }

    #[test]
    fn an_engine_is_heard_although_its_log_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.log");
        fs::create_dir(&path).unwrap();
        let log = Log::new(path.clone());
        said(&log, b"no space left on device\n");
        assert!(log.ending().contains("no space left on device"), "{}", log.ending());
        // The obstacle is gone.
        fs::remove_dir(&path).unwrap();
        said(&log, b"up again");
        assert_eq!(fs::read_to_string(&path).unwrap(), "up again");
        assert!(log.ending().ends_with(": no space left on device | up again"));
    }

    #[test]
    fn nothing_is_written_by_way_of_a_link_that_an_engine_left() {
        let folder = tempfile::tempdir().unwrap();
        let (path, theirs) = (folder.path().join("engine.log"), folder.path().join("site.key"));
        fs::write(&theirs, "secret").unwrap();
        std::os::unix::fs::symlink(&theirs, &path).unwrap();
        let log = Log::new(path);
        said(&log, b"forged\n");
        assert!(log.ending().contains("forged"));
        assert_eq!(fs::read(&theirs).unwrap(), b"secret");
    }

    #[test]
    fn a_listener_hears_whole_lines_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::new(folder.path().join("engine.log"));
        let mut heard = log.hear();
        said(&log, b"one\ntwo\nthr");
        said(&log, b"ee\n");
        let lines: Vec<String> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(lines, ["one", "two", "three"]);
        said(&log, "again\n".repeat(2 * HEARD_LINES_MAX).as_bytes());
        assert_eq!(std::iter::from_fn(|| heard.try_recv().ok()).count(), HEARD_LINES_MAX);
    }

    #[test]
    fn the_end_of_a_long_log_is_short() {
        let mut tail = Tail::default();
        for number in 0..1_000 {
            tail.take(format!("line {number}\r\n").as_bytes());
        }
        tail.take("x".repeat(100_000).as_bytes());
        let lines = tail.lines();
        assert_eq!(lines.split(" | ").count(), LINES_MAX);
        assert!(lines.starts_with("line 991 | "), "{lines}");
        assert!(lines.len() < LINES_MAX * (LINE_BYTES_MAX + 3));
    }

    #[test]
    fn what_was_lost_is_counted_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/engine.log");
        let mut kept = Kept { path: &path, file: None, lost_bytes: 0 };
        kept.write(b"12345");
        fs::create_dir(folder.path().join("gone")).unwrap();
        kept.write(b"again\n");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "\n[5 bytes were lost here because the log could not be written]\nagain\n"
        );
    }
}
