//! How the sensors of a run are let in.

use std::{
    ffi::OsString,
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::load::{Door, Load, data_dir};

impl Door {
    /// Prepares the folder of a site that is about to start. Returns the flags that it needs.
    pub(super) fn prepare(self, program: &Path, folder: &Path) -> Result<Vec<String>> {
        if self != Self::Tls {
            return Ok(Vec::new());
        }
        Ok(vec![format!("--nats-listen={}", certify(program, folder)?)])
    }

    /// Lets a fleet into a site that runs. Returns what the fleet is told.
    pub(super) fn let_in(self, program: &Path, folder: &Path, load: Load) -> Result<Vec<OsString>> {
        if self == Self::Open {
            return Ok(load.arguments().into());
        }
        let of_set = load.sensors.div_ceil(load.connections);
        let rows = (0..load.sensors).map(|sensor| {
            // The kind of a simulated sensor follows from its name.
            format!("Sensor-{sensor},Device-{}\n", sensor / of_set)
        });
        let (_time, credentials) = add(program, folder, "alias,set", rows)?;
        let mut told: Vec<OsString> = vec!["--creds".into(), credentials.into()];
        if self == Self::Tls {
            told.extend(["--ca".into(), data_dir(folder).join("tls/ca.pem").into()]);
        }
        Ok(told)
    }
}

/// Has a site that runs make credentials of these rows of a CSV file. Returns how long that took,
/// and the folder that they are in.
pub(in crate::bench) fn add(
    program: &Path,
    folder: &Path,
    columns: &str,
    rows: impl Iterator<Item = String>,
) -> Result<(Duration, PathBuf)> {
    let (csv, credentials) = (folder.join("sensors.csv"), folder.join("credentials"));
    let rows: String = rows.collect();
    fs::write(&csv, format!("{columns}\n{rows}")).context("cannot write the list of sensors")?;
    let [from, output] = [&csv, &credentials].map(|path| path.to_str());
    let paths = from.zip(output).context("the folder's name is not UTF-8")?;
    let begin = Instant::now();
    order(program, folder, &["sensor", "add", "--from", paths.0, "--output", paths.1])?;
    Ok((begin.elapsed(), credentials))
}

/// Makes a certificate for the site of a folder. Returns the address that it is for.
pub(in crate::bench) fn certify(program: &Path, folder: &Path) -> Result<IpAddr> {
    let here = own_address()?;
    order(program, folder, &["ca", "init"])?;
    order(program, folder, &["ca", "issue", "--host", &here.to_string()])?;
    Ok(here)
}

/// Gives an order to the site of a folder. Returns what it printed.
pub(in crate::bench) fn order(program: &Path, folder: &Path, words: &[&str]) -> Result<String> {
    let mut order = Command::new(program);
    order.args(words).arg("--data-dir").arg(data_dir(folder));
    let output = order.stdin(Stdio::null()).output().context("cannot give an order")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`sealwire {}` failed: {said}", words.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// An address of this machine that is not loopback.
fn own_address() -> Result<IpAddr> {
    /// An address for documentation (RFC 5737, section 3), to which nothing is sent.
    const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(ELSEWHERE).context("this machine has no address but loopback")?;
    let address = socket.local_addr()?.ip();
    ensure!(!address.is_loopback(), "this machine has no address but loopback");
    Ok(address)
}
