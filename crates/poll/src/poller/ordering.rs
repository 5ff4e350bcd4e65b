//! What the poller does on a person's word, and how it tells apart who sends a heartbeat.

use std::collections::BTreeMap;

use model::{
    Channel, Event, Given, Heartbeat, InForce, LeftOut, RefusedOrder, SensorId, SensorOrder,
    SensorState, action, channel::Kind, polling::AddedSensor, sensor_order::Name,
};

use super::{Poller, RefusedHeartbeat};
use crate::{bus::Bus, clock::Now, sensor::Sensor};

impl Poller {
    /// Takes up the orders that an earlier run left in force. Call it before
    /// [`Poller::restore`].
    pub fn restore_orders(&mut self, in_force: BTreeMap<SensorId, InForce>) {
        for (sensor, in_force) in in_force {
            self.orders.set(sensor, in_force);
        }
    }

    /// The orders in force, in the order of the sensors' ids.
    #[must_use]
    pub fn orders_in_force(&self) -> Vec<(SensorId, InForce)> {
        self.orders.all()
    }

    /// Takes an order about a sensor. Returns the sensor's description before it. The caller then
    /// seals an [`Event::sensor_ordered`], after all actions of [`Poller::poll_action`].
    ///
    /// An order to poll is recorded by the poller itself: it seals an [`Event::poll_ordered`] with
    /// the poll's number when it sends the poll, at once or as soon as no earlier answer is
    /// awaited. If [`is_asked`](Self::is_asked) ends before that, the poll was given up.
    ///
    /// # Errors
    /// The order cannot be carried out, and nothing has changed.
    pub fn handle_order(
        &mut self,
        sensor: SensorId,
        given: &Given,
        now: Now,
    ) -> Result<Heartbeat, RefusedOrder> {
        self.handle_timeout(now);
        match &given.order {
            SensorOrder::Add(added) => return self.add(sensor, added, now),
            SensorOrder::Poll => return self.ask(sensor, given, now),
            _ => {}
        }
        let known = self.sensors.of(sensor).ok_or(RefusedOrder::Unknown { sensor })?;
        let described = known.heartbeat.clone();
        let before = self.orders.of(sensor).cloned().unwrap_or_default();
        self.check_order(&described, &before, &given.order, now)?;
        let in_force = before.after(given.clone());
        if let Some(device) = in_force.device().filter(|device| self.sensors.contains(*device)) {
            // From now on it is this sensor.
            if let Some(heartbeat) = self.take_out(device, now) {
                self.outbox.seal_sighting(action::SENSOR_FORGOTTEN, &heartbeat, now.wall);
            }
        }
        self.orders.set(sensor, in_force);
        let Some(slot) = self.sensors.slot(sensor) else { return Ok(described) };
        let (site, orders) = (self.site(), &self.orders);
        if let Some(known) = self.sensors.get_mut(slot) {
            let outbox = &mut self.outbox;
            match given.order {
                SensorOrder::Retire => known.retire(now, site, outbox),
                SensorOrder::Recall => known.recall(),
                SensorOrder::Replace { .. } | SensorOrder::Settle { .. } => known.settle_devices(),
                SensorOrder::Interval { .. } | SensorOrder::Pause | SensorOrder::Resume => {
                    known.change_pace(orders.of(sensor), now, site, outbox);
                }
                SensorOrder::Add(_)
                | SensorOrder::Poll
                | SensorOrder::Maintain(_)
                | SensorOrder::EndMaintenance
                | SensorOrder::Rename { .. }
                | SensorOrder::Move { .. }
                | SensorOrder::Calibrate { .. }
                | SensorOrder::AnswerTimeout { .. } => {}
            }
            known.obey(orders.of(sensor), site, now);
        }
        self.settle(slot, now);
        Ok(described)
    }

    fn check_order(
        &self,
        described: &Heartbeat,
        before: &InForce,
        order: &SensorOrder,
        now: Now,
    ) -> Result<(), RefusedOrder> {
        let sensor = described.id;
        before.accept(sensor, order, now.wall)?;
        match order {
            SensorOrder::Replace { device: Some(device) } => {
                self.orders.check_device(sensor, *device)
            }
            SensorOrder::Calibrate { channel, .. } => {
                check_channel(described, channel.as_ref().map(Name::as_str))
            }
            _ => Ok(()),
        }
    }

    /// Takes a change of who may speak as which sensor. A sensor as which no device may speak any
    /// more has gone: its topics may be another's by now, whose answers are not its own.
    pub fn handle_guard(&mut self, now: Now) {
        self.handle_timeout(now);
        let is_over = |sensor: &&Sensor| {
            let id = sensor.id();
            let device = self.orders.of(id).and_then(InForce::device).unwrap_or(id);
            sensor.state() == SensorState::Online && !self.guard.covers(device, &sensor.heartbeat)
        };
        let over: Vec<SensorId> = self.sensors.iter().filter(is_over).map(Sensor::id).collect();
        for sensor in over {
            self.handle_disconnect(sensor, now);
        }
    }

    /// Whether a poll that was ordered of this sensor is not sent yet.
    #[must_use]
    pub fn is_asked(&self, sensor: SensorId) -> bool {
        self.sensors.of(sensor).is_some_and(Sensor::is_asked)
    }

