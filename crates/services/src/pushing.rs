//! Hears devices that report by themselves, and seals what the rules make of their messages.
//!
//! One task owns the rules, the numbers of the series and a connection to the devices of its own,
//! so devices that flood it delay neither polls nor answers. While the queue of events is full, it
//! does not read; messages then wait at the server, which cuts the connection if they are too many.

mod declarations;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    time::{Duration, Instant},
};

use model::{
    Event, Given, InForce, Pattern, PushedSeries, RefusedOrder, SensorId, Subject,
    subject::topic_of,
};
use nats::ConnectionError;
use poll::Now;
use pushed::{At, Config, Counters, Mapper, Pushes, Rules};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use work::Service;

use crate::{
    bus::{Devices, Turned, now},
    known::Known,
    polling::{Asked, GivenOrders, Ordered, PollOrdered},
    sealing::ToSeal,
};
pub use declarations::Declarations;

/// A series at the start: its newest number, and the time since that number. The error says why
/// that time is unknown.
type AtStart = (PushedSeries, u64, Option<Result<Duration, &'static str>>);

/// Seals what devices report by themselves. The fields are what the service needs at its start.
#[derive(Debug)]
pub struct Pushing {
    /// What the devices' messages mean.
    pub rules: Rules,
    /// Limits.
    pub config: Config,
    /// The series at the start.
    pub series: SeriesAtStart,
    /// What devices declared before the start.
    pub declarations: Declarations,
    /// A connection to the devices of its own.
    pub devices: Devices,
    /// Orders about series.
    pub orders: GivenOrders,
    /// Channel to the service that seals events.
    pub events: mpsc::Sender<ToSeal>,
    /// Receives the counters after each round.
    pub counters: watch::Sender<Counters>,
}

/// The series that the log knows at the start.
#[derive(Debug)]
pub struct SeriesAtStart {
    series: Vec<AtStart>,
    in_force: BTreeMap<SensorId, InForce>,
}

impl SeriesAtStart {
    /// Takes what the log says of them, with the orders about them.
    #[must_use]
    pub fn take(known: &mut Known) -> Self {
        let now = clock::now();
        let series = known.pushed.iter().map(|series| {
            let last = known.last_numbers.get(&series.id).copied().unwrap_or_default();
            let away = last.numbered_until.map(|until| known.past.since(last, until, now));
            (series.clone(), last.poll, away)
        });
        let series = series.collect();
        let all = std::mem::take(&mut known.in_force).into_iter();
        let in_force;
        (in_force, known.in_force) = all.partition(|(sensor, _)| sensor.is_of_series());
        Self { series, in_force }
    }
}

impl Service for Pushing {
    const NAME: &'static str = "pushing";
    /// It goes on until the site stops.
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        hear_all(self, shutdown).await;
        Ok(())
    }
}

async fn hear_all(pushing: Pushing, shutdown: CancellationToken) {
    let Pushing { rules, config, series, declarations, devices, mut orders, events, counters } =
        pushing;
    let started = Instant::now();
    let patterns = rules.patterns();
    let mut shell = Shell {
        mapper: Mapper::new(rules),
        declarations,
        pushes: Pushes::new(config),
        devices,
        lost: None,
        patterns,
        declared: HashMap::new(),
        next: 0,
        is_behind: false,
        events,
        started,
    };
    shell.next = shell.patterns.len() as u64;
    shell.subscribe_to_all();
    for message in shell.declarations.read().await {
        let mapping = shell.mapper.map(&message.topic, &message.payload, clock::now());
        mapping.heard.into_iter().for_each(|heard| shell.follow(heard));
    }
    let SeriesAtStart { series, in_force } = series;
    shell.pushes.restore_orders(in_force);
    for (series, number, away) in series {
        let interval = shell.mapper.rules().interval_of(&series.rule);
        shell.pushes.restore(series, interval, number, away, at(now(started)));
    }
    loop {
        shell.lose_connection();
        shell.act().await;
        counters.send_if_modified(|counters| {
            std::mem::replace(counters, shell.pushes.counters()) != *counters
        });
        let wake_at = shell.pushes.poll_timeout().map(|due| started + due);
        let wake_at = wake_at.into_iter().chain(shell.declarations.due()).min();
        let sleep = async {
            match wake_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(asked) = orders.0.recv() => shell.handle_asked(asked).await,
            turned = shell.devices.turn(|| now(started)) => shell.handle_turn(turned),
            () = sleep => {}
        }
        shell.hear();
        shell.pushes.handle_timeout(at(now(started)));
        if shell.declarations.due().is_some_and(|due| due <= Instant::now()) {
            shell.declarations.save(&shell.mapper).await;
        }
    }
    shell.pushes.handle_stop(at(now(started)));
    shell.act().await;
    if shell.declarations.due().is_some() {
        shell.declarations.save(&shell.mapper).await;
    }
}

