//! Who is asking, on a port that other machines reach. This is the only place that decides it.
//!
//! A program sends a token with each request (`Authorization: Bearer ...`). A person signs in with
//! a token once, and the browser then sends a cookie with the id of a session. Either way the token
//! must allow to read.
//!
//! A token that is right is always let in, however many wrong ones came from the same network: a
//! token has 160 random bits, so nobody guesses one, and nobody can keep others behind the same
//! address out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use crate::{
    api_tokens::{ApiTokens, Effect, Scope, TokenDescription, TokenName},
    bearer::{bearer, bearer_or_password},
    failures::{Failures, Refused},
    sessions::{SESSION_LIFETIME, Sessions},
};

/// Name of the cookie. Browsers take a cookie of this prefix only over TLS, for this host alone and
/// for all its paths.
const COOKIE: &str = "__Host-sealwire";
/// Sign-ins with one token between two looks at refusals: each is an event in the log.
const SIGN_INS_MAX: u32 = 30;

/// Decides who may pass. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    tokens: ApiTokens,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    sessions: Sessions,
    failures: Failures,
    /// Wrong tokens since the site started.
    refused: u64,
    /// Sessions that each token began since the last look at refusals.
    begun: HashMap<TokenName, u32>,
}

/// Someone who may pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The token, which names the caller in the log.
    pub token: TokenDescription,
    /// The session, if the caller is a browser.
    session: Option<String>,
}

/// Why someone may not pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The caller shows nothing. This is not counted: each visit begins so.
    #[error("sign in, or send an API token that may read (`Authorization: Bearer ...`)")]
    Unknown,
    /// There is no such token, or it may not read.
    #[error("this is no API token that may read: `sealwire token create` makes one")]
    Wrong,
    /// Too many wrong tokens came from the caller's network.
    #[error("too many wrong tokens came from this network: try again in a minute")]
    TooMany,
    /// There are too many sessions, or the token began too many.
    #[error("too many people have signed in: try again later")]
    Full,
}