    fn ask(&mut self, id: SensorId, given: &Given, now: Now) -> Result<Heartbeat, RefusedOrder> {
        let unknown = RefusedOrder::Unknown { sensor: id };
        let Some(slot) = self.sensors.slot(id) else { return Err(unknown) };
        if self.bus == Bus::Down {
            return Err(RefusedOrder::BusAway);
        }
        let sensor = self.sensors.get_mut(slot).ok_or(unknown)?;
        sensor.ask(given.clone())?;
        let described = sensor.heartbeat.clone();
        self.settle(slot, now);
        Ok(described)
    }

    fn add(
        &mut self,
        sensor: SensorId,
        added: &AddedSensor,
        now: Now,
    ) -> Result<Heartbeat, RefusedOrder> {
        let mut heartbeat = added.heartbeat().map_err(RefusedOrder::NotAddable)?;
        if heartbeat.id != sensor {
            let words = format!("the order is about {sensor}, and adds {}", heartbeat.id);
            return Err(RefusedOrder::NotAddable(words));
        }
        if self.sensors.contains(sensor) {
            return Err(RefusedOrder::Known { sensor });
        }
        if let Some(LeftOut { field, reason }) = self.leave_out_farewell(&mut heartbeat) {
            return Err(RefusedOrder::NotAddable(format!("`{field}`: {reason}")));
        }
        let refused = |refused: RefusedHeartbeat| RefusedOrder::NotAddable(refused.to_string());
        self.accept(&heartbeat).map_err(refused)?;
        self.make_room(sensor, now);
        let described = heartbeat.clone();
        let sensor = self.sensor_after_last(heartbeat, SensorState::Expected, now);
        self.insert(sensor, now);
        Ok(described)
    }

    /// Decides which sensor a heartbeat is of. Orders decide first; of several devices with one id,
    /// the topic on which they answer does. `Ok(None)` is a heartbeat to which the site does not
    /// listen.
    ///
    /// The event, if there is one, records that this is the first heartbeat of a device that is
    /// kept apart. Seal it once the heartbeat is accepted: one that never is costs the log nothing.
    pub(super) fn tell_apart(
        &mut self,
        mut heartbeat: Heartbeat,
        now: Now,
    ) -> Result<Option<(Heartbeat, Option<Event>)>, RefusedHeartbeat> {
        let device = heartbeat.id;
        let place = self.orders.place_of(device);
        heartbeat.id = place.ok_or(RefusedHeartbeat::Replaced { sensor: device })?;
        let id = heartbeat.id;
        let apart = id.of_double(&heartbeat.read_topic);
        let chosen = self.orders.of(id).and_then(InForce::mac);
        let is_chosen = chosen.is_some() && chosen == heartbeat.mac_addr.as_deref();
        let answers_elsewhere = |known: &Sensor| known.heartbeat.read_topic != heartbeat.read_topic;
        let is_elsewhere = self.sensors.of(id).is_some_and(answers_elsewhere);
        if is_elsewhere && !is_chosen && self.sensors.contains(apart) {
            heartbeat.id = apart;
        } else if chosen.is_some() && !is_chosen {
            return Err(RefusedHeartbeat::OtherDevice { sensor: id });
        }
        let mut kept_apart = None;
        if let Some(slot) = self.sensors.slot(heartbeat.id)
            && let Some(known) = self.sensors.get_mut(slot)
            && !is_chosen
            && known.is_second_device(&heartbeat, now.monotonic)
        {
            // A device that is kept apart can have a double of its own.
            if known.heartbeat.read_topic == heartbeat.read_topic {
                let how = "their heartbeats alternate, and they answer on the same topic";
                known.double(how, now, &mut self.outbox);
            } else {
                let how = "their heartbeats alternate, and they answer on different topics";
                let event =
                    Event::device_kept_apart(&known.heartbeat, apart, &heartbeat, how, now.wall);
                kept_apart = Some(event);
                heartbeat.id = apart;
            }
        }
        if let Some(in_force) = self.orders.of(heartbeat.id) {
            if in_force.is_retired() {
                return Ok(None);
            }
            in_force.describe(&mut heartbeat);
        }
        if let Some(known) = self.sensors.of(heartbeat.id).filter(|known| known.is_doubled()) {
            // It shows that the sensor is there, and not which device describes it.
            heartbeat = known.heartbeat.clone();
        }
        Ok(Some((heartbeat, kept_apart)))
    }
}

/// Whether a calibration may be about this channel, or about the single value of a sensor.
fn check_channel(described: &Heartbeat, channel: Option<&str>) -> Result<(), RefusedOrder> {
    let sensor = described.id;
    let Some(name) = channel else {
        let is_single = described.channels.is_empty();
        return is_single.then_some(()).ok_or(RefusedOrder::Channels { sensor });
    };
    let declared = described.channels.iter().find(|channel| channel.name == name);
    let is_number = |channel: &Channel| matches!(channel.kind, None | Some(Kind::Number));
    match declared {
        Some(channel) if is_number(channel) => Ok(()),
        Some(_) => Err(RefusedOrder::NotNumbers { sensor, channel: name.to_owned() }),
        None => Err(RefusedOrder::NoChannel { sensor, channel: name.to_owned() }),
    }
}
