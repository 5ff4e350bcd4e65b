//! `sealwire verify`: checks a log, and trusts nothing but the key.

mod bundle;
mod completeness;
mod http_log;
pub(crate) mod pangea;
mod proof;
mod shown;
mod since;

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};
use http_client::Authorities;
use ledger::{
    disk::RealDisk,
    verify::{KnownLog, LogKeys, verify_folder_with, verify_tree},
};
use model::completeness::Completeness;
use tlog::{Checkpoint, Origin, Policy, SignedNote, VerifierKey};

use self::shown::{Shown, check_policy, ok, parse_vkey, report_signers};
use crate::{
    cli::{VerifyArguments, VerifyFile},
    data_dir, output, policy,
};

pub(crate) use self::{
    http_log::HttpLog,
    shown::{NotShown, progress},
};

/// Largest file of authorities in bytes: a bundle of all public ones has a quarter of that.
const CA_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(arguments: &VerifyArguments) -> Result<()> {
    match &arguments.file {
        Some(VerifyFile::Bundle(arguments)) => bundle::run(arguments),
        Some(VerifyFile::Proof(arguments)) => proof::run(arguments),
        Some(VerifyFile::Pangea(arguments)) => pangea::run(arguments),
        None => verify_log(arguments),
    }
}

fn verify_log(arguments: &VerifyArguments) -> Result<()> {
    let known = known_log(arguments)?;
    let vkey = known.as_ref().map(|known| &known.key);
    let policy = arguments.policy.as_deref().map(policy::read).transpose()?;
    let policy = policy.as_ref();
    let log = arguments.log.as_deref().context("name a data directory or the address of a log")?;
    let is_url = |log: &&str| log.starts_with("http://") || log.starts_with("https://");
    let url = log.to_str().filter(is_url).map(|log| log.trim_end_matches('/'));
    let name = Path::new(log).display();
    if url.is_some() && arguments.completeness {
        bail!(
            "--completeness reads envelopes, but {name} publishes only their hashes: name the site's data directory"
        );
    }
    if url.is_none() && arguments.origin.is_some() {
        bail!("--origin is for the address of a log: the log in {name} names its own");
    }
    if arguments.ca.is_some() && !url.is_some_and(|url| url.starts_with("https://")) {
        bail!("--ca is for an address that begins with https://");
    }
    let authorities = arguments.ca.as_deref().map(authorities).transpose()?;
    let at = |url| HttpLog::new(url, authorities.as_ref());
    let since = arguments.since.as_deref().map(since::read).transpose()?;
    output::line(&format!("verifying the log {name}"));
    let result = match (&since, url) {
        (Some(since), Some(url)) => since::verify_http(&at(url), since, known.as_ref()),
        (Some(since), None) => since::verify_data_dir(Path::new(log), since, known.as_ref()),
        (None, Some(url)) => verify_http(&at(url), known.as_ref(), policy),
        (None, None) => verify_data_dir(Path::new(log), vkey, policy, arguments.completeness),
    };
    match result {
        Ok(shown) => shown.conclude(&format!("the log {name}"), "the log verifies"),
        Err(error) => {
            output::line(&format!("  FAILED  {error:#}"));
            bail!("the log {name} does not verify")
        }
    }
}

fn known_log(arguments: &VerifyArguments) -> Result<Option<KnownLog>> {
    let Some(key) = parse_vkey(arguments.vkey.as_deref())? else { return Ok(None) };
    let mut known = KnownLog::from(key);
    if let Some(origin) = &arguments.origin {
        known.origin = Origin::parse(origin).context("--origin is not the name of a log")?;
    }
    Ok(Some(known))
}

/// The certificates of authorities in a file.
pub(crate) fn authorities(file: &Path) -> Result<Authorities> {
    let shown = output::quoted(file);
    let mut pem = Vec::new();
    let opened = File::open(file).with_context(|| format!("cannot read {shown}"))?;
    let mut limited = opened.take(CA_BYTES_MAX + 1);
    limited.read_to_end(&mut pem).with_context(|| format!("cannot read {shown}"))?;
    if pem.len() as u64 > CA_BYTES_MAX {
        bail!("{shown} is larger than {CA_BYTES_MAX} bytes");
    }
    Authorities::parse(&pem).with_context(|| format!("no authority can be taken from {shown}"))
}

fn verify_data_dir(
    folder: &Path,
    vkey: Option<&VerifierKey>,
    policy: Option<&Policy>,
    completeness: bool,
) -> Result<Shown> {
    let ledger = data_dir::ledger_of(folder)?;
    let mut checked = completeness.then(Completeness::of_log);
    let mut observer = |leaf, envelope: Option<&[u8]>| {
        if let Some(checked) = &mut checked {
            completeness::take(checked, leaf, envelope);
        }
    };
    let verified = verify_folder_with(&RealDisk, &ledger, vkey, &mut progress(), &mut observer)?;
    let covered = verified.checkpoint.size.get();
    ok(&format!(
        "{} envelopes in {} segments hash to the log's entries",
        covered - verified.erased,
        verified.segments
    ));
    if verified.erased > 0 {
        ok(&format!("{} envelopes were erased, as recorded in the log", verified.erased));
    }
    if verified.beyond() > 0 {
        output::line(&format!(
            "      {} leaves lie beyond the checkpoint; no signature covers them yet, so they prove nothing",
            verified.beyond()
        ));
    }
    if verified.torn_bytes > 0 {
        let bytes = verified.torn_bytes;
        output::line(&format!(
            "      {bytes} bytes at the end belong to an unfinished write, which was never acknowledged"
        ));
    }
    let keys = LogKeys::Named(verified.keys.clone());
    let mut shown = report(&verified.checkpoint, &keys, vkey.is_some());
    if let Some(policy) = policy {
        // The checkpoint that witnesses signed may be older than the newest key. Every history has
        // the first key.
        let first = verified.keys.iter().next().map(|(_, key)| key);
        let witnessed = data_dir::look_witnessed(folder, first)?;
        let size = witnessed.size();
        ok(&format!("the newest cosigned checkpoint covers {size} of the leaves"));
        check_policy(policy, &SignedNote::parse(&witnessed.published().note)?, &mut shown)?;
    }
    if let Some(checked) = &checked {
        completeness::report(checked)?;
        completeness::demand(checked, &mut shown);
    }
    if let Some(fault) = verified.fault_beyond {
        bail!(
            "the {covered} leaves under the checkpoint verify, but what lies beyond them is not part of this log: {fault}"
        );
    }
    Ok(shown)
}

fn verify_http(log: &HttpLog, known: Option<&KnownLog>, policy: Option<&Policy>) -> Result<Shown> {
    let verified = verify_tree(log, known, &mut progress())?;
    ok(&format!("{} tiles and entry bundles match the hashes of the entries", verified.files));
    let mut shown = report(&verified.checkpoint, &verified.keys, known.is_some());
    if let Some(policy) = policy {
        check_policy(policy, &SignedNote::parse(&verified.note)?, &mut shown)?;
    }
    Ok(shown)
}

fn report(checkpoint: &Checkpoint, keys: &LogKeys, was_given: bool) -> Shown {
    ok(&format!("{} entries hash to the root {}", checkpoint.size, checkpoint.root));
    report_signers(checkpoint, keys, was_given);
    let mut shown = Shown::default();
    shown.demand(checkpoint.size.get() > 0, || {
        String::from("the checkpoint covers no entries, so it proves nothing")
    });
    shown
}
