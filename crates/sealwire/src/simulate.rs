//! `sealwire simulate`: runs simulated sensors on an existing message bus.

use anyhow::{Context as _, Result};

use crate::{cli::SimulateArguments, logging, output, signals};

pub(crate) fn run(arguments: &SimulateArguments) -> Result<()> {
    logging::start();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    output::note(&format!(
        "simulating {} sensors on {} (--seed {seed}); press Ctrl-C to stop",
        arguments.count, arguments.nats
    ));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        simulator::run(arguments.nats.clone(), arguments.count, seed, shutdown)
            .await
            .context("the simulated sensors stopped")
    })
}
