//! Keys that sign notes: their names, key IDs, verifier keys and signers.
//!
//! C2SP signed-note, Verifier keys. This module implements two of the signature types that it
//! assigns, both Ed25519: type 0x01 signs a text as it is ([`Signer`]), and type 0x04 signs a
//! checkpoint with the time at which it was seen ([`Cosigner`](crate::Cosigner)). One Rust type
//! implements both, with the signature type as its parameter, so a log's key cannot be used as a
//! witness's. Keys of other types are refused with the name of their type.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::excerpt::excerpt;
use crate::hash::Hash;

/// Signature type identifier byte of Ed25519 (C2SP signed-note, Signature types).
const ED25519: u8 = 0x01;
/// Signature type identifier byte of Ed25519 cosignatures with a timestamp.
pub(crate) const COSIGNATURE: u8 = 0x04;

/// Name of a key: not empty, without Unicode spaces, control characters and plus signs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyName(String);

/// Identifies a key together with its [`KeyName`]. It is four bytes of a hash, so it proves
/// nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId([u8; 4]);

/// An Ed25519 public key, its signature type and the name under which it signs; shown as a vkey.
#[derive(Clone, Eq, PartialEq)]
pub struct PublicKey<const TYPE: u8> {
    name: KeyName,
    id: KeyId,
    key: VerifyingKey,
}

/// An Ed25519 private key, its signature type and the name under which it signs.
///
/// The seed is wiped from memory on drop and cannot be read back; `Debug` shows the public key.
pub struct PrivateKey<const TYPE: u8> {
    vkey: PublicKey<TYPE>,
    key: SigningKey,
}

/// The public key of a signer of notes, for example a log.
pub type VerifierKey = PublicKey<ED25519>;

/// The private key of a signer of notes.
pub type Signer = PrivateKey<ED25519>;

impl KeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// The text is empty, or has a space, a control character or a plus sign.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyName> {
        let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if !text.is_empty() && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidKeyName { text: excerpt(text) })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyId {
    /// Takes an ID in the form that signatures carry, big-endian.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The ID in the form that signatures carry, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn of(name: &KeyName, signature_type: u8, key: &VerifyingKey) -> Self {
        let hashed = [name.0.as_bytes(), b"\n", &[signature_type], key.as_bytes()].concat();
        let [a, b, c, d, ..] = *Hash::sha256(&hashed).as_bytes();
        Self([a, b, c, d])
    }

    fn parse(hex: &str) -> Option<Self> {
        let canonical = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 8 || !hex.bytes().all(canonical) {
            return None;
        }
        u32::from_str_radix(hex, 16).ok().map(|id| Self(id.to_be_bytes()))
    }
}

impl<const TYPE: u8> PublicKey<TYPE> {
    /// Parses a vkey: `<name>+<key ID in hex>+<type and public key in base64>`.
    ///
    /// # Errors
    /// A part of the text is invalid, or the key ID does not match the name and the key.
    pub fn parse(vkey: &str) -> Result<Self, ParseKeyError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseKeyError::Shape { vkey: excerpt(vkey) });
        };
        let name = KeyName::parse(name)?;
        let id = KeyId::parse(id).ok_or_else(|| ParseKeyError::Id { id: excerpt(id) })?;
        let material = STANDARD.decode(material).map_err(|_undecodable| ParseKeyError::Base64)?;
        let key = match material.split_first() {
            Some((&signature_type, key)) if signature_type == TYPE => parse_ed25519(key)?,
            Some((&signature_type, _)) => {
                return Err(ParseKeyError::Type { signature_type, expected: TYPE });
            }
            None => return Err(ParseKeyError::Base64),
        };
        let expected = KeyId::of(&name, TYPE, &key);
        if id != expected {
            return Err(ParseKeyError::IdMismatch { id, expected });
        }
        Ok(Self { name, id, key })
    }

    /// The name under which the key signs.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's ID under its name.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The Ed25519 public key (RFC 8032 §5.1.2).
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether this key made the Ed25519 signature of the message.
    ///
    /// Strict: keys and signatures that let one signature fit several messages are refused.
    pub(crate) fn made(&self, signature: &[u8], message: &str) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message.as_bytes(), &signature).is_ok())
    }
}

