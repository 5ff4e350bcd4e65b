//! Runs the tests that race other threads or processes again and again, where little goes as usual:
//! on a loaded machine, with slow system calls, and with stops in the midst of anything.
//!
//! What fails once in a hundred rounds is a fault, of the code or of the test.

mod circumstance;
mod racing;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use self::{
    circumstance::{Circumstance, Load, Pauses},
    racing::{Cost, RACING, Racing},
};
use crate::shell::{cargo, say, target};

/// Rounds where nobody says how many: enough to meet what fails once in a hundred.
const ROUNDS_DEFAULT: u64 = 100;
/// Rounds in the short form, which takes half a minute: one of each circumstance.
const ROUNDS_SHORT: u64 = 3;
/// A run that takes longer hangs. The slowest takes half a minute, and minutes where its calls are
/// delayed and others use the machine.
const RUN_MAX: Duration = Duration::from_secs(600);
/// How long a thread may take to say that a process has ended.
const MOMENT: Duration = Duration::from_secs(5);

/// Runs all of the tests, or those with `TEST` in their names, for so many rounds.
pub(crate) fn all(arguments: &[&str]) -> Result<()> {
    let (rounds, wanted) = match arguments {
        ["--rounds", rounds, rest @ ..] => {
            let number = rounds.parse().ok().filter(|rounds| *rounds > 0);
            (number.with_context(|| format!("`{rounds}` is not a number of rounds"))?, rest)
        }
        rest => (ROUNDS_DEFAULT, rest),
    };
    let part = match wanted {
        [] => "",
        [part] => part,
        more => bail!("`{}` is more than one test: name one, or none for all", more.join(" ")),
    };
    let is_chosen = |racing: &Racing| racing.name().contains(part);
    if !RACING.iter().any(is_chosen) {
        let names: Vec<String> = RACING.iter().map(Racing::name).collect();
        bail!("there is no such test:\n  {}", names.join("\n  "));
    }
    soak(is_chosen, rounds)
}

/// The short form: a few rounds of what costs least.
pub(crate) fn short() -> Result<()> {
    soak(|racing| racing.cost == Cost::Cheap, ROUNDS_SHORT)
}

fn soak(is_chosen: impl Fn(&Racing) -> bool, rounds: u64) -> Result<()> {
    let programs = build(is_chosen)?;
    let kinds = circumstance::all_here()?;
    say(&format!("{rounds} rounds of {} racing tests on a loaded machine", programs.len()));
    let failures = target().join("soak");
    let output = failures.join("output");
    fs::create_dir_all(&failures).with_context(|| format!("cannot make {}", failures.display()))?;
    let begin = Instant::now();
    let load = Load::begin();
    let mut runs: BTreeMap<String, Runs> = BTreeMap::new();
    for round in 0..rounds {
        let round_began = Instant::now();
        // A test meets another circumstance in each round, and not the same as its neighbours.
        let kinds = kinds.iter().cycle().skip(usize::try_from(round)? % kinds.len());
        let programs = programs.iter().filter(|(racing, _)| racing.runs_in(round));
        for (kind, (racing, program)) in kinds.zip(programs) {
            let circumstance = kind.in_round(round);
            let began = Instant::now();
            let ended = run(program, racing, &circumstance, &output)?;
            let runs = runs.entry(racing.name()).or_default();
            runs.longest = runs.longest.max(began.elapsed());
            runs.count += 1;
            if let Err(reason) = ended {
                runs.failed += 1;
                let kept = failures.join(format!("{}-{round}.txt", racing.test.replace("::", "-")));
                fs::rename(&output, &kept)
                    .with_context(|| format!("cannot keep {}", kept.display()))?;
                say(&format!(
                    "{} fails in round {round} ({circumstance}): {reason}; see {}",
                    racing.name(),
                    kept.display()
                ));
            }
        }
        say(&format!("round {round} took {} s", round_began.elapsed().as_secs()));
    }
    drop(load);
    report(&runs, begin.elapsed())
}

/// How the runs of one test ended.
#[derive(Debug, Default)]
struct Runs {
    count: u64,
    failed: u64,
    longest: Duration,
}

