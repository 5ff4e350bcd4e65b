//! `sealwire verify proof`: checks one leaf by its proof file.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use model::Envelope;
use tlog::{
    Hash, Policy, TlogProof, VerifierKey, leaf_hash, note::NOTE_BYTES_MAX,
    tlog_proof::EXTRA_BYTES_MAX,
};

use super::shown::{Shown, check_policy, ok};
use crate::{cli::VerifyProofArguments, output, policy};

/// Largest proof file in bytes: its checkpoint, its extra data in base64, and some 4 KiB of hashes.
const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX;

pub(super) fn run(arguments: &VerifyProofArguments) -> Result<()> {
    let vkey = VerifierKey::parse(&arguments.vkey).context("--vkey is not a verifier key")?;
    let policy = arguments.policy.as_deref().map(policy::read).transpose()?;
    let path = arguments.proof.display();
    let text = read(&arguments.proof, PROOF_BYTES_MAX)?;
    let envelope = arguments.envelope.as_deref().map(|file| read(file, Envelope::BYTES_MAX));
    let envelope = envelope.transpose()?;
    output::line(&format!("verifying the proof {path}"));
    let mut shown = Shown::default();
    match verify(&text, envelope, &vkey, policy.as_ref(), &mut shown) {
        Ok(envelope) => {
            output::json(&String::from_utf8_lossy(&envelope));
            shown.conclude(&format!("the proof {path}"), "the proof verifies")
        }
        Err(error) => {
            output::line(&format!("  FAILED  {error:#}"));
            bail!("the proof {path} does not verify")
        }
    }
}

/// Verifies the proof and returns the envelope that it proves.
fn verify(
    proof: &[u8],
    envelope: Option<Vec<u8>>,
    vkey: &VerifierKey,
    policy: Option<&Policy>,
    shown: &mut Shown,
) -> Result<Vec<u8>> {
    let proof = str::from_utf8(proof).context("it is not UTF-8 text")?;
    let proof = TlogProof::parse(proof)?;
    let envelope = envelope
        .or_else(|| proof.extra.clone())
        .context("the proof contains no envelope: name its file with --envelope")?;
    let entry = Hash::sha256(&envelope);
    let checkpoint = proof.verify(&leaf_hash(entry.as_bytes()), vkey)?;
    ok(&format!("the checkpoint of {} leaves is signed by {vkey}", checkpoint.size));
    if let Some(policy) = policy {
        check_policy(policy, &proof.checkpoint, shown)?;
    }
    ok(&format!("leaf {} of the log {} is this envelope:", proof.index, checkpoint.origin));
    Ok(envelope)
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    BufReader::new(file).take(limit).read_to_end(&mut bytes).with_context(failed)?;
    if bytes.len() > bytes_max {
        bail!("{} is too large: at most {bytes_max} bytes are read", path.display());
    }
    Ok(bytes)
}