impl Gate {
    /// A gate that these tokens open.
    #[must_use]
    pub fn new(tokens: ApiTokens) -> Self {
        Self { tokens, inside: Arc::default() }
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// Nobody who may pass.
    pub fn admit(&self, headers: &HeaderMap, address: IpAddr) -> Result<Caller, Refusal> {
        if let Some(offered) = bearer(headers) {
            let token = self.token(offered, address)?;
            return Ok(Caller { token, session: None });
        }
        let session = session_in(headers).ok_or(Refusal::Unknown)?;
        // A session that has ended is not counted: a browser cannot know that.
        let token = self.inside().sessions.find(session, Instant::now()).cloned();
        let token = token.filter(|token| self.tokens.stands(token)).ok_or(Refusal::Unknown)?;
        Ok(Caller { token, session: Some(session.to_owned()) })
    }

    /// The token that a program sends, as a bearer token or as a password. What it allows, the
    /// caller must look at.
    ///
    /// # Errors
    /// There is none, or no such token.
    pub fn program(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<TokenDescription, Refusal> {
        let offered = bearer_or_password(headers).ok_or(Refusal::Unknown)?;
        self.tokens.admit(&offered).ok_or_else(|| self.turn_away(address))
    }

    /// Begins an act under a token that was let in, as [`ApiTokens::effect`] does.
    pub async fn effect(&self, token: &TokenDescription) -> Option<Effect> {
        self.tokens.effect(token).await
    }

    /// The token that someone offers to sign in with.
    ///
    /// # Errors
    /// It does not allow to read.
    pub fn token(&self, offered: &str, address: IpAddr) -> Result<TokenDescription, Refusal> {
        self.reader(offered).ok_or_else(|| self.turn_away(address))
    }

    /// The token with this text, if it may read. Nothing is counted.
    #[must_use]
    pub fn reader(&self, offered: &str) -> Option<TokenDescription> {
        self.tokens.admit(offered).filter(|it| it.scope.contains(&Scope::Read))
    }

    /// Counts a wrong token that came from this address. Returns what its sender learns.
    pub fn turn_away(&self, address: IpAddr) -> Refusal {
        let mut inside = self.inside();
        inside.refused = inside.refused.saturating_add(1);
        if inside.failures.count(address) { Refusal::TooMany } else { Refusal::Wrong }
    }

    /// Wrong tokens since the site started.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.inside().refused
    }

    /// Begins a session of a token. Returns the cookie for the browser.
    ///
    /// # Errors
    /// There are too many sessions, or the token began too many.
    pub fn sign_in(&self, token: TokenDescription) -> Result<HeaderValue, Refusal> {
        let mut inside = self.inside();
        let begun = inside.begun.entry(token.name.clone()).or_default();
        if *begun >= SIGN_INS_MAX {
            return Err(Refusal::Full);
        }
        *begun += 1;
        let id = inside.sessions.begin(token, Instant::now()).ok_or(Refusal::Full)?;
        Ok(cookie(&id, SESSION_LIFETIME.as_secs()))
    }

    /// Ends the session of a request, if it has one. Returns the name of its token.
    pub fn sign_out(&self, headers: &HeaderMap) -> Option<TokenName> {
        self.inside().sessions.end(session_in(headers)?, Instant::now())
    }

    /// The cookie that takes a session's id from the browser.
    #[must_use]
    pub fn no_cookie() -> HeaderValue {
        cookie("", 0)
    }

    /// Whether a caller who passed may still be answered: neither token nor session has ended.
    #[must_use]
    pub fn stands(&self, caller: &Caller) -> bool {
        let is_signed_in =
            |id: &String| self.inside().sessions.find(id, Instant::now()) == Some(&caller.token);
        caller.session.as_ref().is_none_or(is_signed_in) && self.tokens.stands(&caller.token)
    }

    /// The refusals since the last call. Call it once in each
    /// [`REFUSALS_PERIOD`](crate::REFUSALS_PERIOD): limits per period begin anew.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        let mut inside = self.inside();
        inside.begun.clear();
        inside.failures.take()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    /// Whether the caller is a browser with a session, which another site's page could make ask.
    #[must_use]
    pub const fn is_browser(&self) -> bool {
        self.session.is_some()
    }
}

fn cookie(id: &str, seconds: u64) -> HeaderValue {
    let text =
        format!("{COOKIE}={id}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    HeaderValue::from_str(&text).expect("hex digits and words")
}

/// The id of the session that a request names. The name of a second cookie cannot be the same: of
/// this prefix a browser keeps one.
fn session_in(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::{Revocation, path_in};

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn sign_in_again(gate: &Gate, token: &TokenDescription) -> Caller {
        let set = gate.sign_in(token.clone()).unwrap();
        let (set, _) = set.to_str().unwrap().split_once("; ").unwrap();
        gate.admit(&with(header::COOKIE, set), ADDRESS).unwrap()
    }

    #[test]
    fn a_token_opens_and_a_session_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = ApiTokens::load(path_in(folder.path())).unwrap();
        let make = |name: &str, scope| {
            let secret = ApiTokens::new_secret();
            let created_at = Timestamp::from_unix_micros(0);
            let name = name.parse().unwrap();
            let token = TokenDescription { name, scope, log: None, nkey: None, created_at };
            tokens.add(token.clone(), &secret).unwrap();
            (token, secret)
        };
        let (ada, secret) = make("ada", vec![Scope::Read]);
        let (_, write) = make("writer", vec![Scope::Write]);
        let gate = Gate::new(tokens.clone());

        assert_eq!(gate.admit(&HeaderMap::new(), ADDRESS), Err(Refusal::Unknown));
        let asks = |offered: &str| {
            gate.admit(&with(header::AUTHORIZATION, &format!("Bearer {offered}")), ADDRESS)
        };
        assert_eq!(asks(&secret).unwrap().token, ada);
        for _ in 0..10 {
            assert_eq!(asks(&write), Err(Refusal::Wrong));
        }
        assert_eq!(asks("pts_"), Err(Refusal::TooMany));
        assert!(asks(&secret).is_ok(), "a right token is let in whatever others send");
        let programs = |offered: &str| {
            gate.program(&with(header::AUTHORIZATION, &format!("Bearer {offered}")), ADDRESS)
        };
        assert_eq!(programs(&write).unwrap().scope, [Scope::Write]);
        assert_eq!(gate.program(&HeaderMap::new(), ADDRESS), Err(Refusal::Unknown));
        assert_eq!(gate.refused(), [Refused { network: Some(ADDRESS), times: 11 }]);
        assert_eq!(programs("pts_"), Err(Refusal::Wrong));
        assert_eq!(gate.refused(), [Refused { network: Some(ADDRESS), times: 1 }]);
        assert_eq!((gate.turn_away(ADDRESS), gate.refused_total()), (Refusal::Wrong, 13));

        let set = gate.sign_in(gate.token(&secret, ADDRESS).unwrap()).unwrap();
        let (set, rest) = set.to_str().unwrap().split_once("; ").unwrap();
        assert_eq!(rest, "Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200");
        let cookies = with(header::COOKIE, &format!("other=1; {set}; x=2"));
        let caller = gate.admit(&cookies, ADDRESS).unwrap();
        assert!(caller.is_browser() && gate.stands(&caller));
        for wrong in ["__Host-sealwire=", "__Host-sealwire", "sealwire=1", &set[1..]] {
            assert_eq!(gate.admit(&with(header::COOKIE, wrong), ADDRESS), Err(Refusal::Unknown));
        }
        let other = gate.sign_in(ada.clone()).unwrap();
        let (other, _) = other.to_str().unwrap().split_once("; ").unwrap();
        let other = with(header::COOKIE, other);
        assert_eq!(gate.sign_out(&other), Some(ada.name.clone()));
        assert_eq!((gate.sign_out(&other), gate.stands(&caller)), (None, true));
        let by = Revocation { actor: String::from("root"), at: Timestamp::from_unix_micros(1) };
        for _ in 2..SIGN_INS_MAX {
            gate.sign_in(ada.clone()).unwrap();
        }
        assert_eq!(gate.sign_in(ada.clone()), Err(Refusal::Full));
        let (_, caller) = (gate.refused(), sign_in_again(&gate, &ada));
        tokens.revoke(&ada.name, by).unwrap();
        assert!(!gate.stands(&caller));
        assert_eq!(gate.admit(&cookies, ADDRESS), Err(Refusal::Unknown));
    }
}
