//! Lets hosts on other machines in: whoever is among the site's hosts, and nobody who was removed.
//! Beside it, what the hosts' server refuses to hosts and their components is counted.
//!
//! The server lets in by its files, so each change is written there, and the server reads them
//! again: it then ends the connections of those who are not in them.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use access::{
    Hosts,
    sensors::{Refusal, SensorCredentials},
};
use engine::{
    Authority, HostKind, OtherHost, Reload,
    accounts::{OWN_HOST, host_of_account},
    nats_server::ForHosts,
};
use tls::{HostName, Served};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use work::Service;

use crate::door::told::Told;

/// Time until another attempt to write the server's files.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The hosts' server, where hosts on other machines reach it.
#[derive(Debug)]
pub struct HostsServer {
    /// The server.
    pub server: ForHosts<'static>,
    /// Makes the certificate that the server shows. All hosts on other machines know it.
    pub authority: Authority,
    /// Address at which this machine reaches the server.
    pub address: String,
    /// The certificate of the site, whose names the server's gets; `None` on loopback.
    pub served: Option<Served>,
    /// Whom it lets in.
    pub hosts: Hosts,
    /// Tells of changes among them since before the files were first written.
    pub changed: watch::Receiver<()>,
}

impl HostsServer {
    /// Writes the server's files, which it reads at a start and when it is told to.
    ///
    /// # Errors
    /// They cannot be written, or no certificate can be made.
    pub fn write(&self) -> io::Result<()> {
        let served = self.served.iter().flat_map(|served| {
            let identity = served.now();
            identity.names().iter().map(HostName::to_string).collect::<Vec<_>>()
        });
        let names = [self.address.clone()].into_iter().chain(served).collect();
        let identity = self.authority.server(names).map_err(io::Error::other)?;
        let others = self.hosts.all().into_iter().map(|host| OtherHost {
            kind: if host.guests { HostKind::Guests } else { HostKind::Site },
            name: host.name.into(),
            id: host.id,
            certificates_pem: host.certificates_pem,
        });
        self.server.write(&identity, &others.collect::<Vec<_>>())
    }
}

/// Keeps that server's files current.
#[derive(Debug)]
pub struct HostsDoor {
    /// The server.
    pub server: HostsServer,
    /// Has the server read its files again.
    pub reload: Reload,
}

impl Service for HostsDoor {
    const NAME: &'static str = "the door for hosts";
    type Error = io::Error;

    async fn run(self, shutdown: CancellationToken) -> Result<(), io::Error> {
        let Self { server, reload } = self;
        let mut changed = server.changed.clone();
        let mut served = server.served.clone();
        let server = Arc::new(server);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Ok(()) = changed.changed() => {}
                () = replaced(&mut served) => {}
            }
            let writing = Arc::clone(&server);
            let written = work::blocking((), move || writing.write()).await;
            match written.map_err(io::Error::other).flatten() {
                Ok(()) => reload.ask(),
                Err(error) => {
                    warn!(%error, "cannot tell the hosts' server whom to let in; trying again");
                    changed.mark_changed();
                    if shutdown.run_until_cancelled(sleep(WRITE_AGAIN_AFTER)).await.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Waits until the site has another certificate.
async fn replaced(served: &mut Option<Served>) {
    if let Some(served) = served
        && served.changed().await
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Counts what the hosts' server refused to hosts and to the components on them.
#[derive(Debug)]
pub struct HostsRefusals {
    /// What the server writes into its log.
    pub server_log: mpsc::Receiver<String>,
    /// Counts refusals, with those of devices.
    pub refusals: SensorCredentials,
}

impl Service for HostsRefusals {
    const NAME: &'static str = "refusals to hosts";
    type Error = Infallible;

    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Self { mut server_log, refusals } = self;
        while let Some(Some(line)) = shutdown.run_until_cancelled(server_log.recv()).await {
            if let Some(refusal) = refusal(&line) {
                refusals.refused(refusal, clock::now());
            }
        }
        // The log ends with the server, and that with the site.
        shutdown.cancelled().await;
        Ok(())
    }
}

/// What a line of the server's log says that a host was refused.
fn refusal(line: &str) -> Option<Refusal> {
    let told = Told::parse(line)?;
    let host = told.account().and_then(host_of_account);
    let who = match host {
        Some((HostKind::Site, OWN_HOST)) => String::from("the site's own host"),
        Some((HostKind::Guests, OWN_HOST)) => String::from("a processor"),
        Some((HostKind::Site, name)) => format!("host {name}"),
        Some((HostKind::Guests, name)) => format!("a processor on host {name}"),
        None => format!("a host at {}", told.host()),
    };
    let advice = match host {
        None if told.is_without_tls() => {
            "nothing, if it was removed; otherwise add it with `sealwire host add`"
        }
        Some((HostKind::Guests, _)) => {
            "find out which one it is, and list it no more: \
             a processor that keeps to docs/processors.md wants nothing else"
        }
        _ => "look at what runs there: a stock host wants nothing else",
    };
    Some(Refusal::new(&who, &told.why(), advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as nats-server 2.15.1 wrote them.
    #[test]
    fn a_refusal_names_the_host_or_where_it_came_from() {
        for (line, who, why) in [
            (
                r#"10.0.0.7:5 - cid:9 - "host.hall-1/user:control.0a.host.sealwire" - Publish Violation - Subject "sealwire.x""#,
                "host hall-1",
                "it may not publish to `sealwire.x` (from 10.0.0.7 by NATS)",
            ),
            (
                r#"127.0.0.1:5 - cid:9 - "v2:py" - "host.@site/user:host-data.sealwire" - Subscription Violation - Subject "a", SID 1"#,
                "the site's own host",
                "it may not hear `a` (from 127.0.0.1 by NATS)",
            ),
            (
                r#"127.0.0.1:5 - cid:9 - "guests.@site/user:guests-data.sealwire" - Publish Violation - Subject "runtime.host.1.workload.stop""#,
                "a processor",
                "it may not publish to `runtime.host.1.workload.stop` (from 127.0.0.1 by NATS)",
            ),
            (
                "10.0.0.7:5 - cid:16 - TLS handshake error: tls: failed to verify certificate: x509: unknown (CN=hall-2)",
                "a host at 10.0.0.7",
                "it did not go over to TLS: tls: failed to verify certificate: x509: unknown (CN=hall-2) (from 10.0.0.7 by NATS)",
            ),
        ] {
            let refused = refusal(&format!("[7] 2026/11/29 16:39:33.785544 [ERR] {line}")).unwrap();
            assert_eq!((refused.who.as_str(), refused.why.as_str()), (who, why));
            assert!(!refused.advice.is_empty());
        }
        assert_eq!(refusal("[7] 2026/11/29 16:39:32.695413 [INF] Server is ready"), None);
    }
}
