//! Checks which witnesses signed a checkpoint, and whether a policy is satisfied.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use model::Timestamp;
use tlog::{Policy, PolicyError, SignedNote, policy::POLICY_BYTES_MAX};

use crate::output;

/// Reads a policy file.
pub(crate) fn read(path: &Path) -> Result<Policy> {
    let name = path.display();
    let bytes = fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    let parsed = match usize::try_from(bytes) {
        Ok(bytes) if bytes <= POLICY_BYTES_MAX => {
            Policy::parse(&fs::read(path).with_context(|| format!("cannot read {name}"))?)
        }
        bytes => Err(PolicyError::TooLong { bytes: bytes.unwrap_or(usize::MAX) }),
    };
    parsed.with_context(|| format!("{name} is not a policy (C2SP tlog-policy)"))
}

/// Checks a checkpoint against a policy, and prints which witnesses signed it and when. The caller
/// has checked the log's own signature. Returns the number of witnesses that signed.
pub(crate) fn check(policy: &Policy, note: &SignedNote) -> Result<usize> {
    let cosignatures = policy.check(note).context("the checkpoint does not satisfy the policy")?;
    for cosignature in &cosignatures {
        let name = policy.name_of(cosignature.key()).unwrap_or_default();
        let at = Timestamp::after_1970(Duration::from_secs(cosignature.at().seconds()));
        output::line(&format!(
            "  ok  the witness {name} cosigned the checkpoint at {at} by its clock (key {})",
            cosignature.key()
        ));
    }
    output::line(&format!("  ok  the policy's quorum `{}` is reached", policy.quorum()));
    Ok(cosignatures.len())
}
