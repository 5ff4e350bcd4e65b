//! What runs where, for people and for what waits for the workloads.

use crate::{heartbeat::HostId, workload::InstanceId};

/// What runs where, as far as the reconciler knows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// The hosts.
    pub hosts: Vec<HostStanding>,
    /// The workloads that are wanted.
    pub workloads: Vec<WorkloadStanding>,
}

/// A host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostStanding {
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Whether it has answered the last question.
    pub answers: bool,
}

/// A workload that is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkloadStanding {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// The hosts that run it and answer.
    pub runs_on: Vec<HostId>,
    /// Whether as many run it as are to, or as there are.
    pub is_satisfied: bool,
    /// Why a host did not start it, in the host's words, or why it may not be started.
    pub trouble: Option<String>,
    /// Whether it may not be started.
    pub is_forbidden: bool,
}

impl Standing {
    /// Whether each workload runs somewhere, and there are any.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.runs(|_workload| true)
    }

    /// Whether each workload that is needed runs somewhere, and there are workloads.
    #[must_use]
    pub fn runs(&self, is_needed: impl Fn(&WorkloadStanding) -> bool) -> bool {
        let mut needed = self.workloads.iter().filter(|it| is_needed(it));
        !self.workloads.is_empty() && needed.all(|it| !it.runs_on.is_empty())
    }
}
