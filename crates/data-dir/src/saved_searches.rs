//! The file `pangea-searches`: searches that clients of Pangea's API may come back for.
//!
//! A search has words, and they may be those of an envelope. So the file is emptied whenever
//! envelopes are erased, by a running site and by a command on a stopped one.

use std::{fs::OpenOptions, io, path::Path};

use durable::{PlainError, open_plain};
use tracing::warn;

/// Its name in the data directory.
pub const NAME: &str = "pangea-searches";

/// Empties the file of this data directory where it is: a running API has it open.
pub fn forget_words(data_dir: &Path) {
    let path = data_dir.join(NAME);
    warn_of_words_left(match open_plain(OpenOptions::new().write(true), &path) {
        Err(PlainError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::other(error)),
        Ok(file) => file.set_len(0).and_then(|()| file.sync_all()),
    });
}

/// Says where that failed: the envelopes are erased all the same.
pub fn warn_of_words_left(forgotten: io::Result<()>) {
    if let Err(error) = forgotten {
        warn!(%error, "words of searches may be left in {NAME}: remove the file when the site does not run");
    }
}
