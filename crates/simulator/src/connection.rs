//! Connections to NATS with a small footprint, because each sensor may have its own.

use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_nats::{Client, ConnectError, ConnectOptions, Event, ServerAddr};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use crate::sensor::mix;

/// Size of the read buffer. A poll has four bytes; the largest message is the server's first line,
/// of one or two KiB.
const READ_BUFFER_BYTES: u16 = 2 * 1024;
/// Most messages that wait to be sent: a few heartbeats of every sensor on the connection while the
/// server is down. When the queue is full, sensors wait.
const SEND_QUEUE_MESSAGES: usize = 128;
/// Most polls that wait for one sensor, which takes them at once. When the queue is full, further
/// polls are dropped, as on a device.
const POLL_QUEUE_MESSAGES: usize = 16;

/// Wait before the first reconnection attempt. It doubles with each attempt.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts. It is well below the time after which a sensor without
/// heartbeats is lost.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(5);

/// Connects once; the client then reconnects by itself. Cancel-safe.
pub(crate) async fn connect(
    server: &ServerAddr,
    seed: u64,
    index: u32,
) -> Result<Client, ConnectError> {
    let seed = mix(seed, index);
    // The client also asks for a delay before its very first attempt.
    let tried = AtomicBool::new(false);
    let delay = move |attempts| match tried.swap(true, Ordering::Relaxed) {
        true => reconnect_delay(seed, attempts),
        false => Duration::ZERO,
    };
    let mut options = ConnectOptions::new()
        .name(format!("simulator-{index}"))
        .read_buffer_capacity(READ_BUFFER_BYTES)
        .client_capacity(SEND_QUEUE_MESSAGES)
        .subscription_capacity(POLL_QUEUE_MESSAGES)
        .reconnect_delay_callback(delay)
        .event_callback(log);
    // The client ignores credentials in a URL.
    if let (Some(user), Some(password)) = (server.username(), server.password()) {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    options.connect(server).await
}

async fn log(event: Event) {
    match event {
        // A forbidden subject is reported only here.
        Event::ServerError(error) => tracing::warn!(%error, "refused by the server"),
        // The other events include failed attempts: a hundred connections make thousands of them
        // while a server restarts.
        other => tracing::debug!(event = %other, "connection"),
    }
}

/// Wait before an attempt to reconnect, random between half and all of a time that doubles. So a
/// fleet that lost its server does not return all at once.
fn reconnect_delay(seed: u64, attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let longest = RECONNECT_DELAY_MIN.saturating_mul(1 << doublings).min(RECONNECT_DELAY_MAX);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(mix(seed, doublings));
    rng.random_range(longest / 2..=longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnecting_backs_off_and_is_spread() {
        for (attempts, longest_ms) in
            [(0, 100), (1, 100), (2, 200), (6, 3_200), (7, 5_000), (usize::MAX, 5_000)]
        {
            let longest = Duration::from_millis(longest_ms);
            let delays: Vec<Duration> =
                (0..100).map(|seed| reconnect_delay(seed, attempts)).collect();
            assert!(delays.iter().all(|delay| (longest / 2..=longest).contains(delay)));
            let spread = *delays.iter().max().unwrap() - *delays.iter().min().unwrap();
            assert!(spread > longest / 4, "attempt {attempts}: {spread:?}");
        }
    }
}
