//! Ids of searches, with which clients ask for later pages.
//!
//! An id holds the search itself and its expiry, authenticated by a keyed hash. The server stores
//! nothing for it, so it survives a restart, and only the index can create one. The key belongs to
//! the index; a rebuilt index rejects ids of the one before.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::query::Search;

/// Lifetime of an id: two days.
const LIFETIME_MICROS: i64 = 2 * 86_400 * 1_000_000;
const KEY_LEN: usize = 32;
/// Length of the hash in an id, in bytes.
const TAG_LEN: usize = 16;

/// Why an id is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidResultId {
    /// This index did not issue the id.
    #[error("the id is not from a search of this log: search again")]
    Unknown,
    /// The id has expired.
    #[error("the id is more than two days old: search again")]
    Expired,
}

#[derive(Deserialize, Serialize)]
struct Content {
    search: Search,
    expires_at: Timestamp,
}

pub(crate) fn key(connection: &Connection) -> rusqlite::Result<[u8; KEY_LEN]> {
    connection.query_row("SELECT id_key FROM log", [], |row| row.get(0))
}

pub(crate) fn seal(key: &[u8; KEY_LEN], search: &Search, now: Timestamp) -> String {
    let expires_at = Timestamp::from_unix_micros(now.unix_micros().saturating_add(LIFETIME_MICROS));
    let content = Content { search: search.clone(), expires_at };
    let mut bytes = serde_json::to_vec(&content).expect("a search has only text keys");
    let tag = tag(key, &bytes);
    bytes.extend(tag);
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn open(
    key: &[u8; KEY_LEN],
    id: &str,
    now: Timestamp,
) -> Result<Search, InvalidResultId> {
    let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| InvalidResultId::Unknown)?;
    let (content, found) = bytes.split_last_chunk::<TAG_LEN>().ok_or(InvalidResultId::Unknown)?;
    // Compare in constant time, so that timing does not reveal where the hashes differ.
    let differs = tag(key, content).iter().zip(found).fold(0, |all, (a, b)| all | (a ^ b));
    if differs != 0 {
        return Err(InvalidResultId::Unknown);
    }
    let content: Content = serde_json::from_slice(content).map_err(|_| InvalidResultId::Unknown)?;
    if content.expires_at <= now {
        return Err(InvalidResultId::Expired);
    }
    Ok(content.search)
}

/// HMAC-SHA-256 (RFC 2104), truncated to its first half.
fn tag(key: &[u8; KEY_LEN], content: &[u8]) -> [u8; TAG_LEN] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(content).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    let mut tag = [0; TAG_LEN];
    tag.iter_mut().zip(outer).for_each(|(tag, hash)| *tag = hash);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_its_search_back_for_two_days_and_to_nobody_else() {
        let at = |day: i64| Timestamp::from_unix_micros(day * 86_400 * 1_000_000);
        let search = Search { end: 812, ..Search::default() };
        let id = seal(&[7; KEY_LEN], &search, at(1));
        assert_eq!(open(&[7; KEY_LEN], &id, at(2)), Ok(search));
        assert_eq!(open(&[7; KEY_LEN], &id, at(3)), Err(InvalidResultId::Expired));
        assert_eq!(open(&[8; KEY_LEN], &id, at(2)), Err(InvalidResultId::Unknown));
        for other in ["", "?", "eyJ9", &id.replacen('e', "f", 1)] {
            assert_eq!(open(&[7; KEY_LEN], other, at(2)), Err(InvalidResultId::Unknown), "{other}");
        }
    }
}
