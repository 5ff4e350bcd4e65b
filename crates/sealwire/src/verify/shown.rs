//! What a check shows and what it does not, line by line.

use anyhow::{Context as _, Result};
use ledger::verify::{KeyHistory, LogKeys};
use tlog::{Checkpoint, Policy, SignedNote, VerifierKey};

use crate::{output, policy};

/// Leaves between two progress messages.
const PROGRESS_LEAVES: u64 = 1_000_000;

/// What a check has shown without finding a fault. A check that had nothing to examine is no
/// evidence, so it must say what it did not show.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Requirements that the check could not show, one line each.
    not_shown: Vec<String>,
}

impl Shown {
    /// Requires that something is shown. If it is not, records `not_shown` for the conclusion.
    pub(super) fn demand(&mut self, is_shown: bool, not_shown: impl FnOnce() -> String) {
        if !is_shown {
            self.not_shown.push(not_shown());
        }
    }

    /// Prints the conclusion: everything required is shown, or what is not.
    ///
    /// # Errors
    /// [`NotShown`], if a requirement is not met.
    pub(super) fn conclude(self, what: &str, holds: &str) -> Result<()> {
        for words in &self.not_shown {
            output::line(&format!("  NOT SHOWN  {words}"));
        }
        if self.not_shown.is_empty() {
            output::line(holds);
            Ok(())
        } else {
            output::line(&format!(
                "no fault in {what}, but it does not prove everything that was asked"
            ));
            Err(NotShown { what: what.to_owned(), words: self.not_shown.join("; ") }.into())
        }
    }
}

/// The check found no fault, but did not show everything that was required.
#[derive(Debug, thiserror::Error)]
#[error("{what} does not prove everything that was asked: {words}")]
pub(crate) struct NotShown {
    what: String,
    words: String,
}

impl NotShown {
    /// Differs from the codes for a log that verifies (0) and for one that does not (1).
    pub(crate) const EXIT_CODE: u8 = 3;
}

pub(super) fn parse_vkey(vkey: Option<&str>) -> Result<Option<VerifierKey>> {
    vkey.map(VerifierKey::parse).transpose().context("--vkey is not a verifier key")
}

/// Checks a checkpoint against a policy, and requires that the policy asks for at least one
/// witness.
pub(super) fn check_policy(policy: &Policy, note: &SignedNote, shown: &mut Shown) -> Result<()> {
    let witnesses = policy::check(policy, note)?;
    shown.demand(witnesses > 0, || {
        format!(
            "no witness of the policy cosigned, and its quorum `{}` does not require one",
            policy.quorum()
        )
    });
    Ok(())
}

/// Prints who signed a log's checkpoint, and what was not checked because the log does not say it.
pub(super) fn report_signers(checkpoint: &Checkpoint, keys: &LogKeys, was_given: bool) {
    match keys {
        LogKeys::Named(keys) => report_keys(checkpoint, keys, was_given, "log"),
        LogKeys::Known(known) => {
            ok(&format!("the checkpoint is signed by {}, the key that you named", known.key));
            output::line(
                "      the log does not name its keys, so it counts as another program's; not checked:",
            );
            output::line("      whether other keys signed it before, and what its entries mean");
        }
    }
}

/// Prints who signed, and why that is trusted. `named_by` names the source of the key if the caller
/// gave none.
pub(super) fn report_keys(
    checkpoint: &Checkpoint,
    keys: &KeyHistory,
    was_given: bool,
    named_by: &str,
) {
    ok(&format!("the checkpoint is signed by {}", keys.at(checkpoint.size.get())));
    for (leaf, key) in keys.iter().skip(1) {
        ok(&format!("the log's key changes to {key} at leaf {leaf}; both keys signed the change"));
    }
    ok(&format!("the log's id is {}", keys.log_id()));
    if !was_given {
        output::line(&format!(
            "      the key comes from the {named_by} itself: compare it with the key that the operator gave you, or pass --vkey"
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
