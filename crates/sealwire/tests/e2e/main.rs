//! A whole site from outside: the real binary, both real engines, real clients, free ports, a
//! folder of its own for each test.
//!
//! `cargo xtask test` prepares what these need: the components in the binary, the page's tools, a
//! browser, a Python with paho-mqtt, Pangea's SDK and schemathesis, and Pangea's SDK for Node.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod applications;
mod apps;
mod attacks;
mod authoring;
mod bench;
mod care;
mod clock;
mod completeness;
mod component_events;
mod configuration;
mod crash;
mod evidence;
mod fleet;
mod flood;
mod foreign_logs;
mod guests;
mod house;
mod kubernetes;
mod lattice_of_hosts;
mod mqtt;
mod off_loopback;
mod orders;
mod packages;
mod page;
mod pangea;
mod polling_service;
mod processors;
mod pushed;
mod readings;
mod refusal;
mod rig;
mod rude_clients;
mod sensor_orders;
mod signed;
mod simulator;
mod site;
mod slowed;
mod witnesses;
