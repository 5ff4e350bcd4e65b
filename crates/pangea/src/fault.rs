//! Refusals of requests: Pangea's statuses, and the faults with their places.

use serde::Serialize;

/// How a request ended. The names are Pangea's; the SDKs choose an exception by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Status {
    /// The request succeeded.
    Success,
    /// The server accepted the request; the client must ask for the result later.
    Accepted,
    /// The request is invalid.
    ValidationError,
    /// The request has no token, or an unknown one.
    Unauthorized,
    /// The token does not permit this.
    Forbidden,
    /// The token has made too many requests.
    TooManyRequests,
    /// The named object does not exist.
    NotFound,
    /// The path does not support the request's method.
    MethodNotAllowed,
    /// The offset lies beyond the last result.
    BadOffset,
    /// The log does not have this tree yet.
    TreeNotFound,
    /// The request's body is too large.
    PayloadTooLarge,
    /// The request's body did not arrive in time.
    RequestTimeout,
    /// The server cannot do this now. It did nothing.
    ServiceNotAvailable,
    /// The server failed. The client is not at fault.
    InternalError,
}

/// Kind of a fault in a request. These are the contract's names that this server uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are the contract's and say it")]
pub enum Code {
    AboveMaxItems,
    AboveMaxLength,
    BadFormat,
    BadFormatBase64,
    BadFormatDateTime,
    BelowMinItems,
    ConfigNotExist,
    DoesNotExist,
    DoesNotMatchPattern,
    FieldRequired,
    InvalidArray,
    InvalidBool,
    InvalidConst,
    InvalidInteger,
    InvalidNull,
    InvalidNumber,
    InvalidObject,
    InvalidString,
    IsDependentOn,
    IsTooBig,
    IsTooSmall,
    MustProvideOne,
    MutuallyExclusive,
    NotEnumMember,
    UnexpectedProperty,
}

/// One fault of a request and its place.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{source_pointer}: {detail}")]
pub struct Fault {
    /// Kind of the fault.
    pub code: Code,
    /// What is wrong and what is allowed, for people.
    pub detail: String,
    /// Place of the fault: a JSON pointer into the request (RFC 6901).
    #[serde(rename = "source")]
    pub source_pointer: String,
}

impl Fault {
    /// A fault at the place `source`.
    #[must_use]
    pub fn new(code: Code, source: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), source_pointer: source.into() }
    }

    /// The same fault, with its pointer relative to the parent of the part at `place`.
    #[must_use]
    pub fn under(mut self, place: &str) -> Self {
        self.source_pointer.insert_str(0, place);
        self
    }
}

/// A request that was refused, or that failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{summary}")]
pub struct Refusal {
    /// How the request ended.
    pub status: Status,
    /// The reason, in one line for people.
    pub summary: String,
    /// The faults; empty if the request itself is not at fault.
    pub errors: Vec<Fault>,
}

impl Refusal {
    /// A refusal because of one part of the request.
    #[must_use]
    pub fn at(status: Status, fault: Fault) -> Self {
        Self { status, summary: fault.detail.clone(), errors: vec![fault] }
    }

    /// A refusal that no part of the request caused.
    #[must_use]
    pub fn plain(status: Status, summary: impl Into<String>) -> Self {
        Self { status, summary: summary.into(), errors: Vec::new() }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::at(Status::ValidationError, fault)
    }
}
