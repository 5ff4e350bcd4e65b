//! `sealwire export`: rows of a log as evidence for others.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use ledger::evidence::{Exported, Selection, export};
use model::Timestamp;

use crate::{cli::ExportArguments, data_dir, output, verify, whole_file};

/// What a bundle says wrote it.
const PROGRAM: &str = concat!("sealwire ", env!("CARGO_PKG_VERSION"));

pub(crate) fn run(arguments: &ExportArguments) -> Result<()> {
    let ExportArguments { data_dir, from, to, sensor, witnessed, output: bundle } = arguments;
    let log = data_dir::look_as_asked(data_dir, *witnessed)
        .with_context(|| format!("cannot export from {}", data_dir.display()))?;
    let selection = Selection { from: *from, to: *to, sensor: *sensor };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::after_1970(now);
    let Exported { first, end, rows, erased } = whole_file::write(bundle, |out| {
        Ok(export(&log, &selection, now, PROGRAM, out, &mut verify::progress())?)
    })?;
    output::line(&format!(
        "{rows} rows of the leaves from {first} up to {end} are in {}",
        bundle.display()
    ));
    if erased > 0 {
        output::line(&format!(
            "{erased} more are there without their envelopes, which were erased"
        ));
    }
    if rows + erased == 0 {
        output::line("nothing was asked for that is there: check --sensor, --from and --to");
    }
    let vkey = log.keys().at(log.size());
    output::line(&format!(
        "check it anywhere:  sealwire verify bundle {} --vkey {vkey}",
        bundle.display()
    ));
    Ok(())
}
