//! What a credential lets its device do, and what it does not.

use data_encoding::BASE64URL_NOPAD;
use model::Pattern;
use nats::nkey::{Kind, Seed};
use proptest::prelude::*;

use super::*;
use crate::sensors::{name::InvalidCredentialName, sensor::Topics};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

fn seed(number: u8) -> Seed {
    Seed::from_bytes(Kind::User, &[number; 32])
}

fn key(number: u8) -> Key {
    Key::new(seed(number).public(), &format!("secret-{number}"), at(0))
}

fn sensor(alias: &str, number: u8, topics: Topics) -> Sensor {
    Sensor { alias: alias.parse().unwrap(), id: SensorId::from_bytes([number; 16]), topics }
}

fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

/// A credential of one sensor, with topics below its name.
pub(in crate::sensors) fn new(alias: &str, number: u8) -> NewCredential {
    let topics = Topics::below(&name(alias));
    NewCredential {
        name: name(alias),
        sensors: vec![sensor(alias, number, topics)],
        reporting: None,
        key: key(number),
    }
}

fn told(heartbeat: &str, poll: &str, read: &str) -> Topics {
    let subject = |topic| Subject::parse(topic).unwrap();
    Topics {
        heartbeat: subject(heartbeat),
        poll: subject(poll),
        read: subject(read),
        disconnect: None,
    }
}

fn book(new: impl IntoIterator<Item = NewCredential>) -> Book {
    let mut book = Book::default();
    book.add(new.into_iter().collect()).unwrap();
    book
}

fn by_key(book: &Book, number: u8, now: i64) -> Result<Admission, Refused> {
    let signature = BASE64URL_NOPAD.encode(&seed(number).sign(b"nonce"));
    let public = seed(number).public();
    let (key, nonce) = (public.as_str(), "nonce");
    book.admit(Offer::Nkey { key, nonce, signature: &signature }, at(now))
}

fn by_password(book: &Book, user: &str, number: u8, now: i64) -> Result<Admission, Refused> {
    book.admit(Offer::Password { user, password: &format!("secret-{number}") }, at(now))
}

#[test]
fn a_device_may_speak_as_its_sensor_and_hear_its_polls() {
    let book = book([new("Pump-1", 1), new("Pump-2", 2)]);
    for admission in [by_key(&book, 1, 0), by_password(&book, "Pump-1", 1, 0)] {
        let Admission { name, permissions, is_first_after_rotation, .. } = admission.unwrap();
        let subjects =
            |subjects: BTreeSet<Subject>| subjects.into_iter().map(String::from).collect();
        let (publish, subscribe): (Vec<String>, Vec<String>) =
            (subjects(permissions.publish), subjects(permissions.subscribe));
        assert_eq!(name.as_str(), "Pump-1");
        assert_eq!(publish, ["Pump-1.disconnect", "Pump-1.heartbeat", "Pump-1.read"]);
        assert_eq!(subscribe, ["Pump-1.poll", "Pump-1.receipt"]);
        assert!(!is_first_after_rotation);
    }
}

#[test]
fn nobody_is_let_in_who_does_not_have_the_secret() {
    let book = book([new("Pump-1", 1), new("Pump-2", 2)]);
    let [one, two, nobodys] = [1, 2, 3].map(|number| seed(number).public());
    let signature = BASE64URL_NOPAD.encode(&seed(1).sign(b"nonce"));
    let signed = |key, nonce, signature| Offer::Nkey { key, nonce, signature };
    let said = |user, password| Offer::Password { user, password };
    for (offer, refused) in [
        (Offer::Nothing, Refused::NoCredentials),
        (signed(&two, "nonce", &signature), Refused::WrongSignature(name("Pump-2"))),
        (signed(&one, "other", &signature), Refused::WrongSignature(name("Pump-1"))),
        (signed(&one, "", &signature), Refused::WrongSignature(name("Pump-1"))),
        (signed(&one, "nonce", ""), Refused::WrongSignature(name("Pump-1"))),
        (signed(&nobodys, "nonce", &signature), Refused::UnknownKey),
        (signed("", "nonce", &signature), Refused::UnknownKey),
        (said("Pump-1", "secret-2"), Refused::WrongPassword(name("Pump-1"))),
        (said("Pump-1", ""), Refused::WrongPassword(name("Pump-1"))),
        (said("Pump-3", "secret-1"), Refused::UnknownName),
        (said("Pump.1", "secret-1"), Refused::UnknownName),
        (said("", "secret-1"), Refused::UnknownName),
    ] {
        assert_eq!(book.admit(offer, at(0)), Err(refused), "{offer:?}");
    }
    // Base64 with padding, as some clients write it.
    let padded = data_encoding::BASE64.encode(&seed(1).sign(b"nonce"));
    assert!(book.admit(signed(&one, "nonce", &padded), at(0)).is_ok());
}

