//! Who is it, and what may they do.
//!
//! - An [`Account`] of the machine is known by the kernel's word; it gives orders, in [`Words`] of
//!   its own.
//! - [`ApiTokens`] let programs log and search, each with its [`Scope`].
//! - The [`AccessToken`] lets its bearer read envelopes.

mod access_token;
mod account;
mod api_tokens;
mod bearer;
mod words;

pub use access_token::{AccessToken, TokenError};
pub use account::{Account, own_uid};
pub use api_tokens::{
    ApiTokenError, ApiTokens, Effect, InvalidScope, InvalidTokenName, Revocation, Scope,
    TokenDescription, TokenName, path_in,
};
pub use bearer::bearer;
pub use words::{InvalidWords, Words};
