//! `sealwire verify`: believes nothing but the key.

mod completeness;

use std::{io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use ledger::{
    disk::RealDisk,
    verify::{KeyEvent, KeyHistory, LogSource, VerifyError, verify_folder_with, verify_tree},
};
use model::completeness::Completeness;
use serde::Deserialize;
use site::DataDir;
use tlog::{Checkpoint, TilePath, VerifierKey};

use crate::{cli::VerifyArguments, output};

/// How long a log may take to answer one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer of a log in bytes: a full bundle of the largest entries is 16 MiB.
const ANSWER_BYTES_MAX: u64 = 17 << 20;
/// Leaves between two lines of progress.
const PROGRESS_LEAVES: u64 = 1_000_000;

pub(crate) fn run(arguments: &VerifyArguments) -> Result<()> {
    let vkey = arguments
        .vkey
        .as_deref()
        .map(VerifierKey::parse)
        .transpose()
        .context("--vkey is not a verifier key")?;
    let log = arguments.log.as_str();
    let is_address = log.starts_with("http://") || log.starts_with("https://");
    if is_address && arguments.completeness {
        bail!(
            "--completeness reads envelopes, and {log} has only their hashes for anyone: name the site's data directory"
        );
    }
    output::line(&format!("verifying the log {log}"));
    let result = if is_address {
        verify_http(log.trim_end_matches('/'), vkey.as_ref())
    } else {
        verify_data_dir(Path::new(log), vkey.as_ref(), arguments.completeness)
    };
    match result {
        Ok(()) => {
            output::line("the log holds");
            Ok(())
        }
        Err(error) => {
            output::line(&format!("  FAILED  {error:#}"));
            bail!("the log {log} does not verify")
        }
    }
}

fn verify_data_dir(folder: &Path, vkey: Option<&VerifierKey>, completeness: bool) -> Result<()> {
    let ledger = DataDir::ledger_of(folder);
    if !ledger.is_dir() {
        bail!("{} is not a site's data directory: it has no folder `ledger`", folder.display());
    }
    let mut checked = completeness.then(Completeness::of_log);
    let mut observer = |leaf, envelope: Option<&[u8]>| {
        if let Some(checked) = &mut checked {
            completeness::take(checked, leaf, envelope);
        }
    };
    let verified = verify_folder_with(&RealDisk, &ledger, vkey, &mut progress(), &mut observer)?;
    let beyond = verified.leaves.saturating_sub(verified.checkpoint.size.get());
    ok(&format!(
        "{} envelopes in {} segments hash to the log's entries",
        verified.leaves - verified.erased,
        verified.segments
    ));
    if verified.erased > 0 {
        ok(&format!("{} envelopes were erased, and the log says so", verified.erased));
    }
    if beyond > 0 {
        output::line(&format!("      {beyond} of them are newer than the checkpoint"));
    }
    if verified.torn_bytes > 0 {
        let bytes = verified.torn_bytes;
        output::line(&format!(
            "      {bytes} bytes at the end are a write under way or cut off by a crash; nobody was told of them"
        ));
    }
    report(&verified.checkpoint, &verified.keys, vkey.is_some());
    checked.as_ref().map_or(Ok(()), completeness::report)
}

fn verify_http(url: &str, vkey: Option<&VerifierKey>) -> Result<()> {
    let mut log = HttpLog::new(url);
    let events = log.key_events().map_err(VerifyError::Unavailable)?;
    let keys = KeyHistory::follow(&events, vkey).map_err(VerifyError::Keys)?;
    let verified = verify_tree(&mut log, &keys, &mut progress())?;
    ok(&format!("{} tiles and entry bundles hold what the entries hash to", verified.files));
    report(&verified.checkpoint, &keys, vkey.is_some());
    Ok(())
}

fn report(checkpoint: &Checkpoint, keys: &KeyHistory, was_given: bool) {
    ok(&format!("{} entries lead to the root {}", checkpoint.size, checkpoint.root));
    ok(&format!("the checkpoint is signed by {}", keys.at(checkpoint.size.get())));
    for (leaf, key) in keys.iter().skip(1) {
        ok(&format!("both keys signed that the log goes over to {key} at leaf {leaf}"));
    }
    if !was_given {
        output::line(
            "      that key is the one the log names itself: compare it with what its operator gave you, or pass --vkey",
        );
    }
}

fn ok(text: &str) {
    output::line(&format!("  ok  {text}"));
}

fn progress() -> impl FnMut(u64) {
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
        let mut response =
            self.agent.get(&url).call().map_err(|error| format!("{url}: {error}"))?;
        let mut bytes = Vec::new();
        let reader = response.body_mut().as_reader().take(ANSWER_BYTES_MAX + 1);
        { reader }.read_to_end(&mut bytes).map_err(|error| format!("{url}: {error}"))?;
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(format!("{url}: the answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
        Ok(bytes)
    }

    /// The events that name the log's keys.
    fn key_events(&self) -> Result<Vec<KeyEvent>, String> {
        let Keys { keys } = serde_json::from_slice(&self.get("keys")?)
            .map_err(|error| format!("{}/keys: {error}", self.url))?;
        let event = |Key { leaf, envelope }| KeyEvent { leaf, envelope: envelope.into_bytes() };
        Ok(keys.into_iter().map(event).collect())
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

    fn file(&mut self, path: &TilePath) -> Result<Vec<u8>, String> {
        self.get(&path.to_string())
    }
}
