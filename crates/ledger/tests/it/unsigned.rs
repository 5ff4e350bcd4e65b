//! Someone can write a log's folder but does not have its key. What they put there is not signed,
//! erases nothing and does not verify.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ledger::{
    Cursor, EraseError, Hold, Ledger, OpenError, Storage, Writer,
    copy::copy_log,
    disk::RealDisk,
    verify::{VerifyError, verify_folder},
};
use model::{Envelope, Event, EventJson, Salt};
use tempfile::TempDir;
use tlog::Hash;

use super::{
    batch, copy,
    features::{at, erasure, kept_log, other_signer},
    message_of, verify,
};

const SEGMENT: &str = "ledger/segments/00000000000000000000.seg";

fn open(folder: &Path) -> Result<(Ledger, Writer), OpenError> {
    Ledger::open(&folder.join("ledger"), other_signer(1))
}

fn moved_to(next_leaf: u64) -> Option<Cursor> {
    Some(Cursor { name: "reader".into(), next_leaf })
}

/// What a kill leaves of a log of 21 leaves: 11 leaves under the checkpoint, and two groups beyond
/// it.
async fn killed() -> TempDir {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path()).unwrap();
    ledger.append(batch(0, 10)).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    ledger.append(ledger::Batch { cursor: moved_to(3), ..batch(10, 5) }).await.unwrap();
    ledger.append(batch(15, 5)).await.unwrap();
    let left = copy(folder.path());
    writer.close().await.unwrap();
    left
}

/// A leaf as an attacker writes it.
enum Forged<'a> {
    Envelope(&'a [u8]),
    Erased(Hash),
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_le_bytes();
    [[kind].as_slice(), &len, content].concat()
}

/// A commit group with right checksums.
fn group(first_leaf: u64, leaves: &[Forged<'_>], others: &[Vec<u8>]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    for leaf in leaves {
        let (len, bytes) = match leaf {
            Forged::Envelope(envelope) => (u32::try_from(envelope.len()).unwrap(), *envelope),
            Forged::Erased(commitment) => (u32::MAX, commitment.as_bytes().as_slice()),
        };
        unpacked.extend(len.to_le_bytes());
        unpacked.extend(bytes);
    }
    let count = u32::try_from(leaves.len()).unwrap().to_le_bytes();
    let mut payload = Vec::new();
    if !leaves.is_empty() {
        let frame = zstd::bulk::compress(&unpacked, 1).unwrap();
        let len = u32::try_from(unpacked.len()).unwrap().to_le_bytes();
        payload.extend(record(3, &[count.as_slice(), &len, &frame].concat()));
    }
    others.iter().for_each(|other| payload.extend(other));
    let mut header = b"SWgr".to_vec();
    header.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    header.extend(first_leaf.to_le_bytes());
    header.extend(count);
    header.extend(crc32c::crc32c(&payload).to_le_bytes());
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    [header, payload].concat()
}

/// Offsets at which the groups of a segment begin, and the end of the last.
fn groups(segment: &[u8]) -> Vec<usize> {
    let mut begins = vec![24];
    while let Some(header) = segment.get(*begins.last().unwrap()..).and_then(|rest| rest.get(..28))
    {
        let len = u32::from_le_bytes(header[4..8].try_into().unwrap());
        begins.push(begins.last().unwrap() + 28 + len as usize);
    }
    begins
}

fn cursor_record(next_leaf: u64) -> Vec<u8> {
    record(2, &[next_leaf.to_le_bytes().as_slice(), b"reader"].concat())
}

/// An envelope of an event, as the ledger would seal it.
fn envelope(event: &Event) -> Vec<u8> {
    let EventJson { head, tail } = EventJson::of(event);
    let mut bytes = Vec::new();
    let received_at = at(1 << 32).to_string();
    Envelope::seal(&head, &received_at, Salt::from_random([7; 16]), &tail, &mut bytes);
    bytes
}

fn order_to_erase(leaves: &str) -> Vec<u8> {
    let count = 1;
    envelope(&Event::envelopes_erased(
        "mallory",
        "sealwire.test/plant",
        leaves.to_owned(),
        count,
        "none",
        at(1 << 32),
    ))
}

