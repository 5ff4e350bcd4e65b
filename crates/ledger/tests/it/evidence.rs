//! Evidence bundles: every export verifies, and every change of its rows is named.

use std::ops::Range;

use ledger::{
    Batch, LeafRanges, LogReader,
    evidence::{
        Bound, BundleError, BundleFault, ExportError, Selection, VerifiedBundle, export,
        verify_bundle,
    },
};
use model::{Envelope, Event, Heartbeat, Outcome, SensorId, Timestamp};
use proptest::{prelude::*, sample::Index};
use tempfile::TempDir;
use tlog::{Hash, LeafIndex, LeavesInTree, TreeSize, VerifierKey};

use super::{
    batch,
    features::{at, erasure, other_signer},
    open,
    reader::look,
};

const SENSORS: u8 = 3;

fn sensor(number: u8) -> SensorId {
    SensorId::from_bytes([number; 16])
}

fn reading(number: usize) -> Event {
    let id = sensor(u8::try_from(number % usize::from(SENSORS)).unwrap());
    let beat = format!(
        r#"{{"alias":"T","id":"{id}","poll_interval":1000,"poll_topic":"a/p","read_topic":"a/r","location":"Boiler Room"}}"#
    );
    let heartbeat = Heartbeat::parse(beat.as_bytes()).unwrap();
    let poll = (number / usize::from(SENSORS)) as u64 + 1;
    Event::reading(
        &heartbeat,
        poll,
        Outcome::of(format!(r#"{{"value":{number}}}"#).as_bytes()),
        at(0),
    )
}

/// A log of 700 readings of three sensors, some of them erased, with a key rotation between.
async fn log() -> TempDir {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path());
    for first in (0..700).step_by(50) {
        ledger.append(Batch::of((first..first + 50).map(reading).collect())).await.unwrap();
        match first {
            100 => drop(ledger.erase(erasure("9,40-45"), at(1)).await.unwrap()),
            300 => drop(ledger.rotate_key(other_signer(9), "tester").await.unwrap()),
            _ => {}
        }
    }
    ledger.erase(erasure("44-46,400-690"), at(2)).await.unwrap();
    ledger.append(batch(0, 2)).await.unwrap();
    writer.close().await.unwrap();
    folder
}

fn exported(log: &LogReader, selection: &Selection) -> Result<String, ExportError> {
    let mut bundle = Vec::new();
    export(log, selection, at(3), "a test", &mut bundle, &mut |_| {})?;
    Ok(String::from_utf8(bundle).unwrap())
}

fn verified(bundle: &str) -> (Result<VerifiedBundle, BundleError>, Vec<BundleFault>) {
    let mut findings = Vec::new();
    let bundle = verify_bundle(bundle.as_bytes(), None, &mut |finding| findings.push(finding));
    (bundle, findings)
}

/// The bundle of a selection, which verifies.
#[track_caller]
fn sound(log: &LogReader, selection: &Selection) -> (String, VerifiedBundle) {
    let bundle = exported(log, selection).unwrap();
    let (verified, findings) = verified(&bundle);
    assert_eq!(findings, [], "{selection:?}");
    (bundle, verified.unwrap())
}

#[track_caller]
fn findings(bundle: &str) -> Vec<BundleFault> {
    let (verified, findings) = verified(bundle);
    assert_eq!(verified.unwrap().findings, findings.len() as u64);
    findings
}

fn received_at(log: &LogReader, leaf: u64) -> Option<Timestamp> {
    let envelope = log.envelopes(leaf, 1, usize::MAX).unwrap().remove(0).bytes?;
    Envelope::received_at_of(&envelope).unwrap().parse().ok()
}

/// One log serves all cases of a property.
fn with_log(test: impl FnOnce(&LogReader)) {
    let folder = tokio::runtime::Runtime::new().unwrap().block_on(log());
    test(&look(folder.path()).unwrap());
}

/// A bound at a leaf, or at its time of receipt.
fn bound(log: &LogReader, leaf: u64, is_time: bool) -> Bound {
    received_at(log, leaf).filter(|_| is_time).map_or(Bound::Leaf(leaf), Bound::At)
}

#[test]
fn any_selection_verifies_and_holds_what_it_should() {
    with_log(|log| {
        proptest!(ProptestConfig::with_cases(60), |(ends: [Index; 2], times: [bool; 2], open: [bool; 2], of in 0..=SENSORS)| {
            let mut ends = ends.map(|end| end.index(usize::try_from(log.size()).unwrap()) as u64);
            ends.sort_unstable();
            let [from, to] = [0, 1].map(|at| (!open[at]).then(|| bound(log, ends[at], times[at])));
            let are_alike = match (&from, &to) {
                (Some(Bound::Leaf(_)), Some(to)) => matches!(to, Bound::Leaf(_)),
                (Some(Bound::At(_)), Some(to)) => matches!(to, Bound::At(_)),
                (_, None) | (None, _) => true,
            };
            let selection = Selection { from, to, sensor: (of < SENSORS).then(|| sensor(of)) };
            if let Err(ExportError::Backwards { .. }) = exported(log, &selection) {
                // A leaf, and the time of a later leaf that was received with it.
                prop_assert!(!are_alike);
                return Ok(());
            }
            let (bundle, verified) = sound(log, &selection);
            let lines = |kind: &str| bundle.lines().filter(|line| line.starts_with(&format!("{{\"{kind}\""))).count() as u64;
            prop_assert_eq!((lines("row"), lines("erased")), (verified.proved, verified.erased));
            let shown = bundle.lines().filter(|line| !line.contains("ENVELOPES_ERASED")).filter_map(row_leaf);
            for leaf in shown {
                let received_at = received_at(log, leaf).unwrap();
                let is_edge = leaf == verified.span.start || leaf + 1 == verified.span.end;
                prop_assert!(is_edge || verified.from.is_none_or(|from| received_at >= from));
                prop_assert!(is_edge || verified.to.is_none_or(|to| received_at < to));
            }
            prop_assert!(verified.completeness.is_complete());
            if selection.sensor.is_none() {
                prop_assert_eq!(verified.not_shown, 0);
            }
        });
    });
}

#[test]
fn any_byte_behind_the_header_counts() {
    with_log(|log| {
        let selection =
            Selection { from: Some(Bound::Leaf(20)), to: Some(Bound::Leaf(420)), sensor: None };
        let (bundle, _) = sound(log, &selection);
        let header = bundle.find('\n').unwrap() + 1;
        proptest!(|(at: Index, bit in 0..8_u8)| {
            let mut bytes = bundle.clone().into_bytes();
            let at = header + at.index(bytes.len() - header);
            // If only the last newline is missing, nothing is lost.
            prop_assume!(at + 1 < bytes.len());
            bytes[at] ^= 1 << bit;
            let mut found = 0;
            let verified = verify_bundle(bytes.as_slice(), None, &mut |_| found += 1).unwrap();
            prop_assert!(found > 0 && verified.findings == found, "byte {}", at);
        });
    });
}

#[test]
fn no_byte_of_a_header_makes_the_check_fall_over() {
    with_log(|log| {
        let selection = Selection { to: Some(Bound::Leaf(30)), ..Selection::default() };
        let (bundle, _) = sound(log, &selection);
        let header = bundle.find('\n').unwrap();
        proptest!(|(at: Index, byte: u8)| {
            let mut bytes = bundle.clone().into_bytes();
            bytes[at.index(header)] = byte;
            let _either = verify_bundle(bytes.as_slice(), None, &mut |_| {});
        });
    });
}

/// The bundle with its lines changed.
fn edited(bundle: &str, edit: impl FnOnce(&mut Vec<String>)) -> String {
    let mut lines: Vec<String> = bundle.lines().map(String::from).collect();
    edit(&mut lines);
    lines.join("\n") + "\n"
}

/// The leaf of a line, if the line is a row with an envelope.
fn row_leaf(line: &str) -> Option<u64> {
    line.strip_prefix(r#"{"row":{"leaf":"#)?.split_once(',')?.0.parse().ok()
}

/// Lines of the second group, with its rows.
fn second_group(lines: &[String]) -> Range<usize> {
    let lines = lines.iter().enumerate();
    let mut groups = lines.filter(|(_, line)| line.starts_with(r#"{"group""#)).skip(1);
    groups.next().unwrap().0..groups.next().unwrap().0
}

/// Line of the row of a leaf.
fn row_of(lines: &[String], leaf: u64) -> usize {
    let begin = format!(r#"{{"row":{{"leaf":{leaf},"#);
    lines.iter().position(|line| line.starts_with(&begin)).unwrap()
}

fn is_count(finding: &BundleFault) -> bool {
    matches!(finding, BundleFault::Count { .. })
}

#[test]
fn what_was_done_to_rows_is_named() {
    with_log(|log| {
        let (bundle, _) = sound(log, &Selection::default());
        type Edit = fn(&mut Vec<String>);
        let cases: [(Edit, &[&str]); 8] = [
            (
                |lines| {
                    let row = row_of(lines, 21);
                    lines[row] =
                        lines[row].replace(r#""status":"SUCCESS""#, r#""status":"success""#);
                },
                &["leaf 21 is changed: its envelope hashes to"],
            ),
            (
                |lines| drop(lines.remove(row_of(lines, 21))),
                &["leaf 21 is missing", "rows, but has"],
            ),
            (
                |lines| {
                    let row = row_of(lines, 21);
                    lines.drain(row..row + 3);
                },
                &["leaves 21-23 (3) are missing", "rows, but has"],
            ),
            (
                |lines| {
                    let row = row_of(lines, 21);
                    lines.insert(row, lines[row].clone());
                },
                &["leaf 21 is doubled", "rows, but has"],
            ),
            (
                |lines| {
                    let row = row_of(lines, 21);
                    lines.swap(row, row + 1);
                },
                &["leaf 21 is out of order"],
            ),
            (
                |lines| {
                    let row = row_of(lines, 21);
                    lines[row] = lines[row + 1].replace(r#""leaf":22,"#, r#""leaf":21,"#);
                },
                &["leaf 21 is changed: its envelope belongs to leaf 22"],
            ),
            (
                |lines| {
                    let row = row_of(lines, 21);
                    lines[row] = String::from(r#"{"erased":21}"#);
                },
                &["leaf 21 is marked as erased", "rows, but has", "erased, but has"],
            ),
            (|lines| drop(lines.pop()), &["the bundle is cut off"]),
        ];
        for (edit, expected) in cases {
            let found = findings(&edited(&bundle, edit));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let is_named = |(found, expected): (&String, &&str)| found.contains(*expected);
            assert!(
                found.len() == expected.len() && found.iter().zip(expected).all(is_named),
                "{found:?}"
            );
        }
    });
}

#[test]
fn rows_and_groups_of_another_log_are_foreign() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = runtime.block_on(log());
    let other = sound(&look(other.path()).unwrap(), &Selection::default()).0;
    let other: Vec<String> = other.lines().map(String::from).collect();
    with_log(|log| {
        let selection = Selection { to: Some(Bound::Leaf(200)), ..Selection::default() };
        let (bundle, _) = sound(log, &selection);
        let at_its_place = edited(&bundle, |lines| {
            let row = row_of(lines, 21);
            lines[row] = other[row_of(&other, 21)].clone();
        });
        assert!(matches!(findings(&at_its_place)[..], [BundleFault::Changed { leaf: 21, .. }]));
        let beside = edited(&bundle, |lines| {
            lines.insert(row_of(lines, 21), other[row_of(&other, 300)].clone());
        });
        let found = findings(&beside);
        assert!(
            matches!(found[..], [BundleFault::Foreign { leaf: 300 }, BundleFault::Count { .. }]),
            "{found:?}"
        );
        // A whole group with its rows comes from the other log.
        let whole = edited(&sound(log, &Selection::default()).0, |lines| {
            lines.splice(second_group(lines), other[second_group(&other)].iter().cloned());
        });
        let found = findings(&whole);
        assert!(
            matches!(found[0], BundleFault::NotProved { ref leaves, .. } if leaves == &(256..512)),
            "{found:?}"
        );
    });
}

#[test]
fn a_group_that_is_gone_or_twice_is_named() {
    with_log(|log| {
        let (bundle, _) = sound(log, &Selection::default());
        let gone = findings(&edited(&bundle, |lines| drop(lines.drain(second_group(lines)))));
        assert_eq!(gone[0], BundleFault::Missing(256..512));
        assert!(gone[1..].iter().all(is_count), "{gone:?}");
        let twice = findings(&edited(&bundle, |lines| {
            let second = second_group(lines);
            let again = lines[second.clone()].to_vec();
            lines.splice(second.end..second.end, again);
        }));
        assert!(
            matches!(twice[0], BundleFault::NotProved { ref leaves, .. } if leaves == &(256..512)),
            "{twice:?}"
        );
        let cut = findings(&bundle[..bundle.len() / 2]);
        assert!(
            cut.contains(&BundleFault::CutOff)
                && cut.iter().any(|it| matches!(it, BundleFault::Missing(_)))
        );
    });
}

/// The bundle without one leaf, as anyone who has the log can make it: every proof verifies, and
/// the counts in the last line are right.
fn left_out(log: &LogReader, bundle: &str, leaf: u64) -> String {
    edited(bundle, |lines| {
        lines.remove(row_of(lines, leaf));
        let of_group = |line: &String| line.starts_with(r#"{"group""#);
        let group = lines.iter_mut().find(|line| of_group(line)).unwrap();
        let mut parsed: serde_json::Value = serde_json::from_str(group).unwrap();
        let leaves: LeafRanges = parsed["group"]["leaves"].as_str().unwrap().parse().unwrap();
        let at = leaves.leaves().position(|other| other == leaf).unwrap();
        let rest: Vec<u64> = leaves.leaves().filter(|other| *other != leaf).collect();
        let indices = rest.iter().copied().map(LeafIndex::new);
        let proof = log.prove_all(&LeavesInTree::new(TreeSize::new(log.size()), indices).unwrap());
        let proof: Vec<String> = proof.unwrap().iter().map(Hash::to_base64).collect();
        parsed["group"]["leaves"] = LeafRanges::from_leaves(rest).to_string().into();
        parsed["group"]["entries"].as_array_mut().unwrap().remove(at);
        parsed["group"]["proof"] = proof.into();
        *group = parsed.to_string();
        let end = lines.last_mut().unwrap();
        let mut parsed: serde_json::Value = serde_json::from_str(end).unwrap();
        parsed["end"]["rows"] = (parsed["end"]["rows"].as_u64().unwrap() - 1).into();
        *end = parsed.to_string();
    })
}

#[test]
fn what_was_left_out_of_one_sensor_shows_in_its_numbers() {
    with_log(|log| {
        // The sensor's second row and its first, from the beginning of the log and from a time on.
        let from = Some(Bound::At(received_at(log, 102).unwrap()));
        for from in [None, from] {
            let selection = Selection { from, to: None, sensor: Some(sensor(1)) };
            let (bundle, sound) = sound(log, &selection);
            assert!(sound.completeness.is_complete() && sound.not_shown > 0);
            let of_it: Vec<u64> = bundle.lines().filter_map(row_leaf).collect();
            let second = left_out(log, &bundle, of_it[1]);
            assert!(findings(&second).is_empty());
            assert!(!verified(&second).0.unwrap().completeness.is_complete());
            let first = left_out(log, &bundle, of_it[0]);
            match from {
                None => {
                    assert!(findings(&first).is_empty());
                    assert!(!verified(&first).0.unwrap().completeness.is_complete());
                }
                Some(_) => assert!(matches!(findings(&first)[..], [BundleFault::Begin { .. }])),
            }
        }
    });
}

#[test]
fn a_span_that_was_narrowed_is_named() {
    with_log(|log| {
        let [from, to] = [100, 200].map(|leaf| received_at(log, leaf).unwrap());
        let selection =
            Selection { from: Some(Bound::At(from)), to: Some(Bound::At(to)), sensor: None };
        let (bundle, verified) = sound(log, &selection);
        let Range { start, end } = verified.span;
        assert!(start < 100 && end <= 201);
        let narrowed = edited(&bundle, |lines| {
            let (first, last) = (format!(r#""first":{start}"#), format!(r#""end":{end}"#));
            lines[0] = lines[0].replace(&first, r#""first":102"#).replace(&last, r#""end":150"#);
        });
        let found = findings(&narrowed);
        assert_eq!(found, [BundleFault::Begin { from }, BundleFault::End { to }]);
    });
}

#[test]
fn nothing_stands_without_checkpoint_and_keys() {
    with_log(|log| {
        let (bundle, verified_bundle) = sound(log, &Selection::default());
        assert_eq!(verified_bundle.keys.iter().count(), 2);
        for (from, to) in [
            ("sealwire_evidence", "evidence"),
            (r#""version":1"#, r#""version":2"#),
            (r#""end":7"#, r#""end":9"#),
            ("sealwire.test/plant\\n7", "sealwire.test/plant\\n6"),
            (r#""keys_proof":[""#, r#""keys_proof":["AAAA"#),
            ("KEY_ROTATED", "KEY_RETATED"),
        ] {
            let changed = bundle.replacen(from, to, 1);
            assert_ne!(changed, bundle, "{from}");
            assert!(verified(&changed).0.is_err(), "{from}");
        }
        assert!(verified("").0.is_err());
        let far =
            bundle.replacen(r#""keys":[{"leaf":0"#, r#""keys":[{"leaf":18446744073709551615"#, 1);
        assert!(matches!(verified(&far).0, Err(BundleError::Keys(_))));
        let stranger = VerifierKey::parse(&other_signer(5).vkey().to_string()).unwrap();
        let refusal = verify_bundle(bundle.as_bytes(), Some(&stranger), &mut |_| {}).unwrap_err();
        assert!(matches!(refusal, BundleError::Keys(_)), "{refusal}");
    });
}

#[test]
fn a_span_that_there_is_not_is_refused() {
    with_log(|log| {
        let size = log.size();
        let of = |from: Option<u64>, to: Option<u64>| {
            let [from, to] = [from, to].map(|bound| bound.map(Bound::Leaf));
            exported(log, &Selection { from, to, sensor: None })
        };
        assert!(matches!(of(Some(5), Some(4)), Err(ExportError::Backwards { first: 5, end: 4 })));
        assert!(matches!(of(Some(size), None), Err(ExportError::NotCovered { .. })));
        assert!(matches!(of(None, Some(size + 1)), Err(ExportError::NotCovered { .. })));
        let [from, to] = [2, 1].map(|second| Some(Bound::At(at(second))));
        let backwards = exported(log, &Selection { from, to, sensor: None });
        assert!(matches!(backwards, Err(ExportError::BackInTime { .. })));
        let nothing = Selection { from: Some(Bound::At(at(1 << 33))), ..Selection::default() };
        assert_eq!(
            sound(log, &nothing).1.proved,
            1,
            "the last row shows that nothing came after it"
        );
    });
}

/// The first version of sealwire that wrote bundles wrote this file, and the file must not change.
/// It is a span of a log with a key rotation and two erased envelopes.
#[test]
fn a_bundle_of_version_1_is_read_for_ever() {
    let bundle = include_str!("../../testdata/evidence/v1.evidence");
    let key = "sealwire.test/plant+73a29b6a+AYE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
    let key = VerifierKey::parse(key).unwrap();
    let verified = verify_bundle(bundle.as_bytes(), Some(&key), &mut |it| panic!("{it}")).unwrap();
    assert_eq!((verified.span, verified.proved, verified.erased), (2..9, 6, 2));
    assert_eq!(verified.keys.iter().count(), 2);
}

/// Size of a row without its envelope, as in `docs/formats/evidence.md`, with a margin.
#[test]
fn a_row_costs_little_beside_its_envelope() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = runtime.block_on(async {
        let folder = TempDir::new().unwrap();
        let (ledger, writer) = open(folder.path());
        for first in (0..10_000).step_by(1_000) {
            ledger.append(Batch::of((first..first + 1_000).map(reading).collect())).await.unwrap();
        }
        writer.close().await.unwrap();
        folder
    });
    let log = look(folder.path()).unwrap();
    let of_one = Selection { sensor: Some(sensor(1)), ..Selection::default() };
    for (selection, bytes_max) in [(Selection::default(), 90), (of_one, 180)] {
        let (bundle, verified) = sound(&log, &selection);
        let envelopes: usize = bundle
            .lines()
            .filter_map(|line| line.split_once(r#""envelope":"#))
            .map(|(_, rest)| rest.len() - 2)
            .sum();
        let rows = usize::try_from(verified.proved).unwrap();
        let bytes = (bundle.len() - envelopes) / rows;
        assert!(bytes <= bytes_max, "{bytes} of {rows} rows");
    }
}
