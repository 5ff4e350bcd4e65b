//! Users' processors: components that derive events from what is sealed.

use std::{collections::BTreeSet, str::FromStr};

use async_nats::Client;
use ledger::Ledger;
use model::processing::{Filter, ProcessorName};
use registry::Image;
use serde::Deserialize;
use services::{
    lag::Follower,
    pipeline::{Digests, Meters, Processing},
};
use tokio::sync::watch;

/// Progress of a processor: the first leaf that it has not handled.
pub(crate) type Followed = (Follower, watch::Receiver<u64>);

/// A user's processor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// Its name, also that of its cursor.
    pub name: ProcessorName,
    /// Its image in the site's registry.
    pub image: ImageName,
    /// What it sees of the log.
    #[serde(default)]
    pub filter: Filter,
    /// Whether it begins with the first leaf of the log. If not, it begins with what is sealed
    /// after its first start.
    #[serde(default)]
    pub history: bool,
}

/// An image by its repository and digest, `<repository>@sha256:<hex>`. A tag would not say which
/// component answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct ImageName {
    repository: String,
    digest: String,
}

impl ImageName {
    /// The image of a component that the site itself brings.
    pub(crate) fn own(image: &Image) -> Self {
        image.reference().parse().expect("the reference of an image has a digest")
    }

    /// The digest of the image's manifest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Repository and digest.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }
}

/// The name of an image is not one.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an image: use <repository>@sha256:<64 hex digits>")]
pub struct InvalidImageName(String);

impl FromStr for ImageName {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, InvalidImageName> {
        let invalid = || InvalidImageName(text.to_owned());
        let (repository, digest) = text.split_once('@').ok_or_else(invalid)?;
        let hex = digest.strip_prefix("sha256:").ok_or_else(invalid)?;
        let is_hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        let is_in_name = |it: u8| it.is_ascii_alphanumeric() || b"._-/".contains(&it);
        if hex.len() == 64
            && hex.bytes().all(is_hex)
            && !repository.is_empty()
            && repository.bytes().all(is_in_name)
        {
            Ok(Self { repository: repository.to_owned(), digest: digest.to_owned() })
        } else {
            Err(invalid())
        }
    }
}

impl TryFrom<String> for ImageName {
    type Error = InvalidImageName;

    fn try_from(text: String) -> Result<Self, InvalidImageName> {
        text.parse()
    }
}

/// The processors of a site, as a file lists them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Listed")]
pub struct Processors(Vec<Processor>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    processor: Vec<Processor>,
}

impl Processors {
    /// One processor for each of these names, all with the same image.
    pub(crate) fn of(names: &[ProcessorName], image: &ImageName) -> Self {
        let processor = |name: &ProcessorName| {
            let (name, image) = (name.clone(), image.clone());
            Processor { name, image, filter: Filter::default(), history: true }
        };
        Self(names.iter().map(processor).collect())
    }

    /// Most processors of a site. Each reads the whole log, and their host keeps an instance of
    /// each.
    pub const COUNT_MAX: usize = 4;
    /// Largest file that lists them, in bytes.
    pub const FILE_BYTES_MAX: u64 = 1 << 20;

    /// The processor of this name.
    #[must_use]
    pub fn find(&self, name: &ProcessorName) -> Option<&Processor> {
        self.iter().find(|processor| processor.name == *name)
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The processors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Processor> {
        self.0.iter()
    }

    /// The services that ask them as the site's user among guests, and the progress of each.
    pub(crate) fn services(
        &self,
        ledger: &Ledger,
        guests: &Client,
        meters: &Meters,
    ) -> impl Iterator<Item = (Processing<Client>, Followed)> {
        self.iter().cloned().map(|Processor { name, image, filter, history }| {
            let follower = Follower::Processor(name.actor().into());
            let (judged, progress) = watch::channel(0);
            let processing = Processing {
                ledger: ledger.clone(),
                reader: guests.clone(),
                name,
                filter,
                history,
                accepted: watch::channel(Digests::from([image.digest])).1,
                judged,
                meters: meters.clone(),
            };
            (processing, (follower, progress))
        })
    }
}

/// The list of processors cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidProcessors {
    /// There are more than [`Processors::COUNT_MAX`].
    #[error("{0} processors are listed, but a site has at most {max}", max = Processors::COUNT_MAX)]
    Many(usize),
    /// Two have the same name.
    #[error("two processors have the name {0}, and each needs its own")]
    Twice(ProcessorName),
}

impl TryFrom<Listed> for Processors {
    type Error = InvalidProcessors;

    fn try_from(Listed { processor }: Listed) -> Result<Self, InvalidProcessors> {
        if processor.len() > Self::COUNT_MAX {
            return Err(InvalidProcessors::Many(processor.len()));
        }
        let mut names = BTreeSet::new();
        match processor.iter().find(|processor| !names.insert(&processor.name)) {
            Some(twice) => Err(InvalidProcessors::Twice(twice.name.clone())),
            None => Ok(Self(processor)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let name = format!("plant/mean@{digest}");
        let image: ImageName = name.parse().unwrap();
        assert_eq!((image.reference(), image.digest()), (name, &*digest));
        for wrong in [
            "plant/mean:latest",
            "plant/mean@sha256:0a",
            &format!("@{digest}"),
            &format!("a b@{digest}"),
            &format!("mean@{}", digest.to_uppercase()),
        ] {
            assert!(wrong.parse::<ImageName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_has_few_processors_with_names_of_their_own() {
        let digest = "0a".repeat(32);
        let one = |name: &str| format!(r#"{{"name":"{name}","image":"mean@sha256:{digest}"}}"#);
        let list = |processors: &[String]| {
            let json = format!(r#"{{"processor":[{}]}}"#, processors.join(","));
            serde_json::from_str::<Processors>(&json).map_err(|error| error.to_string())
        };
        let listed = list(&[one("a"), one("b")]).unwrap();
        assert_eq!(listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(list(&[one("a"), one("a")]).unwrap_err().contains("the name a"));
        assert!(list(&[one("A")]).unwrap_err().contains("not the name of a processor"));
        let many = ["a", "b", "c", "d", "e"].map(one);
        assert!(list(&many).unwrap_err().contains("at most 4"));
    }
}
