//! Policies: which logs one trusts, and which witnesses must have cosigned a checkpoint.
//!
//! C2SP tlog-policy. The file is lines of octets; names are compared as they stand and shown as
//! UTF-8; the last line may lack its newline. Keys are Ed25519: `log` lines hold signers' (0x01),
//! `witness` lines cosigners' (0x04). What URLs mean is the caller's affair.
//!
//! Invariants of a [`Policy`]: no key is there twice; a name is a member of at most one group, so
//! each witness counts in one way only; a group's members stand before it, so there are no circles;
//! a threshold is 1 to the number of members.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::checkpoint::{Checkpoint, ParseCheckpointError};
use crate::cosignature::{Cosignature, CosignerKey};
use crate::decimal::parse_decimal;
use crate::excerpt::excerpt;
use crate::note::{ParseKeyError, SignedNote, VerifierKey, VerifyNoteError};

/// Most logs, witnesses and groups of a policy, of each: what the specification asks every
/// implementation to support. A note has room for twice as many signatures.
pub const LINES_MAX: usize = 32;

/// Most bytes of a policy: three times 32 lines of half a kilobyte, and as much for comments.
pub const POLICY_BYTES_MAX: usize = 96 * 1024;

/// The name that stands for no witness at all.
const NONE: &[u8] = b"none";

/// Which checkpoints are good enough.
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

/// A log that the policy knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyLog {
    /// Its key; the key's name is the log's origin.
    pub key: VerifierKey,
    /// Where it is.
    pub url: Option<String>,
}

/// A witness that the policy knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyWitness {
    /// What the policy calls it.
    pub name: String,
    /// Its key.
    pub key: CosignerKey,
    /// Where it is asked: its submission prefix (C2SP tlog-witness).
    pub url: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A place among the witnesses or the groups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Witness(usize),
    Group(usize),
}

impl Policy {
    /// Parses a policy file.
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

    /// The logs, any of which may have signed; none where the caller knows the log otherwise.
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

    /// What the policy calls the witness with this key.
    pub fn name_of(&self, key: &CosignerKey) -> Option<&str> {
        self.witnesses.iter().find(|witness| witness.key == *key).map(|witness| &*witness.name)
    }

    /// What the quorum line names.
    pub fn quorum(&self) -> &str {
        &self.quorum_name
    }

    /// Whether these cosignatures, all of one checkpoint, make the quorum.
    pub fn is_satisfied_by(&self, cosignatures: &[Cosignature<'_>]) -> bool {
        self.is_satisfied_if(|witness| {
            cosignatures.iter().any(|cosignature| *cosignature.key() == witness.key)
        })
    }

    /// Whether the quorum is made by those witnesses that `has_cosigned` says did.
    pub fn is_satisfied_if(&self, has_cosigned: impl Fn(&PolicyWitness) -> bool) -> bool {
        let witnesses: Vec<bool> = self.witnesses.iter().map(has_cosigned).collect();
        let mut groups: Vec<bool> = Vec::new();
        let holds = |member: &Member, groups: &[bool]| match *member {
            Member::Witness(index) => witnesses.get(index).copied().unwrap_or(false),
            Member::Group(index) => groups.get(index).copied().unwrap_or(false),
        };
        // A group's members stand before it, so they are decided when it is.
        for group in &self.groups {
            let count = group.members.iter().filter(|member| holds(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        self.quorum.is_none_or(|quorum| holds(&quorum, &groups))
    }

    /// Checks a checkpoint's note: one of the policy's logs signed it as its own, if there are any,
    /// and the witnesses make the quorum. Says which witnesses signed, and when.
    ///
    /// Where the policy has no logs, the log's own signature is the caller's to check.
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

/// What the lines so far said.
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
    /// It is too long.
    #[error("the policy has {bytes} bytes: at most {POLICY_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line of it is none.
    #[error("line {line}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        fault: PolicyFault,
    },
    /// Nothing says what is required.
    #[error(
        "the policy has no quorum line: add `quorum <name of a witness or group>`, or `quorum none`"
    )]
    NoQuorum,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyFault {
    /// A byte that no line has.
    #[error("byte 0x{byte:02x} is not allowed: of control characters a line has tabs only")]
    ControlCharacter {
        /// Which.
        byte: u8,
    },
    /// An unknown keyword.
    #[error(
        "`{keyword}` begins no line of a policy: use `log`, `witness`, `group`, `quorum` or `#`"
    )]
    Keyword {
        /// The word.
        keyword: String,
    },
    /// Too few words, or too many.
    #[error("the line has not the words it needs: use `{usage}`")]
    Words {
        /// What they are.
        usage: &'static str,
    },
    /// No key.
    #[error("the key cannot be used")]
    Key(#[from] ParseKeyError),
    /// A key that an earlier line has.
    #[error("an earlier line has the same public key, under this name or another: use each once")]
    DuplicateKey,
    /// A name that an earlier line has, or nobody may have.
    #[error("the name `{name}` is taken: witnesses and groups need names of their own, not `none`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A name that no earlier line has.
    #[error("`{name}` is not defined: name a witness or a group of a line before this one")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A member of two groups, or twice of one.
    #[error("`{name}` is a member of a group already: each may count once")]
    MemberTwice {
        /// The name.
        name: String,
    },
    /// A threshold that the group cannot have.
    #[error(
        "the group's threshold is not possible: use `all`, `any` or a number from 1 to {members}, its members"
    )]
    Threshold {
        /// Members that the group has.
        members: usize,
    },
    /// More than one quorum line.
    #[error("an earlier line says what the quorum is: use one `quorum` line")]
    SecondQuorum,
    /// Too many of something.
    #[error("the policy has more than {LINES_MAX} {what}: no more are read")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
}

/// Why a checkpoint is not good enough for a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnsatisfiedError {
    /// None of the policy's logs signed it.
    #[error("the checkpoint is not signed by a log of the policy")]
    Log(#[source] VerifyNoteError),
    /// It is signed, but not a checkpoint.
    #[error("the signed note is not a checkpoint")]
    Text(#[from] ParseCheckpointError),
    /// Whoever signed it is not the log it is of.
    #[error("the checkpoint is of the log `{origin}`, which did not sign it")]
    Origin {
        /// The log it is of.
        origin: String,
    },
    /// A cosignature is bad.
    #[error("a witness's cosignature does not hold")]
    Cosignature(#[source] VerifyNoteError),
    /// Too few witnesses.
    #[error(
        "the checkpoint lacks the policy's quorum `{quorum}`: of its witnesses signed {}",
        if found.is_empty() { "none" } else { found }
    )]
    Quorum {
        /// The quorum's name.
        quorum: String,
        /// Names of those that signed.
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
