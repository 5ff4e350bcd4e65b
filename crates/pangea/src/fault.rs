//! What is said of a request that is not answered: Pangea's statuses, and what is wrong at which
//! place.

use serde::Serialize;

/// How a request ended. The names are Pangea's: the SDKs choose the exception by them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Status {
    /// Done.
    Success,
    /// Taken; to be asked for later.
    Accepted,
    /// The request does not say what it must.
    ValidationError,
    /// No token, or none that is known.
    Unauthorized,
    /// The token does not allow this.
    Forbidden,
    /// More requests than a token may make.
    TooManyRequests,
    /// There is no such thing.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// Results behind the last.
    BadOffset,
    /// A tree that the log does not have yet.
    TreeNotFound,
    /// The body is larger than what is taken.
    PayloadTooLarge,
    /// The body did not come in time.
    RequestTimeout,
    /// Cannot be done now; nothing was done.
    ServiceNotAvailable,
    /// Something failed that is not the client's fault.
    InternalError,
}

/// What is wrong with a part of a request; of the contract's names, those that are used.
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

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{source_pointer}: {detail}")]
pub struct Fault {
    /// What kind of thing.
    pub code: Code,
    /// What is wrong and what is allowed, for people.
    pub detail: String,
    /// Where: a JSON pointer into the request.
    #[serde(rename = "source")]
    pub source_pointer: String,
}

impl Fault {
    /// Something wrong at a place.
    #[must_use]
    pub fn new(code: Code, source: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), source_pointer: source.into() }
    }

    /// The same, seen from whoever holds the part at `place`.
    #[must_use]
    pub fn under(mut self, place: &str) -> Self {
        self.source_pointer.insert_str(0, place);
        self
    }
}

/// A request that is refused, or that failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{summary}")]
pub struct Refusal {
    /// How it ended.
    pub status: Status,
    /// Why, in a line for people.
    pub summary: String,
    /// What is wrong where; only where the request itself is at fault.
    pub errors: Vec<Fault>,
}

impl Refusal {
    /// A refusal for what a part of the request says.
    #[must_use]
    pub fn at(status: Status, fault: Fault) -> Self {
        Self { status, summary: fault.detail.clone(), errors: vec![fault] }
    }

    /// A refusal that is not about any part of the request.
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
