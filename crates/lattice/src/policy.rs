//! Which images may run: what an operator demands of them, read from the file that says what is
//! wanted, and whether what is known of an image satisfies it. It does no IO.
//!
//! A policy speaks of images that were brought into the site. What the site itself brings is a part
//! of its program, and nobody asks this about it.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::Deserialize;
use tlog::VerifierKey;
use toml::Spanned;

/// Most publishers of a policy. Each signature that is found may be checked with each key.
pub(crate) const PUBLISHERS_MAX: usize = 16;

/// What is demanded of an image before it is started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// The keys whose signatures count, with the names that the operator gave them.
    names: Vec<String>,
    keys: Vec<VerifierKey>,
    /// How many of them must have signed the image.
    signed: usize,
    /// Whether the site's log must prove that the image was published.
    logged: bool,
}

/// What is known of an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// How many of the policy's publishers signed it.
    pub signers: usize,
    /// What the site's log says of its publication. A policy that does not demand it does not look.
    pub publication: Publication,
}

/// What the site's log says of an image's publication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Publication {
    /// Nothing.
    Unknown,
    /// That it happened, at this leaf, and no checkpoint covers it yet.
    Uncovered(u64),
    /// The same, and too few witnesses have signed a checkpoint that covers it.
    Unwitnessed(u64),
    /// That it happened, with a proof under a checkpoint.
    Proven,
}

/// Why an image may not run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Forbidden {
    /// Too few publishers signed it.
    #[error("{found} of the {of} listed publishers signed it, and the policy demands {needed}")]
    Unsigned {
        /// How many did.
        found: usize,
        /// How many are demanded.
        needed: usize,
        /// How many there are.
        of: usize,
    },
    /// The log does not say that it was published.
    #[error("the log does not say that it was published: push it under a tag")]
    NotLogged,
    /// Nothing proves yet what the log says.
    #[error("no checkpoint covers leaf {0}, where the log says that it was published")]
    Uncovered(u64),
    /// Too few witnesses saw it.
    #[error(
        "too few witnesses have signed a checkpoint over leaf {0}, where the log says that it was \
         published"
    )]
    Unwitnessed(u64),
}

impl Policy {
    /// The policy that nothing satisfies.
    #[must_use]
    pub const fn closed() -> Self {
        Self { names: Vec::new(), keys: Vec::new(), signed: 1, logged: true }
    }

    /// The keys whose signatures count.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Whether the log must prove that an image was published.
    #[must_use]
    pub const fn is_logged(&self) -> bool {
        self.logged
    }

    /// Whether an image may run of which this is known.
    ///
    /// # Errors
    /// Why not.
    pub const fn check(&self, evidence: &Evidence) -> Result<(), Forbidden> {
        let Evidence { signers: found, publication } = *evidence;
        if found < self.signed {
            let (needed, of) = (self.signed, self.keys.len());
            return Err(Forbidden::Unsigned { found, needed, of });
        }
        match publication {
            _ if !self.logged => Ok(()),
            Publication::Proven => Ok(()),
            Publication::Unknown => Err(Forbidden::NotLogged),
            Publication::Uncovered(leaf) => Err(Forbidden::Uncovered(leaf)),
            Publication::Unwitnessed(leaf) => Err(Forbidden::Unwitnessed(leaf)),
        }
    }
}

impl fmt::Display for Policy {
    /// For people and for the log: with each key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signed, self.logged) {
            (0, false) => formatter.write_str("any image may run")?,
            (0, true) => formatter.write_str("published in the log")?,
            (signed, logged) => {
                let log = if logged { ", and published in the log" } else { "" };
                let of = self.keys.len();
                write!(formatter, "signed by {signed} of {of} publishers{log}")?;
            }
        }
        for (at, (name, key)) in self.names.iter().zip(&self.keys).enumerate() {
            let before = if at == 0 { ": " } else { ", " };
            write!(formatter, "{before}{name} = {key}")?;
        }
        Ok(())
    }
}

