//! Accounts of the machine. The kernel names the account that gives an order, whatever the caller
//! says.

use nix::unistd::{Uid, User};

use crate::words::Words;

/// An account, by its name or, if it has none, by its number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account(String);

impl Account {
    /// The account with this number. Blocks, because the system may ask another machine for the
    /// name.
    #[must_use]
    pub fn of(uid: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map(|user| user.name).filter(|name| is_plain(name));
        Self(name.unwrap_or_else(|| format!("uid {uid}")))
    }

    /// The account that runs this process. Blocks like [`Account::of`].
    #[must_use]
    pub fn own() -> Self {
        Self::of(own_uid())
    }

    /// An actor that is not an account of the machine, such as the site itself.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The account's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The actor as the log records it: the account and, after it, the name that the caller claims,
    /// if that is another. An account's name has no spaces, so no claimed name can pass for another
    /// account.
    #[must_use]
    pub fn signing_as(&self, claimed: Option<&Words>) -> String {
        match claimed {
            Some(claimed) if claimed.as_str() != self.0 => {
                format!("{} as {}", self.0, claimed.as_str())
            }
            _ => self.0.clone(),
        }
    }
}

/// Number of the account that runs this process.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether a name cannot be mistaken for more than a name.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_stands_before_whatever_is_claimed() {
        assert_eq!(Account::of(0), Account::named("root"));
        assert_eq!(Account::of(u32::MAX - 7), Account(format!("uid {}", u32::MAX - 7)));
        let ada = Account::named("ada");
        for (claimed, sealed) in [
            (None, "ada"),
            (Some("ada"), "ada"),
            (Some("root"), "ada as root"),
            (Some("root as root"), "ada as root as root"),
        ] {
            let claimed = claimed.map(|text| text.parse().unwrap());
            assert_eq!(ada.signing_as(claimed.as_ref()), sealed);
        }
        for name in ["", "root as", "a\u{a0}b", "a\n"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
