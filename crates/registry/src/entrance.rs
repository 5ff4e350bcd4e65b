//! Who may do what with the registry.

use std::net::IpAddr;

use access::{Gate, Scope};
use axum::http::{HeaderMap, StatusCode};

use crate::refusal::Refusal;

/// Who may pull from a port of the registry.
#[derive(Clone, Debug)]
pub enum Readers {
    /// Anyone who reaches the port: it is that of this machine's host, on loopback.
    Anyone,
    /// Who has a token that allows to pull.
    WithToken(Gate),
}

impl Readers {
    /// Lets a caller read, or says why not.
    pub(crate) fn admit(&self, headers: &HeaderMap, address: IpAddr) -> Result<(), Refusal> {
        let Self::WithToken(gate) = self else { return Ok(()) };
        let token = gate.program(headers, address)?;
        if token.scope.contains(&Scope::Pull) {
            return Ok(());
        }
        let message = format!(
            "the token {} may not pull: `sealwire token create --scope pull` makes one that may",
            token.name.as_str()
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", message))
    }
}
