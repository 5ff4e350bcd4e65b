//! Faults as a file says them, and when they show.

use std::{collections::BTreeSet, fmt::Write as _};

use proptest::prelude::*;

use super::{fault::Glob, outage::Span, *};
use crate::fleet::{REFERENCE_LEN, fleet};

const SEED: u64 = 7;

fn faults(text: &str) -> Faults {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// How the sensor at `index` treats its first poll, which comes at this second of the run.
#[track_caller]
fn treated(faults: &Faults, index: u32, at: f64) -> Treatment<'_> {
    let own = faults.of(&SensorSpec::at(index), SEED);
    // The treatment borrows from the file alone.
    faults.treatment(&own, (SEED, index), 1, seconds(at))
}

#[test]
fn a_fault_shows_in_its_time_and_at_its_sensors_alone() {
    let faults = faults("[[stuck]]\nsensors = \"Temp*\"\nfrom_s = 10\nfor_s = 5.5");
    for (index, at, is_stuck) in [
        (0, 9.999, false),
        (0, 10.0, true), // TempSensor01
        (0, 15.499, true),
        (0, 15.5, false),
        (1, 12.0, false), // FAULTY_HumiditySensor-A1
        (15, 12.0, true), // TempSensor02
    ] {
        assert_eq!(treated(&faults, index, at).is_stuck, is_stuck, "{index} at {at} s");
    }
}

#[test]
fn faults_of_one_sensor_add_up() {
    let faults = faults(
        r#"
        [[delay]]
        by_ms = [100, 100]
        [[delay]]
        by_ms = [20, 20]
        [[drift]]
        from_s = 3600
        per_hour = -2
        [[drift]]
        per_hour = 1.5
        [[clock_jump]]
        by_s = -86400
        [[clock_jump]]
        by_s = 0.5
        [[wrong]]
        payload = "23.5C"
        "#,
    );
    let Treatment { is_silent, delay, wrong, is_stuck, drift, clock_micros } =
        treated(&faults, 3, 7_200.0);
    assert_eq!((is_silent, is_stuck, wrong), (false, false, Some("23.5C")));
    assert_eq!(delay, Duration::from_millis(120));
    assert!((drift - 1.0).abs() < 1e-9, "{drift}");
    assert_eq!(clock_micros, -86_399_500_000);
}

#[test]
fn a_share_of_the_sensors_is_the_same_in_every_run_of_a_seed() {
    let faults = faults("[[flood]]\nshare = 0.25\nper_second = 9");
    let floods = |seed| -> BTreeSet<u32> {
        let of = |spec: SensorSpec| {
            let own = faults.of(&spec, seed);
            (faults.flood_per_second(&own, Duration::ZERO) == 9).then_some(spec.index)
        };
        fleet(1_000).filter_map(of).collect()
    };
    assert!((200..300).contains(&floods(SEED).len()), "{}", floods(SEED).len());
    assert_eq!(floods(SEED), floods(SEED));
    assert_ne!(floods(SEED), floods(8));
}

#[test]
fn two_faults_strike_sensors_of_their_own() {
    let faults = faults("[[stuck]]\nshare = 0.5\n[[stuck]]\nshare = 0.5");
    let own: BTreeSet<_> = fleet(REFERENCE_LEN).map(|spec| faults.of(&spec, SEED)).collect();
    assert_eq!(own.len(), 4, "neither, one, the other, and both");
}

#[test]
fn silence_comes_with_its_probability_and_is_repeated() {
    let faults = faults("[[silence]]\nprobability = 0.3");
    let own = faults.of(&SensorSpec::at(2), SEED);
    let silent = |poll| faults.treatment(&own, (SEED, 2), poll, Duration::ZERO).is_silent;
    let polls: Vec<bool> = (1..=10_000).map(silent).collect();
    let silences = polls.iter().filter(|silent| **silent).count();
    assert!((2_800..3_200).contains(&silences), "{silences}");
    assert_eq!(polls, (1..=10_000).map(silent).collect::<Vec<_>>());
}

#[test]
fn a_flood_says_when_it_changes() {
    let faults = faults(
        "[[flood]]\nper_second = 5\nfrom_s = 2\nfor_s = 4\n[[flood]]\nper_second = 7\nfrom_s = 4",
    );
    let own = faults.of(&SensorSpec::at(0), SEED);
    for (at, per_second, next) in
        [(0.0, 0, Some(2.0)), (2.0, 5, Some(4.0)), (4.0, 12, Some(6.0)), (6.0, 7, None)]
    {
        assert_eq!(faults.flood_per_second(&own, seconds(at)), per_second, "{at}");
        assert_eq!(faults.next_flood_change(&own, seconds(at)), next.map(seconds), "{at}");
    }
}

#[test]
fn a_storm_of_reboots_is_spread_and_ends() {
    let faults = faults(
        "[[reboot]]\nfrom_s = 10\nfor_s = 25\noutage = { off_ms = 2000, spread_ms = 500, every_s = 10 }",
    );
    let mut begins = BTreeSet::new();
    for index in 0..20 {
        let own = faults.of(&SensorSpec::at(index), SEED);
        let of = (SEED, index);
        let off = |millis: u64| faults.off_until(&own, of, Duration::from_millis(millis));
        let first = (0..60_000).find(|millis| off(*millis).is_some()).unwrap();
        assert!((10_000..=10_501).contains(&first), "{first}");
        begins.insert(first);
        let boots = |at: f64| faults.boots(&own, of, seconds(at));
        // Begins at 10, 20 and 30 s.
        for (at, count) in
            [(9.0, 0), (11.0, 0), (13.0, 1), (23.0, 2), (31.0, 2), (33.0, 3), (99.0, 3)]
        {
            assert_eq!(boots(at), count, "{index} at {at} s");
        }
        let next = faults.next_boot(&own, of, seconds(13.0)).unwrap();
        assert!((22.0..22.6).contains(&next.as_secs_f64()), "{next:?}");
        assert_eq!(faults.next_boot(&own, of, seconds(33.0)), None);
    }
    assert!(begins.len() > 10, "they do not all begin at once: {begins:?}");
}

