//! Signed notes: what verifies, what is ignored, what is refused.

use proptest::prelude::*;
use tlog::note::{NOTE_BYTES_MAX, SIGNATURES_MAX};
use tlog::{
    KeyName, NoteSignature, ParseNoteError, SignedNote, Signer, VerifierKey, VerifyNoteError,
};

/// The example of C2SP signed-note, Verifier keys.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
";

/// The example at the top of C2SP signed-note: a text with a blank line in it.
const POEM: &str = "\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
";

fn signer(name: &str, seed: u8) -> Signer {
    Signer::from_seed(KeyName::parse(name).unwrap(), &[seed; 32])
}

fn key(signer: &Signer) -> VerifierKey {
    signer.vkey().clone()
}

/// `note` with further signature lines.
fn with_lines(note: &SignedNote, lines: &[String]) -> SignedNote {
    SignedNote::parse(&format!("{note}{}", lines.concat())).unwrap()
}

/// The signature line of `signer` under `text`.
fn line(text: &str, signer: &Signer) -> String {
    format!("{}\n", SignedNote::sign(text, signer).unwrap().signatures()[0])
}

#[test]
fn the_specification_s_example_verifies() {
    let key = VerifierKey::parse(VKEY).unwrap();
    assert_eq!(key.to_string(), VKEY);
    let note = SignedNote::parse(NOTE).unwrap();
    let keys = [key];
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.text(), "This is an example message.\n");
    assert_eq!(verified.signers(), [&keys[0]]);
}

#[test]
fn notes_are_formatted_as_they_were() {
    for note in [NOTE, POEM] {
        assert_eq!(SignedNote::parse(note).unwrap().to_string(), note);
    }
    let text = SignedNote::parse(POEM).unwrap().unverified_text().to_owned();
    assert!(text.contains("\n\n") && text.ends_with("sera.\n"), "{text}");
}

#[test]
fn text_that_looks_like_signatures_stays_text() {
    let signer = signer("me", 1);
    for text in ["\n", "\n\n", "a\n\n", "a\n\n— b c\n", "— b c\n\n"] {
        let note = SignedNote::sign(text, &signer).unwrap();
        let parsed = SignedNote::parse(&note.to_string()).unwrap();
        assert_eq!(parsed, note, "{text:?}");
        assert_eq!(parsed.verify(&[key(&signer)]).unwrap().text(), text);
    }
}

#[test]
fn text_that_cannot_be_a_note_s_is_not_signed() {
    for text in ["", "a", "a\nb", "a\r\n", "a\tb\n", "\0\n"] {
        SignedNote::sign(text, &signer("me", 1)).expect_err(text);
    }
}

#[test]
fn signatures_of_unknown_keys_are_ignored() {
    let (ours, other) = (signer("ours", 1), signer("other", 2));
    let (same_name, same_id) = (signer("ours", 3), signer("theirs", 1));
    let text = "text\n";
    let note = with_lines(
        &SignedNote::sign(text, &ours).unwrap(),
        &[
            line("another text\n", &other),
            line("another text\n", &same_name),
            line("another text\n", &same_id),
            "— witness.example AAAAAAA=\n".to_owned(), // of a type unknown, too short for any
        ],
    );
    let keys = [key(&ours)];
    assert_eq!(note.verify(&keys).unwrap().signers(), [&keys[0]]);
    assert_eq!(note.verify(&[key(&signer("nobody", 4))]), Err(VerifyNoteError::NoKnownKey));
    assert_eq!(note.verify(&[]), Err(VerifyNoteError::NoKnownKey));
}

#[test]
fn one_bad_signature_of_a_known_key_refuses_the_note() {
    let (ours, other) = (signer("ours", 1), signer("other", 2));
    let good = SignedNote::sign("text\n", &ours).unwrap();
    let note = with_lines(&good, &[line("another text\n", &other)]);
    let refused = note.verify(&[key(&ours), key(&other)]).unwrap_err();
    let id = other.vkey().id();
    assert_eq!(
        refused.to_string(),
        format!("the signature of `other` (key {id}) does not match this text")
    );

    let both = with_lines(&good, &[line("text\n", &other), line("text\n", &other)]);
    let keys = [key(&other), key(&ours)];
    assert_eq!(both.verify(&keys).unwrap().signers(), [&keys[1], &keys[0]]); // each once
}

#[test]
fn a_signature_of_the_wrong_length_is_a_bad_one() {
    let ours = signer("ours", 1);
    let good = SignedNote::sign("text\n", &ours).unwrap();
    for len in [0, 63, 65] {
        let mut signature = good.signatures()[0].clone();
        signature.bytes.resize(len, 0);
        let note = SignedNote::parse(&format!("text\n\n{signature}\n")).unwrap();
        let refused = note.verify(&[key(&ours)]).unwrap_err();
        assert!(matches!(refused, VerifyNoteError::BadSignature { .. }), "{len}: {refused}");
    }
}

