//! Decides before each start whether a workload's images may run: gathers what the registry and the
//! log know of them, and asks the [`Policy`] that was deployed.
//!
//! What the site itself brings is a part of this program, so nobody is asked about it. Everything
//! else is looked at anew each time: who signed it may not be listed any more.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lattice::{
    Check, Deployment, Workload,
    policy::{Evidence, Policy, Publication},
};
use ledger::{Ledger, ReadError};
use model::{Envelope, Event, action, error_chain};
use registry::{Pinned, Registry};
use services::{
    cosigning::{WatchWitnessed, witnessed_leaves},
    sealing::ToSeal,
};
use tlog::leaf_hash;
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// Name of this part of the site in events.
const SOURCE: &str = "apps";

/// Time for which a reason has to stand until it is sealed. What was just published has no proof
/// until the next checkpoint, and witnesses have signed that.
const PASSING: Duration = Duration::from_secs(1);

/// Lets workloads start, or not.
pub(crate) struct Admission {
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    /// What is demanded of images.
    pub(crate) policy: watch::Receiver<Policy>,
    /// What is wanted.
    pub(crate) wanted: watch::Receiver<Vec<Deployment>>,
    /// What witnesses have signed, if the site has a policy about them.
    pub(crate) witnessed: Option<WatchWitnessed>,
    pub(crate) events: mpsc::WeakSender<ToSeal>,
    /// Starts that were forbidden.
    pub(crate) forbidden: Arc<AtomicU64>,
    /// Why components are not started, by their names.
    pub(crate) refusals: Mutex<BTreeMap<String, Refusal>>,
}

/// Why a component is not started.
pub(crate) struct Refusal {
    why: String,
    since: Instant,
    is_sealed: bool,
}

impl Admission {
    /// The check, for the reconciler.
    pub(crate) fn check(self) -> Check {
        let admission = Arc::new(self);
        Check::new(move |workload| {
            let admission = Arc::clone(&admission);
            async move { admission.admit(workload).await }
        })
    }

    async fn admit(self: Arc<Self>, workload: Arc<Workload>) -> Result<(), String> {
        let this = Arc::clone(&self);
        let looking = work::blocking((), move || this.look(&workload));
        let looked = looking.await.unwrap_or_else(|panic| Err(Refused::of_all(&panic)));
        looked.map_err(|refused| {
            self.forbidden.fetch_add(1, Ordering::Relaxed);
            self.tell(&refused, Instant::now());
            refused.why
        })
    }

    /// Looks at each component of a workload. Blocks on the disk.
    fn look(&self, workload: &Workload) -> Result<(), Refused> {
        self.serve_hosts();
        let policy = self.policy.borrow().clone();
        for component in &workload.wit_world.components {
            let (name, image) = (&component.name, &component.image);
            let refused = |why: String| Refused {
                component: name.clone(),
                digest: component.digest().map(String::from),
                why: format!("{image} is not started: {why}"),
            };
            let pinned = image.parse::<Pinned>().map_err(|error| refused(error.to_string()))?;
            if self.registry.is_own(&pinned) {
                continue;
            }
            let evidence = self.evidence(&pinned, &policy);
            let evidence = evidence.map_err(|error| refused(error_chain(&error)))?;
            policy.check(&evidence).map_err(|forbidden| refused(forbidden.to_string()))?;
            self.refusals().remove(name);
        }
        Ok(())
    }

    /// Lets hosts pull what is wanted now, and nothing else.
    fn serve_hosts(&self) {
        let wanted = self.wanted.borrow();
        let components = wanted.iter().flat_map(|it| &it.workload.wit_world.components);
        self.registry.serve_hosts(components.filter_map(|it| it.image.parse().ok()));
    }

    /// What is known of an image. What the policy does not ask for is not looked for.
    fn evidence(&self, image: &Pinned, policy: &Policy) -> Result<Evidence, Unknown> {
        Ok(Evidence {
            signers: self.registry.signers(image, policy.keys())?.len(),
            publication: match self.registry.published(image) {
                Some(leaf) if policy.is_logged() => self.publication(image, leaf)?,
                _ => Publication::Unknown,
            },
        })
    }

