//! The tables abbreviate sealed events: `7` is a reading of poll 7, `4-6` a gap event, `?` a
//! reading without a number, `x` an erased envelope.

use alloc::{format, string::ToString as _, vec};

use proptest::prelude::*;

use super::*;
use crate::event::Detail;

const SENSOR: SensorId = SensorId::from_bytes([7; 16]);

fn event(action: &str, detail: Detail) -> Event {
    Event {
        action: Some(action.into()),
        sealwire: Some(Detail { sensor: Some(SENSOR), ..detail }),
        ..Event::default()
    }
}

fn reading(poll: Option<u64>, seq: Option<u64>) -> Event {
    event(action::SENSOR_READING, Detail { poll, seq, ..Detail::default() })
}

fn gap(missing: &str, reason: &str) -> Event {
    let (missing, reason) = (Some(missing.into()), Some(reason.into()));
    event(action::READINGS_MISSING, Detail { missing, reason, ..Detail::default() })
}

fn sealed(word: &str) -> Event {
    if word.contains('-') { gap(word, "bus_away") } else { reading(word.parse().ok(), None) }
}

fn account(mut checked: Completeness, words: &str) -> Account {
    for (leaf, word) in (0..).zip(words.split(' ')) {
        match word {
            "x" => checked.take_erased(),
            _ => checked.take(leaf, &sealed(word)),
        }
    }
    checked.account(SENSOR).unwrap().clone()
}

