//! What the log says of sensors when a site starts.

use std::collections::BTreeMap;

use index::{Described, IndexError, Reader, SensorStatus};
use ledger::Ledger;
use model::{Heartbeat, InForce, PushedSeries, SensorId, SensorState, completeness::LastNumbers};
use poll::Past;

/// What the whole log records about sensors.
#[derive(Debug)]
pub struct Known {
    /// Each sensor's newest heartbeat and state.
    pub sensors: Vec<(Heartbeat, SensorState)>,
    /// The newest numbers of each sensor, including sensors that are not in `sensors`.
    pub last_numbers: BTreeMap<SensorId, LastNumbers>,
    /// What is in force of the orders about each sensor.
    pub in_force: BTreeMap<SensorId, InForce>,
    /// The series that devices report by themselves.
    pub pushed: Vec<PushedSeries>,
    /// The times in the log, against which the poller checks the clock.
    pub past: Past,
}

impl Known {
    /// Reads what the index says of the log.
    pub(crate) fn read(index: &Reader, ledger: &Ledger) -> Result<Self, IndexError> {
        let (mut sensors, mut pushed) = (Vec::new(), Vec::new());
        for SensorStatus { described, state, .. } in index.sensors(0)? {
            match described {
                Described::Polled(heartbeat) => sensors.push((*heartbeat, state)),
                Described::Pushed(series) => pushed.push(series),
            }
        }
        Ok(Self {
            sensors,
            last_numbers: index.last_numbers()?,
            in_force: index.in_force()?,
            pushed,
            past: Past { log_end: ledger.found_received_at(), built: Some(clock::built()) },
        })
    }
}
