//! Decides who may ask on the page's port: clients that use one of the page's names, and no web
//! page except its own.
//!
//! A browser can be led here against its user's will in two ways. First, a foreign name can be
//! pointed at this machine (DNS rebinding); then the Host header holds that name. Second, any web
//! page can send requests to any address. Browsers report this in Sec-Fetch-Site, which no page can
//! set. Older browsers, and browsers that reach plain HTTP under a name other than the machine's
//! own, report it in Origin if the page could read the answer.

use std::{fmt, str::FromStr};

use axum::http::{HeaderMap, Method, header, request::Parts};
use http_server::{MACHINE_NAMES, is_this_machine, is_under};
use tls::Served;

/// A name, besides the machine's own, under which people reach the page: that of a reverse proxy,
/// or of this machine in its network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageHost(String);

/// Reason why a text is not such a name.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a host name: use a name or an IP address without scheme, port and path, such as `plant.example`"
)]
pub struct InvalidPageHost(String);

/// Longest name in the domain name system, in characters (RFC 1035 section 2.3.4).
const NAME_CHARS_MAX: usize = 253;

/// Why the port refuses a request.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Stranger {
    /// The Host header holds a foreign name.
    Name(String),
    /// The request comes from a page of another web site.
    Site,
}

/// The names of the page, besides the machine's own.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Those that the operator names.
    pub(crate) given: Vec<PageHost>,
    /// The certificate whose names the page has too, those of now: it may be replaced.
    pub(crate) served: Option<Served>,
}

impl FromStr for PageHost {
    type Err = InvalidPageHost;

    fn from_str(text: &str) -> Result<Self, InvalidPageHost> {
        let in_brackets = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_name = match in_brackets {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        };
        if is_name && (1..=NAME_CHARS_MAX).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidPageHost(text.chars().take(NAME_CHARS_MAX).collect()))
        }
    }
}

impl fmt::Display for PageHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Names {
    /// Checks whether the port may answer a request.
    pub(crate) fn admit(&self, request: &Parts) -> Result<(), Stranger> {
        let host = self.host_of(&request.headers)?;
        let text = |name| request.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let is_own = match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
            (Some("same-origin" | "none"), _) | (None, None) => true,
            (Some(_), _) => leads_to_the_page(request),
            (None, Some(origin)) => self.is_own_origin(origin, host),
        };
        if is_own { Ok(()) } else { Err(Stranger::Site) }
    }

    /// The Host header's value, if there is exactly one and it is a name of the page.
    fn host_of<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Stranger> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
        if hosts.next().is_none() && self.has(host) {
            Ok(host)
        } else {
            Err(Stranger::Name(host.to_owned()))
        }
    }

    /// Whether this is a name of the page, with or without a port.
    fn has(&self, host: &str) -> bool {
        is_this_machine(host) || self.others_have(&host.to_ascii_lowercase())
    }

    /// Whether this is a name besides the machine's own, with or without a port.
    fn others_have(&self, place: &str) -> bool {
        self.others().iter().any(|name| is_under(place, name))
    }

    fn others(&self) -> Vec<String> {
        let given = self.given.iter().map(|PageHost(name)| name.clone());
        given.chain(self.served.iter().flat_map(Served::names)).collect()
    }

    /// Whether a page of this origin is our own: it was loaded under the name in this request, or
    /// under the name of a proxy.
    fn is_own_origin(&self, origin: &str, host: &str) -> bool {
        let Some((_scheme, place)) = origin.split_once("://") else { return false };
        let place = place.to_ascii_lowercase();
        place == host.to_ascii_lowercase() || self.others_have(&place)
    }

    /// The message for a refused client.
    pub(crate) fn refusal(&self, name: &str) -> String {
        let known = MACHINE_NAMES.iter().map(|name| (*name).to_owned());
        let known: Vec<_> = known.chain(self.others()).collect();
        let known = known.join(", ");
        // The port follows the last colon. An IPv6 address has colons of its own, within brackets.
        let without_port = match name.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
            _ => name,
        };
        match without_port.parse::<PageHost>() {
            Ok(asked) => format!(
                "this page answers only under the names {known}, but the request was for {asked}: \
                 if people should reach the page under that name, start the site with \
                 `--page-host {asked}`"
            ),
            Err(_) => format!("this page answers only under the names {known}"),
        }
    }
}

