//! Tokens of programs that log and search by way of the log port: the file `api-tokens` in the data
//! directory.
//!
//! A token is 160 random bits, shown once. The file has its SHA-256 only: whoever reads it can let
//! nobody in, and a look-up by hash tells nothing of a token by the time it takes.
//!
//! A token that is revoked loses its hash first, and its line only once the log says that it was
//! revoked: whatever happens between the two, it lets nobody in, and the event is sealed later.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use data_encoding::BASE32_DNSSEC;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use tlog::Hash;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Tokens of a site: each is looked at when one is made or revoked, and the file is written whole.
const TOKENS_MAX: usize = 1_000;

/// What a token is called, in the log too.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// Longest name in characters: it is an event's actor.
    pub const CHARS_MAX: usize = 60;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenName {
    type Error = InvalidTokenName;

    fn try_from(text: String) -> Result<Self, InvalidTokenName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if (1..=Self::CHARS_MAX).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidTokenName)
        }
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, InvalidTokenName> {
        text.to_owned().try_into()
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

/// A text that is not a token's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a token's name is 1 to {} of A-Z, a-z, 0-9, `-`, `.` and `_`", TokenName::CHARS_MAX)]
pub struct InvalidTokenName;

/// What a token allows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sealing events.
    Write,
    /// Searching, roots, exports.
    Read,
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        match text {
            "write" => Ok(Self::Write),
            "read" => Ok(Self::Read),
            _ => Err(InvalidScope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// A text that is not a scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a scope is `write` or `read`")]
pub struct InvalidScope;

/// A token without its secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenDescription {
    /// What it is called.
    pub name: TokenName,
    /// What it allows.
    pub scope: Vec<Scope>,
    /// The log that it is for; any of the site's where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Since when there is one.
    pub created_at: Timestamp,
}

/// As the file has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct StoredToken {
    #[serde(flatten)]
    description: TokenDescription,
    /// Of the secret; nothing has the hash of a token that is revoked.
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Revocation>,
}

/// Who revoked a token, and when. The log does not say so yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Revocation {
    pub actor: String,
    pub at: Timestamp,
}

/// The tokens of a site. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiTokens {
    path: PathBuf,
    stored: Arc<Mutex<Vec<StoredToken>>>,
    /// Held while the file is written: who is let in does not wait for the disk.
    changing: Arc<Mutex<()>>,
    /// Shared by what tokens are doing, and taken alone to revoke one.
    effects: Arc<RwLock<()>>,
}

/// Something is done in a token's name; none is revoked meanwhile.
pub type Effect = OwnedRwLockReadGuard<()>;

impl ApiTokens {
    /// The file's; none where there is no file.
    pub fn load(path: PathBuf) -> Result<Self, ApiTokenError> {
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| ApiTokenError::Damaged { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(ApiTokenError::Io { path, source }),
        };
        Ok(Self {
            path,
            stored: Arc::new(Mutex::new(stored)),
            changing: Arc::default(),
            effects: Arc::default(),
        })
    }

    /// Makes a secret for a token that does not exist yet.
    pub fn new_secret() -> String {
        let chance: [u8; 20] = rand::random();
        format!("pts_{}", BASE32_DNSSEC.encode(&chance))
    }

    /// Refuses a name that is taken, and one token too many.
    pub fn check_new(&self, name: &TokenName) -> Result<(), ApiTokenError> {
        let stored = self.stored();
        if stored.iter().any(|token| token.description.name == *name) {
            return Err(ApiTokenError::Taken { name: name.clone() });
        }
        if stored.len() >= TOKENS_MAX {
            return Err(ApiTokenError::TooMany);
        }
        Ok(())
    }

    /// From here on the secret lets its bearer in.
    pub fn add(&self, description: TokenDescription, secret: &str) -> Result<(), ApiTokenError> {
        self.change(|stored| {
            stored.push(StoredToken { description, sha256: digest(secret), revoked: None });
            Ok(())
        })
    }

    /// The moment of an effect: whoever was let in may have waited since, so the token is looked at
    /// again; it stands until the guard is dropped. `None` where it was revoked.
    pub async fn effect(&self, token: &TokenDescription) -> Option<Effect> {
        let effect = Arc::clone(&self.effects).read_owned().await;
        self.stands(token).then_some(effect)
    }

