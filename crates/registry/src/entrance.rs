//! Who may do what with the registry.

use std::net::IpAddr;

use access::{Gate, HOST_TOKEN_PREFIX, Scope, TokenDescription};
use axum::http::{HeaderMap, StatusCode, header};

use crate::refusal::Refusal;

/// Who may pull from a port of the registry. To push and to delete, a token with the scope
/// `publish` is needed on each port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readers {
    /// This machine's host, and whoever else reaches its port, which is on loopback.
    OwnHost,
    /// Who has a token that allows to pull or to publish.
    WithToken,
}

/// What a caller may pull.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    /// Everything.
    All,
    /// What the site wants hosts to run, by digest.
    Wanted,
}

impl Readers {
    /// Lets a caller pull, and says what, or why not.
    pub(crate) fn admit(
        self,
        gate: &Gate,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Reach, Refusal> {
        if self == Self::OwnHost {
            return Ok(Reach::Wanted);
        }
        let token = gate.program(headers, address)?;
        if !token.scope.contains(&Scope::Pull) && !token.scope.contains(&Scope::Publish) {
            return Err(may_not(&token, "pull"));
        }
        let is_host = token.name.as_str().starts_with(HOST_TOKEN_PREFIX);
        Ok(if is_host { Reach::Wanted } else { Reach::All })
    }
}

/// The token of a caller who may publish.
pub(crate) fn publisher(
    gate: &Gate,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<TokenDescription, Refusal> {
    // A browser adds a password that it remembers to what another site's page sends, and says so.
    if headers.contains_key(header::ORIGIN) {
        let words = "no web page may publish";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", words));
    }
    let token = gate.program(headers, address)?;
    if token.scope.contains(&Scope::Publish) { Ok(token) } else { Err(may_not(&token, "publish")) }
}

fn may_not(token: &TokenDescription, what: &str) -> Refusal {
    let message = format!(
        "the token {} may not {what}: `sealwire token create --scope {what}` makes one that may",
        token.name.as_str()
    );
    Refusal::new(StatusCode::FORBIDDEN, "DENIED", message)
}
