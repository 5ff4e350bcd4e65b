//! A site's own certificate authority, by which its programs identify each other on the bus.
//!
//! It lasts for one run of the site. It never writes its key anywhere and drops it once the
//! certificates are made, so nobody can make another certificate later. Each engine reads its
//! certificate from its own folder; the site keeps its certificates in memory.

use std::{net::IpAddr, sync::Arc};

use async_nats::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Issues certificates for one run of a site.
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
        let mut params = params("sealwire site", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's certificate, in PEM. It verifies the certificates that this authority
    /// signed.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// An identity for a server at this address.
    ///
    /// # Errors
    /// The machine yields no random bytes.
    pub fn server(&self, address: IpAddr) -> Result<Identity, CredentialError> {
        self.identity(address.to_string(), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// An identity for a client that the server knows by this name.
    ///
    /// # Errors
    /// The name is not a DNS name, or the machine yields no random bytes.
    pub fn client(&self, name: &str) -> Result<Identity, CredentialError> {
        self.identity(name.to_owned(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn identity(
        &self,
        name: String,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, CredentialError> {
        let mut params = params(&name.clone(), vec![name])?;
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

/// The period of validity includes any clock: a machine without a battery starts in 1970, and no
/// certificate outlives the run anyway.
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
}
