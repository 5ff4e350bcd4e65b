//! What an operator wants of a site's components: deployed, shown, and taken back.
//!
//! Each deployment is sealed before it takes effect: one event for each component that changes,
//! with who ordered it, the old and the new digest, and one if something else is demanded of
//! images. What was deployed is kept in the file `apps.json` in the data directory, with the leaves
//! that record it, and a start takes the last one from there. A crash between the two leaves events
//! of a deployment that did not take effect; whoever ordered it was not told that it had.
//!
//! A deployment that replaces components is on trial first: [`lattice::rollout`] decides about it,
//! and the site asks the questions. Until it is decided, the file has it apart from those before,
//! and a start begins with the trial again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::PlainError;
use lattice::{
    Deployment, HostId, HostStanding, Standing,
    desired::{BuiltIn, Change, Changes, Desired, InvalidDesired, PolicyChange},
    policy::Policy,
    rollout::{self, Pair, Stage},
};
use ledger::{AppendError, Batch, Ledger, ReadError};
use model::{Envelope, Event, Timestamp, action};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tracing::warn;

use crate::order::{
    DeployedComponent, DeploymentNow, DeploymentStage, Done, RunningComponent, SiteHost, event_by,
};

/// Name of the file in the data directory.
pub const NAME: &str = "apps.json";
/// Deployments that are kept. The log keeps all of them.
const DEPLOYMENTS_MAX: usize = 50;
/// Folder in the data directory with the secrets that components may have, a file for each.
const SECRETS: &str = "secrets";
/// Largest secret in bytes. It goes over the bus with each start.
const SECRET_BYTES_MAX: u64 = 4 << 10;
/// Newest deployments of which a host on another machine may still run something at a start.
const FORMER_MAX: usize = 4;
/// Largest file in bytes: all deployments, each as large as it may be, in JSON.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Digests by which the answers of a component are known.
pub type Digests = BTreeSet<String>;

/// Deployments in the order in which they were made.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    deployments: Vec<Deployed>,
    /// The one that is on trial or on probation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trial: Option<Deployed>,
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
    /// Why it went back. What follows it is what ran before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    went_back: Option<String>,
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

    /// The state that was wanted last without a doubt, as text.
    fn state(&self) -> &str {
        self.deployments.last().map_or("", |deployed| &deployed.state)
    }

    fn push(&mut self, deployed: Deployed) {
        self.deployments.push(deployed);
        self.deployments.drain(..self.deployments.len().saturating_sub(DEPLOYMENTS_MAX));
    }
}

/// Reads the file as a start does. Returns how many deployments are in it.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn look(data_dir: &Path) -> Result<usize, AppsError> {
    let kept = Kept::read(&data_dir.join(NAME))?;
    Ok(kept.deployments.len() + usize::from(kept.trial.is_some()))
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
    /// Receives what is demanded of images.
    pub policy: watch::Sender<Policy>,
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
    /// What is on trial or on probation.
    trial: watch::Sender<Option<Arc<Trial>>>,
    /// Where that stands, and how it does, in words.
    progress: watch::Sender<(Stage, String)>,
}

/// A deployment on trial.
#[derive(Debug)]
pub struct Trial {
    /// The first leaf that records it.
    pub leaf: u64,
    /// The workloads that it replaces.
    pub pairs: Vec<Pair>,
    /// Why it cannot run, if it cannot.
    pub refusal: Option<String>,
    before: Desired,
    after: Desired,
}

/// What a deployment or a rollback has led to.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The first leaf that records it.
    pub leaf: u64,
    /// What changes.
    pub changes: Changes,
    /// Whether it is on trial first.
    pub is_on_trial: bool,
}

