//! What the mirror keeps in its folder: the answers of the server, and what a later start must
//! know.
//!
//! - `<leaf / 1,000,000>/<leaf>.json.zst`: what the server showed of the batch that begins at this
//!   leaf. It holds hashes and no envelope, so erasing an envelope leaves nothing of it here.
//! - `under-way`: how many events the newest request has.
//! - `parked`: what the server refused.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use pangea::client::Taken;
use serde::{Deserialize, Serialize};
use tlog::Hash;

/// Leaves whose answers are in one folder.
const LEAVES_OF_A_FOLDER: u64 = 1_000_000;
/// Parked leaves that are known with their reasons. The log has all of them.
pub(super) const PARKED_KEPT_MAX: usize = 1_000;
/// Neighbouring proofs share most of their hashes, which any level finds.
const LEVEL: i32 = 3;

/// The mirror's folder.
#[derive(Clone, Debug)]
pub(super) struct Kept(PathBuf);

/// A leaf that the server refused, or that could not be sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ParkedLeaf {
    /// The leaf.
    pub leaf: u64,
    /// Why it was not taken.
    pub reason: String,
}

/// The parked leaves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Parked {
    /// How many there are.
    pub count: u64,
    /// The newest of them, oldest first.
    pub newest: VecDeque<ParkedLeaf>,
}

impl Parked {
    /// Adds a leaf, unless it is there: a start may settle again what an earlier one had written.
    pub(super) fn add(&mut self, leaf: u64, reason: &str) {
        if self.newest.back().is_some_and(|newest| newest.leaf >= leaf) {
            return;
        }
        self.count += 1;
        self.newest.push_back(ParkedLeaf { leaf, reason: reason.to_owned() });
        if self.newest.len() > PARKED_KEPT_MAX {
            self.newest.pop_front();
        }
    }
}

#[derive(Serialize)]
struct Answers<'a> {
    server: &'a str,
    request_id: &'a str,
    events: Vec<AnswerOf<'a>>,
}

/// What the server showed of one event.
#[derive(Serialize)]
struct AnswerOf<'a> {
    leaf: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership_proof: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    altered: bool,
}

impl Kept {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        durable::create_folder(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// How many events the newest request has. A damaged file counts as none: at worst, a server
    /// gets a request again that it cannot recognise.
    pub(super) fn under_way(&self) -> Option<usize> {
        fs::read_to_string(self.0.join("under-way")).ok()?.trim().parse().ok()
    }

    pub(super) fn begin(&self, events: usize) -> io::Result<()> {
        durable::replace(&self.0.join("under-way"), format!("{events}\n").as_bytes())
    }

    /// The parked leaves before `cursor`; those behind it were not settled.
    pub(super) fn parked(&self, cursor: u64) -> Parked {
        let bytes = fs::read(self.0.join("parked")).unwrap_or_default();
        let mut parked: Parked = serde_json::from_slice(&bytes).unwrap_or_default();
        while parked.newest.pop_back_if(|newest| newest.leaf >= cursor).is_some() {
            parked.count -= 1;
        }
        parked
    }

    pub(super) fn keep_parked(&self, parked: &Parked) -> io::Result<()> {
        let json = serde_json::to_vec(parked).expect("it has only text keys");
        durable::replace(&self.0.join("parked"), &json)
    }

    /// Writes what the server showed of these leaves, and returns the SHA-256 of the file.
    pub(super) fn keep_answers(
        &self,
        server: &str,
        leaves: &[u64],
        taken: &Taken,
    ) -> io::Result<Hash> {
        let hex = |hash: Hash| hex::encode(hash.as_bytes());
        let events = leaves.iter().zip(&taken.events).map(|(leaf, shown)| AnswerOf {
            leaf: *leaf,
            hash: shown.hash.map(hex),
            membership_proof: shown.proof.as_deref(),
            root: shown.root.map(hex),
            altered: shown.is_altered,
        });
        let answers = Answers { server, request_id: &taken.request_id, events: events.collect() };
        let json = serde_json::to_vec(&answers).expect("it has only text keys");
        let file = zstd::bulk::compress(&json, LEVEL)?;
        let path = self.answers_of(leaves.first().copied().unwrap_or_default());
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            durable::create_folder(folder)?;
            durable::sync_folder(&self.0)?;
        }
        durable::replace(&path, &file)?;
        Ok(Hash::sha256(&file))
    }

    fn answers_of(&self, first_leaf: u64) -> PathBuf {
        let folder = first_leaf / LEAVES_OF_A_FOLDER;
        self.0.join(format!("{folder:06}")).join(format!("{first_leaf:012}.json.zst"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use pangea::client::Shown;

    use super::*;

    #[test]
    fn answers_are_kept_under_the_hash_that_is_sealed_and_without_content() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        let hash = Hash::sha256(b"envelope");
        let shown = Shown {
            hash: Some(hash),
            proof: Some(String::from("l:00")),
            root: Some(hash),
            is_altered: false,
        };
        let taken = Taken { request_id: String::from("prq_1"), events: vec![shown; 2] };
        let sealed = kept.keep_answers("https://c.example", &[1_000_007, 1_000_009], &taken);
        let file = fs::read(folder.path().join("000001/000001000007.json.zst")).unwrap();
        assert_eq!(sealed.unwrap(), Hash::sha256(&file));
        let json = zstd::bulk::decompress(&file, 1 << 20).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(read["events"][1]["leaf"], 1_000_009);
        assert_eq!(read["events"][1]["hash"], hex::encode(hash.as_bytes()));
        assert_eq!(read["events"][0].as_object().unwrap().len(), 4, "{read}");
    }

    #[test]
    fn what_was_parked_and_not_settled_is_parked_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        assert_eq!((kept.under_way(), kept.parked(9)), (None, Parked::default()));
        kept.begin(17).unwrap();
        let mut parked = Parked::default();
        for leaf in 0..PARKED_KEPT_MAX as u64 + 5 {
            parked.add(leaf, "no");
        }
        parked.add(3, "again");
        kept.keep_parked(&parked).unwrap();
        assert_eq!(kept.under_way(), Some(17));
        assert_eq!((parked.count, parked.newest.len()), (1_005, PARKED_KEPT_MAX));
        let left = kept.parked(1_000);
        assert_eq!((left.count, left.newest.back().unwrap().leaf), (1_000, 999));
    }
}
