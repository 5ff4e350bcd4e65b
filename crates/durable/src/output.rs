//! Files that a user asked for: complete, or not there at all.
//!
//! What exists at the path decides how it is written. A plain file, or none, is written beside its
//! place and renamed. A symbolic link stays, and the file that it leads to is replaced. A pipe or a
//! device is written to directly, and so is standard output, which is called `-`.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Stdout, Write},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use crate::{replace::sync_folder_of, stop::Stop};

/// Permission bits of a new file, before the user's mask removes some.
const MODE: u32 = 0o666;
/// Most symbolic links that are followed, as in Linux.
const LINKS_MAX: u32 = 40;
/// Time between two checks whether a process reads from a pipe.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Whether a path means standard output, where nothing else may be printed then.
#[must_use]
pub fn is_standard_output(path: &Path) -> bool {
    matches!(Target::of(path), Ok(Target::Standard))
}

/// Whether a path names something that is written to directly, such as a pipe, whose reader may be
/// waited for.
#[must_use]
pub fn is_stream(path: &Path) -> bool {
    matches!(Target::of(path), Ok(Target::Standard | Target::Stream(_)))
}

/// Writes what a user asked for to `path`. If `content` fails, or if `stop` is asked for, an
/// existing file is unchanged and no other file is left beside it. Returns `None` if the reader of
/// a pipe has closed it and wants no more.
///
/// # Errors
/// The file cannot be written, or `content` failed.
pub fn write_output<T, E: From<OutputError>>(
    path: &Path,
    stop: &Stop,
    content: impl FnOnce(&mut Output) -> Result<T, E>,
) -> Result<Option<T>, E> {
    let failed = |source| OutputError { path: path.to_owned(), source };
    let target = Target::of(path).map_err(failed)?;
    let Target::File { place, mode } = target else {
        let sink = match target {
            Target::Stream(stream) => Sink::File(open_stream(&stream, stop).map_err(failed)?),
            _ => Sink::Standard(io::stdout()),
        };
        let mut out = Output::new(sink, stop);
        let answer = content(&mut out);
        if out.is_nobody_there() {
            return Ok(None);
        }
        let answer = answer?;
        return match out.flush() {
            Err(_) if out.is_nobody_there() => Ok(None),
            flushed => flushed.map(|()| Some(answer)).map_err(|error| failed(error).into()),
        };
    };
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    let next = tempfile::Builder::new()
        .prefix(".sealwire-")
        // An account that may not read the replaced file must never be able to open the new one.
        .permissions(Permissions::from_mode(mode.unwrap_or(MODE)))
        .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
        .map_err(failed)?;
    if let Some(mode) = mode {
        next.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    }
    let mut out = Output::new(Sink::File(next.as_file().try_clone().map_err(failed)?), stop);
    let answer = content(&mut out)?;
    out.flush()
        .and_then(|()| next.as_file().sync_all())
        .and_then(|()| next.persist(&place).map_err(|error| error.error))
        .and_then(|_file| sync_folder_of(&place))
        .map_err(failed)?;
    Ok(Some(answer))
}

/// What a path leads to.
#[derive(Debug, Eq, PartialEq)]
enum Target {
    /// A plain file, with its permission bits if it exists.
    File { place: PathBuf, mode: Option<u32> },
    /// A pipe, a device, or a file that is open already.
    Stream(PathBuf),
    /// Standard output of this process.
    Standard,
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        if path == "-" {
            return Ok(Self::Standard);
        }
        let mut place = path.to_owned();
        for _link in 0..LINKS_MAX {
            let found = match fs::symlink_metadata(&place) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::File { place, mode: None });
                }
                found => found?,
            };
            let kind = found.file_type();
            if kind.is_symlink() {
                let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize()?;
                // A link in /proc leads to an open file, whatever path it names.
                if folder.starts_with("/proc") {
                    let is_ours = fs::canonicalize("/proc/self/fd").is_ok_and(|own| own == folder);
                    let is_standard = is_ours && place.file_name().is_some_and(|name| name == "1");
                    return Ok(if is_standard { Self::Standard } else { Self::Stream(place) });
                }
                place = folder.join(fs::read_link(&place)?);
            } else if kind.is_file() {
                return Ok(Self::File { place, mode: Some(found.permissions().mode() & 0o777) });
            } else if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            } else {
                return Ok(Self::Stream(place));
            }
        }
        Err(io::Error::other("it leads through too many symbolic links"))
    }
}

