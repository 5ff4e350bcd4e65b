//! What an operator wants of a site's components: deployed, shown, and taken back.
//!
//! Each deployment is sealed before it takes effect: one event for each component that changes,
//! with who ordered it, the old and the new digest. What was deployed is kept in the file
//! `apps.json` in the data directory, with the leaves that record it, and a start takes the last
//! one from there. A crash between the two leaves events of a deployment that did not take effect;
//! whoever ordered it was not told that it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::PlainError;
use lattice::{
    Deployment, HostId, HostStanding, Standing,
    desired::{BuiltIn, Change, Desired, InvalidDesired},
};
use ledger::{AppendError, Batch, Ledger, ReadError};
use model::{Envelope, Event, Timestamp, action};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tracing::warn;

use crate::order::{DeployedComponent, Done, RunningComponent, SiteHost, event_by};

/// Name of the file in the data directory.
pub const NAME: &str = "apps.json";
/// Deployments that are kept. The log keeps all of them.
const DEPLOYMENTS_MAX: usize = 50;
/// Largest file in bytes: all deployments, each as large as it may be, in JSON.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Digests by which the answers of a component are known.
pub type Digests = BTreeSet<String>;

/// Deployments in the order in which they were made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    deployments: Vec<Deployed>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Deployed {
    /// The first leaf that records it.
    leaf: u64,
    /// How many do.
    leaves: u64,
    /// The file.
    state: String,
}

impl Kept {
    fn read(path: &Path) -> Result<Self, AppsError> {
        let failed = |source| AppsError::File { path: path.to_owned(), source };
        let Some(read) = durable::read_plain(path, FILE_BYTES_MAX).map_err(failed)? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&read.content)
            .map_err(|source| AppsError::Damaged { path: path.to_owned(), source })
    }

    /// The newest state, as text.
    fn state(&self) -> &str {
        self.deployments.last().map_or("", |deployed| &deployed.state)
    }
}

/// Reads the file as a start does. Returns how many deployments are in it.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn look(data_dir: &Path) -> Result<usize, AppsError> {
    Ok(Kept::read(&data_dir.join(NAME))?.deployments.len())
}

/// What was deployed last in a data directory, of what a site runs of its own accord.
///
/// # Errors
/// The file cannot be read or is damaged, or what was deployed cannot be run.
pub fn newest(data_dir: &Path, built_in: &BuiltIn) -> Result<Desired, AppsError> {
    Ok(Desired::parse(Kept::read(&data_dir.join(NAME))?.state(), built_in)?)
}

/// What deployments need of a site.
pub struct Parts {
    /// The site's data directory.
    pub data_dir: PathBuf,
    /// The log that records them.
    pub ledger: Ledger,
    /// What the site runs of its own accord.
    pub built_in: BuiltIn,
    /// Whether the site's registry has the image with this repository and digest.
    pub has_image: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Receives what is wanted.
    pub wanted: watch::Sender<Vec<Deployment>>,
    /// Receives the digests of each component whose answers are taken: while one replaces the
    /// other, both answer.
    pub accepted: BTreeMap<String, watch::Sender<Digests>>,
    /// What runs where.
    pub standing: watch::Receiver<Standing>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// Deploys components. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Apps {
    parts: Arc<Parts>,
    /// What was deployed, held while something is.
    kept: Arc<Mutex<Kept>>,
}

