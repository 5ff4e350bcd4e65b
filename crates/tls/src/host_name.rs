//! Names under which programs and people reach a site.

use std::{fmt, net::IpAddr, str::FromStr};

use rustls::pki_types::DnsName;

/// A DNS name or an IP address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostName(String);

impl HostName {
    /// The name as a certificate holds it: in lower case, an IPv6 address without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a URL or a Host header: an IPv6 address in brackets.
    #[must_use]
    pub fn in_url(&self) -> String {
        if self.0.contains(':') { format!("[{}]", self.0) } else { self.0.clone() }
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        match DnsName::try_from(text) {
            Ok(name) => Ok(Self(name.to_lowercase_owned().as_ref().to_owned())),
            Err(_) => Err(InvalidHostName(text.chars().take(253).collect())),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reason why a text is no such name.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is neither a host name nor an IP address: use one without scheme, port and path, such as `plant.example` or `10.0.0.7`"
)]
pub struct InvalidHostName(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_name_or_an_address() {
        for (text, name, in_url) in [
            ("Plant.Example", "plant.example", "plant.example"),
            ("plant", "plant", "plant"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.7"),
            ("FD00::1", "fd00::1", "[fd00::1]"),
        ] {
            let parsed: HostName = text.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.in_url().as_str()), (name, in_url));
        }
        for wrong in
            ["", "a b", "https://plant.example", "plant.example:80", "*.example", "[fd00::1]"]
        {
            assert!(wrong.parse::<HostName>().is_err(), "{wrong}");
        }
    }
}
