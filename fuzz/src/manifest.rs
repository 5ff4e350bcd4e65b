//! Manifests of backups: no fuzzer signs one, so each text is signed here; what is taken is written
//! as it was.

use std::sync::LazyLock;

use data_dir::backup::manifest::Manifest;
use key_history::{KeyEvent, KeyHistory};
use model::{Envelope, Event, Salt, Timestamp};
use tlog::{Checkpoint, Hash, KeyName, Origin, SignedNote, Signer, TreeSize};

const ORIGIN: &str = "sealwire.fuzz/plant";

/// The log of the backup: its key, and what the key's first event says.
static LOG: LazyLock<(Signer, KeyHistory, Checkpoint)> = LazyLock::new(|| {
    let signer = Signer::from_seed(KeyName::parse(ORIGIN).unwrap(), &[1; 32]);
    let at = Timestamp::from_unix_micros(0);
    let event = Event::log_created(ORIGIN, &signer.vkey().to_string(), 4, at);
    let genesis = Envelope { event, received_at: at, salt: Salt::from_random([0; 16]) };
    let genesis = KeyEvent { leaf: 0, envelope: genesis.canonical() };
    let keys = KeyHistory::follow(&[genesis], None).unwrap();
    let origin = Origin::parse(ORIGIN).unwrap();
    (signer, keys, Checkpoint::new(origin, TreeSize::new(42), Hash::sha256(b"root")))
});

pub(crate) fn run(text: &str) {
    let (signer, keys, checkpoint) = &*LOG;
    assert!(Manifest::open(text, checkpoint, keys).is_err(), "nobody has signed it");
    let Ok(note) = SignedNote::sign(text, signer) else { return };
    if let Ok(manifest) = Manifest::open(&note.to_string(), checkpoint, keys) {
        assert_eq!(manifest.to_string(), text);
        for file in &manifest.files {
            assert_eq!(manifest.file(file.name).map(|found| found.sha256), Some(file.sha256));
        }
    }
}
