//! What sensors do wrong, when, and how much.
//!
//! [`Faults`] is a checked file (see [`mod@file`]). Everything here is a function of the seed, the
//! sensor or connection, the number of the poll and the time since the run began: no clock, no
//! state.
//!
//! Invariant: of an [`Outage`] that repeats, each time ends before the next one begins.

mod fault;
pub mod file;
mod outage;

use core::{str::FromStr, time::Duration};

use rand::RngExt as _;

pub use self::file::InvalidFaults;
use self::{
    fault::{Fault, What, Which},
    outage::{Outage, Outages},
};
use crate::{
    draw::{Purpose, draw, happens},
    fleet::SensorSpec,
};

/// The faults of a run. By default there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<Fault>);

/// Numbers of the faults that one sensor has.
pub(crate) type Own = Box<[u16]>;

/// How a sensor treats a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Treatment<'a> {
    pub(crate) is_silent: bool,
    pub(crate) delay: Duration,
    /// Sent in place of an answer.
    pub(crate) wrong: Option<&'a str>,
    pub(crate) is_stuck: bool,
    pub(crate) drift: f64,
    /// How far the sensor's clock is ahead.
    pub(crate) clock_micros: i64,
}

impl FromStr for Faults {
    type Err = InvalidFaults;

    /// Reads a file.
    fn from_str(text: &str) -> Result<Self, InvalidFaults> {
        file::parse(text).map(Self)
    }
}

impl Faults {
    /// The faults that a sensor has.
    pub(crate) fn of(&self, spec: &SensorSpec, seed: u64) -> Own {
        let has = |(number, fault): (u16, &Fault)| {
            let Which { named, share } = &fault.which;
            let of = [u64::from(number), u64::from(spec.index), 0];
            let is_named = named.as_ref().is_none_or(|named| named.matches(&spec.alias));
            (is_named && happens(*share, seed, Purpose::HasFault, of)).then_some(number)
        };
        (0..).zip(&self.0).filter_map(has).collect()
    }

