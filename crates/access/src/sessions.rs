//! Sessions of people who signed in with a token.
//!
//! A session's id is 256 random bits and new at each sign-in, so nobody can make a person use an id
//! that others know. The site keeps only its SHA-256, in memory: after a restart, people sign in
//! again. A session ends with its token.

use std::{collections::HashMap, time::Duration};

use tlog::Hash;
use tokio::time::Instant;

use crate::api_tokens::{TokenDescription, TokenName};

/// Time that a session lasts, used or not: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3_600);
/// Most sessions of one token. The oldest ends for a new one.
const SESSIONS_OF_TOKEN_MAX: usize = 16;
/// Most sessions of all tokens. Beyond that, nobody can sign in until one ends.
const SESSIONS_MAX: usize = 4_096;

/// The sessions of a site.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<Hash, Session>);

#[derive(Debug)]
struct Session {
    token: TokenDescription,
    ends: Instant,
}

impl Sessions {
    /// Begins a session, and returns its id; `None` if there are too many.
    pub(crate) fn begin(&mut self, token: TokenDescription, now: Instant) -> Option<String> {
        self.0.retain(|_, session| session.ends > now);
        let of_token = self.0.iter().filter(|(_, session)| session.token == token);
        if of_token.clone().count() >= SESSIONS_OF_TOKEN_MAX
            && let Some(oldest) = of_token.min_by_key(|(_, it)| it.ends).map(|(hash, _)| *hash)
        {
            self.0.remove(&oldest);
        }
        if self.0.len() >= SESSIONS_MAX {
            return None;
        }
        let id = hex::encode(rand::random::<[u8; 32]>());
        self.0.insert(digest(&id), Session { token, ends: now + SESSION_LIFETIME });
        Some(id)
    }

    /// The token of the session with this id. Looks up a hash, so the time it takes reveals nothing
    /// about ids.
    pub(crate) fn find(&self, id: &str, now: Instant) -> Option<&TokenDescription> {
        let session = self.0.get(&digest(id)).filter(|session| session.ends > now)?;
        Some(&session.token)
    }

    /// Ends a session, and returns the name of its token.
    pub(crate) fn end(&mut self, id: &str, now: Instant) -> Option<TokenName> {
        let session = self.0.remove(&digest(id)).filter(|session| session.ends > now)?;
        Some(session.token.name)
    }
}

fn digest(id: &str) -> Hash {
    Hash::sha256(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::Scope;

    fn token(name: &str) -> TokenDescription {
        TokenDescription {
            name: name.parse().unwrap(),
            scope: vec![Scope::Read],
            log: None,
            nkey: None,
            created_at: Timestamp::from_unix_micros(0),
        }
    }

    #[test]
    fn a_session_has_an_id_of_its_own_an_end_and_few_beside_it() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let ada = sessions.begin(token("ada"), now).unwrap();
        let again = sessions.begin(token("ada"), now).unwrap();
        assert_ne!(ada, again);
        assert!(!format!("{sessions:?}").contains(&ada), "the id is kept");
        assert_eq!(sessions.find(&ada, now), Some(&token("ada")));
        for wrong in ["", "0", &ada[1..], &hex::encode([0; 32])] {
            assert_eq!(sessions.find(wrong, now), None);
        }
        assert_eq!(sessions.find(&ada, now + SESSION_LIFETIME), None);
        assert_eq!(sessions.end(&ada, now), Some(token("ada").name));
        assert_eq!((sessions.end(&ada, now), sessions.find(&ada, now)), (None, None));

        // The oldest of a token gives way, and other tokens keep theirs.
        let later = now + Duration::from_secs(1);
        for _ in 0..SESSIONS_OF_TOKEN_MAX {
            sessions.begin(token("ada"), later).unwrap();
        }
        assert_eq!(sessions.find(&again, later), None);
        let others = (SESSIONS_MAX - SESSIONS_OF_TOKEN_MAX).div_ceil(SESSIONS_OF_TOKEN_MAX);
        for other in 0..others * SESSIONS_OF_TOKEN_MAX {
            let name = format!("other-{}", other / SESSIONS_OF_TOKEN_MAX);
            sessions.begin(token(&name), later).unwrap();
        }
        assert_eq!(sessions.begin(token("one-too-many"), later), None);
        assert!(sessions.begin(token("late"), later + SESSION_LIFETIME).is_some());
    }
}
