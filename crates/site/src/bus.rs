//! The two servers of the message bus, and the site's connections to them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use data_dir::DataDir;
use engine::{
    Authority, Credentials, Engine, OnDevices, Password, Traffic,
    ca::CredentialError,
    nats_server::{self, ForDevices, ForHosts, Port},
};
use model::{derive, mirror, processing, submission};
use nats::nkey::{Kind, Seed};
use services::{
    applications::hearing,
    bus::{self, Connections, Devices, Server},
    door, polling_service,
};
use tls::Served;
use tokio::try_join;

use crate::{
    error::{EngineError, UpError},
    ports::{Reserved, is_open},
    ready::{BusError, connect},
};

/// Folder of the devices' server in the data directory.
pub(crate) const FOLDER: &str = "nats";
/// Subjects on the hosts' server, and who answers them.
const TRAFFIC: Traffic<'_> = Traffic {
    of_components: &[derive::SUBJECT, processing::SUBJECTS, submission::SUBJECT, mirror::SUBJECT],
    of_site: &[model::query::SUBJECT, submission::FORWARDED],
    of_service: &[polling_service::ALL_SUBJECTS],
};

/// The reserved ports of both servers.
pub(crate) struct Listening {
    pub(crate) nats: Reserved,
    pub(crate) mqtt: Reserved,
    pub(crate) leaf: Option<Reserved>,
    pub(crate) hosts: Reserved,
}

/// The message bus, once both servers answer.
pub(crate) struct Bus {
    pub(crate) connections: Connections,
    pub(crate) servers: [Engine; 2],
    /// Makes the host's certificates.
    pub(crate) authority: Authority,
    /// Address at which hosts connect.
    pub(crate) hosts: SocketAddr,
    /// Signs what the devices' server believes about devices.
    pub(crate) issuer: Seed,
}

/// Starts both servers and connects to them, `with_pushing` twice to that for devices. The ports
/// that other machines reach show the certificate in `served`. Cancelling kills the servers that
/// were started.
pub(crate) async fn start(
    data_dir: &DataDir,
    program: PathBuf,
    listening: Listening,
    served: Option<&Served>,
    with_pushing: bool,
) -> Result<Bus, UpError> {
    let Listening { nats, mqtt, leaf, hosts } = listening;
    let (nats_address, hosts_address) = (nats.address(), hosts.address());
    let server = Server {
        address: from_here(nats_address),
        tls: served.filter(|_| is_open(nats_address)).map(Served::client),
    };
    let identity = served.map(Served::now);
    let pem = identity.as_ref().map(|identity| identity.pem());
    let port = |address| Port { address, identity_pem: pem.filter(|_| is_open(address)) };
    let authority = Authority::new().map_err(no_credentials)?;
    let [own, issuer] =
        [Kind::User, Kind::Account].map(|kind| Seed::from_bytes(kind, &rand::random()));
    let password = Password::random().map_err(no_credentials)?;
    let listener = Password::random().map_err(no_credentials)?;
    let nobody = Password::random().map_err(no_credentials)?;
    let control = Credentials::for_control(&authority).map_err(no_credentials)?;
    let data = Credentials::for_data(&authority).map_err(no_credentials)?;
    let service = Credentials::for_service(&authority).map_err(no_credentials)?;

    let for_devices = ForDevices {
        name: data_dir.name(),
        nats: port(nats_address),
        mqtt: port(mqtt.address()),
        leaf: leaf.as_ref().map(|leaf| port(leaf.address())),
        folder: &data_dir.engine(FOLDER),
        site: OnDevices {
            site: &own.public(),
            door: &password,
            listener: &listener,
            nobody: &nobody,
            issuer: &issuer.public(),
        },
    };
    let for_hosts = ForHosts {
        name: data_dir.name(),
        nats: hosts_address,
        folder: &data_dir.engine("hosts"),
        authority: &authority,
        traffic: TRAFFIC,
    };
    let failed = |name| move |source| UpError::machine(EngineError { name, source });
    let devices_start =
        for_devices.prepare(program.clone()).map_err(failed(nats_server::DEVICES))?;
    let hosts_start = for_hosts.prepare(program).map_err(failed(nats_server::HOSTS))?;
    drop((nats, mqtt, leaf, hosts));
    let mut devices_server = Engine::start(devices_start).map_err(failed(nats_server::DEVICES))?;
    let mut hosts_server = Engine::start(hosts_start).map_err(failed(nats_server::HOSTS))?;

    let dropped = Arc::new(AtomicU64::new(0));
    let to_devices = async {
        // First, so that devices that come as soon as the server is there find somebody at the
        // door.
        let dial = async || door::connect(&server, &password).await;
        let door = connect(&mut devices_server, dial).await?;
        let dial = async || Devices::connect(server.clone(), own.clone()).await;
        let devices = connect(&mut devices_server, dial).await?;
        let pushing = match with_pushing {
            true => Some(connect(&mut devices_server, dial).await?),
            false => None,
        };
        let dial = async || hearing::connect(&server, &listener, Arc::clone(&dropped)).await;
        let applications = connect(&mut devices_server, dial).await?;
        Ok::<_, BusError>((door, devices, pushing, applications))
    };
    let to_hosts = async {
        let dial = async |credentials: &Credentials| {
            bus::connect(hosts_address, credentials, Arc::clone(&dropped)).await
        };
        let control = connect(&mut hosts_server, async || dial(&control).await).await?;
        let data = connect(&mut hosts_server, async || dial(&data).await).await?;
        let operators = connect(&mut hosts_server, async || dial(&service).await).await?;
        Ok((control, data, operators))
    };
    let ((door, devices, pushing, applications), (control, data, operators)) =
        try_join!(to_devices, to_hosts).map_err(UpError::machine)?;
    Ok(Bus {
        connections: Connections {
            devices,
            pushing,
            door,
            applications,
            control,
            data,
            operators,
            dropped,
        },
        servers: [devices_server, hosts_server],
        authority,
        hosts: hosts_address,
        issuer,
    })
}

/// The address at which this machine reaches one on which a server listens.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// No credentials could be made that distinguish the site from other clients of the bus.
#[derive(Debug, thiserror::Error)]
#[error("the site has no credentials for the message bus")]
struct NoCredentials(#[source] CredentialError);

fn no_credentials(failure: CredentialError) -> UpError {
    UpError::machine(NoCredentials(failure))
}
