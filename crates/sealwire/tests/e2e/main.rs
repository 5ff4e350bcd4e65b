//! A whole site from outside: the real binary, both real engines, real clients, free ports, a folder of its own for each test.
//!
//! `cargo xtask test` prepares what these need: the components in the binary, the page's tools, a browser, and a Python with paho-mqtt.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod care;
mod completeness;
mod crash;
mod evidence;
mod fleet;
mod house;
mod mqtt;
mod orders;
mod page;
mod readings;
mod refusal;
mod site;
mod witnesses;