/// A copy of a folder with another newest segment.
fn with_segment(folder: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> TempDir {
    let forged = copy(folder);
    let path = forged.path().join(SEGMENT);
    fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
    forged
}

#[track_caller]
fn assert_unsealed(folder: &Path, first: u64) {
    let before = fs::read(folder.join("ledger/checkpoint")).unwrap();
    let error = open(folder).unwrap_err();
    assert!(matches!(error, OpenError::Unsealed { leaf, .. } if leaf == first), "{error}");
    assert_eq!(fs::read(folder.join("ledger/checkpoint")).unwrap(), before, "nothing was signed");
}

#[tokio::test]
async fn nothing_beyond_the_checkpoint_is_signed_that_the_key_does_not_vouch_for() {
    let killed = killed().await;
    let event = envelope(&Event::site("TEST", "mallory", String::from("made up"), at(0)));
    let forged_leaf = || [Forged::Envelope(&event)];
    let append = |bytes: Vec<u8>| with_segment(killed.path(), |segment| [segment, bytes].concat());

    // An event after all others: without a MAC, with a wrong MAC, and with another group's MAC.
    assert_unsealed(append(group(21, &forged_leaf(), &[])).path(), 21);
    assert_unsealed(append(group(21, &forged_leaf(), &[record(6, &[0; 32])])).path(), 21);
    let segment = fs::read(killed.path().join(SEGMENT)).unwrap();
    let bounds = groups(&segment);
    let [.., _, last, end] = bounds.as_slice() else { panic!("two groups are there") };
    let mac = record(6, &segment[end - 32..*end]);
    assert_unsealed(append(group(21, &forged_leaf(), &[mac])).path(), 21);
    // In place of an acknowledged event.
    let replaced = with_segment(killed.path(), |segment| {
        [&segment[..*last], &group(16, &forged_leaf(), &[record(6, &segment[end - 32..])])].concat()
    });
    assert_unsealed(replaced.path(), 16);
    // The genuine group of another history of the same key, at the same place.
    let other = self::killed().await;
    let moved = fs::read(other.path().join(SEGMENT)).unwrap();
    let other_last = groups(&moved)[groups(&moved).len() - 2];
    let moved =
        with_segment(killed.path(), |segment| [&segment[..*last], &moved[other_last..]].concat());
    assert_unsealed(moved.path(), 16);
    // Another cursor within a genuine group.
    let cursor = with_segment(killed.path(), |mut segment| {
        let before_last = bounds[bounds.len() - 3];
        let name = segment[before_last..].windows(6).position(|window| window == b"reader");
        segment[before_last + name.unwrap() - 8] = 21;
        let payload = before_last + 28..*last;
        let checksum = crc32c::crc32c(&segment[payload]).to_le_bytes();
        segment[before_last + 20..before_last + 24].copy_from_slice(&checksum);
        let checksum = crc32c::crc32c(&segment[before_last..before_last + 24]).to_le_bytes();
        segment[before_last + 24..before_last + 28].copy_from_slice(&checksum);
        segment
    });
    assert_unsealed(cursor.path(), 11);

    // A group without leaves moves no cursor, whatever else it has.
    let cursor = || group(21, &[], &[cursor_record(21)]);
    assert_unsealed(append(cursor()).path(), 21);
    let closed = copy(killed.path());
    open(closed.path()).unwrap().1.close().await.unwrap();
    for without_state in [false, true] {
        let moved = with_segment(closed.path(), |segment| [segment, cursor()].concat());
        if without_state {
            fs::remove_file(moved.path().join("ledger/state")).unwrap();
        }
        let (ledger, writer) = open(moved.path()).unwrap();
        assert_eq!((ledger.cursor("reader"), ledger.size()), (3, 21));
        writer.close().await.unwrap();
        verify(&moved.path().join("ledger")).unwrap();
    }
    // What the site wrote itself is continued.
    let (ledger, writer) = open(killed.path()).unwrap();
    assert_eq!((ledger.cursor("reader"), ledger.size()), (3, 21));
    writer.close().await.unwrap();
}

/// A copy of a folder in which leaf 3, which is in the second group, is replaced by its commitment.
fn with_leaf_3_gone(folder: &Path, ledger: &Ledger, then: &[u8]) -> TempDir {
    let stored = ledger.envelopes(1, 10, usize::MAX).unwrap();
    let envelopes: Vec<&[u8]> =
        stored.iter().map(|stored| stored.bytes.as_deref().unwrap()).collect();
    let leaves: Vec<Forged<'_>> = (1..)
        .zip(envelopes)
        .map(|(leaf, envelope)| match leaf {
            3 => Forged::Erased(Hash::sha256(envelope)),
            _ => Forged::Envelope(envelope),
        })
        .collect();
    with_segment(folder, |segment| {
        let bounds = groups(&segment);
        [&segment[..bounds[1]], &group(1, &leaves, &[]), &segment[bounds[2]..], then].concat()
    })
}

#[tokio::test]
async fn an_erasure_needs_an_order_below_the_checkpoint() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path()).unwrap();
    ledger.append(batch(0, 10)).await.unwrap();
    writer.close().await.unwrap();
    let order = order_to_erase("3");
    let orders = [Vec::new(), group(11, &[Forged::Envelope(&order)], &[])];
    for (is_ordered, order) in [false, true].into_iter().zip(orders) {
        let forged = with_leaf_3_gone(folder.path(), &ledger, &order);
        let path = forged.path().join("ledger");
        let error = verify_folder(&RealDisk, &path, None, &mut |_| {}).unwrap_err();
        assert!(matches!(error, VerifyError::ErasedInSilence { leaf: 3 }), "{error}");
        // A backup is verified, so no backup is made of this.
        let backup = TempDir::new().unwrap();
        copy_log(&RealDisk, &path, &backup.path().join("ledger")).unwrap();
        let error = verify(&backup.path().join("ledger")).unwrap_err();
        assert!(matches!(error, VerifyError::ErasedInSilence { leaf: 3 }), "{error}");
        // A start that reads the whole log finds it too. A start that reads only the end refuses
        // the order.
        if is_ordered {
            assert_unsealed(forged.path(), 11);
        } else {
            fs::remove_file(path.join("state")).unwrap();
            let error = open(forged.path()).unwrap_err();
            assert!(matches!(error, OpenError::ErasedInSilence { leaf: 3 }), "{error}");
        }
    }
}

