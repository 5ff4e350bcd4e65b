//! Decides who may call, and how often.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use access::{ApiTokens, Effect, TokenDescription, TokenName, bearer};
use axum::http::HeaderMap;
use model::Timestamp;
use pangea::{Refusal, Status};
use tokio::time::Instant;

/// Requests that a token may make at once after a pause. A client that verifies a page of 20 events
/// makes 41, and several clients may do so together.
const BURST: u32 = 2_000;
/// Requests per second that a token may make without a pause: half of what one core can answer.
const RATE: u32 = 1_000;
const DAY_MICROS: i64 = 86_400 * 1_000_000;

/// Admits callers by their tokens.
#[derive(Debug)]
pub(crate) struct Admission {
    tokens: ApiTokens,
    /// The name by which clients know the log.
    config_id: String,
    /// The state of each token, by its name and its time of creation. The map grows only with
    /// tokens that were revoked since the start. The lock is held only briefly, and never across an
    /// `await`.
    usage: Mutex<HashMap<(TokenName, Timestamp), Usage>>,
}

#[derive(Debug)]
struct Usage {
    allowance: Allowance,
    /// Day of the newest `TOKEN_USED` event of the token, in days since 1970.
    told_on_day: Option<i64>,
}

/// Number of requests that the token may still make.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    requests: f64,
    at: Instant,
}

impl Allowance {
    /// Takes one request from the allowance, or returns the time until there is one.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(RATE);
        *self = Self { requests: (self.requests + gained).min(f64::from(BURST)), at: now };
        if self.requests < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.requests) / f64::from(RATE)));
        }
        self.requests -= 1.0;
        Ok(())
    }
}

/// A caller who was admitted.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) token: TokenDescription,
    /// Whether the log has no `TOKEN_USED` event of the token for today yet.
    pub(crate) is_first_of_day: bool,
}

impl Admission {
    pub(crate) fn new(tokens: ApiTokens, config_id: String) -> Self {
        Self { tokens, config_id, usage: Mutex::default() }
    }

    /// Admits the caller that these headers name, and counts the call. `allows` tells whether a
    /// token permits the request.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        allows: impl FnOnce(&TokenDescription) -> bool,
        (moment, now): (Timestamp, Instant),
    ) -> Result<Admitted, Refusal> {
        let token = bearer(headers).and_then(|offered| self.tokens.admit(offered));
        let token = token.ok_or_else(unauthorized)?;
        if !allows(&token) {
            let words = "this token may not do this: logging needs the scope `write`, and reading needs the scope `read`";
            return Err(Refusal::plain(Status::Forbidden, words));
        }
        if let Some(log) = token.log.as_ref().filter(|log| **log != self.config_id) {
            let words = format!(
                "this token is for the log {log}, but the log of this site is {}",
                self.config_id
            );
            return Err(Refusal::plain(Status::Forbidden, words));
        }
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = usage.entry(key_of(&token)).or_insert_with(|| Usage {
            allowance: Allowance { requests: f64::from(BURST), at: now },
            told_on_day: None,
        });
        usage.allowance.take(now).map_err(|_soon| {
            let words =
                format!("this token made more than {RATE} requests per second: try again shortly");
            Refusal::plain(Status::TooManyRequests, words)
        })?;
        let is_first_of_day = usage.told_on_day != Some(day_of(moment));
        Ok(Admitted { token, is_first_of_day })
    }

    /// Checks the token again, and keeps it from being revoked until the guard is dropped. Hold the
    /// guard while sealing something in the token's name.
    pub(crate) async fn effect(&self, token: &TokenDescription) -> Result<Effect, Refusal> {
        self.tokens.effect(token).await.ok_or_else(unauthorized)
    }

    /// Whether an admitted token is still valid.
    pub(crate) fn stands(&self, token: &TokenDescription) -> bool {
        self.tokens.stands(token)
    }

    /// Records that the log has a `TOKEN_USED` event for that day. Simultaneous calls may each have
    /// sealed one.
    pub(crate) fn told(&self, token: &TokenDescription, moment: Timestamp) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = usage.get_mut(&key_of(token)) {
            usage.told_on_day = Some(day_of(moment));
        }
    }
}