impl Apps {
    /// Takes what was deployed last, and has it run.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn open(parts: Parts) -> Result<Self, AppsError> {
        let kept = Kept::read(&parts.data_dir.join(NAME))?;
        let apps = Self { parts: Arc::new(parts), kept: Arc::default() };
        let desired = apps.parse(kept.state()).unwrap_or_else(|refusal| {
            // Better the site's own components than none.
            warn!(%refusal, "what was deployed last cannot be run; the site's own components run");
            Desired::default()
        });
        apps.apply(&Desired::default(), &desired);
        Ok(Self { kept: Arc::new(Mutex::new(kept)), ..apps })
    }

    /// What would change if this file were deployed.
    ///
    /// # Errors
    /// The file is refused.
    pub async fn diff(&self, state: &str) -> Result<Vec<Change>, AppsError> {
        let after = self.parse(state)?;
        Ok(self.parts.built_in.changes(&self.newest(&*self.kept.lock().await), &after))
    }

    /// Seals that this file is deployed, and deploys it. Returns the first leaf that records it,
    /// and what changes.
    ///
    /// # Errors
    /// The file is refused, changes nothing, or cannot be sealed or kept.
    pub async fn deploy(
        &self,
        state: String,
        (by, why): (&str, &str),
        at: Timestamp,
    ) -> Result<(u64, Vec<Change>), AppsError> {
        let mut kept = self.kept.lock().await;
        self.change(&mut kept, state, (by, why), at).await
    }

    /// Deploys again what was deployed before the newest deployment, and so on if it is the same.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy); nothing was deployed.
    pub async fn roll_back(
        &self,
        (by, why): (&str, &str),
        at: Timestamp,
    ) -> Result<(u64, Vec<Change>), AppsError> {
        let mut kept = self.kept.lock().await;
        let newest = kept.state().to_owned();
        let before = kept.deployments.iter().rev().map(|it| &it.state).find(|it| **it != newest);
        let state = match before {
            Some(before) => before.clone(),
            None if kept.deployments.is_empty() => return Err(AppsError::NothingDeployed),
            // Before the first deployment the site ran its own components.
            None => String::new(),
        };
        self.change(&mut kept, state, (by, why), at).await
    }

    async fn change(
        &self,
        kept: &mut Kept,
        state: String,
        (by, why): (&str, &str),
        at: Timestamp,
    ) -> Result<(u64, Vec<Change>), AppsError> {
        let after = self.parse(&state)?;
        let before = self.newest(kept);
        let changes = self.parts.built_in.changes(&before, &after);
        if changes.is_empty() {
            return Err(AppsError::NoChange);
        }
        let events = changes.iter().map(|change| event(change, by, why, at)).collect();
        let receipt = self.parts.ledger.append(Batch::of(events)).await?;
        let leaf = receipt.first_leaf;
        let mut next = kept.clone();
        next.deployments.push(Deployed { leaf, leaves: changes.len() as u64, state });
        next.deployments.drain(..next.deployments.len().saturating_sub(DEPLOYMENTS_MAX));
        let (path, json) = (self.parts.data_dir.join(NAME), serde_json::to_vec(&next));
        let json = json.expect("what is kept has only text keys");
        let keeping = work::blocking((), move || {
            durable::replace(&path, &json).map_err(|source| AppsError::Keep { path, source })
        });
        keeping.await.map_err(AppsError::Panicked)??;
        *kept = next;
        self.apply(&before, &after);
        Ok((leaf, changes))
    }

    /// What runs where.
    pub(crate) fn tell(&self) -> Done {
        let Standing { hosts, workloads } = self.parts.standing.borrow().clone();
        let name_of =
            |id: &HostId| hosts.iter().find(|host| host.id == *id).map(|it| it.name.clone());
        let components = workloads.iter().map(|workload| RunningComponent {
            name: workload.name.clone(),
            hosts: workload.runs_on.iter().filter_map(name_of).collect(),
            trouble: workload.trouble.clone(),
        });
        let components = components.collect();
        let hosts = hosts.into_iter().map(|HostStanding { id, name, group, answers }| SiteHost {
            name,
            id: id.to_string(),
            group,
            answers,
        });
        Done::Apps { hosts: hosts.collect(), components }
    }

    /// The events that record what was deployed, with their leaves, as the log has them. The
    /// newest is last.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn history(&self) -> Result<Vec<DeployedComponent>, AppsError> {
        let kept = self.kept.lock().await.clone();
        let ledger = self.parts.ledger.clone();
        let read = work::blocking((), move || -> Result<_, AppsError> {
            let mut events = Vec::new();
            for Deployed { leaf, leaves, .. } in kept.deployments {
                let count = usize::try_from(leaves).unwrap_or(usize::MAX);
                let envelopes = ledger.envelopes(leaf, count, usize::MAX)?;
                let parsed = (leaf..).zip(envelopes).filter_map(|(leaf, stored)| {
                    let Envelope { received_at, event, .. } =
                        Envelope::parse(&stored.bytes?).ok()?;
                    let (at, actor) = (received_at.to_string(), event.actor.unwrap_or_default());
                    Some(DeployedComponent { leaf, at, actor, words: event.message })
                });
                events.extend(parsed);
            }
            Ok(events)
        });
        read.await.map_err(AppsError::Panicked)?
    }

    fn newest(&self, kept: &Kept) -> Desired {
        self.parse(kept.state()).unwrap_or_default()
    }

    fn parse(&self, state: &str) -> Result<Desired, AppsError> {
        let desired = Desired::parse(state, &self.parts.built_in)?;
        for (component, image) in desired.images() {
            if !(self.parts.has_image)(image.as_str()) {
                let (component, image) = (component.to_owned(), image.as_str().to_owned());
                return Err(AppsError::NoImage { component, image });
            }
        }
        Ok(desired)
    }

    /// Has this run. Answers of what runs still are taken, too.
    fn apply(&self, before: &Desired, after: &Desired) {
        let [old, new] = [before, after].map(|desired| self.parts.built_in.with(desired));
        for (name, accepted) in &self.parts.accepted {
            let components =
                old.iter().chain(&new).flat_map(|it| &it.workload.wit_world.components);
            let digests = components.filter(|it| it.name == *name).filter_map(|it| it.digest());
            accepted.send_replace(digests.map(String::from).collect());
        }
        self.parts.wanted.send_replace(new);
    }
}

