//! Checkpoints: signed, opened, refused.

use proptest::prelude::*;
use tlog::{
    Checkpoint, ExtensionLine, Hash, KeyName, OpenCheckpointError, Origin, SignedNote, Signer,
    TreeSize, leaf_hash,
};

fn signer(name: &str) -> Signer {
    Signer::from_seed(KeyName::parse(name).unwrap(), &[9; 32])
}

fn checkpoint(origin: &str) -> Checkpoint {
    Checkpoint::new(Origin::parse(origin).unwrap(), TreeSize::new(20_852_163), leaf_hash(b"root"))
}

#[test]
fn text_is_that_of_the_specification_s_example() {
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint = Checkpoint::parse(text).unwrap();
    assert_eq!(checkpoint.size.get(), 20_852_163);
    assert_eq!(checkpoint.to_string(), text);
}

#[test]
fn a_log_s_own_checkpoint_opens() {
    let signer = signer("example.com/log");
    let checkpoint = checkpoint("example.com/log");
    let note = checkpoint.sign(&signer);
    assert_eq!(Checkpoint::open(&note, signer.vkey()), Ok(checkpoint));
}

#[test]
fn another_log_s_checkpoint_is_refused_unless_asked_for() {
    let signer = signer("example.com/key");
    let checkpoint = checkpoint("example.com/log");
    let note = checkpoint.sign(&signer);
    let refused = Checkpoint::open(&note, signer.vkey()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the checkpoint is from the log `example.com/log`, not from `example.com/key`"
    );
    let note = SignedNote::parse(&note).unwrap();
    assert_eq!(Checkpoint::verify(&note, signer.vkey(), "example.com/log"), Ok(checkpoint));
}

#[test]
fn a_checkpoint_of_another_key_is_refused() {
    let note = checkpoint("example.com/log").sign(&signer("example.com/log"));
    let other = Signer::from_seed(KeyName::parse("example.com/log").unwrap(), &[8; 32]);
    let refused = Checkpoint::open(&note, other.vkey());
    assert!(matches!(refused, Err(OpenCheckpointError::Signature(_))), "{refused:?}");
}

#[test]
fn extension_lines_are_kept() {
    let mut checkpoint = checkpoint("example.com/log");
    checkpoint.extensions =
        ["one", "2", " "].map(|line| ExtensionLine::parse(line).unwrap()).to_vec();
    let signer = signer("example.com/log");
    assert_eq!(Checkpoint::open(&checkpoint.sign(&signer), signer.vkey()), Ok(checkpoint));
}

#[test]
fn malformed_text_is_refused() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    for (text, reason) in [
        (String::new(), "cut off"),
        ("log\n1\n".to_owned(), "cut off"),
        (format!("log\n1\n{root}"), "cut off"),
        (format!("\n1\n{root}\n"), "invalid line"),
        (format!("log\n1\n{root}\n\n"), "invalid line"),
        (format!("log\n1\n{root}\nmore\n\nmore\n"), "invalid line"),
        (format!("log\n\n{root}\n"), "not the size"),
        (format!("log\n01\n{root}\n"), "not the size"),
        (format!("log\n-1\n{root}\n"), "not the size"),
        (format!("log\n18446744073709551616\n{root}\n"), "not the size"),
        ("log\n1\n\n".to_owned(), "no valid root"),
        (format!("log\n1\n{root} \n"), "no valid root"),
        ("log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n".to_owned(), "no valid root"), // not canonical
        ("log\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jx\n".to_owned(), "no valid root"),
    ] {
        let refused = Checkpoint::parse(&text).expect_err(&text).to_string();
        assert!(refused.contains(reason), "{text:?}: {refused}");
    }
}

proptest! {
    #[test]
    fn checkpoints_round_trip(
        origin in "[^\u{0}-\u{1f}]{1,30}", size: u64, root: [u8; 32],
        extensions in prop::collection::vec("[^\u{0}-\u{1f}]{1,30}", 0..3),
    ) {
        let extensions = extensions.iter().map(|line| ExtensionLine::parse(line).unwrap());
        let checkpoint = Checkpoint {
            origin: Origin::parse(&origin).unwrap(),
            size: TreeSize::new(size),
            root: Hash::from_bytes(root),
            extensions: extensions.collect(),
        };
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint.clone()));
        let signer = signer("key");
        let note = SignedNote::parse(&checkpoint.sign(&signer)).unwrap();
        prop_assert_eq!(Checkpoint::verify(&note, signer.vkey(), &origin), Ok(checkpoint));
    }
}
