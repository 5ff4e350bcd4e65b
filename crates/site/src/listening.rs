//! Finds the engines' programs and reserves the site's ports, before anything starts.

use std::{net::SocketAddr, path::PathBuf};

use http_server::Listener;
use tls::{HostName, Served};

use crate::{
    bus,
    config::Listen,
    ports::{LOOPBACK, PortError, Reserved, is_open, reserve},
};

/// What listens for leaf nodes, as people see it.
const LEAF_NODES: &str = "leaf nodes";
/// What listens for hosts, as people see it.
const FOR_HOSTS: &str = "hosts";

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
    pub(crate) registry: Option<Reserved>,
}

impl Listen {
    /// Whether other machines reach a port.
    pub(crate) fn is_open(&self) -> bool {
        let people = [Some(self.page), Some(self.log), self.registry, self.hosts];
        people.into_iter().flatten().any(is_open) || self.opens_devices()
    }

    /// Whether devices on other machines reach the site.
    pub(crate) fn opens_devices(&self) -> bool {
        self.of_devices().any(|(_, address)| is_open(address))
    }

    /// The ports of devices, each with its name.
    fn of_devices(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let Self { nats, mqtt, leaf, .. } = *self;
        let leaf = leaf.map(|address| (LEAF_NODES, address));
        [("NATS", nats), ("MQTT", mqtt)].into_iter().chain(leaf)
    }

    /// Refuses to open a port to other machines without what protects it there. `lets_anyone_in`
    /// says whether devices need no credentials.
    pub(crate) fn check(
        &self,
        has_certificate: bool,
        lets_anyone_in: bool,
    ) -> Result<(), Unprotected> {
        for (what, address) in self.of_devices() {
            if is_open(address) && lets_anyone_in {
                return Err(Unprotected::Open { what, address });
            }
        }
        let people = [("the page", self.page), ("the log", self.log)];
        let registry = self.registry.map(|address| ("the registry", address));
        let hosts = self.hosts.map(|address| (FOR_HOSTS, address));
        for (what, address) in self.of_devices().chain(people).chain(registry).chain(hosts) {
            if is_open(address) && !has_certificate {
                return Err(Unprotected::Plain { what, address });
            }
        }
        if let Some(address) = self.hosts.filter(|address| is_open(*address))
            && !self.registry.is_some_and(is_open)
        {
            return Err(Unprotected::NoRegistry { address });
        }
        Ok(())
    }
}

impl Listening {
    pub(crate) async fn reserve(listen: Listen) -> Result<Self, PortError> {
        let leaf = match listen.leaf {
            Some(address) => Some(reserve(LEAF_NODES, "--leaf-port", address).await?),
            None => None,
        };
        Ok(Self {
            page: reserve("the page", "--http-port", listen.page).await?,
            log: reserve("the log", "--log-port", listen.log).await?,
            registry: match listen.registry {
                Some(address) => Some(reserve("the registry", "--registry-port", address).await?),
                None => None,
            },
            // Only this process connects to it, so any free port will do.
            host: reserve("the host", "--http-port", LOOPBACK).await?,
            bus: bus::Listening {
                nats: reserve("NATS", "--nats-port", listen.nats).await?,
                mqtt: reserve("MQTT", "--mqtt-port", listen.mqtt).await?,
                leaf,
                hosts: reserve(FOR_HOSTS, "--hosts-port", listen.hosts.unwrap_or(LOOPBACK)).await?,
                takes_other_hosts: listen.hosts.is_some(),
            },
        })
    }
}

/// The listener of a port for HTTP, encrypted if other machines reach it.
pub(crate) fn listener(port: Reserved, served: Option<&Served>) -> Listener {
    match served.filter(|_| is_open(port.address())) {
        Some(served) => Listener::with_tls(port.into_listener(), served.server()),
        None => port.into_listener().into(),
    }
}

