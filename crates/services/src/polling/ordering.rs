//! Takes orders about sensors to the poller.

use std::collections::HashMap;

use model::{Event, InForce, NumberRange, SensorId, SensorOrder, action, polling::OrderedReading};
use poll::RefusedOrder;
use tokio::sync::{mpsc, oneshot};

use crate::sealing::ToSeal;

/// Orders that wait for the poller. When this is full, [`SensorOrders::give`] waits.
const ORDERS_MAX: usize = 16;

/// Sends orders about sensors to the poller, and those about what devices report by themselves to
/// the service that hears these. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SensorOrders {
    polled: mpsc::Sender<Asked>,
    /// `None` if the site hears no devices that report by themselves.
    pushed: Option<mpsc::Sender<Asked>>,
}

/// Receiving end of [`SensorOrders`].
#[derive(Debug)]
pub struct GivenOrders(pub(crate) mpsc::Receiver<Asked>);

impl GivenOrders {
    /// The sending and the receiving end of the orders for one service.
    fn channel() -> (mpsc::Sender<Asked>, Self) {
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        (orders, Self(given))
    }
}

/// The poller ended before it answered. The sensor may or may not be forgotten; the log shows
/// which.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the site has stopped polling")]
pub struct PollingEnded;

/// What is asked of the poller.
#[derive(Debug)]
pub(crate) enum Asked {
    Order(Ordered),
    Poll(PollOrdered),
    /// The orders in force.
    InForce(oneshot::Sender<Vec<(SensorId, InForce)>>),
}

/// An order about a sensor.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) sensor: SensorId,
    pub(crate) order: SensorOrder,
    /// The account that gives the order.
    pub(crate) by: String,
    pub(crate) reason: String,
    /// Gets what receives the leaf of the event that records the order.
    pub(crate) answer: oneshot::Sender<Result<oneshot::Receiver<u64>, RefusedOrder>>,
}

/// An order to poll a sensor.
#[derive(Debug)]
pub(crate) struct PollOrdered {
    pub(crate) sensor: SensorId,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) answer: oneshot::Sender<Result<Sealing, RefusedOrder>>,
}

/// The reading of an ordered poll, and what receives its leaf.
pub(crate) type Sealing = (Box<Event>, oneshot::Receiver<u64>);

/// Ordered polls whose readings are not there yet, at most one of each sensor.
#[derive(Debug, Default)]
pub(super) struct OrderedPolls(HashMap<SensorId, OrderedPoll>);

#[derive(Debug)]
struct OrderedPoll {
    /// Its number, once it is sent.
    number: Option<u64>,
    answer: oneshot::Sender<Result<Sealing, RefusedOrder>>,
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
    /// Creates the sending end, and the receiving end of the poller.
    #[must_use]
    pub fn new() -> (Self, GivenOrders) {
        let (polled, given) = GivenOrders::channel();
        (Self { polled, pushed: None }, given)
    }

    /// Sends orders about what devices report by themselves to the service that gets this end.
    pub fn for_pushing(&mut self) -> GivenOrders {
        let (pushed, given) = GivenOrders::channel();
        self.pushed = Some(pushed);
        given
    }

    /// The service that takes orders about a sensor.
    fn service_of(&self, sensor: SensorId) -> &mpsc::Sender<Asked> {
        self.pushed.as_ref().filter(|_| sensor.is_of_series()).unwrap_or(&self.polled)
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
        let service = self.service_of(sensor);
        service.send(Asked::Order(order)).await.map_err(|_ended| PollingEnded)?;
        let sealing = answered.await.map_err(|_ended| PollingEnded)??;
        Ok(sealing.await.map_err(|_ended| PollingEnded)?)
    }

