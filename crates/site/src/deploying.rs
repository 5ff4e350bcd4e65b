//! Between what operators deploy and the reconciler that has it run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use lattice::{Check, Deployment, Standing, desired::BuiltIn, policy::Policy};
use ledger::Ledger;
use orders::{
    Apps,
    apps::{self, AppsError},
};
use registry::Registry;
use services::{
    cosigning::WatchWitnessed, pipeline::Digests, sealing::ToSeal, testing::OnProbation,
};
use tokio::sync::{mpsc, watch};

use crate::{admission::Admission, workloads::ANSWERING};

/// Where it is told that a component may not be started: the log, and how often.
type Tells = (mpsc::WeakSender<ToSeal>, Arc<AtomicU64>);

/// What the site's services hear about what is deployed.
pub(crate) struct Deploying {
    /// Says what of that may be started.
    pub(crate) check: Check,
    /// What is wanted.
    pub(crate) wanted: watch::Receiver<Vec<Deployment>>,
    /// Where the reconciler tells what runs.
    pub(crate) standing: watch::Sender<Standing>,
    /// The digests of each component whose answers are taken.
    accepted: BTreeMap<&'static str, watch::Receiver<Digests>>,
    /// Which version of each component is on probation.
    probations: BTreeMap<&'static str, OnProbation>,
}

impl Deploying {
    /// Opens what was deployed in a data directory, for operators and for the services. `witnessed`
    /// is what witnesses have signed, if the site has a policy about them.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub(crate) fn open(
        data_dir: PathBuf,
        (ledger, registry): (Ledger, Registry),
        built_in: BuiltIn,
        (witnessed, (events, forbidden)): (Option<WatchWitnessed>, Tells),
    ) -> Result<(Apps, Self), AppsError> {
        let (want, wanted) = watch::channel(Vec::new());
        let (demand, policy) = watch::channel(Policy::closed());
        let admission = Admission {
            registry: registry.clone(),
            ledger: ledger.clone(),
            policy,
            wanted: wanted.clone(),
            witnessed,
            events,
            forbidden,
            refusals: Mutex::default(),
        };
        let (standing, watch_standing) = watch::channel(Standing::default());
        let channels = ANSWERING.map(|name| (name, watch::channel(Digests::new())));
        let (mut tell_accepted, mut accepted) = (BTreeMap::new(), BTreeMap::new());
        for (name, (tell, hear)) in channels {
            tell_accepted.insert(name.to_owned(), tell);
            accepted.insert(name, hear);
        }
        let apps = Apps::open(apps::Parts {
            data_dir,
            ledger,
            built_in,
            has_image: Box::new(move |image| registry.has(image)),
            policy: demand,
            wanted: want,
            accepted: tell_accepted,
            standing: watch_standing,
        })?;
        let probations = ANSWERING.map(|name| (name, OnProbation::default())).into();
        Ok((apps, Self { check: admission.check(), wanted, standing, accepted, probations }))
    }

    /// The digests of this component whose answers are taken. `component` is one of
    /// [`ANSWERING`].
    pub(crate) fn accepted(&self, component: &str) -> watch::Receiver<Digests> {
        self.accepted.get(component).expect("it is a component that answers").clone()
    }

    /// The same of all components that answer.
    pub(crate) fn probations(&self) -> BTreeMap<&'static str, OnProbation> {
        self.probations.clone()
    }

    /// Which version of this component is on probation. `component` is one of [`ANSWERING`].
    pub(crate) fn probation(&self, component: &str) -> OnProbation {
        self.probations.get(component).expect("it is a component that answers").clone()
    }
}
