//! Searches and results for which a client may ask later, and their form on disk: the files
//! `pangea-searches` and `pangea-requests` in the data directory.
//!
//! A search contains words, which may be those of an envelope. So whenever envelopes are erased,
//! saved searches are deleted. A command that erases on a stopped site deletes them too.
//!
//! A loss of power may remove the newest lines. A client must then search or export again. Its
//! logged events are sealed in any case.
//!
//! The files contain the names of members and variants, so these names must stay: a client may ask
//! after an upgrade of the site.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use access::TokenName;
use data_dir::saved_searches;
use model::Timestamp;
use pangea::{
    RequestId, ResultId,
    request::{Format, Search, Window},
};
use serde::{Deserialize, Serialize};

use crate::saved_by_id::{self, SavedById};

/// Time for which a client may ask again. In Pangea's service it is two days for a search.
pub(crate) const LIFETIME: Duration = Duration::from_secs(2 * 86_400);

const REQUESTS: &str = "pangea-requests";

/// File of searches, whose pages can be requested.
pub(crate) type SavedSearches = SavedById<ResultId, SavedSearch>;
/// File of requests that were answered with 202.
pub(crate) type SavedPromises = SavedById<RequestId, Promise>;

/// Saved searches and promises, which survive restarts of the site.
#[derive(Debug)]
pub struct Saved {
    pub(crate) searches: Arc<SavedSearches>,
    pub(crate) promises: Arc<SavedPromises>,
}

/// A search whose pages can be requested.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SavedSearch {
    pub(crate) search: Search,
    /// Only leaves before this one.
    pub(crate) end_leaf: u64,
    pub(crate) verbose: bool,
}

/// A request that was answered with 202. Only the token that made it may ask for its result.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Promise {
    pub(crate) token: TokenName,
    /// A name can be used again once its token is revoked.
    pub(crate) token_created_at: Timestamp,
    pub(crate) of: Promised,
}

/// The data from which the result of such a request is made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Promised {
    /// Events that were sealed for it.
    Sealed {
        first_leaf: u64,
        leaves: u64,
        verbose: bool,
    },
    Export(Export),
}

/// An export that was requested.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Export {
    pub(crate) window: Window,
    pub(crate) format: Format,
    /// Only leaves before this one.
    pub(crate) end_leaf: u64,
}

impl Saved {
    /// Checks whether a start could read the saved files in this data directory. Changes nothing.
    ///
    /// # Errors
    /// A file exists but cannot be read.
    pub fn look(data_dir: &Path) -> Result<(), SavedError> {
        for name in [saved_searches::NAME, REQUESTS] {
            let path = data_dir.join(name);
            saved_by_id::look(&path).map_err(|source| SavedError { path, source })?;
        }
        Ok(())
    }

    /// Reads what is saved in this data directory and has not expired.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn open(data_dir: &Path) -> Result<Self, SavedError> {
        let failed = |path| move |source| SavedError { path, source };
        let path = |name| data_dir.join(name);
        let (searches, promises) = (path(saved_searches::NAME), path(REQUESTS));
        Ok(Self {
            searches: Arc::new(SavedById::open(searches.clone()).map_err(failed(searches))?),
            promises: Arc::new(SavedById::open(promises.clone()).map_err(failed(promises))?),
        })
    }
}

/// A file of saved searches or requests cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: remove it; clients will then not find their earlier searches or results", path.display())]
pub struct SavedError {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Lines as earlier versions wrote them. They expire in 2096.
    const SEARCHES: &str = concat!(
        r#"{"id":"pas_00000000040g2081040g2081040g2081","expires_at":"2096-10-02T07:06:40.123456Z","#,
        r#""search":{"query":"PIN 4711","start":"2026-01-02T03:04:05.000000Z","end":null,"#,
        r#""results_max":10000,"order":"Descending","order_by":"received_at","#,
        r#""restriction":{"actor":["ada","bob"]}},"end_leaf":9,"verbose":true}"#,
        "\n",
    );
    const PROMISES: &str = concat!(
        r#"{"id":"prq_00000000040g2081040g2081040g2081","expires_at":"2096-10-02T07:06:40.123456Z","#,
        r#""token":"scada","token_created_at":"1970-01-01T00:00:00.000000Z","#,
        r#""of":{"sealed":{"first_leaf":7,"leaves":1000,"verbose":true}}}"#,
        "\n",
        r#"{"id":"prq_00000000080g4102080g4102080g4102","expires_at":"2096-10-02T07:06:40.123456Z","#,
        r#""token":"scada","token_created_at":"1970-01-01T00:00:00.000000Z","#,
        r#""of":{"export":{"window":{"start":"2026-01-02T03:04:05.000000Z","#,
        r#""end":"2026-01-03T03:04:05.000000Z","order":"Ascending"},"format":"Json","end_leaf":12}}}"#,
        "\n",
    );

    #[test]
    fn lines_of_earlier_versions_are_read_and_written_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for (name, lines) in [(saved_searches::NAME, SEARCHES), (REQUESTS, PROMISES)] {
            fs::write(file(name), lines).unwrap();
        }
        let saved = Saved::open(folder.path()).unwrap();
        let id = "prq_00000000040g2081040g2081040g2081".parse().unwrap();
        let promise = Promise {
            token: "scada".parse().unwrap(),
            token_created_at: Timestamp::from_unix_micros(0),
            of: Promised::Sealed { first_leaf: 7, leaves: 1_000, verbose: true },
        };
        assert_eq!(saved.promises.get(&id, Timestamp::from_unix_micros(0)), Some(promise));
        // Opening a file rewrites it with what was read from it.
        for (name, lines) in [(saved_searches::NAME, SEARCHES), (REQUESTS, PROMISES)] {
            assert_eq!(fs::read_to_string(file(name)).unwrap(), lines);
        }
    }
}
