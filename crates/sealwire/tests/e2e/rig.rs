//! Engines without a site.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use async_nats::Client;
use engine::{
    Credentials, release,
    supervise::{RUN_ENGINE, Start},
};

use crate::site::DEADLINE;

/// A running engine. Dropping it kills it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts an engine as a site does: through our own program, which confines it.
    pub(crate) fn start(start: &Start) -> Self {
        let log = fs::File::create(&start.log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sealwire"))
            .arg(RUN_ENGINE)
            .arg(std::process::id().to_string())
            .args([&start.folder, &start.program])
            .args(&start.arguments)
            .env_clear()
            .env("HOME", &start.folder)
            .current_dir(&start.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may already have ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

pub(crate) fn found(release: &release::Release) -> PathBuf {
    engine::find(release, &|_| {}).unwrap()
}

/// Connects to the hosts' server as soon as it answers.
pub(crate) async fn connect(address: SocketAddr, credentials: &Credentials) -> Client {
    let started = Instant::now();
    loop {
        match credentials.options().connect(format!("nats://{address}")).await {
            Ok(client) => return client,
            Err(error) => assert!(started.elapsed() < DEADLINE, "{error}"),
        }
    }
}
