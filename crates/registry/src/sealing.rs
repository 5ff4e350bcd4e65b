//! What is sealed about the registry.

use access::TokenName;
use ledger::{AppendError, Batch, Ledger};
use model::{Event, action};

use crate::name::{Digest, Repository, Tag};

/// Name of this part of the site in events.
const SOURCE: &str = "registry";

/// Seals that somebody published a manifest under a tag.
pub(crate) async fn published(
    ledger: &Ledger,
    publisher: &TokenName,
    (repository, tag): (&Repository, &Tag),
    (before, digest): (Option<Digest>, Digest),
) -> Result<(), AppendError> {
    let publisher = publisher.as_str();
    let message = format!("{publisher} published {digest} as {repository}:{tag}");
    let mut event = Event::site(action::COMPONENT_PUBLISHED, SOURCE, message, clock::now());
    event.actor = Some(publisher.to_owned());
    event.target = Some(format!("{repository}:{tag}"));
    event.old = before.map(|digest| digest.to_string());
    event.new = Some(digest.to_string());
    ledger.append(Batch::of(vec![event])).await.map(drop)
}
