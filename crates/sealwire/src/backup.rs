//! `sealwire backup`: makes a verified copy of a site's log.

use anyhow::{Context as _, Result};
use data_dir::backup::{BackedUp, Request, backup};

use crate::{cli::BackupArguments, output, signals};

pub(crate) fn run(arguments: &BackupArguments) -> Result<()> {
    let BackupArguments { target, site, with_keys } = arguments;
    let data_dir = &site.data_dir;
    let key_file = site.key_file.as_deref();
    let stop = signals::stop()?;
    let request = Request { data_dir, target, with_keys: *with_keys, key_file, stop: &stop };
    let done = backup(request, &mut |step| output::note(&format!("sealwire: {step}")))
        .with_context(|| format!("{} is not backed up", data_dir.display()))?;
    let BackedUp { verified, copied, size_before, keys, configuration, unsigned, left_out } = done;
    let checkpoint = &verified.checkpoint;
    output::line(&format!(
        "{} is a verified backup of the log {}",
        target.display(),
        checkpoint.origin
    ));
    output::line(&format!("  {} leaves, {} segments", verified.leaves, verified.segments));
    output::line(&format!("  checkpoint of {} leaves, root {}", checkpoint.size, checkpoint.root));
    if let Some(before) = size_before {
        let (new, kept) = (copied.segments, copied.segments_kept);
        output::line(&format!(
            "  the backup that was there had a checkpoint of {before} leaves, and is part of it; {new} segments were copied, {kept} were there"
        ));
    }
    if copied.segments_erased > 0 {
        output::line("  what the log orders to be erased, and had not erased yet, is erased in it");
    }
    output::line(&if keys.is_empty() {
        String::from(
            "  without secret keys: keep them elsewhere, or use --with-keys; nobody can go on with the log without its key",
        )
    } else {
        format!(
            "  with the secret keys ({}): whoever has this folder can sign for the log",
            keys.join(", ")
        )
    });
    let configuration = match configuration.as_slice() {
        [] => String::from("nothing that an operator wrote"),
        files => files.join(", "),
    };
    output::line(&match unsigned {
        None => format!("  with {configuration}, which the log's key signed"),
        Some(reason) => format!(
            "  with {configuration}, NOT signed, so that a restore takes it only when asked: {reason}"
        ),
    });
    if !left_out.is_empty() {
        output::line(&format!("  left out: {}", left_out.join(", ")));
    }
    Ok(())
}
