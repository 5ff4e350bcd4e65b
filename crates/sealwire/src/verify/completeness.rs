//! The report of `sealwire verify --completeness` about a log's sensors.

use anyhow::{Result, ensure};
use model::{
    Envelope, SensorId,
    completeness::{Account, Break, Completeness, Gap, Listed, Pause, PollsAt},
    gap::SequenceBreak,
};

use super::shown::{Shown, ok};
use crate::output;

/// Lines about each kind of finding, for all sensors together. Nobody reads more.
const LINES_MAX: usize = 20;

/// Adds one leaf to the check. A leaf that holds no envelope has no numbers.
pub(super) fn take(checked: &mut Completeness, leaf: u64, envelope: Option<&[u8]>) {
    match envelope.map(Envelope::parse) {
        Some(Ok(envelope)) => checked.take(leaf, &envelope.event),
        Some(Err(_)) => {}
        None => checked.take_erased(),
    }
}

/// Prints the findings.
///
/// # Errors
/// A poll has no event that says how it ended, or two events name it. No site ever seals that, so
/// someone kept an event from the log or added one in another way. A poll that the log declares
/// missing is no error, and neither is one that an erasure may have removed.
pub(super) fn report(checked: &Completeness) -> Result<()> {
    let is_not_asked = |account: &Account| account.polls().is_none() && account.not_asked() > 0;
    let not_asked = checked.accounts().filter(|(_, account)| is_not_asked(account)).count();
    let sensors = checked.accounts().len() - not_asked;
    let incomplete = checked.accounts().filter(|(_, account)| !account.is_complete()).count();
    let sum = |of: fn(&Account) -> u64| -> u64 {
        checked.accounts().map(|(_, account)| of(account)).fold(0, u64::saturating_add)
    };
    let polls = sum(|account| account.polls().map_or(0, |polls| polls.count()));
    let (missing, gaps) = (sum(Account::missing), sum(|account| account.gaps().count()));
    if incomplete == 0 && sensors > 0 {
        let found = match sum(|account| account.perhaps_erased().count()) {
            0 => format!("all {polls} polls are accounted for"),
            _ => format!("all {polls} polls are accounted for, except where envelopes were erased"),
        };
        ok(&format!(
            "{sensors} sensors: {found}; {missing} polls are declared missing, in {gaps} gaps"
        ));
    }
    list(checked, Account::gaps, |Gap { leaf, polls, reason }| {
        format!("{polls} missing, {reason:?} (leaf {leaf})")
    });
    list(checked, Account::perhaps_erased, |PollsAt { leaf, polls }| {
        format!(
            "no event says how {polls} ended; envelopes before leaf {leaf} that may have said it were erased"
        )
    });
    list(checked, Account::breaks, |Break { leaf, broken }| {
        let words = match broken {
            SequenceBreak::NotSealed(range) => format!("skips {range}"),
            SequenceBreak::Repeated => "repeats a number".to_owned(),
            SequenceBreak::Restarted => "goes back".to_owned(),
        };
        format!("the sensor's own count {words} at leaf {leaf}")
    });
    let begun_anew = sum(Account::begun_anew);
    if begun_anew > 0 {
        output::line(&format!(
            "      {begun_anew} times a sensor's own count restarted after the sensor or the site was down"
        ));
    }
    let uncounted = sum(Account::uncounted);
    if uncounted > 0 {
        output::line(&format!(
            "      {uncounted} gaps have no poll numbers: the site's clock could not tell how long the site was down"
        ));
    }
    if not_asked > 0 {
        output::line(&format!(
            "      {not_asked} series: NOT ASKED. Devices report them by themselves and no rule declares an \
             interval, so nothing says how many readings there should be"
        ));
    }
    list(checked, Account::pauses, |Pause { from, to }| match to {
        Some(to) => {
            format!("NOT ASKED from leaf {from} to leaf {to}: its polls were paused by order")
        }
        None => format!("NOT ASKED since leaf {from}: its polls are paused by order"),
    });
    let unasked = sum(Account::not_asked);
    if unasked > 0 {
        output::line(&format!(
            "      {unasked} readings were reported without being due, and have no number"
        ));
    }
    let unnumbered = sum(Account::unnumbered);
    if unnumbered > 0 {
        output::line(&format!(
            "      {unnumbered} readings have no poll number: an earlier version of sealwire sealed them"
        ));
    }
    list(checked, Account::unaccounted, |PollsAt { leaf, polls }| {
        format!("UNACCOUNTED: no event before leaf {leaf} says how {polls} ended")
    });
    list(checked, Account::doubled, |PollsAt { leaf, polls }| {
        format!("DOUBLED: leaf {leaf} names {polls}, which earlier leaves already account for")
    });
    ensure!(
        incomplete == 0,
        "the log does not account for every poll of {incomplete} of {sensors} sensors"
    );
    Ok(())
}

/// Requires polls with numbers: if no event numbers a poll, the check shows nothing about polls.
pub(super) fn demand(checked: &Completeness, shown: &mut Shown) {
    let is_numbered = checked.accounts().any(|(_, account)| account.polls().is_some());
    shown.demand(is_numbered, || {
        String::from("no event has a poll number, so readings could be missing unnoticed")
    });
}

/// Prints the first findings of one kind, and how many more there are.
fn list<T>(
    checked: &Completeness,
    of: fn(&Account) -> &Listed<T>,
    describe: impl Fn(&T) -> String,
) {
    let all = checked.accounts().map(|(_, account)| of(account).count());
    let all = all.fold(0, u64::saturating_add);
    let listed = checked
        .accounts()
        .flat_map(|(sensor, account)| of(account).listed().iter().map(move |item| (sensor, item)));
    let mut said = 0;
    for (sensor, item) in listed.take(LINES_MAX) {
        output::line(&line(sensor, &describe(item)));
        said += 1;
    }
    if all > said {
        output::line(&format!("      and {} more like these", all - said));
    }
}

fn line(sensor: SensorId, text: &str) -> String {
    format!("      sensor {sensor}: {text}")
}
