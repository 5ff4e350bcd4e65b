//! Sealwire: industrial readings, sealed in a log that anyone can verify.
//!
//! This is the only binary: its command line and its wiring. Exit codes: 0 done, 1 failed (the last
//! line on standard error says what), 2 wrong usage, 3 (`verify` only) nothing is wrong, but
//! nothing is shown either.

mod app;
mod backup;
mod bench;
mod ca;
mod cli;
mod component;
mod components;
mod config;
mod data_dir;
mod doctor;
mod export;
mod host;
mod import;
mod log;
mod logging;
mod map;
mod open_files;
mod output;
mod policy;
mod processors;
mod prove;
mod readings;
mod restore;
mod run_engine;
mod sensor;
mod settings;
mod signals;
mod simulate;
mod token;
mod up;
mod verify;
mod witness;

use std::process::ExitCode;

use anyhow::Result;
use rustix::{fs::Mode, process::umask};

use crate::cli::Command;

fn main() -> ExitCode {
    own_what_is_made();
    let result = run();
    match result.and_then(|()| output::check()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            match error.downcast_ref::<verify::NotShown>() {
                Some(_) => ExitCode::from(verify::NotShown::EXIT_CODE),
                None => ExitCode::FAILURE,
            }
        }
    }
}

fn run() -> Result<()> {
    let (command, settings) = settings::read()?;
    match command {
        Command::Up(arguments) => up::run(*arguments),
        Command::Ca(arguments) => ca::run(&arguments),
        Command::Component(arguments) => component::run(arguments),
        Command::Config(arguments) => config::run(&arguments, &settings),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Log(arguments) => log::run(arguments),
        Command::App(arguments) => app::run(arguments),
        Command::Token(arguments) => log::give(arguments.site, arguments.order.into()),
        Command::Sensor(arguments) => sensor::run(arguments),
        Command::Host(arguments) => host::run(arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Readings(arguments) => readings::run(arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Witness(arguments) => witness::run(&arguments),
        Command::Map(arguments) => map::run(&arguments.command),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::RunEngine(arguments) => run_engine::run(&arguments),
    }
}

/// Lets the process read and write the files that it creates, whatever umask it was started with.
/// Leaves the bits for other accounts as they are.
fn own_what_is_made() {
    let others = Mode::RWXG | Mode::RWXO;
    let mask = umask(others);
    umask(mask & others);
}