fn told(findings: &Listed<PollsAt>) -> String {
    let texts = findings.listed().iter().map(|PollsAt { leaf, polls }| format!("{polls}@{leaf}"));
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_number_is_accounted_for_once_or_named() {
    for (words, polls, unaccounted, perhaps_erased, doubled) in [
        ("1 2 3", "1-3", "", "", ""),
        ("1 2-4 5", "1-5", "", "", ""),
        ("41 42", "41-42", "", "", ""),    // a window of the log
        ("41-43 44", "41-44", "", "", ""), // that begins with a gap
        ("1 2 5", "1-5", "3-4@2", "", ""), // two were left out
        ("1 4-6 9", "1-9", "2-3@1 7-8@2", "", ""),
        ("1 x 4 x 5 9", "1-9", "6-8@5", "2-3@2", ""), // an erased envelope may explain one hole
        ("1 2 2 3", "1-3", "", "", "2@2"),            // sealed twice
        ("1 2 2-4 5", "1-5", "", "", "2@2"),          // a reading that is said to be missing
        ("1 2-4 3 5", "1-5", "", "", "3@2"),          // the other way round
        ("1 2-4 3-6", "1-6", "", "", "3-4@2"),
        ("5 6 4", "5-6", "", "", "4@2"), // below the window: it had its turn
        ("1 3 2 4", "1-4", "2@1", "", "2@2"), // out of order is both
        ("? ? 1 2", "1-2", "", "", ""),  // a log that began without numbers
    ] {
        let account = account(Completeness::of_part(), words);
        assert_eq!(account.polls().unwrap().to_string(), polls, "{words}");
        assert_eq!(told(account.unaccounted()), unaccounted, "{words}");
        assert_eq!(told(account.perhaps_erased()), perhaps_erased, "{words}");
        assert_eq!(told(account.doubled()), doubled, "{words}");
        assert_eq!(account.is_complete(), unaccounted.is_empty() && doubled.is_empty());
    }
}

#[test]
fn nothing_is_due_in_a_pause_and_the_check_says_from_when_to_when() {
    let mut checked = Completeness::of_log();
    let pause = || event(action::POLLS_PAUSED, Detail::default());
    for (leaf, event) in (0..).zip([
        reading(Some(1), None),
        event(action::POLLS_RESUMED, Detail::default()), // of no pause
        pause(),
        reading(Some(2), None), // ordered meanwhile
        event(action::POLLS_RESUMED, Detail::default()),
        reading(Some(3), None),
        pause(),
        event(action::SENSOR_FORGOTTEN, Detail::default()),
        pause(),
    ]) {
        checked.take(leaf, &event);
    }
    let account = checked.account(SENSOR).unwrap();
    let pauses = [(2, Some(4)), (6, Some(7)), (8, None)].map(|(from, to)| Pause { from, to });
    assert_eq!(account.pauses().listed(), pauses);
    assert!(account.is_complete() && account.missing() == 0);
    assert_eq!(account.polls().unwrap().to_string(), "1-3");
}

#[test]
fn a_whole_log_begins_with_one() {
    assert!(account(Completeness::of_log(), "1 2").is_complete());
    assert!(account(Completeness::of_log(), "? 1-7 8").is_complete());
    assert_eq!(told(account(Completeness::of_log(), "4 5").unaccounted()), "1-3@0");
    assert_eq!(told(account(Completeness::of_log(), "x 4 5").perhaps_erased()), "1-3@1");
}

#[test]
fn what_the_log_declares_is_listed_with_its_leaf() {
    let mut checked = Completeness::of_part();
    let events = [
        reading(Some(411), Some(8)),
        gap("412-430", "bus_away"),
        gap("431-440", "bus_away"), // a minute later
        gap("441", "stopped"),
        reading(Some(442), Some(12)),
        reading(Some(443), Some(12)),
        reading(Some(444), None), // said without a number
        reading(Some(445), Some(3)),
        event(action::SENSOR_DISCONNECTED, Detail::default()),
        Event::default(), // of no sensor
    ];
    for (leaf, event) in (10..).zip(&events) {
        checked.take(leaf, event);
    }
    let account = checked.account(SENSOR).unwrap();
    let gaps: Vec<_> = account
        .gaps()
        .listed()
        .iter()
        .map(|gap| (gap.leaf, gap.polls.to_string(), &*gap.reason))
        .collect();
    assert_eq!(gaps, [(11, "412-440".into(), "bus_away"), (13, "441".into(), "stopped")]);
    assert_eq!(account.missing(), 30);
    let breaks: Vec<_> =
        account.breaks().listed().iter().map(|Break { leaf, broken }| (*leaf, *broken)).collect();
    let unsealed = NumberRange::new(9, 11).unwrap();
    assert_eq!(
        breaks,
        [
            (14, SequenceBreak::NotSealed(unsealed)),
            (15, SequenceBreak::Repeated),
            (17, SequenceBreak::Restarted)
        ]
    );
    assert!(checked.is_complete());
    assert_eq!(checked.accounts().len(), 1);
}

#[test]
fn a_list_is_bounded_and_counts_on() {
    let max = u64::try_from(Listed::<Gap>::LISTED_MAX).unwrap();
    let mut checked = Completeness::of_log();
    for number in 1..=max + 7 {
        let long = format!("{number} ").repeat(100);
        checked.take(number, &gap(&number.to_string(), &long));
    }
    let gaps = checked.account(SENSOR).unwrap().gaps();
    assert_eq!((gaps.count(), gaps.listed().len() as u64), (max + 7, max));
    let longest = gaps.listed().iter().map(|gap| gap.reason.chars().count()).max();
    assert_eq!(longest, Some(Gap::REASON_CHARS_MAX));
}

#[test]
fn what_names_no_poll_accounts_for_none() {
    let account = account(Completeness::of_log(), "1 ? 4-x 0 5");
    assert_eq!(told(account.unaccounted()), "2-4@4");
    assert_eq!(account.unnumbered(), 3);
    let newest = LastNumbers::default().after(&sealed("9-7"));
    assert_eq!(newest, LastNumbers::default());
}

#[test]
fn a_count_that_does_not_go_on_by_one_is_broken() {
    for (last, seq, broken) in [
        (411, 412, None),
        (411, 413, Some(SequenceBreak::NotSealed(NumberRange::one(412)))),
        (411, 431, Some(SequenceBreak::NotSealed(NumberRange::one(412).through(430)))),
        (411, 411, Some(SequenceBreak::Repeated)),
        (411, 0, Some(SequenceBreak::Restarted)),
        (u64::MAX, u64::MAX, Some(SequenceBreak::Repeated)),
        (0, u64::MAX, None), // beyond what any answer can say
    ] {
        assert_eq!(SequenceBreak::between(last, seq), broken, "{last} {seq}");
    }
}

#[test]
fn the_newest_numbers_follow_the_log() {
    let at = |moment: i64, event: Event| {
        let timestamp = Some(Timestamp::from_unix_micros(moment).to_string());
        Event { timestamp, ..event }
    };
    let events = [
        (at(1, event(action::SENSOR_DISCOVERED, Detail::default())), (0, None, Some(1))),
        (at(2, reading(Some(1), Some(70))), (1, Some(70), Some(2))),
        (at(3, gap("2-9", "bus_away")), (9, Some(70), Some(3))),
        (at(4, event(action::HEARTBEAT_MISSED, Detail::default())), (9, Some(70), Some(3))),
        (at(5, event(action::HEARTBEAT_RESUMED, Detail::default())), (9, Some(70), Some(5))),
        (reading(Some(10), None), (10, Some(70), Some(5))), // says no time
        (at(4, reading(Some(11), None)), (11, Some(70), Some(5))), // a reading that was held
    ];
    let mut last = LastNumbers::default();
    for (event, (poll, seq, until)) in &events {
        last = last.after(event);
        let numbered_until = until.map(Timestamp::from_unix_micros);
        let expected = LastNumbers { poll: *poll, seq: *seq, numbered_until, ..last };
        assert_eq!(last, expected);
        assert!(!last.set_back && !last.answered);
    }
}

#[test]
fn a_count_that_begins_anew_is_told_from_one_with_gaps() {
    let started = || Event {
        action: Some(action::SITE_STARTED.into()),
        sealwire: Some(Detail::default()),
        ..Event::default()
    };
    let away = |action: &str| event(action, Detail::default());
    for (between, begins_anew) in [
        (vec![started()], true),
        (vec![away(action::HEARTBEAT_MISSED), away(action::HEARTBEAT_RESUMED)], true),
        (vec![away(action::SENSOR_DISCONNECTED)], true),
        (vec![away(action::SENSOR_REPLACED)], true),
        (vec![away(action::DOUBLE_SETTLED)], true),
        (vec![away(action::SENSOR_FORGOTTEN), away(action::SENSOR_ADDED)], true),
        (vec![gap("2-9", "stopped")], true), // a bundle has no start of the site
        (vec![gap("2-9", "bus_away")], false),
        (vec![away(action::OUT_OF_RANGE)], false),
        (vec![Event { sealwire: None, ..started() }], false), // a program says so
        (vec![], false),
    ] {
        for (last, seq, is_anew) in [
            (5_000, 1, begins_anew),
            (5_000, 100, begins_anew),
            (5_000, 101, false),    // no small number
            (5_000, 70_000, false), // it counted on
            (5_000, 5_000, false),
        ] {
            let mut checked = Completeness::of_part();
            checked.take(0, &reading(None, Some(last)));
            for event in &between {
                checked.take(1, event);
            }
            checked.take(2, &reading(None, Some(seq)));
            checked.take(3, &reading(None, Some(seq + 1)));
            let account = checked.account(SENSOR).unwrap();
            assert_eq!(account.begun_anew(), u64::from(is_anew), "{between:?} {seq}");
            assert_eq!(account.breaks().count(), u64::from(!is_anew), "{between:?} {seq}");
        }
    }
}

#[test]
fn a_gap_of_which_nobody_knows_the_length_is_complete() {
    let uncounted = event(
        action::READINGS_MISSING,
        Detail { reason: Some(UNCOUNTED.into()), ..Detail::default() },
    );
    let mut checked = Completeness::of_log();
    for (leaf, event) in (0..).zip([reading(Some(1), None), uncounted, reading(Some(2), None)]) {
        checked.take(leaf, &event);
    }
    let account = checked.account(SENSOR).unwrap();
    assert!(account.is_complete());
    assert_eq!((account.uncounted(), account.unnumbered(), account.missing()), (1, 0, 0));
}

#[test]
fn a_clock_that_was_set_back_makes_the_time_before_unknown() {
    const HOUR: i64 = 3_600_000_000;
    let reading = |hour: i64| Event {
        timestamp: Some(Timestamp::from_unix_micros(hour * HOUR).to_string()),
        status: Some("SUCCESS".into()),
        ..reading(Some(1), None)
    };
    let uncounted = |hour: i64| Event {
        status: None,
        ..Event {
            sealwire: event("", Detail { reason: Some(UNCOUNTED.into()), ..Detail::default() })
                .sealwire,
            action: Some(action::READINGS_MISSING.into()),
            ..reading(hour)
        }
    };
    for (events, until, set_back) in [
        (vec![reading(5), reading(6)], 6, false),
        (vec![reading(5), reading(1)], 5, true),
        (vec![reading(5), reading(1), reading(2)], 5, true),
        (vec![reading(5), reading(1), reading(6)], 6, false), // it was set right again
        (vec![reading(5), uncounted(1), reading(2)], 2, false), // the log says so, and counts from there
        (vec![reading(5), uncounted(1), reading(2), reading(0)], 2, true),
    ] {
        // For every split of the events in two.
        for cut in 0..=events.len() {
            let (first, second) = events.split_at(cut);
            let fold =
                |events: &[Event]| events.iter().fold(LastNumbers::default(), LastNumbers::after);
            let last = fold(first).then(fold(second));
            let known = (last.numbered_until, last.set_back, last.answered);
            assert_eq!(
                known,
                (Some(Timestamp::from_unix_micros(until * HOUR)), set_back, true),
                "{cut}"
            );
        }
    }
}

/// One or several numbers of 1 to 40.
fn range() -> impl Strategy<Value = NumberRange> {
    (1_u64..36, 0_u64..5).prop_map(|(first, more)| NumberRange::one(first).through(first + more))
}

fn numbers_of(findings: &Listed<PollsAt>) -> Vec<u64> {
    findings
        .listed()
        .iter()
        .flat_map(|finding| finding.polls.first()..=finding.polls.last())
        .collect()
}

proptest! {
    #[test]
    fn agrees_with_counting_each_number(ranges in prop::collection::vec(range(), 1..40)) {
        let mut checked = Completeness::of_log();
        let mut newest = 0;
        let (mut passed, mut again) = (vec![], vec![]);
        for (leaf, range) in (0..).zip(&ranges) {
            checked.take(leaf, &gap(&range.to_string(), "bus_away"));
            passed.extend(newest + 1..range.first());
            again.extend((range.first()..=range.last()).filter(|number| *number <= newest));
            newest = newest.max(range.last());
        }
        let account = checked.account(SENSOR).unwrap();
        prop_assert_eq!(account.polls().unwrap().last(), newest);
        prop_assert_eq!(numbers_of(account.unaccounted()), passed);
        prop_assert_eq!(numbers_of(account.doubled()), again);
    }

    #[test]
    fn a_window_of_a_complete_log_is_complete(
        lengths in prop::collection::vec(1_u64..5, 1..40),
        from in 0_usize..40,
    ) {
        let mut next = 1;
        let events: Vec<Event> = lengths
            .iter()
            .map(|length| {
                let range = NumberRange::one(next).through(next + length - 1);
                next += length;
                sealed(&range.to_string())
            })
            .collect();
        let mut checked = Completeness::of_part();
        for (leaf, event) in (0..).zip(events.iter().skip(from)) {
            checked.take(leaf, event);
        }
        prop_assert!(checked.is_complete());
        let newest = events.iter().fold(LastNumbers::default(), LastNumbers::after);
        prop_assert_eq!(newest.poll, next - 1);
    }
}

#[test]
fn what_a_device_reports_by_itself_is_asked_for_by_its_interval_alone() {
    let pushed = |poll| {
        event(
            action::SENSOR_READING,
            Detail { poll, rule: Some("tasmota".into()), ..Detail::default() },
        )
    };
    let mut checked = Completeness::of_log();
    for (leaf, poll) in (0..).zip([None, None]) {
        checked.take(leaf, &pushed(poll));
    }
    let account = checked.account(SENSOR).unwrap();
    assert_eq!((account.not_asked(), account.unnumbered(), account.polls()), (2, 0, None));
    // With an interval, a number that is left out shows, and what comes besides does not count.
    for (leaf, poll) in (2..).zip([Some(1), None, Some(3)]) {
        checked.take(leaf, &pushed(poll));
    }
    let account = checked.account(SENSOR).unwrap();
    assert_eq!((account.not_asked(), told(account.unaccounted()).as_str()), (3, "2@4"));
}