    /// What the log says of an image's publication, which is to be at this leaf.
    fn publication(&self, image: &Pinned, leaf: u64) -> Result<Publication, Unknown> {
        let stored = self.ledger.envelopes(leaf, 1, usize::MAX)?;
        let bytes = stored.into_iter().next().and_then(|stored| stored.bytes);
        let envelope = bytes.and_then(|bytes| Envelope::parse(&bytes).ok());
        if !envelope.is_some_and(|envelope| records(&envelope.event, image)) {
            return Ok(Publication::Unknown);
        }
        let proof = match self.ledger.prove(leaf) {
            Err(ReadError::NotCovered { .. }) => return Ok(Publication::Uncovered(leaf)),
            proved => proved?,
        };
        let entry = self.ledger.entries(leaf, 1)?.into_iter().next();
        let vkey = self.ledger.vkey();
        let is_proven = proof.zip(entry).is_some_and(|(proof, entry)| {
            let is_leaf = proof.index.get() == leaf;
            is_leaf && proof.verify(&leaf_hash(entry.as_bytes()), &vkey).is_ok()
        });
        let witnessed = witnessed_leaves(self.witnessed.as_ref());
        Ok(match (is_proven, witnessed) {
            (false, _) => Publication::Uncovered(leaf),
            (true, Some(witnessed)) if witnessed <= leaf => Publication::Unwitnessed(leaf),
            (true, _) => Publication::Proven,
        })
    }

    /// Seals why a component is not started, once it is known that it stays so.
    fn tell(&self, Refused { component, digest, why }: &Refused, now: Instant) {
        let mut refusals = self.refusals();
        let new = || Refusal { why: why.clone(), since: now, is_sealed: false };
        let refusal = refusals.entry(component.clone()).or_insert_with(new);
        if refusal.why != *why {
            *refusal = new();
        }
        if refusal.is_sealed || now < refusal.since + PASSING {
            return;
        }
        warn!(component, why, "a component may not be started");
        let Some(events) = self.events.upgrade() else { return };
        let words = format!("{component}: {why}");
        let mut event = Event::site(action::COMPONENT_FORBIDDEN, SOURCE, words, clock::now());
        event.target = Some(component.clone());
        event.new.clone_from(digest);
        // With a full queue, the next look tells it.
        refusal.is_sealed = events.try_send(event.into()).is_ok();
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<String, Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an event is the site's own record of an image's publication. What programs hand in never
/// is, whatever it says.
fn records(event: &Event, image: &Pinned) -> bool {
    let tag = event.target.as_deref().and_then(|target| target.strip_prefix(image.repository()));
    event.sealwire.is_some()
        && event.token.is_none()
        && event.action.as_deref() == Some(action::COMPONENT_PUBLISHED)
        && event.new.as_ref() == Some(&image.digest())
        && tag.is_some_and(|tag| tag.starts_with(':'))
}

/// A component that may not be started.
struct Refused {
    component: String,
    digest: Option<String>,
    why: String,
}

impl Refused {
    /// Nothing is known of any component.
    fn of_all(error: &dyn std::error::Error) -> Self {
        Self { component: String::from("components"), digest: None, why: error_chain(error) }
    }
}

/// What there is to know of an image cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error("its signatures cannot be read")]
    Signatures(#[from] io::Error),
    #[error("the log cannot be read")]
    Log(#[from] ReadError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sites_own_record_counts() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let image: Pinned = format!("plant/app@{digest}").parse().unwrap();
        let event = || {
            let words = String::from("ci published it");
            let mut event =
                Event::site(action::COMPONENT_PUBLISHED, "registry", words, clock::now());
            event.target = Some(String::from("plant/app:1"));
            event.new = Some(digest.clone());
            event
        };
        assert!(records(&event(), &image));
        let changes: [fn(&mut Event); 7] = [
            |event| event.sealwire = None,
            |event| event.token = Some(String::from("ci")),
            |event| event.action = Some(String::from(action::COMPONENT_DELETED)),
            |event| event.target = Some(String::from("plant/app2:1")),
            |event| event.target = Some(String::from("plant/app/inner:1")),
            |event| event.target = None,
            |event| event.new = Some(format!("sha256:{}", "0b".repeat(32))),
        ];
        for change in changes {
            let mut changed = event();
            change(&mut changed);
            assert!(!records(&changed, &image), "{changed:?}");
        }
    }
}
