//! `sealwire bench`: what this machine does, in figures that anyone can get.

mod ledger;
mod load;
mod machine;

use anyhow::Result;

use crate::cli::{BenchArguments, BenchCommand};

pub(crate) fn run(arguments: BenchArguments) -> Result<()> {
    match arguments.command {
        BenchCommand::Ledger(arguments) => ledger::run(&arguments),
        BenchCommand::LedgerLoad(arguments) => load::run(&arguments),
    }
}
