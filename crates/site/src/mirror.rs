//! The server to which a site mirrors its log, and what proves the site to it.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use http_client::Authorities;
use pangea::client::{Endpoint, LogAtServer};

/// Largest file with a token in bytes.
const TOKEN_BYTES_MAX: u64 = 4 << 10;
/// Largest file with certificates in bytes: that of all public authorities has a quarter of it.
const CA_BYTES_MAX: u64 = 1 << 20;

/// A server of Pangea's API to which a site mirrors its log.
#[derive(Debug)]
pub struct Mirror {
    pub(crate) endpoint: Endpoint,
    /// The log there; without one, that of the token.
    pub(crate) log: Option<LogAtServer>,
    pub(crate) token: Token,
    /// Authorities in PEM, one of which issued the server's certificate.
    pub(crate) ca: Option<Vec<u8>>,
}

/// A token with which this machine asks another one.
pub struct Token(String);

impl Token {
    /// Reads the file with the token.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it holds something else.
    pub fn read(file: &Path) -> Result<Self, MirrorFileError> {
        let bytes = read(file, TOKEN_BYTES_MAX)?;
        let failed = |source| MirrorFileError::Read { path: file.to_owned(), source };
        if let Some(mode) = durable::open_to_others(file).map_err(failed)? {
            return Err(MirrorFileError::Open { path: file.to_owned(), mode });
        }
        let token = str::from_utf8(&bytes).unwrap_or_default().trim_end().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MirrorFileError::NoToken { path: file.to_owned() });
        }
        Ok(Self(token))
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    /// Omits the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Mirror {
    /// Reads the files with the token and the authorities. Without authorities, the public ones
    /// are believed. `log` is for a token that is good for several logs of the server.
    ///
    /// # Errors
    /// A file cannot be read, others can read the token, or the files hold something else.
    pub fn read(
        (endpoint, log): (Endpoint, Option<LogAtServer>),
        token_file: &Path,
        ca_file: Option<&Path>,
    ) -> Result<Self, MirrorFileError> {
        let token = Token::read(token_file)?;
        let ca = ca_file.map(|path| {
            let pem = read(path, CA_BYTES_MAX)?;
            match Authorities::parse(&pem) {
                Ok(_) => Ok(pem),
                Err(_) => Err(MirrorFileError::NoCertificate { path: path.to_owned() }),
            }
        });
        Ok(Self { endpoint, log, token, ca: ca.transpose()? })
    }

    /// The server's address.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, MirrorFileError> {
    let failed = |source| MirrorFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(failed(io::ErrorKind::FileTooLarge.into())),
        false => Ok(bytes),
    }
}

/// A file of a mirror cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Others can read the token.
    #[error("other accounts can use the token in {} (mode {mode:o}): `chmod 600` it", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Mode of the file.
        mode: u32,
    },
    /// It holds no token.
    #[error("{} does not hold a token, which is one line of printable characters", path.display())]
    NoToken {
        /// Path of the file.
        path: PathBuf,
    },
    /// It holds no certificate.
    #[error("{} does not hold a certificate in PEM", path.display())]
    NoCertificate {
        /// Path of the file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_token_is_one_line_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let endpoint: Endpoint = "https://audit.example".parse().unwrap();
        let read = |ca: Option<&Path>| Mirror::read((endpoint.clone(), None), &path, ca);
        assert!(matches!(read(None), Err(MirrorFileError::Read { .. })));
        durable::write_secret(&path, b"pts_secret").unwrap();
        let mirror = read(None).unwrap();
        assert_eq!(mirror.token.as_str(), "pts_secret");
        assert!(!format!("{mirror:?}").contains("secret"));
        assert!(matches!(read(Some(&path)), Err(MirrorFileError::NoCertificate { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(None), Err(MirrorFileError::Open { mode: 0o640, .. })));
        for text in ["", "two lines\nof text", "pts_\u{e9}"] {
            durable::write_secret(&path, text.as_bytes()).unwrap();
            assert!(matches!(read(None), Err(MirrorFileError::NoToken { .. })), "{text}");
        }
    }
}
