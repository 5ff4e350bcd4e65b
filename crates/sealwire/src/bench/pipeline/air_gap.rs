//! How long a new site takes to start on a machine without a network.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Result;

use super::{Bench, Figures};
use crate::{
    bench::{machine::temporary, site::running},
    output,
};

/// Runs a program in a network namespace that has loopback and nothing else.
const WITHOUT_NETWORK: [&str; 6] =
    ["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];

impl Bench {
    pub(super) fn air_gap(&self, figures: &mut Figures) -> Result<()> {
        output::note("sealwire: starting without a network");
        if !can_go_without() {
            output::note("sealwire: not measured, because that needs root, `unshare` and `ip`");
            return Ok(());
        }
        let folder = temporary(&self.folder)?;
        let elapsed: Duration =
            running::start_within(&WITHOUT_NETWORK, &self.program, folder.path())?;
        figures.air_gap_start_s = Some(elapsed.as_secs_f64());
        Ok(())
    }
}

fn can_go_without() -> bool {
    let [program, words @ ..] = WITHOUT_NETWORK;
    let tried = Command::new(program).args(words).arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}