    /// Waits until nothing is being done in any token's name, and has whatever comes wait.
    pub async fn no_effects(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.effects).write_owned().await
    }

    /// Whether a token that was let in still lets its bearer in. One that was made anew under the
    /// name is another.
    pub fn stands(&self, token: &TokenDescription) -> bool {
        self.stored().iter().any(|stored| stored.revoked.is_none() && stored.description == *token)
    }

    /// From here on the token lets nobody in. [`ApiTokens::revoked`] tells of it until
    /// [`ApiTokens::forget`].
    pub fn revoke(&self, name: &TokenName, revocation: Revocation) -> Result<(), ApiTokenError> {
        self.change(|stored| {
            let is_it = |token: &&mut StoredToken| {
                token.description.name == *name && token.revoked.is_none()
            };
            let unknown = || ApiTokenError::Unknown { name: name.clone() };
            let token = stored.iter_mut().find(is_it).ok_or_else(unknown)?;
            token.sha256.clear();
            token.revoked = Some(revocation);
            Ok(())
        })
    }

    /// The tokens that were revoked and of which the log does not say so yet.
    pub fn revoked(&self) -> Vec<(TokenDescription, Revocation)> {
        let revoked =
            |token: &StoredToken| Some((token.description.clone(), token.revoked.clone()?));
        self.stored().iter().filter_map(revoked).collect()
    }

    /// The log says that the token was revoked.
    pub fn forget(&self, token: &TokenDescription) -> Result<(), ApiTokenError> {
        self.change(|stored| {
            stored.retain(|other| other.revoked.is_none() || other.description != *token);
            Ok(())
        })
    }

    /// The file first, then what is looked at.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<StoredToken>) -> Result<(), ApiTokenError>,
    ) -> Result<(), ApiTokenError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self.stored().clone();
        change(&mut changed)?;
        self.write(&changed)?;
        *self.stored() = changed;
        Ok(())
    }

    /// All tokens, in the order in which they were made.
    pub fn all(&self) -> Vec<TokenDescription> {
        let stored = self.stored();
        let lets_in = stored.iter().filter(|token| token.revoked.is_none());
        lets_in.map(|token| token.description.clone()).collect()
    }

    /// The token that a caller offers.
    pub fn admit(&self, offered: &str) -> Option<TokenDescription> {
        let digest = digest(offered);
        let stored = self.stored();
        stored.iter().find(|token| token.sha256 == digest).map(|token| token.description.clone())
    }

    fn stored(&self) -> MutexGuard<'_, Vec<StoredToken>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, stored: &[StoredToken]) -> Result<(), ApiTokenError> {
        let json = serde_json::to_vec_pretty(stored).expect("tokens have only text keys");
        durable::replace(&self.path, &[json.as_slice(), b"\n"].concat())
            .map_err(|source| ApiTokenError::Io { path: self.path.clone(), source })
    }
}

fn digest(secret: &str) -> String {
    hex::encode(Hash::sha256(secret.as_bytes()).as_bytes())
}

/// Why a token is not made, revoked or known.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// The file cannot be read or written.
    #[error("cannot use the token file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It holds something else.
    #[error("the token file {} is damaged: remove it, and make new tokens", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The name is another's.
    #[error("there is a token {} already: name the new one otherwise, or revoke that one", name.as_str())]
    Taken {
        /// The name.
        name: TokenName,
    },
    /// There is none of this name.
    #[error("there is no token {}: `sealwire token list` tells which there are", name.as_str())]
    Unknown {
        /// The name.
        name: TokenName,
    },
    /// As many as there may be.
    #[error("there are {TOKENS_MAX} tokens, which is as many as a site has: revoke some")]
    TooMany,
    /// It would be for a log that is not here.
    #[error("the site has no log {log}: its log is {own}")]
    OtherLog {
        /// The log that was named.
        log: String,
        /// The one that there is.
        own: String,
    },
}

/// The file of a data directory's tokens.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("api-tokens")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_lets_in_until_it_is_revoked_and_is_not_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = ApiTokens::load(path_in(folder.path())).unwrap();
        let name: TokenName = "scada-1".parse().unwrap();
        let description = TokenDescription {
            name: name.clone(),
            scope: vec![Scope::Write],
            log: None,
            created_at: Timestamp::from_unix_micros(0),
        };
        let secret = ApiTokens::new_secret();
        tokens.check_new(&name).unwrap();
        tokens.add(description.clone(), &secret).unwrap();
        assert!(matches!(tokens.check_new(&name), Err(ApiTokenError::Taken { .. })));

        let again = ApiTokens::load(path_in(folder.path())).unwrap();
        assert_eq!(again.admit(&secret).as_ref(), Some(&description));
        for other in ["", "pts_", &ApiTokens::new_secret()] {
            assert_eq!(again.admit(other), None);
        }
        let file = path_in(folder.path());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&file).unwrap().contains(&secret));

        let revocation =
            Revocation { actor: String::from("ada"), at: Timestamp::from_unix_micros(1) };
        let revoke = |tokens: &ApiTokens| tokens.revoke(&name, revocation.clone());
        revoke(&again).unwrap();
        assert_eq!((again.admit(&secret), again.admit("")), (None, None));
        assert!(matches!(revoke(&again), Err(ApiTokenError::Unknown { .. })));
        assert_eq!(again.all(), []);
        let again = ApiTokens::load(file.clone()).unwrap();
        let revoked = again.revoked();
        assert_eq!(revoked, [(description.clone(), revocation)]);
        // A version that knows of no revocations finds no hash that a secret could have.
        let stored = fs::read_to_string(&file).unwrap();
        assert!(stored.contains(r#""sha256": """#) && again.admit(&secret).is_none(), "{stored}");
        again.forget(&description).unwrap();
        assert_eq!(ApiTokens::load(file.clone()).unwrap().revoked(), []);
        // One of the same name that is made later is another.
        let later = TokenDescription { created_at: Timestamp::from_unix_micros(2), ..description };
        again.add(later.clone(), &ApiTokens::new_secret()).unwrap();
        assert!(again.stands(&later));
        let before = TokenDescription { created_at: Timestamp::from_unix_micros(0), ..later };
        assert!(!again.stands(&before));
        fs::write(&file, "{").unwrap();
        assert!(matches!(ApiTokens::load(file), Err(ApiTokenError::Damaged { .. })));
    }
}
