//! The services of a site from outside: a whole site in a simulated world, and what applications
//! hand in.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]
#![expect(clippy::cast_possible_truncation, reason = "what tests count is small")]
#![expect(clippy::print_stderr, reason = "a seed that fails is told with how to repeat it")]

mod applications;
mod failing_component;
mod replay;
mod simulated_site;
