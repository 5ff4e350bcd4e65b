//! Requests to witnesses: what is parsed is formatted byte for byte as it was; nobody's log is
//! authenticated, and answers of witnesses add no signature that nobody made.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::{AddCheckpoint, KeyName, Signer};

fuzz_target!(|body: &str| {
    let Ok(parsed) = AddCheckpoint::parse(body) else { return };
    assert_eq!(parsed.to_string(), body);
    let name = KeyName::parse("sealwire.fuzz/nobody").unwrap();
    let nobody = Signer::from_seed(name, &[255; 32]);
    assert!(parsed.authenticate(&[nobody.vkey().clone()]).is_err());
});
