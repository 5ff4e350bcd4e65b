//! Logs that are mirrored to a server, with everything that can happen on the way.

use model::{Envelope, Event, Salt, Timestamp};
use pangea::client::{Shown, bulk_request};
use proptest::prelude::*;

use super::*;

/// A leaf of the log in a test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leaf {
    Event,
    /// The server refuses it; whether it says which event it refuses.
    Refused {
        named: bool,
    },
    Unsendable,
    /// It is not mirrored: it was erased, or it is the mirror's own.
    LeftOut,
}

/// What happens to one question.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// The server seals the events, and the answer is lost.
    AnswerLost,
    /// The same, and nobody says so.
    Silence,
    Overloaded,
    Failed,
    Denied,
    Promised,
    /// The process ends before it can seal what the server answered.
    Killed,
}

fn entry(leaf: u64, kind: Leaf) -> Option<Entry> {
    let message = format!("event {leaf}");
    let event = Event { message, ..Event::default() };
    let received_at = Timestamp::from_unix_micros(0);
    let envelope = Envelope { event, received_at, salt: Salt::from_random([0; 16]) };
    match kind {
        Leaf::Event | Leaf::Refused { .. } => {
            let outgoing = Arc::new(Outgoing::of(envelope));
            Some(Entry::Event { leaf, outgoing, received_millis: 0 })
        }
        Leaf::Unsendable => Some(Entry::Unsendable { leaf, reason: String::from("damaged") }),
        Leaf::LeftOut => None,
    }
}

fn id() -> RequestId {
    RequestId::new(0, [0; 14])
}

/// A server that seals a request once, and the log that it has.
#[derive(Default)]
struct Server {
    sealed: Vec<u64>,
    requests: Vec<Vec<u8>>,
}

impl Server {
    /// What an honest answer to these leaves is.
    fn answer(&mut self, log: &[Leaf], leaves: &[u64], body: Vec<u8>) -> Outcome {
        let refused = leaves
            .iter()
            .position(|leaf| matches!(log[usize::try_from(*leaf).unwrap()], Leaf::Refused { .. }));
        if let Some(at) = refused {
            let leaf = usize::try_from(leaves[at]).unwrap();
            let at = matches!(log[leaf], Leaf::Refused { named: true }).then_some(at);
            return Outcome::Refused { at, reason: String::from("no") };
        }
        if !self.requests.contains(&body) {
            self.requests.push(body);
            self.sealed.extend(leaves);
        }
        let events = leaves.iter().map(|_| Shown::default()).collect();
        Outcome::Taken(Taken { request_id: String::new(), events })
    }
}

/// Mirrors a log through these fates, and then without any trouble. Returns the server's log and
/// what was parked.
fn mirror(log: &[Leaf], fates: &[Fate]) -> (Vec<u64>, Vec<u64>) {
    const READ_MAX: usize = 7;
    let size = log.len() as u64;
    let (mut server, mut parked) = (Server::default(), Vec::new());
    // What is on the disk.
    let (mut cursor, mut under_way) = (0, None);
    let mut backlog = Backlog::new(cursor, under_way);
    let (mut now, mut fates) = (Instant::now(), fates.iter());
    for _step in 0..100_000 {
        let ask = match backlog.poll(size, now) {
            Next::Await(leaf) => {
                assert_eq!((leaf, backlog.settled()), (size, size));
                return (server.sealed, parked);
            }
            Next::Read(from) => {
                let to = size.min(from + READ_MAX as u64);
                let read =
                    (from..to).filter_map(|leaf| entry(leaf, log[usize::try_from(leaf).unwrap()]));
                backlog.handle_read(read.collect(), to);
                continue;
            }
            Next::Sleep(until) => {
                assert!(until > now && until <= now + BACK_OFF_MAX);
                now = until;
                continue;
            }
            Next::Settle(Settlement { end, next_leaf }) => {
                assert!(next_leaf > cursor && next_leaf <= size);
                if let End::Parked(leaf, _) = end {
                    parked.push(leaf);
                }
                cursor = next_leaf;
                backlog.handle_settled();
                continue;
            }
            Next::Ask(ask) => ask,
        };
        let fate = fates.next().copied().unwrap_or(Fate::Answered);
        let (events, is_promised) = match ask {
            Ask::Log(events) => (events, false),
            Ask::Result { events, .. } => (events, true),
        };
        let (leaves, outgoing, _) = backlog.batch(events);
        assert!(leaves.len() == events && leaves[0] >= cursor);
        let body = bulk_request(None, &outgoing);
        under_way = Some(events);
        let answer = match fate {
            Fate::Overloaded | Fate::Failed | Fate::Denied => None,
            _ => Some(server.answer(log, &leaves, body)),
        };
        let away = |reason: &str| Outcome::Away { reason: reason.to_owned(), retry_after: None };
        let outcome = match fate {
            Fate::Answered => answer.unwrap(),
            Fate::AnswerLost => away("half an answer"),
            Fate::Overloaded => away("429"),
            Fate::Failed => away("500"),
            Fate::Denied => Outcome::Denied(String::from("403")),
            Fate::Promised if is_promised => answer.unwrap(),
            Fate::Promised => Outcome::Promised(id()),
            Fate::Silence => {
                backlog.handle_silence(String::from("nobody answers"), now, 0.5);
                continue;
            }
            Fate::Killed => {
                backlog = Backlog::new(cursor, under_way);
                continue;
            }
        };
        backlog.handle_outcome(outcome, Duration::ZERO, now, 0.5);
    }
    panic!("it does not come to an end");
}

fn leaves(log: &[Leaf], wanted: impl Fn(Leaf) -> bool) -> Vec<u64> {
    let leaves = log.iter().zip(0..).filter(|(leaf, _)| wanted(**leaf));
    leaves.map(|(_, at)| at).collect()
}

