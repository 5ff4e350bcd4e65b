//! How long a reading takes on its way, as histograms for Prometheus.
//!
//! All have the same bounds, so their shares can be compared. What a process did not seal itself
//! does not count: a leaf that waited while the site was down was not late.

use ledger::{BOUNDS_SECONDS, histogram};
use model::Timestamp;
use prometheus::Histogram;

/// Time from when a poll could be sent until it goes to the devices' server.
#[must_use]
pub fn poll_late_seconds() -> Histogram {
    let help = "Time from when a poll is due until the site sends it.";
    histogram("sealwire_poll_late_seconds", help, &BOUNDS_SECONDS)
}

/// Time from the queue to the disk, for each event of the site.
#[must_use]
pub fn seal_seconds() -> Histogram {
    let help = "Time from when the site has an event until it is durable.";
    histogram("sealwire_seal_seconds", help, &BOUNDS_SECONDS)
}

/// Time from the receipt to the index, for each leaf.
#[must_use]
pub fn found_seconds() -> Histogram {
    let help = "Time from when a leaf is sealed until the index has it.";
    histogram("sealwire_found_seconds", help, &BOUNDS_SECONDS)
}

/// Time from the receipt to the sealed verdict, for each leaf that is judged.
#[must_use]
pub fn verdict_seconds() -> Histogram {
    let help = "Time from when a leaf is sealed until its verdict is sealed.";
    histogram("sealwire_verdict_seconds", help, &BOUNDS_SECONDS)
}

/// Counts leaves that a consumer has handled now, by the moments at which the site received them.
/// Within the loop it touches nothing that is shared.
pub(crate) fn observe(histogram: &Histogram, received_at: impl Iterator<Item = Timestamp>) {
    let now = clock::now();
    let counted = histogram.local();
    for received_at in received_at {
        counted.observe(now.since(received_at).as_secs_f64());
    }
    counted.flush();
}
