//! Answers messages, several at the same time.

use async_nats::{Message, Subscriber};
use futures::StreamExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use work::Room;

/// Answers each message, so many at the same time, until the site stops. Then nobody waits for
/// those that are being answered.
pub(super) async fn each<F: Future<Output = ()> + Send + 'static>(
    mut messages: Subscriber,
    at_once: usize,
    answer: impl Fn(Message) -> F,
    shutdown: CancellationToken,
) {
    let room = Room::of(at_once);
    let mut answering = JoinSet::new();
    loop {
        let next = async { (room.place().await, messages.next().await) };
        let Some((place, Some(message))) = shutdown.run_until_cancelled(next).await else { return };
        let answer = answer(message);
        answering.spawn(async move {
            answer.await;
            drop(place);
        });
        while answering.try_join_next().is_some() {}
    }
}