fn any_leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        12 => Just(Leaf::Event),
        1 => any::<bool>().prop_map(|named| Leaf::Refused { named }),
        1 => Just(Leaf::Unsendable),
        3 => Just(Leaf::LeftOut),
    ]
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Overloaded),
        1 => Just(Fate::Failed),
        1 => Just(Fate::Denied),
        1 => Just(Fate::Promised),
        1 => Just(Fate::Killed),
    ]
}

proptest! {
    #[test]
    fn everything_arrives_once_and_in_order_whatever_happens(
        log in prop::collection::vec(any_leaf(), 1..300),
        fates in prop::collection::vec(any_fate(), 0..80),
    ) {
        let (sealed, parked) = mirror(&log, &fates);
        prop_assert_eq!(sealed, leaves(&log, |leaf| leaf == Leaf::Event));
        let refused = |leaf| matches!(leaf, Leaf::Refused { .. } | Leaf::Unsendable);
        prop_assert_eq!(parked, leaves(&log, refused));
    }

    /// Silence can mean anything, so after much of it a request is split, and some events may
    /// arrive twice. None is missing, and the order is kept.
    #[test]
    fn nothing_is_missing_after_any_silence(
        log in prop::collection::vec(any_leaf(), 1..300),
        fates in prop::collection::vec(prop_oneof![any_fate(), Just(Fate::Silence)], 0..80),
    ) {
        let (sealed, parked) = mirror(&log, &fates);
        let mut once = sealed;
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once, leaves(&log, |leaf| leaf == Leaf::Event));
        let refused = |leaf| matches!(leaf, Leaf::Refused { .. } | Leaf::Unsendable);
        prop_assert_eq!(parked, leaves(&log, refused));
    }
}

#[test]
fn a_request_met_with_silence_stays_whole_for_a_while() {
    let log = [Leaf::Event; 40];
    let few = [Fate::Silence; SILENCES_MAX as usize - 1];
    assert_eq!(mirror(&log, &few).0, leaves(&log, |_| true));
    // The server sealed the whole request, and then its halves under other names.
    let many = [Fate::Silence; SILENCES_MAX as usize];
    assert!(mirror(&log, &many).0.len() > log.len());
}

#[test]
fn a_server_that_refuses_everything_without_a_reason_is_not_given_the_whole_log() {
    let log = [Leaf::Refused { named: false }; UNNAMED_MAX as usize + 10];
    let mut backlog = Backlog::new(0, None);
    let entries = log.iter().zip(0..).filter_map(|(kind, leaf)| entry(leaf, *kind)).collect();
    backlog.handle_read(entries, log.len() as u64);
    let (mut now, mut parked, mut asked) = (Instant::now(), 0, 0);
    while asked < 2_000 {
        match backlog.poll(log.len() as u64, now) {
            Next::Settle(_) => {
                parked += 1;
                backlog.handle_settled();
            }
            Next::Sleep(until) => now = until,
            Next::Ask(_) => {
                asked += 1;
                let outcome = Outcome::Refused { at: None, reason: String::from("400") };
                backlog.handle_outcome(outcome, Duration::ZERO, now, 1.0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(parked, UNNAMED_MAX);
    assert_eq!(backlog.trouble(), Some("400"));
}

#[test]
fn pauses_grow_to_the_longest_and_never_undercut_the_server() {
    let mut backlog = Backlog::new(0, None);
    backlog.handle_read(vec![entry(0, Leaf::Event).unwrap()], 1);
    let mut now = Instant::now();
    let mut pause_after = |outcome: Outcome| {
        assert!(matches!(backlog.poll(1, now), Next::Ask(_)));
        backlog.handle_outcome(outcome, Duration::ZERO, now, 1.0);
        let Next::Sleep(until) = backlog.poll(1, now) else { panic!("it does not pause") };
        let pause = until - now;
        now = until;
        pause
    };
    let away = |seconds: Option<u64>| Outcome::Away {
        reason: String::from("503"),
        retry_after: seconds.map(Duration::from_secs),
    };
    let pauses: Vec<u128> = (0..9).map(|_| pause_after(away(None)).as_millis()).collect();
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    assert_eq!(pause_after(away(Some(100))), Duration::from_secs(100));
    assert_eq!(pause_after(away(Some(1_000_000))), RETRY_AFTER_MAX);
    assert_eq!(pause_after(Outcome::Denied(String::from("401"))), BACK_OFF_MAX);
}

#[test]
fn a_slow_server_gets_fewer_events_at_once_and_a_fast_one_more() {
    let log = [Leaf::Event; 5_000];
    let mut backlog = Backlog::new(0, None);
    let entries = log.iter().zip(0..).filter_map(|(kind, leaf)| entry(leaf, *kind)).collect();
    backlog.handle_read(entries, log.len() as u64);
    let now = Instant::now();
    let mut events_of = |took: Duration| {
        let Next::Ask(Ask::Log(events)) = backlog.poll(5_000, now) else { panic!("no batch") };
        let shown = vec![Shown::default(); events];
        let taken = Taken { request_id: String::new(), events: shown };
        backlog.handle_outcome(Outcome::Taken(taken), took, now, 0.0);
        assert!(matches!(backlog.poll(5_000, now), Next::Settle(_)));
        backlog.handle_settled();
        events
    };
    let [soon, slow, too_slow] = [Duration::ZERO, SLOW, TOO_SLOW];
    let sizes = [soon, soon, soon, slow, too_slow, soon, soon, soon, soon].map(&mut events_of);
    assert_eq!(sizes, [50, 100, 200, 400, 400, 200, 400, 800, 1_000]);
}