/// Opens a pipe or a device for writing. Waits for the reader of a pipe, until `stop` is asked for.
fn open_stream(path: &Path, stop: &Stop) -> io::Result<File> {
    let is_pipe = fs::metadata(path)?.file_type().is_fifo();
    let mut options = OpenOptions::new();
    options.write(true);
    if !is_pipe {
        return options.open(path);
    }
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    loop {
        stop.check()?;
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                thread::park_timeout(LOOK_PERIOD);
            }
            opened => {
                let file = opened?;
                fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
                return Ok(file);
            }
        }
    }
}

/// The writer that `content` writes to.
#[derive(Debug)]
pub struct Output(BufWriter<Told>);

/// Records whether the reader has gone, and refuses writes after `stop` is asked for.
#[derive(Debug)]
struct Told {
    sink: Sink,
    stop: Stop,
    is_nobody_there: bool,
}

#[derive(Debug)]
enum Sink {
    File(File),
    Standard(Stdout),
}

impl Output {
    fn new(sink: Sink, stop: &Stop) -> Self {
        let stop = stop.clone();
        Self(BufWriter::new(Told { sink, stop, is_nobody_there: false }))
    }

    fn is_nobody_there(&self) -> bool {
        self.0.get_ref().is_nobody_there
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Told {
    fn told<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.is_nobody_there |=
            done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        done
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        let done = match &mut self.sink {
            Sink::File(file) => file.write(bytes),
            Sink::Standard(stdout) => stdout.write(bytes),
        };
        self.told(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Standard(stdout) => stdout.flush(),
        };
        self.told(done)
    }
}

/// Why the output of a command was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

impl OutputError {
    /// The failure `source` of a write to `path`.
    #[must_use]
    pub fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _},
        os::unix::fs::symlink,
        process::Command,
    };

    use super::*;

    fn write(path: &Path, content: &[u8]) -> Result<Option<()>, OutputError> {
        write_with(path, &Stop::default(), |out| out.write_all(content))
    }

    fn write_with(
        path: &Path,
        stop: &Stop,
        content: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Result<Option<()>, OutputError> {
        write_output(path, stop, |out| {
            content(out).map_err(|source| OutputError { path: path.to_owned(), source })
        })
    }

    fn pipe(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_plain_file_is_replaced_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("readings.csv");
        write(&path, b"old").unwrap().unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let full = |out: &mut Output| {
            out.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        write_with(&path, &Stop::default(), full).unwrap_err();
        let asked = Stop::default();
        asked.ask();
        write_with(&path, &asked, |out| out.write_all(b"new")).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, b"new").unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(write(folder.path(), b"").is_err());
    }

    #[test]
    fn a_link_stays_one_wherever_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        symlink("inner/other", at("link")).unwrap();
        symlink("../there", at("inner/other")).unwrap();
        for content in ["made", "replaced"] {
            write(&at("link"), content.as_bytes()).unwrap().unwrap();
            assert!(at("link").is_symlink() && at("inner/other").is_symlink());
            assert_eq!(fs::read_to_string(at("there")).unwrap(), content);
        }
        symlink("round", at("round")).unwrap();
        assert!(write(&at("round"), b"").is_err());
    }

    #[test]
    fn devices_and_pipes_are_written_to_and_stay_what_they_are() {
        let null = Path::new("/dev/null");
        write(null, b"nothing").unwrap().unwrap();
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
        assert!(write(Path::new("/dev/full"), b"much").is_err());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        pipe(&path);
        thread::scope(|scope| {
            let reading = scope.spawn(|| fs::read(&path).unwrap());
            write(&path, b"through").unwrap().unwrap();
            assert_eq!(reading.join().unwrap(), b"through");
        });
        // A reader that stops early is not a failure.
        let much = vec![b'\n'; 1 << 20];
        thread::scope(|scope| {
            scope.spawn(|| {
                BufReader::with_capacity(1, File::open(&path).unwrap()).lines().next().unwrap()
            });
            assert_eq!(write(&path, &much).unwrap(), None);
        });
        // Nobody reads: the writer waits for a reader until it is asked to stop.
        let stop = Stop::default();
        thread::scope(|scope| {
            let writing = scope.spawn(|| write_with(&path, &stop, |out| out.write_all(b"x")));
            stop.ask();
            assert!(writing.join().unwrap().is_err());
        });
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    }

    #[test]
    fn what_is_open_already_is_written_to() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&input));
        write(Path::new(&path), b"to a pipe").unwrap().unwrap();
        let theirs = format!("/proc/{}/fd/1", child.id());
        assert!(is_stream(Path::new(&theirs)) && !is_standard_output(Path::new(&theirs)));
        drop(input);
        let mut heard = String::new();
        child.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
        child.wait().unwrap();
        assert_eq!(heard, "to a pipe");
        for standard in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            assert!(is_standard_output(Path::new(standard)), "{standard}");
        }
        assert!(!is_standard_output(Path::new("./-")) && !is_stream(Path::new("./-")));
    }
}
