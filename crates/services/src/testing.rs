//! Asks components questions whose answers are judged like real ones, and thrown away: while a new
//! one is on trial or on probation, it and the old one are asked the same.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{Client, Request, RequestErrorKind};
use lattice::rollout::Heard;
use tokio::time::{Instant, sleep_until};

/// Time that a component has for an answer. A host ends a call after two seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Time after each step of a move in which a component may be stopped, with the questions that it
/// has. A host is told at once, and stops it within two seconds.
const MOVING: Duration = Duration::from_secs(5);

/// What was said, and by whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    /// Digest of the component.
    by: String,
    /// Hash of what it said.
    said: u64,
}

impl Said {
    /// What the component with this digest said.
    pub(crate) fn new(by: &str, said: &impl Hash) -> Self {
        let said = BuildHasherDefault::<DefaultHasher>::new().hash_one(said);
        Self { by: by.to_owned(), said }
    }
}

/// Judges an answer, of which components with these digests are taken. The error says why it is
/// refused.
type Judge = dyn Fn(&[u8], &BTreeSet<String>) -> Result<Said, String> + Send + Sync;

/// A question, and what is taken as an answer. Cheap to clone.
#[derive(Clone)]
pub struct TestQuestion {
    body: Arc<[u8]>,
    judge: Arc<Judge>,
}

impl std::fmt::Debug for TestQuestion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TestQuestion").finish_non_exhaustive()
    }
}

impl TestQuestion {
    pub(crate) fn new(
        body: Vec<u8>,
        judge: impl Fn(&[u8], &BTreeSet<String>) -> Result<Said, String> + Send + Sync + 'static,
    ) -> Self {
        Self { body: body.into(), judge: Arc::new(judge) }
    }

    /// Asks the component that hears this subject and has this digest. `other` may hear it, too:
    /// an answer of that one is none.
    pub async fn ask(
        &self,
        client: &Client,
        subject: String,
        digest: &str,
        other: Option<&str>,
    ) -> Heard {
        let body = self.body.to_vec().into();
        let request = Request::new().payload(body).timeout(Some(ANSWER_TIMEOUT));
        let asked_at = Instant::now();
        let answer = match client.send_request(subject, request).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == RequestErrorKind::TimedOut => return Heard::Silence,
            Err(_) => {
                // Until the site knows that a host is gone, this may be why.
                sleep_until(asked_at + ANSWER_TIMEOUT).await;
                return Heard::Nobody;
            }
        };
        let took = asked_at.elapsed();
        let accepted = [Some(digest), other].into_iter().flatten().map(String::from).collect();
        match (self.judge)(&answer.payload, &accepted) {
            Ok(Said { by, said }) if by == digest => Heard::Answered { took, said },
            Ok(_) => Heard::Unknown,
            Err(why) => Heard::Refused(why),
        }
    }
}

/// Which component is on probation, and a question on which it failed. Cheap to clone.
///
/// While it is on probation, its failures are not taken for those of a leaf: nothing is given up
/// that the old one may be able to do.
#[derive(Clone, Debug, Default)]
pub struct OnProbation(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    digest: Option<String>,
    /// When the last step of a move was taken.
    moved_at: Option<Instant>,
    suspect: Option<TestQuestion>,
}

impl OnProbation {
    /// From now on the component with this digest is on probation, or none.
    pub fn set(&self, digest: Option<&str>) {
        let digest = digest.map(String::from);
        self.change(|watched| {
            if watched.digest != digest {
                *watched = Watched { digest, ..Watched::default() };
            }
            watched.moved_at = watched.digest.is_some().then(Instant::now);
        });
    }

    /// Whether a component may be stopped about now, so that questions get lost.
    pub(crate) fn is_moving(&self) -> bool {
        self.change(|watched| watched.moved_at.is_some_and(|at| at.elapsed() < MOVING))
    }

    /// Takes a question on which a component failed: the one with this digest, or nobody knows
    /// which. Says whether the component is on probation.
    pub(crate) fn blames(&self, by: Option<&str>, question: impl FnOnce() -> TestQuestion) -> bool {
        self.change(|watched| {
            let is_watched = match (&watched.digest, by) {
                (Some(digest), Some(by)) => digest == by,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if is_watched {
                watched.suspect = Some(question());
            }
            is_watched
        })
    }

    /// The question on which it failed, if it did. It is asked until it was answered.
    #[must_use]
    pub fn suspect(&self) -> Option<TestQuestion> {
        self.change(|watched| watched.suspect.clone())
    }

    /// The component has answered the question on which it failed.
    pub fn clear(&self) {
        self.change(|watched| watched.suspect = None);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Watched) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_on_probation_is_suspected() {
        let probation = OnProbation::default();
        let question = || TestQuestion::new(Vec::new(), |_, _| Ok(Said::new("a", &1)));
        assert!(!probation.blames(Some("a"), question));
        probation.set(Some("a"));
        assert!(!probation.blames(Some("b"), question) && probation.suspect().is_none());
        assert!(probation.blames(Some("a"), question) && probation.suspect().is_some());
        probation.set(Some("a"));
        assert!(probation.suspect().is_some());
        probation.clear();
        assert!(probation.blames(None, question) && probation.suspect().is_some());
        probation.set(None);
        assert!(!probation.blames(None, question) && probation.suspect().is_none());
    }
}
