//! Reads leaves so that a damaged one does not block those behind it.

use ledger::{Ledger, ReadError, StoredEnvelope};
use model::error_chain;

/// The content of a leaf.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// The envelope, as canonical JSON.
    Envelope(Vec<u8>),
    /// The envelope was erased.
    Erased,
    /// The bytes are not the sealed ones; the text says why.
    Unreadable(String),
}

/// Reads the leaves from `from` on, up to `count_max` of them and, after the first, up to
/// `bytes_max` bytes. Blocks on the disk.
///
/// # Errors
/// A file cannot be read now. The caller may try again.
pub fn read_leaves(
    ledger: &Ledger,
    from: u64,
    count_max: usize,
    bytes_max: usize,
) -> Result<Vec<Content>, ReadError> {
    let left = usize::try_from(ledger.size().saturating_sub(from)).unwrap_or(usize::MAX);
    read(count_max.min(left), |count| ledger.envelopes(from, count, bytes_max))
}

/// Reads so many leaves, or fewer if that is all that can be read; there are as many.
pub(crate) fn read(
    mut count: usize,
    envelopes: impl Fn(usize) -> Result<Vec<StoredEnvelope>, ReadError>,
) -> Result<Vec<Content>, ReadError> {
    loop {
        match envelopes(count) {
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
            // A smaller batch reads the leaves in front of the damaged one.
            Err(_) => count /= 2,
        }
    }
}
