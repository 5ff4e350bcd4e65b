//! What an operator wants instead of what the site itself would run, read from a file (TOML).
//!
//! The file names components, and for each an image by digest, a number of replicas, a group of
//! hosts or values of its configuration. What it does not name stays as the site would have it. It
//! also says which images may run at all.

use std::{collections::BTreeMap, fmt, num::NonZeroU16, ops::Range, sync::Arc};

use engine::wash_host::GUESTS_GROUP;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use toml::Spanned;

use crate::{
    policy::{Policy, PolicyFile, RawPolicy},
    rollout::Pair,
    workload::{Component, Deployment, Replicas, Workload},
};

/// What is wanted of each component that the file names, and of all images.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Desired {
    wishes: BTreeMap<String, Wish>,
    policy: Policy,
}

/// What is wanted of a component.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Wish {
    image: Option<Reference>,
    replicas: Option<Replicas>,
    group: Option<String>,
    /// What its configuration has besides what the site gives it.
    config: BTreeMap<String, String>,
    /// Secrets in its configuration. Whatever has one runs on the site's own host alone.
    secrets: BTreeMap<String, Secret>,
}

/// A secret by its name, and once it was read its value.
#[derive(Clone, Default, Eq, PartialEq)]
struct Secret {
    name: String,
    value: String,
}

