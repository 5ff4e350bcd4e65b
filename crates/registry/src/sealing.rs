//! What is sealed about the registry.

use access::TokenName;
use ledger::{AppendError, Batch, Ledger};
use model::{Event, action};

use crate::name::{Digest, Reference, Repository, Tag};

/// Name of this part of the site in events.
const SOURCE: &str = "registry";

/// Seals that somebody published a manifest under a tag. Returns the leaf.
pub(crate) async fn published(
    ledger: &Ledger,
    publisher: &TokenName,
    (repository, tag): (&Repository, &Tag),
    (before, digest): (Option<Digest>, Digest),
) -> Result<u64, AppendError> {
    let publisher = publisher.as_str();
    let message = format!("{publisher} published {digest} as {repository}:{tag}");
    let mut event = Event::site(action::COMPONENT_PUBLISHED, SOURCE, message, clock::now());
    event.actor = Some(publisher.to_owned());
    event.target = Some(format!("{repository}:{tag}"));
    event.old = before.map(|digest| digest.to_string());
    event.new = Some(digest.to_string());
    Ok(ledger.append(Batch::of(vec![event])).await?.first_leaf)
}

/// Seals that somebody deletes the manifest that a reference names, with so many tags, or a tag
/// alone.
pub(crate) async fn deleted(
    ledger: &Ledger,
    publisher: &TokenName,
    (repository, reference): (&Repository, &Reference),
    (digest, tags): (Digest, usize),
) -> Result<(), AppendError> {
    let publisher = publisher.as_str();
    let (target, message) = match reference {
        Reference::Tag(tag) => {
            let target = format!("{repository}:{tag}");
            let message = format!("{publisher} deleted the tag {target}, which named {digest}");
            (target, message)
        }
        Reference::Digest(_) => {
            let what = format!("{repository}@{digest}, which {tags} tags named");
            let message = format!("{publisher} deleted {what}");
            (repository.to_string(), message)
        }
    };
    let mut event = Event::site(action::COMPONENT_DELETED, SOURCE, message, clock::now());
    event.actor = Some(publisher.to_owned());
    event.target = Some(target);
    event.old = Some(digest.to_string());
    ledger.append(Batch::of(vec![event])).await.map(drop)
}