struct Shell {
    mapper: Mapper,
    declarations: Declarations,
    pushes: Pushes,
    devices: Devices,
    /// Why the connection was lost, if its end is not handled yet.
    lost: Option<ConnectionError>,
    /// The subjects of the rules. The subscription of each has its place as its number.
    patterns: Vec<Pattern>,
    /// Subscriptions to what devices declared.
    declared: HashMap<Subject, u64>,
    /// The number of the next subscription. None is used twice.
    next: u64,
    /// Whether messages may have arrived that were not heard.
    is_behind: bool,
    events: mpsc::Sender<ToSeal>,
    started: Instant,
}

impl Shell {
    fn handle_turn(&mut self, turned: Turned) {
        match turned {
            Turned::Heard => self.is_behind = true,
            Turned::Lost(reason) => self.lost = Some(reason),
            Turned::Back => {
                self.subscribe_to_all();
                self.pushes.handle_bus(true, at(now(self.started)));
            }
        }
    }

    async fn handle_asked(&mut self, asked: Asked) {
        match asked {
            Asked::Order(order) => self.obey(order).await,
            Asked::Poll(PollOrdered { sensor, answer, .. }) => {
                // The caller may be gone.
                drop(answer.send(Err(RefusedOrder::NotPolled { sensor })));
            }
            Asked::InForce(answer) => drop(answer.send(self.pushes.orders_in_force())),
        }
    }

    /// Carries out an order. Seals it after every event about the series before it.
    async fn obey(&mut self, order: Ordered) {
        let Ordered { sensor, order, by, reason, answer } = order;
        let at = at(now(self.started));
        let given = Given { order, by, at: at.wall, reason };
        // What was heard before the order is not under it.
        self.hear();
        let described = self.pushes.handle_order(sensor, &given, at);
        self.act().await;
        let sealing = match described {
            Ok(series) => {
                let (event, sealed) = ToSeal::awaited(Event::series_ordered(&series, &given));
                // The receiver outlives us; see `act`.
                let _gone = self.events.send(event).await;
                Ok(sealed)
            }
            Err(refused) => Err(refused),
        };
        // The caller may be gone; the log then holds the answer.
        let _gone = answer.send(sealing);
    }

    fn subscribe_to_all(&mut self) {
        let Some(connection) = self.devices.connection() else { return };
        for (number, pattern) in (0..).zip(&self.patterns) {
            connection.subscribe(pattern, number);
        }
        for (subject, number) in &self.declared {
            connection.subscribe(subject, *number);
        }
    }