#[test]
fn malformed_notes_are_refused() {
    let line = "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONn";
    for (note, reason) in [
        (String::new(), "is not signed"),
        ("text\n".to_owned(), "is not signed"),
        ("text\n\n".to_owned(), "is not signed"),
        (format!("text\n{line}\n"), "is not signed"), // no blank line
        (format!("text\n\n{line}"), "does not end"),
        (format!("text\r\n\n{line}\n"), "control character"),
        (format!("te\0xt\n\n{line}\n"), "control character"),
        (format!("text\n\n{line}\nmore\n"), "`more` is not a signature"),
        ("text\n\n- example.com/foo AAAAAAAA\n".to_owned(), "is not a signature"), // a hyphen
        ("text\n\n— example.com/foo\n".to_owned(), "is not a signature"),
        ("text\n\n—  AAAAAAAA\n".to_owned(), "is not a signature"), // no name
        ("text\n\n— a+b AAAAAAAA\n".to_owned(), "is not a signature"),
        ("text\n\n— a\u{2003}b AAAAAAAA\n".to_owned(), "is not a signature"), // a Unicode space
        ("text\n\n— a AAAA\n".to_owned(), "is not a signature"),              // three bytes
        ("text\n\n— a AAAAAAA\n".to_owned(), "is not a signature"),           // not padded
        ("text\n\n— a AAAAAAB=\n".to_owned(), "is not a signature"),          // not canonical
        ("text\n\n— a AAAAAAA= \n".to_owned(), "is not a signature"),
    ] {
        let refused = SignedNote::parse(&note).expect_err(&note).to_string();
        assert!(refused.contains(reason), "{note:?}: {refused}");
    }
}

#[test]
fn notes_have_limits() {
    let line = "— a AAAAAAA=\n";
    let signed = |count| format!("text\n\n{}", line.repeat(count));
    assert_eq!(SignedNote::parse(&signed(SIGNATURES_MAX)).unwrap().signatures().len(), 64);
    assert_eq!(
        SignedNote::parse(&signed(SIGNATURES_MAX + 1)),
        Err(ParseNoteError::TooManySignatures { count: 65 })
    );
    let fill = |bytes| format!("{}\n\n{line}", "a".repeat(bytes - line.len() - 2));
    SignedNote::parse(&fill(NOTE_BYTES_MAX)).unwrap();
    SignedNote::parse(&fill(NOTE_BYTES_MAX + 1)).expect_err("one byte too long");
}

#[test]
fn sixteen_signatures_of_post_quantum_size_are_accepted() {
    let name = KeyName::parse("witness.example").unwrap();
    let id = signer("any", 1).vkey().id();
    let line = NoteSignature { name, id, bytes: vec![7; 5_000] };
    SignedNote::parse(&format!("text\n\n{}", format!("{line}\n").repeat(16))).unwrap();
}

#[test]
fn verifier_keys_that_cannot_be_used_are_refused() {
    for (vkey, reason) in [
        ("", "is not a verifier key"),
        ("example.com/foo+530d903a", "is not a verifier key"),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "no valid name"),
        ("a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "no valid name"),
        ("a+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "eight lowercase"),
        ("a+30d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "eight lowercase"),
        ("a++30d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "eight lowercase"),
        ("a+530d903a+", "public key in base64"),
        ("a+530d903a+!", "public key in base64"),
        ("a+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", "public key in base64"),
        ("a+530d903a+Aekye", "public key in base64"),
        ("a+530d903a+AekyeQ==", "32 bytes"),
        ("a+530d903a+AgAA", "0x02 (ECDSA)"),
        ("a+530d903a+BAAA", "0x04 (Ed25519 cosignature with a timestamp)"),
        ("a+530d903a+BQAA", "0x05 (RFC 6962 tree head signature)"),
        ("a+530d903a+BgAA", "0x06 (ML-DSA-44 cosignature with a timestamp)"),
        ("a+530d903a+BwAA", "0x07 (not assigned)"),
        // The example's key under another name.
        (
            "example.com/fob+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "claims the ID 530d903a",
        ),
    ] {
        let refused = VerifierKey::parse(vkey).expect_err(vkey).to_string();
        assert!(refused.contains(reason), "`{vkey}`: {refused}");
    }
}

#[test]
fn a_signer_does_not_show_its_seed() {
    let signer = signer("me", 0xa7);
    let shown = format!("{signer:?}");
    assert!(shown.contains(&signer.vkey().to_string()), "{shown}");
    assert!(!shown.contains("a7a7") && !shown.contains("167, 167"), "{shown}");
}

proptest! {
    #[test]
    fn what_is_signed_verifies(text in "[^\u{0}-\u{1f}]{0,20}(\n[^\u{0}-\u{1f}]{0,20}){0,4}", seed: [u8; 32]) {
        let signer = Signer::from_seed(KeyName::parse("me").unwrap(), &seed);
        let text = format!("{text}\n");
        let note = SignedNote::sign(&text, &signer).unwrap().to_string();
        let keys = [VerifierKey::parse(&signer.vkey().to_string()).unwrap()];
        let parsed = SignedNote::parse(&note).unwrap();
        prop_assert_eq!(parsed.to_string(), note);
        let verified = parsed.verify(&keys).unwrap();
        prop_assert_eq!(verified.text(), text);
    }

    /// No changed byte of a note with one signature goes unnoticed.
    #[test]
    fn a_changed_note_does_not_verify(at: prop::sample::Index, byte: u8) {
        let mut note = NOTE.as_bytes().to_vec();
        let at = at.index(note.len());
        prop_assume!(note[at] != byte);
        note[at] = byte;
        if let Ok(note) = SignedNote::parse(&String::from_utf8_lossy(&note)) {
            prop_assert!(note.verify(&[VerifierKey::parse(VKEY).unwrap()]).is_err());
        }
    }

    #[test]
    fn no_note_causes_a_panic(note in "[a—+ \n=]{0,60}") {
        if let Ok(parsed) = SignedNote::parse(&note) {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }

    #[test]
    fn no_key_causes_a_panic(vkey in "[a+]{0,2}\\+[0-9a-f]{8}\\+A[A-Za-z0-9+/]{0,44}=?") {
        if let Ok(key) = VerifierKey::parse(&vkey) {
            prop_assert_eq!(key.to_string(), vkey);
        }
    }
}
