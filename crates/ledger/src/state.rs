//! The log's own state, folded from its own events (keys, holds and erasures), and each consumer's
//! cursor.
//!
//! The segments determine the state. The file `state` keeps the fold as of a size, so a start need
//! not read the whole log. A start reads the whole log if the file is missing or the site's key did
//! not write it. The log stores the file after the checkpoint of that size.

use std::{collections::BTreeMap, io, ops::Range, path::Path};

use durable::disk::{self, Disk};
use key_history::rotation::{self, InvalidRotation};
use model::{Envelope, SensorId, Timestamp, action};
use serde::{Deserialize, Serialize};
use tlog::VerifierKey;

use crate::{
    layout::STATE,
    ranges::LeafRanges,
    seal::{MAC_LEN, MacBytes, Sealing},
};

/// The fold over the leaves before `size`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct State {
    pub(crate) size: u64,
    /// Next leaf of each consumer, by the consumer's name. A cursor never goes back.
    cursors: BTreeMap<String, u64>,
    /// The genesis entry's key and its successors.
    keys: Vec<LogKey>,
    /// Holds in force, by the leaf that placed them.
    holds: BTreeMap<u64, Hold>,
    /// Ranges of leaves to erase, by the leaf that orders it, for erasures that the segments may
    /// not show yet.
    erasing: BTreeMap<u64, String>,
    /// For each class of events, the leaf before which retention has processed them.
    retention: BTreeMap<String, u64>,
}

/// The file `state` as it was read.
#[derive(Debug)]
pub(crate) struct StateFile {
    /// The state in the file. Anyone may have written it.
    pub(crate) state: State,
    /// All bytes of the file.
    pub(crate) bytes: Vec<u8>,
    json_len: usize,
    /// `None` in files of format versions before 4, which have no MAC.
    mac: Option<MacBytes>,
}

impl StateFile {
    /// Reads the file; `None` if it does not exist.
    pub(crate) fn load(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Self>> {
        disk::read_small(disk, &folder.join(STATE))?.map(Self::decode).transpose()
    }

    fn decode(bytes: Vec<u8>) -> io::Result<Self> {
        let damaged = |what| io::Error::other(format!("{STATE}: {what}"));
        let text = str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
        let (covered, checksum) = text
            .strip_suffix('\n')
            .and_then(|text| text.rsplit_once('\n'))
            .ok_or_else(|| damaged("it does not have all its lines"))?;
        if checksum != format!("{:08x}", crc32c::crc32c(covered.as_bytes())) {
            return Err(damaged("its checksum does not match"));
        }
        let (json, mac) = match covered.split_once('\n') {
            None => (covered, None),
            Some((json, line)) => {
                let mut mac = [0; MAC_LEN];
                hex::decode_to_slice(line, &mut mac)
                    .map_err(|_| damaged("its MAC is not 64 hex digits"))?;
                (json, Some(mac))
            }
        };
        let state = serde_json::from_str(json).map_err(io::Error::other)?;
        let json_len = json.len();
        Ok(Self { state, json_len, mac, bytes })
    }

    /// The state, if the holder of one of these keys wrote it.
    pub(crate) fn sealed_by(&self, sealings: &[Sealing]) -> Option<&State> {
        let (mac, json) = (self.mac?, self.bytes.get(..self.json_len)?);
        sealings.iter().any(|sealing| sealing.is_state(&mac, json)).then_some(&self.state)
    }
}

/// A key, and the leaf of the event from which on it signs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogKey {
    /// Leaf of the event that named the key.
    pub leaf: u64,
    /// The verifier key as text (C2SP signed-note).
    pub vkey: String,
}

/// A set of envelopes that may not be erased.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hold {
    /// Covers events of this sensor, or of all sensors if it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorId>,
    /// Covers envelopes received at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Covers envelopes received before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl Hold {
    /// Whether the hold covers this envelope.
    #[must_use]
    pub fn covers(&self, envelope: &Envelope) -> bool {
        self.sensor.is_none_or(|sensor| envelope.event.sensor() == Some(sensor))
            && self.from.is_none_or(|from| envelope.received_at >= from)
            && self.to.is_none_or(|to| envelope.received_at < to)
    }
}

