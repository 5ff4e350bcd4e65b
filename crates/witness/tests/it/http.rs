//! The witness over real HTTP: every status of the specification, and every limit.

use std::{collections::BTreeMap, sync::Arc, thread};

use tlog::{Checkpoint, Hash, SignedNote, add_checkpoint::REQUEST_BYTES_MAX};

use crate::house::{Log, Running};

const ORIGIN: &str = "log.test/a";

fn hash(origin: &str) -> String {
    Hash::sha256(origin.as_bytes()).to_string()
}

#[test]
fn every_request_gets_the_status_of_the_specification() {
    let (log, stranger) = (Log::new(ORIGIN), Log::new("log.test/unknown"));
    let fork = log.fork(3);
    let witness = Running::start(&log.listed(86_400));
    let monitored = format!("/{}/checkpoint", hash(ORIGIN));
    assert_eq!(witness.get(&monitored).0, 404, "nothing cosigned yet");

    // A new log, which then grows.
    for (old, new) in [(0, 0), (0, 5), (5, 5), (5, 9)] {
        let request = log.request(old, new);
        let (status, lines) = witness.ask(&request);
        assert_eq!(status, 200, "{old} to {new}: {lines}");
        let mut note = request.checkpoint.clone();
        let keys = [witness.key.clone()];
        assert_eq!(note.merge(&lines, &keys).len(), 1, "{lines}");
        assert_eq!(lines.lines().count(), 1);
        assert!(lines.ends_with('\n'));
        let (status, cosigned) = witness.get(&monitored);
        assert_eq!((status, cosigned), (200, note.to_string()));
    }

    let mut bad_signature = log.request(9, 12);
    let mut line = bad_signature.checkpoint.signatures()[0].clone();
    line.bytes[5] ^= 1;
    bad_signature.checkpoint.put_signature(line);
    let mut other_key = Log::new(ORIGIN);
    other_key.signer = stranger_key();
    let mut no_proof = log.request(9, 12);
    no_proof.proof.clear();
    let mut needless_proof = log.request(9, 9);
    needless_proof.proof.push(Hash::sha256(b""));
    for (request, expected, words) in [
        (stranger.request(0, 1), 404, "does not cosign a log"),
        (bad_signature, 403, "is not signed by a key of the log"),
        (other_key.request(9, 12), 403, "is not signed by a key of the log"),
        (log.request(12, 9), 400, "the old size is larger"),
        (no_proof, 422, "the proof does not show that"),
        (needless_proof, 422, "the proof does not show that"),
        (fork.request(9, 9), 422, "the proof does not show that"), // another tree of this size
        (fork.request(9, 12), 422, "the proof does not show that"),
    ] {
        let (status, said) = witness.ask(&request);
        assert_eq!(status, expected, "{said}");
        assert!(said.contains(words), "{said}");
    }
    for body in ["", "old 9\n", "old 9\n\nnothing\n", "old x\n\n"] {
        let (status, _, said) = witness.post(body);
        assert_eq!(status, 400, "{body:?}: {said}");
    }

    // If the old size is wrong, the answer is the recorded size, whatever else is wrong.
    for request in [log.request(0, 12), log.request(5, 12), log.request(10, 12), fork.request(0, 9)]
    {
        let answer = witness.post(&request.to_string());
        assert_eq!(answer, (409, "text/x.tlog.size".to_owned(), "9\n".to_owned()));
    }
    assert_eq!(witness.ask(&log.request(9, 12)).0, 200, "nothing of that has done harm");
}

fn stranger_key() -> tlog::Signer {
    tlog::Signer::from_seed(tlog::KeyName::parse(ORIGIN).unwrap(), &[9; 32])
}

#[test]
fn a_witness_remembers_over_a_restart() {
    let log = Log::new(ORIGIN);
    let logs = log.listed(86_400);
    let witness = Running::start(&logs);
    assert_eq!(witness.ask(&log.request(0, 7)).0, 200);
    let key = witness.key.clone();
    let witness = witness.restart(&logs);
    assert_eq!(witness.key, key);
    assert_eq!(witness.get("/vkey"), (200, format!("{key}\n")));
    assert_eq!(witness.ask(&log.fork(2).request(0, 7)), (409, "7\n".to_owned()));
    assert_eq!(witness.ask(&log.request(7, 8)).0, 200);
}

#[test]
fn a_log_that_missed_the_answer_learns_the_size_and_gets_it_again() {
    let log = Log::new(ORIGIN);
    let logs = log.listed(86_400);
    let witness = Running::start(&logs);
    // The witness records and dies before its answer reaches the log. The log still assumes the
    // earlier record.
    assert_eq!(witness.ask(&log.request(0, 7)).0, 200);
    let witness = witness.restart(&logs);
    assert_eq!(witness.ask(&log.request(0, 7)), (409, "7\n".to_owned()));
    assert_eq!(witness.ask(&log.request(7, 7)).0, 200);
}

