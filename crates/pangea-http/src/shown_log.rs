//! The log as clients see it: its name, its fields, and how much of it is published.

use std::sync::Arc;

use ledger::Ledger;
use orders::log_name::config_id;
use pangea::{Code, Fault, Refusal, Schema};

use crate::refusals::{not_sealed, unreadable};

/// Number of leaves that are read at once, about a block of the log.
const READ_LEAVES: u64 = 256;
/// Bytes of them.
const READ_BYTES_MAX: usize = 4 << 20;

/// The log that the API shows. Cheap to clone: the clones show the same log.
#[derive(Clone, Debug)]
pub(crate) struct ShownLog {
    pub(crate) ledger: Ledger,
    pub(crate) schema: Arc<Schema>,
    config_id: Arc<str>,
}

impl ShownLog {
    pub(crate) fn new(ledger: Ledger, schema: Schema) -> Self {
        let config_id = config_id(ledger.log_id()).into();
        Self { ledger, schema: Arc::new(schema), config_id }
    }

    /// The name by which clients know the log.
    pub(crate) fn config_id(&self) -> &str {
        &self.config_id
    }

    /// Refuses a request that names another log.
    pub(crate) fn check_config(&self, named: Option<&str>) -> Result<(), Refusal> {
        match named {
            Some(named) if named != self.config_id() => {
                let words =
                    format!("there is no such log: the log of this site is {}", self.config_id);
                Err(Fault::new(Code::ConfigNotExist, "/config_id", words).into())
            }
            _ => Ok(()),
        }
    }

    /// Ensures that a checkpoint covers at least the first `size` leaves, and returns how many it
    /// covers.
    pub(crate) async fn cover(&self, size: u64) -> Result<u64, Refusal> {
        let mut published = self.ledger.published();
        if published.checkpoint.size.get() < size {
            published = self.ledger.publish_checkpoint().await.map_err(not_sealed)?;
        }
        Ok(published.checkpoint.size.get())
    }

    /// Reads leaves in the log's order, whatever order they are given in. An erased envelope has no
    /// bytes. Blocks on the disk.
    pub(crate) fn read(
        &self,
        leaves: &[u64],
        mut take: impl FnMut(u64, Option<Vec<u8>>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut sorted = leaves.to_vec();
        sorted.sort_unstable();
        let mut wanted = sorted.as_slice();
        while let Some((&first, others)) = wanted.split_first() {
            // Neighbouring leaves are in the same block, which is then unpacked only once.
            let near = others.iter().copied().take_while(|leaf| leaf - first < READ_LEAVES);
            let span = near.last().map_or(1, |last| last - first + 1);
            let count = usize::try_from(span).unwrap_or(usize::MAX);
            let read = self.ledger.envelopes(first, count, READ_BYTES_MAX);
            for stored in read.map_err(unreadable)? {
                if let Some((&leaf, others)) = wanted.split_first()
                    && leaf == stored.leaf
                {
                    wanted = others;
                    take(leaf, stored.bytes)?;
                }
            }
        }
        Ok(())
    }
}
