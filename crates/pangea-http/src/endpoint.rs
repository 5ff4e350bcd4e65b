//! What can be asked: by which path and method, with which token, in how large a body.

use access::Scope;
use axum::http::Method;
use model::Envelope;

use crate::bodies::EVENTS_BODY_BYTES_MAX;

/// Bytes of a body without events: a search restricted to a thousand values of a hundred
/// characters.
const BODY_BYTES_MAX: usize = 256 << 10;

/// What can be asked.
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
    /// What is asked at a path.
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

    /// Whether a token of this scope may ask it. A client that logged may ask what became of its
    /// events, and each client what the log's schema is.
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

    /// Whether it seals what the client sent, which stays sealed whatever is answered.
    pub(crate) const fn seals(self) -> bool {
        matches!(self, Self::Log | Self::LogBulk | Self::LogAsync | Self::LogStream)
    }

    /// Bytes of its body.
    pub(crate) const fn body_bytes_max(self) -> usize {
        match self {
            Self::LogBulk | Self::LogAsync | Self::LogStream => EVENTS_BODY_BYTES_MAX,
            // The contract's fields fit, even if every character comes escaped, in twelve bytes.
            // Custom fields may have to come unescaped.
            Self::Log => Envelope::BYTES_MAX,
            _ => BODY_BYTES_MAX,
        }
    }
}