    /// Maps the messages that have arrived.
    fn hear(&mut self) {
        if !std::mem::take(&mut self.is_behind) {
            return;
        }
        let (mut said, mut requests) = (Vec::new(), Vec::new());
        let lost = self.devices.hear(|message, came| {
            // A message comes once for each subscription that matches it.
            if !is_first(message.subscription, message.subject, &self.patterns) {
                return;
            }
            let topic = topic_of(message.subject);
            let mut mapping = self.mapper.map(&topic, message.payload, came.wall);
            requests.extend(mapping.request.take());
            debug!(topic, readings = mapping.readings.len(), "a device reported");
            said.extend(mapping.heard.iter().filter(|heard| is_about_topics(heard)).cloned());
            self.pushes.handle(&topic, mapping, at(came));
        });
        if lost.is_some() {
            self.lost = lost;
        }
        if !said.is_empty() {
            self.declarations.changed();
        }
        for heard in said {
            self.follow(heard);
        }
        for pushed::Request { topic, payload } in requests {
            // Without a connection or room, the next message that lacks a birth asks again.
            let connection = self.devices.connection();
            let is_sent = connection.is_some_and(|it| it.publish(&topic, None, &payload));
            debug!(%topic, is_sent, "asking a node for its births");
        }
    }

    /// Hears what a device declares, and no longer what it withdraws.
    fn follow(&mut self, heard: pushed::Heard) {
        match heard {
            pushed::Heard::Declared(subject) => {
                if self.declared.contains_key(&subject) {
                    return;
                }
                let number = self.next;
                self.next += 1;
                if let Some(connection) = self.devices.connection() {
                    connection.subscribe(&subject, number);
                }
                self.declared.insert(subject, number);
            }
            pushed::Heard::Withdrawn(subject) => {
                let number = self.declared.remove(&subject);
                if let Some((number, connection)) = number.zip(self.devices.connection()) {
                    connection.unsubscribe(number);
                }
            }
            pushed::Heard::Born(_)
            | pushed::Heard::Gone(_)
            | pushed::Heard::Nothing(_)
            | pushed::Heard::NoValues(_) => {}
        }
    }

    /// Handles the loss of the connection, after everything that was heard before.
    fn lose_connection(&mut self) {
        if self.lost.is_some() {
            self.is_behind = true;
            self.hear();
        }
        if let Some(reason) = self.lost.take() {
            self.devices.lose(&reason);
            self.pushes.handle_bus(false, at(now(self.started)));
        }
    }

    /// Hands the events over, and waits for room for them.
    async fn act(&mut self) {
        if let Some(connection) = self.devices.connection()
            && let Err(error) = connection.flush()
        {
            self.lost.get_or_insert(error);
        }
        while let Some(event) = self.pushes.poll_event() {
            // The receiver outlives us: it ends when every sender is gone.
            if self.events.send(event.into()).await.is_err() {
                return;
            }
        }
    }
}

const fn is_about_topics(heard: &pushed::Heard) -> bool {
    matches!(heard, pushed::Heard::Declared(_) | pushed::Heard::Withdrawn(_))
}

/// Whether a subscription is the first one that matches a subject: the rules' in their order, and
/// then a declared one.
fn is_first(subscription: u64, subject: &str, patterns: &[Pattern]) -> bool {
    let Ok(subject) = Subject::parse(subject) else { return false };
    let first = patterns.iter().position(|pattern| pattern.matches(&subject));
    match first {
        Some(first) => first as u64 == subscription,
        None => subscription >= patterns.len() as u64,
    }
}

fn at(now: Now) -> At {
    let since_start = now.monotonic.saturating_duration_since(poll::Instant::default());
    At { since_start, wall: now.wall }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_mapped_once_however_many_subscriptions_match_it() {
        let patterns = ["a/+/c", "a/#"].map(|text| Pattern::parse(text).unwrap());
        for (subject, first) in
            [("a.b.c", Some(0)), ("a.b.d", Some(1)), ("x.y", Some(2)), ("*", None)]
        {
            let heard: Vec<u64> =
                (0..3).filter(|number| is_first(*number, subject, &patterns)).collect();
            assert_eq!(heard, first.into_iter().collect::<Vec<u64>>(), "{subject}");
        }
    }
}
