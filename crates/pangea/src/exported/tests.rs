//! Tests with a log that gathers two events to each leaf, as Pangea does.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;
use tlog::{Frontier, NodeHash as _, Pangea, Subtree};

use super::*;
use crate::proof::{consistency, membership};

/// Events that Pangea gathers to one leaf here.
const GATHERED: u64 = 2;

fn hex(hash: Hash) -> String {
    hex::encode(hash.as_bytes())
}

/// A signed event.
fn envelope(number: u64) -> Value {
    let key = SigningKey::from_bytes(&[7; 32]);
    let event = json!({ "actor": "ada", "message": format!("event {number} of <plant>") });
    json!({
        "event": event, "received_at": "2026-11-29T10:00:00.000001Z",
        "public_key": STANDARD.encode(key.verifying_key().as_bytes()),
        "signature": STANDARD.encode(key.sign(event.to_string().as_bytes()).to_bytes()),
    })
}

fn hash_of(envelope: &Value) -> Hash {
    Hash::sha256(envelope.to_string().as_bytes())
}

/// The hash of a leaf: the root of the events that were gathered to it.
fn leaf(number: u64) -> Hash {
    let event = |at: u64| hash_of(&envelope(GATHERED * number + at));
    Pangea::node(&event(0), &event(1))
}

fn subtree(subtree: Subtree) -> Result<Hash, std::convert::Infallible> {
    let mut row: Vec<Hash> = (subtree.begin().get()..subtree.end().get()).map(leaf).collect();
    while row.len() > 1 {
        row = row.chunks(2).map(|pair| Pangea::node(&pair[0], &pair[1])).collect();
    }
    Ok(row[0])
}

fn root(size: u64) -> Value {
    let Ok(frontier) = Frontier::<Pangea>::load_subtrees(TreeSize::new(size), subtree);
    let growth = TreeSize::new(size).extends(TreeSize::new(size - 1)).unwrap();
    let Ok(lines) = consistency(growth, subtree);
    json!({
        "size": size, "root_hash": hex(frontier.root()), "tree_name": "t",
        "url": "https://elsewhere.example/r", "consistency_proof": lines,
    })
}

/// An event as the console exports it, in a tree of this size.
fn artifact(number: u64, size: u64) -> Value {
    let (index, other) = (number / GATHERED, hash_of(&envelope(number ^ 1)));
    let side = if number.is_multiple_of(2) { 'r' } else { 'l' };
    let Ok(path) = membership(leaf_in(size, index).unwrap(), subtree);
    let path = path.map(|path| format!(",{path}")).unwrap_or_default();
    json!({
        "envelope": envelope(number), "hash": hex(hash_of(&envelope(number))),
        "leaf_index": index, "published": true, "root": root(size),
        "membership_proof": format!("{side}:{}{path}", hex(other)),
    })
}

fn roots(sizes: &[u64]) -> PublishedRoots {
    let mut roots = PublishedRoots::default();
    let all: Vec<Value> = sizes.iter().map(|size| root(*size)).collect();
    roots.add(Value::from(all).to_string().as_bytes()).unwrap();
    roots
}

fn take(tally: &mut Tally, value: &Value, roots: &PublishedRoots) -> Vec<String> {
    tally.take(&Exported::parse(value.to_string().as_bytes()).unwrap(), roots)
}

#[test]
fn every_event_of_every_tree_verifies_in_each_form() {
    for size in 1..=9 {
        let (published, mut tally) = (roots(&[size]), Tally::default());
        for number in 0..GATHERED * size {
            let whole = artifact(number, size);
            assert_eq!(take(&mut tally, &whole, &published), Vec::<String>::new());
            // A dump names the size alone.
            let mut line = whole.clone();
            line["root"] = Value::Null;
            line["tree_size"] = size.into();
            assert_eq!(take(&mut tally, &line, &published), Vec::<String>::new());
            // A search has one root for all.
            let mut event = whole.clone();
            event["root"] = Value::Null;
            let answer = json!({ "result": { "root": whole["root"], "events": [event] } });
            assert_eq!(take(&mut tally, &answer, &PublishedRoots::default()), Vec::<String>::new());
        }
        let events = GATHERED * size;
        assert_eq!((tally.events, tally.signed), (3 * events, 3 * events));
        assert_eq!((tally.published, tally.named, tally.without_proof), (2 * events, events, 0));
        assert_eq!(tally.leaves.len() as u64, size);
        assert_eq!(tally.named_roots.keys().copied().collect::<Vec<_>>(), [size]);
    }
}

