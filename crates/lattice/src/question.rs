//! What hosts are asked, and what comes of it.

use std::{sync::Arc, time::Duration};

use crate::{
    heartbeat::HostId,
    workload::{InstanceId, Workload},
};

/// Time that a host has to say how a workload is, and the bus to say anything.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// Time that a host has to start a workload. It pulls and compiles the components, which takes a
/// small machine many seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that a host has to stop a workload. It waits for calls that are under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Names a question, for its answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(crate) u64);

/// A question for the shell to ask. Whatever comes of it, the shell reports it once, within
/// [`patience`](Question::patience).
#[derive(Clone, Debug)]
pub struct Asked {
    /// Names the question.
    pub ticket: Ticket,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Whether the bus answers: that nobody hears this is an answer.
    Bus,
    /// How a workload is.
    Status(HostId, InstanceId),
    /// To start a workload, pulled from this registry.
    Start(HostId, InstanceId, Arc<Workload>, String),
    /// To stop a workload.
    Stop(HostId, InstanceId),
}

impl Question {
    /// Time to wait for the answer.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        match self {
            Self::Bus | Self::Status(..) => LOOK_TIMEOUT,
            Self::Start(..) => START_TIMEOUT,
            Self::Stop(..) => STOP_TIMEOUT,
        }
    }
}

/// What came of a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The host says how the workload is, in a word and in its own words.
    Is(State, String),
    /// The bus says that nobody hears the question.
    Nobody,
    /// Nothing, within the question's patience.
    Silence,
    /// The host was not asked: the workload may not be started, for this reason.
    Forbidden(String),
}

/// How a workload is on a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// The host does not have it.
    Absent,
    /// The host is starting it.
    Starting,
    /// It runs.
    Running,
    /// The host is stopping it.
    Stopping,
    /// It does not run, and the host keeps its id until it is told to stop it.
    Failed,
}
