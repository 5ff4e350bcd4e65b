//! `sealwire readings`: a sensor's readings as a file for other programs. That they were taken out is sealed first.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use index::Reader;
use model::query::ReadingsQuery;
use readings::Selection;
use site::{
    DataDir, indexing,
    operator::{Done, Order},
};

use crate::{
    cli::{Actor, ReadingsArguments, Signature, SiteFolder},
    log, output, whole_file,
};

/// How long a running site's index may take to come as far as the log: it is a moment behind, or minutes where it is made anew.
const INDEX_WAIT: Duration = Duration::from_secs(600);
/// Between two looks at it.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Readings between two lines of progress: about a second.
const PROGRESS_READINGS: u64 = 1_000_000;

pub(crate) fn run(arguments: ReadingsArguments) -> Result<()> {
    let ReadingsArguments { site, sensor, from, to, format, output: file, signature } = arguments;
    let SiteFolder { data_dir, key_file } = site;
    let Signature { actor: Actor { actor }, reason } = signature;
    let order = Order::ExportReadings { sensor, from, to, actor, reason };
    let done = log::carry_out(&data_dir, key_file, order, |data_dir, ledger| {
        Ok(indexing::catch_up(data_dir, ledger)?)
    })?;
    let Done::ExportReadings { leaf } = done else { bail!("the site did something else") };
    let reader = index_with(&data_dir, leaf)?;
    let known = ReadingsQuery { sensor, from, to, limit: 0, points: None };
    if reader.readings(&known)?.is_none() {
        bail!("there is no sensor {sensor} in the log");
    }
    let selection = Selection { sensor, from, to };
    let mut told = 0;
    let mut progress = |count: u64| {
        if count / PROGRESS_READINGS > told {
            told = count / PROGRESS_READINGS;
            output::note(&format!("sealwire: {count} readings"));
        }
    };
    let count = whole_file::write(&file, |out| {
        Ok(readings::write(&reader, selection, format, out, &mut progress)?)
    })?;
    output::line(&format!(
        "{count} readings are in {}; leaf {leaf} says that they were exported",
        file.display()
    ));
    Ok(())
}

/// The site's index when it has this leaf.
fn index_with(data_dir: &Path, leaf: u64) -> Result<Reader> {
    let path = DataDir::index_of(data_dir);
    let examined = index::examine(&path, true)?.context("the site has no index")?;
    if !examined.is_current {
        bail!("the site's index is of another version of sealwire: use that one");
    }
    let reader = Reader::open(&path)?;
    let deadline = Instant::now() + INDEX_WAIT;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    while reader.next_leaf()? <= leaf {
        if Instant::now() > deadline {
            bail!("the site's index is behind the log for more than {} s", INDEX_WAIT.as_secs());
        }
        runtime.block_on(async { tokio::time::sleep(LOOK_PERIOD).await });
    }
    Ok(reader)
}
