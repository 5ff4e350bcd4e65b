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
        .with_context(|| format!("cannot back up {}", data_dir.display()))?;
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
            "  it updates the earlier backup, which had {before} leaves: {new} segments copied, {kept} kept"
        ));
    }
    if copied.segments_erased > 0 {
        output::line(
            "  envelopes that the log ordered to be erased, but still held, are erased in the backup",
        );
    }
    output::line(&if keys.is_empty() {
        String::from(
            "  without secret keys: back them up separately, or use --with-keys; without its key the log cannot be continued",
        )
    } else {
        format!(
            "  with the secret keys ({}): anyone who has this folder can sign as the log",
            keys.join(", ")
        )
    });
    let configuration = match configuration.as_slice() {
        [] => String::from("no configuration files"),
        files => files.join(", "),
    };
    output::line(&match unsigned {
        None => format!("  with {configuration}, signed by the log's key"),
        Some(reason) => format!(
            "  with {configuration}, NOT signed, so a restore needs --take for it: {reason}"
        ),
    });
    if !left_out.is_empty() {
        output::line(&format!("  left out: {}", left_out.join(", ")));
    }
    Ok(())
}
