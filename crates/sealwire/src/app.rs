//! `sealwire app`: says which components a site runs, and how many hosts run them.

pub(crate) mod arguments;
pub(crate) mod words;

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};
use lattice::desired::Desired;
use orders::order::Order;

use self::arguments::{AppArguments, AppOrder};
use crate::{
    cli::order_arguments::{Actor, Signature},
    log,
};

pub(crate) fn run(arguments: AppArguments) -> Result<()> {
    let order = match arguments.order {
        AppOrder::Deploy { file, signature: Signature { actor: Actor { actor }, reason } } => {
            Order::Deploy { state: read(&file)?, actor, reason }
        }
        AppOrder::Diff { file } => Order::DiffApps { state: read(&file)? },
        AppOrder::Status => Order::Apps,
        AppOrder::History => Order::AppHistory,
        AppOrder::Rollback { signature: Signature { actor: Actor { actor }, reason } } => {
            Order::RollBack { actor, reason }
        }
    };
    log::give(arguments.site, order)
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let failed = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let max = Desired::FILE_BYTES_MAX;
    let read = file.take(max as u64 + 1).read_to_string(&mut text).with_context(failed)?;
    if read > max {
        bail!("{} has more than {max} bytes, which is the limit", path.display());
    }
    Ok(text)
}
