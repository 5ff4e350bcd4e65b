//! Tickets of submissions that come through the gateway.
//!
//! The page's port knows by its token who hands something in. The gateway gets neither the token
//! nor a name, but a ticket, which is good for one submission. So whatever a component says, it can
//! hand in nothing in the name of an application that is not asking.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use access::TokenDescription;

/// The tickets that are out. Cheap to clone: the clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tickets(Arc<Mutex<HashMap<String, Holder>>>);

/// Whose submission comes with a ticket, and under which key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Holder {
    pub(super) token: TokenDescription,
    pub(super) key: Option<String>,
}

/// A ticket. It ends when it is dropped, if nothing was handed in with it before.
pub struct Ticket {
    tickets: Tickets,
    text: String,
}

impl Tickets {
    pub(super) fn give(&self, holder: Holder) -> Ticket {
        let chance: [u8; 16] = rand::random();
        let text = hex::encode(chance);
        self.locked().insert(text.clone(), holder);
        Ticket { tickets: self.clone(), text }
    }

    /// Takes a ticket back. `None` if there is no such ticket, or it was taken before.
    pub(super) fn take(&self, text: &str) -> Option<Holder> {
        self.locked().remove(text)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The ticket as text: hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Ticket {
    /// Omits the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.take(&self.text);
    }
}

#[cfg(test)]
mod tests {
    use access::Scope;
    use model::Timestamp;

    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_while_somebody_waits() {
        let tickets = Tickets::default();
        let token = TokenDescription {
            name: "shop".parse().unwrap(),
            scope: vec![Scope::Write],
            log: None,
            nkey: None,
            created_at: Timestamp::from_unix_micros(0),
        };
        let holder = Holder { token, key: Some(String::from("k")) };
        let ticket = tickets.give(holder.clone());
        assert_ne!(ticket.as_str(), tickets.give(holder.clone()).as_str());
        assert_eq!(tickets.take("other"), None);
        assert_eq!(tickets.take(ticket.as_str()), Some(holder.clone()));
        assert_eq!(tickets.take(ticket.as_str()), None);
        let gone = tickets.give(holder);
        let text = gone.as_str().to_owned();
        drop(gone);
        assert_eq!(tickets.take(&text), None);
    }
}
