//! Takes orders about sensors to the poller.

use model::{InForce, SensorId, SensorOrder};
use poll::RefusedOrder;
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for the poller. When this is full, [`SensorOrders::give`] waits.
const ORDERS_MAX: usize = 16;

/// Sends orders about sensors to the poller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SensorOrders(mpsc::Sender<Asked>);

/// Receiving end of [`SensorOrders`].
#[derive(Debug)]
pub struct GivenOrders(pub(super) mpsc::Receiver<Asked>);

/// The poller ended before it answered. The sensor may or may not be forgotten; the log shows
/// which.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the site has stopped polling")]
pub struct PollingEnded;

/// What is asked of the poller.
#[derive(Debug)]
pub(super) enum Asked {
    Order(Ordered),
    /// The orders in force.
    InForce(oneshot::Sender<Vec<(SensorId, InForce)>>),
}

/// An order about a sensor.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) sensor: SensorId,
    pub(super) order: SensorOrder,
    /// The account that gives the order.
    pub(super) by: String,
    pub(super) reason: String,
    /// Gets what receives the leaf of the event that records the order.
    pub(super) answer: oneshot::Sender<Result<oneshot::Receiver<u64>, RefusedOrder>>,
}

/// Why an order about a sensor has no leaf.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OrderingError {
    /// The poller refused the order, and nothing has changed.
    #[error(transparent)]
    Refused(#[from] RefusedOrder),
    /// The poller ended first. The order may or may not be carried out.
    #[error(transparent)]
    Ended(#[from] PollingEnded),
}

impl SensorOrders {
    /// Creates the sending and the receiving end.
    #[must_use]
    pub fn new() -> (Self, GivenOrders) {
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        (Self(orders), GivenOrders(given))
    }

    /// Gives an order about a sensor, and seals who gave it and why. Returns the leaf of that
    /// event. Dropping this future ends only the wait, not the order.
    ///
    /// # Errors
    /// The poller refuses the order, or has ended.
    pub async fn give(
        &self,
        sensor: SensorId,
        order: SensorOrder,
        (by, reason): (String, String),
    ) -> Result<u64, OrderingError> {
        let (answer, answered) = oneshot::channel();
        let order = Ordered { sensor, order, by, reason, answer };
        self.0.send(Asked::Order(order)).await.map_err(|_ended| PollingEnded)?;
        let sealing = answered.await.map_err(|_ended| PollingEnded)??;
        Ok(sealing.await.map_err(|_ended| PollingEnded)?)
    }

    /// The orders in force, in the order of the sensors' ids.
    ///
    /// # Errors
    /// The poller has ended.
    pub async fn in_force(&self) -> Result<Vec<(SensorId, InForce)>, PollingEnded> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked::InForce(answer)).await.map_err(|_ended| PollingEnded)?;
        answered.await.map_err(|_ended| PollingEnded)
    }
}
