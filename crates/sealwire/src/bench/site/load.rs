//! What a site is offered, and where a run has its files.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// How sensors speak to their site, and who they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::bench) enum Door {
    /// On loopback, and anyone is let in.
    #[default]
    Open,
    /// On loopback, with a credential for all sensors of a connection.
    Credentials,
    /// The same at another address of this machine, with TLS.
    Tls,
}

/// Sensors, and the interval at which each is polled, if not that of its kind.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Load {
    pub(in crate::bench) sensors: u32,
    pub(in crate::bench) interval: Option<Duration>,
    pub(in crate::bench) connections: u32,
    /// Share of the sensors that speak MQTT.
    pub(in crate::bench) mqtt: f64,
    /// What they do wrong, as a file of faults says it.
    pub(in crate::bench) faults: &'static str,
    pub(in crate::bench) door: Door,
}

impl Load {
    /// Sensors that speak NATS.
    pub(in crate::bench) const fn new(sensors: u32, interval: Option<Duration>) -> Self {
        let connections = simulator::run::CONNECTIONS;
        Self { sensors, interval, connections, mqtt: 0.0, faults: "", door: Door::Open }
    }

    /// What a fleet is told that is let in without credentials.
    pub(in crate::bench) fn arguments(self) -> [OsString; 2] {
        let Self { sensors, connections, .. } = self;
        [format!("--count={sensors}"), format!("--connections={connections}")].map(OsString::from)
    }

    /// Readings per second.
    pub(in crate::bench) fn per_second(self) -> f64 {
        // The mean of the kinds' intervals is of no interest here: it is not awaited.
        let interval = self.interval.unwrap_or(Duration::from_secs(10));
        f64::from(self.sensors) / interval.as_secs_f64()
    }
}

/// Where the site of a run has its data.
pub(in crate::bench) fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Where the fleet of a run writes what each sensor did.
pub(in crate::bench) fn tally(folder: &Path) -> PathBuf {
    folder.join("tally")
}
