//! Finds the engines' programs and reserves the site's ports, before anything starts.

use std::path::PathBuf;

use crate::{
    bus,
    config::Ports,
    ports::{PortInUse, Reserved, reserve},
};

/// Paths of the engines' programs.
pub(crate) struct Programs {
    pub(crate) nats_server: PathBuf,
    pub(crate) wash: PathBuf,
}

/// The reserved ports of the site. Each stays reserved until the program that listens on it takes
/// it.
pub(crate) struct Listening {
    pub(crate) page: Reserved,
    /// Port of the host, behind that of the page.
    pub(crate) host: Reserved,
    pub(crate) bus: bus::Listening,
    pub(crate) log: Reserved,
}

impl Listening {
    pub(crate) async fn reserve(ports: Ports) -> Result<Self, PortInUse> {
        Ok(Self {
            page: reserve("the page", "--http-port", ports.http).await?,
            log: reserve("the log", "--log-port", ports.log).await?,
            // Only this process connects to it, so any free port will do.
            host: reserve("the host", "--http-port", 0).await?,
            bus: bus::Listening {
                nats: reserve("NATS", "--nats-port", ports.nats).await?,
                mqtt: reserve("MQTT", "--mqtt-port", ports.mqtt).await?,
                hosts: reserve("hosts", "--nats-port", 0).await?,
            },
        })
    }
}
