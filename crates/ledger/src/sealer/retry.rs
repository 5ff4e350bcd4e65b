//! Retries: the same batch under the same key gets the first receipt.
//!
//! The log keeps only the key of a batch. It compares a retry with the sealed envelopes. So nothing
//! reveals the events once they are erased, and a forged record of a key can at most cause the
//! refusal of a batch.

use std::ops::Range;

use tlog::Hash;

use crate::{
    append_keys::AppendKeys,
    batch::{AppendError, Batch, PreparedBatch, Receipt},
    segment::KeyUsed,
    stored::{ReadError, StoredEnvelopes},
};

/// Where a batch was first sealed.
pub(super) enum First {
    /// The batch was not sealed before.
    ThisOne,
    /// The batch is in the open group, with this receipt.
    InGroup(Receipt),
    /// The batch is in the log, or its key was used for other events.
    Sealed(Result<Receipt, AppendError>),
}

/// The places where to look for an earlier batch.
pub(super) struct Known<'a> {
    /// Keys of the open group, each with a hash of its batch's events.
    pub(super) in_group: &'a [(KeyUsed, Hash)],
    /// Keys of durable batches.
    pub(super) append_keys: &'a AppendKeys,
    /// The sealed envelopes. `size` is their number.
    pub(super) stored: &'a StoredEnvelopes,
    pub(super) size: u64,
}

/// Finds out whether a batch was sealed earlier under one of its keys.
pub(super) fn first_of(batch: &PreparedBatch, known: &Known<'_>) -> First {
    let Some((key, events)) = batch.key else { return First::ThisOne };
    let mut keys = std::iter::once(&key).chain(&batch.earlier_keys);
    let in_group = |key: &Hash| known.in_group.iter().find(|(used, _)| used.key == *key);
    let reused = |used: &KeyUsed| AppendError::KeyReused { first_leaf: used.first_leaf };
    if let Some((used, first)) = keys.clone().find_map(in_group) {
        return if *first == events {
            First::InGroup(receipt_of(used))
        } else {
            First::Sealed(Err(reused(used)))
        };
    }
    let Some(used) = keys.find_map(|key| known.append_keys.get(key)) else {
        return First::ThisOne;
    };
    match is_what_was_sealed(batch, used, known) {
        // The log no longer knows what the earlier batch was.
        Ok(None) => First::ThisOne,
        Ok(Some(true)) => First::Sealed(Ok(receipt_of(used))),
        Ok(Some(false)) => First::Sealed(Err(reused(used))),
        Err(error) => {
            let words = format!("cannot read the events that were sealed under its key: {error}");
            First::Sealed(Err(AppendError::Write(words)))
        }
    }
}

/// Whether a batch is the one that was sealed under a key; `None` if one of its envelopes was
/// erased.
fn is_what_was_sealed(
    batch: &PreparedBatch,
    used: &KeyUsed,
    known: &Known<'_>,
) -> Result<Option<bool>, ReadError> {
    let Range { start, end } = used.batch();
    // Below the checkpoint no MAC vouches for a key's record, so it may say anything.
    if end > known.size || end - start != batch.len() as u64 {
        return Ok(Some(false));
    }
    let mut sealed = Vec::new();
    let mut from = start;
    while from < end {
        // This reads at least one envelope, whatever its size.
        let read = known.stored.envelopes(from, end, Batch::BYTES_MAX)?;
        from += read.len() as u64;
        sealed.extend(read);
    }
    if sealed.iter().any(|stored| stored.bytes.is_none()) {
        return Ok(None);
    }
    let envelopes = sealed.iter().filter_map(|stored| stored.bytes.as_deref());
    let mut pairs = batch.events().iter().zip(envelopes);
    Ok(Some(pairs.all(|(event, sealed)| event.is_sealed_in(sealed))))
}

fn receipt_of(used: &KeyUsed) -> Receipt {
    Receipt { first_leaf: used.first_leaf, leaves: u64::from(used.leaves) }
}
