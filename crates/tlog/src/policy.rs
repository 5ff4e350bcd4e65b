//! Policies: the trusted logs, and the witnesses that must have cosigned a checkpoint.
//!
//! C2SP tlog-policy. The file consists of lines of octets. Names are compared as octets and shown
//! as UTF-8. The last line may lack its newline. Keys are Ed25519: `log` lines have signers' keys
//! (0x01), `witness` lines cosigners' keys (0x04). The caller interprets URLs.
//!
//! Invariants of a [`Policy`]: no key occurs twice; a name is a member of at most one group, so
//! each witness counts in one way only; a group's members come before it, so there are no cycles; a
//! threshold is 1 to the number of members.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, ParseCheckpointError};
use crate::cosignature::{Cosignature, CosignerKey};
use crate::decimal::parse_decimal;
use crate::excerpt::excerpt;
use crate::note::{ParseKeyError, SignedNote, VerifierKey, VerifyNoteError};

/// Most logs, most witnesses and most groups of a policy: the number that the specification asks
/// every implementation to support. A note has room for twice as many signatures.
pub const LINES_MAX: usize = 32;

/// Largest policy file in bytes: three times 32 lines of half a kilobyte, and as much for comments.
pub const POLICY_BYTES_MAX: usize = 96 * 1024;

/// The name of the quorum without any witness.
const NONE: &[u8] = b"none";

/// The signatures and cosignatures that a checkpoint must have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    /// Keys of `witnesses`, in their order.
    cosigners: Vec<CosignerKey>,
    groups: Vec<Group>,
    quorum: Option<Member>,
    quorum_name: String,
}

/// A log that the policy trusts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyLog {
    /// The log's key. The key's name is the log's origin.
    pub key: VerifierKey,
    /// URL of the log, if the policy gives one.
    pub url: Option<String>,
}

/// A witness that the policy trusts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyWitness {
    /// Name of the witness in the policy.
    pub name: String,
    /// The witness's key.
    pub key: CosignerKey,
    /// The witness's submission prefix (C2SP tlog-witness), if the policy gives one.
    pub url: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A reference to a witness or a group by its index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Witness(usize),
    Group(usize),
}

