//! `sealwire verify`: believes nothing but the key.

use std::{io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use ledger::verify::{LogSource, Verified, VerifyError, verify_folder, verify_tree};
use site::DataDir;
use tlog::{TilePath, VerifierKey};

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
    output::line(&format!("verifying the log {log}"));
    let result = if log.starts_with("http://") || log.starts_with("https://") {
        verify_http(log.trim_end_matches('/'), vkey.as_ref())
    } else {
        verify_data_dir(Path::new(log), vkey.as_ref())
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

fn verify_data_dir(folder: &Path, vkey: Option<&VerifierKey>) -> Result<()> {
    let ledger = DataDir::ledger_of(folder);
    if !ledger.is_dir() {
        bail!("{} is not a site's data directory: it has no folder `ledger`", folder.display());
    }
    let verified = verify_folder(&ledger, vkey, &mut progress())?;
    let beyond = verified.envelopes.saturating_sub(verified.tree.checkpoint.size.get());
    ok(&format!(
        "{} envelopes in {} segments hash to the log's entries",
        verified.envelopes, verified.segments
    ));
    if beyond > 0 {
        output::line(&format!("      {beyond} of them are newer than the checkpoint"));
    }
    if verified.torn_bytes > 0 {
        let bytes = verified.torn_bytes;
        output::line(&format!(
            "      {bytes} bytes at the end are a write under way or cut off by a crash; nobody was told of them"
        ));
    }
    report(&verified.tree, &verified.vkey, vkey.is_some());
    Ok(())
}

fn verify_http(url: &str, vkey: Option<&VerifierKey>) -> Result<()> {
    let mut log = HttpLog::new(url);
    let named = match vkey {
        Some(vkey) => vkey.clone(),
        None => {
            let text = log
                .get("vkey")
                .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
            let text = text.map_err(VerifyError::Unavailable)?;
            VerifierKey::parse(text.trim_end()).context("what the log serves as its key is none")?
        }
    };
    let verified = verify_tree(&mut log, &named, &mut progress())?;
    report(&verified, &named, vkey.is_some());
    Ok(())
}

fn report(verified: &Verified, vkey: &VerifierKey, was_given: bool) {
    let checkpoint = &verified.checkpoint;
    ok(&format!("{} tiles and entry bundles hold what the entries hash to", verified.files));
    ok(&format!("{} entries lead to the root {}", checkpoint.size, checkpoint.root));
    ok(&format!("the checkpoint is signed by {vkey}"));
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
