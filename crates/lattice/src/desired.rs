//! What an operator wants instead of what the site itself would run, read from a file (TOML).
//!
//! The file names components, and for each an image by digest, a number of replicas, or both. What
//! it does not name stays as the site would have it.

use std::{collections::BTreeMap, fmt, num::NonZeroU16, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{
    rollout::Pair,
    workload::{Deployment, Replicas, Workload},
};

/// What is wanted of each component that the file names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Desired(BTreeMap<String, Wish>);

/// What is wanted of a component.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Wish {
    image: Option<Reference>,
    replicas: Option<Replicas>,
}

/// An image by its digest, as repository and `@sha256:` and 64 hex digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference(String);

impl Reference {
    const WORDS: &str = "not an image by digest, such as \"plant/judge@sha256:\" and 64 hex digits";

    fn parse(text: &str) -> Option<Self> {
        let (repository, hex) = text.split_once("@sha256:")?;
        let is_hex = hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        (is_hex && !repository.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Repository and digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The digest in a reference.
fn digest_of(reference: &str) -> &str {
    reference.split_once('@').map_or(reference, |(_, digest)| digest)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    component: BTreeMap<Spanned<String>, RawWish>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWish {
    image: Option<Spanned<String>>,
    replicas: Option<Spanned<RawReplicas>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawReplicas {
    Number(i64),
    Word(String),
}

/// Why a file is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct InvalidDesired {
    /// The line, counted from 1, if the fault has one.
    pub line: Option<usize>,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

type Fault = (Option<Range<usize>>, String);

/// What the site runs of its own accord, and what of it a file may change.
#[derive(Clone, Debug)]
pub struct BuiltIn {
    /// The deployments that a file may change.
    pub deployments: Vec<Deployment>,
    /// Those that none changes.
    pub fixed: Vec<Deployment>,
    /// Components that must run on every host, so the file may not say how many replicas they have.
    pub everywhere: Vec<String>,
    /// Key under which a component's configuration has its own digest, where it has it.
    pub digest_key: &'static str,
}

impl BuiltIn {
    fn components(&self) -> impl Iterator<Item = (&str, &str, Replicas)> {
        self.deployments.iter().flat_map(|deployment| {
            let components = deployment.workload.wit_world.components.iter();
            components.map(|it| (it.name.as_str(), it.image.as_str(), deployment.replicas))
        })
    }

    /// What is to run if this is wanted. What is wanted of a component that the site does not run
    /// changes nothing.
    #[must_use]
    pub fn with(&self, desired: &Desired) -> Vec<Deployment> {
        let deployments = self.deployments.iter().map(|deployment| {
            let mut workload = Workload::clone(&deployment.workload);
            let mut replicas = deployment.replicas;
            for component in &mut workload.wit_world.components {
                let Some(wish) = desired.0.get(&component.name) else { continue };
                replicas = wish.replicas.unwrap_or(replicas);
                if let Some(image) = &wish.image {
                    component.image = image.as_str().to_owned();
                    if let Some(digest) = component.local_resources.config.get_mut(self.digest_key)
                    {
                        *digest = digest_of(image.as_str()).to_owned();
                    }
                }
            }
            Deployment { workload: Arc::new(workload), replicas, group: deployment.group.clone() }
        });
        deployments.chain(self.fixed.iter().cloned()).collect()
    }

    /// The workloads that others replace between two states. Where only the number of hosts
    /// changes, nothing is replaced.
    #[must_use]
    pub fn pairs(&self, before: &Desired, after: &Desired) -> Vec<Pair> {
        let pairs = self.with(before).into_iter().zip(self.with(after));
        let pairs = pairs.map(|(old, new)| Pair { old, new });
        let id = |deployment: &Deployment| deployment.workload.instance_id();
        pairs.filter(|Pair { old, new }| id(old) != id(new)).collect()
    }

    /// What changes for each component between two states.
    #[must_use]
    pub fn changes(&self, before: &Desired, after: &Desired) -> Vec<Change> {
        let of = |desired: &Desired, (name, image, replicas): (&str, &str, Replicas)| {
            let wish = desired.0.get(name);
            let image = wish.and_then(|wish| wish.image.as_ref()).map_or(image, Reference::as_str);
            let replicas = wish.and_then(|wish| wish.replicas).unwrap_or(replicas);
            Placed { image: image.to_owned(), replicas: replicas.to_string() }
        };
        let changes = self.components().map(|component| Change {
            component: component.0.to_owned(),
            old: of(before, component),
            new: of(after, component),
        });
        changes.filter(|change| change.old != change.new).collect()
    }
}

/// What changes for a component.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// Name of the component.
    pub component: String,
    /// What was wanted.
    pub old: Placed,
    /// What is wanted.
    pub new: Placed,
}

/// An image and how many hosts run it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Placed {
    /// Repository and digest.
    pub image: String,
    /// How many hosts, in words.
    pub replicas: String,
}

impl Placed {
    /// Digest of the image.
    #[must_use]
    pub fn digest(&self) -> &str {
        digest_of(&self.image)
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", self.image, self.replicas)
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryHost => formatter.write_str("every host"),
            Self::Number(number) if number.get() == 1 => formatter.write_str("1 host"),
            Self::Number(number) => write!(formatter, "{number} hosts"),
        }
    }
}

impl Desired {
    /// Largest file in bytes: many times what all components take.
    pub const FILE_BYTES_MAX: usize = 64 << 10;
    /// Most replicas of a component. There are no more hosts.
    const REPLICAS_MAX: u16 = 64;
    /// The word for a replica on every host.
    const EVERY_HOST: &str = "every-host";

    /// Parses a file.
    ///
    /// # Errors
    /// The file is too large, is not TOML, or wants something that is not possible.
    pub fn parse(text: &str, built_in: &BuiltIn) -> Result<Self, InvalidDesired> {
        if text.len() > Self::FILE_BYTES_MAX {
            let (bytes, max) = (text.len(), Self::FILE_BYTES_MAX);
            let reason = format!("the file has {bytes} bytes, but at most {max} are read");
            return Err(InvalidDesired { line: None, reason });
        }
        Self::of_file(text, built_in).map_err(|(place, reason)| {
            let before = place.and_then(|place| text.get(..place.start));
            let line = before.map(|before| before.matches('\n').count() + 1);
            InvalidDesired { line, reason }
        })
    }

    fn of_file(text: &str, built_in: &BuiltIn) -> Result<Self, Fault> {
        let file: File =
            toml::from_str(text).map_err(|error| (error.span(), error.message().to_owned()))?;
        let mut wishes = BTreeMap::new();
        for (name, RawWish { image, replicas }) in file.component {
            if built_in.components().all(|(known, ..)| known != name.get_ref()) {
                let known: Vec<_> = built_in.components().map(|(known, ..)| known).collect();
                let (name, known) = (name.get_ref(), known.join(", "));
                return Err((
                    None,
                    format!("the site runs no component `{name}`: it runs {known}"),
                ));
            }
            let image = image.map(|text| {
                Reference::parse(text.get_ref()).ok_or_else(|| {
                    (Some(text.span()), format!("{:?} is {}", text.get_ref(), Reference::WORDS))
                })
            });
            let replicas = replicas.map(|raw| {
                let everywhere = built_in.everywhere.contains(name.get_ref());
                Self::replicas(raw.get_ref(), everywhere).map_err(|words| (Some(raw.span()), words))
            });
            let wish = Wish { image: image.transpose()?, replicas: replicas.transpose()? };
            wishes.insert(name.into_inner(), wish);
        }
        Ok(Self(wishes))
    }

    fn replicas(raw: &RawReplicas, everywhere: bool) -> Result<Replicas, String> {
        let every = Self::EVERY_HOST;
        let number = match raw {
            RawReplicas::Word(word) if word == every => return Ok(Replicas::EveryHost),
            _ if everywhere => {
                return Err(format!(
                    "a host shows the page with it, so its replicas can only be \"{every}\""
                ));
            }
            RawReplicas::Word(_) => None,
            RawReplicas::Number(number) => u16::try_from(*number).ok(),
        };
        let number = number.filter(|number| *number <= Self::REPLICAS_MAX);
        number.and_then(NonZeroU16::new).map(Replicas::Number).ok_or_else(|| {
            format!("replicas are a number from 1 to {}, or \"{every}\"", Self::REPLICAS_MAX)
        })
    }

    /// The images that the file names, each with its component.
    pub fn images(&self) -> impl Iterator<Item = (&str, &Reference)> {
        self.0.iter().filter_map(|(name, wish)| Some((name.as_str(), wish.image.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Component;

    fn built_in() -> BuiltIn {
        let deployment = |name: &str, components: &[&str]| {
            let components = components.iter().map(|it| {
                Component::new(it, format!("sealwire/{it}@sha256:{:064}", 0), &[("digest", "0")])
            });
            Deployment {
                workload: Arc::new(Workload::new(name, components.collect(), vec![])),
                replicas: Replicas::EveryHost,
                group: String::from("default"),
            }
        };
        BuiltIn {
            deployments: vec![
                deployment("reader", &["reader"]),
                deployment("web", &["gate", "ui"]),
            ],
            fixed: vec![deployment("guest", &["guest"])],
            everywhere: vec![String::from("gate"), String::from("ui")],
            digest_key: "digest",
        }
    }

    #[test]
    fn a_file_changes_what_it_names_and_nothing_else() {
        let built_in = built_in();
        let image = format!("plant/reader@sha256:{}", "a".repeat(64));
        let text = format!("[component.reader]\nimage = \"{image}\"\nreplicas = 2\n");
        let desired = Desired::parse(&text, &built_in).unwrap();
        let deployments = built_in.with(&desired);
        let [reader, web, _guest] = deployments.as_slice() else { panic!() };
        let component = reader.workload.wit_world.components.first().unwrap();
        assert_eq!(component.image, image);
        let digest = component.local_resources.config.get("digest").unwrap();
        assert_eq!(digest.as_str(), format!("sha256:{}", "a".repeat(64)));
        assert_eq!(reader.replicas.to_string(), "2 hosts");
        let old = built_in.deployments.get(1).unwrap();
        assert_eq!(web.workload.instance_id(), old.workload.instance_id());
        let changes = built_in.changes(&Desired::default(), &desired);
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(
            change.old.to_string(),
            format!("sealwire/reader@sha256:{:064} on every host", 0)
        );
        assert_eq!(change.new.to_string(), format!("{image} on 2 hosts"));
        assert_eq!(built_in.changes(&desired, &desired), []);
        assert_eq!(Desired::parse("", &built_in).unwrap(), Desired::default());
    }

    #[test]
    fn what_is_refused_is_named_with_its_line_and_what_is_allowed() {
        for (text, words) in [
            ("[component.reader]\n\nreplicas = 0", "line 3: replicas are a number from 1 to 64"),
            ("[component.reader]\nreplicas = \"all\"", "line 2: replicas are a number"),
            ("[component.gate]\nreplicas = 1", "line 2: a host shows the page"),
            ("[component.reader]\nimage = \"plant/reader:latest\"", "line 2: \"plant/reader:lat"),
            ("[component.other]\nreplicas = 1", "no component `other`: it runs reader, gate, ui"),
            ("[component.reader]\ncolour = 1", "line 2: unknown field `colour`, expected `image`"),
            ("[workload.a]", "line 1: unknown field `workload`"),
            ("[component", "line 1: "),
        ] {
            let refusal = Desired::parse(text, &built_in()).unwrap_err().to_string();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
        let long = "#".repeat(Desired::FILE_BYTES_MAX + 1);
        assert!(Desired::parse(&long, &built_in()).is_err());
    }
}