#[test]
fn a_connection_breaks_if_one_of_its_sensors_has_a_will() {
    let faults =
        faults("[[will]]\nsensors = \"TempSensor01\"\nfrom_s = 5\noutage = { off_ms = 1000 }");
    let own: Vec<Own> = fleet(2).map(|spec| faults.of(&spec, SEED)).collect();
    let [temperature, humidity] = own.as_slice() else { panic!("two") };
    let shared = faults.of_connection([temperature, humidity].into_iter());
    let of = (SEED, 0);
    assert_eq!(faults.next_break(&shared, of, seconds(0.0)), Some(seconds(5.0)));
    assert_eq!(faults.away_until(&shared, of, seconds(5.5)), Some(seconds(6.0)));
    assert_eq!(faults.next_break(&shared, of, seconds(5.0)), None);
    assert!(faults.of_connection([humidity].into_iter()).is_empty());
}

#[test]
fn what_a_file_may_not_say_is_named_with_its_line() {
    for (text, line, said) in [
        ("[[silense]]", 1, "silense"),
        ("[[stuck]]\nshare = 0.5\nshre = 1", 3, "shre"),
        ("[[stuck]]\nshare = 1.5", 2, "from 0 to 1"),
        ("[[stuck]]\nfrom_s = -1", 2, "seconds from 0"),
        ("[[stuck]]\nsensors = \"\"", 2, "a name is expected"),
        ("\n\n[[delay]]\nshare = 1", 3, "by_ms"),
        ("[[delay]]\nby_ms = [2, 1]", 2, "the least and then the most"),
        ("[[delay]]\nby_ms = -1", 2, "invalid type"),
        ("[[drift]]\nper_hour = inf", 2, "finite"),
        ("[[flood]]\nper_second = 0", 2, "from 1 to 10000"),
        ("[[clock_jump]]\nby_s = 1e10", 2, "-1,000,000,000"),
        ("[[reboot]]\noutage = { off_ms = 900, spread_ms = 100, every_s = 1 }", 2, "longer than"),
        ("[[reboot]]\noutage = { of_ms = 900 }", 2, "of_ms"),
        ("[[will]]\noutage = 3", 2, "invalid type"),
        ("stuck = 1", 1, "invalid type"),
        ("[[stuck]", 1, "expected"),
    ] {
        let error = text.parse::<Faults>().unwrap_err().to_string();
        assert!(error.contains(&format!("line {line}, ")), "{text}: {error}");
        assert!(error.contains(said), "{text}: {error}");
    }
    let payload = format!("[[wrong]]\npayload = \"{}\"", "x".repeat(20_000));
    assert!(payload.parse::<Faults>().unwrap_err().to_string().contains("at most 16384 bytes"));
    let mut many = String::new();
    (0..=file::COUNT_MAX).for_each(|_| many.write_str("[[stuck]]\n").unwrap());
    let error = many.parse::<Faults>().unwrap_err().to_string();
    assert_eq!(error, "257 faults are too many: a file has at most 256");
}

#[test]
fn the_example_of_the_docs_has_each_fault() {
    let page = include_str!("../../../../docs/simulator.md");
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let Faults(faults) = faults(example);
    let kinds: BTreeSet<_> =
        faults.iter().map(|fault| format!("{:?}", core::mem::discriminant(&fault.what))).collect();
    assert_eq!(kinds.len(), 10, "{faults:?}");
}

proptest! {
    #[test]
    fn a_pattern_matches_as_a_plain_search_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
        /// Tries every way.
        fn matches(pattern: &str, text: &str) -> bool {
            let mut rest = pattern.chars();
            match rest.next() {
                None => text.is_empty(),
                Some('*') => (0..=text.len()).any(|at| matches(rest.as_str(), &text[at..])),
                Some(letter) => {
                    text.strip_prefix(letter).is_some_and(|text| matches(rest.as_str(), text))
                }
            }
        }
        prop_assert_eq!(Glob(pattern.clone()).matches(&text), matches(&pattern, &text));
    }

    #[test]
    fn whoever_is_off_comes_back_when_it_was_told(
        (off, spread, gap) in (1_u64..5_000, 0_u64..2_000, 1_u64..5_000),
        repeats: bool,
        lasts in prop::option::of(0_u64..60_000),
        from in 0_u64..10_000,
        whose: u64,
    ) {
        let millis = Duration::from_millis;
        let every = repeats.then_some(millis(off + spread + gap));
        let outage = Outage::new(millis(off), millis(spread), every).unwrap();
        let when = Span { from: millis(from), lasts: lasts.map(millis) };
        let outages = outage.of(when, SEED, [1, whose]);
        let mut at = Duration::ZERO;
        let mut ended = 0;
        for _ in 0..20 {
            prop_assert_eq!(outages.ended(at), ended);
            prop_assert_eq!(outages.off_until(at), None);
            let Some(begin) = outages.next_begin(at) else { break };
            let end = begin + millis(off);
            prop_assert_eq!(outages.next_end(at), Some(end));
            prop_assert_eq!(outages.off_until(begin), Some(end));
            prop_assert_eq!(outages.off_until(end - millis(1)), Some(end));
            prop_assert_eq!(outages.ended(end - millis(1)), ended);
            (at, ended) = (end, ended + 1);
        }
    }
}