/// The refusal of a caller without a valid token: Pangea's words, and ours.
pub(crate) fn unauthorized() -> Refusal {
    let words = "Not authorized to access this resource: the token is missing, unknown or \
        revoked; send `Authorization: Bearer ...` with a token from `sealwire token create`";
    Refusal::plain(Status::Unauthorized, words)
}

/// A name can be used again once its token is revoked.
fn key_of(token: &TokenDescription) -> (TokenName, Timestamp) {
    (token.name.clone(), token.created_at)
}

const fn day_of(moment: Timestamp) -> i64 {
    moment.unix_micros().div_euclid(DAY_MICROS)
}

#[cfg(test)]
mod tests {
    use access::{Revocation, Scope};
    use axum::http::header;

    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let begin = Instant::now();
        let mut allowance = Allowance { requests: f64::from(BURST), at: begin };
        for _ in 0..BURST {
            allowance.take(begin).unwrap();
        }
        let wait = allowance.take(begin).unwrap_err();
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
        allowance.take(begin + wait).unwrap();
        let later = begin + Duration::from_secs(3_600);
        assert_eq!(
            (0..2 * BURST).filter(|_| allowance.take(later).is_ok()).count(),
            BURST as usize
        );
    }

    #[test]
    fn who_asks_too_often_or_without_a_token_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = ApiTokens::load(folder.path().join("api-tokens")).unwrap();
        let secret = ApiTokens::new_secret();
        let description = TokenDescription {
            name: "scada".parse().unwrap(),
            scope: vec![Scope::Read],
            log: None,
            nkey: None,
            created_at: Timestamp::from_unix_micros(0),
        };
        tokens.add(description.clone(), &secret).unwrap();
        let admission = Admission::new(tokens.clone(), String::from("log"));
        let with = |secret: &str| {
            let value = format!("Bearer {secret}").parse().unwrap();
            HeaderMap::from_iter([(header::AUTHORIZATION, value)])
        };
        let now = (Timestamp::from_unix_micros(0), Instant::now());
        let admit = |headers: &HeaderMap| {
            admission.admit(headers, |_| true, now).map_err(|refusal| refusal.status)
        };
        assert_eq!(admit(&HeaderMap::new()).unwrap_err(), Status::Unauthorized);
        assert_eq!(admit(&with("pts_other")).unwrap_err(), Status::Unauthorized);
        assert!(admit(&with(&secret)).unwrap().is_first_of_day);
        admission.told(&description, now.0);
        for _ in 1..BURST {
            assert!(!admit(&with(&secret)).unwrap().is_first_of_day);
        }
        assert_eq!(admit(&with(&secret)).unwrap_err(), Status::TooManyRequests);
        let refusal = admission.admit(&with(&secret), |_| false, now).unwrap_err();
        assert_eq!(refusal.status, Status::Forbidden);

        // The use of a new token under the name is recorded again. A token for another log admits
        // nobody.
        let revocation = Revocation { actor: String::from("ada"), at: now.0 };
        tokens.revoke(&description.name, revocation).unwrap();
        tokens.forget(&description).unwrap();
        let created_at = Timestamp::from_unix_micros(1);
        tokens.add(TokenDescription { created_at, ..description.clone() }, &secret).unwrap();
        assert!(admit(&with(&secret)).unwrap().is_first_of_day);
        let (other, log) = (ApiTokens::new_secret(), Some(String::from("another")));
        let name = "other".parse().unwrap();
        tokens.add(TokenDescription { name, log, ..description }, &other).unwrap();
        assert_eq!(admit(&with(&other)).unwrap_err(), Status::Forbidden);
    }
}
