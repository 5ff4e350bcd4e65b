//! The connections that were let in, by the server's number of them. No IO.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use access::{
    TokenDescription, TokenName,
    sensors::{Book, CredentialName},
};

use super::callout::Account;

/// Who has a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Guest {
    /// A device without credentials.
    Anyone,
    /// The device of a credential.
    With {
        /// Name of the credential.
        name: CredentialName,
        /// The public key that it showed, or that belongs to its password.
        nkey: String,
        /// Its MQTT client id; empty for NATS, and if it has none.
        client_id: String,
    },
    /// The application of a token.
    Application(TokenDescription),
}

impl Guest {
    /// The account in which its connection is.
    pub(super) const fn account(&self) -> Account {
        match self {
            Self::Anyone | Self::With { .. } => Account::Devices,
            Self::Application(_) => Account::Applications,
        }
    }

    fn holder(&self) -> Option<Holder> {
        match self {
            Self::Anyone => None,
            Self::With { name, .. } => Some(Holder::Credential(name.clone())),
            Self::Application(token) => Some(Holder::Token(token.name.clone())),
        }
    }
}

/// Whose a connection is that was let in with something. A credential and a token may have the same
/// name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Holder {
    Credential(CredentialName),
    Token(TokenName),
}

impl Holder {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Credential(name) => name.as_str(),
            Self::Token(name) => name.as_str(),
        }
    }
}

/// The connections that were let in and have not ended.
#[derive(Debug, Default)]
pub(super) struct Guests {
    guests: BTreeMap<u64, (Guest, Option<Holder>)>,
    /// Those that are to be closed, each with the number of orders to close it that may still
    /// follow.
    to_close: BTreeMap<u64, u8>,
    /// Those with a credential and an MQTT client id, by that id: the credential, and how many
    /// connections have it. A device that comes back before its old connection ended has two.
    client_ids: HashMap<String, (CredentialName, usize)>,
    /// The connections of each credential and token.
    of_holder: HashMap<Holder, BTreeSet<u64>>,
    /// Those with a credential or token whose connection has ended, the newest last.
    ended: VecDeque<(u64, Holder)>,
}

impl Guests {
    /// Most connections that are remembered: twice as many as the server lets in, because the end
    /// of one may be missed while the site has no connection.
    const MAX: usize = 2 * 65_536;
    /// How often the server is told again to close a connection. If its end was missed, nobody says
    /// that it has ended.
    const TOLD_AGAIN_MAX: u8 = 10;
    /// Most connections of one credential: one for each sensor that it may cover, and the one that
    /// this replaces. The same of one token. So nobody takes all of the server's with one of them.
    pub(super) const OF_HOLDER_MAX: usize = 2 * Book::SENSORS_OF_CREDENTIAL_MAX;
    /// Most ended connections whose holder is remembered: until the server's log says why they
    /// ended, which is a matter of milliseconds.
    const ENDED_MAX: usize = 1_024;

    /// Remembers a connection. If there are too many, forgets the oldest and returns its number:
    /// close it, because it could not be closed later.
    ///
    /// Ask [`Guests::is_used_by_another`] first.
    pub(super) fn enter(&mut self, connection: u64, guest: Guest) -> Option<u64> {
        self.leave(connection);
        let holder = guest.holder();
        if let Some(holder) = &holder {
            self.of_holder.entry(holder.clone()).or_default().insert(connection);
        }
        if let Guest::With { name, client_id, .. } = &guest
            && !client_id.is_empty()
        {
            let nobody = || (name.clone(), 0);
            self.client_ids.entry(client_id.clone()).or_insert_with(nobody).1 += 1;
        }
        self.guests.insert(connection, (guest, holder));
        if self.guests.len() <= Self::MAX {
            return None;
        }
        let oldest = *self.guests.first_key_value()?.0;
        self.leave(oldest);
        self.to_close.insert(oldest, Self::TOLD_AGAIN_MAX);
        Some(oldest)
    }

    /// The oldest connection of a holder that has more than it may: close it.
    pub(super) fn one_too_many(&self, holder: &Holder) -> Option<u64> {
        let connections = self.of_holder.get(holder)?;
        let has_too_many = connections.len() > Self::OF_HOLDER_MAX;
        connections.first().copied().filter(|_oldest| has_too_many)
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&mut self, connection: u64) {
        self.to_close.remove(&connection);
        let Some((guest, holder)) = self.guests.remove(&connection) else { return };
        self.release(connection, &guest, holder.as_ref());
        if let Some(holder) = holder {
            if self.ended.len() == Self::ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back((connection, holder));
        }
    }

    /// Who has this connection.
    pub(super) fn of(&self, connection: u64) -> Option<&Guest> {
        self.guests.get(&connection).map(|(guest, _holder)| guest)
    }

    /// Whose this connection is, or was until a moment ago.
    pub(super) fn holder_of(&self, connection: u64) -> Option<&Holder> {
        if let Some((_guest, holder)) = self.guests.get(&connection) {
            return holder.as_ref();
        }
        let ended = self.ended.iter().rev().find(|(ended, _holder)| *ended == connection);
        ended.map(|(_connection, holder)| holder)
    }

    /// Whether the device of another credential has this MQTT client id.
    pub(super) fn is_used_by_another(&self, id: &str, credential: &CredentialName) -> bool {
        self.client_ids.get(id).is_some_and(|(name, _connections)| name != credential)
    }

