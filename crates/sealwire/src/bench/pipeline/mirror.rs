//! How many events a second a site mirrors to another site on the same machine, and the memory of
//! its host, which then runs all five components.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use ledger::Batch;
use model::Event;
use serde::Deserialize;
use site::judging_alone::JudgingAlone;

use super::{Bench, Figures};
use crate::{
    bench::{
        ledger::resident_mb,
        machine::temporary,
        site::{
            door::{certify, order},
            load::data_dir,
            running::{Site, until},
        },
    },
    output,
};

/// Events to mirror; a tenth with `--quick`.
const EVENTS: usize = 300_000;

/// The part of `sealwire token create` that is needed.
#[derive(Deserialize)]
struct Made {
    token: String,
}

impl Bench {
    pub(super) fn mirror(&self, figures: &mut Figures) -> Result<()> {
        let events = if self.is_quick { EVENTS / 10 } else { EVENTS };
        output::note(&format!("sealwire: mirroring {events} events"));
        let folder = temporary(&self.folder)?;
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        for folder in [&from, &to] {
            fs::create_dir(folder).context("cannot create a folder")?;
        }
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let per_batch = Batch::EVENTS_MAX;
        let batches = (0..events / per_batch).map(|batch| logins(batch * per_batch, per_batch));
        runtime.block_on(JudgingAlone::seal_before(&data_dir(&from), batches))?;

        let here = certify(&self.program, &to)?;
        let server = Site::start_anywhere(&self.program, &to, &[format!("--log-listen={here}")])?;
        let flags = self.flags(&from, &to, server.log())?;
        let site = Site::start_anywhere(&self.program, &from, &flags)?;
        let mirrored = || Ok(site.metric("sealwire_mirror_leaves")?.filter(|leaves| *leaves > 0));
        let first = until("something is mirrored", mirrored)?;
        let begin = Instant::now();
        let last = until("everything is mirrored", || {
            Ok(mirrored()?.filter(|leaves| *leaves >= events as u64))
        })?;
        figures.pangea_mirror_per_s = Some((last - first) as f64 / begin.elapsed().as_secs_f64());
        figures.host_rss_mb = resident_mb(site.host()?);
        site.stop()?;
        server.stop()
    }

    /// Makes a token for the mirror. Returns the flags of a site that uses it.
    fn flags(&self, from: &Path, to: &Path, url: &str) -> Result<Vec<String>> {
        let made = ["token", "create", "--name", "mirror", "--scope", "write", "--json"];
        let Made { token } = serde_json::from_str(&order(&self.program, to, &made)?)?;
        let file = from.join("mirror-token");
        durable::write_secret(&file, token.as_bytes())?;
        let ca = data_dir(to).join("tls/ca.pem");
        Ok(vec![
            format!("--mirror-url={url}"),
            format!("--mirror-token-file={}", file.display()),
            format!("--mirror-ca={}", ca.display()),
        ])
    }
}

/// Events of an application.
fn logins(first: usize, count: usize) -> Vec<Event> {
    let login = |number: usize| Event {
        action: Some(String::from("LOGIN")),
        actor: Some(format!("user{}", number % 1_000)),
        status: Some(String::from("SUCCESS")),
        message: format!("login {number} of the day"),
        ..Event::default()
    };
    (first..first + count).map(login).collect()
}
