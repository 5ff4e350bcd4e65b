//! Both sides of C2SP tlog-witness.
//!
//! A [`Witness`] is for anyone's log: it remembers the largest tree that it saw of each log it
//! [knows](LogList), cosigns what extends that, and nothing else; [`serve`] answers over HTTP. A
//! log has [`Gathering`], which decides whom to ask about which checkpoint and when the policy's
//! quorum is there, and [`Client`], which asks.
//!
//! What is decided is decided without IO: `tlog` judges requests and policies, [`Gathering`] and
//! the rate limit take the time as an argument.
//!
//! Invariant: of each log, every cosignature that leaves a witness is of a tree that extends all
//! those before, and its record was durable before.

mod client;
mod gathering;
mod http;
mod logs;
mod rate;
mod records;
mod witness;

pub use client::{Answer, AskError, Client};
pub use gathering::{Action, Ask, Gathering, Witnessed};
pub use http::{FILES_MAX, serve};
pub use logs::{KnownLog, LogList, LogListError, LogListFault};
pub use records::RecordError;
pub use witness::{OpenWitnessError, Refusal, Witness, WitnessConfig};