/// The event that records what changes for a component.
fn event(change: &Change, by: &str, why: &str, at: Timestamp) -> Event {
    let Change { component, old, new } = change;
    let words = format!("{component}: {new} instead of {old}: {why}");
    let mut event = event_by(by, action::COMPONENT_DEPLOYED, "apps", words, at);
    event.target = Some(component.clone());
    (event.old, event.new) = (Some(old.digest().to_owned()), Some(new.digest().to_owned()));
    event
}

/// Why nothing was deployed, or why it is not known what was.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// The file is refused.
    #[error(transparent)]
    Invalid(#[from] InvalidDesired),
    /// The registry does not have an image.
    #[error(
        "the site's registry does not have {image}, the image of `{component}`: push it first, and \
         name the digest that the push prints"
    )]
    NoImage {
        /// The component.
        component: String,
        /// Repository and digest.
        image: String,
    },
    /// The file wants what is wanted already.
    #[error("this changes nothing: `sealwire app history` shows what was deployed")]
    NoChange,
    /// Nothing was deployed that could be taken back.
    #[error("nothing was deployed: the site runs its own components")]
    NothingDeployed,
    /// The deployment cannot be sealed. It has no effect.
    #[error("cannot seal the events that record the deployment")]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error("cannot read from the log what was deployed")]
    Read(#[from] ReadError),
    /// The deployment is sealed and cannot be kept. It has no effect.
    #[error("cannot write {}, so nothing is deployed", path.display())]
    Keep {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file with the deployments cannot be read.
    #[error("cannot read {}, which holds what was deployed", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        source: PlainError,
    },
    /// The file with the deployments is damaged.
    #[error("{} does not hold what was deployed", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A bug in this program.
    #[error("the deployment panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

impl AppsError {
    /// Whether nothing has happened.
    pub(crate) const fn is_refusal(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::NoImage { .. } | Self::NoChange | Self::NothingDeployed => {
                true
            }
            Self::Append(_)
            | Self::Read(_)
            | Self::Keep { .. }
            | Self::File { .. }
            | Self::Damaged { .. }
            | Self::Panicked(_) => false,
        }
    }
}
