//! Policies: which checkpoints satisfy them, and what is not a policy.

use proptest::prelude::*;
use tlog::policy::LINES_MAX;
use tlog::{
    Checkpoint, Cosigner, KeyName, Origin, Policy, PosixTime, SignedNote, Signer, TreeSize,
    leaf_hash,
};

fn log(seed: u8) -> Signer {
    Signer::from_seed(KeyName::parse("log.test").unwrap(), &[seed; 32])
}

fn witness(number: u8) -> Cosigner {
    Cosigner::from_seed(KeyName::parse(&format!("w{number}.test")).unwrap(), &[100 + number; 32])
}

/// A checkpoint that the log and these witnesses signed.
fn note(signer: &Signer, witnesses: &[u8]) -> SignedNote {
    let origin = Origin::parse("log.test").unwrap();
    let checkpoint = Checkpoint::new(origin, TreeSize::new(1), leaf_hash(b"root"));
    let mut note = SignedNote::parse(&checkpoint.sign(signer)).unwrap();
    for number in witnesses {
        let at = PosixTime::new(1_000 + u64::from(*number)).unwrap();
        assert!(note.put_signature(witness(*number).cosign(&checkpoint, at)));
    }
    note
}

/// The lines of six witnesses.
fn witnesses() -> String {
    let line = |number| format!("witness {number} {}\n", witness(number).vkey());
    (1..=6).map(line).collect()
}

/// The specification's example: at least two of three, and one of three others.
fn example() -> String {
    let log = log(1).vkey().to_string();
    format!(
        "log {log}\n\n{}group X-witnesses 2 1 2 3\n# by another operator\n\
         group Y-witnesses any 4 5 6\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        witnesses()
    )
}

/// The whole chain of errors.
#[track_caller]
fn refusal(file: &[u8]) -> String {
    let error = Policy::parse(file).expect_err("the policy should be refused");
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn the_specification_s_example_wants_two_of_three_and_one_of_three() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(policy.quorum(), "X-and-Y");
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    for (witnesses, satisfied) in [
        (&[1, 2, 4][..], true),
        (&[1, 3, 6], true),
        (&[1, 2, 3, 4, 5, 6], true),
        (&[1, 2, 3], false), // none of the others
        (&[1, 4, 5, 6], false),
        (&[], false),
    ] {
        let note = note(&log(1), witnesses);
        let checked = policy.check(&note);
        assert_eq!(checked.is_ok(), satisfied, "{witnesses:?}: {checked:?}");
        let cosignatures = note.cosignatures(policy.cosigners()).unwrap();
        assert_eq!(policy.is_satisfied_by(&cosignatures), satisfied, "{witnesses:?}");
        if let Ok(found) = checked {
            let named: Vec<_> = found
                .iter()
                .map(|found| {
                    (policy.name_of(found.key()).unwrap().to_owned(), found.at().seconds())
                })
                .collect();
            let expected: Vec<_> = witnesses
                .iter()
                .map(|number| (number.to_string(), 1_000 + u64::from(*number)))
                .collect();
            assert_eq!(named, expected);
        }
    }
    let refused = policy.check(&note(&log(1), &[2, 4])).unwrap_err().to_string();
    assert!(refused.contains("quorum `X-and-Y`; these witnesses signed it: 2, 4"), "{refused}");
}

#[test]
fn a_checkpoint_must_be_of_a_log_that_is_named_where_any_is() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let refused = policy.check(&note(&log(2), &[1, 2, 4])).unwrap_err().to_string();
    assert_eq!(refused, "no log of the policy signed the checkpoint");
    // A log of the policy, with another log's origin.
    let other = Signer::from_seed(KeyName::parse("other.test").unwrap(), &[3; 32]);
    let text = format!("log {}\nquorum none\n", other.vkey());
    let refused = Policy::parse(text.as_bytes()).unwrap().check(&note(&other, &[])).unwrap_err();
    assert!(refused.to_string().contains("`log.test`, but that log did not sign"), "{refused}");
    // Without log lines, the caller must know the log.
    Policy::parse(b"quorum none\n").unwrap().check(&note(&other, &[])).unwrap();
}

#[test]
fn a_quorum_may_be_one_witness_or_none() {
    let one = Policy::parse(format!("{}quorum 2\n", witnesses()).as_bytes()).unwrap();
    one.check(&note(&log(1), &[2])).unwrap();
    one.check(&note(&log(1), &[1])).unwrap_err();
    let none = Policy::parse(format!("{}quorum none\n", witnesses()).as_bytes()).unwrap();
    assert_eq!(none.check(&note(&log(1), &[1])).unwrap().len(), 1);
}

#[test]
fn space_and_comments_mean_nothing_and_urls_are_kept() {
    let (log, one) = (log(1).vkey().to_string(), witness(1).vkey().to_string());
    let text = format!(
        " \t\n#\x20comment \u{e9}\n\tlog\t{log}   http://log.test/ \n  witness  \u{212a} {one} \
         https://w1.test/prefix\t\n  # another\nquorum \u{212a}"
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("http://log.test/"));
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w1.test/prefix"));
    assert_eq!(policy.witnesses()[0].name, "\u{212a}", "a Kelvin sign is not a K");
    // Names are octets.
    let text = [b"witness \xff ", one.as_bytes(), b"\nquorum \xff\n"].concat();
    Policy::parse(&text).unwrap();
    let text = [b"witness \xff ", one.as_bytes(), b"\nquorum \xfe\n"].concat();
    assert!(refusal(&text).contains("is not defined"));
}

