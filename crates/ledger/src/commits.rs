//! What the log measures of its commit groups, in the form in which Prometheus takes it.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, core::Collector as _, proto::MetricFamily};

/// Upper bounds in seconds of everything that a site times, so that its times can be compared. An
/// fsync takes a tenth of a millisecond at least; what takes longer than ten seconds is an alarm.
pub const BOUNDS_SECONDS: [f64; 15] =
    [0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Upper bounds of a group's leaves: a lone event, up to a few batches of the largest size.
const BOUNDS_LEAVES: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];
/// Upper bounds of a group's bytes: a lone event has about 200, and the largest group 32 MiB.
const BOUNDS_BYTES: [f64; 9] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Measurements of commit groups since the log was opened. Cheap to clone: the clones share them.
#[derive(Clone, Debug)]
pub struct Commits {
    seconds: Histogram,
    leaves: Histogram,
    bytes: Histogram,
}

impl Commits {
    pub(crate) fn new() -> Self {
        Self {
            seconds: histogram(
                "sealwire_commit_seconds",
                "Time to make a commit group durable.",
                &BOUNDS_SECONDS,
            ),
            leaves: histogram(
                "sealwire_commit_leaves",
                "Leaves of a commit group.",
                &BOUNDS_LEAVES,
            ),
            bytes: histogram(
                "sealwire_commit_bytes",
                "Bytes that a commit group takes in its segment.",
                &BOUNDS_BYTES,
            ),
        }
    }

    /// Counts a group that is durable.
    pub(crate) fn observe(&self, took: Duration, leaves: usize, bytes: u64) {
        self.seconds.observe(took.as_secs_f64());
        self.leaves.observe(leaves as f64);
        self.bytes.observe(bytes as f64);
    }

    /// The measurements up to now.
    #[must_use]
    pub fn collect(&self) -> Vec<MetricFamily> {
        [&self.seconds, &self.leaves, &self.bytes].into_iter().flat_map(|it| it.collect()).collect()
    }
}

/// A histogram with these upper bounds. Observing takes no lock and allocates nothing.
///
/// # Panics
/// The name is not one of Prometheus', or the bounds do not rise.
#[must_use]
pub fn histogram(name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    Histogram::with_opts(options).expect("a name and rising bounds")
}
