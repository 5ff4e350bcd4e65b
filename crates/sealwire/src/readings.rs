//! `sealwire readings`: writes a sensor's readings to a file for other programs. Seals the fact of
//! the export first.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use ledger::LogReader;
use orders::{AddressedOrder, Done, Order};
use readings::{Selection, Written, csv::Formulas};

use crate::{
    cli::{Actor, ReadingsArguments, Signature, SiteFolder},
    data_dir, log, output, signals, verify,
};

pub(crate) fn run(arguments: ReadingsArguments) -> Result<()> {
    let ReadingsArguments {
        site,
        log: which,
        sensor,
        channel,
        from,
        to,
        format,
        csv_formulas,
        output: file,
        signature,
    } = arguments;
    let SiteFolder { data_dir, key_file } = site;
    let Signature { actor: Actor { actor }, reason } = signature;
    let order = Order::ExportReadings { sensor, from, to, actor, reason };
    let done =
        log::carry_out(&data_dir, key_file.clone(), AddressedOrder { log: which.log, order })?;
    let Done::ExportReadings { leaf } = done else {
        bail!("the site answered another order than this export")
    };
    let log = log_with(&data_dir, key_file, leaf)?;
    let selection = Selection { sensor, channel: channel.as_deref(), from, to };
    let formulas = if csv_formulas { Formulas::Kept } else { Formulas::Defused };
    let stop = signals::stop()?;
    let written = durable::write_output(&file, &stop, |out| {
        let written =
            readings::write(&log, selection, (format, formulas), out, &mut verify::progress())?;
        ensure!(written.is_known, "the log has no sensor {sensor}");
        if let Some(channel) = &channel {
            ensure!(written.values > 0, "no reading of this span has a value of `{channel}`");
        }
        Ok(written)
    })?;
    let Some(Written { readings, erased, .. }) = written else { return Ok(()) };
    let line = output::about(&file);
    line(&format!("exported {readings} readings to {}; recorded at leaf {leaf}", file.display()));
    if erased > 0 {
        line(&format!(
            "{erased} envelopes in this span were erased: some of them may have held readings of this sensor"
        ));
    }
    Ok(())
}

/// Opens the log at a checkpoint that covers this leaf.
fn log_with(data_dir: &Path, key_file: Option<PathBuf>, leaf: u64) -> Result<LogReader> {
    let log = data_dir::look(data_dir, None)?;
    if log.size() > leaf {
        return Ok(log);
    }
    log::carry_out(data_dir, key_file, Order::Checkpoint.into())
        .context("cannot get a checkpoint that covers the record of this export")?;
    let log = data_dir::look(data_dir, None)?;
    ensure!(
        log.size() > leaf,
        "the newest checkpoint covers {} leaves, so it does not cover leaf {leaf}",
        log.size()
    );
    Ok(log)
}
