//! The certificate that a site shows on its ports.
//!
//! - An [`Authority`] of the site's own makes and renews it, or the operator names files of another
//!   one: see [`Source`].
//! - [`Identity`] is a certificate with its key, as it was read.
//! - [`Keeping`] reads the files again while the site runs. [`Served`] is what the ports show now.
//!
//! This is apart from the certificates by which a site and its hosts know each other, which last
//! for one run.

mod authority;
mod host_name;
mod identity;
mod keeping;
mod served;

pub use authority::{Authority, AuthorityError, FOLDER, own_identity};
pub use host_name::{HostName, InvalidHostName};
pub use identity::{Identity, IdentityError};
pub use keeping::{Health, Keeping, Source};
pub use served::Served;
