//! Difficult surroundings for the engines: an environment that is meant for other programs, no
//! home, a replaced program, a log that cannot be written.

use std::{
    fs,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;

use crate::{
    refusal::refused,
    site::{Site, succeeds},
};

const ENGINES: [(&str, &str); 3] =
    [("nats", "nats-server"), ("hosts", "nats-server for hosts"), ("wash", "wash host")];

/// A proxy that lets nobody through, and counts who came.
fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    std::thread::spawn(move || {
        for _client in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, came)
}

#[test]
fn engines_need_neither_home_nor_proxy_and_come_back_whatever_became_of_files() {
    let folder = TempDir::new().unwrap();
    let (proxy, came) = proxy();
    let cache = std::env::var("SEALWIRE_CACHE_DIR")
        .unwrap_or_else(|_| format!("{}/.cache/sealwire", std::env::var("HOME").unwrap()));
    let program = folder.path().join("sealwire");
    let copy = format!(r#"cp "$0" {0} && exec {0} "$@""#, program.display());
    let proxies =
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            .map(|name| format!("{name}={proxy}"));
    let mut launcher =
        vec!["env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "NO_PROXY", "-u", "no_proxy"];
    launcher.extend(proxies.iter().map(String::as_str));
    let cache = format!("SEALWIRE_CACHE_DIR={cache}");
    launcher.extend([cache.as_str(), "sh", "-c", &copy]);
    let mut site = Site::start_by(&launcher, folder, &["--simulate", "1"]);

    // A newer version replaces the program, and the engines' logs can no longer be written.
    fs::remove_file(&program).unwrap();
    fs::write(&program, "not even a program").unwrap();
    for (engine, name) in ENGINES {
        let kind = if engine == "wash" { "wash-host" } else { "nats-server" };
        let log = site.data_dir().join(engine).join(format!("{kind}.log"));
        fs::remove_file(&log).unwrap();
        fs::create_dir(&log).unwrap();
        site.kill_engine(engine);
        site.wait_for_event("ENGINE_UP", |envelope| envelope["event"]["source"] == name);
    }

    // Orders and checks on this machine do not go to a proxy either.
    let mut command = std::process::Command::new("env");
    command.args(&proxies).arg(env!("CARGO_BIN_EXE_sealwire"));
    let checked = command.args(["verify", &site.addresses.log]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mut command = std::process::Command::new("env");
    command.args(&proxies).arg(env!("CARGO_BIN_EXE_sealwire"));
    let data_dir = site.data_dir();
    let ordered =
        command.args(["log", "checkpoint", "--data-dir"]).arg(&data_dir).output().unwrap();
    assert!(ordered.status.success(), "{}", String::from_utf8_lossy(&ordered.stderr));
    site.stop();
    assert_eq!(came.load(Ordering::Relaxed), 0, "somebody asked the proxy");
    succeeds(&["verify", data_dir.to_str().unwrap()]);
}

#[test]
fn the_last_words_of_an_engine_are_in_the_error() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let mut site = Site::start_in(folder, &[]);
    site.stop();
    let sessions = data_dir.join("nats/jetstream");
    fs::remove_dir_all(&sessions).unwrap();
    fs::write(&sessions, "in the way").unwrap();
    let said = refused(&data_dir, &[], &[]);
    assert!(said.contains("nats-server (/") && said.contains("ended with exit code 1"), "{said}");
    assert!(said.contains("not a directory"), "{said}");
}
