//! What one kind of component is asked, and what it may say.

use std::{collections::BTreeSet, sync::Arc};

use model::{Envelope, Event, Timestamp};

use super::docket::{Finding, Item, Question};

/// Digests of components, as their registry names them.
pub type Digests = BTreeSet<String>;

/// What is taken of a verdict.
pub(super) struct Taken {
    /// Digest of the component that gave it.
    pub(super) by: Arc<str>,
    pub(super) findings: Vec<Finding>,
}

/// What one kind of component is asked, and what it may say.
pub(super) trait Dialect: Send + Sync {
    /// A leaf as the component sees it.
    type Item: Item + Clone + Send + Sync;

    /// Name of the component.
    fn name(&self) -> &str;
    /// Name of its cursor in the log.
    fn cursor(&self) -> String;
    /// Subject on which it receives questions.
    fn subject(&self) -> &str;
    /// What it sees of a leaf; `None` if that is nothing.
    fn item(&self, leaf: u64, envelope: &Envelope) -> Option<Self::Item>;
    /// The question as a message.
    fn body(&self, question: &Question<Self::Item>) -> Vec<u8>;
    /// Accepts a verdict only if a component in `accepted` gave it, and it is about the items in
    /// question, which are in the log's order. A faulty component can be wrong, but cannot add
    /// anything else to the log.
    fn take(
        &self,
        answer: &[u8],
        accepted: &Digests,
        asked: &[Self::Item],
    ) -> Result<Taken, String>;
    /// What is sealed of a finding.
    fn event(&self, finding: Finding, at: Timestamp) -> Event;
    /// An item about which any component has a verdict. The pipeline asks about it until there was
    /// a verdict about another one.
    fn known(&self) -> Self::Item;
}

/// The digest of the component that gave a verdict, if its verdicts are taken.
pub(super) fn accept(accepted: &Digests, component: String) -> Result<Arc<str>, String> {
    if accepted.contains(&component) {
        return Ok(Arc::from(component));
    }
    let accepted: Vec<&str> = accepted.iter().map(String::as_str).collect();
    Err(format!("the verdict is from the component {component}, not {}", accepted.join(" or ")))
}
