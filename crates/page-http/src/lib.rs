//! The page's port, in front of the components that make the page.
//!
//! [`PagePort`] is the port. [`PageHost`] names a host under which clients may reach it. [`Host`]
//! passes requests to the components.

mod host;
mod page_port;
mod visitors;

pub use host::{Host, WorkloadName};
pub use page_port::{FILES_MAX, PLACES, PagePort, no_room};
pub use visitors::{InvalidPageHost, PageHost};