impl Policy {
    /// Parses a policy file.
    ///
    /// # Errors
    /// The file is too long, has an invalid line or has no quorum line.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        if file.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong { bytes: file.len() });
        }
        let mut parser = Parser::default();
        for (line, text) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            parser.line(text).map_err(|fault| PolicyError::Line { line, fault })?;
        }
        parser.finish()
    }

    /// The logs, any of which may have signed. Empty if the caller knows the log from elsewhere.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of their lines.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The witnesses' keys, in the order of their lines.
    pub fn cosigners(&self) -> &[CosignerKey] {
        &self.cosigners
    }

    /// Name in the policy of the witness with this key.
    pub fn name_of(&self, key: &CosignerKey) -> Option<&str> {
        self.witnesses.iter().find(|witness| witness.key == *key).map(|witness| &*witness.name)
    }

    /// The name in the quorum line.
    pub fn quorum(&self) -> &str {
        &self.quorum_name
    }

    /// Whether these cosignatures, all of one checkpoint, make up the quorum.
    pub fn is_satisfied_by(&self, cosignatures: &[Cosignature<'_>]) -> bool {
        self.is_satisfied_if(|witness| {
            cosignatures.iter().any(|cosignature| *cosignature.key() == witness.key)
        })
    }

    /// Whether the witnesses for which `has_cosigned` returns `true` make up the quorum.
    pub fn is_satisfied_if(&self, has_cosigned: impl Fn(&PolicyWitness) -> bool) -> bool {
        let witnesses: Vec<bool> = self.witnesses.iter().map(has_cosigned).collect();
        let mut groups: Vec<bool> = Vec::new();
        let holds = |member: &Member, groups: &[bool]| match *member {
            Member::Witness(index) => witnesses.get(index).copied().unwrap_or(false),
            Member::Group(index) => groups.get(index).copied().unwrap_or(false),
        };
        // A group's members come before it, so their results are known here.
        for group in &self.groups {
            let count = group.members.iter().filter(|member| holds(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        self.quorum.is_none_or(|quorum| holds(&quorum, &groups))
    }

    /// Checks a checkpoint's note: if the policy has logs, one of them must have signed the
    /// checkpoint as its own, and the witnesses must make up the quorum. Returns which witnesses
    /// signed, and when.
    ///
    /// If the policy has no logs, the caller must check the log's own signature.
    ///
    /// # Errors
    /// No log of the policy signed the checkpoint as its own, a cosignature is invalid, or too few
    /// witnesses cosigned.
    pub fn check(&self, note: &SignedNote) -> Result<Vec<Cosignature<'_>>, UnsatisfiedError> {
        if !self.logs.is_empty() {
            let keys: Vec<_> = self.logs.iter().map(|log| log.key.clone()).collect();
            let verified = note.verify(&keys).map_err(UnsatisfiedError::Log)?;
            let origin = Checkpoint::parse(verified.text())?.origin;
            if !verified.signers().iter().any(|key| key.name().as_str() == origin.as_str()) {
                return Err(UnsatisfiedError::Origin { origin: origin.to_string() });
            }
        }
        let cosignatures =
            note.cosignatures(&self.cosigners).map_err(UnsatisfiedError::Cosignature)?;
        if self.is_satisfied_by(&cosignatures) {
            Ok(cosignatures)
        } else {
            let names = cosignatures.iter().filter_map(|found| self.name_of(found.key()));
            let found = names.collect::<Vec<_>>().join(", ");
            Err(UnsatisfiedError::Quorum { quorum: self.quorum_name.clone(), found })
        }
    }
}

/// The content of the lines parsed so far.
#[derive(Default)]
struct Parser {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    names: Vec<Name>,
    quorum: Option<(Option<Member>, String)>,
}

struct Name {
    name: Vec<u8>,
    is_of: Member,
    is_member: bool,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyFault> {
        if let Some(byte) = line.iter().find(|byte| matches!(byte, 0..=0x08 | 0x0a..=0x1f | 0x7f)) {
            return Err(PolicyFault::ControlCharacter { byte: *byte });
        }
        let words: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey] => self.log(vkey, None),
            [b"log", vkey, url] => self.log(vkey, Some(text(url))),
            [b"witness", name, vkey] => self.witness(name, vkey, None),
            [b"witness", name, vkey, url] => self.witness(name, vkey, Some(text(url))),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            [b"log", ..] => Err(PolicyFault::Words { usage: "log <vkey> [<url>]" }),
            [b"witness", ..] => Err(PolicyFault::Words { usage: "witness <name> <vkey> [<url>]" }),
            [b"group", ..] => {
                Err(PolicyFault::Words { usage: "group <name> all|any|<number> <name>..." })
            }
            [b"quorum", ..] => Err(PolicyFault::Words { usage: "quorum <name>|none" }),
            [keyword, ..] => Err(PolicyFault::Keyword { keyword: shown(keyword) }),
        }
    }

    fn log(&mut self, vkey: &[u8], url: Option<String>) -> Result<(), PolicyFault> {
        let key = VerifierKey::parse(&text(vkey))?;
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        has_room(&self.logs, "logs")?;
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(
        &mut self,
        name: &[u8],
        vkey: &[u8],
        url: Option<String>,
    ) -> Result<(), PolicyFault> {
        let key = CosignerKey::parse(&text(vkey))?;
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        has_room(&self.witnesses, "witnesses")?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: text(name), key, url });
        Ok(())
    }

    fn group(
        &mut self,
        name: &[u8],
        threshold: &[u8],
        members: &[&[u8]],
    ) -> Result<(), PolicyFault> {
        let count = members.len();
        let number = || core::str::from_utf8(threshold).ok().and_then(parse_decimal);
        let threshold = match threshold {
            b"all" => Some(count),
            b"any" => Some(1),
            _ => number().and_then(|number| usize::try_from(number).ok()),
        };
        let threshold = threshold
            .filter(|threshold| (1..=count).contains(threshold))
            .ok_or(PolicyFault::Threshold { members: count })?;
        let members =
            members.iter().map(|member| self.take_member(member)).collect::<Result<_, _>>()?;
        has_room(&self.groups, "groups")?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), PolicyFault> {
        if self.quorum.is_some() {
            return Err(PolicyFault::SecondQuorum);
        }
        let quorum = if name == NONE { None } else { Some(self.known(name)?.is_of) };
        self.quorum = Some((quorum, text(name)));
        Ok(())
    }

    fn define(&mut self, name: &[u8], is_of: Member) -> Result<(), PolicyFault> {
        if name == NONE || self.names.iter().any(|known| known.name == name) {
            return Err(PolicyFault::NameTaken { name: shown(name) });
        }
        self.names.push(Name { name: name.to_vec(), is_of, is_member: false });
        Ok(())
    }

    fn known(&mut self, name: &[u8]) -> Result<&mut Name, PolicyFault> {
        self.names
            .iter_mut()
            .find(|known| known.name == name)
            .ok_or_else(|| PolicyFault::UnknownName { name: shown(name) })
    }

    fn take_member(&mut self, name: &[u8]) -> Result<Member, PolicyFault> {
        let known = self.known(name)?;
        if core::mem::replace(&mut known.is_member, true) {
            return Err(PolicyFault::MemberTwice { name: shown(name) });
        }
        Ok(known.is_of)
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        let (quorum, quorum_name) = self.quorum.ok_or(PolicyError::NoQuorum)?;
        let Self { logs, witnesses, groups, .. } = self;
        let cosigners = witnesses.iter().map(|witness| witness.key.clone()).collect();
        Ok(Policy { logs, witnesses, cosigners, groups, quorum, quorum_name })
    }
}

