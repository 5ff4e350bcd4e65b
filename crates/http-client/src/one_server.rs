//! An agent that asks one server many times.

use std::sync::{Mutex, PoisonError};

use ureq::{
    Agent, Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

/// An agent that looks the server's name up once, and stays with the addresses that it got.
///
/// `ureq` looks a name up for each request, also on a connection that it keeps, and starts a thread
/// for that if the request has a time limit: half of what a small request costs.
#[must_use]
pub fn agent_for_one_server(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Remembering::default())
}

/// Remembers the addresses of the last name.
#[derive(Debug, Default)]
struct Remembering {
    names: DefaultResolver,
    last: Mutex<Option<(Server, ResolvedSocketAddrs)>>,
}

/// What a look-up depends on: scheme, host and port of a URL.
#[derive(Debug, Eq, PartialEq)]
struct Server(Option<String>, Option<String>);

impl Resolver for Remembering {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let server = Server(
            uri.scheme_str().map(str::to_owned),
            uri.authority().map(|authority| authority.as_str().to_owned()),
        );
        if let Some((known, addresses)) = &*self.last()
            && *known == server
        {
            return Ok(addresses.clone());
        }
        // Several requests may come here at once. Their look-ups say the same.
        let addresses = self.names.resolve(uri, config, timeout)?;
        *self.last() = Some((server, addresses.clone()));
        Ok(addresses)
    }
}

impl Remembering {
    fn last(&self) -> std::sync::MutexGuard<'_, Option<(Server, ResolvedSocketAddrs)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_name_is_looked_up_once_for_each_server() {
        let resolver = Remembering::default();
        let resolve = |url: &str| -> Vec<SocketAddr> {
            let timeout = NextTimeout::default();
            let resolved = resolver.resolve(&url.parse().unwrap(), &Config::default(), timeout);
            resolved.unwrap().iter().copied().collect()
        };
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(resolve("http://127.0.0.1:80/checkpoint"), [address("127.0.0.1:80")]);
        // As if another look-up would say something else.
        resolver.last().as_mut().unwrap().1[0] = address("127.0.0.9:80");
        assert_eq!(resolve("http://127.0.0.1:80/tile/0/000"), [address("127.0.0.9:80")]);
        for (url, other) in [
            ("http://127.0.0.1:81/", "127.0.0.1:81"),
            ("http://127.0.0.2:81/", "127.0.0.2:81"),
            ("https://127.0.0.2/", "127.0.0.2:443"),
            ("http://127.0.0.2/", "127.0.0.2:80"),
        ] {
            assert_eq!(resolve(url), [address(other)]);
        }
    }
}