#[tokio::test]
async fn leaves_beyond_the_checkpoint_are_counted_and_judged_apart() {
    let killed = killed().await;
    let ledger = killed.path().join("ledger");
    let verified = verify(&ledger).unwrap();
    assert_eq!((verified.leaves, verified.beyond(), &verified.fault_beyond), (21, 10, &None));
    let mut told = Vec::new();
    let observer = &mut |leaf, _: Option<&[u8]>| told.push(leaf);
    ledger::verify::verify_folder_with(&RealDisk, &ledger, None, &mut |_| {}, observer).unwrap();
    assert!(told.into_iter().eq(0..11), "nothing beyond it makes a log complete");
    // Invented content there changes nothing about what is signed.
    let rotation = Event::key_rotated("mallory", "x", "no key", String::from("no note"), at(0));
    let rotation = envelope(&rotation);
    let forged = with_segment(killed.path(), |segment| {
        [segment, group(21, &[Forged::Envelope(&rotation)], &[])].concat()
    });
    let verified = verify(&forged.path().join("ledger")).unwrap();
    assert_eq!((verified.beyond(), verified.keys.iter().count()), (11, 1));
    assert!(verified.fault_beyond.is_some_and(|fault| fault.contains("leaf 21")));
}

/// Writes `state` with a right checksum.
fn write_state(folder: &Path, change: impl Fn(&str) -> String) {
    let path = folder.join("ledger/state");
    let text = fs::read_to_string(&path).unwrap();
    let [json, mac, _checksum] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    let changed = change(json);
    assert_ne!(changed, json);
    // With the MAC of its earlier content, and in the form of versions before 4.
    let covered = [format!("{changed}\n{mac}"), changed];
    let covered = &covered[usize::from(folder.join("without-mac").exists())];
    fs::write(path, format!("{covered}\n{:08x}\n", crc32c::crc32c(covered.as_bytes()))).unwrap();
}

