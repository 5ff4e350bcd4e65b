//! Whether the message bus is there.

/// Whether messages get through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bus {
    /// They do.
    Up,
    /// The connection is gone; subscriptions come back with it.
    Down,
}