#[test]
fn what_is_no_policy_is_refused_with_its_line() {
    let (key, six) = (witness(7).vkey().to_string(), witnesses());
    let log = log(1).vkey().to_string();
    let renamed = Cosigner::from_seed(KeyName::parse("renamed").unwrap(), &[101; 32]);
    let renamed = renamed.vkey();
    for (text, reason) in [
        (String::new(), "no quorum line: add `quorum"),
        (six.clone(), "no quorum line: add `quorum"),
        ("quorum none\nquorum none\n".to_owned(), "line 2: an earlier line sets the quorum"),
        (
            "\n\nwithness a b\n".to_owned(),
            "line 3: a line of a policy cannot begin with `withness`: use `log`, `witness`",
        ),
        (
            "log\n".to_owned(),
            "line 1: the line does not have the words that it needs: use `log <vkey> [<url>]`",
        ),
        (format!("log {log} a b\n"), "use `log <vkey> [<url>]`"),
        ("witness a\n".to_owned(), "use `witness <name> <vkey> [<url>]`"),
        ("group a\n".to_owned(), "use `group <name> all|any|<number> <name>...`"),
        ("quorum a b\n".to_owned(), "use `quorum <name>|none`"),
        (format!("log {key}\n"), "line 1: cannot use the key: the key has the wrong type 0x04"),
        (
            format!("witness a {log}\n"),
            "line 1: cannot use the key: the key has the wrong type 0x01",
        ),
        ("witness a b\n".to_owned(), "line 1: cannot use the key: `b` is not a verifier key"),
        (format!("log {log}\nlog {log}\n"), "line 2: an earlier line has the same public key"),
        (format!("{six}witness 7 {renamed}\n"), "line 7: an earlier line has the same public key"),
        (format!("{six}witness 1 {key}\n"), "line 7: the name `1` is taken"),
        (format!("witness none {key}\n"), "line 1: the name `none` is taken"),
        (format!("{six}group 1 any 2\n"), "line 7: the name `1` is taken"),
        (format!("{six}group g any none\n"), "line 7: `none` is not defined"),
        (format!("{six}group g any g\n"), "line 7: `g` is not defined"),
        (format!("quorum 1\n{six}"), "line 1: `1` is not defined"),
        (format!("{six}group g any 1 1\n"), "line 7: `1` is already a member of a group"),
        (
            format!("{six}group g any 1\ngroup h any 1\n"),
            "line 8: `1` is already a member of a group",
        ),
        (
            format!("{six}group g 0 1\n"),
            "line 7: the group's threshold is impossible: use `all`, `any` or a number from 1 to 1",
        ),
        (format!("{six}group g 3 1 2\n"), "number from 1 to 2"),
        (format!("{six}group g +1 1 2\n"), "threshold is impossible"),
        (format!("{six}group g most 1 2\n"), "threshold is impossible"),
        (format!("{six}group g all\n"), "threshold is impossible"),
        ("quorum none\r\n".to_owned(), "line 1: byte 0x0d is not allowed"),
        ("# \u{7f}\n".to_owned(), "line 1: byte 0x7f is not allowed"),
        ("#".repeat(200_000), "has 200000 bytes, but at most 98304"),
    ] {
        let refused = refusal(text.as_bytes());
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

#[test]
fn as_much_fits_as_the_specification_asks_for_and_no_more() {
    let lines = |count: u8| {
        let log = |seed| format!("log {}\n", log(seed).vkey());
        let witness = |number| format!("witness {number} {}\n", witness(number).vkey());
        let group = |number| format!("group g{number} any {number}\n");
        let logs: String = (0..count).map(log).collect();
        let witnesses: String = (0..count).map(witness).collect();
        let groups: String = (0..count).map(group).collect();
        format!("{logs}{witnesses}{groups}quorum g0\n")
    };
    Policy::parse(lines(32).as_bytes()).unwrap();
    let refused = refusal(lines(33).as_bytes());
    assert_eq!(
        refused,
        format!("line 33: the policy has more than {LINES_MAX} logs, which is the limit")
    );
}

proptest! {
    /// A threshold group has signed exactly if enough of its members have.
    #[test]
    fn a_threshold_counts(threshold in 1..=6_usize, signed in prop::collection::btree_set(1..=6_u8, 0..=6)) {
        let text = format!("{}group g {threshold} 1 2 3 4 5 6\nquorum g\n", witnesses());
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let numbers: Vec<u8> = signed.iter().copied().collect();
        let satisfied = policy.check(&note(&log(1), &numbers)).is_ok();
        prop_assert_eq!(satisfied, signed.len() >= threshold);
        let reached = policy.is_satisfied_if(|witness| numbers.iter().any(|n| witness.name == n.to_string()));
        prop_assert_eq!(reached, satisfied);
    }

    #[test]
    fn no_file_causes_a_panic(file in prop::collection::vec(any::<u8>(), 0..100)) {
        let _refused = Policy::parse(&file);
    }

    #[test]
    fn no_file_that_is_nearly_one_causes_a_panic(at: prop::sample::Index, byte: u8) {
        let mut file = example().into_bytes();
        let at = at.index(file.len());
        file[at] = byte;
        let _refused = Policy::parse(&file);
    }
}
