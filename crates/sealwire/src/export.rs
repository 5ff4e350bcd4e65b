//! `sealwire export`: writes rows of a log to an evidence bundle.

use anyhow::{Context as _, Result};
use ledger::evidence::{Exported, Selection, export};

use crate::{cli::ExportArguments, data_dir, output, signals, verify};

/// The program that a bundle names as its writer.
const PROGRAM: &str = concat!("sealwire ", env!("CARGO_PKG_VERSION"));

pub(crate) fn run(arguments: &ExportArguments) -> Result<()> {
    let ExportArguments { data_dir, from, to, sensor, log: which, witnessed, output: bundle } =
        arguments;
    let log = data_dir::look_as_asked(data_dir, which, *witnessed)
        .with_context(|| format!("cannot export from {}", data_dir.display()))?;
    let selection = Selection { from: *from, to: *to, sensor: *sensor };
    let stop = signals::stop()?;
    let exported = durable::write_output(bundle, &stop, |out| {
        anyhow::Ok(export(&log, &selection, clock::now(), PROGRAM, out, &mut verify::progress())?)
    })?;
    let Some(Exported { first, end, rows, erased }) = exported else { return Ok(()) };
    let line = output::about(bundle);
    line(&format!(
        "exported {rows} rows, of the leaves from {first} up to {end}, to {}",
        bundle.display()
    ));
    if erased > 0 {
        line(&format!("{erased} more rows have no envelope, because it was erased"));
    }
    if rows + erased == 0 {
        line("nothing in the log matches: check --sensor, --from and --to");
    }
    let vkey = log.keys().at(log.size());
    line(&format!(
        "verify it anywhere:  sealwire verify bundle {} --vkey {vkey}",
        output::quoted(bundle)
    ));
    Ok(())
}
