//! The secret that allows a caller to read envelopes on the log port: 32 random bytes in hex, in
//! the file `access-token`. The gateway gives it to the page.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tlog::Hash;

use crate::bearer::bearer;

/// An access token. `Debug` does not show the secret.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct AccessToken(String);

impl AccessToken {
    /// Generates a new token.
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(hex::encode(bytes))
    }

    /// Reads the token in `path`, or creates one if there is no file.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        if let Some(token) = Self::load(path)? {
            return Ok(token);
        }
        let token = Self::random();
        let failed = |source| TokenError::Io { path: path.to_owned(), source };
        durable::write_secret(path, token.0.as_bytes()).map_err(failed)?;
        Ok(token)
    }

    /// Reads the token in `path`; `None` if there is no file.
    pub fn load(path: &Path) -> Result<Option<Self>, TokenError> {
        let failed = |source| TokenError::Io { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed)?,
        };
        if let Some(mode) = durable::open_to_others(path).map_err(failed)? {
            return Err(TokenError::Open { path: path.to_owned(), mode });
        }
        let token = text.trim();
        if token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Some(Self(token.to_owned())))
        } else {
            Err(TokenError::NotAToken { path: path.to_owned() })
        }
    }

    /// The token as a client sends it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a caller's text is this token. Compares hashes, so the time it takes reveals nothing
    /// about the secret.
    pub fn is(&self, offered: &str) -> bool {
        Hash::sha256(offered.as_bytes()) == Hash::sha256(self.0.as_bytes())
    }

    /// Whether a request carries this token: `Authorization: Bearer ...`.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|offered| self.is(offered))
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccessToken")
    }
}

/// Why the token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or created.
    #[error("cannot use the token file {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Other accounts may read the file.
    #[error("other accounts may read the token file {} (mode {mode:o}): change its mode to 600", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The file holds something other than a token.
    #[error("the token file {} does not contain 64 hex digits: remove it, and the next start creates a new one", path.display())]
    NotAToken {
        /// Path of the file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use http::header;

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_lets_nobody_else_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access-token");
        let made = AccessToken::load_or_create(&path).unwrap();
        assert!(AccessToken::load_or_create(&path).unwrap().is(made.as_str()));
        assert!(!made.is("") && !made.is(AccessToken::random().as_str()));
        assert!(!format!("{made:?}").contains(made.as_str()));

        let headers =
            |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert!(made.is_in(&headers(&format!("Bearer {}", made.as_str()))));
        for wrong in [made.as_str(), "Bearer", "Bearer ", "Basic 00"] {
            assert!(!made.is_in(&headers(wrong)), "{wrong}");
        }
        assert!(!made.is_in(&HeaderMap::new()));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            AccessToken::load_or_create(&path),
            Err(TokenError::Open { mode: 0o644, .. })
        ));
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(AccessToken::load_or_create(&path), Err(TokenError::NotAToken { .. })));
    }
}