#[test]
fn a_revoked_credential_lets_nobody_in_and_frees_its_name_and_topics() {
    let mut book = book([new("Pump-1", 1)]);
    let revocation = Revocation { actor: String::from("ada"), at: at(1) };
    assert!(book.stands(&name("Pump-1"), &seed(1).public()));
    book.revoke(&name("Pump-1"), revocation.clone()).unwrap();
    assert!(!book.stands(&name("Pump-1"), &seed(1).public()));
    assert_eq!(by_key(&book, 1, 2), Err(Refused::Revoked(name("Pump-1"))));
    assert_eq!(by_password(&book, "Pump-1", 1, 2), Err(Refused::Revoked(name("Pump-1"))));
    let wrong = Refused::WrongPassword(name("Pump-1"));
    assert_eq!(by_password(&book, "Pump-1", 2, 2), Err(wrong));
    let again = book.revoke(&name("Pump-1"), revocation.clone());
    assert_eq!(again, Err(BookError::Unknown(name("Pump-1"))));
    // The log must record it first.
    assert_eq!(book.add(vec![new("Pump-1", 2)]), Err(BookError::Taken(name("Pump-1"))));
    assert_eq!(book.unsealed(), [(name("Pump-1"), revocation)]);
    book.sealed(&name("Pump-1"));
    assert_eq!(book.unsealed(), []);
    let mut restored = Book::restore(book.all().cloned().collect()).unwrap();
    for book in [&mut book, &mut restored] {
        book.add(vec![new("Pump-1", 2)]).unwrap();
        assert!(by_key(book, 2, 3).is_ok());
        assert_eq!(by_key(book, 1, 3), Err(Refused::UnknownKey));
    }
}

#[test]
fn the_old_key_ends_when_the_new_one_is_used_or_after_a_time() {
    let mut book = book([new("Pump-1", 1), new("Pump-2", 9)]);
    let pump = name("Pump-1");
    book.rotate(&pump, key(2), None, at(10)).unwrap();
    assert!(by_key(&book, 1, 1_000_000).is_ok_and(|old| !old.is_first_after_rotation));
    assert!(by_password(&book, "Pump-1", 1, 20).is_ok());
    assert!(by_key(&book, 2, 20).unwrap().is_first_after_rotation);
    book.replaced(&pump);
    assert_eq!(by_key(&book, 1, 20), Err(Refused::UnknownKey));
    assert_eq!(by_password(&book, "Pump-1", 1, 20), Err(Refused::WrongPassword(pump.clone())));
    assert!(by_key(&book, 2, 20).is_ok_and(|new| !new.is_first_after_rotation));

    book.rotate(&pump, key(3), Some(Duration::from_secs(60)), at(100)).unwrap();
    assert_eq!(book.next_end(), Some(at(160)));
    assert!(by_key(&book, 2, 159).is_ok() && by_key(&book, 3, 159).is_ok());
    assert_eq!(by_key(&book, 2, 160), Err(Refused::Ended(pump.clone())));
    assert!(!book.end_old_keys(at(159)) && book.end_old_keys(at(160)));
    assert_eq!(by_key(&book, 2, 160), Err(Refused::UnknownKey));

    assert_eq!(book.rotate(&pump, key(9), None, at(400)), Err(BookError::Key(pump)));
    let nobody = book.rotate(&name("Pump-3"), key(6), None, at(400));
    assert_eq!(nobody, Err(BookError::Unknown(name("Pump-3"))));
}

