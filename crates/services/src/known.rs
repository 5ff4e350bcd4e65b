//! What the log says of sensors when a site starts.

use std::collections::BTreeMap;

use index::{IndexError, Reader};
use ledger::Ledger;
use model::{Heartbeat, SensorId, SensorState, completeness::LastNumbers};
use poll::Past;

/// What the whole log records about sensors.
#[derive(Debug)]
pub struct Known {
    /// Each sensor's newest heartbeat and state.
    pub sensors: Vec<(Heartbeat, SensorState)>,
    /// The newest numbers of each sensor, including sensors that are not in `sensors`.
    pub last_numbers: BTreeMap<SensorId, LastNumbers>,
    /// The times in the log, against which the poller checks the clock.
    pub past: Past,
}

impl Known {
    /// Reads what the index says of the log.
    pub(crate) fn read(index: &Reader, ledger: &Ledger) -> Result<Self, IndexError> {
        let sensors = index.sensors(0)?.into_iter();
        Ok(Self {
            sensors: sensors.map(|sensor| (sensor.heartbeat, sensor.state)).collect(),
            last_numbers: index.last_numbers()?,
            past: Past { log_end: ledger.found_received_at(), built: Some(clock::built()) },
        })
    }
}
