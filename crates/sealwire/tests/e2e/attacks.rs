//! Somebody who tries: each file takes one promise of SECURITY.md and does to a running site, or to its files, what an
//! attacker would do.

mod bus;
mod engines;
mod host;
mod private_files;