/// Why a file is not a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// The file is too long.
    #[error("the policy has {bytes} bytes, but at most {POLICY_BYTES_MAX} are read")]
    TooLong {
        /// Length of the file in bytes.
        bytes: usize,
    },
    /// A line is invalid.
    #[error("line {line}")]
    Line {
        /// Number of the line, counted from 1.
        line: usize,
        /// What is wrong with the line.
        #[source]
        fault: PolicyFault,
    },
    /// The file has no quorum line.
    #[error(
        "the policy has no quorum line: add `quorum <name of a witness or group>`, or `quorum none`"
    )]
    NoQuorum,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyFault {
    /// A line has a byte that is not allowed.
    #[error("byte 0x{byte:02x} is not allowed: the only control character in a line is the tab")]
    ControlCharacter {
        /// The byte.
        byte: u8,
    },
    /// A line begins with an unknown keyword.
    #[error(
        "a line of a policy cannot begin with `{keyword}`: use `log`, `witness`, `group`, `quorum` or `#`"
    )]
    Keyword {
        /// The first word of the line.
        keyword: String,
    },
    /// A line has too few words, or too many.
    #[error("the line does not have the words that it needs: use `{usage}`")]
    Words {
        /// The words that the line needs.
        usage: &'static str,
    },
    /// A key is invalid.
    #[error("cannot use the key")]
    Key(#[from] ParseKeyError),
    /// An earlier line has the same key.
    #[error("an earlier line has the same public key: use each key once")]
    DuplicateKey,
    /// The name is reserved, or an earlier line has it.
    #[error(
        "the name `{name}` is taken: each witness and group needs its own name, and not `none`"
    )]
    NameTaken {
        /// The name in the line.
        name: String,
    },
    /// No earlier line defines a name.
    #[error("`{name}` is not defined: name a witness or a group from an earlier line")]
    UnknownName {
        /// The undefined name.
        name: String,
    },
    /// A name is a member of two groups, or twice of one.
    #[error("`{name}` is already a member of a group: each can be in one group")]
    MemberTwice {
        /// Name of the member.
        name: String,
    },
    /// A group cannot have this threshold.
    #[error(
        "the group's threshold is impossible: use `all`, `any` or a number from 1 to {members}, the number of members"
    )]
    Threshold {
        /// Number of members of the group.
        members: usize,
    },
    /// The file has more than one quorum line.
    #[error("an earlier line sets the quorum: use one `quorum` line")]
    SecondQuorum,
    /// The file has too many logs, witnesses or groups.
    #[error("the policy has more than {LINES_MAX} {what}, which is the limit")]
    TooMany {
        /// What the file has too many of.
        what: &'static str,
    },
}

/// Why a checkpoint does not satisfy a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnsatisfiedError {
    /// None of the policy's logs signed it.
    #[error("no log of the policy signed the checkpoint")]
    Log(#[source] VerifyNoteError),
    /// The note is signed, but is not a checkpoint.
    #[error("the signed note is not a checkpoint")]
    Text(#[from] ParseCheckpointError),
    /// The log that signed the checkpoint is not the one in its origin.
    #[error("the checkpoint is from the log `{origin}`, but that log did not sign it")]
    Origin {
        /// Origin in the checkpoint.
        origin: String,
    },
    /// A cosignature is invalid.
    #[error("a witness's cosignature does not verify")]
    Cosignature(#[source] VerifyNoteError),
    /// Too few witnesses have cosigned.
    #[error(
        "the checkpoint does not reach the policy's quorum `{quorum}`; these witnesses signed it: {}",
        if found.is_empty() { "none" } else { found }
    )]
    Quorum {
        /// Name of the quorum.
        quorum: String,
        /// Names of the witnesses that cosigned.
        found: String,
    },
}

fn has_room<T>(lines: &[T], what: &'static str) -> Result<(), PolicyFault> {
    if lines.len() < LINES_MAX { Ok(()) } else { Err(PolicyFault::TooMany { what }) }
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn shown(word: &[u8]) -> String {
    excerpt(&text(word))
}