/// The parts of the file that say which images may run.
#[derive(Deserialize)]
pub(crate) struct PolicyFile {
    #[serde(default)]
    pub(crate) publishers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) policy: RawPolicy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPolicy {
    signed: Option<Spanned<RawSigned>>,
    #[serde(default)]
    logged: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSigned {
    Is(bool),
    Number(i64),
    Word(String),
}

type Fault = (Option<Range<usize>>, String);

impl Policy {
    /// The word for the signature of each publisher.
    const ALL: &str = "all";

    /// The policy in a file, whatever else the file says; none can be satisfied if this is not
    /// understood.
    pub(crate) fn alone(text: &str) -> Self {
        let parsed = toml::from_str::<PolicyFile>(text).ok();
        parsed.and_then(|file| Self::of_file(file).ok()).unwrap_or(const { Self::closed() })
    }

    pub(crate) fn of_file(PolicyFile { publishers, policy }: PolicyFile) -> Result<Self, Fault> {
        let (mut names, mut keys) = (Vec::new(), Vec::<VerifierKey>::new());
        for (name, text) in publishers {
            let refused = |why: &str| (Some(text.span()), format!("the key of {name:?} {why}"));
            let key = VerifierKey::parse(text.get_ref())
                .map_err(|error| refused(&format!("cannot be used: {error}")))?;
            // Two names of one key would let one signature count twice.
            if keys.iter().any(|known| known.public_key() == key.public_key()) {
                return Err(refused("is listed under another name, too"));
            }
            if keys.len() == PUBLISHERS_MAX {
                return Err(refused(&format!("is one more than the {PUBLISHERS_MAX} allowed")));
            }
            names.push(name);
            keys.push(key);
        }
        let of = keys.len();
        let signed = match policy.signed {
            // Who lists publishers wants their signatures.
            None => of.min(1),
            Some(raw) => Self::signed(raw.get_ref(), of).ok_or_else(|| {
                let words = format!(
                    "`signed` is true, false, \"{}\" or a number up to that of the publishers, \
                     which is {of}",
                    Self::ALL
                );
                (Some(raw.span()), words)
            })?,
        };
        Ok(Self { names, keys, signed, logged: policy.logged })
    }

    fn signed(raw: &RawSigned, of: usize) -> Option<usize> {
        let needed = match raw {
            RawSigned::Is(false) => return Some(0),
            RawSigned::Is(true) => 1,
            RawSigned::Number(number) => usize::try_from(*number).ok()?,
            RawSigned::Word(word) if word == Self::ALL => of.max(1),
            RawSigned::Word(_) => return None,
        };
        (needed <= of).then_some(needed)
    }
}

#[cfg(test)]
mod tests {
    use tlog::{KeyName, Signer};

    use super::*;

    fn key(name: &str, seed: u8) -> VerifierKey {
        Signer::from_seed(KeyName::parse(name).unwrap(), &[seed; 32]).vkey().clone()
    }

    fn parse(text: &str) -> Result<Policy, String> {
        let file = toml::from_str(text).map_err(|error| error.to_string())?;
        Policy::of_file(file).map_err(|(_, words)| words)
    }

    fn listed(count: u8, policy: &str) -> String {
        let keys = (0..count).map(|seed| format!("p{seed} = \"{}\"\n", key("ci", seed)));
        format!("[publishers]\n{}[policy]\n{policy}\n", keys.collect::<String>())
    }

    #[test]
    fn as_many_signatures_are_needed_as_the_file_says() {
        for (text, needed) in [
            (String::new(), 0),
            (listed(0, ""), 0),
            (listed(2, ""), 1),
            (listed(2, "signed = true"), 1),
            (listed(2, "signed = false"), 0),
            (listed(0, "signed = 0"), 0),
            (listed(3, "signed = 2"), 2),
            (listed(3, "signed = \"all\""), 3),
        ] {
            let policy = parse(&text).unwrap();
            let may = |signers| {
                policy.check(&Evidence { signers, publication: Publication::Unknown }).is_ok()
            };
            assert!(may(needed) && (needed == 0 || !may(needed - 1)), "{text}");
            assert_eq!(Policy::alone(&text), policy);
        }
    }

    #[test]
    fn a_demand_that_nothing_could_satisfy_or_that_one_key_could_twice_is_refused() {
        let twice = format!("[publishers]\na = \"{}\"\nb = \"{}\"", key("a", 1), key("b", 1));
        for (text, words) in [
            (listed(0, "signed = true"), "which is 0"),
            (listed(0, "signed = \"all\""), "which is 0"),
            (listed(2, "signed = 3"), "which is 2"),
            (listed(2, "signed = -1"), "true, false, \"all\""),
            (listed(2, "signed = \"some\""), "true, false, \"all\""),
            (twice, "the key of \"b\" is listed under another name"),
            (listed(17, ""), "is one more than the 16 allowed"),
            (String::from("[publishers]\na = \"x\""), "the key of \"a\" cannot be used"),
            (listed(1, "sealed = true"), "unknown field `sealed`"),
        ] {
            let refusal = parse(&text).unwrap_err();
            assert!(refusal.contains(words), "{text}: {refusal}");
            // And if it were read all the same, nothing would run.
            let all = Evidence { signers: 16, publication: Publication::Unknown };
            assert!(Policy::alone(&text).check(&all).is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_must_prove_it_if_the_policy_says_so() {
        let policies = [(listed(1, "logged = true"), false), (listed(1, "logged = false"), true)];
        for (text, is_enough) in policies {
            let policy = parse(&text).unwrap();
            for publication in
                [Publication::Unknown, Publication::Uncovered(7), Publication::Unwitnessed(7)]
            {
                let checked = policy.check(&Evidence { signers: 1, publication });
                assert_eq!(checked.is_ok(), is_enough, "{publication:?}");
            }
            let proven = |signers| Evidence { signers, publication: Publication::Proven };
            assert!(policy.check(&proven(1)).is_ok() && policy.check(&proven(0)).is_err());
            assert_eq!(policy.to_string().contains("in the log"), !is_enough, "{policy}");
            assert!(policy.to_string().ends_with(&format!(": p0 = {}", key("ci", 0))), "{policy}");
        }
    }
}
