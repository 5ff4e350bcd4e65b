//! `sealwire restore`: makes a data directory from a backup.

use anyhow::{Context as _, Result};
use data_dir::{
    backup::{Configured, Fate},
    restore::{Restore, Restored, restore},
};
use tlog::VerifierKey;

use crate::{cli::RestoreArguments, output, signals};

pub(crate) fn run(arguments: &RestoreArguments) -> Result<()> {
    let vkey = arguments.vkey.as_deref().map(VerifierKey::parse).transpose();
    let vkey = vkey.context("--vkey is not a verifier key")?;
    let request = Restore {
        backup: &arguments.backup,
        data_dir: &arguments.data_dir,
        vkey: vkey.as_ref(),
        key: arguments.key.as_deref(),
        known_checkpoint: arguments.known_checkpoint.as_deref(),
        take: &arguments.take,
        stop: &signals::stop()?,
    };
    let restored = restore(&request, &mut |step| output::note(&format!("sealwire: {step}")))
        .with_context(|| format!("cannot restore {}", arguments.backup.display()))?;
    report(&restored, arguments);
    Ok(())
}

fn report(restored: &Restored, arguments: &RestoreArguments) {
    let Restored { name, verified, has_key, known, configuration, unsigned, left_out } = restored;
    let (checkpoint, data_dir) = (&verified.checkpoint, arguments.data_dir.display());
    output::line(&format!("restored the site `{name}` to {data_dir} and verified its log"));
    output::line(&format!("  {} leaves, signed by {}", verified.leaves, verified.vkey));
    output::line(&format!("  checkpoint of {} leaves, root {}", checkpoint.size, checkpoint.root));
    if *left_out > 0 {
        output::line(&format!(
            "  left out {left_out} leaves that lie beyond the backup's checkpoint, because no signature covers them"
        ));
    }
    if !has_key {
        output::line(&format!(
            "  without a secret key: before you start the site, put the secret key of {} into {data_dir}/site.key, with mode 600",
            verified.vkey
        ));
    }
    if let Some(unsigned) = unsigned {
        output::line(&format!("  {unsigned}: it is unknown which other files the site had"));
    }
    configuration.iter().flat_map(words).for_each(|line| output::line(&line));
    match known {
        Some(known) => output::line(&format!(
            "  it contains all {} leaves of the checkpoint that you named; if the site has published a checkpoint of more than {} leaves, do not start it",
            known.size, verified.leaves
        )),
        None => {
            output::line(&format!(
                "  BEFORE YOU START THE SITE: if it has published a checkpoint of more than {} leaves since this backup, continuing from here forks the log.",
                verified.leaves
            ));
            output::line(
                "  Find the newest checkpoint that anyone has kept (a witness, an auditor, the log port), and restore with --known-checkpoint.",
            );
        }
    }
}

/// Describes what the restore did with a file, in one or more lines.
fn words(file: &Configured) -> Vec<String> {
    let Configured { name, sha256, fate } = file;
    match fate {
        Fate::Signed => {
            vec![format!("  restored {name}, which the log's key signed ({sha256})")]
        }
        Fate::AskedFor => vec![format!("  restored {name}, as you asked ({sha256})")],
        Fate::LeftOut { reason } => vec![
            format!("  did NOT restore {name}: {reason}"),
            format!("    look at the file; if the site had it, restore again with --take {sha256}"),
        ],
        Fate::Gone => vec![format!(
            "  did NOT restore {name}: it is missing from the backup; the site had one with the SHA-256 {sha256}"
        )],
    }
}
