//! What the reconciler promises, whatever happens to the hosts.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod fleet;
mod promises;
mod rollouts;
