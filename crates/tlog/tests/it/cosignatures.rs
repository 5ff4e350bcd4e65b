//! Cosignatures: made, stored in a note, merged from an answer, refused.

use proptest::prelude::*;
use tlog::note::SIGNATURES_MAX;
use tlog::{
    Checkpoint, Cosigner, CosignerKey, Hash, KeyName, NoteSignature, Origin, ParseKeyError,
    PosixTime, SignedNote, Signer, TreeSize, VerifierKey,
};

/// The example of C2SP tlog-cosignature. The keys of its signatures were not published.
const NOTE: &str = "\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";
/// The time in the example.
const SECONDS: u64 = 1_679_315_147;

/// The key of the seed of 32 bytes 7, and the line with which OpenSSL 3 cosigns the example's text
/// with it.
const VKEY: &str = "witness.example/w1+aa4a09d1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
const LINE: &str = "— witness.example/w1 qkoJ0QAAAABkGFDLWr4Jea05CAgwNVtwky0Jgz6WfX0QJgM//FkB/W9BoT9TX0DkTxG+2cT4p/ViKNhUM/SnUwFcYQzugGFQ15LwDw==";

fn cosigner(name: &str, seed: u8) -> Cosigner {
    Cosigner::from_seed(KeyName::parse(name).unwrap(), &[seed; 32])
}

fn at(seconds: u64) -> PosixTime {
    PosixTime::new(seconds).unwrap()
}

/// The example, signed by a log of ours.
fn note() -> (Checkpoint, SignedNote) {
    let text = SignedNote::parse(NOTE).unwrap();
    let checkpoint = Checkpoint::parse(text.unverified_text()).unwrap();
    let name = KeyName::parse(checkpoint.origin.as_str()).unwrap();
    let note = checkpoint.sign(&Signer::from_seed(name, &[1; 32]));
    (checkpoint, SignedNote::parse(&note).unwrap())
}

#[test]
fn a_cosignature_is_what_openssl_makes_of_the_specification_s_example() {
    let w1 = cosigner("witness.example/w1", 7);
    assert_eq!(w1.vkey().to_string(), VKEY);
    let (checkpoint, _) = note();
    assert_eq!(w1.cosign(&checkpoint, at(SECONDS)).to_string(), LINE);
}

#[test]
fn the_specification_s_example_carries_its_time() {
    let note = SignedNote::parse(NOTE).unwrap();
    assert_eq!(note.to_string(), NOTE);
    let [_, cosignature] = note.signatures() else { panic!("two signatures") };
    assert_eq!(cosignature.bytes.len(), 8 + 64);
    assert_eq!(cosignature.bytes[..8], SECONDS.to_be_bytes());
}

#[test]
fn an_answer_is_merged_but_for_what_is_not_a_cosignature_of_this_note() {
    let (checkpoint, mut note) = note();
    let (w1, w2, stranger) = (cosigner("w1", 1), cosigner("w2", 2), cosigner("w3", 3));
    let other = Checkpoint::new(checkpoint.origin.clone(), TreeSize::new(7), checkpoint.root);
    let log_line = note.signatures()[0].clone();
    let answer = format!(
        "{}\n{}\n{}\nnonsense\n\n{log_line}\n",
        w1.cosign(&checkpoint, at(5)),
        w2.cosign(&other, at(5)),
        stranger.cosign(&checkpoint, at(5)),
    );
    let keys = [w1.vkey().clone(), w2.vkey().clone()];
    let merged: Vec<_> = note
        .merge(&answer, &keys)
        .iter()
        .map(|found| (found.key(), found.at().seconds()))
        .collect();
    assert_eq!(merged, [(&keys[0], 5)]);
    assert_eq!(note.signatures().len(), 2);

    // A newer cosignature replaces the older one.
    note.merge(&format!("{}\n", w1.cosign(&checkpoint, at(6))), &keys);
    assert_eq!(note.signatures().len(), 2);
    let note = SignedNote::parse(&note.to_string()).unwrap();
    let cosignatures = note.cosignatures(&keys).unwrap();
    assert_eq!(cosignatures.len(), 1);
    assert_eq!((cosignatures[0].key(), cosignatures[0].at()), (w1.vkey(), at(6)));
    // The log's signature is still there.
    let name = KeyName::parse(checkpoint.origin.as_str()).unwrap();
    let log = Signer::from_seed(name, &[1; 32]);
    assert_eq!(Checkpoint::open(&note.to_string(), log.vkey()), Ok(checkpoint));
}

