//! NATS' nkeys: Ed25519 keys as text. The server names a client by its public key, and the client
//! proves that it has the seed by a signature over a nonce of the server.
//!
//! The text is base32 of a prefix that says what the key is for, the 32 bytes, and a CRC-16.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// Prefix of every seed, in the five bits that base32 shows as `S`.
const SEED: u8 = 18 << 3;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 2;

/// What a key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Names a client.
    User,
    /// Signs what the server believes about its clients.
    Account,
}

impl Kind {
    /// The five bits that base32 shows as `U` or `A`.
    const fn prefix(self) -> u8 {
        match self {
            Self::User => 20 << 3,
            Self::Account => 0,
        }
    }

    /// The same after the five bits of a seed.
    const fn prefix_of_seed(self) -> [u8; 2] {
        let kind = self.prefix();
        [SEED | (kind >> 5), (kind & 31) << 3]
    }
}

/// A secret key.
#[derive(Clone)]
pub struct Seed {
    kind: Kind,
    key: SigningKey,
}

impl Seed {
    /// The key that is made of these random bytes.
    #[must_use]
    pub fn from_bytes(kind: Kind, bytes: &[u8; 32]) -> Self {
        Self { kind, key: SigningKey::from_bytes(bytes) }
    }

    /// The key's public part, as text.
    #[must_use]
    pub fn public(&self) -> String {
        encode(&[self.kind.prefix()], self.key.verifying_key().as_bytes())
    }

    /// The seed itself, as text: what a client is given.
    #[must_use]
    pub fn secret(&self) -> String {
        encode(&self.kind.prefix_of_seed(), self.key.as_bytes())
    }

    /// Signs what the server asks for.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl FromStr for Seed {
    type Err = InvalidSeed;

    fn from_str(text: &str) -> Result<Self, InvalidSeed> {
        let (prefix, key) = decode::<2>(text).ok_or(InvalidSeed)?;
        let kinds = [Kind::User, Kind::Account];
        let kind = kinds.into_iter().find(|kind| kind.prefix_of_seed() == prefix);
        Ok(Self::from_bytes(kind.ok_or(InvalidSeed)?, &key))
    }
}

impl fmt::Debug for Seed {
    /// Omits the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seed").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The public key of a client.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UserKey([u8; 32]);

impl UserKey {
    /// Whether the client that has this key signed `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
    }
}

impl FromStr for UserKey {
    type Err = InvalidUserKey;

    fn from_str(text: &str) -> Result<Self, InvalidUserKey> {
        match decode(text) {
            Some(([prefix], key)) if prefix == Kind::User.prefix() => Ok(Self(key)),
            _ => Err(InvalidUserKey),
        }
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&encode(&[Kind::User.prefix()], &self.0))
    }
}

/// The text is not the public key of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a client's public nkey has 56 characters and begins with U")]
pub struct InvalidUserKey;

/// The text is not a seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a seed has 58 characters and begins with S")]
pub struct InvalidSeed;

/// The prefix and the key in a text with the right length and checksum.
fn decode<const PREFIX_BYTES: usize>(text: &str) -> Option<([u8; PREFIX_BYTES], [u8; 32])> {
    let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
    let (named, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if crc16(named).to_le_bytes() != *checksum {
        return None;
    }
    let (prefix, key) = named.split_first_chunk()?;
    Some((*prefix, key.try_into().ok()?))
}

fn encode(prefix: &[u8], key: &[u8; 32]) -> String {
    let mut bytes = [prefix, key.as_slice()].concat();
    bytes.extend(crc16(&bytes).to_le_bytes());
    BASE32_NOPAD.encode(&bytes)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _bit| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with nkeys 0.2.1 of Python from the same bytes.
    #[test]
    fn keys_are_written_as_other_programs_write_them() {
        let seed = Seed::from_bytes(Kind::User, &[1; 32]);
        assert_eq!(seed.secret(), "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY");
        assert_eq!(seed.public(), "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L");
        assert_eq!(seed.secret().parse::<Seed>().unwrap().public(), seed.public());
        let account = Seed::from_bytes(Kind::Account, &[7; 32]);
        assert_eq!(account.secret().parse::<Seed>().unwrap().public(), account.public());
        assert_eq!(account.public(), "ADVEU3DD4KOFECV66VIHWEZOYX4ZKR3WV27L464SIIPOU2IUI3JCZW22");
    }

    #[test]
    fn a_signature_is_that_of_its_key_and_its_message() {
        let [seed, other] = [[1; 32], [2; 32]].map(|bytes| Seed::from_bytes(Kind::User, &bytes));
        let key: UserKey = seed.public().parse().unwrap();
        assert_eq!(key.to_string(), seed.public());
        assert!(key.verifies(b"nonce", &seed.sign(b"nonce")));
        assert!(!key.verifies(b"once", &seed.sign(b"nonce")));
        assert!(!key.verifies(b"nonce", &other.sign(b"nonce")));
        assert!(!key.verifies(b"nonce", b"short"));
    }

    #[test]
    fn a_text_that_is_not_a_clients_key_is_refused() {
        let key = Seed::from_bytes(Kind::User, &[1; 32]);
        let account = Seed::from_bytes(Kind::Account, &[1; 32]).public();
        let public = key.public();
        let changed = public.replace('A', "B");
        for text in
            ["", "U", &public[1..], &public.to_lowercase(), &changed, &account, &key.secret()]
        {
            assert_eq!(text.parse::<UserKey>(), Err(InvalidUserKey), "{text}");
        }
        let changed = key.secret().replace('B', "C");
        for text in ["", "S", &key.secret()[1..], &changed, &key.public()] {
            assert_eq!(text.parse::<Seed>().unwrap_err(), InvalidSeed, "{text}");
        }
    }
}
