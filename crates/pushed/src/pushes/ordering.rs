//! What becomes of orders about series.

use std::{collections::BTreeMap, time::Duration};

use model::{Event, Given, InForce, PushedSeries, RefusedOrder, SensorId, SensorOrder};

use super::{At, Pushes};

impl Pushes {
    /// Takes up the orders that an earlier run left in force. Call it before
    /// [`restore`](Self::restore).
    pub fn restore_orders(&mut self, in_force: BTreeMap<SensorId, InForce>) {
        for (series, in_force) in in_force {
            self.orders.set(series, in_force);
        }
    }

    /// The orders in force, in the order of the series' ids.
    #[must_use]
    pub fn orders_in_force(&self) -> Vec<(SensorId, InForce)> {
        self.orders.all()
    }

    /// Takes an order about a series. Returns the description before it. The caller then seals an
    /// [`Event::series_ordered`], after all events of [`poll_event`](Self::poll_event).
    ///
    /// # Errors
    /// The order cannot be carried out, and nothing has changed.
    pub fn handle_order(
        &mut self,
        sensor: SensorId,
        given: &Given,
        at: At,
    ) -> Result<PushedSeries, RefusedOrder> {
        self.handle_timeout(at);
        let known = self.series.get(&sensor).ok_or(RefusedOrder::Unknown { sensor })?;
        let described = known.description.clone();
        let before = self.orders.of(sensor).cloned().unwrap_or_default();
        match &given.order {
            SensorOrder::Add(_)
            | SensorOrder::Poll
            | SensorOrder::Interval { .. }
            | SensorOrder::AnswerTimeout { .. }
            | SensorOrder::Pause
            | SensorOrder::Resume
            | SensorOrder::Settle { .. } => return Err(RefusedOrder::NotPolled { sensor }),
            SensorOrder::Calibrate { channel: Some(channel), .. } => {
                return Err(RefusedOrder::NoChannel { sensor, channel: channel.to_string() });
            }
            SensorOrder::Retire
            | SensorOrder::Recall
            | SensorOrder::Maintain(_)
            | SensorOrder::EndMaintenance
            | SensorOrder::Rename { .. }
            | SensorOrder::Move { .. }
            | SensorOrder::Replace { .. }
            | SensorOrder::Calibrate { channel: None, .. } => {}
        }
        before.accept(sensor, &given.order, at.wall)?;
        if let SensorOrder::Replace { device: Some(device) } = given.order {
            if !device.is_of_series() {
                return Err(RefusedOrder::OtherKind { device, sensor });
            }
            self.orders.check_device(sensor, device)?;
        }
        let in_force = before.after(given.clone());
        if let Some(device) = in_force.device() {
            self.forget(device, at);
        }
        self.orders.set(sensor, in_force);
        if let Some(series) = self.series.get_mut(&sensor) {
            series.obey(self.orders.of(sensor));
            match given.order {
                SensorOrder::Retire => {
                    series.seal_missing(at.wall, &mut self.events);
                    series.intervals.interval = None;
                }
                SensorOrder::Recall => {
                    let interval = series.description.interval_ms.map(Duration::from_millis);
                    series.intervals.expect_anew(interval, at.since_start);
                }
                // Its first value may be the same as the last one of the device before.
                SensorOrder::Replace { .. } => series.last = None,
                _ => {}
            }
        }
        self.arm(sensor);
        Ok(described)
    }

    /// Forgets a series whose device is in another one's place from now on.
    fn forget(&mut self, device: SensorId, at: At) {
        let Some(mut series) = self.series.remove(&device) else { return };
        self.orders.forget(device);
        if let Some(due) = series.due {
            self.due.remove(&(due, device));
        }
        series.seal_missing(at.wall, &mut self.events);
        self.events.push_back(Event::series_forgotten(&series.description, at.wall));
    }
}
