//! The file with which a host on another machine runs for a site: where the site is, and what the
//! host shows to it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use engine::wash_host::{Certified, Identities, PullsFrom};
use orders::order::{HostIdentity, HostSecrets};
use serde::{Deserialize, Serialize};

/// Largest file in bytes: many times what it holds.
const BYTES_MAX: u64 = 1 << 20;

/// What a host on another machine needs. Holds secrets, so it has no `Debug`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ticket {
    /// Name of the host.
    pub(crate) name: String,
    /// Whether it runs users' processors, and nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) guests: bool,
    /// Host and port of the hosts' server.
    pub(crate) nats: String,
    /// Certificate of the authority that makes the server's.
    pub(crate) server_ca: String,
    /// URL of the registry.
    pub(crate) registry: String,
    /// Certificate of the authority that the host believes there besides the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) registry_ca: Option<String>,
    /// API token with which the host pulls images.
    registry_token: String,
    control: HostIdentity,
    data: HostIdentity,
}

/// Where a host reaches a site.
pub(crate) struct Places {
    /// Host and port of the hosts' server.
    pub(crate) nats: String,
    /// URL of the registry.
    pub(crate) registry: String,
    /// Certificate of the authority that the host believes there.
    pub(crate) registry_ca: Option<String>,
}

impl Ticket {
    pub(crate) fn new((name, guests): (&str, bool), places: Places, secrets: HostSecrets) -> Self {
        let Places { nats, registry, registry_ca } = places;
        let HostSecrets { server_ca, control, data, registry_token } = secrets;
        let name = name.to_owned();
        Self { name, guests, nats, server_ca, registry, registry_ca, registry_token, control, data }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or it is none.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let failed = || format!("cannot read {name}");
        if fs::metadata(path).with_context(failed)?.len() > BYTES_MAX {
            bail!("{name} is no host's file: it has more than {BYTES_MAX} bytes");
        }
        if let Some(mode) = durable::open_to_others(path).with_context(failed)? {
            bail!("other accounts may read {name} (mode {mode:o}): change its mode to 600");
        }
        let bytes = fs::read(path).with_context(failed)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{name} is no host's file: `sealwire host add` writes one"))
    }

    /// Writes the file, with mode 600. Replaces none.
    pub(crate) fn write(&self, file: &mut fs::File) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(self).expect("it has only text keys");
        file.write_all(&json)?;
        file.write_all(b"\n")?;
        file.sync_all()
    }

    pub(crate) fn identities(&self) -> Identities {
        let certified = |HostIdentity { certificate, key }: &HostIdentity| Certified {
            certificate_pem: certificate.clone(),
            key_pem: key.clone(),
        };
        Identities { control: certified(&self.control), data: certified(&self.data) }
    }

    /// From where the host pulls images.
    ///
    /// # Errors
    /// The registry is on another machine and speaks clear text, or its address is no URL.
    pub(crate) fn pulls_from(&self) -> Result<PullsFrom> {
        let (in_clear_text, registry) = match self.registry.split_once("://") {
            Some(("https", registry)) => (false, registry),
            Some(("http", registry)) if is_loopback(registry) => (true, registry),
            _ => bail!(
                "the registry {} must be an https:// address, or one of loopback",
                self.registry
            ),
        };
        Ok(PullsFrom {
            registry: registry.to_owned(),
            in_clear_text,
            ca_pem: self.registry_ca.clone(),
            token: Some(self.registry_token.clone()),
        })
    }
}

fn is_loopback(address: &str) -> bool {
    address.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn ticket(registry: &str) -> Ticket {
        let identity = || HostIdentity { certificate: String::from("c"), key: String::from("k") };
        let places = Places {
            nats: String::from("plant.example:4223"),
            registry: registry.to_owned(),
            registry_ca: None,
        };
        let secrets = HostSecrets {
            server_ca: String::from("ca"),
            control: identity(),
            data: identity(),
            registry_token: String::from("pts_secret"),
        };
        Ticket::new(("hall-1", false), places, secrets)
    }

    #[test]
    fn images_come_in_clear_text_from_this_machine_alone() {
        for (registry, in_clear_text) in [
            ("https://plant.example:5000", Some(false)),
            ("http://127.0.0.1:5000", Some(true)),
            ("http://[::1]:5000", Some(true)),
            ("http://plant.example:5000", None),
            ("http://10.0.0.7:5000", None),
            ("plant.example:5000", None),
        ] {
            let from = ticket(registry).pulls_from().ok().map(|from| from.in_clear_text);
            assert_eq!(from, in_clear_text, "{registry}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hall-1.json");
        let mut options = durable::private_file();
        let mut file = options.write(true).create_new(true).open(&path).unwrap();
        ticket("https://plant.example:5000").write(&mut file).unwrap();
        assert_eq!(Ticket::read(&path).unwrap().name, "hall-1");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = Ticket::read(&path).err().unwrap().to_string();
        assert!(open.contains("mode 640") && open.contains("600"), "{open}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "{}").unwrap();
        assert!(Ticket::read(&path).err().unwrap().to_string().contains("sealwire host add"));
    }
}
