//! Blocks: envelopes that were sealed together and are compressed together, so a reading takes a
//! fraction of its JSON on disk.
//!
//! A block is a Zstandard frame (RFC 8878) with a content checksum. The format fixes the
//! dictionary: it contains what envelopes usually say, so a block of a single reading is small too.
//! Inside a frame, leaves follow each other, each after its length; an erased leaf leaves its
//! commitment.
//!
//! The bytes of a block come from a disk and can be anything. What is not a block of this format is
//! [`Damage`].

use std::sync::LazyLock;

use tlog::Hash;
use zstd::{
    bulk,
    dict::{DecoderDictionary, EncoderDictionary},
};

use crate::damage::Damage;

/// Most leaves in one block. A reader of one leaf unpacks the whole block, which takes a fraction
/// of a millisecond.
pub(crate) const LEAVES_MAX: usize = 256;
/// Size of the envelopes in bytes at which a block is full and takes no further leaf.
pub(crate) const BYTES_FULL: usize = 64 << 10;
/// Largest size of an unpacked block in bytes: a block that was just not full, and one envelope of
/// the largest size.
pub(crate) const BYTES_MAX: usize = BYTES_FULL + model::Envelope::BYTES_MAX + 4 * LEAVES_MAX;

/// The dictionary of format version 2, which may never change.
const DICTIONARY: &[u8] = include_bytes!("dictionary.txt");
/// Zstandard's fastest level that finds repeats across the whole block. Higher levels save a tenth
/// of the size and take twice the time.
const LEVEL: i32 = 1;
/// Value of a length that marks an erased leaf. The leaf's commitment follows it.
const ERASED: u32 = u32::MAX;

/// The content of one leaf in a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Leaf<'a> {
    /// The envelope, canonical JSON.
    Envelope(&'a [u8]),
    /// The envelope was erased; its commitment, the log's entry, remains.
    Erased(Hash),
}

/// Leaves to be written to a block, or read from one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Leaves {
    bytes: Vec<u8>,
    count: usize,
}

impl Leaves {
    /// Adds a leaf.
    pub(crate) fn push(&mut self, leaf: Leaf<'_>) {
        match leaf {
            Leaf::Envelope(envelope) => {
                let len = u32::try_from(envelope.len()).expect("envelopes are bounded");
                self.bytes.extend(len.to_le_bytes());
                self.bytes.extend(envelope);
            }
            Leaf::Erased(commitment) => {
                self.bytes.extend(ERASED.to_le_bytes());
                self.bytes.extend(commitment.as_bytes());
            }
        }
        self.count += 1;
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count >= LEAVES_MAX || self.bytes.len() >= BYTES_FULL
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The leaves as bytes, before compression.
    pub(crate) fn unpacked(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks that the bytes of an unpacked block are `count` leaves.
    pub(crate) fn parse(bytes: Vec<u8>, count: usize) -> Result<Self, Damage> {
        let leaves = Self { bytes, count };
        let mut rest = leaves.bytes.as_slice();
        for _leaf in 0..count {
            rest = split_leaf(rest).ok_or(Damage("a block ends within a leaf"))?.1;
        }
        if rest.is_empty() { Ok(leaves) } else { Err(Damage("a block has bytes after its leaves")) }
    }

    /// The leaves in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Leaf<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (leaf, after) = split_leaf(rest)?;
            rest = after;
            Some(leaf)
        })
    }
}

fn split_leaf(bytes: &[u8]) -> Option<(Leaf<'_>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    match u32::from_le_bytes(*len) {
        ERASED => {
            let (commitment, rest) = rest.split_first_chunk()?;
            Some((Leaf::Erased(Hash::from_bytes(*commitment)), rest))
        }
        len => {
            let (envelope, rest) = rest.split_at_checked(len as usize)?;
            Some((Leaf::Envelope(envelope), rest))
        }
    }
}