#[test]
fn a_bad_cosignature_of_a_known_key_refuses_the_note() {
    let (checkpoint, note) = note();
    let w1 = cosigner("w1", 1);
    let good = w1.cosign(&checkpoint, at(5));
    for spoil in [
        |signature: &mut NoteSignature| signature.bytes[7] ^= 1, // another time
        |signature: &mut NoteSignature| signature.bytes[9] ^= 1,
        |signature: &mut NoteSignature| signature.bytes.truncate(64),
        |signature: &mut NoteSignature| signature.bytes.clear(),
    ] {
        let mut bad = good.clone();
        spoil(&mut bad);
        let mut note = note.clone();
        assert!(note.put_signature(bad));
        let refused = note.cosignatures(std::slice::from_ref(w1.vkey())).unwrap_err();
        assert!(refused.to_string().contains("signature of `w1`"), "{refused}");
    }
}

#[test]
fn a_full_note_takes_no_more_signatures() {
    let (checkpoint, mut note) = note();
    for number in 1..SIGNATURES_MAX {
        assert!(note.put_signature(cosigner(&format!("w{number}"), 1).cosign(&checkpoint, at(1))));
    }
    let late = cosigner("late", 1);
    let answer = format!("{}\n", late.cosign(&checkpoint, at(1)));
    assert!(note.merge(&answer, &[late.vkey().clone()]).is_empty());
    assert!(note.put_signature(cosigner("w1", 1).cosign(&checkpoint, at(2))), "one of its own");
}

#[test]
fn a_log_s_key_is_not_a_witness_s() {
    let log = Signer::from_seed(KeyName::parse("a").unwrap(), &[1; 32]).vkey().to_string();
    let witness = cosigner("a", 1).vkey().to_string();
    assert_ne!(log, witness);
    assert_eq!(
        CosignerKey::parse(&log),
        Err(ParseKeyError::Type { signature_type: 1, expected: 4 })
    );
    assert_eq!(
        VerifierKey::parse(&witness).unwrap_err().to_string(),
        "the key has the wrong type 0x04 (Ed25519 cosignature with a timestamp): \
         use a key of type 0x01 (Ed25519)"
    );
    let ml_dsa = CosignerKey::parse("a+530d903a+BgAA").unwrap_err().to_string();
    assert!(ml_dsa.contains("ML-DSA-44"), "{ml_dsa}");
}

#[test]
fn times_are_those_that_a_cosignature_may_have() {
    for (seconds, allowed) in
        [(0, false), (1, true), (u64::MAX / 2, true), (u64::MAX / 2 + 1, false)]
    {
        assert_eq!(PosixTime::new(seconds).is_some(), allowed, "{seconds}");
    }
}

proptest! {
    #[test]
    fn what_is_cosigned_verifies_for_its_text_and_time_only(
        seed: [u8; 32], size: u64, root: [u8; 32], seconds in 1..=u64::MAX / 2, flip in 0..72_usize * 8,
    ) {
        let cosigner = Cosigner::from_seed(KeyName::parse("w").unwrap(), &seed);
        let key = CosignerKey::parse(&cosigner.vkey().to_string()).unwrap();
        let origin = Origin::parse("log").unwrap();
        let checkpoint = Checkpoint::new(origin, TreeSize::new(size), Hash::from_bytes(root));
        let log = Signer::from_seed(KeyName::parse("log").unwrap(), &[1; 32]);
        let note = SignedNote::parse(&checkpoint.sign(&log)).unwrap();
        let mut signature = cosigner.cosign(&checkpoint, at(seconds));
        let keys = [key];
        let merged = note.clone().merge(&format!("{signature}\n"), &keys).len();
        prop_assert_eq!(merged, 1);
        signature.bytes[flip / 8] ^= 1 << (flip % 8);
        let answer = format!("{signature}\n");
        let mut note = note;
        prop_assert!(note.merge(&answer, &keys).is_empty());
    }

    #[test]
    fn no_answer_causes_a_panic(answer in "[a—+ \n=A]{0,80}") {
        let (_, mut note) = note();
        prop_assert!(note.merge(&answer, &[CosignerKey::parse(VKEY).unwrap()]).is_empty());
    }
}