fn report(runs: &BTreeMap<String, Runs>, took: Duration) -> Result<()> {
    let mut failed = Vec::new();
    for (name, runs) in runs {
        let Runs { count, failed: fails, longest } = runs;
        say(&format!("{fails:3} of {count} fail, longest {:5.1} s: {name}", longest.as_secs_f32()));
        if *fails > 0 {
            failed.push(name.as_str());
        }
    }
    let count: u64 = runs.values().map(|runs| runs.count).sum();
    say(&format!("{count} runs in {} s", took.as_secs()));
    if !failed.is_empty() {
        bail!("what fails once is a fault:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

/// A test program, and the folder that cargo would run it in.
#[derive(Clone, Debug)]
struct Program {
    path: PathBuf,
    folder: PathBuf,
}

/// Builds the programs of the racing tests; returns the chosen tests, each with its program.
fn build(is_chosen: impl Fn(&Racing) -> bool) -> Result<Vec<(&'static Racing, Program)>> {
    say("building the tests that race");
    let built = cargo()
        // Of the whole workspace: with other features, all of it would be built once more.
        .args(["test", "--locked", "--quiet", "--no-run", "--workspace", "--lib", "--test", "it"])
        .arg("--message-format=json")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !built.status.success() {
        bail!("the tests cannot be built");
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    let programs: Vec<(String, Program)> = messages.lines().filter_map(program).collect();
    let with_program = |racing: &'static Racing| {
        let has_it = |(target, program): &&(String, Program)| {
            *target == racing.target_name() && program.folder.ends_with(racing.package)
        };
        let (_, program) = programs
            .iter()
            .find(has_it)
            .with_context(|| format!("cargo built no program with {}", racing.name()))?;
        let listed = Command::new(&program.path).arg("--list").output()?;
        let line = format!("{}: test", racing.test);
        if !String::from_utf8_lossy(&listed.stdout).lines().any(|listed| listed == line) {
            bail!("there is no test {}: correct xtask/src/soak/racing.rs", racing.name());
        }
        Ok((racing, program.clone()))
    };
    // Each row is looked at, so that none that is rarely run names a test that is gone.
    let mut programs = RACING.iter().map(with_program).collect::<Result<Vec<_>>>()?;
    programs.retain(|(racing, _)| is_chosen(racing));
    Ok(programs)
}

/// The target and the test program in one of cargo's messages.
fn program(message: &str) -> Option<(String, Program)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let text = |pointer: &str| message.pointer(pointer)?.as_str();
    let path = PathBuf::from(text("/executable")?);
    let folder = Path::new(text("/manifest_path")?).parent()?.to_owned();
    Some((text("/target/name")?.to_owned(), Program { path, folder }))
}

/// Runs a test once; an error says how it failed. What it prints goes to the file `output`.
fn run(
    program: &Program,
    racing: &Racing,
    circumstance: &Circumstance,
    output: &Path,
) -> Result<Result<(), String>> {
    let printed =
        File::create(output).with_context(|| format!("cannot write {}", output.display()))?;
    let mut child = circumstance
        .command(&program.path)
        .args(["--exact", racing.test, "--nocapture"])
        .current_dir(&program.folder)
        .stdin(Stdio::null())
        .stdout(printed.try_clone()?)
        .stderr(printed)
        // So that what it started ends with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", racing.name()))?;
    let pid = Pid::from_child(&child);
    let (ended, end) = mpsc::channel();
    let waiting = thread::spawn(move || ended.send(child.wait()));
    let status = watch(pid, &end, circumstance.pauses());
    if status.is_none() {
        kill_process_group(pid, Signal::KILL).context("cannot kill what hangs")?;
    }
    waiting.join().expect("waiting for a process does not panic").unwrap_or_default();
    let Some(status) = status else {
        return Ok(Err(format!("it hangs for {} s", RUN_MAX.as_secs())));
    };
    let status = status.context("cannot wait for a test")?;
    let said = fs::read(output)?;
    let has_passed = String::from_utf8_lossy(&said).contains("test result: ok. 1 passed");
    Ok(if status.success() && has_passed { Ok(()) } else { Err(status.to_string()) })
}

/// Waits for the end of a process, which is stopped for a while again and again; `None` if it
/// hangs.
fn watch(
    pid: Pid,
    end: &mpsc::Receiver<std::io::Result<ExitStatus>>,
    pauses: Option<Pauses>,
) -> Option<std::io::Result<ExitStatus>> {
    let deadline = Instant::now() + RUN_MAX;
    let mut pauses = pauses.into_iter().flatten();
    while Instant::now() < deadline {
        let Some((runs_for, stops_for)) = pauses.next() else {
            match end.recv_timeout(deadline - Instant::now()) {
                Ok(status) => return Some(status),
                Err(_hangs) => break,
            }
        };
        for (wait, signal) in [(runs_for, Signal::STOP), (stops_for, Signal::CONT)] {
            if let Ok(status) = end.recv_timeout(wait) {
                return Some(status);
            }
            // It may have ended meanwhile.
            let _is_there = kill_process_group(pid, signal);
        }
    }
    // If this program itself was stopped, the process may have ended in time. The thread that waits
    // for it was stopped too, and says so in a moment.
    end.recv_timeout(MOMENT).ok()
}