/// Whether a link on another site leads to the page. The browser opens it as a top-level page, of
/// which the other site sees nothing.
fn leads_to_the_page(request: &Parts) -> bool {
    let says = |name, value| request.headers.get(name).is_some_and(|said| said == value);
    let path = request.uri.path();
    says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
        && matches!(request.method, Method::GET | Method::HEAD)
        && !["/api", "/live", "/log"].iter().any(|part| {
            path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn names(names: &[&str]) -> Names {
        Names { given: names.iter().map(|name| name.parse().unwrap()).collect(), served: None }
    }

    #[track_caller]
    fn admitted(names: &Names, line: &str, headers: &[(&str, &str)]) -> Result<(), Stranger> {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        names.admit(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn only_names_of_the_page_are_answered() {
        let names = names(&["Plant.example", "[fd00::1]", "10.0.0.7"]);
        let asked = |host: &str| admitted(&names, "GET /", &[("host", host)]);
        for host in [
            "localhost",
            "localhost:9000", // a tunnel from another port
            "127.0.0.1:8080",
            "[::1]:8080",
            "plant.example",
            "PLANT.example:443",
            "[fd00::1]:8080",
            "10.0.0.7",
        ] {
            assert_eq!(asked(host), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "plant.example.evil.example",
            "plant.example:80:81",
            "x.plant.example",
        ] {
            assert_eq!(asked(host), Err(Stranger::Name(host.to_owned())), "{host}");
        }
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert!(admitted(&names, "GET /", &twice).is_err(), "two names");
        assert!(admitted(&names, "GET /", &[]).is_err(), "no name");
    }

    #[test]
    fn a_refusal_says_which_option_lets_the_name_in() {
        let names = names(&["plant.example"]);
        assert!(names.refusal("mill.example:8443").contains("`--page-host mill.example`"));
        assert!(names.refusal("mill.example").contains("plant.example"));
        for wrong in ["", "a b", "<script>", "a:b:c"] {
            assert!(!names.refusal(wrong).contains("--page-host"), "{wrong}");
        }
    }

    #[test]
    fn no_other_sites_page_gets_an_answer() {
        let names = names(&["plant.example"]);
        let page = |line: &str, headers: &[(&str, &str)]| {
            let host = [("host", "localhost:8080")];
            admitted(&names, line, &[&host, headers].concat()).is_ok()
        };
        let site = "sec-fetch-site";
        // Programs send neither header. A browser sends "none" if a person types the address.
        assert!(page("POST /api/logs", &[]));
        assert!(page("GET /", &[(site, "none")]));
        // Sec-Fetch-Site takes precedence over Origin, which a proxy may leave unchanged while it
        // changes Host.
        assert!(page(
            "POST /api/logs",
            &[(site, "same-origin"), ("origin", "https://mill.example")]
        ));
        for other in ["cross-site", "same-site", "of a later standard"] {
            for line in
                ["GET /live", "GET /api/site", "POST /api/logs", "GET /log/checkpoint", "GET /"]
            {
                assert!(!page(line, &[(site, other)]), "{line} {other}");
            }
        }
        // A link from another site may lead to the page and to nothing else.
        let link =
            [(site, "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(page("GET /", &link) && page("GET /logs", &link));
        for line in ["GET /live?from=0", "GET /api/site", "POST /", "GET /log/keys"] {
            assert!(!page(line, &link), "{line}");
        }
        let frame =
            [(site, "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        assert!(!page("GET /", &frame));
        // Older browsers.
        for (origin, own) in [
            ("http://localhost:8080", true),
            ("http://plant.example", true), // the proxy changed Host
            ("https://plant.example:8443", true),
            ("http://localhost:3000", false), // another server of this machine
            ("http://evil.example", false),
            ("http://plant.example.evil.example", false),
            ("null", false),
        ] {
            assert_eq!(page("GET /live", &[("origin", origin)]), own, "{origin}");
        }
    }

    #[test]
    fn a_page_host_is_a_name_and_nothing_else() {
        for name in ["plant.example", "plant", "10.0.0.7", "[fd00::1]", "a_b-c.example"] {
            assert_eq!(name.parse::<PageHost>().unwrap().to_string(), name);
        }
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for wrong in [
            "",
            "http://plant.example",
            "plant.example:80",
            "plant.example/",
            "*",
            "fd00::1",
            "[x]",
            "a b",
            &long,
        ] {
            assert!(wrong.parse::<PageHost>().is_err(), "{wrong}");
        }
    }
}
