//! Attacks: each file takes a promise of SECURITY.md and does to a running site, or to its files,
//! what an attacker would do.

mod bus;
mod changed_index;
pub(crate) mod credentials;
mod devices;
mod endings;
mod engines;
mod host;
mod nothing_shown;
mod orders;
mod page_port;
mod paths;
mod printed;
mod private_files;
