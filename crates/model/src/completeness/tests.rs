//! Sealed events in words: `7` is a reading of poll 7, `4-6` a gap event, `?` a reading without a number.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

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

fn gap(action: &str, missing: Option<&str>, reason: &str) -> Event {
    let missing = missing.map(String::from);
    event(action, Detail { missing, reason: Some(reason.into()), ..Detail::default() })
}

fn sealed(word: &str) -> Event {
    if word.contains('-') {
        return gap(action::READINGS_MISSING, Some(word), "bus_away");
    }
    event(action::SENSOR_READING, Detail { poll: word.parse().ok(), ..Detail::default() })
}

fn account(words: &str) -> Account {
    let mut account = Account::default();
    for (leaf, word) in (0..).zip(words.split(' ')) {
        account.take(leaf, &sealed(word));
    }
    account
}

fn told(findings: &[Finding]) -> String {
    let texts: Vec<String> =
        findings.iter().map(|finding| format!("{}@{}", finding.polls, finding.leaf)).collect();
    texts.join(" ")
}

#[test]
fn every_number_is_accounted_for_once_or_named() {
    for (words, polls, unaccounted, doubled) in [
        ("1 2 3", "1-3", "", ""),
        ("1 2-4 5", "1-5", "", ""),
        ("41 42", "41-42", "", ""),    // a window of the log
        ("41-43 44", "41-44", "", ""), // that begins with a gap
        ("1 2 5", "1-5", "3-4@2", ""), // two were left out
        ("1 4-6 9", "1-9", "2-3@1 7-8@2", ""),
        ("1 2 2 3", "1-3", "", "2@2"),   // sealed twice
        ("1 2 2-4 5", "1-5", "", "2@2"), // a reading that is said to be missing
        ("1 2-4 3 5", "1-5", "", "3@2"), // the other way round
        ("1 2-4 3-6", "1-6", "", "3-4@2"),
        ("5 6 4", "5-6", "", "4@2"), // below the window: given before
        ("1 9 4", "1-9", "2-3@1 5-8@1", ""), // a hole is filled in part
        ("1 9 2-8", "1-9", "", ""),
        ("1 4 7 2-8", "1-8", "", "4@3 7@3"), // fills two, doubles what is between them
        ("1 4 7 3-6", "1-7", "2@1", "4@3"),
        ("1 3 9 1-9", "1-9", "", "1@3 3@3 9@3"),
        ("? ? 1 2", "1-2", "", ""), // a log that began without numbers
    ] {
        let account = account(words);
        assert_eq!(account.polls().unwrap().to_string(), polls, "{words}");
        assert_eq!(told(account.unaccounted()), unaccounted, "{words}");
        assert_eq!(told(account.doubled()), doubled, "{words}");
        assert_eq!(account.is_complete(), unaccounted.is_empty() && doubled.is_empty());
    }
}

#[test]
fn what_the_log_declares_is_listed_with_its_leaf() {
    let mut checked = Completeness::default();
    let events = [
        sealed("411"),
        gap(action::READINGS_MISSING, Some("412-430"), "bus_away"),
        gap(action::SEQUENCE_BROKEN, Some("7-9"), "not_sealed"),
        gap(action::SEQUENCE_BROKEN, None, "restarted"),
        sealed("431"),
        Event::default(), // of no sensor
    ];
    for (leaf, event) in (10..).zip(&events) {
        checked.take(leaf, event);
    }
    let account = checked.account(SENSOR).unwrap();
    let gaps: Vec<_> = account
        .gaps()
        .iter()
        .map(|gap| (gap.leaf, gap.count, gap.missing.map(|range| range.to_string()), &*gap.reason))
        .collect();
    assert_eq!(
        gaps,
        [
            (11, Count::Polls, Some("412-430".into()), "bus_away"),
            (12, Count::Sequence, Some("7-9".into()), "not_sealed"),
            (13, Count::Sequence, None, "restarted"),
        ]
    );
    assert!(checked.is_complete());
    assert_eq!(checked.accounts().len(), 1);
}

#[test]
fn what_names_no_poll_accounts_for_none() {
    let account = account("1 ? 4-x 0 5");
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
    ] {
        assert_eq!(SequenceBreak::between(last, seq), broken, "{last} {seq}");
    }
}

/// One or several numbers of 1 to 40.
fn range() -> impl Strategy<Value = NumberRange> {
    (1_u64..36, 0_u64..5).prop_map(|(first, more)| NumberRange::one(first).through(first + more))
}

proptest! {
    #[test]
    fn agrees_with_counting_each_number(ranges in prop::collection::vec(range(), 1..40)) {
        let mut account = Account::default();
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        let mut again: BTreeMap<u64, u32> = BTreeMap::new();
        let start = ranges.first().unwrap().first();
        for (leaf, range) in (0..).zip(&ranges) {
            account.take(leaf, &sealed(&if range.count() == 1 { range.first().to_string() } else { range.to_string() }));
            for number in range.first()..=range.last() {
                let seen = times.entry(number).or_default();
                if number < start || *seen > 0 {
                    *again.entry(number).or_default() += 1;
                }
                *seen += 1;
            }
        }
        let last = ranges.iter().map(|range| range.last()).max().unwrap();
        prop_assert_eq!(account.polls(), NumberRange::new(start, last));
        let holes: Vec<u64> = (start..=last).filter(|number| !times.contains_key(number)).collect();
        let found: Vec<u64> = account
            .unaccounted()
            .iter()
            .flat_map(|finding| finding.polls.first()..=finding.polls.last())
            .collect();
        prop_assert_eq!(found, holes);
        let mut doubled: BTreeMap<u64, u32> = BTreeMap::new();
        for Finding { polls, .. } in account.doubled() {
            for number in polls.first()..=polls.last() {
                *doubled.entry(number).or_default() += 1;
            }
        }
        prop_assert_eq!(doubled, again);
    }

    #[test]
    fn a_window_of_a_complete_log_is_complete(lengths in prop::collection::vec(1_u64..5, 1..40), from in 0_usize..40) {
        let mut next = 1;
        let events: Vec<Event> = lengths
            .iter()
            .map(|length| {
                let range = NumberRange::one(next).through(next + length - 1);
                next += length;
                sealed(&range.to_string())
            })
            .collect();
        let mut checked = Completeness::default();
        for (leaf, event) in (0..).zip(events.iter().skip(from)) {
            checked.take(leaf, event);
        }
        prop_assert!(checked.is_complete());
        let newest = events.iter().fold(LastNumbers::default(), LastNumbers::after);
        prop_assert_eq!(newest.poll, next - 1);
    }
}