#[test]
fn a_device_that_got_no_newer_key_is_let_in_however_often_it_is_rotated() {
    let pump = name("Pump-1");
    let mut book = book([new("Pump-1", 1)]);
    book.rotate(&pump, key(2), None, at(10)).unwrap();
    book.rotate(&pump, key(3), Some(Duration::from_secs(60)), at(20)).unwrap();
    book.rotate(&pump, key(4), None, at(30)).unwrap();
    assert!((1..=4).all(|number| by_key(&book, number, 40).is_ok()));
    // So many keys are enough, and none of them ends for one more.
    let many = Err(BookError::TooManyKeys(pump.clone()));
    assert_eq!(book.rotate(&pump, key(5), None, at(40)), many);
    let mut restored = Book::restore(book.all().cloned().collect()).unwrap();
    assert_eq!(restored.rotate(&pump, key(5), None, at(40)), many);
    assert!((1..=4).all(|number| by_key(&restored, number, 40).is_ok()));
    // Only the newest replaces others, and a promised time is kept.
    assert!((1..=3).all(|number| !by_key(&book, number, 40).unwrap().is_first_after_rotation));
    assert!(by_key(&book, 4, 40).unwrap().is_first_after_rotation);
    book.replaced(&pump);
    let let_in = |book: &Book, now| -> Vec<u8> {
        (1..=4).filter(|number| by_key(book, *number, now).is_ok()).collect()
    };
    assert_eq!((let_in(&book, 40), let_in(&book, 80)), (vec![2, 4], vec![4]));
}

#[test]
fn what_another_has_cannot_be_had() {
    let own = told("picow.heartbeat", "picow.7.poll", "picow.7.read");
    let base =
        [new("Pump-1", 1), NewCredential { sensors: vec![sensor("Old", 7, own)], ..new("Old", 7) }];
    let with = |heartbeat: &str, poll: &str, read: &str| {
        let topics = told(heartbeat, poll, read);
        NewCredential { sensors: vec![sensor("X", 8, topics)], ..new("X", 8) }
    };
    let refused = |new: NewCredential| {
        let mut book = book(base.clone());
        let before = format!("{book:?}");
        let refused = book.add(vec![new]).err();
        assert_eq!(format!("{book:?}") == before, refused.is_some(), "all or nothing");
        refused
    };
    // Several devices may send heartbeats on one topic.
    assert_eq!(refused(with("picow.heartbeat", "x.poll", "x.read")), None);
    for (heartbeat, poll, read, owner) in [
        ("x.heartbeat", "Pump-1.poll", "x.read", "Pump-1"),
        ("x.heartbeat", "x.poll", "Pump-1.read", "Pump-1"),
        ("x.heartbeat", "x.poll", "Pump-1.poll", "Pump-1"),
        ("x.heartbeat", "x.poll", "Pump-1.heartbeat", "Pump-1"),
        ("x.heartbeat", "x.poll", "Pump-1.receipt", "Pump-1"),
        ("x.heartbeat", "picow.heartbeat", "x.read", "Old"),
        ("Pump-1.read", "x.poll", "x.read", "Pump-1"),
        ("picow.7.poll", "x.poll", "x.read", "Old"),
        ("x.heartbeat", "x.both", "x.both", "X"),
        ("x.both", "x.both", "x.read", "X"),
    ] {
        let found = refused(with(heartbeat, poll, read));
        let Some(BookError::TopicTaken { owner: found, .. }) = found else {
            panic!("{heartbeat} {poll} {read}: {found:?}")
        };
        assert_eq!(found.as_str(), owner, "{heartbeat} {poll} {read}");
    }
    let same_sensor = NewCredential { name: name("X"), key: key(8), ..new("Pump-3", 1) };
    assert!(matches!(refused(same_sensor), Some(BookError::SensorTaken { .. })));
    let same_key = NewCredential { key: key(1), ..new("X", 8) };
    assert_eq!(refused(same_key), Some(BookError::Key(name("X"))));
    assert_eq!(refused(new("Pump-1", 8)), Some(BookError::Taken(name("Pump-1"))));
    let empty = NewCredential { sensors: Vec::new(), ..new("X", 8) };
    assert_eq!(refused(empty), Some(BookError::Empty(name("X"))));
}

