//! Keeps what devices declare in a file, so that a restart does not wait until each declares it
//! again. `nats-server` keeps retained messages, but gives them to MQTT clients alone.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use pushed::{Mapper, Recorded};
use tracing::warn;

/// Time between a declaration and the write of the file. A whole fleet that declares itself is
/// written a few times only. If the process is killed in between, the newest declarations are
/// missing until their devices declare themselves again.
const SAVE_AFTER: Duration = Duration::from_secs(2);
/// Pause before a retry after a failed write.
const RETRY_AFTER: Duration = Duration::from_mins(1);
/// Largest file: ten thousand declarations of six kilobytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The file of declarations, one recorded message a line. It has one writer.
#[derive(Debug)]
pub struct Declarations {
    path: PathBuf,
    /// When what changed is written.
    due: Option<Instant>,
}

impl Declarations {
    /// The declarations in this file, which need not exist.
    #[must_use]
    pub const fn of(path: PathBuf) -> Self {
        Self { path, due: None }
    }

    /// Reads the file. What cannot be read is logged; devices declare it again.
    pub(super) async fn read(&self) -> Vec<Recorded> {
        let path = self.path.clone();
        let reading = work::blocking((), move || durable::read_plain(&path, FILE_BYTES_MAX));
        let content = match reading.await {
            Ok(Ok(read)) => read.map(|read| read.content).unwrap_or_default(),
            Ok(Err(failure)) => {
                warn!(%failure, "cannot read what devices have declared; they must declare it again");
                return Vec::new();
            }
            // It does not panic, so the site stops.
            Err(_) => return Vec::new(),
        };
        let text = String::from_utf8_lossy(&content);
        let (messages, unread): (Vec<_>, Vec<_>) =
            text.lines().map(Recorded::parse).partition(Result::is_ok);
        if let Some(Err(failure)) = unread.first() {
            warn!(%failure, count = unread.len(), "cannot read what some devices have declared");
        }
        messages.into_iter().flatten().collect()
    }

    /// Records that a device has declared or withdrawn something.
    pub(super) fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
    }

    /// When [`save`](Self::save) is due; `None` if the file has everything.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the file. If that fails, it is due again later.
    pub(super) async fn save(&mut self, mapper: &Mapper) {
        let lines = mapper.declarations().map(|message| message.into_line() + "\n");
        let (text, path) = (lines.collect::<String>(), self.path.clone());
        let writing = work::blocking((), move || durable::replace(&path, text.as_bytes()));
        self.due = match writing.await {
            Ok(Err(failure)) => {
                warn!(%failure, "cannot keep what devices declare; trying again");
                Some(Instant::now() + RETRY_AFTER)
            }
            // An error here says that the site stops.
            Ok(Ok(())) | Err(_) => None,
        };
    }
}
