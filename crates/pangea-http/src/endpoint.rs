//! The endpoints: path, method, required scope, and largest body.

use access::Scope;
use axum::http::Method;
use model::Envelope;

use crate::bodies::EVENTS_BODY_BYTES_MAX;

/// Largest body without events in bytes: a search restricted to a thousand values of a hundred
/// characters.
const BODY_BYTES_MAX: usize = 256 << 10;

/// An endpoint of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint<'a> {
    Log,
    LogBulk,
    LogAsync,
    LogStream,
    Request(&'a str),
    Search,
    Results,
    Root,
    Schema,
    Export,
    DownloadResults,
}

impl<'a> Endpoint<'a> {
    /// The endpoint at a path.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/v1/log" => Self::Log,
            "/v2/log" => Self::LogBulk,
            "/v2/log_async" => Self::LogAsync,
            "/v1/log_stream" => Self::LogStream,
            "/v1/search" => Self::Search,
            "/v1/results" => Self::Results,
            "/v1/root" => Self::Root,
            "/v1/schema" => Self::Schema,
            "/v1/export" => Self::Export,
            "/v1/download_results" => Self::DownloadResults,
            _ => Self::Request(path.strip_prefix("/request/")?),
        })
    }

    pub(crate) const fn method(self) -> Method {
        if matches!(self, Self::Request(_)) { Method::GET } else { Method::POST }
    }

    /// Whether a token of this scope may use the endpoint. A client that logs may ask for the
    /// results of its requests, and every client may ask for the schema.
    pub(crate) fn is_allowed(self, scope: &[Scope]) -> bool {
        match self {
            Self::Log | Self::LogBulk | Self::LogAsync | Self::LogStream => {
                scope.contains(&Scope::Write)
            }
            Self::Request(_) | Self::Schema => true,
            Self::Search | Self::Results | Self::Root | Self::Export | Self::DownloadResults => {
                scope.contains(&Scope::Read)
            }
        }
    }

    /// Whether the endpoint seals what the client sent. It then stays sealed, whatever the answer
    /// is.
    pub(crate) const fn seals(self) -> bool {
        matches!(self, Self::Log | Self::LogBulk | Self::LogAsync | Self::LogStream)
    }

    /// Largest body in bytes.
    pub(crate) const fn body_bytes_max(self) -> usize {
        match self {
            Self::LogBulk | Self::LogAsync | Self::LogStream => EVENTS_BODY_BYTES_MAX,
            // The contract's fields fit even if every character is escaped in twelve bytes. Custom
            // fields may fit only without escapes.
            Self::Log => Envelope::BYTES_MAX,
            _ => BODY_BYTES_MAX,
        }
    }
}
