//! Ids of requests and results in the contract's form: a prefix and 32 characters.
//!
//! An id begins with its time, so ids sort by time. Of the ids of a request and its retries, the
//! smallest belongs to the first attempt, unless the clock was set back in between.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_DNSSEC;

/// Id of a request.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(String);

/// Id of a search, with which clients ask for its pages.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResultId(String);

/// Ids of all attempts at a request. Its events may be sealed under any of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempts {
    /// The smallest id. The server seals the request's events under it, unless they are sealed
    /// already.
    pub first: RequestId,
    /// Further ids, at most [`Attempts::OTHERS_MAX`]. If the clock was set back between two
    /// attempts, the id of the first attempt is among them.
    pub others: Vec<RequestId>,
}

impl Attempts {
    /// Most ids besides the first. The SDKs make four attempts.
    pub const OTHERS_MAX: usize = 15;
}

/// Number of characters after the prefix.
const DIGITS: usize = 32;

/// Random bytes of an id.
pub type Chance = [u8; 14];

impl RequestId {
    /// A new id from a time in milliseconds since 1970 and random bytes.
    #[must_use]
    pub fn new(unix_millis: u64, chance: Chance) -> Self {
        Self(format!("prq_{}", digits(unix_millis, chance)))
    }

    /// The id as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The attempts at this request. `retried` is the header with the ids of earlier attempts. If
    /// it names none, this is the first attempt. A retry's own id does not count, because nothing
    /// is sealed under it. Texts that are not ids are skipped.
    #[must_use]
    pub fn attempts(&self, retried: &str) -> Attempts {
        let mut earlier: Vec<_> =
            retried.split(',').filter_map(|id| id.trim().parse::<Self>().ok()).collect();
        earlier.sort_unstable();
        let mut earlier = earlier.into_iter();
        let first = earlier.next().unwrap_or_else(|| self.clone());
        Attempts { first, others: earlier.take(Attempts::OTHERS_MAX).collect() }
    }

    /// When the id was made, in milliseconds since 1970; `None` if this server did not make it.
    #[must_use]
    pub fn unix_millis(&self) -> Option<u64> {
        // Ten digits hold 50 bits; the time has 48.
        let (_prefix, digits) = self.0.split_once('_')?;
        Some(u64::from_str_radix(digits.get(..10)?, 32).ok()? >> 2)
    }
}

impl ResultId {
    /// A new id from a time in milliseconds since 1970 and random bytes.
    #[must_use]
    pub fn new(unix_millis: u64, chance: Chance) -> Self {
        Self(format!("pas_{}", digits(unix_millis, chance)))
    }

    /// The id as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        has_prefix(text, "prq_").then(|| Self(text.to_owned())).ok_or(InvalidId("prq_"))
    }
}

impl FromStr for ResultId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        has_prefix(text, "pas_").then(|| Self(text.to_owned())).ok_or(InvalidId("pas_"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for ResultId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The text is not an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an id is `{0}` and {DIGITS} characters of a-z and 0-9")]
pub struct InvalidId(&'static str);

fn has_prefix(text: &str, prefix: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(is_digit))
}

/// Encodes 48 bits of milliseconds and 14 random bytes.
fn digits(unix_millis: u64, chance: Chance) -> String {
    let mut bytes = [0; 20];
    let [_, _, time @ ..] = unix_millis.to_be_bytes();
    bytes.iter_mut().zip(time.into_iter().chain(chance)).for_each(|(byte, from)| *byte = from);
    // The digits sort like the bytes (RFC 4648 section 7).
    BASE32_DNSSEC.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_the_smallest_is_the_first_attempt() {
        let ids: Vec<_> =
            (0..64_u8).map(|at| RequestId::new(u64::from(at) * 997, [!at; 14])).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[3].as_str().len(), 36);
        assert_eq!(ids[3].as_str().parse(), Ok(ids[3].clone()));
        let header = format!("{},nonsense, {},", ids[7], ids[5]); // Python's order is random
        let earlier = Attempts { first: ids[5].clone(), others: vec![ids[7].clone()] };
        assert_eq!(ids[9].attempts(&header), earlier);
        assert_eq!(ids[2].attempts(&header), earlier, "the clock was set back");
        assert_eq!(ids[9].attempts(""), Attempts { first: ids[9].clone(), others: vec![] });
        let many: String = ids.iter().map(|id| format!("{id},")).collect();
        assert_eq!(ids[9].attempts(&many).others, ids[1..=Attempts::OTHERS_MAX]);
        assert_eq!(ids[3].unix_millis(), Some(3 * 997));
        assert_eq!(
            "prq_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<RequestId>().unwrap().unix_millis(),
            None
        );
        for text in [
            "",
            "prq_",
            "pas_00000000000000000000000000000000",
            "prq_0000000000000000000000000000000A",
        ] {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }
}
