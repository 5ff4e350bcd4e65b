//! Requests to witnesses: a parsed request is formatted back byte for byte, no log is
//! authenticated, and answers of witnesses add no forged signature.

use tlog::{AddCheckpoint, KeyName, Signer};

pub(crate) fn run(body: &str) {
    let Ok(parsed) = AddCheckpoint::parse(body) else { return };
    assert_eq!(parsed.to_string(), body);
    let name = KeyName::parse("sealwire.fuzz/nobody").unwrap();
    let nobody = Signer::from_seed(name, &[255; 32]);
    assert!(parsed.authenticate(&[nobody.vkey().clone()]).is_err());
}
