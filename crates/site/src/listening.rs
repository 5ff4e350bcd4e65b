//! The engines' programs and the ports of a site, before anything starts.

use std::path::PathBuf;

use crate::{
    bus,
    config::Ports,
    ports::{PortInUse, Reserved, reserve},
};

/// Where the engines are.
pub(crate) struct Programs {
    pub(crate) nats_server: PathBuf,
    pub(crate) wash: PathBuf,
}

/// The ports of the site, all held until each goes to the program that is to listen on it.
pub(crate) struct Listening {
    pub(crate) page: Reserved,
    /// Where the host answers the page's port.
    pub(crate) host: Reserved,
    pub(crate) bus: bus::Listening,
    pub(crate) log: Reserved,
}

impl Listening {
    pub(crate) async fn reserve(ports: Ports) -> Result<Self, PortInUse> {
        Ok(Self {
            page: reserve("the page", "--http-port", ports.http).await?,
            log: reserve("the log", "--log-port", ports.log).await?,
            // Nobody but this process asks there, so it needs no name: any free port will do.
            host: reserve("the host", "--http-port", 0).await?,
            bus: bus::Listening {
                nats: reserve("NATS", "--nats-port", ports.nats).await?,
                mqtt: reserve("MQTT", "--mqtt-port", ports.mqtt).await?,
                hosts: reserve("hosts", "--nats-port", 0).await?,
            },
        })
    }
}
