//! The files that a start reads from a site's folder. `doctor` reads them with the same functions.

use std::path::Path;

use ledger::LogReader;

/// A file that a start reads.
#[derive(Clone, Copy, Debug)]
pub struct StartFile {
    /// Name of the check in `doctor`.
    pub check: &'static str,
    /// Reads the file in this folder and changes nothing. Returns a description of its content.
    pub read: fn(&Path) -> Result<String, StartError>,
    /// What to do if a start refuses the file.
    pub remedy: &'static str,
}

/// Why a start refuses a file.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// What a start reads from a site's folder, as the functions that read it. `doctor` calls the same
/// functions, so both report the same errors.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The files that can be read by themselves.
    pub files: &'a [StartFile],
    /// Reads the witness policy, which needs the log as well. Returns the number of witnesses in
    /// it, or `None` if there is no policy.
    pub read_policy: fn(&Path, &LogReader) -> Result<Option<usize>, StartError>,
}
