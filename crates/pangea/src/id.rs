//! Ids of requests and of results, as the contract has them: a prefix and 32 characters.
//!
//! They begin with the time, so that they sort by it: of the ids of a request and its retries, the
//! smallest is the first attempt's, unless the clock was set back in between.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_DNSSEC;

/// Names a request.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(String);

/// Names a search, by which its pages are asked for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResultId(String);

/// The ids of a request that was made before: under one of them it may be sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempts {
    /// The smallest, under which it is sealed if it is not yet.
    pub first: RequestId,
    /// Further ones, no more than [`Attempts::OTHERS_MAX`]. Where the clock was set back between
    /// two attempts, the first one's is among them.
    pub others: Vec<RequestId>,
}

impl Attempts {
    /// Most ids beside the first: the SDKs make four attempts.
    pub const OTHERS_MAX: usize = 15;
}

/// Characters behind the prefix.
const DIGITS: usize = 32;

/// What is random in an id.
pub type Chance = [u8; 14];

impl RequestId {
    /// A new one: made at this moment, and with these random bytes.
    #[must_use]
    pub fn new(unix_millis: u64, chance: Chance) -> Self {
        Self(format!("prq_{}", digits(unix_millis, chance)))
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The earlier attempts at this request, given the header with their ids; where there were
    /// none, this is the first. A retry's own id does not count: nothing is sealed under it. What
    /// is no id is passed over.
    #[must_use]
    pub fn attempts(&self, retried: &str) -> Attempts {
        let mut earlier: Vec<_> =
            retried.split(',').filter_map(|id| id.trim().parse::<Self>().ok()).collect();
        earlier.sort_unstable();
        let mut earlier = earlier.into_iter();
        let first = earlier.next().unwrap_or_else(|| self.clone());
        Attempts { first, others: earlier.take(Attempts::OTHERS_MAX).collect() }
    }

    /// When it was made, in milliseconds since 1970; `None` of an id that is not one of ours.
    #[must_use]
    pub fn unix_millis(&self) -> Option<u64> {
        // Ten digits are 50 bits, and the time has 48.
        let (_prefix, digits) = self.0.split_once('_')?;
        Some(u64::from_str_radix(digits.get(..10)?, 32).ok()? >> 2)
    }
}

impl ResultId {
    /// A new one.
    #[must_use]
    pub fn new(unix_millis: u64, chance: Chance) -> Self {
        Self(format!("pas_{}", digits(unix_millis, chance)))
    }

    /// As it is sent.
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

/// A text that is not an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an id is `{0}` and {DIGITS} characters of a-z and 0-9")]
pub struct InvalidId(&'static str);

fn has_prefix(text: &str, prefix: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(is_digit))
}

/// 48 bits of milliseconds and 14 random bytes.
fn digits(unix_millis: u64, chance: Chance) -> String {
    let mut bytes = [0; 20];
    let [_, _, time @ ..] = unix_millis.to_be_bytes();
    bytes.iter_mut().zip(time.into_iter().chain(chance)).for_each(|(byte, from)| *byte = from);
    // Its digits sort like the bytes (RFC 4648 §7).
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
