//! Checks what Pangea itself exported about a log: single events, answers to searches, and the
//! dumps that its SDK's tools write, against the roots that it published. No IO, and no token.
//!
//! Pangea gathers events for some time, hashes them to one leaf, and publishes the root of the tree
//! with that leaf. So several events can have one leaf, and their membership proofs end with the
//! path of that leaf.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tlog::{Hash, TreeSize};

use crate::{
    proof::{self, grown, leaf_in},
    recompute::{Side, fold, is_hash_of, parse_hash, steps},
    signature::Signed,
};

/// The root of a log's tree.
#[derive(Clone, Debug, Deserialize)]
pub struct Root {
    /// Number of the tree's leaves.
    pub size: u64,
    root_hash: String,
    /// Name of the tree, if it is said.
    pub tree_name: Option<String>,
    /// Where the root was published, if it was.
    pub url: Option<String>,
    consistency_proof: Option<Vec<String>>,
}

impl Root {
    fn hash(&self) -> Result<Hash, String> {
        parse_hash(&self.root_hash)
    }
}

/// What a JSON value of a file holds.
#[derive(Debug)]
pub enum Exported {
    /// One event, as the console or a dump has it.
    One(Box<ExportedEvent>),
    /// The answer to a search.
    Search(Box<Search>),
}

/// The answer to a search.
#[derive(Debug, Deserialize)]
pub struct Search {
    root: Option<Root>,
    unpublished_root: Option<Root>,
    events: Vec<ExportedEvent>,
}

/// An event with what proves it.
#[derive(Debug, Deserialize)]
pub struct ExportedEvent {
    envelope: Box<RawValue>,
    hash: Option<String>,
    published: Option<bool>,
    leaf_index: Option<u64>,
    membership_proof: Option<String>,
    /// Size of the tree to whose root the proof leads; a dump has it.
    tree_size: Option<u64>,
    root: Option<Root>,
    unpublished_root: Option<Root>,
}

/// An event of an export, without what proves it.
#[derive(Clone, Copy, Debug)]
pub struct ShownEvent<'a> {
    /// The envelope, byte for byte.
    pub envelope: &'a RawValue,
    /// Its hash in hex, if the file names it.
    pub hash: Option<&'a str>,
    /// Its leaf, if the file names it.
    pub leaf: Option<u64>,
}

impl Exported {
    /// The events, in their order.
    pub fn events(&self) -> impl Iterator<Item = ShownEvent<'_>> {
        let events = match self {
            Self::One(event) => std::slice::from_ref(&**event),
            Self::Search(search) => &*search.events,
        };
        events.iter().map(|event| ShownEvent {
            envelope: &event.envelope,
            hash: event.hash.as_deref(),
            leaf: event.leaf_index,
        })
    }

    /// Reads a JSON value of a file that Pangea or its tools wrote.
    ///
    /// # Errors
    /// It is something else; the text says what was expected.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Kind {
            result: Option<Box<RawValue>>,
            envelope: Option<Box<RawValue>>,
        }
        let not_it = |error: serde_json::Error| format!("this is no export of Pangea: {error}");
        match serde_json::from_slice::<Kind>(json).map_err(not_it)? {
            Kind { envelope: Some(_), .. } => {
                serde_json::from_slice(json).map(Self::One).map_err(not_it)
            }
            Kind { result: Some(result), .. } => {
                serde_json::from_str(result.get()).map(Self::Search).map_err(not_it)
            }
            Kind { .. } => {
                Err("this is no export of Pangea: it has neither `envelope` nor `result`"
                    .to_owned())
            }
        }
    }
}

/// Roots that Pangea published, as somebody fetched them from where nobody can change them.
#[derive(Debug, Default)]
pub struct PublishedRoots {
    by_size: BTreeMap<u64, Root>,
}

