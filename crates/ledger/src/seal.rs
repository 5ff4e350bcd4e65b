//! The MAC with which the holder of a log's key vouches for files that no checkpoint covers yet.
//! Its secret is derived from the signing key.
//!
//! The next start believes two things beyond the newest checkpoint: the newest commit groups, which
//! it signs, and `state`, from which it continues. Anyone who can write the folder could put
//! anything there. So each group and each `state` carries a MAC that only the site can make. Nobody
//! else needs the MAC: a signature proves what a checkpoint covers.
//!
//! The MAC of a group covers the root of the log's tree after the group, so every leaf up to there,
//! and the group's other records. It is valid only for this log, this history and this position. It
//! hashes some hundred bytes, whatever the size of the group.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tlog::{Hash, Signer, TreeSize, VerifierKey};

/// Length of a MAC in bytes.
pub(crate) const MAC_LEN: usize = 32;
/// Domain separation: the first bytes of each MAC's input say what the MAC covers.
const GROUP: &[u8] = b"sealwire commit group v1\n";
const STATE: &[u8] = b"sealwire state v1\n";

/// A MAC, HMAC-SHA256 (RFC 2104).
pub(crate) type MacBytes = [u8; MAC_LEN];

/// Makes and checks MACs.
#[derive(Clone)]
pub(crate) struct Sealing {
    mac: Hmac<Sha256>,
    vkey: VerifierKey,
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sealing").field("vkey", &self.vkey).finish_non_exhaustive()
    }
}

impl Sealing {
    /// Derives the secret from this key.
    pub(crate) fn of(signer: &Signer) -> Self {
        let secret = signer.derive_secret("ledger");
        let mac = Hmac::new_from_slice(&secret).expect("a key of any length will do");
        Self { mac, vkey: signer.vkey().clone() }
    }

    /// The verifier key of the signer.
    pub(crate) const fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    /// The MAC of a commit group: over the size and root of the log's tree after the group, and
    /// over the group's records without leaves, as written.
    pub(crate) fn group(&self, size: TreeSize, root: &Hash, records: &[u8]) -> MacBytes {
        self.of_group(size, root, records).finalize().into_bytes().into()
    }

    /// Whether `mac` is the MAC of this commit group.
    pub(crate) fn is_group(
        &self,
        mac: &MacBytes,
        size: TreeSize,
        root: &Hash,
        records: &[u8],
    ) -> bool {
        self.of_group(size, root, records).verify(mac.into()).is_ok()
    }

    fn of_group(&self, size: TreeSize, root: &Hash, records: &[u8]) -> Hmac<Sha256> {
        self.mac
            .clone()
            .chain_update(GROUP)
            .chain_update(size.get().to_le_bytes())
            .chain_update(root.as_bytes())
            .chain_update(records)
    }

    /// The MAC of the JSON in `state`.
    pub(crate) fn state(&self, json: &[u8]) -> MacBytes {
        self.of_state(json).finalize().into_bytes().into()
    }

    /// Whether `mac` is the MAC of the JSON in `state`.
    pub(crate) fn is_state(&self, mac: &MacBytes, json: &[u8]) -> bool {
        self.of_state(json).verify(mac.into()).is_ok()
    }

    fn of_state(&self, json: &[u8]) -> Hmac<Sha256> {
        self.mac.clone().chain_update(STATE).chain_update(json)
    }
}

#[cfg(test)]
mod tests {
    use tlog::KeyName;

    use super::*;

    fn sealing(name: &str, seed: u8) -> Sealing {
        Sealing::of(&Signer::from_seed(KeyName::parse(name).unwrap(), &[seed; 32]))
    }

    #[test]
    fn a_mac_is_of_one_key_one_log_one_tree_and_one_content() {
        let (own, size, root) = (sealing("log.test", 1), TreeSize::new(7), Hash::sha256(b"root"));
        let mac = own.group(size, &root, b"records");
        assert!(own.is_group(&mac, size, &root, b"records"));
        assert!(!own.is_group(&mac, TreeSize::new(8), &root, b"records"));
        assert!(!own.is_group(&mac, size, &Hash::sha256(b"other"), b"records"));
        assert!(!own.is_group(&mac, size, &root, b"other"));
        assert!(!own.is_group(&[0; MAC_LEN], size, &root, b"records"));
        for other in [sealing("log.test", 2), sealing("log.other", 1)] {
            assert!(!other.is_group(&mac, size, &root, b"records"));
            assert!(!other.is_state(&own.state(b"{}"), b"{}"));
        }
        assert!(own.is_state(&own.state(b"{}"), b"{}"));
        assert!(!own.is_state(&own.state(b"{}"), b"[]"));
    }
}
