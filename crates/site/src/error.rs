//! Why a site does not start or has stopped.

use std::{error::Error, fmt, io};

use registry::BindError;

use crate::ports::PortError;

/// Why a site does not start or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// A fault in the data directory. `sealwire doctor` reports the same.
    #[error(transparent)]
    Folder(Cause),
    /// A fault of the machine: an engine, a port, or a component that this program was built
    /// without.
    #[error(transparent)]
    Machine(Cause),
    /// A service ended that must run for as long as the site.
    #[error(transparent)]
    Service(ServiceEnded),
}

/// The underlying error.
pub type Cause = Box<dyn Error + Send + Sync>;

impl UpError {
    pub(crate) fn folder(cause: impl Into<Cause>) -> Self {
        Self::Folder(cause.into())
    }

    pub(crate) fn machine(cause: impl Into<Cause>) -> Self {
        Self::Machine(cause.into())
    }
}

/// Why there is no registry.
pub(crate) fn no_registry(error: BindError) -> UpError {
    match error {
        BindError::Store(damaged) => UpError::folder(damaged),
        BindError::Port(_) => UpError::machine(error),
    }
}

impl From<PortError> for UpError {
    fn from(error: PortError) -> Self {
        Self::machine(error)
    }
}

/// A service ended without a request to stop.
#[derive(Debug)]
pub struct ServiceEnded {
    /// Name of the service.
    pub(crate) name: &'static str,
    /// Its error, if it gave one.
    pub(crate) why: Option<Cause>,
}

impl fmt::Display for ServiceEnded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Some(_) => write!(formatter, "{} failed", self.name),
            None => write!(formatter, "{} ended unexpectedly", self.name),
        }
    }
}

impl Error for ServiceEnded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.as_deref().map(|why| why as &(dyn Error + 'static))
    }
}

/// This binary was built without a component.
#[derive(Debug, thiserror::Error)]
#[error(
    "this sealwire was built without the component `{0}`: build sealwire with `cargo xtask build`"
)]
pub(crate) struct ComponentMissing(pub(crate) &'static str);

/// Simulated sensors are to be let in where devices need credentials.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "this site asks devices for credentials, and simulated sensors have none: start it without \
     --simulate, or on loopback with --open"
)]
pub(crate) struct SimulatedHaveNone;

/// An engine cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {name}")]
pub(crate) struct EngineError {
    pub(crate) name: &'static str,
    pub(crate) source: io::Error,
}

/// An input or output failed. `what` names it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct IoFailure {
    pub(crate) what: &'static str,
    pub(crate) source: io::Error,
}

impl IoFailure {
    /// Makes a function for `map_err`.
    pub(crate) fn of(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self { what, source }
    }
}