    /// Takes out the connections of those guests, and returns their numbers: close them.
    pub(super) fn take_those(&mut self, are_meant: impl Fn(&Guest) -> bool) -> Vec<u64> {
        let are_meant = |_connection: &u64, (guest, _holder): &mut (Guest, _)| are_meant(guest);
        let taken: Vec<(u64, (Guest, Option<Holder>))> =
            self.guests.extract_if(.., are_meant).collect();
        for (connection, (guest, holder)) in &taken {
            self.release(*connection, guest, holder.as_ref());
            self.to_close.insert(*connection, Self::TOLD_AGAIN_MAX);
        }
        taken.into_iter().map(|(connection, _guest)| connection).collect()
    }

    /// The connections that are to be closed and have not ended yet. Call it once a second.
    pub(super) fn not_closed_yet(&mut self) -> Vec<u64> {
        let open = self.to_close.keys().copied().collect();
        self.to_close.retain(|_connection, more| {
            *more -= 1;
            *more > 0
        });
        open
    }

    fn release(&mut self, connection: u64, guest: &Guest, holder: Option<&Holder>) {
        if let Some(holder) = holder
            && let Some(connections) = self.of_holder.get_mut(holder)
        {
            connections.remove(&connection);
            if connections.is_empty() {
                self.of_holder.remove(holder);
            }
        }
        let Guest::With { client_id, .. } = guest else { return };
        if let Some((_name, connections)) = self.client_ids.get_mut(client_id) {
            *connections -= 1;
            if *connections == 0 {
                self.client_ids.remove(client_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, client_id: &str) -> Guest {
        let name = name.parse().unwrap();
        Guest::With { name, nkey: String::from("U"), client_id: client_id.to_owned() }
    }

    #[test]
    fn a_client_id_is_one_credentials_while_it_is_connected() {
        let mut guests = Guests::default();
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        guests.enter(1, with("a", "pico"));
        guests.enter(2, with("a", ""));
        assert!(guests.is_used_by_another("pico", &b) && !guests.is_used_by_another("pico", &a));
        assert!(!guests.is_used_by_another("", &b) && !guests.is_used_by_another("other", &b));
        guests.enter(3, with("a", "pico"));
        guests.leave(1);
        guests.leave(1);
        assert!(guests.is_used_by_another("pico", &b), "its new connection is there");
        assert_eq!(guests.take_those(|guest| *guest == with("a", "pico")), [3]);
        assert!(!guests.is_used_by_another("pico", &b));
    }

    #[test]
    fn a_connection_is_to_be_closed_until_it_has_ended() {
        let mut guests = Guests::default();
        for connection in 1..=3 {
            assert_eq!(guests.enter(connection, with("a", "")), None);
        }
        assert!(guests.not_closed_yet().is_empty());
        assert_eq!(guests.take_those(|_guest| true), [1, 2, 3]);
        guests.leave(2);
        for _ in 0..Guests::TOLD_AGAIN_MAX {
            assert_eq!(guests.not_closed_yet(), [1, 3]);
        }
        assert!(guests.not_closed_yet().is_empty(), "their ends were missed");
    }

    #[test]
    fn it_is_known_for_a_while_whose_connection_has_ended() {
        let mut guests = Guests::default();
        for connection in 0..2 * Guests::ENDED_MAX as u64 {
            guests.enter(connection, with("a", ""));
            assert_eq!(guests.holder_of(connection).unwrap().name(), "a");
            guests.leave(connection);
            assert_eq!(guests.holder_of(connection).unwrap().name(), "a");
        }
        assert_eq!((guests.holder_of(0), guests.ended.len()), (None, Guests::ENDED_MAX));
        guests.enter(1, Guest::Anyone);
        assert_eq!(guests.holder_of(1), None);
    }

    #[test]
    fn a_credential_has_a_number_of_connections_and_the_newest_stay() {
        let mut guests = Guests::default();
        let [a, b] = ["a", "b"].map(|name| Holder::Credential(name.parse().unwrap()));
        for connection in 0..Guests::OF_HOLDER_MAX as u64 {
            guests.enter(connection, with("a", ""));
            assert_eq!(guests.one_too_many(&a), None);
        }
        guests.enter(u64::MAX, with("a", ""));
        assert_eq!((guests.one_too_many(&a), guests.one_too_many(&b)), (Some(0), None));
        let token = Holder::Token("a".parse().unwrap());
        assert_eq!(guests.one_too_many(&token), None, "another's that has the name");
        guests.leave(7);
        assert_eq!(guests.one_too_many(&a), None);
        guests.take_those(|_guest| true);
        assert_eq!(guests.of_holder.len(), 0);
    }

    #[test]
    fn no_connection_that_is_forgotten_stays_open() {
        let mut guests = Guests::default();
        for connection in 0..Guests::MAX as u64 {
            assert_eq!(guests.enter(connection, Guest::Anyone), None);
        }
        assert_eq!(guests.enter(u64::MAX, with("a", "")), Some(0));
        assert_eq!(guests.take_those(|guest| *guest != Guest::Anyone), [u64::MAX]);
        assert_eq!(guests.take_those(|_guest| true).len(), Guests::MAX - 1);
    }
}
