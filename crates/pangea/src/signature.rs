//! Signatures of clients over an event: Ed25519 over its canonical JSON.
//!
//! The SDKs disagree on the signed bytes. Python signs timestamps with six fractional digits but
//! sends them in another form. Go escapes the special characters of HTML. Other programs may do
//! neither.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey, pkcs8::DecodePublicKey as _};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fault::{Code, Fault};

/// A client's signature of an event, as received. These texts are sealed and shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// Signature: base64 of 64 bytes.
    pub signature: String,
    /// Public key: JSON with a PEM under `key`, a PEM, base64, or an OpenSSH key.
    pub public_key: String,
}

impl Signed {
    /// Whether the signature is over this event, in any form that an SDK signs. A member that is
    /// null is not signed.
    ///
    /// # Errors
    /// Key or signature cannot be read.
    pub fn verifies(&self, event: &Map<String, Value>) -> Result<bool, Fault> {
        let verifier = Verifier::of(self)?;
        let mut event = event.clone();
        event.retain(|_, value| !value.is_null());
        let canonical = serde_json_canonicalizer::to_string(&event);
        Ok(canonical.is_ok_and(|canonical| verifier.verifies(&canonical))
            || verifier.verifies(&Value::Object(event).to_string()))
    }
}

/// Longest signature or public key in characters, from the contract.
pub const CHARS_MAX: usize = 256;

/// Verifies the forms in which an event may have been signed.
pub(crate) struct Verifier {
    key: VerifyingKey,
    signature: Signature,
}

impl Verifier {
    pub(crate) fn of(signed: &Signed) -> Result<Self, Fault> {
        let key = key_of(&signed.public_key).ok_or_else(|| {
            let words =
                "an Ed25519 key: PEM, JSON with PEM under `key`, base64 or `ssh-ed25519 ...`";
            Fault::new(Code::BadFormat, "/public_key", words)
        })?;
        let bytes = STANDARD.decode(&signed.signature).ok();
        let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
        let signature = signature.ok_or_else(|| {
            Fault::new(
                Code::BadFormatBase64,
                "/signature",
                "base64 of the 64 bytes of an Ed25519 signature",
            )
        })?;
        Ok(Self { key, signature })
    }

    /// Whether the signature is over this canonical JSON, as it is or as Go writes it.
    pub(crate) fn verifies(&self, canonical: &str) -> bool {
        let is_of = |bytes: &str| self.key.verify_strict(bytes.as_bytes(), &self.signature).is_ok();
        is_of(canonical) || {
            let escaped = go_json(canonical);
            escaped != canonical && is_of(&escaped)
        }
    }
}

/// Canonical JSON as Go's `encoding/json` writes it.
fn go_json(canonical: &str) -> String {
    let mut escaped = String::with_capacity(canonical.len());
    for character in canonical.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Whether Go would write this canonical JSON differently.
pub(crate) fn is_escaped_by_go(canonical: &str) -> bool {
    canonical.contains(['<', '>', '&', '\u{2028}', '\u{2029}'])
}

fn key_of(text: &str) -> Option<VerifyingKey> {
    #[derive(Deserialize)]
    struct Described {
        key: String,
    }
    let described: Option<Described> = serde_json::from_str(text).ok();
    let key = described.as_ref().map_or(text, |described| &described.key).trim();
    if key.starts_with("-----") {
        return VerifyingKey::from_public_key_pem(key).ok();
    }
    let encoded = match key.strip_prefix("ssh-ed25519 ") {
        Some(rest) => rest.split_whitespace().next()?,
        None => key,
    };
    // The key is the last 32 bytes, after the header of OpenSSH or the DER of old clients.
    let bytes = STANDARD.decode(encoded).ok()?;
    VerifyingKey::from_bytes(bytes.last_chunk()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_form_that_an_sdk_sends() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let base64 = STANDARD.encode(key.as_bytes());
        let der: Vec<u8> = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"
            .iter()
            .chain(key.as_bytes())
            .copied()
            .collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(&der)
        );
        let ssh: Vec<u8> = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
            .iter()
            .chain(key.as_bytes())
            .copied()
            .collect();
        let json =
            serde_json::json!({ "algorithm": "ED25519", "key": pem, "who": "me" }).to_string();
        for text in [
            &base64,
            &pem,
            &STANDARD.encode(&der),
            &format!("ssh-ed25519 {} me@here", STANDARD.encode(ssh)),
            &json,
        ] {
            assert_eq!(key_of(text), Some(key), "{text}");
        }
        for text in ["", "{}", "-----BEGIN PUBLIC KEY-----", "c2hvcnQ=", "ssh-rsa AAAA"] {
            assert_eq!(key_of(text), None, "{text}");
        }
    }
}
