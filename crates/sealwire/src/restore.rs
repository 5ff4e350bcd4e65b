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
        .with_context(|| format!("{} is not restored", arguments.backup.display()))?;
    report(&restored, arguments);
    Ok(())
}

fn report(restored: &Restored, arguments: &RestoreArguments) {
    let Restored { name, verified, has_key, known, configuration, unsigned, left_out } = restored;
    let (checkpoint, data_dir) = (&verified.checkpoint, arguments.data_dir.display());
    output::line(&format!("{data_dir} is the folder of the site `{name}` again, and verifies"));
    output::line(&format!("  {} leaves, signed by {}", verified.leaves, verified.vkey));
    output::line(&format!("  checkpoint of {} leaves, root {}", checkpoint.size, checkpoint.root));
    if *left_out > 0 {
        output::line(&format!(
            "  {left_out} leaves of the backup lie beyond its checkpoint: nothing vouches for them, and they are left out"
        ));
    }
    if !has_key {
        output::line(&format!(
            "  without a secret key: put the one of {} into {data_dir}/site.key, with mode 600, before you start the site",
            verified.vkey
        ));
    }
    if let Some(unsigned) = unsigned {
        output::line(&format!("  {unsigned}: what the site had beside its log is not known"));
    }
    configuration.iter().flat_map(words).for_each(|line| output::line(&line));
    match known {
        Some(known) => output::line(&format!(
            "  it holds what the checkpoint of {} leaves signs that you named; if the site has published more than {} leaves, do not start it",
            known.size, verified.leaves
        )),
        None => {
            output::line(&format!(
                "  BEFORE YOU START IT: if the site has published a checkpoint of more than {} leaves since this backup, going on from here forks the log.",
                verified.leaves
            ));
            output::line(
                "  Look for the newest checkpoint that anyone has kept (a witness, an auditor, the log port) and restore with --known-checkpoint",
            );
        }
    }
}

/// Describes what the restore did with a file, in one or more lines.
fn words(file: &Configured) -> Vec<String> {
    let Configured { name, sha256, fate } = file;
    match fate {
        Fate::Signed => {
            vec![format!("  {name} is restored: the log's key signed it ({sha256})")]
        }
        Fate::AskedFor => vec![format!("  {name} is restored, as you asked ({sha256})")],
        Fate::LeftOut { reason } => vec![
            format!("  {name} is NOT restored: {reason}"),
            format!("    look at it, and restore with --take {sha256} if it is what the site had"),
        ],
        Fate::Gone => vec![format!(
            "  {name} is NOT restored: the backup has lost it; the site had one with the SHA-256 {sha256}"
        )],
    }
}