    fn of_own<'a>(&'a self, own: &'a [u16]) -> impl Iterator<Item = (u64, &'a Fault)> {
        own.iter()
            .filter_map(|number| Some((u64::from(*number), self.0.get(usize::from(*number))?)))
    }

    /// How a sensor treats its poll of this number, which comes at this time of the run.
    pub(crate) fn treatment(
        &self,
        own: &[u16],
        (seed, sensor): (u64, u32),
        poll: u64,
        elapsed: Duration,
    ) -> Treatment<'_> {
        let mut treatment = Treatment::default();
        for number in own {
            let Some(Fault { when, what, .. }) = self.0.get(usize::from(*number)) else { continue };
            if !when.contains(elapsed) {
                continue;
            }
            let of = [u64::from(*number), u64::from(sensor), poll];
            let happens = |probability| happens(probability, seed, Purpose::Fault, of);
            match what {
                What::Silence { probability } => treatment.is_silent |= happens(*probability),
                What::Delay { by } => {
                    treatment.delay += draw(seed, Purpose::Fault, of).random_range(by.clone());
                }
                What::Wrong { payload, probability } => {
                    if happens(*probability) {
                        treatment.wrong = Some(payload);
                    }
                }
                What::Stuck => treatment.is_stuck = true,
                What::Drift { per_hour } => {
                    let hours = elapsed.saturating_sub(when.from).as_secs_f64() / 3_600.0;
                    treatment.drift += per_hour * hours;
                }
                What::ClockJump { by_micros } => {
                    treatment.clock_micros = treatment.clock_micros.saturating_add(*by_micros);
                }
                // These do not wait for a poll.
                What::DoubledId | What::Reboot(_) | What::Will(_) | What::Flood { .. } => {}
            }
        }
        treatment
    }

    /// Whether a second device has the sensor's id.
    pub(crate) fn is_doubled(&self, own: &[u16], elapsed: Duration) -> bool {
        self.of_own(own)
            .any(|(_, fault)| fault.what == What::DoubledId && fault.when.contains(elapsed))
    }

    /// Messages a second that the sensor sends unasked.
    pub(crate) fn flood_per_second(&self, own: &[u16], elapsed: Duration) -> u32 {
        let of_fault = |(_, fault): (u64, &Fault)| match fault.what {
            What::Flood { per_second } if fault.when.contains(elapsed) => per_second,
            _ => 0,
        };
        self.of_own(own).map(of_fault).fold(0, u32::saturating_add)
    }

    /// When the sensor's flood next begins or ends, after this time of the run.
    pub(crate) fn next_flood_change(&self, own: &[u16], elapsed: Duration) -> Option<Duration> {
        let changes =
            self.of_own(own).filter(|(_, fault)| matches!(fault.what, What::Flood { .. }));
        let changes = changes.flat_map(|(_, fault)| [Some(fault.when.from), fault.when.end()]);
        changes.flatten().filter(|at| *at > elapsed).min()
    }

    /// Until when the sensor is off, if it is.
    pub(crate) fn off_until(
        &self,
        own: &[u16],
        of: (u64, u32),
        elapsed: Duration,
    ) -> Option<Duration> {
        self.reboots(own, of).filter_map(|outages| outages.off_until(elapsed)).max()
    }

    /// How often the sensor has started again.
    pub(crate) fn boots(&self, own: &[u16], of: (u64, u32), elapsed: Duration) -> u64 {
        self.reboots(own, of).map(|outages| outages.ended(elapsed)).sum()
    }

    /// When the sensor next starts again, after this time of the run.
    pub(crate) fn next_boot(
        &self,
        own: &[u16],
        of: (u64, u32),
        elapsed: Duration,
    ) -> Option<Duration> {
        self.reboots(own, of).filter_map(|outages| outages.next_end(elapsed)).min()
    }

    fn reboots<'a>(&'a self, own: &'a [u16], of: (u64, u32)) -> impl Iterator<Item = Outages<'a>> {
        self.outages(own, of, |what| match what {
            What::Reboot(outage) => Some(outage),
            _ => None,
        })
    }

    /// Faults that break the connection of these sensors: it has the fault if one of them has.
    pub(crate) fn of_connection<'a>(&self, sensors: impl Iterator<Item = &'a Own>) -> Own {
        let is_will = |number: &u16| {
            matches!(self.0.get(usize::from(*number)), Some(Fault { what: What::Will(_), .. }))
        };
        let mut own: Vec<u16> =
            sensors.flat_map(|own| own.iter().copied()).filter(is_will).collect();
        own.sort_unstable();
        own.dedup();
        own.into()
    }

    /// Until when a connection stays away, if it is.
    pub(crate) fn away_until(
        &self,
        own: &[u16],
        of: (u64, u32),
        elapsed: Duration,
    ) -> Option<Duration> {
        self.wills(own, of).filter_map(|outages| outages.off_until(elapsed)).max()
    }

    /// When a connection next breaks, after this time of the run.
    pub(crate) fn next_break(
        &self,
        own: &[u16],
        of: (u64, u32),
        elapsed: Duration,
    ) -> Option<Duration> {
        self.wills(own, of).filter_map(|outages| outages.next_begin(elapsed)).min()
    }

    fn wills<'a>(&'a self, own: &'a [u16], of: (u64, u32)) -> impl Iterator<Item = Outages<'a>> {
        self.outages(own, of, |what| match what {
            What::Will(outage) => Some(outage),
            _ => None,
        })
    }

    /// The outages of a kind that a sensor or connection has by its faults. The seed and its own
    /// number say when each happens.
    fn outages<'a>(
        &'a self,
        own: &'a [u16],
        (seed, whose): (u64, u32),
        of_kind: impl Fn(&'a What) -> Option<&'a Outage> + 'a,
    ) -> impl Iterator<Item = Outages<'a>> {
        self.of_own(own).filter_map(move |(number, fault)| {
            let outage = of_kind(&fault.what)?;
            Some(outage.of(fault.when, seed, [number, u64::from(whose)]))
        })
    }
}

#[cfg(test)]
mod tests;
