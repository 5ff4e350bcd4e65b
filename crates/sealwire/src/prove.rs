//! `sealwire prove`: writes the proof of one leaf to a file (C2SP tlog-proof).

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use durable::is_standard_output;
use tlog::{TlogProof, tlog_proof::EXTRA_BYTES_MAX};

use crate::{cli::ProveArguments, data_dir, output, signals};

pub(crate) fn run(arguments: &ProveArguments) -> Result<()> {
    let ProveArguments {
        leaf,
        data_dir,
        log: which,
        witnessed,
        output: file,
        envelope: envelope_file,
    } = arguments;
    if envelope_file.as_ref().is_some_and(|file| is_standard_output(file))
        && is_standard_output(file)
    {
        bail!(
            "the proof and the envelope cannot both go to standard output: name a file for one of them"
        );
    }
    let stop = signals::stop()?;
    let write = |file: &Path, bytes: &[u8]| -> Result<Option<()>> {
        durable::write_output(file, &stop, |out| {
            out.write_all(bytes).with_context(|| format!("cannot write {}", file.display()))
        })
    };
    let log = data_dir::look_as_asked(data_dir, which, *witnessed)
        .with_context(|| format!("cannot read {}", data_dir.display()))?;
    let size = log.size();
    let proof = log.prove(*leaf)?.with_context(|| {
        format!(
            "no checkpoint covers leaf {leaf} yet: the newest covers {size} leaves, counting from 0"
        )
    })?;
    let envelope = log.envelopes(*leaf, 1, usize::MAX)?.pop().and_then(|stored| stored.bytes);
    let extra = match (&envelope, envelope_file) {
        (Some(envelope), Some(file)) => {
            if write(file, envelope)?.is_none() {
                return Ok(());
            }
            None
        }
        (Some(envelope), None) if envelope.len() > EXTRA_BYTES_MAX => bail!(
            "the envelope of leaf {leaf} has {} bytes, but a proof can contain at most {EXTRA_BYTES_MAX}: name a separate file for it with --envelope",
            envelope.len()
        ),
        (envelope, _) => envelope.clone(),
    };
    if write(file, TlogProof { extra, ..proof }.to_string().as_bytes())?.is_none() {
        return Ok(());
    }
    let is_in_output = envelope_file.as_ref().is_some_and(|file| is_standard_output(file));
    let line = if is_in_output { output::note } else { output::about(file) };
    line(&format!(
        "wrote the proof of leaf {leaf} in a log of {size} leaves to {}",
        file.display()
    ));
    let vkey = log.keys().at(size);
    let option = match (&envelope, envelope_file) {
        (Some(_), Some(file)) => format!(" --envelope {}", output::quoted(file)),
        (Some(_), None) => String::new(),
        (None, _) => {
            line("the envelope was erased: to use the proof you need a copy of the envelope");
            String::from(" --envelope FILE")
        }
    };
    line(&format!(
        "verify it anywhere:  sealwire verify proof {}{option} --vkey {vkey}",
        output::quoted(file)
    ));
    Ok(())
}
