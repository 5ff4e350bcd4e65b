//! Accounts of the machine: who gave an order is the account that the kernel names, whatever else
//! they say.

use nix::unistd::{Uid, User};

use crate::words::Words;

/// An account, by its name where it has one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account(String);

impl Account {
    /// The account with this number. Blocks: names may come from another machine.
    #[must_use]
    pub fn of(uid: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let name = user.map(|user| user.name).filter(|name| is_plain(name));
        Self(name.unwrap_or_else(|| format!("uid {uid}")))
    }

    /// The account that this process runs as. Blocks as [`Account::of`].
    #[must_use]
    pub fn own() -> Self {
        Self::of(own_uid())
    }

    /// Of the site itself, and of what has no account.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The account's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Who the log says it was: the account, and behind it the name that they gave themselves, if
    /// that is another. A name of an account has no spaces, so nobody can give themselves one that
    /// reads as another account.
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

/// The number of the account that this process runs as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether a name cannot be taken for more than a name.
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
