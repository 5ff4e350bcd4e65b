//! State of the connection to the message bus.

/// Whether the message bus is connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bus {
    /// Messages get through.
    Up,
    /// The connection is lost. Subscriptions return with it.
    Down,
}
