//! What a client of the message bus shows besides its public key: the server's nonce, signed.

use data_encoding::BASE64URL_NOPAD;
use nats::nkey::UserKey;

/// Whether a client's signature over the server's nonce, in base64, is that of a key.
pub(crate) fn is_signed(nkey: &str, nonce: &str, signature: &str) -> bool {
    let signature = signature.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap_or_default();
    let verifies = |key: UserKey| !nonce.is_empty() && key.verifies(nonce.as_bytes(), &signature);
    nkey.parse().is_ok_and(verifies)
}
