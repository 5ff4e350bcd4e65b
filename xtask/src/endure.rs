//! What takes longer than CI waits for: kills by the hundred, and fuzzing.

use anyhow::{Context as _, Result};

use crate::shell::{cargo, run};

/// Rounds of kills where nobody says how many.
const KILLS_DEFAULT: u64 = 100;

/// Kills a process that appends, again and again, and holds the log to what was acknowledged; also on a full file system where root can mount one.
pub(crate) fn kills(rounds: Option<&str>) -> Result<()> {
    let rounds: u64 = rounds
        .map_or(Ok(KILLS_DEFAULT), str::parse)
        .with_context(|| format!("`{}` is not a number of rounds", rounds.unwrap_or_default()))?;
    run(
        &format!("{rounds} rounds of kill -9"),
        cargo()
            .args(["test", "--locked", "--package", "ledger", "--test", "it", "kills", "--"])
            .arg("--nocapture")
            .env("SEALWIRE_KILLS_ROUNDS", rounds.to_string()),
    )
}
