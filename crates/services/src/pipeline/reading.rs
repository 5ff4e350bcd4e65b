//! Reads from the log what is to be judged.

use ledger::ReadError;
use model::{Envelope, Timestamp};
use tracing::warn;

use super::{dialect::Dialect, journal::Journal};
use crate::log_reading::Content;

/// What a run of leaves has to be judged.
pub(super) struct Run<T> {
    pub(super) sightings: Vec<T>,
    /// When the site received each of them.
    pub(super) received_at: Vec<Timestamp>,
    /// The leaf after the run.
    pub(super) next_leaf: u64,
}

/// Reads what is to be judged from the leaf `from` on. Blocks on the disk.
pub(super) fn read_run<J: Journal, D: Dialect>(
    log: &J,
    dialect: &D,
    from: u64,
) -> Result<Run<D::Item>, ReadError> {
    let mut run = Run { sightings: Vec::new(), received_at: Vec::new(), next_leaf: from };
    for content in log.leaves(from)? {
        let leaf = run.next_leaf;
        run.next_leaf += 1;
        match content {
            Content::Envelope(bytes) => {
                let Ok(envelope) = Envelope::parse(&bytes) else { continue };
                if let Some(sighting) = dialect.item(leaf, &envelope) {
                    run.sightings.push(sighting);
                    run.received_at.push(envelope.received_at);
                }
            }
            Content::Erased => {}
            Content::Unreadable(reason) => warn!(leaf, reason, "cannot judge a leaf"),
        }
    }
    Ok(run)
}