impl<const TYPE: u8> PrivateKey<TYPE> {
    /// The signer with this RFC 8032 private key. The seed must be kept secret and come from a good
    /// source of randomness.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let id = KeyId::of(&name, TYPE, &public);
        Self { vkey: PublicKey { name, id, key: public }, key }
    }

    /// The public half, for verifiers.
    pub const fn vkey(&self) -> &PublicKey<TYPE> {
        &self.vkey
    }

    /// Derives a secret from the private key, for the purpose that `label` names, other than
    /// signing. It reveals nothing of the private key, nor of the secrets for other labels or key
    /// names.
    pub fn derive_secret(&self, label: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes())
            .expect("a key of any length will do");
        // Labels and names contain no newline, so different pairs give different texts.
        for part in ["sealwire derived secret v1", label, self.vkey.name.as_str()] {
            mac.update(part.as_bytes());
            mac.update(b"\n");
        }
        mac.finalize().into_bytes().into()
    }

    /// The Ed25519 signature of the message.
    pub(crate) fn sign_message(&self, message: &str) -> [u8; Signature::BYTE_SIZE] {
        self.key.sign(message.as_bytes()).to_bytes()
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl<const TYPE: u8> FromStr for PublicKey<TYPE> {
    type Err = ParseKeyError;

    fn from_str(vkey: &str) -> Result<Self, Self::Err> {
        Self::parse(vkey)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[TYPE], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(material))
    }
}

impl<const TYPE: u8> fmt::Debug for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl<const TYPE: u8> fmt::Debug for PrivateKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("vkey", &self.vkey).finish_non_exhaustive()
    }
}

/// The text is not a valid key name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is not a key name: use at least one character, and no spaces, control characters or `+`"
)]
pub struct InvalidKeyName {
    text: String,
}

/// Why a vkey was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseKeyError {
    /// The text does not have three parts.
    #[error("`{vkey}` is not a verifier key: use `<name>+<key ID>+<key>`")]
    Shape {
        /// The beginning of the text.
        vkey: String,
    },
    /// The name is invalid.
    #[error("the verifier key has no valid name")]
    Name(#[from] InvalidKeyName),
    /// The key ID is invalid.
    #[error("`{id}` is not a key ID: use eight lowercase hexadecimal digits")]
    Id {
        /// The beginning of the part.
        id: String,
    },
    /// The last part is not base64 of a type and a key.
    #[error("the last part of the verifier key is not a signature type and a public key in base64")]
    Base64,
    /// The signature type is not the expected one.
    #[error(
        "the key has the wrong type 0x{signature_type:02x} ({}): use a key of type \
         0x{expected:02x} ({})", signature_type_name(*signature_type), signature_type_name(*expected)
    )]
    Type {
        /// Signature type identifier byte of the key.
        signature_type: u8,
        /// The expected identifier byte.
        expected: u8,
    },
    /// The public key is invalid.
    #[error("the verifier key does not contain the 32 bytes of an Ed25519 public key")]
    PublicKey,
    /// The key ID does not match the name and the key.
    #[error("the verifier key claims the ID {id}, but its name and key have the ID {expected}")]
    IdMismatch {
        /// ID in the text.
        id: KeyId,
        /// ID that the name and the key give.
        expected: KeyId,
    },
}

fn parse_ed25519(bytes: &[u8]) -> Result<VerifyingKey, ParseKeyError> {
    let bytes = <&[u8; 32]>::try_from(bytes).map_err(|_wrong_length| ParseKeyError::PublicKey)?;
    VerifyingKey::from_bytes(bytes).map_err(|_not_a_point| ParseKeyError::PublicKey)
}

/// Name of the signature type that C2SP signed-note, Signature types, assigns to a byte.
const fn signature_type_name(signature_type: u8) -> &'static str {
    match signature_type {
        0x01 => "Ed25519",
        0x02 => "ECDSA",
        0x04 => "Ed25519 cosignature with a timestamp",
        0x05 => "RFC 6962 tree head signature",
        0x06 => "ML-DSA-44 cosignature with a timestamp",
        0xff => "a private type",
        _ => "not assigned",
    }
}
