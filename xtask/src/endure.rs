//! Checks that take too long for CI: hundreds of kills, simulated sites, and fuzzing.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, command, output, root, run};

/// Default number of rounds of kills.
const KILLS_DEFAULT: u64 = 100;
/// Default number of simulated sites: a few minutes on two cores.
const SITES_DEFAULT: u64 = 200;
/// Default seconds for each fuzz target: a time that a person is willing to wait.
const FUZZ_SECONDS_DEFAULT: u64 = 60;

/// Kills a process that appends, again and again, and compares the log with what was acknowledged.
/// Also does this on a full file system, if root can mount one.
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

/// Simulates sites under new seeds, or the one of a given seed. Of that one it tells each event.
pub(crate) fn sites(arguments: &[&str]) -> Result<()> {
    let number = |text: &str| -> Result<u64> {
        text.parse().with_context(|| format!("`{text}` is not a whole number"))
    };
    let mut simulate = cargo();
    simulate.args(["test", "--locked", "--package", "services", "--test", "it", "a_site_keeps"]);
    simulate.args(["--", "--nocapture"]);
    let what = match arguments {
        [] | ["--seeds", _] => {
            let seeds = arguments.get(1).map_or(Ok(SITES_DEFAULT), |seeds| number(seeds))?;
            let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            simulate.env("SEALWIRE_SITES_SEEDS", seeds.to_string());
            simulate.env("SEALWIRE_SITES_FIRST", first.to_string());
            format!("{seeds} simulated sites, from seed {first} on")
        }
        [seed] => {
            simulate.env("SEALWIRE_SITES_SEED", number(seed)?.to_string());
            format!("the simulated site of seed {seed}")
        }
        _ => bail!("name one seed, or `--seeds` and how many"),
    };
    run(&what, &mut simulate)
}

/// Fuzzes one target, or all of them in turn, each for this many seconds. New inputs go to
/// `fuzz/target/corpus`; `fuzz/corpus` has the inputs that are kept.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<()> {
    let (seconds, wanted) = match arguments {
        ["--seconds", seconds, rest @ ..] => (
            seconds.parse().with_context(|| format!("`{seconds}` is not a number of seconds"))?,
            rest,
        ),
        rest => (FUZZ_SECONDS_DEFAULT, rest),
    };
    let targets = fuzz_targets()?;
    let chosen: Vec<&String> = match wanted {
        [] => targets.iter().collect(),
        [name] => targets.iter().filter(|target| target == name).collect(),
        more => bail!("`{}` is more than one target: name one, or none for all", more.join(" ")),
    };
    if chosen.is_empty() {
        bail!("there is no such target: {}", targets.join(", "));
    }
    if output("cargo", &["+nightly", "fuzz", "--version"]).is_none() {
        bail!("fuzzing needs `rustup toolchain install nightly` and `cargo install cargo-fuzz`");
    }
    for target in chosen {
        // New inputs go to the first folder.
        let found = root().join("fuzz/target/corpus").join(target);
        let artifacts = root().join("fuzz/artifacts").join(target);
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        run(
            &format!("fuzzing {target} for {seconds} s"),
            command("cargo")
                .args(["+nightly", "fuzz", "run", "--features", "libfuzzer"])
                .args(["--target-dir", "fuzz/target", "any"])
                .arg(found)
                .arg(root().join("fuzz/corpus").join(target))
                .args(["--", &format!("-max_total_time={seconds}")])
                .arg(format!("-artifact_prefix={}/", artifacts.display()))
                .env("SEALWIRE_FUZZ_TARGET", target)
                // What is only fuzzed needs no minutes of optimisation across crates.
                .env("CARGO_PROFILE_RELEASE_LTO", "off"),
        )?;
    }
    Ok(())
}

/// Each folder of inputs is that of a target; the tests of `fuzz` check this.
fn fuzz_targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/corpus");
    let mut targets = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        targets.push(entry?.file_name().to_string_lossy().into_owned());
    }
    targets.sort_unstable();
    Ok(targets)
}
