//! `sealwire host`: lets hosts on other machines in at a site, and runs one for a site elsewhere.

mod ticket;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use data_dir::RunFile;
use durable::Lock;
use engine::{Change, Engine, HostKind, find, release, sandbox, wash_host};
use orders::{Done, Order, order::AddressedOrder};
use serde_json::json;
use tls::HostName;
use tokio::sync::mpsc;

use self::ticket::{Places, Ticket};
use crate::{
    cli::{
        AddArguments, HostArguments, HostCommand, RunArguments,
        order_arguments::{Actor, OrderArguments},
    },
    log, logging, output, signals,
};

/// Changes of the engine that nobody has read yet.
const CHANGES_MAX: usize = 16;
/// The engine's folder, below that of the host. The engine sees nothing beside it.
const ENGINE: &str = "wash";

pub(crate) fn run(arguments: HostArguments) -> Result<()> {
    match arguments.command {
        HostCommand::Run(arguments) => host(&arguments),
        HostCommand::Add(arguments) => add(arguments),
        HostCommand::Remove { name, site, actor: Actor { actor } } => {
            log::give(site, Order::RemoveHost { name, actor })
        }
        HostCommand::List { site } => log::give(site, Order::Hosts),
    }
}

/// Creates the file first, so that no host is let in whose secrets are lost.
fn add(arguments: AddArguments) -> Result<()> {
    let AddArguments { name, writes, guests, output, reach, ca, site, actor } = arguments;
    let Actor { actor } = actor;
    let OrderArguments { data_dir, key_file, log, json } = site;
    let places = places(&data_dir, reach.as_ref(), ca.as_deref())?;
    let path = output.unwrap_or_else(|| PathBuf::from(format!("{name}.json")));
    let cannot = || format!("cannot create {}", path.display());
    let mut options = durable::private_file();
    let mut file = options.write(true).create_new(true).open(&path).with_context(cannot)?;
    let order = Order::AddHost { name: name.clone(), guests, writes, actor };
    let order = AddressedOrder { log, order };
    let given = log::carry_out(&data_dir, key_file, order).and_then(|done| {
        let Done::AddHost { leaf, secrets } = done else {
            bail!("the site answers something else: is it of another version?");
        };
        Ticket::new((name.as_str(), guests), places, secrets)
            .write(&mut file)
            .with_context(cannot)?;
        durable::sync_folder_of(&path).with_context(cannot)?;
        Ok(leaf)
    });
    let leaf = given.inspect_err(|_error| {
        // If the host is there, nobody has its secrets: `sealwire host remove` removes it.
        let _stays = fs::remove_file(&path);
    })?;
    let shown = output::quoted(&path);
    if json {
        output::json(&json!({ "done": "add-host", "leaf": leaf, "file": path }).to_string());
    } else {
        output::lines(&format!(
            "host {name} added; recorded at leaf {leaf}\n\
             Take {shown} to its machine, and run there:  sealwire host run {shown}\n\
             Then remove it here: it holds the host's secrets."
        ));
    }
    Ok(())
}

/// Where hosts on other machines reach the site that runs in this folder.
fn places(data_dir: &Path, reach: Option<&HostName>, ca: Option<&Path>) -> Result<Places> {
    let how = "start it with --hosts-port and --registry-port and, for other machines, \
               --hosts-listen and --registry-listen";
    let run = RunFile::read(data_dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!("no site runs in {}: {how}", data_dir.display()),
        _ => anyhow!(error).context("cannot read run.json in the data directory"),
    })?;
    let (Some(nats), Some(registry)) = (run.addresses.hosts, run.addresses.registry) else {
        bail!("the site takes no hosts on other machines: {how}");
    };
    let own = data_dir.join(tls::FOLDER).join("ca.pem");
    let ca = match ca {
        Some(ca) => Some(ca),
        None => Some(own.as_path()).filter(|own| own.is_file()),
    };
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let at = |url: &str| -> Result<String> {
        let (scheme, address) = url.split_once("://").context("the site's addresses are URLs")?;
        let (_, port) = address.rsplit_once(':').context("the site's addresses have ports")?;
        let address = match reach {
            Some(name) => format!("{}:{port}", name.in_url()),
            None => address.to_owned(),
        };
        Ok(format!("{scheme}://{address}"))
    };
    let nats = at(&nats)?;
    let registry = at(&registry)?;
    let registry_ca = ca.filter(|_| registry.starts_with("https:")).map(read).transpose()?;
    let nats = nats.trim_start_matches("tls://").to_owned();
    Ok(Places { nats, registry, registry_ca })
}

fn host(arguments: &RunArguments) -> Result<()> {
    logging::start();
    let ticket = Ticket::read(&arguments.file)?;
    let note = |words: &str| output::note(&format!("sealwire: {words}"));
    let program = find(&release::WASH, &note)?;
    durable::create_folder(&arguments.data_dir)
        .with_context(|| format!("cannot create {}", arguments.data_dir.display()))?;
    let folder = arguments.data_dir.canonicalize().context("cannot use the data directory")?;
    let _lock = Lock::take(&folder.join("lock")).context("cannot lock the data directory")?;
    if !sandbox::is_available() {
        note("this kernel has no Landlock: the engine runs with all rights of this account");
    }
    let (kind, group, http) = if ticket.guests {
        (HostKind::Guests, wash_host::GUESTS_GROUP, None)
    } else {
        (HostKind::Site, arguments.group.as_str(), Some(free(arguments.http_port)?))
    };
    let config = wash_host::Config {
        kind,
        name: arguments.name.as_ref().unwrap_or(&ticket.name),
        group,
        nats: &ticket.nats,
        server_ca_pem: &ticket.server_ca,
        identities: &ticket.identities(),
        pulls_from: &ticket.pulls_from()?,
        http,
        folder: &folder.join(ENGINE),
        calls_servers: false,
        servers_ca: None,
    };
    let start = wash_host::prepare(program, &config).context("cannot write the host's files")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = signals::shutdown()?;
        let engine = Engine::start(start).context("cannot start wash host")?;
        note(&format!("host {} runs for the site at {}", config.name, ticket.nats));
        let mut said = engine.log().hear();
        let (changes, mut changed) = mpsc::channel(CHANGES_MAX);
        let supervising = engine.supervise(changes, shutdown);
        let telling = async {
            loop {
                tokio::select! {
                    Some(line) = said.recv() => if let Some(words) = in_our_words(&line) {
                        note(words);
                    },
                    change = changed.recv() => match change {
                        Some(Change::Down { name, reason }) => {
                            note(&format!("{name} {reason}; starting it again"));
                        }
                        Some(Change::Up { name, .. }) => note(&format!("{name} runs again")),
                        None => return,
                    },
                }
            }
        };
        tokio::join!(supervising, telling);
        note("stopped");
        Ok(())
    })
}

/// What an operator must know of what the engine says.
fn in_our_words(line: &str) -> Option<&'static str> {
    [
        ("disconnected from NATS", "the line to the site is lost: looking for it"),
        ("connected to NATS", "connected to the site"),
        ("Starting workload", "the site starts a workload here"),
        ("Stopping workload", "the site stops a workload here"),
        ("failed to start workload", "a workload did not start: the engine's log says why"),
    ]
    .into_iter()
    .find_map(|(said, words)| line.contains(said).then_some(words))
}

/// An address of loopback that nobody uses.
fn free(port: u16) -> Result<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let failed = || format!("cannot listen on {address}: choose another port with --http-port");
    // The host takes the port a moment later. If somebody else is faster, it is started again.
    let listener = TcpListener::bind(address).with_context(failed)?;
    listener.local_addr().with_context(failed)
}