#[tokio::test]
async fn a_start_goes_on_only_from_a_state_that_the_key_vouches_for() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path()).unwrap();
    ledger.append(ledger::Batch { cursor: moved_to(3), ..batch(0, 10) }).await.unwrap();
    ledger.publish_checkpoint().await.unwrap();
    let before_the_hold = fs::read(folder.path().join("ledger/state")).unwrap();
    let hold = Hold { from: Some(at(0)), ..Hold::default() };
    let placed = ledger.place_hold(&hold, "judge", "case 7", at(1)).await.unwrap().first_leaf;
    writer.close().await.unwrap();

    let holds = format!(r#""holds":{{"{placed}":{{"from":"{}"}}}}"#, at(0));
    let changes: [&dyn Fn(&str) -> String; 3] = [
        &|json| json.replace(&holds, r#""holds":{}"#),
        &|json| json.replace(r#""erasing":{}"#, r#""erasing":{"10":"2-4"}"#),
        &|json| json.replace(r#""reader":3"#, r#""reader":9"#),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for without_mac in [false, true] {
            let forged = copy(folder.path());
            if without_mac {
                fs::write(forged.path().join("without-mac"), "").unwrap();
            }
            write_state(forged.path(), change);
            let (ledger, writer) = open(forged.path()).unwrap();
            let gone = ledger.envelopes(0, 20, usize::MAX).unwrap();
            assert!(gone.iter().all(|stored| stored.bytes.is_some()), "{number}: it was erased");
            assert_eq!(ledger.cursor("reader"), 3, "{number}");
            let refusal = ledger.erase(erasure("2"), at(2)).await.unwrap_err();
            assert!(matches!(refusal, EraseError::Held { leaf: 2, .. }), "{number}: {refusal}");
            writer.close().await.unwrap();
            verify(&forged.path().join("ledger")).unwrap();
        }
    }
    // A state that the site wrote earlier: the leaves since then are read again.
    let older = copy(folder.path());
    fs::write(older.path().join("ledger/state"), &before_the_hold).unwrap();
    let (ledger, writer) = open(older.path()).unwrap();
    assert!(ledger.holds().contains_key(&placed));
    writer.close().await.unwrap();
    // The leaves since then must not be missing.
    let hold = ledger.envelopes(placed, 1, usize::MAX).unwrap().remove(0).bytes.unwrap();
    let hidden = with_segment(folder.path(), |segment| {
        let bounds = groups(&segment);
        let gone = group(placed, &[Forged::Erased(Hash::sha256(&hold))], &[]);
        [&segment[..bounds[bounds.len() - 2]], &gone].concat()
    });
    fs::write(hidden.path().join("ledger/state"), &before_the_hold).unwrap();
    let error = open(hidden.path()).unwrap_err();
    assert!(matches!(error, OpenError::ErasedInSilence { leaf } if leaf == placed), "{error}");
}

#[tokio::test]
async fn a_checkpoint_that_was_set_back_is_noticed() {
    let folder = TempDir::new().unwrap();
    let (ledger, writer) = open(folder.path()).unwrap();
    let path: PathBuf = folder.path().join("ledger/checkpoint");
    let older = ledger.publish_checkpoint().await.unwrap();
    ledger.append(batch(0, 10)).await.unwrap();
    writer.close().await.unwrap();
    for checkpoint in [Some(&older.note), None] {
        let back = copy(folder.path());
        let path = back.path().join(path.strip_prefix(folder.path()).unwrap());
        match checkpoint {
            Some(note) => fs::write(path, note).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let error = open(back.path()).unwrap_err();
        assert!(matches!(error, OpenError::SetBack { state: 11, .. }), "{error}");
    }
}

/// The log of version 3 has two leaves beyond its checkpoint, without a MAC.
#[tokio::test]
async fn leaves_of_an_older_version_beyond_the_checkpoint_are_taken_over_only_when_asked_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger");
    kept_log("v3-crashed", &path);
    let error = Ledger::open(&path, other_signer(2)).unwrap_err();
    assert!(matches!(error, OpenError::Unsealed { leaf: 32, .. }), "{error}");
    let storage = Storage { adopts_tail: true, ..Storage::default() };
    let (ledger, writer) = Ledger::open_on(storage, &path, other_signer(2)).unwrap();
    assert_eq!((ledger.adopted(), ledger.size()), (2, 34));
    let newest = ledger.envelopes(33, 1, usize::MAX).unwrap().remove(0);
    assert_eq!(message_of(&newest.bytes.unwrap()), "27");
    writer.close().await.unwrap();
    assert_eq!(verify(&path).unwrap().beyond(), 0, "a checkpoint covers them now");
    let (ledger, _writer) = Ledger::open(&path, other_signer(2)).unwrap();
    assert_eq!(ledger.adopted(), 0);
}