#[test]
fn what_was_changed_is_found() {
    let published = roots(&[5]);
    let honest = artifact(4, 5);
    let other_root = root(4)["root_hash"].clone();
    let changes: [(&str, Value, &str); 8] = [
        ("/envelope/event/message", "another".into(), "has another hash"),
        ("/envelope/received_at", "2026-11-29T10:00:00.000002Z".into(), "has another hash"),
        ("/hash", hex(Hash::sha256(b"x")).into(), "has another hash"),
        ("/hash", "x".into(), "64 hex digits"),
        ("/leaf_index", 3.into(), "the path of another leaf"),
        ("/leaf_index", 5.into(), "not in the tree"),
        ("/membership_proof", artifact(6, 5)["membership_proof"].clone(), "does not lead"),
        ("/root/root_hash", other_root, "another root of size 5 than was published"),
    ];
    for (place, value, why) in changes {
        let mut changed = honest.clone();
        *changed.pointer_mut(place).unwrap() = value;
        let mut tally = Tally::default();
        let faults = take(&mut tally, &changed, &published);
        assert!(faults.len() == 1 && faults[0].contains(why), "{place}: {faults:?}");
        assert_eq!((tally.events, tally.published), (0, 0));
    }
    // The hash holds, but the author signed something else.
    let mut forged = honest.clone();
    forged["envelope"]["event"]["message"] = "another".into();
    forged["hash"] = hex(hash_of(&forged["envelope"])).into();
    let faults = take(&mut Tally::default(), &forged, &published);
    assert!(faults[0].contains("its signature is of something else"), "{faults:?}");
    let mut elsewhere = honest;
    elsewhere["root"]["tree_name"] = "another".into();
    let faults = take(&mut Tally::default(), &elsewhere, &published);
    assert!(faults[0].contains("of the tree another"), "{faults:?}");
}

#[test]
fn what_is_not_shown_is_counted() {
    let mut event = artifact(0, 3);
    event["membership_proof"] = Value::Null;
    event["envelope"].as_object_mut().unwrap().remove("public_key");
    event["hash"] = hex(hash_of(&event["envelope"])).into();
    let mut tally = Tally::default();
    assert_eq!(take(&mut tally, &event, &roots(&[3])), Vec::<String>::new());
    assert_eq!((tally.signed_without_key, tally.without_proof), (1, 1));

    let whole = artifact(2, 2);
    let mut event = whole.clone();
    event["published"] = false.into();
    event["leaf_index"] = Value::Null;
    event["unpublished_root"] = whole["root"].clone();
    event["root"] = Value::Null;
    assert_eq!(take(&mut tally, &event, &PublishedRoots::default()), Vec::<String>::new());
    assert_eq!((tally.unpublished, tally.published), (1, 0));
    event["unpublished_root"] = root(1);
    assert_eq!(take(&mut tally, &event, &PublishedRoots::default()).len(), 1);
}

#[test]
fn published_roots_extend_each_other() {
    assert_eq!(roots(&[1, 2, 3, 4, 5, 9]).check(), Ok(4));
    let mut changed = root(4);
    changed["consistency_proof"] = root(5)["consistency_proof"].clone();
    let mut both = PublishedRoots::default();
    for root in [root(3), changed] {
        both.add(json!({ "result": { "data": root } }).to_string().as_bytes()).unwrap();
    }
    assert!(both.check().unwrap_err().contains("size 4 does not extend"));
    let mut other = root(3);
    other["root_hash"] = hex(Hash::sha256(b"x")).into();
    assert!(both.add(other.to_string().as_bytes()).unwrap_err().contains("two roots"));
    other["size"] = 8.into();
    other["tree_name"] = "u".into();
    assert!(both.add(other.to_string().as_bytes()).unwrap_err().contains("two trees, t and u"));
    for wrong in ["{}", "7", "[1]", "{\"result\":{}}"] {
        assert!(both.add(wrong.as_bytes()).unwrap_err().contains("`root_hash`"), "{wrong}");
        assert!(Exported::parse(wrong.as_bytes()).unwrap_err().contains("no export of Pangea"));
    }
}
