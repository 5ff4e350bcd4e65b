//! Tokens of programs that log and search through the log port: the file `api-tokens` in the data
//! directory.
//!
//! A token is 160 random bits, and the site shows it once. The file holds only its SHA-256, so a
//! reader of the file cannot use a token. Lookups compare hashes, so their time reveals nothing
//! about a token.
//!
//! Revoking a token first removes its hash. The line stays until the log records the revocation.
//! Whatever happens in between, the token is no longer valid, and the event is sealed later.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use data_encoding::BASE32_DNSSEC;
use model::Timestamp;
use nats::nkey::{Kind, Seed};
use serde::{Deserialize, Serialize};
use tlog::Hash;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

use crate::{
    sensors::name::{CredentialName, InvalidCredentialName},
    signed_nonce::is_signed,
};

/// Most tokens of a site. A creation or revocation looks at each of them and writes the whole file.
const TOKENS_MAX: usize = 1_000;

/// Name of a token, which the log records too.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// Longest name in characters. An event has the name as its actor.
    pub const CHARS_MAX: usize = 60;

    /// The name as text.
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

/// The text is not a valid token name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a token's name has 1 to {} characters of A-Z, a-z, 0-9, `-`, `.` and `_`",
    TokenName::CHARS_MAX
)]
pub struct InvalidTokenName;

/// What a token allows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Seal events.
    Write,
    /// Search events, read roots and download exports.
    Read,
    /// Order how sensors are polled.
    Operate,
    /// Pull images from the site's registry.
    Pull,
    /// Publish images in the site's registry and delete them, and pull.
    Publish,
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        match text {
            "write" => Ok(Self::Write),
            "read" => Ok(Self::Read),
            "operate" => Ok(Self::Operate),
            "pull" => Ok(Self::Pull),
            "publish" => Ok(Self::Publish),
            _ => Err(InvalidScope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Pull => "pull",
            Self::Publish => "publish",
        })
    }
}

/// The text is not a scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a scope is `write`, `read`, `operate`, `pull` or `publish`")]
pub struct InvalidScope;

/// A token without its secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenDescription {
    /// Name of the token.
    pub name: TokenName,
    /// What the token allows.
    pub scope: Vec<Scope>,
    /// Id of the log that the token is for; any of the site's logs if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Public nkey with which the token's application connects to the message bus; `None` if it may
    /// not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// When the token was created.
    pub created_at: Timestamp,
}

/// A token as the file stores it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct StoredToken {
    #[serde(flatten)]
    description: TokenDescription,
    /// SHA-256 of the secret, in hex. Empty after a revocation: no secret has that hash.
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<Revocation>,
}

/// The actor who revoked a token, and the time. The log does not record it yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Revocation {
    /// The actor, as the log will record it.
    pub actor: String,
    /// When the token was revoked.
    pub at: Timestamp,
}

/// The tokens of a site. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiTokens {
    path: PathBuf,
    stored: Arc<Mutex<Vec<StoredToken>>>,
    /// Held while the file is written, so that admitting a caller does not wait for the disk.
    changing: Arc<Mutex<()>>,
    /// Of each token, by its name: shared by the acts under it, and held exclusively to revoke it.
    effects: Arc<Mutex<BTreeMap<TokenName, Arc<RwLock<()>>>>>,
    /// Tells of each change.
    changed: watch::Sender<()>,
}

/// Guard of an act under a token. The token is not revoked while it lives.
pub type Effect = OwnedRwLockReadGuard<()>;