/// Compresses blocks.
pub(crate) struct Packer(bulk::Compressor<'static>);

impl Packer {
    pub(crate) fn new() -> Self {
        static PREPARED: LazyLock<EncoderDictionary<'static>> =
            LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
        let mut compressor = bulk::Compressor::with_prepared_dictionary(&PREPARED)
            .expect("the dictionary is part of the program");
        compressor.include_checksum(true).expect("Zstandard knows checksums");
        Self(compressor)
    }

    /// Appends the frame of `leaves` to `frame`.
    pub(crate) fn pack(&mut self, leaves: &Leaves, frame: &mut Vec<u8>) {
        let packed = self.0.compress(leaves.unpacked()).expect("memory compresses into memory");
        frame.extend(packed);
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Packer")
    }
}

/// Unpacks blocks.
pub(crate) struct Unpacker(bulk::Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> Self {
        static PREPARED: LazyLock<DecoderDictionary<'static>> =
            LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));
        Self(
            bulk::Decompressor::with_prepared_dictionary(&PREPARED)
                .expect("the dictionary is part of the program"),
        )
    }

    /// Unpacks the leaves of a frame. `count` and `unpacked_len` (bytes) are what the frame's
    /// record says.
    pub(crate) fn unpack(
        &mut self,
        frame: &[u8],
        count: usize,
        unpacked_len: usize,
    ) -> Result<Leaves, Damage> {
        if count > LEAVES_MAX || unpacked_len > BYTES_MAX {
            return Err(Damage("a block is too large"));
        }
        let bytes = self.0.decompress(frame, unpacked_len).map_err(|_| {
            Damage("a block cannot be decompressed, or does not match its checksum")
        })?;
        if bytes.len() != unpacked_len {
            return Err(Damage("the length of a block differs from its record"));
        }
        Leaves::parse(bytes, count)
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Unpacker")
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Clone, Debug)]
    enum Owned {
        Envelope(Vec<u8>),
        Erased([u8; 32]),
    }

    fn leaves() -> impl Strategy<Value = Vec<Owned>> {
        vec(
            prop_oneof![
                vec(any::<u8>(), 0..400).prop_map(Owned::Envelope),
                any::<[u8; 32]>().prop_map(Owned::Erased)
            ],
            1..20,
        )
    }

    fn as_leaf(owned: &Owned) -> Leaf<'_> {
        match owned {
            Owned::Envelope(bytes) => Leaf::Envelope(bytes),
            Owned::Erased(bytes) => Leaf::Erased(Hash::from_bytes(*bytes)),
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(owned in leaves()) {
            let mut leaves = Leaves::default();
            owned.iter().for_each(|owned| leaves.push(as_leaf(owned)));
            let mut frame = Vec::new();
            Packer::new().pack(&leaves, &mut frame);
            let unpacked =
                Unpacker::new().unpack(&frame, leaves.count(), leaves.unpacked().len()).unwrap();
            prop_assert!(unpacked.iter().eq(owned.iter().map(as_leaf)));
        }

        #[test]
        fn bytes_from_anywhere_do_not_panic(frame in vec(any::<u8>(), 0..200), count in 0..300_usize, len in 0..5_000_usize) {
            let _either = Unpacker::new().unpack(&frame, count, len);
            let _either = Leaves::parse(frame, count);
        }
    }

    #[test]
    fn a_single_reading_takes_less_than_half_of_its_json() {
        let envelope = concat!(
            r#"{"event":{"action":"SENSOR_READING","actor":"poller","message":"Boiler Room.T1: 23.50","new":"23.50","#,
            r#""sealwire":{"poll":77,"range":"0..50","sensor":"b1946ac9-2492-4d23-87c6-235b4d2611184","unit":"kPa"},"#,
            r#""source":"Boiler Room.T1","status":"SUCCESS","timestamp":"2026-11-25T03:01:23.654321Z"},"#,
            r#""received_at":"2026-11-25T03:01:23.655001Z","salt":"591785b794601e212b260e25925636fd"}"#
        )
        .as_bytes();
        let mut leaves = Leaves::default();
        leaves.push(Leaf::Envelope(envelope));
        let mut frame = Vec::new();
        Packer::new().pack(&leaves, &mut frame);
        assert!(frame.len() < envelope.len() / 2, "{} of {}", frame.len(), envelope.len());
    }
}