impl State {
    /// Reads the file. `None` if it does not exist, or if version 1 wrote its predecessor, which
    /// holds too little. Anyone may have written the file.
    pub(crate) fn load(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Self>> {
        Ok(StateFile::load(disk, folder)?.map(|stored| stored.state))
    }

    /// Encodes a line of JSON, a line with its MAC, and a line with the checksum of both.
    pub(crate) fn encode(&self, sealing: &Sealing) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("maps of names and numbers are JSON");
        let mac = hex::encode(sealing.state(&bytes));
        bytes.push(b'\n');
        bytes.extend(mac.as_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend(format!("\n{checksum:08x}\n").as_bytes());
        bytes
    }

    pub(crate) fn advance(&mut self, cursor: &str, next_leaf: u64) {
        match self.cursors.get_mut(cursor) {
            Some(next) => *next = next_leaf.max(*next),
            None => drop(self.cursors.insert(cursor.to_owned(), next_leaf)),
        }
    }

    pub(crate) fn cursor(&self, name: &str) -> u64 {
        self.cursors.get(name).copied().unwrap_or_default()
    }

    pub(crate) const fn cursors(&self) -> &BTreeMap<String, u64> {
        &self.cursors
    }

    pub(crate) fn keys(&self) -> &[LogKey] {
        &self.keys
    }

    /// The key that signs now; `None` if the log has no genesis entry.
    pub(crate) fn key(&self) -> Option<&str> {
        self.keys.last().map(|key| key.vkey.as_str())
    }

    pub(crate) const fn holds(&self) -> &BTreeMap<u64, Hold> {
        &self.holds
    }

    pub(crate) fn retained_from(&self, class: &str) -> u64 {
        self.retention.get(class).copied().unwrap_or_default()
    }

    /// Leaves that are to be erased and may still have their envelopes.
    pub(crate) fn erasing(&self) -> LeafRanges {
        self.ordered_from(0)
    }

    /// Leaves that the event at a leaf orders to be erased.
    pub(crate) fn ordered_at(&self, leaf: u64) -> Option<LeafRanges> {
        self.erasing.get(&leaf)?.parse().ok()
    }

    /// Leaves that events from a leaf on order to be erased.
    pub(crate) fn ordered_from(&self, leaf: u64) -> LeafRanges {
        self.ordered_within(leaf..u64::MAX)
    }

    /// Leaves that events before a leaf order to be erased.
    pub(crate) fn ordered_before(&self, leaf: u64) -> LeafRanges {
        self.ordered_within(0..leaf)
    }

    fn ordered_within(&self, leaves: Range<u64>) -> LeafRanges {
        self.erasing
            .range(leaves)
            .filter_map(|(_, ranges)| ranges.parse::<LeafRanges>().ok())
            .fold(LeafRanges::new(), |all, ranges| all.union(&ranges))
    }

    /// Notes that the segments show the erasures that leaves before `before` ordered.
    pub(crate) fn erased(&mut self, before: u64) {
        self.erasing.retain(|leaf, _| *leaf >= before);
    }

    /// Applies a leaf and its envelope, or `None` if that was erased. A leaf that was applied
    /// before changes nothing.
    ///
    /// # Errors
    /// The envelope is an event of the log itself with invalid content.
    pub(crate) fn apply(
        &mut self,
        leaf: u64,
        canonical: Option<&[u8]>,
    ) -> Result<(), InvalidLogEvent> {
        if leaf < self.size {
            return Ok(());
        }
        self.size = leaf + 1;
        let Some(canonical) = canonical else { return Ok(()) };
        let Some(action) =
            action::OF_THE_LOG.into_iter().find(|action| Envelope::has_action(canonical, action))
        else {
            return Ok(());
        };
        let reason = |reason| InvalidLogEvent { leaf, action, reason };
        let envelope = Envelope::parse(canonical)
            .map_err(|error| reason(InvalidReason::Malformed(error.to_string())))?;
        let missing = |field| reason(InvalidReason::Missing(field));
        let detail = envelope.event.sealwire.unwrap_or_default();
        match action {
            action::LOG_CREATED => {
                if leaf > 0 {
                    return Err(reason(InvalidReason::SecondGenesis));
                }
                let vkey = detail.vkey.ok_or_else(|| missing("vkey"))?;
                self.keys.push(LogKey { leaf, vkey });
            }
            action::KEY_ROTATED => {
                let vkey = detail.vkey.ok_or_else(|| missing("vkey"))?;
                let statement = detail.rotation.ok_or_else(|| missing("rotation"))?;
                let parse = |vkey: &str| {
                    VerifierKey::parse(vkey)
                        .map_err(|error| reason(InvalidReason::Malformed(error.to_string())))
                };
                let old = parse(self.key().unwrap_or_default())?;
                rotation::verify(&statement, old.name().as_str(), leaf, &old, &parse(&vkey)?)
                    .map_err(|error| reason(InvalidReason::Rotation(error)))?;
                self.keys.push(LogKey { leaf, vkey });
            }
            action::ENVELOPES_ERASED => {
                let erased = detail.erased.ok_or_else(|| missing("erased"))?;
                let ranges = erased
                    .parse::<LeafRanges>()
                    .map_err(|error| reason(InvalidReason::Malformed(error.to_string())))?;
                if ranges.end() > leaf {
                    return Err(reason(InvalidReason::Future));
                }
                self.erasing.insert(leaf, erased);
                if let (Some(class), Some(to)) = (detail.retention, detail.retention_to) {
                    self.retention.insert(class, to);
                }
            }
            action::HOLD_PLACED => {
                let (sensor, from, to) = (detail.sensor, detail.hold_from, detail.hold_to);
                self.holds.insert(leaf, Hold { sensor, from, to });
            }
            _released => {
                let hold = detail.hold.ok_or_else(|| missing("hold"))?;
                self.holds.remove(&hold);
                // Retention must look again at the envelopes that the hold kept.
                self.retention.clear();
            }
        }
        Ok(())
    }

    /// Whether both agree on the log. The comparison leaves out cursors and finished erasures,
    /// which depend on the moment.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        (self.size, &self.keys, &self.holds, &self.retention)
            == (other.size, &other.keys, &other.holds, &other.retention)
            && self.erasing.iter().all(|(leaf, ranges)| other.erasing.get(leaf) == Some(ranges))
    }
}

/// An event of the log itself has invalid content.
#[derive(Debug, thiserror::Error)]
#[error("leaf {leaf}: the event {action} is impossible here")]
pub struct InvalidLogEvent {
    /// Leaf of the event.
    pub leaf: u64,
    action: &'static str,
    #[source]
    reason: InvalidReason,
}

/// What is wrong with the event.
#[derive(Debug, thiserror::Error)]
enum InvalidReason {
    #[error("it is malformed: {0}")]
    Malformed(String),
    #[error("it has no `{0}`")]
    Missing(&'static str),
    #[error("only leaf 0 is a genesis entry")]
    SecondGenesis,
    #[error("it names leaves that come after it")]
    Future,
    #[error("the rotation does not verify")]
    Rotation(#[source] InvalidRotation),
}
