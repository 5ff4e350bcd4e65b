//! How often a sensor is polled, and how long it has for an answer: as its heartbeats ask, or as an
//! order says.

use core::time::Duration;

use model::{Given, InForce, RefusedOrder};

use super::{Presence, Sensor, Site};
use crate::{action::Outbox, clock::Now, exchange::Patience};

impl Sensor {
    /// Time between two polls, by order or as the heartbeats ask.
    pub(crate) fn own_interval(&self) -> Duration {
        self.ordered_interval().unwrap_or_else(|| self.heartbeat.poll_interval())
    }

    /// The interval that an order gave.
    pub(crate) fn ordered_interval(&self) -> Option<Duration> {
        self.under.as_ref().and_then(|under| under.interval)
    }

    /// Waits for answers, from the next poll on, as long as an order, the heartbeats or else the
    /// site say.
    pub(super) fn be_patient(&mut self, site: Site) {
        let ordered = self.under.as_ref().and_then(|under| under.answer_timeout);
        let timeout = ordered.or_else(|| self.heartbeat.answer_timeout());
        self.exchange.set_patience(Patience {
            answer_timeout: timeout.unwrap_or(site.patience.answer_timeout),
            retries: self.heartbeat.retries.unwrap_or(site.patience.retries),
        });
    }

    /// Whether an order paused the polls. Nothing falls due then.
    pub(super) fn is_paused(&self) -> bool {
        self.under.as_ref().is_some_and(|under| under.is_paused)
    }

    /// Whether the sensor stays known although it never answered: an order made it known, or says
    /// how it is polled.
    pub(super) fn is_kept(&self) -> bool {
        let is_expected = matches!(self.presence, Presence::Online { lost_at: None, .. });
        is_expected || self.is_paused() || self.ordered_interval().is_some()
    }

    /// Whether an ordered poll is not sent yet.
    pub(crate) const fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes the order to poll the sensor as soon as no answer is awaited.
    pub(crate) fn ask(&mut self, given: Given) -> Result<(), RefusedOrder> {
        let sensor = self.id();
        if !self.state().is_polled() {
            return Err(RefusedOrder::Away { sensor });
        }
        if self.is_doubled() {
            return Err(RefusedOrder::Doubled { sensor });
        }
        if self.is_asked() {
            return Err(RefusedOrder::Underway { sensor });
        }
        self.asked = Some(Box::new(given));
        Ok(())
    }

    /// Takes an order about the interval or a pause. The next poll is due at once, and the others
    /// follow it.
    pub(crate) fn change_pace(
        &mut self,
        in_force: Option<&InForce>,
        now: Now,
        site: Site,
        outbox: &mut Outbox,
    ) {
        // Polls that were due under the earlier orders have numbers before the event of this one.
        self.end_held(now, outbox);
        self.skip_due(now.monotonic, site, now, outbox);
        self.numbers.seal(&self.heartbeat, now.wall, outbox);
        self.obey(in_force, site, now);
        if let Presence::Online { due_at, .. } = &mut self.presence {
            *due_at = now.monotonic;
        }
    }
}