impl Apps {
    /// Takes what was deployed last, and has it run.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn open(parts: Parts) -> Result<Self, AppsError> {
        let kept = Kept::read(&parts.data_dir.join(NAME))?;
        let apps = Self {
            parts: Arc::new(parts),
            kept: Arc::default(),
            trial: watch::Sender::new(None),
            progress: watch::Sender::new((Stage::Trial, String::new())),
        };
        if let Err(refusal) = apps.parse(kept.state()) {
            // Better the site's own components than none. What is demanded of images stays.
            warn!(%refusal, "what was deployed last cannot be run; the site's own components run");
        }
        let desired = apps.newest(&kept);
        match &kept.trial {
            Some(deployed) => apps.begin(deployed, desired),
            None => apps.apply(&Desired::default(), &desired),
        }
        Ok(Self { kept: Arc::new(Mutex::new(kept)), ..apps })
    }

    /// What earlier runs of the site may have started. Hosts on other machines still run it.
    pub async fn former(&self) -> Vec<Deployment> {
        let kept = self.kept.lock().await;
        let newest = kept.trial.iter().chain(kept.deployments.iter().rev()).take(FORMER_MAX);
        let states = newest.map(|it| it.state.as_str()).chain([""]);
        let built_in = &self.parts.built_in;
        let known = states.filter_map(|state| self.parse(state).ok());
        let mut former: Vec<_> = known.flat_map(|desired| built_in.with(&desired)).collect();
        if let Some(trial) = &*self.trial.borrow() {
            let stages = [Stage::Trial, Stage::Move, Stage::Probation].into_iter();
            former.extend(stages.flat_map(|stage| rollout::wanted(&trial.pairs, stage)));
        }
        former
    }

    /// What would change if this file were deployed.
    ///
    /// # Errors
    /// The file is refused.
    pub async fn diff(&self, state: &str) -> Result<Changes, AppsError> {
        let after = self.parse(state)?;
        Ok(self.parts.built_in.changes(&self.newest(&*self.kept.lock().await), &after))
    }

    /// Seals that this file is deployed, and deploys it. What replaces a component is on trial
    /// first.
    ///
    /// # Errors
    /// The file is refused, changes nothing, or cannot be sealed or kept; another deployment is on
    /// trial.
    pub async fn deploy(
        &self,
        state: String,
        (by, why): (&str, &str),
        at: Timestamp,
    ) -> Result<Ordered, AppsError> {
        let mut kept = self.kept.lock().await;
        if let Some(Deployed { leaf, .. }) = kept.trial {
            return Err(AppsError::OnTrial { leaf });
        }
        self.change(&mut kept, state, (by, why), at, true).await
    }

    /// Deploys again what was deployed before the newest deployment, and so on if it is the same.
    /// It has run before, so it is on no trial. What is on trial is taken back.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy); nothing was deployed.
    pub async fn roll_back(
        &self,
        (by, why): (&str, &str),
        at: Timestamp,
    ) -> Result<Ordered, AppsError> {
        let mut kept = self.kept.lock().await;
        if kept.trial.is_some() {
            return self.take_back(&mut kept, (Some(by), why), at).await;
        }
        let newest = kept.state().to_owned();
        let stood = kept.deployments.iter().rev().filter(|it| it.went_back.is_none());
        let before = stood.map(|it| &it.state).find(|it| **it != newest);
        let state = match before {
            Some(before) => before.clone(),
            None if kept.deployments.is_empty() => return Err(AppsError::NothingDeployed),
            // Before the first deployment the site ran its own components.
            None => String::new(),
        };
        self.change(&mut kept, state, (by, why), at, false).await
    }

    async fn change(
        &self,
        kept: &mut Kept,
        state: String,
        (by, why): (&str, &str),
        at: Timestamp,
        is_tried: bool,
    ) -> Result<Ordered, AppsError> {
        let after = self.parse(&state)?;
        let before = self.newest(kept);
        let changes = self.parts.built_in.changes(&before, &after);
        if changes.is_empty() {
            return Err(AppsError::NoChange);
        }
        let deployed = action::COMPONENT_DEPLOYED;
        let events = events(&changes, (deployed, Some(by)), why, at);
        let leaves = events.len() as u64;
        let leaf = self.parts.ledger.append(Batch::of(events)).await?.first_leaf;
        let deployed = Deployed { leaf, leaves, state, went_back: None };
        let is_on_trial = is_tried && !self.parts.built_in.pairs(&before, &after).is_empty();
        let mut next = kept.clone();
        match is_on_trial {
            true => next.trial = Some(deployed.clone()),
            false => next.push(deployed.clone()),
        }
        self.keep(kept, next).await?;
        match is_on_trial {
            true => self.begin(&deployed, before),
            false => self.apply(&before, &after),
        }
        Ok(Ordered { leaf, changes, is_on_trial })
    }

    /// Writes what is deployed from now on.
    async fn keep(&self, kept: &mut Kept, next: Kept) -> Result<(), AppsError> {
        let (path, json) = (self.parts.data_dir.join(NAME), serde_json::to_vec(&next));
        let json = json.expect("what is kept has only text keys");
        let keeping = work::blocking((), move || {
            durable::replace(&path, &json).map_err(|source| AppsError::Keep { path, source })
        });
        keeping.await.map_err(AppsError::Panicked)??;
        *kept = next;
        Ok(())
    }

    /// What runs where, and where the newest deployment stands.
    pub(crate) async fn tell(&self) -> Done {
        let newest = self.now(None).await;
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
        Done::Apps { hosts: hosts.collect(), components, newest }
    }

    /// Where a deployment stands, by the first leaf that records it, or else the newest one.
    pub(crate) async fn now(&self, leaf: Option<u64>) -> Option<DeploymentNow> {
        let kept = self.kept.lock().await;
        let is_it = |deployed: &&Deployed| leaf.is_none_or(|leaf| deployed.leaf == leaf);
        if let Some(Deployed { leaf, .. }) = kept.trial.as_ref().filter(is_it) {
            let (stage, words) = self.progress.borrow().clone();
            return Some(DeploymentNow { leaf: *leaf, stage: stage.into(), words });
        }
        // What went back is followed by what ran before it.
        let mut newest = kept.deployments.iter().rev().filter(is_it).take(2);
        let (last, before) = (newest.next()?, newest.next());
        let deployed = before.filter(|it| it.went_back.is_some()).unwrap_or(last);
        let stage = match deployed.went_back {
            Some(_) => DeploymentStage::WentBack,
            None => DeploymentStage::Stays,
        };
        let words = deployed.went_back.clone().unwrap_or_default();
        Some(DeploymentNow { leaf: deployed.leaf, stage, words })
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
            for Deployed { leaf, leaves, .. } in kept.deployments.into_iter().chain(kept.trial) {
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

    /// What was deployed last, or if it cannot be run what it demands of images.
    fn newest(&self, kept: &Kept) -> Desired {
        let state = kept.state();
        self.parse(state).unwrap_or_else(|_refusal| Desired::policy_alone(state))
    }

    /// Parses a state whose images may be gone.
    fn known(&self, state: &str) -> Desired {
        Desired::parse(state, &self.parts.built_in)
            .unwrap_or_else(|_refusal| Desired::policy_alone(state))
    }

    fn parse(&self, state: &str) -> Result<Desired, AppsError> {
        let mut desired = Desired::parse(state, &self.parts.built_in)?;
        desired.read_secrets(|name| read_secret(&self.parts.data_dir, name))?;
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
        self.take_answers_of(old.iter().chain(&new));
        self.demand(after);
        self.parts.wanted.send_replace(new);
    }

    /// Demands this of images. It comes before what is wanted, so that nothing is started under an
    /// older policy.
    fn demand(&self, desired: &Desired) {
        self.parts.policy.send_replace(desired.policy().clone());
    }

    /// Takes the answers of these, and of no other.
    fn take_answers_of<'a>(&self, deployments: impl Iterator<Item = &'a Deployment> + Clone) {
        for (name, accepted) in &self.parts.accepted {
            let components = deployments.clone().flat_map(|it| &it.workload.wit_world.components);
            let digests = components.filter(|it| it.name == *name).filter_map(|it| it.digest());
            accepted.send_replace(digests.map(String::from).collect());
        }
    }
}

