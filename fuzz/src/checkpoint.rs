//! Checkpoints: their text, which is formatted back unchanged, and the whole note, which no fuzzer
//! can sign.

use tlog::{Checkpoint, KeyName, SignedNote, Signer};

pub(crate) fn run(text: &str) {
    let text = match SignedNote::parse(text) {
        Ok(note) => note.unverified_text().to_owned(),
        Err(_) => text.to_owned(),
    };
    let Ok(parsed) = Checkpoint::parse(&text) else { return };
    assert_eq!(parsed.to_string(), text);
    // Signed by the log that it names, it opens unchanged.
    if let Ok(name) = KeyName::parse(parsed.origin.as_str())
        && text.bytes().all(|byte| !byte.is_ascii_control() || byte == b'\n')
    {
        let signer = Signer::from_seed(name, &[1; 32]);
        if let Ok(note) = SignedNote::sign(&text, &signer) {
            assert_eq!(Checkpoint::open(&note.to_string(), signer.vkey()).unwrap(), parsed);
        }
    }
}
