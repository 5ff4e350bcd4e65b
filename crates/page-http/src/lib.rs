//! The page's port, in front of the components that make the page.
//!
//! [`PagePort`] is the port. [`PageHost`] names a host under which clients may reach it. [`Host`]
//! passes requests to the components. [`Entrance`] lets people and programs of other machines in.
//! [`polling`](fn@polling) takes orders about the polls of sensors, and [`Events`] what
//! applications hand in.

mod body;
mod events;
mod host;
mod page_port;
mod polling;
mod sign_in;
mod visitors;

pub use events::Events;
pub use host::{Host, ProbeError, WorkloadName};
pub use page_port::{FILES_MAX, PLACES, PagePort, no_room};
pub use polling::polling;
pub use sign_in::Entrance;
pub use visitors::{InvalidPageHost, PageHost};