/// Deployments on trial.
impl Apps {
    /// What is on trial or on probation.
    #[must_use]
    pub fn trials(&self) -> watch::Receiver<Option<Arc<Trial>>> {
        self.trial.subscribe()
    }

    /// Begins the trial of what is deployed instead of this.
    fn begin(&self, Deployed { leaf, state, .. }: &Deployed, before: Desired) {
        let (after, refusal) = match self.parse(state) {
            Ok(after) => (after, None),
            Err(refusal) => (before.clone(), Some(refusal.to_string())),
        };
        let pairs = self.parts.built_in.pairs(&before, &after);
        let trial = Trial { leaf: *leaf, pairs, refusal, before, after };
        self.stand(&trial, Stage::Trial);
        self.trial.send_replace(Some(Arc::new(trial)));
    }

    /// Has that run which a stage of a trial needs.
    pub fn stand(&self, trial: &Trial, stage: Stage) {
        let Trial { pairs, before, after, .. } = trial;
        let [old, new] = [before, after].map(|desired| self.parts.built_in.with(desired));
        let is_tried = |it: &Deployment| pairs.iter().any(|pair| pair.name() == it.workload.name);
        match stage {
            // On its own subject it is asked by the trial alone.
            Stage::Trial => self.take_answers_of(old.iter()),
            Stage::Move | Stage::Probation => self.take_answers_of(old.iter().chain(&new)),
        }
        let others = if stage == Stage::Probation { new } else { old };
        let others = others.into_iter().filter(|it| !is_tried(it));
        self.progress.send_replace((stage, String::new()));
        // What is on trial is held to its own policy. If it goes back, that goes back with it.
        self.demand(after);
        self.parts.wanted.send_replace(others.chain(rollout::wanted(pairs, stage)).collect());
    }

