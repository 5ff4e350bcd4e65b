//! `sealwire verify bundle`: checks each row against the log that the bundle names, offline.

use std::{fs::File, io::BufReader};

use anyhow::{Context as _, Result, bail};
use ledger::evidence::{VerifiedBundle, verify_bundle};
use tlog::{Policy, SignedNote};

use super::{
    completeness,
    shown::{self, Shown, ok, parse_vkey, report_keys},
};
use crate::{cli::VerifyBundleArguments, output, policy};

/// Faults that are named. The others are only counted, because nobody reads more.
const FINDINGS_NAMED_MAX: u64 = 100;

pub(super) fn run(arguments: &VerifyBundleArguments) -> Result<()> {
    let vkey = parse_vkey(arguments.vkey.as_deref())?;
    let policy = arguments.policy.as_deref().map(policy::read).transpose()?;
    let path = arguments.bundle.display();
    let file = File::open(&arguments.bundle).with_context(|| format!("cannot read {path}"))?;
    output::line(&format!("verifying the bundle {path}"));
    let mut findings = 0;
    let result = verify_bundle(BufReader::new(file), vkey.as_ref(), &mut |finding| {
        findings += 1;
        if findings <= FINDINGS_NAMED_MAX {
            output::line(&format!("  FAILED  {finding}"));
        }
    });
    let bundle = match result {
        Ok(bundle) => bundle,
        Err(error) => {
            output::line(&format!("  FAILED  {:#}", anyhow::Error::from(error)));
            bail!("the bundle {path} does not verify: nothing in it is proved");
        }
    };
    report(&bundle, vkey.is_some());
    let mut shown = Shown::default();
    if let Some(policy) = &policy
        && let Err(error) = check_policy(policy, &bundle, &mut shown)
    {
        output::line(&format!("  FAILED  {error:#}"));
        bail!("the bundle {path} does not verify: its checkpoint does not satisfy the policy");
    }
    let completeness = match bundle.completeness.accounts().len() {
        0 => Ok(()),
        _ => completeness::report(&bundle.completeness),
    };
    if bundle.findings > FINDINGS_NAMED_MAX {
        let more = bundle.findings - FINDINGS_NAMED_MAX;
        output::line(&format!("  FAILED  and {more} more faults"));
    }
    if bundle.findings > 0 {
        bail!("the bundle {path} does not verify: it has {} faults", bundle.findings);
    }
    if let Err(error) = completeness {
        output::line(&format!("  FAILED  {error:#}"));
        bail!("the bundle {path} does not verify: readings are missing or appear twice");
    }
    demand(&bundle, &mut shown);
    shown.conclude(&format!("the bundle {path}"), "the bundle verifies")
}

fn check_policy(policy: &Policy, bundle: &VerifiedBundle, shown: &mut Shown) -> Result<()> {
    shown::check_policy(policy, &SignedNote::parse(&bundle.note)?, shown)
}

/// Requires what a bundle is for: envelopes and, if it is of one sensor, polls of it. Rows of a
/// sensor can be left out of a bundle without a trace, except between two numbered polls.
fn demand(bundle: &VerifiedBundle, shown: &mut Shown) {
    shown.demand(bundle.proved > 0, || match bundle.erased {
        0 => String::from("the bundle has no rows"),
        erased => format!("the bundle has no envelopes: those of its {erased} rows were erased"),
    });
    if let Some(sensor) = bundle.sensor
        && bundle.proved > 0
    {
        let polls = bundle.completeness.accounts().find(|(other, _)| *other == sensor);
        shown.demand(polls.is_some_and(|(_, account)| account.polls().is_some()), || {
            format!(
                "no row has a poll number of the sensor {sensor}, so its readings could have been left out unnoticed"
            )
        });
    }
}

fn report(bundle: &VerifiedBundle, was_given: bool) {
    let VerifiedBundle { checkpoint, span, proved, erased, not_shown, .. } = bundle;
    report_keys(checkpoint, &bundle.keys, was_given, "bundle");
    let others = SignedNote::parse(&bundle.note).map_or(0, |note| note.signatures().len() - 1);
    if others > 0 {
        output::line(&format!(
            "      the checkpoint has {others} more signatures; pass --policy to check them"
        ));
    }
    ok(&format!("{proved} envelopes are in the log {}, unchanged", checkpoint.origin));
    if *erased > 0 {
        ok(&format!("{erased} rows are in the log; their envelopes were erased"));
    }
    output::line(&format!(
        "      the bundle covers the leaves from {} up to {} of {}, exported at {} by {}",
        span.start, span.end, checkpoint.size, bundle.exported_at, bundle.exported_by
    ));
    let bounds = [bundle.from.map(|from| ("from", from)), bundle.to.map(|to| ("up to", to))];
    for (word, moment) in bounds.into_iter().flatten() {
        output::line(&format!("      received {word} {moment}, plus the nearest row beyond"));
    }
    if let Some(sensor) = bundle.sensor {
        output::line(&format!(
            "      only events of the sensor {sensor}; {not_shown} other leaves are not in the \
             bundle, and the poll numbers show whether readings of this sensor are among them"
        ));
        let accounts = bundle.completeness.accounts();
        for polls in accounts.filter_map(|(_, account)| account.polls()) {
            output::line(&format!(
                "      the bundle accounts for its polls {polls}, and says nothing about earlier or later ones"
            ));
        }
    }
}