impl PublishedRoots {
    /// Adds the roots in a JSON value: a root, a list of roots, or the answer of `/v1/root`.
    ///
    /// # Errors
    /// It is something else, or says otherwise than a root that was added.
    pub fn add(&mut self, json: &[u8]) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Root(Root),
            Answer { result: Data },
            List(Vec<Root>),
        }
        #[derive(Deserialize)]
        struct Data {
            data: Root,
        }
        let roots = match serde_json::from_slice(json) {
            Ok(Form::Root(root) | Form::Answer { result: Data { data: root } }) => vec![root],
            Ok(Form::List(roots)) => roots,
            Err(_) => {
                let wanted = "a root with `size` and `root_hash`, a list of them, or an answer";
                return Err(format!("this is no published root: {wanted} of /v1/root is one"));
            }
        };
        for root in roots {
            let hash =
                root.hash().map_err(|fault| format!("root of size {}: {fault}", root.size))?;
            let tree = self.by_size.values().find_map(|other| other.tree_name.as_ref());
            if let (Some(tree), Some(other)) = (tree, &root.tree_name)
                && tree != other
            {
                return Err(format!("the roots are of two trees, {tree} and {other}"));
            }
            match self.by_size.get(&root.size) {
                Some(other) if other.hash() != Ok(hash) => {
                    return Err(format!("two roots are published for the size {}", root.size));
                }
                // Pangea leaves a consistency proof out in some places.
                Some(other) if other.consistency_proof.is_some() => {}
                Some(_) | None => {
                    self.by_size.insert(root.size, root);
                }
            }
        }
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_size.is_empty()
    }

    /// Checks that each root extends the one before it, if that is among them. Returns how many do.
    ///
    /// # Errors
    /// One does not.
    pub fn check(&self) -> Result<u64, String> {
        let pairs = self
            .by_size
            .iter()
            .filter_map(|(size, new)| Some((*size, self.by_size.get(&size.checked_sub(1)?)?, new)));
        let mut shown = 0;
        for (size, old, new) in pairs {
            let Some(lines) = &new.consistency_proof else { continue };
            let growth = TreeSize::new(size).extends(TreeSize::new(size - 1));
            let growth = growth.map_err(|error| error.to_string())?;
            let roots = grown(growth, lines);
            if roots != Ok((old.hash()?, new.hash()?)) {
                let why = roots.err().unwrap_or_else(|| "it leads to other roots".to_owned());
                return Err(format!(
                    "the root of size {size} does not extend the one before: {why}"
                ));
            }
            shown += 1;
        }
        Ok(shown)
    }
}

/// What the events of a file show, counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events that have the hash that the file names.
    pub events: u64,
    /// Of these, signed ones whose signature verifies.
    pub signed: u64,
    /// Signed ones whose key the file does not name.
    pub signed_without_key: u64,
    /// Events in the tree of a published root.
    pub published: u64,
    /// Events in the tree of a root that only the file itself names, and these roots.
    pub named: u64,
    /// The roots that only the file names, by size.
    pub named_roots: BTreeMap<u64, Root>,
    /// Events in a tree whose root was not published.
    pub unpublished: u64,
    /// Events without a proof, or whose root is nowhere.
    pub without_proof: u64,
    /// The leaves of the events.
    pub leaves: BTreeSet<u64>,
}

impl Tally {
    /// Checks one value of a file and counts its events. Returns what is wrong with each event that
    /// is not as the file says.
    pub fn take(&mut self, exported: &Exported, roots: &PublishedRoots) -> Vec<String> {
        let (events, root, unpublished) = match exported {
            Exported::One(event) => (std::slice::from_ref(&**event), None, None),
            Exported::Search(search) => {
                (&*search.events, search.root.as_ref(), search.unpublished_root.as_ref())
            }
        };
        let check = |event: &ExportedEvent| {
            let root = event.root.as_ref().or(root);
            let unpublished = event.unpublished_root.as_ref().or(unpublished);
            let faulty = |fault| format!("the event {}: {fault}", event.name());
            self.check(event, (root, unpublished), roots).map_err(faulty).err()
        };
        events.iter().filter_map(check).collect()
    }

