//! What a start reads of a site's folder, for `doctor` to read the same.

use std::path::Path;

use ledger::LogReader;

/// A file that a start reads.
#[derive(Clone, Copy, Debug)]
pub struct StartFile {
    /// What `doctor` calls it.
    pub check: &'static str,
    /// Reads it in this folder, and changes nothing. Answers what can be said of it.
    pub read: fn(&Path) -> Result<String, StartError>,
    /// What helps where a start refuses it.
    pub remedy: &'static str,
}

/// Why a start refuses a file.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// What a start reads of a site's folder, in the functions by which it reads it: so `doctor` says
/// the same words.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The files that are read alone.
    pub files: &'a [StartFile],
    /// Reads the policy for witnesses beside the log, and answers how many it names; `None` where
    /// there is none.
    pub read_policy: fn(&Path, &LogReader) -> Result<Option<usize>, StartError>,
}
