//! `sealwire app`: says which components a site runs, and how many hosts run them.

pub(crate) mod arguments;
pub(crate) mod words;

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use lattice::desired::Desired;
use orders::order::{AddressedOrder, DeploymentNow, DeploymentStage, Done, Order};

use self::arguments::{AppArguments, AppOrder};
use crate::{
    cli::order_arguments::{Actor, OrderArguments, Signature},
    log, output,
};

/// Pause between two looks at a deployment on trial.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: AppArguments) -> Result<()> {
    let order = match arguments.order {
        AppOrder::Deploy { file, no_wait, signature } => {
            let Signature { actor: Actor { actor }, reason } = signature;
            let order = Order::Deploy { state: read(&file)?, actor, reason };
            return if no_wait {
                log::give(arguments.site, order)
            } else {
                deploy(arguments.site, order)
            };
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

/// Deploys, and waits until the deployment stays or goes back.
fn deploy(site: OrderArguments, order: Order) -> Result<()> {
    let OrderArguments { data_dir, key_file, log, json } = site;
    let give = |order| {
        let order = AddressedOrder { log: log.clone(), order };
        log::carry_out(&data_dir, key_file.clone(), order)
    };
    let done = give(order)?;
    log::show(&done, json)?;
    let Done::Deploy { leaf, is_on_trial: true, .. } = done else { return Ok(()) };
    let mut told = None;
    loop {
        let answered = give(Order::Deployment { leaf }).with_context(|| {
            format!("the deployment of leaf {leaf} is on trial, and nobody says how it does")
        })?;
        let Done::Deployment { now: Some(DeploymentNow { stage, words, .. }) } = answered else {
            bail!("the site does not know the deployment of leaf {leaf} any more");
        };
        if told.replace(stage) != Some(stage) {
            output::note(&format!("sealwire: {}", words::of_stage(stage)));
        }
        match stage {
            DeploymentStage::Trial | DeploymentStage::Move | DeploymentStage::Probation => pause(),
            DeploymentStage::Stays => return Ok(()),
            DeploymentStage::WentBack => bail!("the deployment went back: {words}"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this command has one thread and waits for the site's decision"
)]
fn pause() {
    std::thread::sleep(LOOK_AGAIN_AFTER);
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
