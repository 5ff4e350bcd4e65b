//! Batches that come again: the same one under the same key gets the first receipt.
//!
//! Of a batch nothing is kept but its key: whether another one is the same shows by the envelopes
//! that were sealed. So nothing tells what it was once they are erased, and a key's record that
//! somebody made up can have a batch refused at most.

use std::ops::Range;

use tlog::Hash;

use crate::{
    append_keys::AppendKeys,
    batch::{AppendError, Batch, PreparedBatch, Receipt},
    segment::KeyUsed,
    stored::{ReadError, StoredEnvelopes},
};

/// Where a batch was sealed first.
pub(super) enum First {
    /// Nowhere yet.
    ThisOne,
    /// In the group that is being filled.
    InGroup(Receipt),
    /// In the log, or under its key something else was.
    Sealed(Result<Receipt, AppendError>),
}

/// What a batch is looked for in.
pub(super) struct Known<'a> {
    /// Keys of the group that is being filled, each with a hash of its batch's events.
    pub(super) in_group: &'a [(KeyUsed, Hash)],
    /// Keys of what was sealed.
    pub(super) append_keys: &'a AppendKeys,
    /// The envelopes that were sealed, and how many.
    pub(super) stored: &'a StoredEnvelopes,
    pub(super) size: u64,
}

/// Whether a batch was sealed before under one of its keys.
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
        // Nobody knows any more what it was.
        Ok(None) => First::ThisOne,
        Ok(Some(true)) => First::Sealed(Ok(receipt_of(used))),
        Ok(Some(false)) => First::Sealed(Err(reused(used))),
        Err(error) => {
            let words = format!("what was sealed under its key cannot be read: {error}");
            First::Sealed(Err(AppendError::Write(words)))
        }
    }
}

/// Whether a batch is the one that was sealed under a key; `None` where something of that was
/// erased.
fn is_what_was_sealed(
    batch: &PreparedBatch,
    used: &KeyUsed,
    known: &Known<'_>,
) -> Result<Option<bool>, ReadError> {
    let Range { start, end } = used.batch();
    // Below the checkpoint nothing vouches for a key's record, so it may say anything.
    if end > known.size || end - start != batch.len() as u64 {
        return Ok(Some(false));
    }
    let mut sealed = Vec::new();
    let mut from = start;
    while from < end {
        // At least one, however large it is.
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