/// The schemes of a protocol's URLs: in clear text, and with TLS.
#[derive(Clone, Copy)]
pub(crate) struct Schemes(&'static str, &'static str);

pub(crate) const HTTP: Schemes = Schemes("http", "https");
pub(crate) const NATS: Schemes = Schemes("nats", "tls");
pub(crate) const MQTT: Schemes = Schemes("mqtt", "mqtts");
/// A leaf node is told by another option whether it speaks TLS, and finds it out itself.
pub(crate) const LEAF: Schemes = Schemes("nats-leaf", "tls");

/// Hosts speak TLS everywhere.
pub(crate) const HOSTS: Schemes = Schemes("tls", "tls");

/// URL of a port, under the name by which clients can check its certificate.
pub(crate) fn url(schemes: Schemes, address: SocketAddr, served: Option<&Served>) -> String {
    let Schemes(plain, encrypted) = schemes;
    let Some(served) = served.filter(|_| is_open(address)) else {
        return format!("{plain}://{address}");
    };
    let (identity, own) = (served.now(), address.ip().to_string());
    let names = identity.names();
    let name = names.iter().find(|name| name.as_str() == own).or_else(|| names.first());
    match name.map(HostName::in_url) {
        Some(name) => format!("{encrypted}://{name}:{}", address.port()),
        None => format!("{encrypted}://{address}"),
    }
}

/// A port may not be opened to other machines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unprotected {
    /// There is no certificate.
    #[error(
        "{what} cannot listen on {address}, which other machines reach, without a certificate: \
         make one with `sealwire ca init` and `sealwire ca issue --host NAME`, \
         or name your own with --tls-cert and --tls-key"
    )]
    Plain { what: &'static str, address: SocketAddr },
    /// Anyone would be a device.
    #[error(
        "{what} cannot listen on {address}, which other machines reach, with --open: anyone there \
         could speak for every device. Leave out --open, and make a credential for each device with \
         `sealwire sensor add`"
    )]
    Open { what: &'static str, address: SocketAddr },
    /// Hosts could pull no image.
    #[error(
        "hosts on other machines pull images from the registry, which they do not reach: open it \
         beside {address} with --registry-port and --registry-listen"
    )]
    NoRegistry { address: SocketAddr },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_protection_nothing_but_loopback_is_opened() {
        let local = Listen {
            page: LOOPBACK,
            log: LOOPBACK,
            nats: LOOPBACK,
            mqtt: LOOPBACK,
            registry: None,
            leaf: Some(LOOPBACK),
            hosts: Some(LOOPBACK),
        };
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        for address in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let listen = Listen { page: at(address), ..local };
            assert!(!listen.is_open() && listen.check(false, true).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:0", "10.0.0.1:1", "[::]:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1"] {
            let address = at(address);
            let people = [
                Listen { page: address, ..local },
                Listen { log: address, ..local },
                Listen { registry: Some(address), ..local },
                Listen { registry: Some(address), hosts: Some(address), ..local },
            ];
            let devices = [
                Listen { nats: address, ..local },
                Listen { mqtt: address, ..local },
                Listen { leaf: Some(address), ..local },
            ];
            for listen in people.into_iter().chain(devices) {
                let refusal = listen.check(false, false).unwrap_err().to_string();
                assert!(refusal.contains("sealwire ca init") && refusal.contains("--tls-cert"));
                assert!(listen.is_open() && listen.check(true, false).is_ok(), "{address}");
            }
            for listen in people {
                assert!(!listen.opens_devices() && listen.check(true, true).is_ok());
            }
            let hosts = Listen { hosts: Some(address), ..local };
            let refusal = hosts.check(true, false).unwrap_err().to_string();
            assert!(hosts.is_open() && refusal.contains("--registry-listen"), "{refusal}");
            for listen in devices {
                let refusal = listen.check(true, true).unwrap_err().to_string();
                assert!(listen.opens_devices() && refusal.contains("sealwire sensor add"));
            }
        }
    }
}
