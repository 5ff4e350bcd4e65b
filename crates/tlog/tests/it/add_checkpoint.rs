//! Requests to a witness, and every answer of the specification.

use proptest::prelude::*;
use tlog::add_checkpoint::{PROOF_LINES_MAX, REQUEST_BYTES_MAX};
use tlog::note::NOTE_BYTES_MAX;
use tlog::{
    AddCheckpoint, AuthenticateError, Checkpoint, Hash, KeyName, Origin, RefuseError, SignedNote,
    Signer, TreeHead, TreeSize, VerifierKey, VerifyNoteError, leaf_hash, verify_consistency,
};

use crate::oracle;

/// The example of C2SP tlog-witness.
const REQUEST: &str = "\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

fn log(seed: u8) -> Signer {
    Signer::from_seed(KeyName::parse("log.test").unwrap(), &[seed; 32])
}

/// The head of the tree of the first `size` of these leaves.
fn head(leaves: &[Hash], size: usize) -> TreeHead {
    TreeHead { size: TreeSize::new(size as u64), root: oracle::tree_hash(&leaves[..size]) }
}

fn request(old_size: usize, proof: Vec<Hash>, new: TreeHead, signer: &Signer) -> AddCheckpoint {
    let checkpoint = Checkpoint::new(Origin::parse("log.test").unwrap(), new.size, new.root);
    let checkpoint = SignedNote::parse(&checkpoint.sign(signer)).unwrap();
    AddCheckpoint { old_size: TreeSize::new(old_size as u64), proof, checkpoint }
}

/// PROOF of RFC 6962, if there is anything to prove.
fn proof(leaves: &[Hash], old: usize, new: usize) -> Vec<Hash> {
    if old == 0 { vec![] } else { oracle::subproof(old, &leaves[..new], true) }
}

/// The answer to a body of a witness that recorded `recorded`.
fn judge(request: &AddCheckpoint, recorded: TreeHead) -> Result<TreeHead, RefuseError> {
    let request = AddCheckpoint::parse(&request.to_string()).unwrap();
    let keys = [log(1).vkey().clone()];
    request.authenticate(&keys).unwrap().judge(recorded)
}

#[test]
fn the_specification_s_example_is_read() {
    let request = AddCheckpoint::parse(REQUEST).unwrap();
    assert_eq!(request.old_size.get(), 20_852_014);
    assert_eq!(request.proof.len(), 4);
    assert_eq!(request.claimed_origin().unwrap().as_str(), "example.com/behind-the-sofa");
    assert_eq!(request.checkpoint.signatures().len(), 2);
    assert_eq!(request.to_string(), REQUEST);
}

#[test]
fn a_log_that_grows_is_recorded() {
    let leaves = oracle::leaves(9);
    for (old, new) in [(0, 0), (0, 1), (0, 9), (1, 9), (4, 7), (8, 9), (9, 9)] {
        let request = request(old, proof(&leaves, old, new), head(&leaves, new), &log(1));
        assert_eq!(judge(&request, head(&leaves, old)), Ok(head(&leaves, new)), "{old} to {new}");
    }
    assert_eq!(TreeHead::empty(), head(&leaves, 0));
}

#[test]
fn what_is_not_consistent_is_refused_in_the_specification_s_order() {
    let (leaves, fork) = (oracle::leaves(9), oracle::leaves(8).repeat(2));
    let fork = |size: usize| head(&fork[1..], size);
    let real = |size: usize| head(&leaves, size);
    let recorded = real(4);
    let proved = |old, new| proof(&leaves, old, new);
    let junk = || vec![leaf_hash(b"junk")];
    //  (old size, proof, checkpoint, recorded, refusal)
    for (old, proof, new, recorded, refusal) in [
        (5, vec![], real(4), recorded, "the old size is larger"), // also where it is not the recorded one
        (9, vec![], real(8), real(9), "the old size is larger"),
        (0, vec![], real(9), recorded, "has 4 leaves, not 0"), // how a client asks for the size
        (3, proved(3, 9), real(9), recorded, "has 4 leaves, not 3"),
        (5, proved(5, 9), real(9), recorded, "has 4 leaves, not 5"),
        (3, junk(), fork(9), recorded, "has 4 leaves, not 3"), // the size comes before the proof
        (
            0,
            vec![],
            TreeHead { root: leaf_hash(b""), ..TreeHead::empty() },
            TreeHead::empty(),
            "not the root of an empty tree",
        ),
        (0, junk(), real(9), TreeHead::empty(), "the proof does not show that"),
        (4, vec![], real(9), recorded, "the proof does not show that"),
        (4, junk(), real(9), recorded, "the proof does not show that"),
        (4, proved(4, 9), fork(9), recorded, "the proof does not show that"), // a fork
        (4, vec![], fork(4), recorded, "the proof does not show that"), // another tree of this size
        (4, junk(), real(4), recorded, "the proof does not show that"), // nothing to prove
    ] {
        let refused = judge(&request(old, proof, new, &log(1)), recorded).unwrap_err();
        assert!(refused.to_string().contains(refusal), "old {old}, new {}: {refused}", new.size);
        if let RefuseError::Conflict { recorded, .. } = refused {
            assert_eq!(recorded.get(), 4);
        }
    }
}