    /// Has a sensor polled, and seals who ordered it. Returns how the poll ended, once that is
    /// sealed. Dropping this future ends only the wait, not the order.
    ///
    /// # Errors
    /// The poller refuses the order, gave the poll up, or has ended.
    pub async fn poll(
        &self,
        sensor: SensorId,
        (by, reason): (String, String),
    ) -> Result<OrderedReading, OrderingError> {
        let (answer, answered) = oneshot::channel();
        let order = PollOrdered { sensor, by, reason, answer };
        let service = self.service_of(sensor);
        service.send(Asked::Poll(order)).await.map_err(|_ended| PollingEnded)?;
        let (reading, sealed) = answered.await.map_err(|_ended| PollingEnded)??;
        let leaf = sealed.await.map_err(|_ended| PollingEnded)?;
        Ok(OrderedReading::of(&reading, leaf).expect("a poller's readings have all of it"))
    }

    /// The orders in force, in the order of the sensors' ids.
    ///
    /// # Errors
    /// The poller has ended.
    pub async fn in_force(&self) -> Result<Vec<(SensorId, InForce)>, PollingEnded> {
        let mut all = Vec::new();
        for service in self.pushed.iter().chain([&self.polled]) {
            let (answer, answered) = oneshot::channel();
            service.send(Asked::InForce(answer)).await.map_err(|_ended| PollingEnded)?;
            all.extend(answered.await.map_err(|_ended| PollingEnded)?);
        }
        all.sort_unstable_by_key(|(sensor, _)| *sensor);
        Ok(all)
    }
}

impl OrderedPolls {
    pub(super) fn has(&self, sensor: SensorId) -> bool {
        self.0.contains_key(&sensor)
    }

    pub(super) fn expect(
        &mut self,
        sensor: SensorId,
        answer: oneshot::Sender<Result<Sealing, RefusedOrder>>,
    ) {
        self.0.insert(sensor, OrderedPoll { number: None, answer });
    }

    /// Makes an event ready to be sealed. If it is the reading of an ordered poll, the one who
    /// waits for it gets it.
    pub(super) fn seal(&mut self, event: Box<Event>) -> ToSeal {
        if self.0.is_empty() {
            return ToSeal::from(event);
        }
        let polls = polls_of(&event);
        let sensor = event.sensor().filter(|sensor| self.has(*sensor));
        let Some((sensor, polls)) = sensor.zip(polls) else { return ToSeal::from(event) };
        let polls = polls.first()..=polls.last();
        let is_it = |poll: &OrderedPoll| poll.number.is_some_and(|number| polls.contains(&number));
        match event.action.as_deref() {
            Some(action::POLL_ORDERED) => {
                if let Some(poll) = self.0.get_mut(&sensor) {
                    poll.number = Some(*polls.start());
                }
                ToSeal::from(event)
            }
            Some(action::SENSOR_READING) if self.0.get(&sensor).is_some_and(is_it) => {
                let (to_seal, sealed) = ToSeal::awaited(Event::clone(&event));
                self.answer(sensor, Ok((event, sealed)));
                to_seal
            }
            Some(action::READINGS_MISSING) if self.0.get(&sensor).is_some_and(is_it) => {
                self.answer(sensor, Err(RefusedOrder::GivenUp { sensor }));
                ToSeal::from(event)
            }
            _ => ToSeal::from(event),
        }
    }

    /// Gives up the polls that were not sent and will not be. `is_asked` says which will.
    pub(super) fn give_up(&mut self, is_asked: impl Fn(SensorId) -> bool) {
        let lost = |(sensor, poll): (&SensorId, &OrderedPoll)| {
            (poll.number.is_none() && !is_asked(*sensor)).then_some(*sensor)
        };
        let lost: Vec<SensorId> = self.0.iter().filter_map(lost).collect();
        for sensor in lost {
            self.answer(sensor, Err(RefusedOrder::GivenUp { sensor }));
        }
    }

    fn answer(&mut self, sensor: SensorId, answer: Result<Sealing, RefusedOrder>) {
        if let Some(poll) = self.0.remove(&sensor) {
            // The caller may be gone; the log then holds the reading.
            let _gone = poll.answer.send(answer);
        }
    }
}

/// The numbers of polls that an event is about.
fn polls_of(event: &Event) -> Option<NumberRange> {
    let detail = event.sealwire.as_ref()?;
    match detail.poll {
        Some(poll) => Some(NumberRange::one(poll)),
        None => detail.missing.as_deref()?.parse().ok(),
    }
}
