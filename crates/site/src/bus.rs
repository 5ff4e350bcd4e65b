//! The two servers of the message bus, and the site's connections to them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use access::Hosts;
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
    door,
    hosts_door::HostsServer,
    polling_service,
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
    of_components: &[derive::SUBJECT, submission::SUBJECT, lattice::rollout::SUBJECTS],
    of_guests: &[processing::SUBJECTS],
    of_own_components: &[mirror::SUBJECT],
    of_site: &[model::query::SUBJECT, submission::FORWARDED],
    of_service: &[polling_service::ALL_SUBJECTS],
};

/// The reserved ports of both servers.
pub(crate) struct Listening {
    pub(crate) nats: Reserved,
    pub(crate) mqtt: Reserved,
    pub(crate) leaf: Option<Reserved>,
    pub(crate) hosts: Reserved,
    /// Whether hosts on other machines may connect there, too.
    pub(crate) takes_other_hosts: bool,
}

/// The message bus, once both servers answer.
pub(crate) struct Bus {
    pub(crate) connections: Connections,
    pub(crate) servers: [Engine; 2],
    /// Makes the certificates of the site's own hosts and of operators.
    pub(crate) authority: Authority,
    /// Certificate in PEM of the authority that made the hosts' server's.
    pub(crate) server_ca_pem: String,
    /// The hosts' server, if its port is for hosts on other machines, too.
    pub(crate) open_hosts: Option<HostsServer>,
    /// Address at which hosts connect.
    pub(crate) hosts: SocketAddr,
    /// Signs what the devices' server believes about devices.
    pub(crate) issuer: Seed,
}

/// The hosts on other machines that the hosts' server lets in.
pub(crate) struct OtherHosts {
    /// The hosts.
    pub(crate) hosts: Hosts,
    /// File of the key of the authority that they know.
    pub(crate) authority_key: PathBuf,
    /// The certificate of the site, if they reach the server from another machine.
    pub(crate) served: Option<Served>,
}

/// Starts both servers and connects to them, `with_pushing` twice to that for devices. The ports
/// of devices that other machines reach show the certificate in `served`. Cancelling kills the
/// servers that were started.
pub(crate) async fn start(
    data_dir: &DataDir,
    program: PathBuf,
    listening: Listening,
    (served, with_pushing): (Option<&Served>, bool),
    other_hosts: Option<OtherHosts>,
) -> Result<Bus, UpError> {
    let Listening { nats, mqtt, leaf, hosts, takes_other_hosts: _ } = listening;
    let (nats_address, hosts_address) = (nats.address(), from_here(hosts.address()));
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
    let kept = other_hosts.as_ref().map(|other| Authority::kept(&other.authority_key));
    let kept = kept.transpose().map_err(no_credentials)?;
    // Hosts on other machines know an authority that outlives a run, so the server is its.
    let of_server = kept.as_ref().unwrap_or(&authority);
    let control = Credentials::for_control(of_server, &authority).map_err(no_credentials)?;
    let data = Credentials::for_data(of_server, &authority).map_err(no_credentials)?;
    let guests = Credentials::for_guests(of_server, &authority).map_err(no_credentials)?;
    let service = Credentials::for_service(of_server, &authority).map_err(no_credentials)?;
    let server_ca_pem = of_server.pem();

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
        name: data_dir.name().to_owned(),
        nats: hosts.address(),
        folder: data_dir.engine("hosts"),
        authority_pem: authority.pem(),
        traffic: TRAFFIC,
    };
    let address = hosts_address.ip().to_string();
    let failed = |name| move |source| UpError::machine(EngineError { name, source });
    let devices_start =
        for_devices.prepare(program.clone()).map_err(failed(nats_server::DEVICES))?;
    let hosts_start = for_hosts.start(program);
    let open_hosts = match kept.zip(other_hosts) {
        Some((authority, OtherHosts { hosts, served, .. })) => {
            let changed = hosts.watch();
            let open =
                HostsServer { server: for_hosts, authority, address, served, hosts, changed };
            open.write().map_err(failed(nats_server::HOSTS))?;
            Some(open)
        }
        None => {
            let identity = authority.server(vec![address]).map_err(no_credentials)?;
            for_hosts.write(&identity, &[]).map_err(failed(nats_server::HOSTS))?;
            None
        }
    };
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
        let guests = connect(&mut hosts_server, async || dial(&guests).await).await?;
        let operators = connect(&mut hosts_server, async || dial(&service).await).await?;
        Ok((control, data, guests, operators))
    };
    let ((door, devices, pushing, applications), (control, data, guests, operators)) =
        try_join!(to_devices, to_hosts).map_err(UpError::machine)?;
    Ok(Bus {
        connections: Connections {
            devices,
            pushing,
            door,
            applications,
            control,
            data,
            guests,
            operators,
            dropped,
        },
        servers: [devices_server, hosts_server],
        server_ca_pem,
        open_hosts,
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
