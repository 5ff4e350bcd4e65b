//! `sealwire witness`: runs a witness for other parties' logs.

use std::{fs, sync::Arc};

use ::witness::{LogList, Witness, WitnessConfig, serve};
use anyhow::{Context as _, Result, bail};
use ledger::disk::RealDisk;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::{cli::WitnessArguments, logging, open_files, output, signals, up};

/// Largest list of logs in bytes: 100,000 logs of a few hundred bytes.
const LOGS_BYTES_MAX: u64 = 64 << 20;

/// Address of a witness, and the key that policies name.
#[derive(Serialize)]
struct Ready {
    url: String,
    vkey: String,
}

pub(crate) fn run(arguments: &WitnessArguments) -> Result<()> {
    logging::start();
    open_files::allow(::witness::FILES_MAX)?;
    let logs = read_logs(arguments)?;
    let config = WitnessConfig {
        data_dir: &arguments.data_dir,
        name: arguments.name.as_deref(),
        logs: &logs,
    };
    let witness = Witness::open(Arc::new(RealDisk), &config).context("cannot open the witness")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        let listen = arguments.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let ready = Ready { url, vkey: witness.vkey().to_string() };
        announce(&ready, logs.iter().count());
        if let Some(file) = &arguments.ready_file {
            up::write_ready_file(file, &ready).context("cannot write the ready file")?;
        }
        serve(listener, Arc::new(witness), shutdown).await;
        Ok(())
    })
}

/// Reads the list of logs. A new witness may not have one yet: its operator must first give its key
/// to those who will ask it.
fn read_logs(arguments: &WitnessArguments) -> Result<LogList> {
    let path = arguments.logs.clone().unwrap_or_else(|| arguments.data_dir.join("logs"));
    let is_absent = matches!(path.try_exists(), Ok(false));
    if arguments.logs.is_none() && is_absent {
        return Ok(LogList::default());
    }
    let name = path.display();
    let bytes = fs::metadata(&path).with_context(|| format!("cannot read {name}"))?.len();
    if bytes > LOGS_BYTES_MAX {
        bail!("{name} has {bytes} bytes, but at most {LOGS_BYTES_MAX} are read");
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    LogList::parse(&text).with_context(|| format!("{name} is not a list of logs"))
}

fn announce(ready: &Ready, logs: usize) {
    let Ready { url, vkey } = ready;
    output::lines(&format!(
        "\n  The witness is listening. It cosigns the checkpoints of {logs} logs.\n\
         \n    url  {url}\n    key  {vkey}\n\
         \n  Line for a site's witness-policy:\n\n    witness <name> {vkey} {url}\n\
         \n  Press Ctrl-C to stop.\n"
    ));
}
