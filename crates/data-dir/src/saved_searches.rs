//! The file `pangea-searches`: searches that clients of Pangea's API may continue later.
//!
//! A search contains words, and they may come from an envelope. So an erasure of envelopes always
//! empties the file, whether a running site erases or a command on a stopped one.

use std::{fs::OpenOptions, io, path::Path};

use durable::{PlainError, open_plain};
use tracing::warn;

/// File name in the data directory.
pub const NAME: &str = "pangea-searches";

/// Empties the file of this data directory in place, because a running API has it open.
pub fn forget_words(data_dir: &Path) {
    let path = data_dir.join(NAME);
    warn_of_words_left(match open_plain(OpenOptions::new().write(true), &path) {
        Err(PlainError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::other(error)),
        Ok(file) => file.set_len(0).and_then(|()| file.sync_all()),
    });
}

/// Warns if that failed. The envelopes are erased in any case.
pub fn warn_of_words_left(forgotten: io::Result<()>) {
    if let Err(error) = forgotten {
        warn!(%error, "the file {NAME} may still contain words of searches: stop the site and remove it");
    }
}
