//! Reading leaves where one that is damaged must not hold up those behind it.

use ledger::{Ledger, ReadError};
use model::error_chain;

/// What the log has of a leaf.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// Its envelope, canonical JSON.
    Envelope(Vec<u8>),
    /// The envelope was erased.
    Erased,
    /// What lies there is not what was sealed, for this reason.
    Unreadable(String),
}

/// The leaves from `from` on: as many as there are, up to `count_max` and, after the first, up to
/// `bytes_max`. Blocks on the disk.
///
/// # Errors
/// A file cannot be read now: ask again.
pub fn read_leaves(
    ledger: &Ledger,
    from: u64,
    count_max: usize,
    bytes_max: usize,
) -> Result<Vec<Content>, ReadError> {
    let left = usize::try_from(ledger.size().saturating_sub(from)).unwrap_or(usize::MAX);
    let mut count = count_max.min(left);
    loop {
        match ledger.envelopes(from, count, bytes_max) {
            Ok(stored) => {
                let content = stored
                    .into_iter()
                    .map(|it| it.bytes.map_or(Content::Erased, Content::Envelope));
                return Ok(content.collect());
            }
            Err(failure) if failure.may_pass() => return Err(failure),
            Err(failure) if count <= 1 => {
                return Ok(vec![Content::Unreadable(error_chain(&failure))]);
            }
            // Those in front of what is damaged are read without it.
            Err(_) => count /= 2,
        }
    }
}
