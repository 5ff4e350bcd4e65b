//! Both sides of C2SP tlog-witness.
//!
//! A [`Witness`] works for the logs of others. It remembers the largest tree that it saw of each
//! log it [knows](LogList), cosigns checkpoints that extend that tree, and nothing else. [`serve`]
//! offers it over HTTP. A log uses [`Gathering`] and [`Client`]: `Gathering` decides which witness
//! to ask about which checkpoint and when the policy's quorum is complete, and `Client` sends the
//! requests.
//!
//! All decisions are made without IO: `tlog` judges requests and policies, and [`Gathering`] and
//! the rate limit take the time as an argument.
//!
//! Invariant: for each log, every cosignature that leaves a witness is of a tree that extends all
//! trees it cosigned before, and the witness made its record durable first.

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
