//! How far each consumer of the log has come, as of the last checkpoint. What came later is in the segments.

use std::{collections::BTreeMap, fs, io, path::Path};

use crate::{Cursor, atomic_file};

/// The file's name in the ledger's folder.
pub(crate) const FILE: &str = "cursors.json";

/// Next leaf of each consumer, by its name. A cursor never goes back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Cursors(BTreeMap<String, u64>);

impl Cursors {
    /// Reads the file; there is none before the first checkpoint.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Self).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn store(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(&self.0).expect("a map of names and numbers is JSON");
        atomic_file::replace(folder, FILE, &json)
    }

    pub(crate) fn advance(&mut self, cursor: &Cursor) {
        let next = self.0.entry(cursor.name.clone()).or_default();
        *next = cursor.next_leaf.max(*next);
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, next_leaf)| (name.as_str(), *next_leaf))
    }
}