    /// Tells how a trial does.
    pub fn note(&self, words: String) {
        self.progress.send_modify(|(_stage, old)| *old = words);
    }

    /// The deployment stays. Nothing happens if it is not on trial any more.
    ///
    /// # Errors
    /// This cannot be kept, and the deployment is still on trial.
    pub async fn confirm(&self, trial: &Trial) -> Result<(), AppsError> {
        let mut kept = self.kept.lock().await;
        let mut next = kept.clone();
        let Some(deployed) = next.trial.take_if(|it| it.leaf == trial.leaf) else { return Ok(()) };
        next.push(deployed);
        self.keep(&mut kept, next).await?;
        self.trial.send_replace(None);
        self.apply(&trial.before, &trial.after);
        Ok(())
    }

    /// The site takes the deployment back, and seals why. Nothing happens if it is not on trial
    /// any more.
    ///
    /// # Errors
    /// This cannot be sealed or kept, and the deployment is still on trial.
    pub async fn go_back(&self, trial: &Trial, why: &str, at: Timestamp) -> Result<(), AppsError> {
        let mut kept = self.kept.lock().await;
        if kept.trial.as_ref().is_some_and(|it| it.leaf == trial.leaf) {
            self.take_back(&mut kept, (None, why), at).await?;
        }
        Ok(())
    }

