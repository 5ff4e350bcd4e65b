//! `sealwire verify`: believes nothing but the key.

mod bundle;
mod completeness;
mod proof;
mod since;

use std::{io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use ledger::{
    disk::RealDisk,
    verify::{KeyEvent, KeyHistory, LogSource, verify_folder_with, verify_tree},
};
use model::completeness::Completeness;
use serde::Deserialize;
use tlog::{Checkpoint, Policy, SignedNote, TilePath, VerifierKey};

use crate::{
    cli::{VerifyArguments, VerifyFile},
    data_dir, output, policy,
};

/// How long a log may take to answer one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer of a log in bytes: a full bundle of the largest entries is 16 MiB.
const ANSWER_BYTES_MAX: u64 = 17 << 20;
/// Leaves between two lines of progress.
const PROGRESS_LEAVES: u64 = 1_000_000;

pub(crate) fn run(arguments: &VerifyArguments) -> Result<()> {
    match &arguments.file {
        Some(VerifyFile::Bundle(arguments)) => bundle::run(arguments),
        Some(VerifyFile::Proof(arguments)) => proof::run(arguments),
        None => verify_log(arguments),
    }
}

fn verify_log(arguments: &VerifyArguments) -> Result<()> {
    let vkey = parse_vkey(arguments.vkey.as_deref())?;
    let policy = arguments.policy.as_deref().map(policy::read).transpose()?;
    let policy = policy.as_ref();
    let log = arguments.log.as_deref().context("name a data directory or the address of a log")?;
    let is_url = |log: &&str| log.starts_with("http://") || log.starts_with("https://");
    let url = log.to_str().filter(is_url).map(|log| log.trim_end_matches('/'));
    let name = Path::new(log).display();
    if url.is_some() && arguments.completeness {
        bail!(
            "--completeness reads envelopes, and {name} has only their hashes for anyone: name the site's data directory"
        );
    }
    let since = arguments.since.as_deref().map(since::read).transpose()?;
    output::line(&format!("verifying the log {name}"));
    let result = match (&since, url) {
        (Some(since), Some(url)) => since::verify_http(url, since, vkey.as_ref()),
        (Some(since), None) => since::verify_data_dir(Path::new(log), since, vkey.as_ref()),
        (None, Some(url)) => verify_http(url, vkey.as_ref(), policy),
        (None, None) => {
            verify_data_dir(Path::new(log), vkey.as_ref(), policy, arguments.completeness)
        }
    };
    match result {
        Ok(shown) => shown.conclude(&format!("the log {name}"), "the log holds"),
        Err(error) => {
            output::line(&format!("  FAILED  {error:#}"));
            bail!("the log {name} does not verify")
        }
    }
}

/// What a check shows in which nothing was found wrong. Where there was nothing to find anything in, that is no evidence of anything.
#[derive(Debug, Default)]
struct Shown {
    /// What was asked for and there was nothing to show it by, one line each.
    not_shown: Vec<String>,
}

impl Shown {
    /// Asks for something to be shown; says so if it is not.
    fn demand(&mut self, is_shown: bool, not_shown: impl FnOnce() -> String) {
        if !is_shown {
            self.not_shown.push(not_shown());
        }
    }

    /// The last words: all that was asked for is shown, or what is not.
    fn conclude(self, what: &str, holds: &str) -> Result<()> {
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

fn parse_vkey(vkey: Option<&str>) -> Result<Option<VerifierKey>> {
    vkey.map(VerifierKey::parse).transpose().context("--vkey is not a verifier key")
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
        ok(&format!("{} envelopes were erased, and the log says so", verified.erased));
    }
    if verified.beyond() > 0 {
        output::line(&format!(
            "      {} leaves lie beyond the checkpoint; no signature covers them yet, and they count for nothing here",
            verified.beyond()
        ));
    }
    if verified.torn_bytes > 0 {
        let bytes = verified.torn_bytes;
        output::line(&format!(
            "      {bytes} bytes at the end are a write under way or cut off by a crash; nobody was told of them"
        ));
    }
    let mut shown = report(&verified.checkpoint, &verified.keys, vkey.is_some());
    if let Some(policy) = policy {
        // What witnesses have signed may be older than the newest key. The first is in every history.
        let first = verified.keys.iter().next().map(|(_, key)| key);
        let witnessed = data_dir::look_witnessed(folder, first)?;
        let size = witnessed.size();
        ok(&format!("the checkpoint that witnesses signed last covers {size} of them"));
        check_policy(policy, &SignedNote::parse(&witnessed.published().note)?, &mut shown)?;
    }
    if let Some(checked) = &checked {
        completeness::report(checked)?;
        completeness::demand(checked, &mut shown);
    }
    if let Some(fault) = verified.fault_beyond {
        bail!(
            "the {covered} leaves that the checkpoint covers hold; what lies beyond is not of this log: {fault}"
        );
    }
    Ok(shown)
}

fn verify_http(url: &str, vkey: Option<&VerifierKey>, policy: Option<&Policy>) -> Result<Shown> {
    let mut log = HttpLog::new(url);
    let verified = verify_tree(&mut log, vkey, &mut progress())?;
    ok(&format!("{} tiles and entry bundles hold what the entries hash to", verified.files));
    let mut shown = report(&verified.checkpoint, &verified.keys, vkey.is_some());
    if let Some(policy) = policy {
        check_policy(policy, &SignedNote::parse(&verified.note)?, &mut shown)?;
    }
    Ok(shown)
}

fn report(checkpoint: &Checkpoint, keys: &KeyHistory, was_given: bool) -> Shown {
    ok(&format!("{} entries lead to the root {}", checkpoint.size, checkpoint.root));
    report_keys(checkpoint, keys, was_given, "log");
    let mut shown = Shown::default();
    shown.demand(checkpoint.size.get() > 0, || {
        String::from("the checkpoint covers no entry: it says nothing of what was sealed")
    });
    shown
}

/// Holds a checkpoint against a policy, which must ask for something.
fn check_policy(policy: &Policy, note: &SignedNote, shown: &mut Shown) -> Result<()> {
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
fn report_keys(checkpoint: &Checkpoint, keys: &KeyHistory, was_given: bool, named_by: &str) {
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

fn ok(text: &str) {
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

/// A log that is read as C2SP tlog-tiles lays it out.
struct HttpLog {
    url: String,
    agent: ureq::Agent,
}

impl HttpLog {
    fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER_TIMEOUT)).build();
        Self { url: url.to_owned(), agent: config.into() }
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let url = format!("{}/{path}", self.url);
        let mut response = http_client::get(&self.agent, &url)
            .call()
            .map_err(|error| format!("{url}: {error}"))?;
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader().take(ANSWER_BYTES_MAX + 1);
        { reader }.read_to_end(&mut bytes).map_err(|error| format!("{url}: {error}"))?;
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(format!("{url}: the answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
        Ok(bytes)
    }
}

/// What `/keys` answers.
#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    leaf: u64,
    envelope: String,
}

impl LogSource for HttpLog {
    fn checkpoint(&mut self) -> Result<String, String> {
        String::from_utf8(self.get("checkpoint")?)
            .map_err(|error| format!("{}/checkpoint: {error}", self.url))
    }

    fn key_events(&mut self) -> Result<Vec<KeyEvent>, String> {
        let answer = self.get("keys")?;
        let Keys { keys } = serde_json::from_slice(&answer)
            .map_err(|error| format!("{}/keys: {error}", self.url))?;
        let event = |Key { leaf, envelope }| KeyEvent { leaf, envelope: envelope.into_bytes() };
        Ok(keys.into_iter().map(event).collect())
    }

    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String> {
        self.get(&path.to_string())
    }
}
