//! Which witnesses signed a checkpoint, and whether they are those that someone wants.

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use ledger::{
    disk::RealDisk,
    verify::{KeyHistory, root_at},
};
use model::Timestamp;
use site::DataDir;
use tlog::{Checkpoint, Policy, PolicyError, SignedNote, policy::POLICY_BYTES_MAX};

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

/// Holds a checkpoint, whose log's signature was checked, against a policy; says which witnesses signed it, and when.
pub(crate) fn check(policy: &Policy, note: &str) -> Result<()> {
    let note = SignedNote::parse(note)?;
    let cosignatures = policy.check(&note).context("the checkpoint does not satisfy the policy")?;
    for cosignature in &cosignatures {
        let name = policy.name_of(cosignature.key()).unwrap_or_default();
        let at = Timestamp::after_1970(Duration::from_secs(cosignature.at().seconds()));
        output::line(&format!(
            "  ok  the witness {name} signed it at {at} by its clock (key {})",
            cosignature.key()
        ));
    }
    output::line(&format!("  ok  that makes the policy's quorum `{}`", policy.quorum()));
    Ok(())
}

/// Holds the checkpoint that witnesses signed last, as a site keeps it, against the log in its folder, which was verified, and against a policy.
pub(crate) fn check_folder(policy: &Policy, folder: &Path, keys: &KeyHistory) -> Result<()> {
    let path = DataDir::witnessed_of(folder);
    let name = path.display();
    let note = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no {name}: witnesses have cosigned nothing yet")
        }
        read => read.with_context(|| format!("cannot read {name}"))?,
    };
    let Checkpoint { size, root, .. } =
        keys.open_checkpoint(&note).with_context(|| format!("{name} is not this log's"))?;
    let computed = root_at(&RealDisk, &DataDir::ledger_of(folder), size)?;
    if computed != root {
        bail!("the log's first {size} leaves lead to the root {computed}, and {name} says {root}");
    }
    output::line(&format!("  ok  the checkpoint that witnesses signed last covers {size} of them"));
    check(policy, &note)
}
