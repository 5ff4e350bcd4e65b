//! Identifies callers and decides what they may do.
//!
//! - The kernel identifies an [`Account`] of the machine. It gives orders, with [`Words`] of its
//!   own.
//! - [`ApiTokens`] allow programs to log and search, each within its [`Scope`].
//! - The [`AccessToken`] allows its bearer to read envelopes.
//! - A [`Gate`] lets people and programs from other machines in, each with a token.
//! - [`Hosts`] are the hosts on other machines that may run a site's workloads.
//! - [`sensors`] are the credentials with which devices speak on the message bus.

mod access_token;
mod account;
mod api_tokens;
mod bearer;
mod failures;
mod gate;
mod hosts;
pub mod sensors;
mod sessions;
mod signed_nonce;
mod words;

pub use access_token::{AccessToken, TokenError};
pub use account::{Account, own_uid};
pub use api_tokens::{
    ApiTokenError, ApiTokens, Effect, InvalidScope, InvalidTokenName, NkeyRefused, Revocation,
    Scope, TokenDescription, TokenName, path_in,
};
pub use bearer::{bearer, bearer_of};
pub use failures::{REFUSALS_PERIOD, Refused};
pub use gate::{Caller, Gate, Refusal};
pub use hosts::{HOST_TOKEN_PREFIX, Host, HostError, Hosts, hosts_path_in, token_of_host};
pub use sessions::SESSION_LIFETIME;
pub use words::{InvalidWords, Words};
