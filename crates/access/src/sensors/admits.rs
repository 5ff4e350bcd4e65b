//! Whom a site lets in without a credential.

use crate::sensors::book::Book;

/// Whom a site lets in without a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admits {
    /// Every device, although there may be credentials.
    Anyone,
    /// Every device while there are no credentials.
    AnyoneAtFirst,
    /// Nobody: other machines reach the site.
    NobodyElse,
}

impl Admits {
    /// Whether a device without a credential is let in where these credentials are.
    #[must_use]
    pub fn anyone(self, book: &Book) -> bool {
        match self {
            Self::Anyone => true,
            Self::AnyoneAtFirst => book.is_empty(),
            Self::NobodyElse => false,
        }
    }
}
