//! A site's own certificate authority, in the folder `tls` of the data directory.
//!
//! | file | what it holds |
//! |---|---|
//! | `ca.pem` | the authority's certificate, which clients must trust |
//! | `ca.key` | its key, which nobody else may have |
//! | `site.pem` | the site's certificate with its key: one file, so that it is replaced whole |
//!
//! All certificates are valid from 1970 on, because a machine or device without a battery starts
//! there.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clock::built;
use model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::{
    host_name::HostName,
    identity::{Identity, IdentityError},
};

/// Folder in the data directory.
pub const FOLDER: &str = "tls";
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";
const SITE: &str = "site.pem";
/// Validity of a site's certificate after it was made, the longest that browsers and phones accept
/// of any certificate: 397 days.
const VALID_FOR: Duration = Duration::from_secs(397 * 24 * 3_600);
/// Most names in a certificate. Each adds to every handshake.
const NAMES_MAX: usize = 100;

/// An authority that can make certificates.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Creates the authority of the site in a data directory.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub fn create(data_dir: &Path, name: &str) -> Result<Self, AuthorityError> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(CERTIFICATE);
        let failed = |source| AuthorityError::Io { path: folder.clone(), source };
        if path.try_exists().map_err(failed)? {
            return Err(AuthorityError::Exists { path });
        }
        let mut params = params(&format!("sealwire CA of {name}"), Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        durable::create_folder(&folder).map_err(failed)?;
        durable::write_secret(&folder.join(KEY), key.serialize_pem().as_bytes()).map_err(failed)?;
        durable::replace(&path, certificate.pem().as_bytes()).map_err(failed)?;
        Self::open(data_dir)
    }

    /// Opens the authority of the site in a data directory.
    ///
    /// # Errors
    /// There is none, others may read its key, or its files are damaged.
    pub fn open(data_dir: &Path) -> Result<Self, AuthorityError> {
        let folder = data_dir.join(FOLDER);
        let (path, key_path) = (folder.join(CERTIFICATE), folder.join(KEY));
        if !path.is_file() {
            return Err(AuthorityError::Missing { path });
        }
        Identity::read(&path, &key_path)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AuthorityError::Io { path, source }
        };
        let pem = fs::read_to_string(&path).map_err(failed(&path))?;
        let key = fs::read_to_string(&key_path).map_err(failed(&key_path))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&key)?)?;
        Ok(Self { folder, issuer })
    }

    /// Makes a certificate for a site with these names, and puts it where the site finds it.
    ///
    /// # Errors
    /// There is no name or too many, or the file cannot be written.
    pub fn issue(&self, names: &[HostName], now: Timestamp) -> Result<Identity, AuthorityError> {
        let Some(first) = names.first() else { return Err(AuthorityError::NoName) };
        if names.len() > NAMES_MAX {
            return Err(AuthorityError::Names);
        }
        let names = names.iter().map(|name| name.as_str().to_owned()).collect();
        let mut params = params(first.as_str(), names)?;
        // A clock that is wrong must not make a certificate that has expired when it is right.
        let from = now.max(built()).unix_micros().unsigned_abs();
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_micros(from) + VALID_FOR;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let path = self.folder.join(SITE);
        let both = [certificate.pem(), key.serialize_pem()].concat();
        durable::write_secret(&path, both.as_bytes())
            .map_err(|source| AuthorityError::Io { path: path.clone(), source })?;
        Ok(Identity::read(&path, &path)?)
    }

    /// Makes a new certificate with the names of the present one.
    ///
    /// # Errors
    /// As [`Authority::issue`], and if there is no present one.
    pub fn renew(&self, now: Timestamp) -> Result<Identity, AuthorityError> {
        let path = self.folder.join(SITE);
        self.issue(Identity::read(&path, &path)?.names(), now)
    }

    /// Path of the authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }
}

/// Path of the certificate and key that a site's own authority made, if it made one.
#[must_use]
pub fn own_identity(data_dir: &Path) -> Option<PathBuf> {
    Some(data_dir.join(FOLDER).join(SITE)).filter(|path| path.is_file())
}

fn params(name: &str, alternatives: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(alternatives)?;
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(4096, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// Why the authority cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is an authority already.
    #[error("there is an authority already, {}: a new one would be unknown to every client; make certificates with `sealwire ca issue`", path.display())]
    Exists {
        /// Path of its certificate.
        path: PathBuf,
    },
    /// There is no authority.
    #[error("there is no authority, {}: create it with `sealwire ca init`", path.display())]
    Missing {
        /// Path at which its certificate would be.
        path: PathBuf,
    },
    /// A certificate must have a name.
    #[error("a certificate needs the names under which clients reach the site: `--host NAME`")]
    NoName,
    /// The certificate would have too many names.
    #[error("a certificate has at most {NAMES_MAX} names")]
    Names,
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The files of the authority or of the certificate are unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate cannot be made.
    #[error("cannot create a certificate")]
    Make(#[from] rcgen::Error),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_authority_is_made_once_and_its_certificates_are_valid_at_every_clock() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Authority::open(folder.path()), Err(AuthorityError::Missing { .. })));
        let authority = Authority::create(folder.path(), "plant").unwrap();
        let again = Authority::create(folder.path(), "plant");
        assert!(matches!(again, Err(AuthorityError::Exists { .. })));
        assert!(matches!(authority.issue(&[], built()), Err(AuthorityError::NoName)));
        assert!(authority.renew(built()).is_err(), "there is nothing to renew");

        let names = ["plant.example", "10.0.0.7", "fd00::1"].map(|name| name.parse().unwrap());
        let day = 24 * 3_600 * 1_000_000;
        for clock in [0, built().unix_micros(), built().unix_micros() + 500 * day] {
            let clock = Timestamp::from_unix_micros(clock);
            let made = authority.issue(&names, clock).unwrap();
            let (from, to) = made.validity();
            assert_eq!((from.unix_micros(), made.names()), (0, names.as_slice()));
            let days = (to.unix_micros() - clock.max(built()).unix_micros()) / day;
            assert!((396..=397).contains(&days), "{days}");
            let renewed = authority.renew(clock).unwrap();
            assert_eq!(renewed.names(), names);
            assert_ne!(renewed.pem(), made.pem());
        }
        let path = own_identity(folder.path()).unwrap();
        for secret in [path.clone(), folder.path().join("tls/ca.key")] {
            assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = Identity::read(&path, &path);
        assert!(matches!(open, Err(IdentityError::Open { mode: 0o640, .. })), "{open:?}");
    }

    #[test]
    fn a_certificate_with_another_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path(), "plant").unwrap();
        let name = ["plant.example".parse().unwrap()];
        let of = |which: &str| {
            let path = folder.path().join(which);
            durable::write_secret(&path, authority.issue(&name, built()).unwrap().pem()).unwrap();
            path
        };
        let (one, other) = (of("one"), of("other"));
        assert!(Identity::read(&one, &one).is_ok());
        let mixed = Identity::read(&one, &other);
        assert!(matches!(mixed, Err(IdentityError::Apart { .. })), "{mixed:?}");
        let not_one = Identity::read(&folder.path().join("tls/ca.key"), &one);
        assert!(matches!(not_one, Err(IdentityError::NoCertificate { .. })), "{not_one:?}");
        durable::write_secret(&other, b"no key").unwrap();
        let not_one = Identity::read(&one, &other);
        assert!(matches!(not_one, Err(IdentityError::NoKey { .. })), "{not_one:?}");
    }
}
