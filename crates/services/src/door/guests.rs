//! The connections that were let in, by the server's number of them. No IO.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use access::sensors::{Book, CredentialName};

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
}

/// The connections that were let in and have not ended.
#[derive(Debug, Default)]
pub(super) struct Guests {
    guests: BTreeMap<u64, Guest>,
    /// Those that are to be closed, each with the number of orders to close it that may still
    /// follow.
    to_close: BTreeMap<u64, u8>,
    /// Those with a credential and an MQTT client id, by that id: the credential, and how many
    /// connections have it. A device that comes back before its old connection ended has two.
    client_ids: HashMap<String, (CredentialName, usize)>,
    /// The connections of each credential.
    of_credential: HashMap<CredentialName, BTreeSet<u64>>,
    /// Those with a credential whose connection has ended, the newest last.
    ended: VecDeque<(u64, CredentialName)>,
}

impl Guests {
    /// Most connections that are remembered: twice as many as the server lets in, because the end
    /// of one may be missed while the site has no connection.
    const MAX: usize = 2 * 65_536;
    /// How often the server is told again to close a connection. If its end was missed, nobody says
    /// that it has ended.
    const TOLD_AGAIN_MAX: u8 = 10;
    /// Most connections of one credential: one for each sensor that it may cover, and the one that
    /// this replaces. So nobody takes all of the server's with one credential.
    pub(super) const OF_CREDENTIAL_MAX: usize = 2 * Book::SENSORS_OF_CREDENTIAL_MAX;
    /// Most ended connections whose credential is remembered: until the server's log says why they
    /// ended, which is a matter of milliseconds.
    const ENDED_MAX: usize = 1_024;

    /// Remembers a connection. If there are too many, forgets the oldest and returns its number:
    /// close it, because it could not be closed later.
    ///
    /// Ask [`Guests::is_used_by_another`] first.
    pub(super) fn enter(&mut self, connection: u64, guest: Guest) -> Option<u64> {
        self.leave(connection);
        if let Guest::With { name, client_id, .. } = &guest {
            self.of_credential.entry(name.clone()).or_default().insert(connection);
            if !client_id.is_empty() {
                let nobody = || (name.clone(), 0);
                self.client_ids.entry(client_id.clone()).or_insert_with(nobody).1 += 1;
            }
        }
        self.guests.insert(connection, guest);
        if self.guests.len() <= Self::MAX {
            return None;
        }
        let oldest = *self.guests.first_key_value()?.0;
        self.leave(oldest);
        self.to_close.insert(oldest, Self::TOLD_AGAIN_MAX);
        Some(oldest)
    }

    /// The oldest connection of a credential that has more than it may: close it.
    pub(super) fn one_too_many(&self, credential: &CredentialName) -> Option<u64> {
        let connections = self.of_credential.get(credential)?;
        let has_too_many = connections.len() > Self::OF_CREDENTIAL_MAX;
        connections.first().copied().filter(|_oldest| has_too_many)
    }

    /// Forgets a connection that has ended.
    pub(super) fn leave(&mut self, connection: u64) {
        self.to_close.remove(&connection);
        let Some(guest) = self.guests.remove(&connection) else { return };
        self.release(connection, &guest);
        if let Guest::With { name, .. } = guest {
            if self.ended.len() == Self::ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back((connection, name));
        }
    }

    /// Who has this connection.
    pub(super) fn of(&self, connection: u64) -> Option<&Guest> {
        self.guests.get(&connection)
    }

    /// The credential of the device that has this connection, or had it until a moment ago.
    pub(super) fn name_of(&self, connection: u64) -> Option<&CredentialName> {
        match self.guests.get(&connection) {
            Some(Guest::Anyone) => None,
            Some(Guest::With { name, .. }) => Some(name),
            None => {
                let ended = self.ended.iter().rev().find(|(ended, _name)| *ended == connection);
                ended.map(|(_connection, name)| name)
            }
        }
    }

    /// Whether the device of another credential has this MQTT client id.
    pub(super) fn is_used_by_another(&self, id: &str, credential: &CredentialName) -> bool {
        self.client_ids.get(id).is_some_and(|(name, _connections)| name != credential)
    }

    /// Takes out the connections of those guests, and returns their numbers: close them.
    pub(super) fn take_those(&mut self, are_meant: impl Fn(&Guest) -> bool) -> Vec<u64> {
        let taken: Vec<(u64, Guest)> =
            self.guests.extract_if(.., |_connection, guest| are_meant(guest)).collect();
        for (connection, guest) in &taken {
            self.release(*connection, guest);
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

    fn release(&mut self, connection: u64, guest: &Guest) {
        let Guest::With { name, client_id, .. } = guest else { return };
        if let Some(connections) = self.of_credential.get_mut(name) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.of_credential.remove(name);
            }
        }
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
            assert_eq!(guests.name_of(connection).unwrap().as_str(), "a");
            guests.leave(connection);
            assert_eq!(guests.name_of(connection).unwrap().as_str(), "a");
        }
        assert_eq!((guests.name_of(0), guests.ended.len()), (None, Guests::ENDED_MAX));
        guests.enter(1, Guest::Anyone);
        assert_eq!(guests.name_of(1), None);
    }

    #[test]
    fn a_credential_has_a_number_of_connections_and_the_newest_stay() {
        let mut guests = Guests::default();
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        for connection in 0..Guests::OF_CREDENTIAL_MAX as u64 {
            guests.enter(connection, with("a", ""));
            assert_eq!(guests.one_too_many(&a), None);
        }
        guests.enter(u64::MAX, with("a", ""));
        assert_eq!((guests.one_too_many(&a), guests.one_too_many(&b)), (Some(0), None));
        guests.leave(7);
        assert_eq!(guests.one_too_many(&a), None);
        guests.take_those(|_guest| true);
        assert_eq!(guests.of_credential.len(), 0);
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
