//! Certificates by which a site's programs identify each other on the bus.
//!
//! The authority of a run ([`Authority::new`]) makes those of the site itself and of its own host.
//! It never writes its key anywhere and drops it once the certificates are made, so nobody can make
//! another certificate later. Each engine reads its certificate from its own folder; the site keeps
//! its certificates in memory.
//!
//! What hosts on other machines know and show must outlive a run. They know the kept authority
//! ([`Authority::kept`]), which makes the server's certificate and no other. Each shows
//! certificates of its own ([`Identity::alone`]), for which no authority speaks: the server knows
//! the very certificates. So no key that lies anywhere makes a client that the server lets in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_nats::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Name of the authority of a run in its certificate.
const OF_A_RUN: &str = "sealwire site";
/// Name of the kept authority in its certificates.
const KEPT: &str = "sealwire hosts";

/// Issues certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its secret key.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// Creates an authority with a new key.
    ///
    /// # Errors
    /// The machine yields no random bytes.
    pub fn new() -> Result<Self, CredentialError> {
        Self::of(OF_A_RUN, KeyPair::generate()?)
    }

    /// The authority whose key is in this file, which is created if it is missing. Its certificate
    /// differs each time, but name and key are the same: who trusts one trusts all.
    ///
    /// # Errors
    /// As [`Authority::find`], and if the file cannot be written.
    pub fn kept(path: &Path) -> Result<Self, CredentialError> {
        if let Some(found) = Self::find(path)? {
            return Ok(found);
        }
        let failed = |source| CredentialError::Io { path: path.to_owned(), source };
        let key = KeyPair::generate()?;
        path.parent().map_or(Ok(()), durable::create_folder).map_err(failed)?;
        durable::write_secret(path, key.serialize_pem().as_bytes()).map_err(failed)?;
        Self::of(KEPT, key)
    }

    /// The authority whose key is in this file; `None` if it is missing.
    ///
    /// # Errors
    /// The file cannot be read, accounts other than the owner's may read it, or it holds no key.
    pub fn find(path: &Path) -> Result<Option<Self>, CredentialError> {
        let failed = |source| CredentialError::Io { path: path.to_owned(), source };
        let pem = match fs::read_to_string(path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if let Some(mode) = durable::open_to_others(path).map_err(failed)? {
            return Err(CredentialError::Open { path: path.to_owned(), mode });
        }
        let key = KeyPair::from_pem(&pem)
            .map_err(|_| CredentialError::NotAKey { path: path.to_owned() })?;
        Self::of(KEPT, key).map(Some)
    }

    fn of(name: &str, key: KeyPair) -> Result<Self, CredentialError> {
        let mut params = params(name, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key)? })
    }

    /// The authority's certificate, in PEM. It verifies the certificates that this authority
    /// signed.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// An identity for a server that clients reach under these names and addresses.
    ///
    /// # Errors
    /// There is none, one is neither a DNS name nor an address, or the machine yields no random
    /// bytes.
    pub fn server(&self, names: Vec<String>) -> Result<Identity, CredentialError> {
        self.identity(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// An identity for a client that the server knows by this name.
    ///
    /// # Errors
    /// The name is not a DNS name, or the machine yields no random bytes.
    pub fn client(&self, name: &str) -> Result<Identity, CredentialError> {
        self.identity(vec![name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn identity(
        &self,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, CredentialError> {
        let first = names.first().cloned().unwrap_or_default();
        let mut params = params(&first, names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        Ok(Identity { certificate: params.signed_by(&key, &self.issuer)?, key })
    }

    /// TLS configuration of a client that connects as `identity`, and only to servers with a
    /// certificate of this authority.
    ///
    /// # Errors
    /// A bug: the certificate and key made here do not match.
    pub fn tls(&self, identity: &Identity) -> Result<ClientConfig, CredentialError> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec()))?;
        let chain = vec![CertificateDer::from(identity.certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
        Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?)
    }
}

impl Identity {
    /// An identity for a client that the server knows by `user`. `holder` is for people who read
    /// the certificate. No authority has signed it, and it can sign no other.
    ///
    /// # Errors
    /// The user is not a DNS name, or the machine yields no random bytes.
    pub fn alone(holder: &str, user: &str) -> Result<Self, CredentialError> {
        let mut params = params(holder, vec![user.to_owned()])?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        Ok(Self { certificate: params.self_signed(&key)?, key })
    }

    /// The certificate, in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The certificate, in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The secret key, in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl std::fmt::Debug for Identity {
    /// Omits the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// The period of validity includes any clock: a machine without a battery starts in 1970. What ends
/// a certificate is the end of the run, or the host's removal.
fn params(name: &str, alternatives: Vec<String>) -> Result<CertificateParams, CredentialError> {
    let mut params = CertificateParams::new(alternatives)?;
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(4096, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// Why a certificate or another secret cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The certificate cannot be made.
    #[error("cannot create a certificate")]
    Make(#[from] rcgen::Error),
    /// The certificate cannot be used.
    #[error("cannot use a certificate")]
    Use(#[from] async_nats::rustls::Error),
    /// The machine yields no random bytes.
    #[error("cannot create a secret")]
    Random(#[from] getrandom::Error),
    /// The file of the kept authority's key cannot be read or written.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Accounts other than the owner's may read it.
    #[error(
        "other accounts may read the key file {} (mode {mode:o}): change its mode to 600",
        path.display()
    )]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// It holds no key.
    #[error(
        "the key file {} contains no secret key in PEM: put it back from a copy, or remove it and \
         add all hosts on other machines again",
        path.display()
    )]
    NotAKey {
        /// Path of the file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_kept_authority_keeps_its_key_and_refuses_one_that_others_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls/hosts.key");
        let key = |authority: &Authority| authority.issuer.key().serialize_pem();
        let first = Authority::kept(&path).unwrap();
        assert_eq!(key(&first), key(&Authority::kept(&path).unwrap()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = Authority::kept(&path);
        assert!(matches!(open, Err(CredentialError::Open { mode: 0o640, .. })), "{open:?}");
        fs::write(&path, "no key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Authority::kept(&path), Err(CredentialError::NotAKey { .. })));
    }
}
