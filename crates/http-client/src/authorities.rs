//! Authorities that a caller believes instead of the public ones.

use std::fmt;

use rustls::CertificateError;
use ureq::{
    Error,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

/// Certificates of authorities. A server must show a certificate of one of them.
#[derive(Clone)]
pub struct Authorities(RootCerts);

/// The text has no certificate of an authority.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoAuthority;

impl Authorities {
    /// Reads PEM.
    ///
    /// # Errors
    /// There is no certificate in it, or a damaged one.
    pub fn parse(pem: &[u8]) -> Result<Self, NoAuthority> {
        let items =
            parse_pem(pem).collect::<Result<Vec<_>, _>>().map_err(|_damaged| NoAuthority)?;
        let certificate = |item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        };
        let certificates: Vec<_> = items.into_iter().filter_map(certificate).collect();
        if certificates.is_empty() {
            return Err(NoAuthority);
        }
        Ok(Self(RootCerts::from(certificates)))
    }

    /// TLS that believes these authorities alone.
    #[must_use]
    pub fn tls(&self) -> TlsConfig {
        TlsConfig::builder().root_certs(self.0.clone()).build()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authorities").finish_non_exhaustive()
    }
}

impl fmt::Display for NoAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there is no certificate in PEM")
    }
}

impl std::error::Error for NoAuthority {}

/// Whether a request failed because no authority that is believed issued the server's certificate.
#[must_use]
pub fn is_of_unknown_authority(error: &Error) -> bool {
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    match error {
        Error::Rustls(error) => *error == unknown,
        Error::Io(error) => {
            error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>())
                == Some(&unknown)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_no_authority() {
        for pem in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAA\n"] {
            assert_eq!(Authorities::parse(pem.as_bytes()).unwrap_err(), NoAuthority, "{pem}");
        }
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(Authorities::parse(key.as_bytes()).unwrap_err(), NoAuthority);
    }
}