impl ApiTokens {
    /// Reads the tokens from the file; none if there is no file.
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
            changed: watch::Sender::new(()),
        })
    }

    /// Generates the secret of a new token.
    pub fn new_secret() -> String {
        let chance: [u8; 20] = rand::random();
        format!("pts_{}", BASE32_DNSSEC.encode(&chance))
    }

    /// Generates the key with which a new token's application connects to the message bus: its
    /// seed, and its public part.
    pub fn new_nkey() -> (String, String) {
        let seed = Seed::from_bytes(Kind::User, &rand::random());
        (seed.secret(), seed.public())
    }

    /// Refuses a token whose name is in use, or that could not use the message bus although it is
    /// to, and one token too many.
    pub fn check_new(&self, token: &TokenDescription) -> Result<(), ApiTokenError> {
        let TokenDescription { name, scope, nkey, .. } = token;
        if nkey.is_some() {
            // The name is a level of the subjects that the application uses.
            name.as_str().parse::<CredentialName>().map_err(ApiTokenError::Subject)?;
            if !scope.contains(&Scope::Write) {
                return Err(ApiTokenError::Silent);
            }
        }
        let stored = self.stored();
        if stored.iter().any(|token| token.description.name == *name) {
            return Err(ApiTokenError::Taken { name: name.clone() });
        }
        if stored.len() >= TOKENS_MAX {
            return Err(ApiTokenError::TooMany);
        }
        Ok(())
    }

    /// Adds a token. From here on it is valid.
    pub fn add(&self, description: TokenDescription, secret: &str) -> Result<(), ApiTokenError> {
        self.change(|stored| {
            stored.push(StoredToken { description, sha256: digest(secret), revoked: None });
            Ok(())
        })
    }

    /// Begins an act under a token. The caller may have waited since it was admitted, so this
    /// checks the token again; it then stays valid until the guard is dropped. `None` if the token
    /// was revoked.
    pub async fn effect(&self, token: &TokenDescription) -> Option<Effect> {
        let effect = self.effects_of(&token.name).read_owned().await;
        self.stands(token).then_some(effect)
    }

    /// Waits until no act under the token of this name is under way, and holds back further ones
    /// until the guard is dropped. Acts under other tokens go on.
    pub async fn no_effects(&self, name: &TokenName) -> OwnedRwLockWriteGuard<()> {
        self.effects_of(name).write_owned().await
    }

    fn effects_of(&self, name: &TokenName) -> Arc<RwLock<()>> {
        // So there are no more of them than tokens.
        if !self.stored().iter().any(|token| token.description.name == *name) {
            return Arc::default();
        }
        let mut effects = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(effects.entry(name.clone()).or_default())
    }

    /// Whether an admitted token is still valid. A token that was created later under the same name
    /// is another one.
    pub fn stands(&self, token: &TokenDescription) -> bool {
        self.stored().iter().any(|stored| stored.revoked.is_none() && stored.description == *token)
    }

    /// Revokes a token. [`ApiTokens::revoked`] lists it until [`ApiTokens::forget`].
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

    /// The revoked tokens whose revocation the log does not record yet.
    pub fn revoked(&self) -> Vec<(TokenDescription, Revocation)> {
        let revoked =
            |token: &StoredToken| Some((token.description.clone(), token.revoked.clone()?));
        self.stored().iter().filter_map(revoked).collect()
    }

    /// Removes the line of a revoked token. Call it once the log records the revocation.
    pub fn forget(&self, token: &TokenDescription) -> Result<(), ApiTokenError> {
        self.change(|stored| {
            stored.retain(|other| other.revoked.is_none() || other.description != *token);
            Ok(())
        })?;
        // Who still waits for it finds that the token does not stand.
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).remove(&token.name);
        Ok(())
    }

    /// Writes the file first, then updates the tokens in memory.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<StoredToken>) -> Result<(), ApiTokenError>,
    ) -> Result<(), ApiTokenError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self.stored().clone();
        change(&mut changed)?;
        self.write(&changed)?;
        *self.stored() = changed;
        self.changed.send_replace(());
        Ok(())
    }

    /// Tells of each change from here on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The valid tokens, in the order in which they were created.
    pub fn all(&self) -> Vec<TokenDescription> {
        let stored = self.stored();
        let lets_in = stored.iter().filter(|token| token.revoked.is_none());
        lets_in.map(|token| token.description.clone()).collect()
    }

    /// The valid token of this name.
    #[must_use]
    pub fn named(&self, name: &TokenName) -> Option<TokenDescription> {
        let stored = self.stored();
        let is_it = |it: &&StoredToken| it.revoked.is_none() && it.description.name == *name;
        stored.iter().find(is_it).map(|it| it.description.clone())
    }

    /// The token whose secret a caller offers, if there is one.
    pub fn admit(&self, offered: &str) -> Option<TokenDescription> {
        let digest = digest(offered);
        let stored = self.stored();
        stored.iter().find(|token| token.sha256 == digest).map(|token| token.description.clone())
    }

    /// The valid token with the nkey that a client of the message bus shows, which proves with its
    /// signature that it has the seed.
    ///
    /// # Errors
    /// There is no such token, or the signature is not that of the key.
    pub fn admit_nkey(
        &self,
        nkey: &str,
        (nonce, signature): (&str, &str),
    ) -> Result<TokenDescription, NkeyRefused> {
        let is_it = |token: &&StoredToken| token.description.nkey.as_deref() == Some(nkey);
        let stored = self.stored().iter().find(is_it).cloned().ok_or(NkeyRefused::Unknown)?;
        let StoredToken { description, revoked, .. } = stored;
        let refused = if revoked.is_some() {
            NkeyRefused::Revoked
        } else if !is_signed(nkey, nonce, signature) {
            NkeyRefused::WrongSignature
        } else {
            return Ok(description);
        };
        Err(refused(description.name))
    }

    /// The valid token of this name, if it may use the message bus.
    #[must_use]
    pub fn application(&self, name: &str) -> Option<TokenDescription> {
        let stored = self.stored();
        let lets_in = |token: &&StoredToken| {
            let TokenDescription { name: own, nkey, .. } = &token.description;
            token.revoked.is_none() && nkey.is_some() && own.as_str() == name
        };
        stored.iter().find(lets_in).map(|token| token.description.clone())
    }

    fn stored(&self) -> MutexGuard<'_, Vec<StoredToken>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, stored: &[StoredToken]) -> Result<(), ApiTokenError> {
        let json = serde_json::to_vec_pretty(stored).expect("tokens have only text keys");
        durable::write_secret(&self.path, &json)
            .map_err(|source| ApiTokenError::Io { path: self.path.clone(), source })
    }
}