    /// Takes back what is on trial, by order of somebody or of the site.
    async fn take_back(
        &self,
        kept: &mut Kept,
        (by, why): (Option<&str>, &str),
        at: Timestamp,
    ) -> Result<Ordered, AppsError> {
        let mut next = kept.clone();
        let Some(tried) = next.trial.take() else { return Err(AppsError::NothingDeployed) };
        let (before, after) = (self.newest(kept), self.known(&tried.state));
        let changes = self.parts.built_in.changes(&after, &before);
        let action =
            if by.is_some() { action::COMPONENT_DEPLOYED } else { action::COMPONENT_ROLLED_BACK };
        let mut events = events(&changes, (action, by), why, at);
        if events.is_empty() {
            // The site does not run any more what the deployment named.
            events.push(Event::site(action, "apps", why.to_owned(), at));
        }
        let leaves = events.len() as u64;
        let leaf = self.parts.ledger.append(Batch::of(events)).await?.first_leaf;
        next.push(Deployed { went_back: Some(why.to_owned()), ..tried });
        next.push(Deployed { leaf, leaves, state: kept.state().to_owned(), went_back: None });
        self.keep(kept, next).await?;
        self.trial.send_replace(None);
        // What is taken back may still answer, and is not to be believed.
        self.apply(&before, &before);
        Ok(Ordered { leaf, changes, is_on_trial: false })
    }
}

/// Reads a secret of this name, which an operator put into the folder [`SECRETS`].
fn read_secret(data_dir: &Path, name: &str) -> Result<String, AppsError> {
    let path = data_dir.join(SECRETS).join(name);
    let read = durable::read_plain(&path, SECRET_BYTES_MAX)?;
    let text = read.and_then(|read| String::from_utf8(read.content).ok());
    let Some(text) = text else { return Err(AppsError::NoSecret { path }) };
    let mode = durable::open_to_others(&path);
    match mode.map_err(|source| PlainError::Io { path: path.clone(), source })? {
        Some(mode) => Err(AppsError::OpenSecret { path, mode }),
        None => Ok(text.trim_end_matches('\n').to_owned()),
    }
}

/// The events that record what changes, by order of somebody or of the site.
fn events(
    Changes { policy, components }: &Changes,
    (done, by): (&str, Option<&str>),
    why: &str,
    at: Timestamp,
) -> Vec<Event> {
    let made = |action, words| match by {
        Some(by) => event_by(by, action, "apps", words, at),
        None => Event::site(action, "apps", words, at),
    };
    let policy = policy.iter().map(|PolicyChange { old, new }| {
        let mut event = made(action::COMPONENT_POLICY_SET, format!("images: {new}: {why}"));
        (event.old, event.new) = (Some(old.clone()), Some(new.clone()));
        event
    });
    let components = components.iter().map(|Change { component, old, new }| {
        let mut event = made(done, format!("{component}: {new} instead of {old}: {why}"));
        event.target = Some(component.clone());
        (event.old, event.new) = (Some(old.digest().to_owned()), Some(new.digest().to_owned()));
        event
    });
    policy.chain(components).collect()
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
    /// There is no secret of a name.
    #[error("there is no secret {}: write it there as text, in a file with mode 600", path.display())]
    NoSecret {
        /// Path of the file.
        path: PathBuf,
    },
    /// A secret cannot be read.
    #[error("cannot read a component's secret")]
    Secret(#[from] PlainError),
    /// Others can read a secret.
    #[error("other accounts can use the secret {} (mode {mode:o}): `chmod 600` it", path.display())]
    OpenSecret {
        /// Path of the file.
        path: PathBuf,
        /// Mode of the file.
        mode: u32,
    },
    /// Another deployment is not decided yet.
    #[error(
        "the deployment of leaf {leaf} is on trial: `sealwire app status` shows how it does, and \
         `sealwire app rollback` takes it back"
    )]
    OnTrial {
        /// The first leaf that records it.
        leaf: u64,
    },
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
            Self::Invalid(_)
            | Self::NoImage { .. }
            | Self::NoSecret { .. }
            | Self::Secret(_)
            | Self::OpenSecret { .. }
            | Self::NoChange
            | Self::OnTrial { .. }
            | Self::NothingDeployed => true,
            Self::Append(_)
            | Self::Read(_)
            | Self::Keep { .. }
            | Self::File { .. }
            | Self::Damaged { .. }
            | Self::Panicked(_) => false,
        }
    }
}