/// Half of the requests are from a fork. The cosigned checkpoints are one growing history, and no
/// size has two roots.
#[test]
fn requests_at_the_same_time_never_get_two_histories_cosigned() {
    let log = Log::new(ORIGIN);
    let logs = [Log::new(ORIGIN), log.fork(1)];
    let witness = Running::start(&log.listed(86_400_000));
    let cosigned: Vec<SignedNote> = thread::scope(|scope| {
        let ask = |history: &Log| {
            let (mut known, mut cosigned) = (0, Vec::new());
            for size in (2..40).step_by(3) {
                let request = history.request(known.min(size), size);
                let (status, body) = witness.ask(&request);
                match status {
                    200 => {
                        known = size;
                        cosigned.push(request.checkpoint);
                    }
                    409 => known = body.trim_end().parse().unwrap(),
                    status => assert!([400, 422].contains(&status), "{status}: {body}"),
                }
            }
            cosigned
        };
        let asking: Vec<_> =
            (0..8).map(|number| scope.spawn(move || ask(&logs_of(number)))).collect();
        asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect()
    });
    let mut roots = BTreeMap::new();
    for note in &cosigned {
        let checkpoint = Checkpoint::parse(note.unverified_text()).unwrap();
        let root = roots.entry(checkpoint.size.get()).or_insert(checkpoint.root);
        assert_eq!(*root, checkpoint.root, "two roots of size {}", checkpoint.size);
    }
    assert!(!roots.is_empty());
    let of_one_history = logs.iter().any(|log| {
        roots.iter().all(|(size, root)| {
            let checkpoint = log.checkpoint(*size);
            Checkpoint::parse(checkpoint.unverified_text()).unwrap().root == *root
        })
    });
    assert!(of_one_history, "{roots:?}");
}

fn logs_of(number: usize) -> Log {
    let log = Log::new(ORIGIN);
    if number.is_multiple_of(2) { log } else { log.fork(1) }
}

#[test]
fn a_log_that_asks_too_often_is_told_when_to_come_back() {
    let log = Log::new(ORIGIN);
    let other = Log::new("log.test/b");
    // One per hour, after the burst.
    let witness = Running::start(&format!("{}{}", log.listed(24), other.listed(24)));
    let mut size = 0;
    let refused = loop {
        let (status, body) = witness.ask(&log.request(size, size + 1));
        if status != 200 {
            break (status, body);
        }
        size += 1;
        assert!(size < 1_000, "no limit in sight");
    };
    assert_eq!(refused.0, 429, "{}", refused.1);
    assert_eq!(size, 60, "a burst of 60");
    // Anyone who repeats a signed request does not use up the log's allowance, and the log does not
    // use up theirs.
    assert_eq!(witness.ask(&log.request(size, size)).0, 200);
    assert_eq!(witness.ask(&log.request(0, 1)).0, 409);
    assert_eq!(witness.ask(&other.request(0, 1)).0, 200);
    let answer = witness.send(
        format!(
            "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{}",
            log.request(size, size + 1).to_string().len(),
            log.request(size, size + 1)
        )
        .as_bytes(),
    );
    let wait = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((3_000..=3_600).contains(&wait.parse::<u64>().unwrap()), "{answer}");
}

#[test]
fn what_is_too_large_or_no_request_is_turned_away() {
    let log = Log::new(ORIGIN);
    let witness = Running::start(&log.listed(86_400));
    let (status, _, said) = witness.post(&"a".repeat(REQUEST_BYTES_MAX + 1));
    assert_eq!(status, 413, "{said}");
    assert!(said.contains(&REQUEST_BYTES_MAX.to_string()), "{said}");
    let head = "x: y\r\n".repeat(10_000);
    let answer = witness.send(format!("GET /vkey HTTP/1.1\r\n{head}\r\n").as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = witness.send(b"nonsense\r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = witness.send(
        b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: 2\r\n\r\n\xff\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("not UTF-8"), "{answer}");
    assert_eq!(witness.get("/add-checkpoint").0, 405);
    assert_eq!(witness.get("/").0, 404);
    assert_eq!(witness.get(&format!("/{}/checkpoint", hash("log.test/unknown"))).0, 404);
    assert_eq!(witness.ask(&log.request(0, 1)).0, 200, "and goes on");
}

#[test]
fn many_logs_are_kept_apart() {
    let logs: Vec<_> = (0..20).map(|number| Log::new(&format!("log.test/{number}"))).collect();
    let witness =
        Arc::new(Running::start(&logs.iter().map(|log| log.listed(9)).collect::<String>()));
    for (size, log) in (1..).zip(&logs) {
        assert_eq!(witness.ask(&log.request(0, size)).0, 200);
    }
    for (size, log) in (1..).zip(&logs) {
        assert_eq!(witness.ask(&log.request(99, 100)), (409, format!("{size}\n")));
    }
}