#[test]
fn a_device_that_reports_by_itself_has_its_topics_alone() {
    let subjects = |topics: &[&str]| topics.iter().map(|it| Subject::parse(it).unwrap()).collect();
    let reporting = |alias: &str, number, reports: &[&str], hears: &[&str]| NewCredential {
        sensors: Vec::new(),
        reporting: Some(Reporting { reports: subjects(reports), hears: subjects(hears) }),
        ..new(alias, number)
    };
    let own = reporting("oven", 1, &["tele.oven.SENSOR", "tele.oven.STATE"], &["oven.NCMD"]);
    let mut book = book([own, new("Pump-1", 2)]);
    let permissions = by_password(&book, "oven", 1, 0).unwrap().permissions;
    assert_eq!(permissions.publish, subjects(&["tele.oven.SENSOR", "tele.oven.STATE"]));
    assert_eq!(permissions.subscribe, subjects(&["oven.NCMD", "oven.receipt"]));
    // Nobody else may have them, and it may have nobody's.
    for (reports, hears) in [
        (&["tele.oven.SENSOR"][..], &[][..]),
        (&["tele.hob.SENSOR"], &["tele.oven.STATE"]),
        (&["Pump-1.read"], &[]),
        (&["Pump-1.heartbeat"], &[]),
        (&["tele.hob.SENSOR"], &["Pump-1.poll"]),
        (&["oven.receipt"], &[]),
    ] {
        let refused = book.add(vec![reporting("hob", 3, reports, hears)]).unwrap_err();
        assert!(matches!(refused, BookError::TopicTaken { .. }), "{reports:?}: {refused}");
    }
    let many: Vec<String> =
        (0..=Book::TOPICS_OF_CREDENTIAL_MAX).map(|number| format!("many.{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = book.add(vec![reporting("many", 3, &many, &[])]).unwrap_err();
    assert_eq!(refused, BookError::TooManyTopics(name("many")));
    let refused = book.add(vec![reporting("none", 3, &[], &[])]).unwrap_err();
    assert_eq!(refused, BookError::Empty(name("none")));
    // A sensor cannot take its topic either, and after a revocation both can be had again.
    let topics = told("x.heartbeat", "x.poll", "tele.oven.SENSOR");
    let taking = NewCredential { sensors: vec![sensor("X", 8, topics)], ..new("X", 8) };
    book.add(vec![taking.clone()]).unwrap_err();
    let by = Revocation { actor: "root".to_owned(), at: at(1) };
    book.revoke(&name("oven"), by).unwrap();
    book.sealed(&name("oven"));
    book.add(vec![taking]).unwrap();
    let kept = Book::restore(book.all().cloned().collect()).unwrap();
    assert_eq!(kept.describe(), book.describe());
}

#[test]
fn names_that_could_reach_other_topics_are_refused() {
    for text in [
        "",
        "a.b",
        "a b",
        "*",
        ">",
        "+",
        "#",
        "a*",
        "a>",
        "$SYS",
        "a/b",
        "ä",
        "a\n",
        "-a",
        "sealwire",
        "runtime",
        "_INBOX",
        &"a".repeat(61),
    ] {
        let refused: Result<CredentialName, InvalidCredentialName> = text.parse();
        assert!(refused.is_err(), "{text:?}");
    }
    for text in ["a", "TempSensor01", "FAULTY_HumiditySensor-A1", &"a".repeat(60)] {
        assert_eq!(name(text).as_str(), text);
    }
    for topic in ["a.*", "a.>", "a/+", "a.#", "$SYS.a", "_INBOX.a", "a b", "a..b", ">"] {
        let topic = format!("\"{topic}\"");
        assert!(serde_json::from_str::<Subject>(&topic).is_err(), "{topic}");
    }
}

#[test]
fn a_heartbeat_counts_only_from_the_device_of_its_sensor() {
    let one = NewCredential {
        name: name("gateway"),
        sensors: vec![
            sensor("A", 1, Topics::below(&name("A"))),
            sensor("B", 2, Topics::below(&name("B"))),
        ],
        reporting: None,
        key: key(1),
    };
    let book = book([one, new("C", 3)]);
    let heartbeat = |alias: &str, id: u8, poll: &str, read: &str, gone: &str| {
        let id = SensorId::from_bytes([id; 16]);
        let json = serde_json::json!({
            "alias": alias, "id": id, "poll_interval": 1000, "poll_topic": poll, "read_topic": read,
            "disconnect_topic": gone, "location": "Hall",
        });
        Heartbeat::parse(json.to_string().as_bytes()).unwrap()
    };
    for (subject, alias, id, topics, is_covered) in [
        ("A.heartbeat", "A", 1, ["A.poll", "A.read", "A.disconnect"], true),
        ("B.heartbeat", "B", 2, ["B.poll", "B.read", "B.disconnect"], true),
        // On another's topic, with another's id, alias or topics.
        ("C.heartbeat", "A", 1, ["A.poll", "A.read", "A.disconnect"], false),
        ("C.heartbeat", "C", 1, ["C.poll", "C.read", "C.disconnect"], false),
        ("C.heartbeat", "C", 9, ["C.poll", "C.read", "C.disconnect"], false),
        ("C.heartbeat", "A", 3, ["C.poll", "C.read", "C.disconnect"], false),
        ("C.heartbeat", "C", 3, ["A.poll", "C.read", "C.disconnect"], false),
        ("C.heartbeat", "C", 3, ["C.poll", "A.read", "C.disconnect"], false),
        ("C.heartbeat", "C", 3, ["C.poll", "C.read", "A.disconnect"], false),
        ("x.heartbeat", "C", 3, ["C.poll", "C.read", "C.disconnect"], false),
    ] {
        let [poll, read, gone] = topics;
        let covered = book.covers(subject, &heartbeat(alias, id, poll, read, gone));
        assert_eq!(covered.is_ok(), is_covered, "{subject} {alias} {id} {topics:?}: {covered:?}");
    }
    // While its credential stands, under whatever name a person gave it.
    let [a, b] = [1, 2].map(|id| SensorId::from_bytes([id; 16]));
    let known = heartbeat("Boiler", 1, "A.poll", "A.read", "A.disconnect");
    assert!(book.still_covers(a, &known) && !book.still_covers(b, &known));
    let mut book = book;
    let revocation = Revocation { actor: String::from("ada"), at: at(1) };
    book.revoke(&name("gateway"), revocation).unwrap();
    assert!(!book.still_covers(a, &known));
}

/// Topics that a person may name: of few levels, so that they often meet.
fn topics() -> impl Strategy<Value = Topics> {
    let level = || prop::sample::select(vec!["a", "b", "heartbeat", "poll", "read", "receipt"]);
    let subject = move || {
        prop::collection::vec(level(), 1..3)
            .prop_map(|levels| Subject::parse(&levels.join(".")).unwrap())
    };
    (subject(), subject(), subject(), prop::option::of(subject())).prop_map(
        |(heartbeat, poll, read, disconnect)| Topics { heartbeat, poll, read, disconnect },
    )
}

proptest! {
    /// Whatever is added and revoked: no device may publish or hear what is another's, except
    /// heartbeats that both send on one topic, and nothing has a wildcard.
    #[test]
    fn no_permission_reaches_another_sensor(
        added in prop::collection::vec((0_u8..4, prop::collection::vec((0_u8..8, topics()), 0..3)), 0..8),
        revoked in prop::collection::vec(0_u8..4, 0..4),
    ) {
        let names = ["a", "b", "poll", "read"];
        let mut book = Book::default();
        for (number, (which, sensors)) in (0_u8..).zip(added) {
            let sensors = sensors.into_iter().map(|(id, topics)| sensor("s", id, topics)).collect();
            let new = NewCredential {
                name: name(names[usize::from(which)]),
                sensors,
                reporting: None,
                key: key(number),
            };
            // Refused, or in force; both are fine.
            let _added = book.add(vec![new]);
            if let Some(which) = revoked.get(usize::from(number)) {
                let name = name(names[usize::from(*which)]);
                let revocation = Revocation { actor: String::from("ada"), at: at(0) };
                if book.revoke(&name, revocation).is_ok() {
                    book.sealed(&name);
                }
            }
        }
        let standing: Vec<&Credential> =
            book.all().filter(|credential| credential.revoked.is_none()).collect();
        for one in &standing {
            let of_one = Permissions::of(&one.name, &one.sensors, one.reporting.as_ref());
            for subject in of_one.publish.iter().chain(&of_one.subscribe) {
                prop_assert!(!subject.as_str().contains(['*', '>', '$', ' ']));
            }
            // Its own messages cannot be taken for each other.
            prop_assert!(of_one.publish.is_disjoint(&of_one.subscribe));
            for other in standing.iter().filter(|other| other.name != one.name) {
                let of_other = Permissions::of(&other.name, &other.sensors, other.reporting.as_ref());
                prop_assert!(of_one.subscribe.is_disjoint(&of_other.subscribe));
                prop_assert!(of_one.publish.is_disjoint(&of_other.subscribe));
                let beats = |credential: &Credential| -> BTreeSet<Subject> {
                    let sensors = credential.sensors.iter();
                    sensors.map(|sensor| sensor.topics.heartbeat.clone()).collect()
                };
                let both = of_one.publish.intersection(&of_other.publish);
                let (beats, others) = (beats(one), beats(other));
                for shared in both {
                    prop_assert!(beats.contains(shared) && others.contains(shared));
                }
            }
        }
        let restored = Book::restore(book.all().cloned().collect()).unwrap();
        prop_assert_eq!(restored.describe(), book.describe());
        // A pattern on which a site hears heartbeats reaches no poll of a named sensor.
        let pattern = Pattern::parse("*.heartbeat").unwrap();
        prop_assert!(!pattern.matches(&Topics::below(&name("a")).poll));
    }
}
