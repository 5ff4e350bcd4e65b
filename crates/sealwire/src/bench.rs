//! `sealwire bench`: measures this machine, with figures that anyone can reproduce.

mod api;
mod figures;
mod ledger;
mod load;
mod machine;
mod pipeline;
mod polling;
mod site;

use anyhow::Result;

use crate::cli::{BenchArguments, BenchCommand};

pub(crate) fn run(arguments: BenchArguments) -> Result<()> {
    match arguments.command {
        BenchCommand::Ledger(arguments) => ledger::run(&arguments),
        BenchCommand::Api(arguments) => api::run(&arguments),
        BenchCommand::Pipeline(arguments) => pipeline::run(&arguments),
        BenchCommand::Polling(arguments) => polling::run(&arguments),
        BenchCommand::Site(arguments) => site::run(&arguments),
        BenchCommand::ApiServe(arguments) => api::serve_until_killed(&arguments),
        BenchCommand::LedgerLoad(arguments) => load::run(&arguments),
        BenchCommand::LedgerServe(arguments) => ledger::serve_until_killed(&arguments),
    }
}
