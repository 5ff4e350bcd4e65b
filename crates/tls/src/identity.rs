//! A certificate with its secret key, as it was read from files.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use model::Timestamp;
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, time::ASN1Time,
};

use crate::host_name::HostName;

/// Largest file of a certificate or key in bytes: a chain of dozens.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate and its key. `Debug` does not show the key.
pub struct Identity {
    /// The chain and the key, for TLS.
    pub(crate) key: Arc<CertifiedKey>,
    /// Both as they were read.
    pem: Vec<u8>,
    /// Names in the certificate, without wildcards.
    names: Vec<HostName>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Identity {
    /// Reads a certificate chain and its key from PEM files. One file may hold both.
    ///
    /// # Errors
    /// A file cannot be read, accounts other than the owner's may read the key, or the two do not
    /// belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = read(certificate)?;
        let secret = read(key)?;
        let failed = |source| IdentityError::Io { path: key.to_owned(), source };
        if let Some(mode) = durable::open_to_others(key).map_err(failed)? {
            return Err(IdentityError::Open { path: key.to_owned(), mode });
        }
        Self::parse(&chain, &secret).map_err(|fault| fault.of(certificate, key))
    }

    fn parse(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, Fault> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(|_| Fault::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| Fault::Key)?;
        let first = chain.first().ok_or(Fault::Certificate)?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| Fault::Certificate)?;
        let (not_before, not_after) = (parsed.validity().not_before, parsed.validity().not_after);
        let names = names(&parsed);
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(Fault::Together)?;
        Ok(Self {
            key: Arc::new(key),
            pem: [chain_pem, b"\n", key_pem].concat(),
            names,
            not_before: timestamp(not_before),
            not_after: timestamp(not_after),
        })
    }

    /// Chain and key in PEM, as OpenSSL and Go read them from one file.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// Names of the host in the certificate. Leaves out wildcards.
    #[must_use]
    pub fn names(&self) -> &[HostName] {
        &self.names
    }

    /// Beginning and end of the certificate's validity.
    #[must_use]
    pub const fn validity(&self) -> (Timestamp, Timestamp) {
        (self.not_before, self.not_after)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes"))));
    }
    Ok(bytes)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<HostName> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(Into::into)).ok()?;
            address.to_string().parse().ok()
        }
        _ => None,
    };
    names.filter_map(name).collect()
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_unix_micros(time.timestamp().saturating_mul(1_000_000))
}

/// What is wrong with the content of the two files.
enum Fault {
    Certificate,
    Key,
    Together(rustls::Error),
}

impl Fault {
    fn of(self, certificate: &Path, key: &Path) -> IdentityError {
        match self {
            Self::Certificate => IdentityError::NoCertificate { path: certificate.to_owned() },
            Self::Key => IdentityError::NoKey { path: key.to_owned() },
            Self::Together(source) => IdentityError::Apart {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                source,
            },
        }
    }
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Other accounts may read the key.
    #[error("other accounts may read the key file {} (mode {mode:o}): change its mode to 600", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The file has no certificate.
    #[error("{} contains no certificate in PEM", path.display())]
    NoCertificate {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file has no key.
    #[error("{} contains no secret key in PEM without a password", path.display())]
    NoKey {
        /// Path of the file.
        path: PathBuf,
    },
    /// Certificate and key are not of each other.
    #[error("the certificate in {} and the key in {} do not belong together", certificate.display(), key.display())]
    Apart {
        /// Path of the certificate.
        certificate: PathBuf,
        /// Path of the key.
        key: PathBuf,
        /// Why TLS refuses them.
        source: rustls::Error,
    },
}
