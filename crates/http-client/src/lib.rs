//! HTTP requests that reach this machine directly, even if the environment names a proxy.
//!
//! A proxy cannot reach our programs on loopback, and must not see what they say there. Every other
//! request follows the environment (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in upper
//! or lower case).

mod authorities;
mod one_server;

use std::net::{IpAddr, Ipv6Addr};

use ureq::{
    Agent, RequestBuilder,
    http::Uri,
    typestate::{WithBody, WithoutBody},
};

pub use crate::{
    authorities::{Authorities, NoAuthority, is_of_unknown_authority},
    one_server::agent_for_one_server,
};

/// A `GET` request. If it is for this machine, it bypasses every proxy.
#[must_use]
pub fn get(agent: &Agent, url: &str) -> RequestBuilder<WithoutBody> {
    past_proxies(agent.get(url), url)
}

/// A `POST` request. If it is for this machine, it bypasses every proxy.
#[must_use]
pub fn post(agent: &Agent, url: &str) -> RequestBuilder<WithBody> {
    past_proxies(agent.post(url), url)
}

/// A `PUT` request. If it is for this machine, it bypasses every proxy.
#[must_use]
pub fn put(agent: &Agent, url: &str) -> RequestBuilder<WithBody> {
    past_proxies(agent.put(url), url)
}

fn past_proxies<Body>(request: RequestBuilder<Body>, url: &str) -> RequestBuilder<Body> {
    if is_loopback(url) { request.config().proxy(None).build() } else { request }
}

/// Whether the URL names this machine. Does not resolve names, so `localhost` is the only name that
/// counts.
fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let name = host.to_ascii_lowercase();
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_unspecified(),
        Ok(IpAddr::V6(address)) => is_loopback_v6(address),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

fn is_loopback_v6(address: Ipv6Addr) -> bool {
    let mapped = address.to_ipv4_mapped();
    address.is_loopback()
        || address.is_unspecified()
        || mapped.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Read as _, Write as _},
        net::{Shutdown, TcpListener},
        thread,
    };

    use super::*;

    #[test]
    fn this_machine_has_many_names() {
        for url in [
            "http://127.0.0.1:8081/checkpoint",
            "http://127.1.2.3",
            "http://localhost:8081",
            "HTTP://LOCALHOST/",
            "http://plant.localhost:8080/",
            "http://localhost.:8080/",
            "http://[::1]:8081",
            "http://[::ffff:127.0.0.1]:8081",
            "http://user:secret@127.0.0.1/",
            "http://0.0.0.0:8081",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://log.example/",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://[2001:db8::1]/",
            "http://127.0.0.1@log.example/",
            "no URL",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    /// Answers one request with the request itself.
    fn answers_once() -> (u16, thread::JoinHandle<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).unwrap();
            let asked = String::from_utf8_lossy(&request[..length]);
            let asked = asked.lines().next().unwrap();
            let length = asked.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}");
            write!(stream, "{head}\r\n\r\n{asked}").unwrap();
            // Closing before the whole request has come would reset the connection.
            stream.shutdown(Shutdown::Write).unwrap();
            let _reset = io::copy(&mut stream, &mut io::sink());
        });
        (port, answering)
    }

    #[test]
    fn a_proxy_sees_what_is_for_others_and_nothing_else() {
        let (ours, answering) = answers_once();
        let (proxy, forwarding) = answers_once();
        let proxy = ureq::Proxy::new(&format!("http://127.0.0.1:{proxy}")).unwrap();
        let agent: Agent = Agent::config_builder().proxy(Some(proxy)).build().into();
        let mut answer =
            post(&agent, &format!("http://127.0.0.1:{ours}/operator")).send("x").unwrap();
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "POST /operator HTTP/1.1");
        answering.join().unwrap();
        // Other hosts are asked through the proxy. This one answers itself instead of forwarding.
        let refused = get(&agent, "http://log.example/checkpoint").call();
        let told = refused.map(|mut answer| answer.body_mut().read_to_string().unwrap());
        assert!(!told.is_ok_and(|told| told.starts_with("GET /checkpoint ")));
        forwarding.join().unwrap();
    }
}
