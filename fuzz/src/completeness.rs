//! Logs of others, an envelope a line: the account of their polls ends and stays small, and nobody
//! without the first key follows it with another.

use key_history::{KeyEvent, KeyHistory};
use model::{
    Envelope,
    completeness::{Completeness, Listed},
};

pub(crate) fn run(lines: &[u8]) {
    let mut whole = Completeness::of_log();
    let mut part = Completeness::of_part();
    let mut events = Vec::new();
    for (leaf, line) in (0..).zip(lines.split(|byte| *byte == b'\n')) {
        let Ok(envelope) = Envelope::parse(line) else {
            whole.take_erased();
            part.take_erased();
            continue;
        };
        whole.take(leaf, &envelope.event);
        part.take(leaf, &envelope.event);
        events.push(KeyEvent { leaf, envelope: line.to_owned() });
    }
    for completeness in [&whole, &part] {
        for (_sensor, account) in completeness.accounts() {
            is_short(account.unaccounted());
            is_short(account.perhaps_erased());
            is_short(account.doubled());
            is_short(account.gaps());
            is_short(account.breaks());
        }
    }
    let all_complete = whole.accounts().all(|(_sensor, account)| account.is_complete());
    assert_eq!(whole.is_complete(), all_complete);
    assert!(KeyHistory::follow(&events, None).is_err() || events.len() == 1);
}

fn is_short<T>(listed: &Listed<T>) {
    assert!(listed.listed().len() <= Listed::<T>::LISTED_MAX);
    assert!(listed.listed().len() as u64 <= listed.count());
}
