//! What the holder of a log's key says of files that no checkpoint covers yet: a MAC, under a
//! secret that follows from the signing key.
//!
//! Two things lie beyond the newest checkpoint and are believed by the next start: the newest
//! commit groups, which it signs, and `state`, which it goes on from. Whoever can write the folder
//! could put anything there. So each group and each `state` carries a MAC that only the site can
//! make. Nobody else needs it: what a checkpoint covers is shown by its signature.
//!
//! The MAC of a group is over the log's tree after it, so over every leaf up to there, and over
//! what else the group moves. It holds for this log, this history and this place alone, and costs a
//! hash of some hundred bytes, however large the group is.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tlog::{Hash, Signer, TreeSize, VerifierKey};

/// Bytes of a MAC.
pub(crate) const MAC_LEN: usize = 32;
/// What a MAC is of.
const GROUP: &[u8] = b"sealwire commit group v1\n";
const STATE: &[u8] = b"sealwire state v1\n";

/// A MAC, HMAC-SHA256.
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
    /// As the holder of this key.
    pub(crate) fn of(signer: &Signer) -> Self {
        let secret = signer.derive_secret("ledger");
        let mac = Hmac::new_from_slice(&secret).expect("a key of any length will do");
        Self { mac, vkey: signer.vkey().clone() }
    }

    /// Whose it is.
    pub(crate) const fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    /// The MAC of a commit group: of the tree that the log has with it, and of its records without
    /// leaves, as they are written.
    pub(crate) fn group(&self, size: TreeSize, root: &Hash, records: &[u8]) -> MacBytes {
        self.of_group(size, root, records).finalize().into_bytes().into()
    }

    /// Whether this is the MAC of a commit group.
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

    /// The MAC of what `state` says.
    pub(crate) fn state(&self, json: &[u8]) -> MacBytes {
        self.of_state(json).finalize().into_bytes().into()
    }

    /// Whether this is the MAC of what `state` says.
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
