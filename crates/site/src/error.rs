//! Why a site does not run.

use std::{error::Error, fmt, io};

use crate::ports::PortInUse;

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// Something in the data directory keeps it from starting. `sealwire doctor` says the same.
    #[error(transparent)]
    Folder(Cause),
    /// Something of the machine keeps it from starting: an engine, a port, a component that this
    /// program was built without.
    #[error(transparent)]
    Machine(Cause),
    /// Something that must run for as long as the site does has ended.
    #[error(transparent)]
    Service(ServiceEnded),
}

/// What is behind it.
pub type Cause = Box<dyn Error + Send + Sync>;

impl UpError {
    pub(crate) fn folder(cause: impl Into<Cause>) -> Self {
        Self::Folder(cause.into())
    }

    pub(crate) fn machine(cause: impl Into<Cause>) -> Self {
        Self::Machine(cause.into())
    }
}

impl From<PortInUse> for UpError {
    fn from(in_use: PortInUse) -> Self {
        Self::machine(in_use)
    }
}

/// A service ended although nobody asked it to.
#[derive(Debug)]
pub struct ServiceEnded {
    /// Which.
    pub(crate) name: &'static str,
    /// Why, where it says so.
    pub(crate) why: Option<Cause>,
}

impl fmt::Display for ServiceEnded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Some(_) => write!(formatter, "{} failed", self.name),
            None => write!(formatter, "{} has ended by itself", self.name),
        }
    }
}

impl Error for ServiceEnded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.as_deref().map(|why| why as &(dyn Error + 'static))
    }
}

/// The binary was built without a component.
#[derive(Debug, thiserror::Error)]
#[error("this sealwire was built without the component `{0}`: build it with `cargo xtask build`")]
pub(crate) struct ComponentMissing(pub(crate) &'static str);

/// An engine cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be started")]
pub(crate) struct EngineError {
    pub(crate) name: &'static str,
    pub(crate) source: io::Error,
}

/// An input or output failed, in words that say which.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct IoFailure {
    pub(crate) what: &'static str,
    pub(crate) source: io::Error,
}

impl IoFailure {
    /// To be mapped over an error.
    pub(crate) fn of(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self { what, source }
    }
}
