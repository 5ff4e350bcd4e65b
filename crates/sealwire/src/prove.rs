//! `sealwire prove`: the proof of one leaf, as a file of C2SP tlog-proof.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use tlog::{TlogProof, tlog_proof::EXTRA_BYTES_MAX};

use crate::{cli::ProveArguments, data_dir, output, whole_file};

pub(crate) fn run(arguments: &ProveArguments) -> Result<()> {
    let ProveArguments { leaf, data_dir, witnessed, output: file, envelope: envelope_file } =
        arguments;
    let log = data_dir::look_as_asked(data_dir, *witnessed)
        .with_context(|| format!("cannot look at {}", data_dir.display()))?;
    let size = log.size();
    let proof = log.prove(*leaf)?.with_context(|| {
        format!(
            "leaf {leaf} is not covered: the newest checkpoint has {size} leaves, counted from 0"
        )
    })?;
    let envelope = log.envelopes(*leaf, 1, usize::MAX)?.pop().and_then(|stored| stored.bytes);
    let extra = match (&envelope, envelope_file) {
        (Some(envelope), Some(file)) => {
            write(file, envelope)?;
            None
        }
        (Some(envelope), None) if envelope.len() > EXTRA_BYTES_MAX => bail!(
            "the envelope of leaf {leaf} has {} bytes, and a proof carries at most {EXTRA_BYTES_MAX}: name a file for it with --envelope",
            envelope.len()
        ),
        (envelope, _) => envelope.clone(),
    };
    write(file, TlogProof { extra, ..proof }.to_string().as_bytes())?;
    output::line(&format!("the proof of leaf {leaf} among {size} is in {}", file.display()));
    let vkey = log.keys().at(size);
    let option = match (&envelope, envelope_file) {
        (Some(_), Some(file)) => format!(" --envelope {}", file.display()),
        (Some(_), None) => String::new(),
        (None, _) => {
            output::line(
                "its envelope was erased: the proof is of use to whoever has a copy of it",
            );
            String::from(" --envelope FILE")
        }
    };
    output::line(&format!(
        "check it anywhere:  sealwire verify proof {}{option} --vkey {vkey}",
        file.display()
    ));
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    whole_file::write(path, |out| {
        out.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))
    })
}