impl fmt::Debug for Secret {
    /// Omits the value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Secret").field(&self.name).finish()
    }
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
    #[serde(default)]
    publishers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    policy: RawPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWish {
    image: Option<Spanned<String>>,
    replicas: Option<Spanned<RawReplicas>>,
    group: Option<Spanned<String>>,
    #[serde(default)]
    config: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    secrets: BTreeMap<Spanned<String>, Spanned<String>>,
    limits: Option<Spanned<IgnoredAny>>,
    interfaces: Option<Spanned<IgnoredAny>>,
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
    /// The components that a file may name, each with the deployment that it is in.
    fn components(&self) -> impl Iterator<Item = (&Component, &Deployment)> {
        self.deployments.iter().flat_map(|deployment| {
            deployment.workload.wit_world.components.iter().map(move |it| (it, deployment))
        })
    }

    /// What is to run if this is wanted. What is wanted of a component that the site does not run
    /// changes nothing.
    #[must_use]
    pub fn with(&self, desired: &Desired) -> Vec<Deployment> {
        let deployments = self.deployments.iter().map(|deployment| {
            let mut workload = Workload::clone(&deployment.workload);
            let Deployment { mut replicas, mut group, .. } = deployment.clone();
            let mut is_for_own_host = false;
            for component in &mut workload.wit_world.components {
                let Some(wish) = desired.wishes.get(&component.name) else { continue };
                replicas = wish.replicas.unwrap_or(replicas);
                group = wish.group.clone().unwrap_or(group);
                let config = &mut component.local_resources.config;
                config.extend(wish.config.clone());
                let secrets = wish.secrets.iter();
                config.extend(secrets.map(|(key, it)| (key.clone(), it.value.clone())));
                is_for_own_host |= !wish.secrets.is_empty();
                if let Some(image) = &wish.image {
                    component.image = image.as_str().to_owned();
                    if let Some(digest) = component.local_resources.config.get_mut(self.digest_key)
                    {
                        *digest = digest_of(image.as_str()).to_owned();
                    }
                }
            }
            if is_for_own_host {
                workload = workload.for_own_host();
            }
            Deployment { workload: Arc::new(workload), replicas, group }
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

    /// What changes between two states.
    #[must_use]
    pub fn changes(&self, before: &Desired, after: &Desired) -> Changes {
        let of = |desired: &Desired, component: &Component, deployment: &Deployment| {
            let wish = desired.wishes.get(&component.name).cloned().unwrap_or_default();
            let image =
                wish.image.map_or_else(|| component.image.clone(), |Reference(image)| image);
            let replicas = wish.replicas.unwrap_or(deployment.replicas).to_string();
            let group = wish.group.map(|group| format!("group = {group:?}"));
            let config = wish.config.into_iter().map(|(key, value)| format!("{key} = {value:?}"));
            let secrets = wish.secrets.into_iter();
            let secrets = secrets.map(|(key, it)| format!("{key} = the secret {}", it.name));
            let settings = group.into_iter().chain(config).chain(secrets).collect();
            Placed { image, replicas, settings }
        };
        let changes = self.components().map(|(component, deployment)| Change {
            component: component.name.clone(),
            old: of(before, component, deployment),
            new: of(after, component, deployment),
        });
        let [old, new] = [before, after].map(|desired| desired.policy.to_string());
        Changes {
            components: changes.filter(|change| change.old != change.new).collect(),
            policy: (old != new).then_some(PolicyChange { old, new }),
        }
    }
}

/// What changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Changes {
    /// The components that change.
    pub components: Vec<Change>,
    /// What is demanded of images, if that changes.
    pub policy: Option<PolicyChange>,
}

impl Changes {
    /// Whether nothing does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.components.is_empty() && self.policy.is_none()
    }
}

/// What changes for all images.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PolicyChange {
    /// What was demanded, in words.
    pub old: String,
    /// What is demanded.
    pub new: String,
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

/// An image, how many hosts run it, and what else is said of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Placed {
    /// Repository and digest.
    pub image: String,
    /// How many hosts, in words.
    pub replicas: String,
    /// Its group and its configuration, as far as a file says something of them.
    #[serde(default)]
    pub settings: Vec<String>,
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
        let Self { image, replicas, settings } = self;
        write!(formatter, "{image} on {replicas}")?;
        if settings.is_empty() { Ok(()) } else { write!(formatter, " ({})", settings.join(", ")) }
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
    /// Longest name of a group in characters, as hosts tell it.
    const GROUP_CHARS_MAX: usize = 64;
    /// Most values in the configuration of a component.
    const VALUES_MAX: usize = 32;
    /// Longest key of one in characters.
    const KEY_CHARS_MAX: usize = 64;
    /// Longest value in bytes. All of them go over the bus with each start.
    const VALUE_BYTES_MAX: usize = 4 << 10;
    /// Longest name of a secret in characters.
    const SECRET_CHARS_MAX: usize = 40;
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
        for (name, raw) in file.component {
            let RawWish { image, replicas, group, config, secrets, limits, interfaces } = raw;
            let found = built_in.components().find(|(it, _)| it.name == *name.get_ref());
            let Some((component, deployment)) = found else {
                let known: Vec<_> = built_in.components().map(|(it, _)| it.name.as_str()).collect();
                let (name, known) = (name.get_ref(), known.join(", "));
                return Err((
                    None,
                    format!("the site runs no component `{name}`: it runs {known}"),
                ));
            };
            if let Some(limits) = limits {
                let words = "a host limits memory and time of all its components alike, so one \
                             component has no limits of its own";
                return Err((Some(limits.span()), String::from(words)));
            }
            if let Some(interfaces) = interfaces {
                let words = "a component has the interfaces that its place in the site needs, and \
                             no others";
                return Err((Some(interfaces.span()), String::from(words)));
            }
            let group = group.map(|group| {
                Self::group(group.get_ref(), deployment).map_err(|why| (Some(group.span()), why))
            });
            let image = image.map(|text| {
                Reference::parse(text.get_ref()).ok_or_else(|| {
                    (Some(text.span()), format!("{:?} is {}", text.get_ref(), Reference::WORDS))
                })
            });
            let replicas = replicas.map(|raw| {
                let everywhere = built_in.everywhere.contains(name.get_ref());
                Self::replicas(raw.get_ref(), everywhere).map_err(|words| (Some(raw.span()), words))
            });
            let wish = Wish {
                image: image.transpose()?,
                replicas: replicas.transpose()?,
                group: group.transpose()?,
                config: Self::config(config, component, deployment)?,
                secrets: Self::secrets(secrets, component, deployment)?,
            };
            if let Some(key) = wish.secrets.keys().find(|key| wish.config.contains_key(*key)) {
                return Err((None, format!("`{key}` is a value and a secret")));
            }
            if wish.group.is_some() && !wish.secrets.is_empty() {
                let words =
                    "what has a secret runs on the site's own host alone, so it has no group";
                return Err((None, String::from(words)));
            }
            wishes.insert(name.into_inner(), wish);
        }
        let policy =
            Policy::of_file(PolicyFile { publishers: file.publishers, policy: file.policy });
        Ok(Self { wishes, policy: policy? })
    }

    /// What a file demands of images, and nothing else of it.
    #[must_use]
    pub fn policy_alone(text: &str) -> Self {
        Self { policy: Policy::alone(text), ..Self::default() }
    }

    /// What is demanded of images.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    fn group(group: &str, deployment: &Deployment) -> Result<String, String> {
        if deployment.workload.is_for_own_host() {
            return Err(String::from("it runs on the site's own host alone, so it has no group"));
        }
        if group == GUESTS_GROUP {
            return Err(format!("the hosts of the group {group} run users' processors alone"));
        }
        let is_group = (1..=Self::GROUP_CHARS_MAX).contains(&group.chars().count())
            && !group.chars().any(char::is_control);
        let max = Self::GROUP_CHARS_MAX;
        is_group.then(|| group.to_owned()).ok_or_else(|| {
            format!(
                "a group is a name of 1 to {max} characters, as `sealwire host run --group` has it"
            )
        })
    }

    fn config(
        raw: BTreeMap<Spanned<String>, Spanned<String>>,
        component: &Component,
        deployment: &Deployment,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let interfaces = &deployment.workload.wit_world.host_interfaces;
        let reads_any = interfaces.iter().any(|it| it.package == Component::CONFIG_PACKAGE);
        let own = &component.local_resources.config;
        let mut config = BTreeMap::new();
        for (key, value) in raw {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let is_key = (1..=Self::KEY_CHARS_MAX).contains(&key.get_ref().len())
                && key.get_ref().chars().all(is_plain);
            let fault = if !reads_any {
                Some(format!("`{}` has no configuration", component.name))
            } else if own.contains_key(key.get_ref()) {
                Some(format!("the site itself says what `{}` is", key.get_ref()))
            } else if !is_key {
                let max = Self::KEY_CHARS_MAX;
                Some(format!("a key has 1 to {max} of the characters a-z, A-Z, 0-9, `-`, `_`, `.`"))
            } else if value.get_ref().len() > Self::VALUE_BYTES_MAX {
                Some(format!("a value has at most {} bytes", Self::VALUE_BYTES_MAX))
            } else if config.len() >= Self::VALUES_MAX {
                Some(format!("a component has at most {} values", Self::VALUES_MAX))
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err((Some(key.span()), fault));
            }
            config.insert(key.into_inner(), value.into_inner());
        }
        Ok(config)
    }

    fn secrets(
        raw: BTreeMap<Spanned<String>, Spanned<String>>,
        component: &Component,
        deployment: &Deployment,
    ) -> Result<BTreeMap<String, Secret>, Fault> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        for name in raw.values() {
            let is_name = (1..=Self::SECRET_CHARS_MAX).contains(&name.get_ref().len())
                && name.get_ref().chars().all(is_plain);
            if !is_name {
                let max = Self::SECRET_CHARS_MAX;
                let words =
                    format!("a secret has a name of 1 to {max} of the characters a-z, 0-9, `-`");
                return Err((Some(name.span()), words));
            }
        }
        let secret = |(key, name)| (key, Secret { name, value: String::new() });
        Ok(Self::config(raw, component, deployment)?.into_iter().map(secret).collect())
    }

    /// Reads the secrets that the file names.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read_secrets<E>(&mut self, read: impl Fn(&str) -> Result<String, E>) -> Result<(), E> {
        for secret in self.wishes.values_mut().flat_map(|wish| wish.secrets.values_mut()) {
            secret.value = read(&secret.name)?;
        }
        Ok(())
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
        self.wishes.iter().filter_map(|(name, wish)| Some((name.as_str(), wish.image.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::HostInterface;

    fn workload(name: &str, components: Vec<Component>) -> Workload {
        if name == "web" {
            return Workload::new(name, components, vec![]).for_own_host();
        }
        let config = HostInterface::new(("wasi", "config", "0.2.0-rc.1"), &["store"], &[]);
        Workload::new(name, components, vec![config])
    }

    fn built_in() -> BuiltIn {
        let deployment = |name: &str, components: &[&str]| {
            let components = components.iter().map(|it| {
                Component::new(it, format!("sealwire/{it}@sha256:{:064}", 0), &[("digest", "0")])
            });
            Deployment {
                workload: Arc::new(workload(name, components.collect())),
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
        let text = format!(
            "[component.reader]\nimage = \"{image}\"\nreplicas = 2\ngroup = \"hall\"\n\
             [component.reader.config]\nlimit = \"5\"\n"
        );
        let desired = Desired::parse(&text, &built_in).unwrap();
        let deployments = built_in.with(&desired);
        let [reader, web, _guest] = deployments.as_slice() else { panic!() };
        let component = reader.workload.wit_world.components.first().unwrap();
        assert_eq!(component.image, image);
        let digest = component.local_resources.config.get("digest").unwrap();
        assert_eq!(digest.as_str(), format!("sha256:{}", "a".repeat(64)));
        assert_eq!(reader.replicas.to_string(), "2 hosts");
        assert_eq!(reader.group, "hall");
        assert_eq!(component.local_resources.config["limit"], "5");
        let old = built_in.deployments.get(1).unwrap();
        assert_eq!(web.workload.instance_id(), old.workload.instance_id());
        let changes = built_in.changes(&Desired::default(), &desired);
        let [change] = changes.components.as_slice() else { panic!("{changes:?}") };
        assert_eq!(
            change.old.to_string(),
            format!("sealwire/reader@sha256:{:064} on every host", 0)
        );
        let settings = "(group = \"hall\", limit = \"5\")";
        assert_eq!(change.new.to_string(), format!("{image} on 2 hosts {settings}"));
        assert!(changes.policy.is_none() && built_in.changes(&desired, &desired).is_empty());
        assert_eq!(Desired::parse("", &built_in).unwrap(), Desired::default());
    }

    #[test]
    fn a_secret_stays_on_the_sites_own_host_and_is_shown_by_its_name() {
        let built_in = built_in();
        let text = "[component.reader.secrets]\nkey = \"boiler\"\n";
        let mut desired = Desired::parse(text, &built_in).unwrap();
        assert_eq!(desired.read_secrets(|name| Err(name.to_owned())), Err(String::from("boiler")));
        desired.read_secrets(|name| Ok::<_, ()>(format!("{name} is hot"))).unwrap();
        let deployments = built_in.with(&desired);
        let reader = deployments.first().unwrap();
        let component = reader.workload.wit_world.components.first().unwrap();
        assert_eq!(component.local_resources.config["key"], "boiler is hot");
        assert!(reader.workload.is_for_own_host());
        let changes = built_in.changes(&Desired::default(), &desired);
        let shown = format!("{changes:?} {desired:?} {reader:?}");
        assert!(shown.contains("key = the secret boiler") && !shown.contains("is hot"), "{shown}");
    }

    #[test]
    fn what_a_file_demands_of_images_is_a_change_and_stays_if_the_rest_cannot_be_followed() {
        let built_in = built_in();
        let text = "[policy]\nlogged = true\n";
        let desired = Desired::parse(text, &built_in).unwrap();
        let change = built_in.changes(&Desired::default(), &desired).policy.unwrap();
        let words = [change.old.as_str(), change.new.as_str()];
        assert_eq!(words, ["any image may run", "published in the log"]);
        assert!(built_in.pairs(&Desired::default(), &desired).is_empty());
        // The site does not run a component any more.
        let other = format!("{text}[component.other]\nreplicas = 1\n");
        assert!(Desired::parse(&other, &built_in).is_err());
        assert_eq!(Desired::policy_alone(&other), desired);
        assert_eq!(*Desired::policy_alone("[policy").policy(), Policy::closed());
    }

    #[test]
    fn what_is_refused_is_named_with_its_line_and_what_is_allowed() {
        for (text, words) in [
            ("[component.reader]\n\nreplicas = 0", "line 3: replicas are a number from 1 to 64"),
            ("[component.reader]\nreplicas = \"all\"", "line 2: replicas are a number"),
            ("[component.gate]\nreplicas = 1", "line 2: a host shows the page"),
            ("[component.reader]\nimage = \"plant/reader:latest\"", "line 2: \"plant/reader:lat"),
            ("[component.other]\nreplicas = 1", "no component `other`: it runs reader, gate, ui"),
            ("[component.reader]\ncolour = 1", "line 2: unknown field `colour`, expected one of"),
            ("[component.gate]\ngroup = \"hall\"", "line 2: it runs on the site's own host alone"),
            ("[component.reader]\ngroup = \"\"", "line 2: a group is a name of 1 to 64"),
            ("[component.reader]\ngroup = \"guests\"", "line 2: the hosts of the group guests run"),
            ("[component.gate.config]\na = \"b\"", "line 2: `gate` has no configuration"),
            ("[component.reader.config]\ndigest = \"b\"", "line 2: the site itself says what"),
            ("[component.reader.config]\n\"a b\" = \"c\"", "line 2: a key has 1 to 64 of"),
            ("[component.reader.config]\na = 1", "line 2: "),
            ("[component.reader.secrets]\na = \"../b\"", "line 2: a secret has a name of 1 to 40"),
            (
                "[component.reader]\nconfig.a = \"b\"\nsecrets.a = \"b\"",
                "`a` is a value and a secret",
            ),
            (
                "[component.reader]\ngroup = \"hall\"\nsecrets.a = \"b\"",
                "runs on the site's own host alone, so it has no group",
            ),
            ("[component.reader]\nlimits.memory = 1", "line 2: a host limits memory and time"),
            ("[component.reader]\ninterfaces = []", "line 2: a component has the interfaces"),
            ("[workload.a]", "line 1: unknown field `workload`"),
            ("[policy]\nsigned = 1", "line 2: `signed` is true, false"),
            ("[publishers]\n\na = \"b\"", "line 3: the key of \"a\" cannot be used"),
            ("[component", "line 1: "),
        ] {
            let refusal = Desired::parse(text, &built_in()).unwrap_err().to_string();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
        let long = "#".repeat(Desired::FILE_BYTES_MAX + 1);
        assert!(Desired::parse(&long, &built_in()).is_err());
    }
}
