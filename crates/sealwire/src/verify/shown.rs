//! What a check shows, line by line, and what it does not show.

use anyhow::{Context as _, Result};
use ledger::verify::KeyHistory;
use tlog::{Checkpoint, Policy, SignedNote, VerifierKey};

use crate::{output, policy};

/// Leaves between two lines of progress.
const PROGRESS_LEAVES: u64 = 1_000_000;

/// What a check shows in which nothing was found wrong. Where there was nothing to find anything
/// in, that is no evidence of anything.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// What was asked for and there was nothing to show it by, one line each.
    not_shown: Vec<String>,
}

impl Shown {
    /// Asks for something to be shown; says so if it is not.
    pub(super) fn demand(&mut self, is_shown: bool, not_shown: impl FnOnce() -> String) {
        if !is_shown {
            self.not_shown.push(not_shown());
        }
    }

    /// The last words: all that was asked for is shown, or what is not.
    pub(super) fn conclude(self, what: &str, holds: &str) -> Result<()> {
        for words in &self.not_shown {
            output::line(&format!("  NOT SHOWN  {words}"));
        }
        if self.not_shown.is_empty() {
            output::line(holds);
            Ok(())
        } else {
            output::line(&format!(
                "nothing is wrong with {what}, but it does not show what was asked"
            ));
            Err(NotShown { what: what.to_owned(), words: self.not_shown.join("; ") }.into())
        }
    }
}

/// Nothing is wrong, and what was asked for is not shown.
#[derive(Debug, thiserror::Error)]
#[error("not shown by {what}: {words}")]
pub(crate) struct NotShown {
    what: String,
    words: String,
}

impl NotShown {
    /// Neither that of what holds nor that of what does not.
    pub(crate) const EXIT_CODE: u8 = 3;
}

pub(super) fn parse_vkey(vkey: Option<&str>) -> Result<Option<VerifierKey>> {
    vkey.map(VerifierKey::parse).transpose().context("--vkey is not a verifier key")
}

/// Holds a checkpoint against a policy, which must ask for something.
pub(super) fn check_policy(policy: &Policy, note: &SignedNote, shown: &mut Shown) -> Result<()> {
    let witnesses = policy::check(policy, note)?;
    shown.demand(witnesses > 0, || {
        format!(
            "no witness of the policy signed, and its quorum `{}` asks for none",
            policy.quorum()
        )
    });
    Ok(())
}

/// Who signed, and why that is believed. `named_by` is what names the key where none was given.
pub(super) fn report_keys(
    checkpoint: &Checkpoint,
    keys: &KeyHistory,
    was_given: bool,
    named_by: &str,
) {
    ok(&format!("the checkpoint is signed by {}", keys.at(checkpoint.size.get())));
    for (leaf, key) in keys.iter().skip(1) {
        ok(&format!("both keys signed that the log goes over to {key} at leaf {leaf}"));
    }
    if !was_given {
        output::line(&format!(
            "      that key is the one the {named_by} names itself: compare it with what its operator gave you, or pass --vkey"
        ));
    }
}

pub(super) fn ok(text: &str) {
    output::line(&format!("  ok  {text}"));
}

pub(crate) fn progress() -> impl FnMut(u64) {
    let mut next = PROGRESS_LEAVES;
    move |leaves| {
        if leaves >= next {
            output::note(&format!("      {leaves} leaves"));
            next = leaves + PROGRESS_LEAVES;
        }
    }
}