    fn check(
        &mut self,
        event: &ExportedEvent,
        (root, unpublished): (Option<&Root>, Option<&Root>),
        roots: &PublishedRoots,
    ) -> Result<(), String> {
        let named = event.hash.as_deref().ok_or("the file names no hash of it")?;
        let hash = parse_hash(named)?;
        if !is_hash_of(&hash, &event.envelope) {
            return Err("its envelope has another hash".to_owned());
        }
        let is_signed = event.is_signed()?;
        let size = event.tree_size.or_else(|| root.map(|root| root.size));
        let found = size.and_then(|size| roots.by_size.get(&size));
        let is_published = event.published.unwrap_or_else(|| event.leaf_index.is_some());
        let by_file = if is_published { root } else { unpublished };
        let under = if is_published { found.or(by_file) } else { by_file };
        // A tree of one event needs no step.
        let is_alone = under.is_some_and(|root| root.size == 1);
        let proof = event.membership_proof.as_deref().or_else(|| is_alone.then_some(""));
        if let (Some(found), Some(by_file)) = (found, by_file)
            && is_published
            && found.size == by_file.size
            && found.hash()? != by_file.hash()?
        {
            return Err(format!(
                "the file has another root of size {} than was published",
                found.size
            ));
        }
        if let (Some(found), Some(by_file)) = (found, by_file)
            && let (Some(theirs), Some(its)) = (&found.tree_name, &by_file.tree_name)
            && theirs != its
        {
            return Err(format!(
                "it is of the tree {its}, and the published roots are of {theirs}"
            ));
        }
        if let (Some(proof), Some(under)) = (proof, under) {
            if fold(hash, proof)? != under.hash()? {
                let size = under.size;
                return Err(format!(
                    "its membership proof does not lead to the root of size {size}"
                ));
            }
            if let Some(index) = event.leaf_index {
                is_of_leaf(proof, under.size, index)?;
            }
        }
        self.events += 1;
        match is_signed {
            Some(true) => self.signed += 1,
            Some(false) => self.signed_without_key += 1,
            None => {}
        }
        self.leaves.extend(event.leaf_index);
        match (proof, under) {
            (Some(_), Some(_)) if !is_published => self.unpublished += 1,
            (Some(_), Some(_)) if found.is_some() => self.published += 1,
            (Some(_), Some(under)) => {
                self.named += 1;
                self.named_roots.entry(under.size).or_insert_with(|| under.clone());
            }
            _ => self.without_proof += 1,
        }
        Ok(())
    }
}

impl ExportedEvent {
    /// How a person finds it in the file.
    fn name(&self) -> String {
        let hash = self.hash.as_deref().unwrap_or("without a hash");
        match self.leaf_index {
            Some(leaf) => format!("{hash} of leaf {leaf}"),
            None => hash.to_owned(),
        }
    }

    /// Whether the event is signed, and then whether the file names the key: `Some(false)` if not.
    fn is_signed(&self) -> Result<Option<bool>, String> {
        #[derive(Deserialize)]
        struct Envelope {
            event: Map<String, Value>,
            signature: Option<String>,
            public_key: Option<String>,
        }
        let envelope: Envelope = serde_json::from_str(self.envelope.get())
            .map_err(|error| format!("its envelope holds no event: {error}"))?;
        let Some(signature) = envelope.signature else { return Ok(None) };
        let Some(public_key) = envelope.public_key else { return Ok(Some(false)) };
        match (Signed { signature, public_key }).verifies(&envelope.event) {
            Ok(true) => Ok(Some(true)),
            Ok(false) => Err("its signature is of something else".to_owned()),
            Err(fault) => Err(format!("its signature cannot be read: {fault}")),
        }
    }
}

/// Checks that a proof ends with the path of a leaf. What comes before it leads from the event to
/// the leaf.
fn is_of_leaf(proof: &str, size: u64, index: u64) -> Result<(), String> {
    let leaf = leaf_in(size, index).ok_or("its leaf is not in the tree")?;
    let of_leaf: Vec<Side> = proof::sides(leaf).collect();
    let of_proof: Vec<Side> =
        steps(proof).map(|step| step.map(|(side, _)| side)).collect::<Result<_, _>>()?;
    if of_proof.ends_with(&of_leaf) {
        Ok(())
    } else {
        Err("its membership proof is the path of another leaf".to_owned())
    }
}

#[cfg(test)]
mod tests;