fn digest(secret: &str) -> String {
    hex::encode(Hash::sha256(secret.as_bytes()).as_bytes())
}

/// Why a client that shows a key is not let in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NkeyRefused {
    /// No token has the key.
    #[error("there is no token with its key")]
    Unknown,
    /// The signature is not that of the key.
    #[error("it does not have the seed of the key that it names")]
    WrongSignature(TokenName),
    /// The token was revoked.
    #[error("its token was revoked")]
    Revoked(TokenName),
}

/// Why a token cannot be created, revoked or found.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// The file cannot be read or written.
    #[error("cannot use the token file {}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("the token file {} is damaged: remove it, and create new tokens", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Error of the JSON parser.
        source: serde_json::Error,
    },
    /// Another token has this name.
    #[error("there already is a token {}: choose another name, or revoke that token", name.as_str())]
    Taken {
        /// The name in question.
        name: TokenName,
    },
    /// No token has this name.
    #[error("there is no token {}: `sealwire token list` shows all tokens", name.as_str())]
    Unknown {
        /// The name in question.
        name: TokenName,
    },
    /// The name cannot be a level of a subject.
    #[error("a token of this name cannot use the message bus")]
    Subject(#[source] InvalidCredentialName),
    /// An application that may not log could say nothing on the message bus.
    #[error("a token for the message bus needs the scope `write`")]
    Silent,
    /// The site has as many tokens as it may.
    #[error("there are {TOKENS_MAX} tokens already, which is the limit: revoke some")]
    TooMany,
}

/// Path of the tokens' file in a data directory.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("api-tokens")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use data_encoding::BASE64URL_NOPAD;

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
            nkey: None,
            created_at: Timestamp::from_unix_micros(0),
        };
        let secret = ApiTokens::new_secret();
        tokens.check_new(&description).unwrap();
        tokens.add(description.clone(), &secret).unwrap();
        assert!(matches!(tokens.check_new(&description), Err(ApiTokenError::Taken { .. })));

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
        // A version that does not know revocations finds a hash that no secret has.
        let stored = fs::read_to_string(&file).unwrap();
        assert!(stored.contains(r#""sha256": """#) && again.admit(&secret).is_none(), "{stored}");
        again.forget(&description).unwrap();
        assert_eq!(ApiTokens::load(file.clone()).unwrap().revoked(), []);
        // A token of the same name that is created later is another one.
        let later = TokenDescription { created_at: Timestamp::from_unix_micros(2), ..description };
        again.add(later.clone(), &ApiTokens::new_secret()).unwrap();
        assert!(again.stands(&later));
        let before = TokenDescription { created_at: Timestamp::from_unix_micros(0), ..later };
        assert!(!again.stands(&before));
        fs::write(&file, "{").unwrap();
        assert!(matches!(ApiTokens::load(file), Err(ApiTokenError::Damaged { .. })));
    }

    #[test]
    fn an_nkey_lets_its_application_in_until_the_token_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = ApiTokens::load(path_in(folder.path())).unwrap();
        let mut changed = tokens.watch();
        let (seed, nkey) = ApiTokens::new_nkey();
        let seed: Seed = seed.parse().unwrap();
        let token = TokenDescription {
            name: "shop".parse().unwrap(),
            scope: vec![Scope::Write],
            log: None,
            nkey: Some(nkey.clone()),
            created_at: Timestamp::from_unix_micros(0),
        };
        for (name, scope) in
            [("shop.eu", Scope::Write), ("-shop", Scope::Write), ("shop", Scope::Read)]
        {
            let other = TokenDescription {
                name: name.parse().unwrap(),
                scope: vec![scope],
                ..token.clone()
            };
            assert!(tokens.check_new(&other).is_err(), "{name}");
        }
        tokens.check_new(&token).unwrap();
        tokens.add(token.clone(), &ApiTokens::new_secret()).unwrap();
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        let sign = |nonce: &str| BASE64URL_NOPAD.encode(&seed.sign(nonce.as_bytes()));
        let admit =
            |nkey: &str, nonce: &str, signature: &str| tokens.admit_nkey(nkey, (nonce, signature));
        assert_eq!(admit(&nkey, "n", &sign("n")), Ok(token.clone()));
        assert_eq!(tokens.application("shop"), Some(token.clone()));
        for signature in [sign("m"), String::new(), String::from("x")] {
            let refused = NkeyRefused::WrongSignature(token.name.clone());
            assert_eq!(admit(&nkey, "n", &signature), Err(refused));
        }
        assert!(admit(&nkey, "", &sign("")).is_err(), "the server asked for nothing");
        let (_, other) = ApiTokens::new_nkey();
        assert_eq!(admit(&other, "n", &sign("n")), Err(NkeyRefused::Unknown));
        let by = Revocation { actor: String::from("ada"), at: Timestamp::from_unix_micros(1) };
        tokens.revoke(&token.name, by).unwrap();
        assert!(changed.has_changed().unwrap());
        assert_eq!(admit(&nkey, "n", &sign("n")), Err(NkeyRefused::Revoked(token.name)));
        assert_eq!(tokens.application("shop"), None);
    }
}
