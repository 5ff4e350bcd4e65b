//! Proof files: a parsed file is formatted back byte for byte, and proves nothing to anyone who
//! knows the key.

use tlog::{KeyName, Signer, TlogProof, leaf_hash};

pub(crate) fn run(proof: &str) {
    let Ok(parsed) = TlogProof::parse(proof) else { return };
    assert_eq!(parsed.to_string(), proof);
    let name = KeyName::parse("sealwire.fuzz/nobody").unwrap();
    let nobody = Signer::from_seed(name, &[255; 32]);
    assert!(parsed.verify(&leaf_hash(b"never sealed"), nobody.vkey()).is_err());
}
