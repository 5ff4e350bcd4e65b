//! Error answers in the form of the distribution specification.

use std::{error::Error, fmt, io};

use access::REFUSALS_PERIOD;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use durable::disk;
use model::error_chain;
use serde_json::json;
use tracing::warn;

use crate::{
    limits::BLOB_BYTES_MAX,
    manifest::InvalidManifest,
    name::{Digest, InvalidName, OWN, Reference, Repository, UploadId},
    target::NoTarget,
};

/// An error answer. `message` says what was wrong and what is allowed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Code of the specification.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// There is no such thing.
    pub(crate) fn unknown(code: &'static str, what: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, format!("there is no {what}"))
    }

    /// There is such a thing, but not this method for it.
    pub(crate) fn method(allowed: &str) -> Self {
        let message = format!("this path takes {allowed} alone");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub(crate) fn no_repository(repository: &Repository) -> Self {
        Self::unknown("NAME_UNKNOWN", format_args!("repository {repository}"))
    }

    pub(crate) fn no_manifest(repository: &Repository, reference: &Reference) -> Self {
        Self::unknown("MANIFEST_UNKNOWN", format_args!("manifest {reference} in {repository}"))
    }

    pub(crate) fn no_blob(repository: &Repository, digest: &Digest) -> Self {
        Self::unknown("BLOB_UNKNOWN", format_args!("blob {digest} in {repository}"))
    }

    pub(crate) fn no_upload(id: &UploadId) -> Self {
        Self::unknown("BLOB_UPLOAD_UNKNOWN", format_args!("upload {id} of yours: begin again"))
    }

    /// Another request continues the upload at this moment.
    pub(crate) fn busy(id: &UploadId) -> Self {
        let words = format!("another request is sending to the upload {id}");
        Self::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", words)
    }

    /// A chunk does not begin where the upload ends.
    pub(crate) fn out_of_order(len: u64) -> Self {
        let words = format!("the upload has {len} bytes, so the next chunk begins at {len}");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", words)
    }

    /// Content has another digest than it should.
    pub(crate) fn digest(named: &Digest, received: &Digest) -> Self {
        let words = format!("what was received is {received}, not {named}");
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", words)
    }

    /// A manifest says another size than its content has.
    pub(crate) fn size(digest: &Digest, said: u64, here: u64) -> Self {
        let words = format!("the manifest says that {digest} has {said} bytes, but it has {here}");
        Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", words)
    }

    /// A manifest needs what nobody has sent.
    pub(crate) fn not_here(repository: &Repository, digest: &Digest) -> Self {
        let words = format!("the manifest needs {digest}, which {repository} does not have");
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", words)
    }

    /// Content may not be deleted.
    pub(crate) fn needed(digest: &Digest, user: &Repository) -> Self {
        let words = format!("a manifest of {user} needs {digest}: delete the manifest first");
        Self::new(StatusCode::CONFLICT, "DENIED", words)
    }

    /// Nobody publishes into the site's own repositories.
    pub(crate) fn own() -> Self {
        let words = format!("{OWN} has the site's own components: choose another name");
        Self::new(StatusCode::FORBIDDEN, "DENIED", words)
    }

    /// Hosts pull nothing else than what they are to run.
    pub(crate) fn not_wanted() -> Self {
        let words = "hosts pull what the site wants them to run, by its digest, and nothing else";
        Self::new(StatusCode::FORBIDDEN, "DENIED", words)
    }

    pub(crate) fn too_large() -> Self {
        let words = format!("a blob has at most {BLOB_BYTES_MAX} bytes, and a manifest 4 MiB");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", words)
    }

    pub(crate) fn too_many(words: String) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", words)
    }

    /// There is no room.
    pub(crate) fn full(words: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "DENIED", words)
    }

    /// The disk failed.
    pub(crate) fn disk(error: &io::Error) -> Self {
        if disk::is_full(error) {
            return Self::full("the site's disk is full: nothing was published");
        }
        Self::internal(error)
    }

    pub(crate) fn not_sealed(error: &dyn Error) -> Self {
        warn!(error = error_chain(error), "the log did not seal what a publisher did");
        let words = "the log did not seal this, so nothing has changed: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNSUPPORTED", words)
    }

    /// Something failed that the client cannot change.
    pub(crate) fn internal(error: &dyn Error) -> Self {
        warn!(error = error_chain(error), "the registry failed");
        let words = "the registry failed: its site's own log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNSUPPORTED", words)
    }
}

impl From<InvalidName> for Refusal {
    fn from(error: InvalidName) -> Self {
        let code = match error {
            InvalidName::Repository => "NAME_INVALID",
            InvalidName::Tag => "MANIFEST_INVALID",
            InvalidName::Digest => "DIGEST_INVALID",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<NoTarget> for Refusal {
    fn from(error: NoTarget) -> Self {
        match error {
            NoTarget::Path => Self::unknown("UNSUPPORTED", "such path in a registry"),
            NoTarget::Name(error) => error.into(),
            NoTarget::Upload => Self::unknown("BLOB_UPLOAD_UNKNOWN", "such upload"),
        }
    }
}

impl From<InvalidManifest> for Refusal {
    fn from(error: InvalidManifest) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", error.to_string())
    }
}

/// Why a caller may not come in. The status tells a client to come again with a token.
impl From<access::Refusal> for Refusal {
    fn from(refusal: access::Refusal) -> Self {
        let (status, code, message) = match refusal {
            access::Refusal::Unknown => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "send an API token, as the password of any user or as a bearer token",
            ),
            access::Refusal::Wrong | access::Refusal::Full => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "there is no such API token: `sealwire token create` makes one",
            ),
            access::Refusal::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "TOOMANYREQUESTS",
                "too many wrong tokens came from this network: try again in a minute",
            ),
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let errors = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let mut answer = (self.status, headers, errors.to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"sealwire\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            answer.headers_mut().insert(header::RETRY_AFTER, REFUSALS_PERIOD.as_secs().into());
        }
        answer
    }
}

/// The answer to a client when the registry has no room for it.
#[must_use]
pub fn no_room() -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Refusal::new(status, "TOOMANYREQUESTS", http_server::NO_ROOM).into_response()
}
