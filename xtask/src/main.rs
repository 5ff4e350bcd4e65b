//! The project's own commands, so that a fresh machine needs nothing but Rust, Node and Python:
//! `cargo xtask up` and `cargo xtask test`.

mod book;
mod build;
mod check;
mod chip;
mod debian;
mod dependencies;
mod endure;
mod images;
mod oldest_rust;
mod python;
mod shell;
mod soak;
mod strangers;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  up [ARGS]          build everything and run `sealwire up --open --simulate 40 [ARGS]`
  build [--release]  build the components, the page and the binary
  check              layout, formatting, spelling, dependencies, lints and unit tests, in under a minute
  test               everything CI runs, which begins with `check`
  kills [ROUNDS]     kill a process that appends to a log with SIGKILL, 100 times or ROUNDS, and check the log each time
  sites [--seeds N] [SEED]
                     simulate 200 sites or N, each under a new seed; or the site of one seed, and tell each event
  fuzz [--seconds N] [TARGET]
                     fuzz every target, or one, for 60 s each or N; needs a nightly toolchain and cargo-fuzz
  soak [--rounds N] [TEST]
                     run the tests that race other threads or processes, or one, 100 times or N, on a loaded machine with
                     slow system calls
  images             build static programs for x86-64 and arm64, and make OCI images of them and of the components
  tidy               check the layout, the direction of dependencies, and links between documents
  measure            run a site and print the figures of docs/performance.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["up", rest @ ..] => build::up(rest),
        ["build"] => build::all(build::Profile::Dev).map(|_binary| ()),
        ["build", "--release"] => build::all(build::Profile::Release).map(|_binary| ()),
        ["check"] => check::all(),
        ["test"] => test::all(),
        ["kills"] => endure::kills(None),
        ["kills", rounds] => endure::kills(Some(rounds)),
        ["sites", rest @ ..] => endure::sites(rest),
        ["fuzz", rest @ ..] => endure::fuzz(rest),
        ["soak", rest @ ..] => soak::all(rest),
        ["images"] => images::all(),
        ["tidy"] => tidy::check(),
        ["measure"] => test::measure(),
        [] => bail!("no command\n\n{USAGE}"),
        other => bail!("`{}` is not a command\n\n{USAGE}", other.join(" ")),
    }
}