#[test]
fn only_the_log_s_keys_count() {
    let leaves = oracle::leaves(2);
    let ours = request(0, vec![], head(&leaves, 2), &log(1));
    let (one, two): (VerifierKey, VerifierKey) = (log(1).vkey().clone(), log(2).vkey().clone());
    // Any trusted key is enough.
    ours.authenticate(&[two.clone(), one.clone()]).unwrap();
    for keys in [vec![], vec![two.clone()]] {
        let refused = ours.authenticate(&keys).unwrap_err();
        assert_eq!(refused, AuthenticateError::Signature(VerifyNoteError::NoKnownKey));
    }
    // A line by another key is left out of the record. A bad line by a trusted key refuses the
    // request.
    let mut both = ours.clone();
    let other = request(0, vec![], head(&leaves, 1), &log(2));
    both.checkpoint.put_signature(other.checkpoint.signatures()[0].clone());
    let kept = both.authenticate(std::slice::from_ref(&one)).unwrap().note().clone();
    assert_eq!(kept, ours.checkpoint);
    let refused = both.authenticate(&[one.clone(), two]).unwrap_err();
    assert!(
        matches!(refused, AuthenticateError::Signature(VerifyNoteError::BadSignature { .. })),
        "{refused}"
    );
    // Signed, but not a checkpoint.
    let checkpoint = SignedNote::sign("a poem\n", &log(1)).unwrap();
    let poem = AddCheckpoint { checkpoint, ..ours };
    assert!(poem.claimed_origin().is_err());
    assert!(matches!(poem.authenticate(&[one]), Err(AuthenticateError::Text(_))));
}

#[test]
fn malformed_bodies_are_refused() {
    let note = REQUEST.split_once("\n\n").unwrap().1;
    let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
    for (body, reason) in [
        (String::new(), "no checkpoint"),
        ("old 0\n".to_owned(), "no checkpoint"),
        (format!("\n\n{note}"), "`` is not an old size"),
        (format!("old\n\n{note}"), "`old` is not an old size"),
        (format!("old 01\n\n{note}"), "is not an old size"),
        (format!("old +1\n\n{note}"), "is not an old size"),
        (format!("old  1\n\n{note}"), "is not an old size"),
        (format!("old 1 \n\n{note}"), "is not an old size"),
        (format!("Old 1\n\n{note}"), "is not an old size"),
        (format!("old 18446744073709551616\n\n{note}"), "is not an old size"),
        (format!("old 1\r\n\n{note}"), "is not an old size"),
        (format!("old 1\nabc\n\n{note}"), "not a hash"),
        (format!("old 1\n{}\n\n{note}", hash.trim_end().trim_end_matches('=')), "not a hash"),
        (format!("old 1\n{}\n{note}", hash.repeat(64)), "more than 63"),
        ("old 1\n\nnothing\n".to_owned(), "not a signed note"),
    ] {
        let refused = AddCheckpoint::parse(&body).expect_err(&body).to_string();
        assert!(refused.contains(reason), "{body:?}: {refused}");
    }
    AddCheckpoint::parse(&format!("old 1\n{}\n{note}", hash.repeat(63))).unwrap();
}

#[test]
fn the_largest_request_is_not_larger_than_is_said() {
    let line = format!("{}\n", leaf_hash(b"").to_base64());
    let head = format!("old {}\n{}\n", u64::MAX, line.repeat(PROOF_LINES_MAX));
    assert_eq!(head.len() + NOTE_BYTES_MAX, REQUEST_BYTES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// For parts from any source, an accepted checkpoint extends the recorded one.
    #[test]
    fn what_is_accepted_extends_what_was_recorded(
        sizes in (0..20_usize, 0..20_usize, 0..20_usize, 0..20_usize),
        roots in (0..2_usize, 0..2_usize, 0..2_usize), honest: bool,
    ) {
        let logs = [oracle::leaves(20), oracle::leaves(21)[1..].to_vec()];
        let (recorded_size, old, proof_old, new) = sizes;
        let (recorded_log, proof_log, new_log) = roots;
        // In half of the cases everything matches except perhaps the roots, so many are accepted.
        let (old, proof_old) = if honest { (recorded_size, recorded_size) } else { (old, proof_old) };
        let proof = if proof_old <= new { proof(&logs[proof_log], proof_old, new) } else { vec![] };
        let recorded = head(&logs[recorded_log], recorded_size);
        let asked = head(&logs[new_log], new);
        let request = request(old, proof.clone(), asked, &log(1));
        match judge(&request, recorded) {
            Ok(head) => {
                prop_assert_eq!(head, asked);
                prop_assert!(recorded.size <= head.size);
                prop_assert!(recorded.size < head.size || recorded.root == head.root);
                let growth = head.size.extends(recorded.size).unwrap();
                prop_assert_eq!(verify_consistency(growth, &recorded.root, &head.root, &proof), Ok(()));
                // Two logs with different leaves agree only on the empty tree.
                prop_assert!(recorded_log == new_log || recorded_size == 0);
            }
            Err(_) => prop_assert!(
                !(honest && recorded_size <= new && recorded_log == new_log && proof_log == new_log)
            ),
        }
    }

    #[test]
    fn requests_round_trip(old: u64, proof in prop::collection::vec(any::<[u8; 32]>(), 0..=63), size: u64) {
        let head = TreeHead { size: TreeSize::new(size), root: leaf_hash(b"") };
        let mut request = request(0, proof.into_iter().map(Hash::from_bytes).collect(), head, &log(1));
        request.old_size = TreeSize::new(old);
        prop_assert_eq!(AddCheckpoint::parse(&request.to_string()), Ok(request));
    }

    #[test]
    fn no_body_causes_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _refused = AddCheckpoint::parse(&String::from_utf8_lossy(&body));
    }

    #[test]
    fn no_body_that_is_nearly_one_causes_a_panic(at: prop::sample::Index, byte: u8) {
        let mut body = REQUEST.as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let text = String::from_utf8_lossy(&body);
        if let Ok(request) = AddCheckpoint::parse(&text) {
            prop_assert_eq!(request.to_string(), text);
        }
    }
}
